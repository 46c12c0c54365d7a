"""plan_alias: claim, retarget, release; whose the name is; which obstacle is told first."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from msgspec.structs import replace
from tests.builders import NOW, OTHER_UID, UID, an_alias
from tests.hsm.fake import FakeHsm
from tests.plan.facts import DIGEST, a_kms_alias, a_settled_key, alias_facts

from keystead.engine.clock import format_time
from keystead.engine.identifiers import alias_arn
from keystead.engine.plan.alias import AliasPlan, ClaimAlias, DropAlias, WriteAlias, plan_alias
from keystead.engine.plan.common import CrdFacts, NamespaceFacts
from keystead.engine.record import AliasRecord
from keystead.resources import names
from keystead.resources.reasons import Reason
from keystead.resources.vocabulary import KeySpec, KeyState, KeyUsage

Changes = dict[str, Any]
ADOPT = {names.ADOPT: names.ADOPT_TRUE}
AS_NEW = {names.ADOPT: names.ADOPT_AS_NEW}
OTHER_SPACE = NamespaceFacts(OTHER_UID)
LEAVING = NamespaceFacts(UID, terminating=True)
MADE = NOW - timedelta(days=1)  # of the object in facts.py


def record_of(hsm: FakeHsm, **changes: Any) -> AliasRecord:
    return an_alias(a_settled_key(hsm), **changes)


def told(plan: AliasPlan) -> tuple[Reason, str]:
    assert plan.obstacle is not None
    return plan.obstacle.reason, plan.obstacle.message


# Claim


def test_a_settled_alias_has_nothing_to_do(hsm: FakeHsm) -> None:
    assert plan_alias(alias_facts(hsm)) == AliasPlan()


def test_a_new_alias_claims_its_name(hsm: FakeHsm) -> None:
    facts = alias_facts(hsm, record=None)
    assert facts.key is not None
    assert plan_alias(facts) == AliasPlan(ClaimAlias(facts.key))


def test_a_name_that_another_alias_has_is_taken(hsm: FakeHsm) -> None:
    plan = plan_alias(alias_facts(hsm, record=record_of(hsm, name="first")))
    assert plan.step is None
    reason, message = told(plan)
    assert reason is Reason.ALIAS_TAKEN
    assert "KmsAlias first" in message


def test_an_object_made_again_keeps_its_claim(hsm: FakeHsm) -> None:
    record = record_of(hsm)
    again = a_kms_alias(about={"uid": "object-3"})
    assert plan_alias(alias_facts(hsm, alias=again, record=record)).step == WriteAlias(replace(record, object_uid="object-3"))


def test_a_claim_of_before_the_crd_was_made_again_is_bound_again(hsm: FakeHsm) -> None:
    record = record_of(hsm)
    step = plan_alias(alias_facts(hsm, record=record, crd=CrdFacts("made-again"))).step
    assert step == WriteAlias(replace(record, crd_uid="made-again"))


def test_a_claim_on_another_name_is_released_first(hsm: FakeHsm) -> None:
    assert plan_alias(alias_facts(hsm, record=None, left=("alias-1", "alias-2"))).step == DropAlias("alias-1")
    suspended = a_kms_alias(suspend=True)
    assert plan_alias(alias_facts(hsm, alias=suspended, record=None, left=("alias-1",))).step is None


# Retarget


def test_another_key_is_a_retarget_and_only_that_moves_updated(hsm: FakeHsm) -> None:
    record, key = record_of(hsm), a_settled_key(hsm, n=2)
    step = plan_alias(alias_facts(hsm, key=key, record=record)).step
    assert step == WriteAlias(replace(record, key_id=key.key_id, updated=format_time(NOW)))
    again = a_kms_alias(about={"uid": "object-3"})
    rebound = plan_alias(alias_facts(hsm, alias=again, record=record)).step
    assert isinstance(rebound, WriteAlias)
    assert rebound.record.updated == record.updated


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"state": KeyState.PENDING_DELETION}, Reason.DEPENDENCY_NOT_READY),
        ({"bound": False}, Reason.DEPENDENCY_NOT_FOUND),
    ],
)
def test_a_key_that_ends_takes_no_alias_but_keeps_those_it_has(hsm: FakeHsm, change: Changes, reason: Reason) -> None:
    key = a_settled_key(hsm, n=2, **change)
    for record in (None, record_of(hsm)):  # a birth, a retarget
        plan = plan_alias(alias_facts(hsm, key=key, record=record))
        assert plan.step is None
        assert told(plan)[0] is reason
    assert plan_alias(alias_facts(hsm, key=key, record=an_alias(key))) == AliasPlan()


@pytest.mark.parametrize("change", [{"state": KeyState.DISABLED}, {"held": True}])
def test_a_stopped_key_may_be_named(hsm: FakeHsm, change: Changes) -> None:
    """AWS: CreateAlias and UpdateAlias in the state Disabled. A name lets nobody use the key."""
    key = a_settled_key(hsm, **change)
    assert plan_alias(alias_facts(hsm, key=key, record=None)).step == ClaimAlias(key)


def test_a_key_of_another_region_is_refused_and_the_old_one_serves_on(hsm: FakeHsm) -> None:
    plan = plan_alias(alias_facts(hsm, key=a_settled_key(hsm, n=2, region="elsewhere"), record=record_of(hsm)))
    assert plan.step is None
    reason, message = told(plan)
    assert reason is Reason.INVALID_SPEC
    assert "spec.keyRef" in message


@pytest.mark.parametrize("change", [{"usage": KeyUsage.SIGN_VERIFY}, {"spec": KeySpec.RSA_2048}])
def test_a_key_of_another_type_or_usage_is_refused_and_the_old_one_serves_on(hsm: FakeHsm, change: Changes) -> None:
    """AWS UpdateAlias: the two keys must be of one type and one usage."""
    other = replace(a_settled_key(hsm, n=2), **change)
    plan = plan_alias(alias_facts(hsm, key=other, target=a_settled_key(hsm), record=record_of(hsm)))
    assert plan.step is None
    reason, message = told(plan)
    assert reason is Reason.INVALID_SPEC
    assert message.startswith("spec.keyRef")


# Release


def test_the_name_of_a_deleted_alias_is_free(hsm: FakeHsm) -> None:
    assert plan_alias(alias_facts(hsm, alias=None)) == AliasPlan(DropAlias())
    assert plan_alias(alias_facts(hsm, alias=None, record=None)) == AliasPlan()


@pytest.mark.parametrize(
    "changes",
    [
        {"crd": None},
        {"crd": CrdFacts("crd-2", terminating=True)},
        {"crd": CrdFacts("made-again")},
        {"namespace": None},
        {"namespace": LEAVING},
        {"namespace": OTHER_SPACE},
    ],
)
def test_an_alias_that_is_absent_for_another_reason_keeps_its_name(hsm: FakeHsm, changes: Changes) -> None:
    plan = plan_alias(alias_facts(hsm, alias=None, **changes))
    assert plan.step is None
    assert "has no object, but" in plan.note


def test_an_alias_ends_with_its_key(hsm: FakeHsm) -> None:
    key = a_settled_key(hsm, state=KeyState.DESTROYED)
    plan = plan_alias(alias_facts(hsm, key=key, record=an_alias(key)))
    assert plan.step == DropAlias()
    assert told(plan)[0] is Reason.KEY_DESTROYED
    after = plan_alias(alias_facts(hsm, key=key, record=None))
    assert (after.step, told(after)[0]) == (None, Reason.KEY_DESTROYED)


def test_an_alias_that_named_a_destroyed_key_may_move_to_another_one(hsm: FakeHsm) -> None:
    destroyed, key = a_settled_key(hsm, state=KeyState.DESTROYED), a_settled_key(hsm, n=2)
    step = plan_alias(alias_facts(hsm, key=key, target=destroyed, record=an_alias(destroyed))).step
    assert isinstance(step, WriteAlias)
    assert step.record.key_id == key.key_id


@pytest.mark.parametrize(("after", "reason"), [(0, Reason.KEY_DESTROYED), (1, Reason.KEY_DESTROYED), (-1, None)])
def test_a_new_key_does_not_inherit_the_aliases_of_the_destroyed_one(hsm: FakeHsm, after: int, reason: Reason | None) -> None:
    """An object that was made after the end is the new key's."""
    plan = plan_alias(alias_facts(hsm, record=None, destroyed_at=MADE + timedelta(seconds=after)))
    assert (told(plan)[0] if reason else plan.obstacle) is reason
    assert isinstance(plan.step, ClaimAlias) is (reason is None)


# An earlier namespace


def test_an_earlier_namespaces_claim_must_be_adopted(hsm: FakeHsm) -> None:
    record = record_of(hsm)
    plan = plan_alias(alias_facts(hsm, record=record, namespace=OTHER_SPACE))
    assert (plan.step, told(plan)[0]) == (None, Reason.ADOPTION_REQUIRED)
    adopted = a_settled_key(hsm, namespace_uid=OTHER_UID)
    for how in (ADOPT, AS_NEW):
        step = plan_alias(
            alias_facts(hsm, alias=a_kms_alias(annotations=how), key=adopted, record=record, namespace=OTHER_SPACE)
        ).step
        assert step == WriteAlias(replace(record, namespace_uid=OTHER_UID))


@pytest.mark.parametrize("state", [KeyState.ENABLED, KeyState.DESTROYED])
@pytest.mark.parametrize("name", ["app", "their-own-name"])
def test_another_tenant_learns_only_that_the_name_is_taken(hsm: FakeHsm, state: KeyState, name: str) -> None:
    key = a_settled_key(hsm, state=state)
    record = an_alias(key, name=name)
    plan = plan_alias(alias_facts(hsm, key=key, record=record, namespace=OTHER_SPACE))
    reason, message = told(plan)
    assert (plan.step, reason) == (None, Reason.ADOPTION_REQUIRED)
    assert all(word not in message for word in (record.key_id, record.account, "their-own-name", "destroyed"))


@pytest.mark.parametrize("state", list(KeyState))
def test_an_earlier_tenants_key_tells_nothing_of_its_state(hsm: FakeHsm, state: KeyState) -> None:
    key = a_settled_key(hsm, state=state)
    plan = plan_alias(alias_facts(hsm, key=key, record=None, namespace=OTHER_SPACE))
    assert (plan.step, told(plan)) == (
        None,
        (Reason.DEPENDENCY_NOT_READY, "the name of the KmsKey in spec.keyRef is taken by an earlier namespace's key"),
    )


# Obstacles, and which of two is told

ARN = alias_arn("cluster-1", "111122223333", "alias/app")
NEWER = {"aliasArn": ARN, "recordSeq": 2, "recordDigest": DIGEST}


@pytest.mark.parametrize(
    ("alias", "facts", "reason", "words"),
    [
        ({"status": NEWER}, {"record": None}, Reason.RECORD_INTEGRITY, "does not exist"),
        ({"status": NEWER}, {}, Reason.RECORD_INTEGRITY, "older record"),
        ({"suspend": True}, {}, Reason.SUSPENDED, "suspend"),
        ({"suspend": True}, {"record": None}, Reason.SUSPENDED, "suspend"),
        ({}, {"record": None, "namespace": LEAVING}, Reason.CREATING, "being deleted"),
        ({}, {"record": None, "namespace": None}, Reason.CREATING, "being deleted"),
        ({}, {"record": None, "key": None}, Reason.DEPENDENCY_NOT_FOUND, "spec.keyRef: KmsKey team-a/key-1 does not exist"),
    ],
)
def test_an_obstacle_of_an_alias_stops_all_work(hsm: FakeHsm, alias: Changes, facts: Changes, reason: Reason, words: str) -> None:
    plan = plan_alias(alias_facts(hsm, alias=a_kms_alias(**alias), **facts))
    assert plan.step is None
    assert told(plan)[0] is reason
    assert words in told(plan)[1]


@pytest.mark.parametrize(
    ("alias", "facts", "reason"),
    [
        ({"suspend": True}, {"namespace": OTHER_SPACE}, Reason.ADOPTION_REQUIRED),
        ({"suspend": True, "status": NEWER}, {}, Reason.RECORD_INTEGRITY),
        ({"suspend": True}, {"namespace": LEAVING}, Reason.SUSPENDED),
        ({}, {"namespace": LEAVING, "key": None, "record": None}, Reason.CREATING),
    ],
)
def test_the_first_of_two_obstacles_of_an_alias_is_told(hsm: FakeHsm, alias: Changes, facts: Changes, reason: Reason) -> None:
    assert told(plan_alias(alias_facts(hsm, alias=a_kms_alias(**alias), **facts)))[0] is reason


def test_taken_comes_before_what_the_status_says(hsm: FakeHsm) -> None:
    """An alias that lost its name while its status still shows it: the name is somebody else's by right."""
    facts = alias_facts(hsm, alias=a_kms_alias(status=NEWER, suspend=True), record=record_of(hsm, name="first"))
    assert told(plan_alias(facts))[0] is Reason.ALIAS_TAKEN


def test_a_status_of_another_accounts_claim_is_no_fault(hsm: FakeHsm) -> None:
    key = a_settled_key(hsm, account="444455556666")
    step = plan_alias(alias_facts(hsm, alias=a_kms_alias(status=NEWER), key=key, record=None)).step
    assert step == ClaimAlias(key)
