"""The life of a key, transition by transition: states, windows, cancelling, destruction, holds, finalizers. plan_key alone."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from msgspec import UNSET
from msgspec.structs import replace
from tests.builders import NOW, OTHER_UID, UID
from tests.hsm.fake import FakeHsm
from tests.plan.facts import a_kms_key, a_settled_key, key_facts

from keystead.engine.clock import format_time, parse_time
from keystead.engine.plan.common import CrdFacts, Dependants, NamespaceFacts
from keystead.engine.plan.key import (
    AdoptKey,
    CreateKey,
    DeleteObject,
    DestroyKey,
    KeyPlan,
    RotateKey,
    SetFinalizer,
    WriteKey,
    plan_key,
)
from keystead.engine.plan.key_life import destroyed_at, set_aside, tombstone, waits_for
from keystead.engine.record import Hold, KeyRecord
from keystead.resources import names
from keystead.resources.reasons import Reason
from keystead.resources.vocabulary import DeletionPolicy, KeyState

PENDING, DISABLED, ENABLED = KeyState.PENDING_DELETION, KeyState.DISABLED, KeyState.ENABLED
SCHEDULES: dict[str, Any] = {"deletion_policy": DeletionPolicy.SCHEDULE_DELETION, "pending_window_in_days": 7}
SCHEDULED: dict[str, Any] = {"deletionPolicy": "ScheduleDeletion", "pendingWindowInDays": 7}
USED = Dependants(aliases=("a",), grants=("g",), data_keys=("d",))
IN_A_WEEK = format_time(NOW + timedelta(days=7))
HELD = Hold(since="2026-11-01T00:00:00Z", by="incident-7")
ENDING: list[dict[str, Any]] = [
    {"namespace": None},
    {"namespace": NamespaceFacts(UID, terminating=True)},
    {"crd": None},
    {"crd": CrdFacts("crd-1", terminating=True)},
]
NOT_GONE: list[dict[str, Any]] = [*ENDING, {"crd": CrdFacts("made-again")}, {"namespace": NamespaceFacts(OTHER_UID)}]


def written(plan: KeyPlan) -> KeyRecord:
    """The record that a plan writes."""
    assert isinstance(plan.step, WriteKey), plan
    return plan.step.record


def absent(hsm: FakeHsm, record: KeyRecord, **changes: Any) -> KeyPlan:
    return plan_key(key_facts(hsm, key=None, record=record, **changes))


def states(record: KeyRecord) -> tuple[KeyState, bool, bool]:
    """State, enabled, and whether a window runs."""
    return record.state, record.enabled, record.deletion_date is not UNSET


# Into the window


@pytest.mark.parametrize("state", [ENABLED, DISABLED])
@pytest.mark.parametrize("dependants", [Dependants(), USED])
def test_scheduled_deletion_begins_at_once_whatever_depends_on_the_key(hsm: FakeHsm, state: KeyState, dependants: Dependants) -> None:
    key = a_kms_key(scheduledDeletion={"pendingWindowInDays": 7})
    record = written(plan_key(key_facts(hsm, key=key, record=a_settled_key(hsm, state=state), dependants=dependants)))
    assert (record.state, record.deletion_date) == (PENDING, IN_A_WEEK)


def test_a_schedule_deletion_keys_window_begins_when_its_object_goes(hsm: FakeHsm) -> None:
    record = written(absent(hsm, a_settled_key(hsm, **SCHEDULES)))
    assert (record.state, record.deletion_date, record.bound) == (PENDING, IN_A_WEEK, False)


def test_a_retain_key_is_never_pending_by_a_deletion(hsm: FakeHsm) -> None:
    record = written(absent(hsm, a_settled_key(hsm)))
    assert states(record) == (ENABLED, True, False)
    assert absent(hsm, record).step is None


def test_with_dependants_the_key_works_on_as_an_orphan_until_the_last_one_goes(hsm: FakeHsm) -> None:
    """Somebody took the finalizer away by hand."""
    orphan = written(absent(hsm, a_settled_key(hsm, **SCHEDULES), dependants=USED))
    assert (orphan.bound, *states(orphan)) == (False, ENABLED, True, False)
    assert waits_for(orphan)
    for dependants in (USED, Dependants(grants=("g",)), Dependants(foreign=1)):
        assert absent(hsm, orphan, dependants=dependants).step is None
    assert written(absent(hsm, orphan)).deletion_date == IN_A_WEEK


@pytest.mark.parametrize("facts", NOT_GONE)
@pytest.mark.parametrize("bound", [True, False])
def test_no_window_begins_while_the_object_is_not_gone(hsm: FakeHsm, facts: dict[str, Any], bound: bool) -> None:
    plan = absent(hsm, a_settled_key(hsm, bound=bound, **SCHEDULES), **facts)
    assert plan.step is None
    assert "has no object, but" in plan.note


def test_a_window_that_runs_keeps_its_end_when_the_object_goes(hsm: FakeHsm) -> None:
    pending = a_settled_key(hsm, state=PENDING, **SCHEDULES)
    record = written(absent(hsm, pending))
    assert (record.deletion_date, record.bound) == (pending.deletion_date, False)


# Out of the window


@pytest.mark.parametrize(
    ("key", "state"),
    [
        ({}, DISABLED),
        ({"enabled": False}, DISABLED),
        ({"enabled": True}, ENABLED),
        ({"scheduledDeletion": {}, "annotations": {names.CANCEL_DELETION: "true"}}, DISABLED),
        ({"scheduledDeletion": {}, "annotations": {names.CANCEL_DELETION: "true"}, "enabled": True}, ENABLED),
    ],
)
@pytest.mark.parametrize("bound", [True, False])
def test_cancelling_and_applying_again_end_in_disabled_unless_the_spec_says_enabled(
    hsm: FakeHsm, key: dict[str, Any], state: KeyState, bound: bool
) -> None:
    pending = a_settled_key(hsm, state=PENDING, bound=bound)
    record = written(plan_key(key_facts(hsm, record=pending, key=a_kms_key(**key))))
    assert (record.bound, *states(record)) == (True, state, state is ENABLED, False)
    assert plan_key(key_facts(hsm, record=record, key=a_kms_key(**key))) == KeyPlan()  # and it stays so


@pytest.mark.parametrize("value", ["", "false", "True"])
def test_only_the_value_true_cancels(hsm: FakeHsm, value: str) -> None:
    key = a_kms_key(scheduledDeletion={}, annotations={names.CANCEL_DELETION: value})
    assert plan_key(key_facts(hsm, record=a_settled_key(hsm, state=PENDING), key=key)).step is None


def test_a_deletion_scheduled_again_has_a_window_of_its_own(hsm: FakeHsm) -> None:
    cancelled = written(plan_key(key_facts(hsm, record=a_settled_key(hsm, state=PENDING))))
    key = a_kms_key(scheduledDeletion={"pendingWindowInDays": 7})
    later = NOW + timedelta(days=29)
    again = written(plan_key(key_facts(hsm, record=cancelled, key=key, now=later)))
    assert again.deletion_date == format_time(later + timedelta(days=7))


def test_a_shorter_wish_does_not_shorten_a_window_that_runs(hsm: FakeHsm) -> None:
    pending = a_settled_key(hsm, state=PENDING)
    key = a_kms_key(scheduledDeletion={"pendingWindowInDays": 7}, pendingWindowInDays=7)
    assert written(plan_key(key_facts(hsm, record=pending, key=key))).deletion_date == pending.deletion_date


def test_a_manifest_that_says_scheduled_deletion_itself_cancels_nothing(hsm: FakeHsm) -> None:
    orphan = a_settled_key(hsm, state=PENDING, bound=False)
    record = written(plan_key(key_facts(hsm, record=orphan, key=a_kms_key(scheduledDeletion={}))))
    assert (record.bound, record.state, record.deletion_date) == (True, PENDING, orphan.deletion_date)


# The end


def test_a_window_that_is_over_destroys_and_one_that_is_not_does_not(hsm: FakeHsm) -> None:
    pending, key = a_settled_key(hsm, state=PENDING), a_kms_key(scheduledDeletion={})
    assert plan_key(key_facts(hsm, record=pending, key=key)).step is None
    assert plan_key(key_facts(hsm, record=pending, key=key, window_over=True)).step == DestroyKey()
    orphan = replace(pending, bound=False)
    assert absent(hsm, orphan).step is None
    assert absent(hsm, orphan, window_over=True).step == DestroyKey()


@pytest.mark.parametrize("key", [{}, {"scheduledDeletion": {}, "annotations": {names.CANCEL_DELETION: "true"}}])
def test_who_cancels_at_the_last_moment_is_heard_first(hsm: FakeHsm, key: dict[str, Any]) -> None:
    pending = a_settled_key(hsm, state=PENDING)
    assert written(plan_key(key_facts(hsm, record=pending, key=a_kms_key(**key), window_over=True))).state is DISABLED


@pytest.mark.parametrize(
    ("key", "reason"),
    [
        ({"suspend": True}, Reason.SUSPENDED),
        ({"keySpec": "HMAC_256"}, Reason.INVALID_SPEC),
        ({"status": {"recordSeq": 9, "recordDigest": "00" * 32}}, Reason.RECORD_INTEGRITY),
        ({"status": {"keyId": "another"}}, Reason.RECORD_INTEGRITY),
    ],
)
def test_nothing_is_destroyed_in_spite_of_an_obstacle(hsm: FakeHsm, key: dict[str, Any], reason: Reason) -> None:
    pending = a_settled_key(hsm, state=PENDING)
    plan = plan_key(key_facts(hsm, record=pending, key=a_kms_key(scheduledDeletion={}, **key), window_over=True))
    assert plan.step is None
    assert plan.obstacle is not None
    assert plan.obstacle.reason is reason


def test_an_earlier_tenants_key_is_not_destroyed_by_a_later_tenants_object(hsm: FakeHsm) -> None:
    pending = a_settled_key(hsm, state=PENDING, namespace_uid=OTHER_UID)
    assert plan_key(key_facts(hsm, record=pending, key=a_kms_key(scheduledDeletion={}), window_over=True)).step is None


@pytest.mark.parametrize("facts", NOT_GONE)
def test_a_bound_key_whose_object_is_not_gone_is_not_destroyed(hsm: FakeHsm, facts: dict[str, Any]) -> None:
    assert absent(hsm, a_settled_key(hsm, state=PENDING), window_over=True, **facts).step is None


@pytest.mark.parametrize("crd", [None, CrdFacts("crd-1", terminating=True)])
def test_without_its_crd_no_orphan_is_destroyed(hsm: FakeHsm, crd: CrdFacts | None) -> None:
    """Nobody could apply it again."""
    assert absent(hsm, a_settled_key(hsm, state=PENDING, bound=False), window_over=True, crd=crd).step is None


def test_a_tombstone_holds_no_material_and_when_it_ended(hsm: FakeHsm) -> None:
    record = a_settled_key(hsm, state=PENDING, n_versions=3, held=True)
    dead = tombstone(record, NOW)
    assert states(dead) == (KeyState.DESTROYED, False, False)
    assert [version.wrapped for version in dead.versions] == [UNSET] * 3
    assert [version.material_id for version in dead.versions] == [version.material_id for version in record.versions]
    assert (dead.key_id, dead.hold, destroyed_at(dead)) == (record.key_id, record.hold, NOW)
    assert not waits_for(dead)


def test_a_new_key_after_destruction_needs_the_id_of_the_destroyed_one(hsm: FakeHsm) -> None:
    dead = tombstone(a_settled_key(hsm, state=PENDING), NOW)
    for value in (None, "", "true", "another-id"):
        annotations = {} if value is None else {names.NEW_KEY_AFTER_DESTRUCTION: value}
        plan = plan_key(key_facts(hsm, record=dead, key=a_kms_key(annotations=annotations)))
        assert plan.step is None
        assert plan.obstacle is not None
        assert plan.obstacle.reason is Reason.KEY_DESTROYED
        assert dead.key_id in plan.obstacle.message
    shown = {"keyId": dead.key_id, "keyState": "Destroyed"}
    key = a_kms_key(annotations={names.NEW_KEY_AFTER_DESTRUCTION: dead.key_id}, status=shown, keySpec="HMAC_256")
    step = plan_key(key_facts(hsm, record=dead, key=key)).step
    assert isinstance(step, CreateKey)
    assert step.aside
    assert set_aside(dead) == replace(dead, bound=False)


@pytest.mark.parametrize("about", [{"finalizers": ["other/finalizer"]}, {"deletionTimestamp": "2026-11-26T08:00:00Z"}])
def test_what_the_api_made_goes_with_its_key_and_nothing_else_does(hsm: FakeHsm, about: dict[str, Any]) -> None:
    dead = tombstone(a_settled_key(hsm, state=PENDING), NOW)
    made = {names.CREATED_BY: names.CREATED_BY_API}
    plan = plan_key(key_facts(hsm, record=dead, key=a_kms_key(about={"labels": made, **about})))
    assert plan.step == (None if "deletionTimestamp" in about else DeleteObject())
    for labels in ({}, {names.CREATED_BY: "somebody"}):
        assert plan_key(key_facts(hsm, record=dead, key=a_kms_key(about={"labels": labels}))).step is None


# Hold: beside all of these


@pytest.mark.parametrize("state", [ENABLED, DISABLED, PENDING])
def test_a_hold_latches_beside_every_state_and_changes_none(hsm: FakeHsm, state: KeyState) -> None:
    record = a_settled_key(hsm, state=state)
    spec = {"scheduledDeletion": {}} if state is PENDING else {}
    held = written(plan_key(key_facts(hsm, record=record, key=a_kms_key(annotations={names.HOLD: "x"}, **spec))))
    assert replace(held, hold=UNSET) == record
    for said in ({}, {names.HOLD: "another"}, {names.HOLD: "Released"}):
        assert plan_key(key_facts(hsm, record=held, key=a_kms_key(annotations=said, **spec))).step is None
    lifted = written(plan_key(key_facts(hsm, record=held, key=a_kms_key(annotations={names.HOLD: "released"}, **spec))))
    assert lifted == record


def test_a_hold_survives_deletion_the_window_and_its_cancelling(hsm: FakeHsm) -> None:
    held = a_settled_key(hsm, hold=HELD, **SCHEDULES)
    orphan = written(absent(hsm, held))
    assert (orphan.hold, orphan.state) == (HELD, PENDING)
    back = written(plan_key(key_facts(hsm, record=orphan, key=a_kms_key(enabled=True, **SCHEDULED))))
    assert (back.hold, back.state) == (HELD, ENABLED)


# The finalizer


def in_use(**changes: Any) -> Any:
    about = {"finalizers": ["theirs", names.IN_USE], **changes}
    return a_kms_key(about=about, **SCHEDULED)


def test_the_first_dependant_puts_the_finalizer_and_the_last_takes_it(hsm: FakeHsm) -> None:
    record = a_settled_key(hsm, **SCHEDULES)
    bare = key_facts(hsm, record=record, key=a_kms_key(**SCHEDULED), dependants=USED)
    assert plan_key(bare).step == SetFinalizer(present=True)
    assert plan_key(key_facts(hsm, record=record, key=in_use(), dependants=USED)).step is None
    assert plan_key(key_facts(hsm, record=record, key=in_use())).step == SetFinalizer(present=False)
    assert plan_key(key_facts(hsm, record=record, key=a_kms_key(**SCHEDULED))).step is None


def test_a_retain_key_has_no_finalizer(hsm: FakeHsm) -> None:
    assert plan_key(key_facts(hsm, dependants=USED)).step is None
    about = {"finalizers": [names.IN_USE]}
    assert plan_key(key_facts(hsm, key=a_kms_key(about=about), dependants=USED)).step == SetFinalizer(present=False)


@pytest.mark.parametrize("ending", ENDING)
@pytest.mark.parametrize("trouble", [{}, {"record": None}, {"suspend": True}, {"status": {"recordSeq": 9, "recordDigest": "00" * 32}}])
def test_nothing_is_held_in_what_ends(hsm: FakeHsm, ending: dict[str, Any], trouble: dict[str, Any]) -> None:
    facts: dict[str, Any] = {"record": trouble.get("record", a_settled_key(hsm, **SCHEDULES))}
    spec = {key: value for key, value in trouble.items() if key != "record"}
    key = a_kms_key(about={"finalizers": [names.IN_USE]}, **SCHEDULED, **spec)
    plan = plan_key(key_facts(hsm, key=key, dependants=USED, **facts, **ending))
    assert plan.step == SetFinalizer(present=False)
    bare = a_kms_key(**SCHEDULED, **spec)
    assert not isinstance(plan_key(key_facts(hsm, key=bare, dependants=USED, **facts, **ending)).step, SetFinalizer)


def test_a_terminating_key_in_use_works_on_and_gets_no_finalizer(hsm: FakeHsm) -> None:
    record, gone = a_settled_key(hsm, **SCHEDULES), {"deletionTimestamp": "2026-11-26T08:00:00Z"}
    assert plan_key(key_facts(hsm, record=record, key=in_use(**gone), dependants=USED)) == KeyPlan()
    assert plan_key(key_facts(hsm, record=record, key=in_use(**gone))).step == SetFinalizer(present=False)
    bare = a_kms_key(about={**gone, "finalizers": ["theirs"]}, **SCHEDULED)
    assert plan_key(key_facts(hsm, record=record, key=bare, dependants=USED)).step is None


def test_a_destroyed_key_lets_its_object_go(hsm: FakeHsm) -> None:
    dead = tombstone(a_settled_key(hsm, state=PENDING, **SCHEDULES), NOW)
    assert plan_key(key_facts(hsm, record=dead, key=in_use(), dependants=USED)).step == SetFinalizer(present=False)


def test_a_record_that_is_not_at_hand_lets_nothing_go(hsm: FakeHsm) -> None:
    key = a_kms_key(about={"finalizers": [names.IN_USE]}, status={"keyId": "lost"}, **SCHEDULED)
    assert plan_key(key_facts(hsm, record=None, key=key)).step is None


# An earlier tenant's


def earlier(hsm: FakeHsm, **changes: Any) -> KeyRecord:
    return a_settled_key(hsm, namespace_uid=OTHER_UID, **changes)


@pytest.mark.parametrize("state", [ENABLED, DISABLED, PENDING, KeyState.DESTROYED])
def test_a_name_of_an_earlier_tenant_is_taken_over_or_set_aside(hsm: FakeHsm, state: KeyState) -> None:
    record = earlier(hsm, state=state)
    plain = plan_key(key_facts(hsm, record=record))
    assert (plain.step, plain.obstacle and plain.obstacle.reason) == (None, Reason.ADOPTION_REQUIRED)
    as_new = plan_key(key_facts(hsm, record=record, key=a_kms_key(annotations={names.ADOPT: names.ADOPT_AS_NEW}))).step
    assert isinstance(as_new, CreateKey)
    assert as_new.aside
    adopting = plan_key(key_facts(hsm, record=record, key=a_kms_key(annotations={names.ADOPT: names.ADOPT_TRUE})))
    if state is KeyState.DESTROYED:
        assert adopting.step is None
    else:
        assert adopting.step == AdoptKey(UID)


def test_an_adopted_key_that_was_pending_ends_disabled(hsm: FakeHsm) -> None:
    taken = replace(earlier(hsm, state=PENDING), namespace_uid=UID)
    key = a_kms_key(annotations={names.ADOPT: names.ADOPT_TRUE})
    assert written(plan_key(key_facts(hsm, record=taken, key=key))).state is DISABLED


# Rotation in a life


@pytest.mark.parametrize("changes", [{"state": DISABLED}, {"state": PENDING}, {"hold": HELD}])
def test_a_key_that_is_stopped_never_rotates(hsm: FakeHsm, changes: dict[str, Any]) -> None:
    record = a_settled_key(hsm, **changes)
    spec = {"scheduledDeletion": {}} if record.state is PENDING else {}
    key = a_kms_key(annotations={names.ROTATE_REQUESTED_AT: "now"}, rotation={"enabled": True, "periodInDays": 90}, **spec)
    step = plan_key(key_facts(hsm, record=record, key=key, now=parse_time(record.created) + timedelta(days=400))).step
    assert not isinstance(step, RotateKey)
