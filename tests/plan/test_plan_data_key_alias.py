"""plan_data_key with aliasRef: the alias is asked for a new version only; versions stay under their own key."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace
from tests.hsm.fake import FakeHsm
from tests.plan.facts import a_data_key, a_data_key_version, a_settled_key, data_key_facts, the_secret

from keystead.engine.identifiers import key_arn
from keystead.engine.plan.data_key import DataKeyPlan, Issue, Rewrap, plan_data_key
from keystead.resources import names
from keystead.resources.kms_data_key import KmsDataKey, parse_data_key
from keystead.resources.reasons import Reason
from keystead.resources.vocabulary import KeySpec, KeyState

ASKED = {names.ROTATE_REQUESTED_AT: "now"}
ASKED_BY_ALIAS = {"annotations": ASKED}


def by_alias(**changes: Any) -> KmsDataKey:
    """The data key `data-1`, which names a KmsAlias."""
    metadata = {"name": "data-1", "namespace": "team-a", "uid": "object-1", "generation": 1, **changes}
    return parse_data_key({"metadata": metadata, "spec": {"aliasRef": {"name": "a"}, "target": {"secretName": "s"}}})


def test_a_moved_alias_changes_nothing_until_the_next_rotation(hsm: FakeHsm) -> None:
    moved = {"key": a_settled_key(hsm), "target": a_settled_key(hsm, n=2)}
    facts = data_key_facts(hsm, data_key=by_alias(), secret=the_secret(by_alias(), a_data_key(a_settled_key(hsm))), **moved)
    assert plan_data_key(facts) == DataKeyPlan()
    asked = by_alias(**ASKED_BY_ALIAS)
    assert plan_data_key(data_key_facts(hsm, data_key=asked, **moved)).step == Issue(2)


def test_an_alias_that_leads_nowhere_stops_only_what_needs_it(hsm: FakeHsm) -> None:
    """Re-wraps are under the versions' own key."""
    key = a_settled_key(hsm, n_versions=2)
    stale = a_data_key(key, versions=[a_data_key_version(key_material_id=key.versions[0].material_id)])
    asked = by_alias(**ASKED_BY_ALIAS)
    plan = plan_data_key(data_key_facts(hsm, data_key=asked, key=key, target=None, record=stale))
    assert plan.step == Rewrap(1)
    assert plan.obstacle is not None
    assert plan.obstacle.reason is Reason.DEPENDENCY_NOT_FOUND
    fresh = a_data_key(key, versions=[a_data_key_version(key_material_id=key.versions[1].material_id)])
    secret = the_secret(asked, fresh)
    idle = data_key_facts(hsm, data_key=by_alias(), key=key, target=None, record=fresh, secret=secret)
    assert plan_data_key(idle) == DataKeyPlan()  # nothing is due: the alias is not asked for
    stuck = plan_data_key(data_key_facts(hsm, data_key=asked, key=key, target=None, record=fresh, secret=secret))
    assert (stuck.step, stuck.obstacle) == (None, plan.obstacle)


def test_versions_are_rewrapped_only_under_their_own_key(hsm: FakeHsm) -> None:
    old, new = a_settled_key(hsm, n_versions=2), a_settled_key(hsm, n=2, n_versions=2)
    made = [
        a_data_key_version(1, key_material_id=old.versions[0].material_id),
        a_data_key_version(2, key_material_id=new.versions[0].material_id),
    ]
    both = a_data_key(new, versions=made)
    first = replace(both.versions[0], key_arn=key_arn("cluster-1", old.account, old.key_id))
    record = replace(both, versions=[first, both.versions[1]])
    about: dict[str, Any] = {"data_key": by_alias(), "key": new, "target": new}
    assert plan_data_key(data_key_facts(hsm, record=record, **about)).step == Rewrap(2)
    done = replace(both.versions[1], key_material_id=new.versions[1].material_id)
    record = replace(record, versions=[first, done])
    secret = the_secret(by_alias(), record, (2,))
    assert plan_data_key(data_key_facts(hsm, record=record, secret=secret, **about)) == DataKeyPlan()


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (None, Reason.DEPENDENCY_NOT_FOUND),
        ({"bound": False}, Reason.DEPENDENCY_NOT_FOUND),
        ({"state": KeyState.DISABLED}, Reason.DEPENDENCY_NOT_READY),
        ({"spec": KeySpec.HMAC_256}, Reason.INVALID_SPEC),
    ],
)
def test_a_rotation_needs_the_key_that_the_alias_names_now(hsm: FakeHsm, change: dict[str, Any] | None, reason: Reason) -> None:
    target = None if change is None else a_settled_key(hsm, n=2, **change)
    for facts in ({"record": None}, {}):  # a birth, a rotation
        plan = plan_data_key(data_key_facts(hsm, data_key=by_alias(**ASKED_BY_ALIAS), target=target, **facts))
        assert not isinstance(plan.step, Issue)
        assert plan.obstacle is not None
        assert plan.obstacle.reason is reason
