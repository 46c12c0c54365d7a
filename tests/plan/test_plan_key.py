"""plan_key: birth, changes, holds, states, absence. Obstacles: test_obstacles.py; rotation: test_rotation_due.py."""

from __future__ import annotations

import json
from typing import Any

import pytest
from msgspec import UNSET
from msgspec.structs import replace
from tests.builders import ACCOUNT, OTHER_UID, UID
from tests.hsm.fake import FakeHsm
from tests.plan.facts import a_kms_key, a_settled_key, key_facts

from keystead.engine.plan.common import CrdFacts, NamespaceFacts
from keystead.engine.plan.key import CreateKey, KeyPlan, WriteKey, plan_key
from keystead.engine.plan.key_settings import default_policy
from keystead.engine.record import Hold, KeyRecord
from keystead.resources import names
from keystead.resources.vocabulary import KeySpec, KeyState, Protection


def written(plan: KeyPlan) -> KeyRecord:
    """The record that a plan writes."""
    assert isinstance(plan.step, WriteKey), plan
    return plan.step.record


def test_a_settled_key_has_nothing_to_do(hsm: FakeHsm) -> None:
    assert plan_key(key_facts(hsm)) == KeyPlan()


# Birth


def test_a_new_key_is_born_with_the_documented_defaults(hsm: FakeHsm) -> None:
    step = plan_key(key_facts(hsm, record=None)).step
    assert isinstance(step, CreateKey)
    assert step.protection is Protection.TOKEN
    assert (step.draft.description, step.draft.tags, step.draft.policy, step.draft.enabled) == ("", {}, UNSET, True)
    assert step.draft.rotation is not UNSET
    assert (step.draft.rotation.enabled, step.draft.rotation.period) == (False, 365)


def test_a_new_key_takes_what_its_spec_says(hsm: FakeHsm) -> None:
    key = a_kms_key(
        description="d",
        enabled=False,
        tags=[{"key": "a", "value": "b"}, {"key": "c"}],
        policy={"Version": "2012-10-17", "Id": "x"},
        rotation={"enabled": True, "periodInDays": 90},
        pendingWindowInDays=7,
    )
    step = plan_key(key_facts(hsm, record=None, key=key)).step
    assert isinstance(step, CreateKey)
    draft = step.draft
    assert (draft.description, draft.enabled, draft.tags) == ("d", False, {"a": "b", "c": ""})
    assert draft.policy == b'{"Id":"x","Version":"2012-10-17"}'  # compact, key-sorted
    assert draft.rotation is not UNSET
    assert (draft.rotation.enabled, draft.rotation.period, draft.pending_window_in_days) == (True, 90, 7)


def test_only_symmetric_keys_have_a_rotation(hsm: FakeHsm) -> None:
    key = a_kms_key(keySpec="RSA_2048", keyUsage="SIGN_VERIFY")
    step = plan_key(key_facts(hsm, record=None, key=key)).step
    assert isinstance(step, CreateKey)
    assert step.draft.rotation is UNSET


# Re-apply: what the spec leaves out is as the record has it


CLOSED: dict[str, Any] = {
    "enabled": False,
    "state": KeyState.DISABLED,
    "policy": b'{"Id":"closed"}',
    "description": "kept",
    "tags": {"kept": "yes"},
}


def test_a_manifest_that_says_nothing_opens_nothing(hsm: FakeHsm) -> None:
    orphan = a_settled_key(hsm, bound=False, **CLOSED)
    again = a_kms_key(about={"uid": "object-2"})
    record = written(plan_key(key_facts(hsm, record=orphan, key=again)))
    assert record == replace(orphan, bound=True, object_uid="object-2")


def test_a_reapplied_key_keeps_its_rotation(hsm: FakeHsm) -> None:
    before = a_settled_key(hsm)
    rotating = a_kms_key(rotation={"enabled": True, "periodInDays": 90, "windows": [{"cron": "0 3 * * *", "duration": "2h"}]})
    record = written(plan_key(key_facts(hsm, record=before, key=rotating)))
    assert plan_key(key_facts(hsm, record=record, key=a_kms_key())) == KeyPlan()
    shorter = written(plan_key(key_facts(hsm, record=record, key=a_kms_key(rotation={"periodInDays": 100}))))
    assert shorter.rotation is not UNSET
    assert (shorter.rotation.enabled, shorter.rotation.period, len(shorter.rotation.windows)) == (True, 100, 1)


def test_what_the_spec_says_replaces_what_the_record_has(hsm: FakeHsm) -> None:
    closed = a_settled_key(hsm, **CLOSED)
    key = a_kms_key(enabled=True, policy={"Id": "new"}, description="", tags=[])
    record = written(plan_key(key_facts(hsm, record=closed, key=key)))
    assert (record.enabled, record.state) == (True, KeyState.ENABLED)
    assert (record.policy, record.description, record.tags) == (b'{"Id":"new"}', "", {})


def test_the_default_policy_is_left_out_however_it_is_spelled(hsm: FakeHsm) -> None:
    closed = a_settled_key(hsm, policy=b'{"Id":"closed"}')
    spelled = json.loads(json.dumps(default_policy(ACCOUNT), sort_keys=True))
    assert written(plan_key(key_facts(hsm, record=closed, key=a_kms_key(policy=spelled)))).policy is UNSET


def test_a_new_crd_and_object_are_noted_in_the_record(hsm: FakeHsm) -> None:
    facts = key_facts(hsm, key=a_kms_key(about={"uid": "object-9"}), crd=CrdFacts("crd-9"))
    record = written(plan_key(facts))
    assert (record.object_uid, record.crd_uid) == ("object-9", "crd-9")


# Hold


def test_the_annotation_latches_a_hold(hsm: FakeHsm) -> None:
    record = written(plan_key(key_facts(hsm, key=a_kms_key(annotations={names.HOLD: "incident-7"}))))
    assert record.hold == Hold(since="2026-11-26T08:00:00Z", by="incident-7")


HELD = Hold(since="2026-11-01T00:00:00Z", by="first")


@pytest.mark.parametrize("annotations", [{}, {names.HOLD: "second"}, {names.HOLD: ""}])
def test_a_hold_stays_as_it_was_latched(hsm: FakeHsm, annotations: dict[str, str]) -> None:
    held = a_settled_key(hsm, hold=HELD)
    assert plan_key(key_facts(hsm, record=held, key=a_kms_key(annotations=annotations))) == KeyPlan()


def test_a_reapplied_manifest_does_not_lift_a_hold(hsm: FakeHsm) -> None:
    orphan = a_settled_key(hsm, hold=HELD, bound=False)
    again = a_kms_key(enabled=True, about={"uid": "object-2"})
    assert written(plan_key(key_facts(hsm, record=orphan, key=again))).hold == HELD


def test_only_the_value_released_lifts_a_hold(hsm: FakeHsm) -> None:
    held = a_settled_key(hsm, hold=HELD)
    released = a_kms_key(annotations={names.HOLD: "released"})
    assert written(plan_key(key_facts(hsm, record=held, key=released))).hold is UNSET


def test_suspend_does_not_keep_a_hold_from_latching(hsm: FakeHsm) -> None:
    key = a_kms_key(suspend=True, annotations={names.HOLD: "incident"}, description="not this")
    plan = plan_key(key_facts(hsm, key=key))
    assert written(plan) == replace(a_settled_key(hsm), hold=Hold(since="2026-11-26T08:00:00Z", by="incident"))
    assert plan.obstacle is not None
    assert plan_key(key_facts(hsm, key=key, record=written(plan))).step is None


def test_a_spec_that_cannot_be_carried_out_does_not_keep_a_hold_from_latching(hsm: FakeHsm) -> None:
    for key in (
        a_kms_key(keySpec="HMAC_256", keyUsage="GENERATE_VERIFY_MAC", annotations={names.HOLD: "x"}),
        a_kms_key(
            rotation={"windows": [{"cron": "0 3 * * *", "timezone": "No/Where", "duration": "2h"}]}, annotations={names.HOLD: "x"}
        ),
    ):
        assert written(plan_key(key_facts(hsm, key=key))).hold is not UNSET


def test_a_suspended_key_is_not_released(hsm: FakeHsm) -> None:
    held = a_settled_key(hsm, hold=HELD)
    key = a_kms_key(suspend=True, annotations={names.HOLD: "released"})
    assert plan_key(key_facts(hsm, record=held, key=key)).step is None


# State


def test_enabled_false_disables_and_true_enables(hsm: FakeHsm) -> None:
    disabled = written(plan_key(key_facts(hsm, key=a_kms_key(enabled=False))))
    assert (disabled.enabled, disabled.state) == (False, KeyState.DISABLED)
    enabled = written(plan_key(key_facts(hsm, record=disabled, key=a_kms_key(enabled=True))))
    assert (enabled.enabled, enabled.state) == (True, KeyState.ENABLED)


@pytest.mark.parametrize(("scheduled", "date"), [({"pendingWindowInDays": 7}, "2026-12-03T08:00:00Z"), ({}, "2026-12-26T08:00:00Z")])
def test_scheduled_deletion_stops_use_and_starts_the_window(hsm: FakeHsm, scheduled: dict[str, int], date: str) -> None:
    record = written(plan_key(key_facts(hsm, key=a_kms_key(scheduledDeletion=scheduled))))
    assert (record.state, record.deletion_date) == (KeyState.PENDING_DELETION, date)


def test_a_window_that_runs_is_not_started_again(hsm: FakeHsm) -> None:
    pending = a_settled_key(hsm, state=KeyState.PENDING_DELETION)
    key = a_kms_key(scheduledDeletion={"pendingWindowInDays": 7})
    assert plan_key(key_facts(hsm, record=pending, key=key)) == KeyPlan()


def test_cancelling_ends_in_disabled(hsm: FakeHsm) -> None:
    pending = a_settled_key(hsm, state=KeyState.PENDING_DELETION)
    record = written(plan_key(key_facts(hsm, record=pending)))
    assert (record.state, record.enabled, record.deletion_date) == (KeyState.DISABLED, False, UNSET)
    assert plan_key(key_facts(hsm, record=record)) == KeyPlan()


def test_cancelling_with_enabled_true_ends_in_enabled(hsm: FakeHsm) -> None:
    pending = a_settled_key(hsm, state=KeyState.PENDING_DELETION)
    record = written(plan_key(key_facts(hsm, record=pending, key=a_kms_key(enabled=True))))
    assert (record.state, record.enabled) == (KeyState.ENABLED, True)


# Absent


def test_a_deleted_object_makes_its_record_an_orphan(hsm: FakeHsm) -> None:
    record = written(plan_key(key_facts(hsm, key=None)))
    assert record == replace(a_settled_key(hsm), bound=False)


def test_an_orphan_has_nothing_to_do(hsm: FakeHsm) -> None:
    assert plan_key(key_facts(hsm, key=None, record=a_settled_key(hsm, bound=False))) == KeyPlan()
    assert plan_key(key_facts(hsm, key=None, record=None)) == KeyPlan()


@pytest.mark.parametrize(
    "changes",
    [
        {"crd": None},
        {"crd": CrdFacts("crd-1", terminating=True)},
        {"crd": CrdFacts("made-again")},
        {"namespace": None},
        {"namespace": NamespaceFacts(UID, terminating=True)},
        {"namespace": NamespaceFacts(OTHER_UID)},
    ],
)
def test_an_object_that_is_absent_for_another_reason_is_not_gone(hsm: FakeHsm, changes: dict[str, Any]) -> None:
    plan = plan_key(key_facts(hsm, key=None, **changes))
    assert plan.step is None
    assert "has no object, but" in plan.note


def test_a_tombstone_stays_as_it_is(hsm: FakeHsm) -> None:
    destroyed = a_settled_key(hsm, state=KeyState.DESTROYED)
    orphan = written(plan_key(key_facts(hsm, key=None, record=destroyed)))
    assert orphan == replace(destroyed, bound=False)
    assert plan_key(key_facts(hsm, key=None, record=orphan)) == KeyPlan()
    assert plan_key(key_facts(hsm, key=None, record=destroyed, crd=None)) == KeyPlan()


def test_every_key_spec_is_planned(hsm: FakeHsm) -> None:
    for spec in KeySpec:
        step = plan_key(key_facts(hsm, record=None, key=a_kms_key(keySpec=spec.value))).step
        assert isinstance(step, CreateKey)
