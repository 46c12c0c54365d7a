"""plan_data_key without keyRef and aliasRef: the AWS managed key of the namespace is made on first use, and is held to be ours."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec import UNSET
from tests.builders import ACCOUNT, OTHER_UID
from tests.hsm.fake import FakeHsm
from tests.plan.facts import a_data_key, a_settled_key, data_key_facts

from keystead.engine.managed import MANAGED_KEY, managed_policy, serves_data_keys
from keystead.engine.plan.common import NamespaceFacts
from keystead.engine.plan.data_key import DataKeyPlan, Issue, MakeManagedKey, plan_data_key
from keystead.engine.plan.key_settings import policy_bytes
from keystead.engine.record import KeyRecord
from keystead.resources.kms_data_key import KmsDataKey, parse_data_key
from keystead.resources.reasons import Reason
from keystead.resources.vocabulary import KeyState


def nameless(**spec: Any) -> KmsDataKey:
    metadata = {"name": "data-1", "namespace": "team-a", "uid": "object-1", "generation": 1}
    return parse_data_key({"metadata": metadata, "spec": {"target": {"secretName": "s"}, **spec}})


def the_key(hsm: FakeHsm, **changes: Any) -> KeyRecord:
    policy = policy_bytes(managed_policy(ACCOUNT))
    return a_settled_key(hsm, **{"name": MANAGED_KEY, "policy": policy, **changes})


def plan_of(hsm: FakeHsm, key: KeyRecord | None, **facts: Any) -> DataKeyPlan:
    return plan_data_key(data_key_facts(hsm, data_key=nameless(), **{"record": None, "key": key, **facts}))


def obstacle_of(hsm: FakeHsm, key: KeyRecord | None, **facts: Any) -> tuple[Reason, str]:
    plan = plan_of(hsm, key, **facts)
    assert plan.step is None
    assert plan.obstacle is not None
    return plan.obstacle.reason, plan.obstacle.message


def test_the_first_data_key_makes_it_and_waits(hsm: FakeHsm) -> None:
    assert plan_of(hsm, None) == DataKeyPlan(MakeManagedKey())
    reason, message = obstacle_of(hsm, None, awaits=True)
    assert reason is Reason.DEPENDENCY_NOT_READY
    assert "alias/aws/keystead" in message


def test_with_the_key_there_the_data_key_is_issued(hsm: FakeHsm) -> None:
    assert plan_of(hsm, the_key(hsm)) == DataKeyPlan(Issue(1))


def test_an_object_that_was_taken_away_is_made_again(hsm: FakeHsm) -> None:
    orphan = the_key(hsm, bound=False)
    assert plan_of(hsm, orphan).step == MakeManagedKey()
    assert obstacle_of(hsm, orphan, awaits=True)[0] is Reason.DEPENDENCY_NOT_READY
    settled = a_data_key(orphan)
    assert plan_of(hsm, orphan, record=settled).step == MakeManagedKey()


def test_an_earlier_namespaces_key_is_not_this_ones(hsm: FakeHsm) -> None:
    for bound in (True, False):
        earlier = the_key(hsm, namespace_uid=OTHER_UID, bound=bound)
        assert plan_of(hsm, earlier).step == MakeManagedKey()
        reason, message = obstacle_of(hsm, earlier, awaits=True)
        assert (reason, "earlier namespace" in message) == (Reason.DEPENDENCY_NOT_READY, True)


@pytest.mark.parametrize("policy", [UNSET, b"{}", policy_bytes(managed_policy("444455556666"))])
def test_a_key_that_somebody_else_made_under_the_name_is_not_used(hsm: FakeHsm, policy: Any) -> None:
    other = the_key(hsm, policy=policy)
    assert not serves_data_keys(other)
    reason, message = obstacle_of(hsm, other)
    assert reason is Reason.DEPENDENCY_NOT_READY
    assert "not the one that Keystead makes" in message


def test_nothing_is_made_in_a_namespace_that_goes_or_for_a_suspended_data_key(hsm: FakeHsm) -> None:
    assert obstacle_of(hsm, None, namespace=NamespaceFacts("n", terminating=True))[0] is Reason.CREATING
    suspended = plan_data_key(data_key_facts(hsm, data_key=nameless(suspend=True), record=None, key=None))
    assert suspended.step is None


def test_a_data_key_that_named_a_key_does_not_move_to_the_managed_one(hsm: FakeHsm) -> None:
    named = a_settled_key(hsm, n=2)
    reason, message = obstacle_of(hsm, named, target=the_key(hsm), record=a_data_key(named))
    assert (reason, "use another name" in message) == (Reason.INVALID_SPEC, True)


def test_a_key_that_does_not_work_stops_what_is_due_and_makes_no_other(hsm: FakeHsm) -> None:
    assert obstacle_of(hsm, the_key(hsm, state=KeyState.DISABLED, enabled=False))[0] is Reason.DEPENDENCY_NOT_READY
    assert obstacle_of(hsm, the_key(hsm, held=True))[0] is Reason.DEPENDENCY_NOT_READY
