"""plan_data_key: issue, rotate, re-wrap, deliver, absence; which versions stand in the Secret."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import UNSET
from msgspec.structs import replace
from tests.builders import NOW, OTHER_UID, UID
from tests.hsm.fake import FakeHsm
from tests.plan.facts import (
    a_data_key,
    a_data_key_version,
    a_kms_data_key,
    a_secret,
    a_settled_key,
    at,
    data_key_facts,
    the_secret,
)

from keystead.engine.clock import format_time
from keystead.engine.plan.common import CrdFacts, NamespaceFacts
from keystead.engine.plan.data_key import (
    DataKeyPlan,
    Deliver,
    Issue,
    Rewrap,
    WriteDataKey,
    plan_data_key,
    spec_name,
)
from keystead.engine.plan.data_key_versions import next_change, next_data_key_rotation, visible_versions
from keystead.engine.record import DataKeyRecord, DataKeyVersion
from keystead.engine.record.datakey import DataKeyTarget
from keystead.resources import names
from keystead.resources.reasons import Reason
from keystead.resources.vocabulary import KeyState

ASKED = {names.ROTATE_REQUESTED_AT: "now"}
DAILY = {"periodInDays": 1}


def versions(hsm: FakeHsm, *created: str, **changes: Any) -> list[DataKeyVersion]:
    """Versions of these moments, under the key's current material."""
    material = a_settled_key(hsm).current_version.material_id
    return [
        a_data_key_version(n, created=moment, **{"key_material_id": material, **changes})
        for n, moment in enumerate(created, 1)
    ]


def record_of(hsm: FakeHsm, *created: str, **changes: Any) -> DataKeyRecord:
    return a_data_key(a_settled_key(hsm), versions=versions(hsm, *created), **changes)


def test_a_settled_data_key_has_nothing_to_do(hsm: FakeHsm) -> None:
    assert plan_data_key(data_key_facts(hsm)) == DataKeyPlan()


def test_a_new_data_key_is_issued_first(hsm: FakeHsm) -> None:
    assert plan_data_key(data_key_facts(hsm, record=None)) == DataKeyPlan(Issue(1))
    foreign = a_secret()
    assert plan_data_key(data_key_facts(hsm, record=None, secret=foreign)) == DataKeyPlan(Issue(1))


def test_a_recorded_data_key_is_delivered_next(hsm: FakeHsm) -> None:
    step = plan_data_key(data_key_facts(hsm, secret=None)).step
    assert isinstance(step, Deliver)
    assert step.desired.data["ciphertext"] == b"blob-1"


def test_a_new_secrets_uid_is_remembered(hsm: FakeHsm) -> None:
    record = a_data_key(a_settled_key(hsm), target=DataKeyTarget(secret_name="s", injected=False))
    step = plan_data_key(data_key_facts(hsm, record=record)).step
    assert step == WriteDataKey(replace(record, target=DataKeyTarget(secret_name="s", injected=False, secret_uid="secret-1")))


def test_an_edited_secret_is_put_right_and_nothing_is_generated(hsm: FakeHsm) -> None:
    record, data_key = a_data_key(a_settled_key(hsm)), a_kms_data_key()
    for data in ({}, {"ciphertext": b"x"}, {**the_secret(data_key, record).data, "ciphertext.9": b"y"}):
        step = plan_data_key(data_key_facts(hsm, secret=the_secret(data_key, record, data=data))).step
        assert isinstance(step, Deliver)
        assert step.desired.data == the_secret(data_key, record).data


def test_a_deleted_foreign_secret_is_not_made_by_us(hsm: FakeHsm) -> None:
    target = DataKeyTarget(secret_name="s", injected=True, secret_uid="secret-1")
    plan = plan_data_key(data_key_facts(hsm, secret=None, record=a_data_key(a_settled_key(hsm), target=target)))
    assert plan.step is None
    assert plan.obstacle is not None
    assert plan.obstacle.reason is Reason.TARGET_NOT_FOUND


def test_a_reapplied_data_key_takes_up_its_record(hsm: FakeHsm) -> None:
    orphan = a_data_key(a_settled_key(hsm), bound=False)
    again = a_kms_data_key(about={"uid": "object-2"})
    step = plan_data_key(data_key_facts(hsm, data_key=again, record=orphan)).step
    assert step == WriteDataKey(replace(orphan, bound=True, object_uid="object-2"))


# Rotation


def test_a_data_key_rotates_a_period_after_its_current_version(hsm: FakeHsm) -> None:
    data_key, record = a_kms_data_key(rotation=DAILY), record_of(hsm, "2026-11-24T00:00:00Z", "2026-11-25T00:00:00Z")
    due = at("2026-11-26T00:00:00Z")
    assert next_data_key_rotation(data_key, record) == due
    secret = the_secret(data_key, record, (2, 1))
    facts = {"data_key": data_key, "record": record, "secret": secret}
    assert plan_data_key(data_key_facts(hsm, **facts, now=due - timedelta(seconds=1))).step is None
    assert plan_data_key(data_key_facts(hsm, **facts, now=due)).step == Issue(3)


def test_a_long_absence_owes_one_rotation(hsm: FakeHsm) -> None:
    data_key, record = a_kms_data_key(rotation=DAILY), record_of(hsm, "2026-01-01T00:00:00Z")
    assert plan_data_key(data_key_facts(hsm, data_key=data_key, record=record)).step == Issue(2)
    after = record_of(hsm, "2026-01-01T00:00:00Z", format_time(NOW))
    assert isinstance(plan_data_key(data_key_facts(hsm, data_key=data_key, record=after, secret=None)).step, Deliver)


def test_a_request_issues_one_version(hsm: FakeHsm) -> None:
    data_key = a_kms_data_key(annotations=ASKED)
    assert plan_data_key(data_key_facts(hsm, data_key=data_key)).step == Issue(2)
    answered = a_data_key(a_settled_key(hsm), last_rotate_request="now")
    assert plan_data_key(data_key_facts(hsm, data_key=data_key, record=answered)).step is None


def test_an_immutable_target_is_never_rotated(hsm: FakeHsm) -> None:
    data_key = a_kms_data_key(annotations=ASKED, target={"secretName": "s", "immutable": True})
    assert plan_data_key(data_key_facts(hsm, data_key=data_key)).step is None
    assert next_data_key_rotation(data_key, a_data_key(a_settled_key(hsm))) is None


def test_a_key_that_cannot_be_used_delivers_what_is_recorded(hsm: FakeHsm) -> None:
    key = a_settled_key(hsm, state=KeyState.DISABLED)
    plan = plan_data_key(data_key_facts(hsm, key=key, secret=None, data_key=a_kms_data_key(annotations=ASKED)))
    assert isinstance(plan.step, Deliver)
    assert plan.obstacle is not None
    assert plan.obstacle.reason is Reason.DEPENDENCY_NOT_READY


# Re-wrap


def test_versions_under_older_material_are_rewrapped_newest_first(hsm: FakeHsm) -> None:
    key = a_settled_key(hsm, n_versions=2)
    old, new = (version.material_id for version in key.versions)
    made = [a_data_key_version(n, key_material_id=old) for n in (1, 2, 3)]
    assert plan_data_key(data_key_facts(hsm, key=key, record=a_data_key(key, versions=made))).step == Rewrap(3)
    made[2] = replace(made[2], key_material_id=new)
    assert plan_data_key(data_key_facts(hsm, key=key, record=a_data_key(key, versions=made))).step == Rewrap(2)
    made = [replace(version, key_material_id=new) for version in made]
    record = a_data_key(key, versions=made)
    secret = the_secret(a_kms_data_key(), record, (3,))
    assert plan_data_key(data_key_facts(hsm, key=key, record=record, secret=secret)).step is None


def test_a_due_rotation_comes_before_the_rewrap(hsm: FakeHsm) -> None:
    key = a_settled_key(hsm, n_versions=2)
    record = a_data_key(key, versions=[a_data_key_version(key_material_id=key.versions[0].material_id)])
    assert plan_data_key(data_key_facts(hsm, key=key, record=record, data_key=a_kms_data_key(annotations=ASKED))).step == Issue(2)


def test_an_immutable_data_key_is_not_rewrapped(hsm: FakeHsm) -> None:
    """Its Secret could not follow; record and Secret stay the same, and the old blob opens for ever."""
    data_key = a_kms_data_key(target={"secretName": "s", "immutable": True})
    key = a_settled_key(hsm, n_versions=2)
    record = a_data_key(key, versions=[a_data_key_version(key_material_id=key.versions[0].material_id)])
    secret = the_secret(data_key, record)
    assert plan_data_key(data_key_facts(hsm, key=key, data_key=data_key, record=record, secret=secret)) == DataKeyPlan()


def test_garbage_in_an_immutable_secret_is_not_believed(hsm: FakeHsm) -> None:
    data_key = a_kms_data_key()
    record = a_data_key(a_settled_key(hsm))
    good = the_secret(data_key, record)
    bad = the_secret(data_key, record, data={**good.data, "ciphertext": b"garbage"}, immutable=True)
    assert isinstance(plan_data_key(data_key_facts(hsm, data_key=data_key, record=record, secret=bad)).step, Deliver)


def test_an_immutable_secret_that_somebody_made_again_is_not_believed(hsm: FakeHsm) -> None:
    data_key = a_kms_data_key(target={"secretName": "s", "immutable": True})
    record = a_data_key(a_settled_key(hsm))
    fake = the_secret(data_key, record, uid="another", data={"ciphertext": b"theirs"})
    step = plan_data_key(data_key_facts(hsm, data_key=data_key, record=record, secret=fake)).step
    assert isinstance(step, Deliver)
    assert step.desired.data["ciphertext"] == b"blob-1"


# Absent


def test_a_deleted_data_key_leaves_its_record(hsm: FakeHsm) -> None:
    record = a_data_key(a_settled_key(hsm))
    plan = plan_data_key(data_key_facts(hsm, data_key=None, record=record, secret=None))
    assert plan.step == WriteDataKey(replace(record, bound=False))
    gone = replace(record, bound=False)
    assert plan_data_key(data_key_facts(hsm, data_key=None, record=gone)) == DataKeyPlan()


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
def test_a_data_key_that_is_absent_for_another_reason_is_not_gone(hsm: FakeHsm, changes: dict[str, Any]) -> None:
    plan = plan_data_key(data_key_facts(hsm, data_key=None, **changes))
    assert plan.step is None
    assert "has no object, but" in plan.note


# Which versions stand in the Secret


def shown(hsm: FakeHsm, rotation: dict[str, Any], now: datetime, *created: str) -> tuple[int, ...]:
    return visible_versions(a_kms_data_key(rotation={"periodInDays": 90, **rotation}), record_of(hsm, *created), now)


THREE = ("2026-11-01T00:00:00Z", "2026-11-20T00:00:00Z", "2026-11-26T00:00:00Z")  # NOW is 8 hours later


@pytest.mark.parametrize(
    ("rotation", "expected"),
    [
        ({}, (3, 2)),  # 24 h of overlap, one kept
        ({"overlap": "8h"}, (3,)),  # over at this very moment
        ({"overlap": "8h1s"}, (3, 2)),
        ({"keepVersions": 2, "overlap": "1h"}, (3, 2)),
        ({"keepVersions": 16, "overlap": "1h"}, (3, 2, 1)),
        ({"overlap": "168h"}, (3, 2, 1)),
    ],
)
def test_the_newest_and_those_in_their_overlap_stand_in_the_secret(
    hsm: FakeHsm, rotation: dict[str, Any], expected: tuple[int, ...]
) -> None:
    assert shown(hsm, rotation, NOW, *THREE) == expected


@given(
    hours=st.lists(st.integers(1, 100), min_size=1, max_size=8),
    keep=st.integers(1, 16),
    overlap=st.integers(0, 300),
    past=st.integers(0, 400),
)
def test_the_current_version_always_stands_and_the_next_look_is_when_that_changes(
    hours: list[int], keep: int, overlap: int, past: int
) -> None:
    moments, moment = [], at("2026-01-01T00:00:00Z")
    for step in hours:
        moment += timedelta(hours=step)
        moments.append(format_time(moment))
    data_key = a_kms_data_key(rotation={"periodInDays": 2560, "keepVersions": keep, "overlap": f"{overlap}h"})
    record, now = record_of(_HSM, *moments), moment + timedelta(hours=past)
    seen = visible_versions(data_key, record, now)
    assert seen[0] == len(hours)
    assert list(seen) == sorted(seen, reverse=True)
    assert len(seen) >= min(keep, len(hours))
    change = next_change(data_key, record, now)
    assert change is not None
    assert change > now
    assert visible_versions(data_key, record, change - timedelta(seconds=1)) == seen


_HSM = FakeHsm()


def test_without_rotation_nothing_changes_by_time_alone(hsm: FakeHsm) -> None:
    assert next_change(a_kms_data_key(), record_of(hsm, "2026-11-01T00:00:00Z"), NOW) is None


def test_after_the_overlap_the_old_version_leaves_the_secret(hsm: FakeHsm) -> None:
    data_key = a_kms_data_key(rotation={"periodInDays": 90, "overlap": "8h"})
    record = record_of(hsm, "2026-11-01T00:00:00Z", "2026-11-26T00:00:00Z")
    secret = the_secret(data_key, record, (2, 1))
    step = plan_data_key(data_key_facts(hsm, data_key=data_key, record=record, secret=secret)).step
    assert isinstance(step, Deliver)
    assert sorted(step.desired.data) == ["ciphertext", "ciphertext.2", "meta.json"]
    assert step.desired.stale(secret) == ("ciphertext.1",)


@pytest.mark.parametrize(
    ("spec", "expected"),
    [({}, "AES_256"), ({"dataKeySpec": "RSA_2048"}, "RSA_2048"), ({"numberOfBytes": 64}, UNSET)],
)
def test_a_data_key_is_aes_256_where_nothing_is_said(spec: dict[str, Any], expected: object) -> None:
    assert spec_name(a_kms_data_key(**spec).spec) == expected
