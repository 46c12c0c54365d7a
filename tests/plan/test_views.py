"""Views: what status shows of a record, which conditions with which times, and which events, each once."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from msgspec import UNSET
from msgspec.structs import replace
from tests.builders import ACCOUNT, NOW
from tests.hsm.fake import FakeHsm
from tests.plan.facts import (
    DIGEST,
    a_data_key,
    a_data_key_version,
    a_kms_data_key,
    a_kms_key,
    a_settled_key,
)

from keystead.engine.identifiers import key_arn
from keystead.engine.plan.common import Obstacle, Opened
from keystead.engine.plan.key_settings import default_policy, policy_bytes
from keystead.engine.record import DataKeyRecord, KeyRecord, Rotation
from keystead.engine.rotation import next_rotation
from keystead.engine.view.data_key import data_key_notices, data_key_status
from keystead.engine.view.key import key_notices, key_status, state_of
from keystead.resources import names
from keystead.resources.conditions import Condition, find_condition
from keystead.resources.kms_data_key import KEY_ARNS_SHOWN, KmsDataKey
from keystead.resources.kms_key import KmsKey, KmsKeySpec, KmsKeyStatus
from keystead.resources.model import to_wire
from keystead.resources.reasons import REASONS, Outlook, Reason
from keystead.resources.vocabulary import KeySpec, KeyState, KeyUsage

OPENED = Opened("key-x", 3, DIGEST)
TAKEN = Obstacle(Reason.ADOPTION_REQUIRED, "the name is taken")
DAMAGED = Obstacle(Reason.RECORD_INTEGRITY, "no")
LATER = NOW + timedelta(hours=1)


def ready(conditions: tuple[Condition, ...], kind: str = "Ready") -> tuple[str, str]:
    found = find_condition(conditions, kind)
    assert found is not None
    return found.status.value, found.reason


def after(key: KmsKey, record: KeyRecord | None, obstacle: Obstacle | None = None, now: Any = NOW) -> KmsKey:
    """The key with the status that a pass would write."""
    return replace(key, status=key_status(key, record, OPENED, obstacle, now))


# KmsKey


def test_status_shows_the_record(hsm: FakeHsm) -> None:
    record = a_settled_key(hsm, n_versions=2, rotation=Rotation(enabled=True, period=365))
    status = key_status(a_kms_key(), record, OPENED, None, NOW)
    assert (status.key_id, status.key_arn) == (record.key_id, key_arn("cluster-1", record.account, record.key_id))
    assert (status.record_seq, status.record_digest) == (3, DIGEST)
    assert status.current_key_material_id == record.versions[1].material_id
    assert status.key_materials is not UNSET
    assert [material.key_material_id for material in status.key_materials] == [v.material_id for v in reversed(record.versions)]
    due = next_rotation(record)
    assert due is not None
    assert status.next_rotation_time == due.replace(microsecond=0)
    assert ready(status.conditions) == ("True", "Available")
    assert ready(status.conditions, "RotationSucceeded") == ("True", "Rotated")


def test_status_holds_no_wrapped_material(hsm: FakeHsm) -> None:
    import base64

    record = a_settled_key(hsm, n_versions=3)
    text = str(to_wire(key_status(a_kms_key(), record, OPENED, None, NOW)))
    for version in record.versions:
        assert isinstance(version.wrapped, bytes)
        assert base64.b64encode(version.wrapped).decode() not in text
        assert version.wrapped.hex() not in text


def test_16_materials_are_shown_at_most(hsm: FakeHsm) -> None:
    status = key_status(a_kms_key(), a_settled_key(hsm, n_versions=18), OPENED, None, NOW)
    assert status.key_materials is not UNSET
    assert len(status.key_materials) == 16


def test_an_asymmetric_key_shows_its_public_key(hsm: FakeHsm) -> None:
    record = a_settled_key(hsm, spec=KeySpec.ECC_NIST_P256, usage=KeyUsage.SIGN_VERIFY, rotation=UNSET)
    status = key_status(a_kms_key(), record, OPENED, None, NOW)
    assert status.public_key is not UNSET
    assert status.public_key.startswith("-----BEGIN PUBLIC KEY-----")


@pytest.mark.parametrize(
    ("changes", "state", "kstatus"),
    [
        ({}, KeyState.ENABLED, ("True", "Available")),
        ({"state": KeyState.DISABLED}, KeyState.DISABLED, ("True", "Disabled")),
        ({"held": True}, KeyState.DISABLED, ("False", "Held")),
        ({"held": True, "state": KeyState.PENDING_DELETION}, KeyState.PENDING_DELETION, ("False", "Held")),
        ({"state": KeyState.PENDING_DELETION}, KeyState.PENDING_DELETION, ("True", "PendingDeletion")),
        ({"policy": b"{}"}, KeyState.ENABLED, ("True", "Available")),
    ],
)
def test_each_state_has_its_kstatus(hsm: FakeHsm, changes: dict[str, Any], state: KeyState, kstatus: tuple[str, str]) -> None:
    status = key_status(a_kms_key(), a_settled_key(hsm, **changes), OPENED, None, NOW)
    assert status.key_state is state
    assert ready(status.conditions) == kstatus
    stalled = "True" if REASONS[Reason(kstatus[1])].outlook is Outlook.FAILED else "False"
    assert ready(status.conditions, "Stalled")[0] == stalled


OWN = {"Version": "2012-10-17", "Id": "own"}
OTHER = {"Version": "2012-10-17", "Id": "other"}


@pytest.mark.parametrize(
    ("said", "recorded", "shown"),
    [
        ({}, UNSET, UNSET),
        ({}, policy_bytes(OWN), OWN),
        ({"policy": OWN}, policy_bytes(OWN), UNSET),
        ({"policy": default_policy(ACCOUNT)}, UNSET, UNSET),
        ({"policy": OTHER}, policy_bytes(OWN), OWN),
        ({"policy": OTHER}, UNSET, default_policy(ACCOUNT)),
        ({"policy": default_policy(ACCOUNT)}, policy_bytes(OWN), OWN),
        ({"policy": {"Id": "x" * 33_000}}, policy_bytes(OWN), OWN),
    ],
)
def test_the_policy_that_counts_is_shown_where_spec_does_not_say_it(
    hsm: FakeHsm, said: dict[str, Any], recorded: Any, shown: Any
) -> None:
    assert key_status(a_kms_key(**said), a_settled_key(hsm, policy=recorded), OPENED, None, NOW).policy == shown


def test_a_condition_of_an_earlier_version_goes(hsm: FakeHsm) -> None:
    told = {
        "type": "PolicyEnforced",
        "status": "False",
        "reason": "PolicyNotEnforced",
        "lastTransitionTime": "2026-11-25T08:00:00Z",
    }
    key = a_kms_key(status={"conditions": [told]})
    assert {c.type for c in key_status(key, a_settled_key(hsm), OPENED, None, NOW).conditions} == {"Ready", "Reconciling", "Stalled"}


def test_a_stopped_key_shows_no_next_rotation(hsm: FakeHsm) -> None:
    record = a_settled_key(hsm, state=KeyState.DISABLED, rotation=Rotation(enabled=True, period=90))
    assert key_status(a_kms_key(), record, OPENED, None, NOW).next_rotation_time is UNSET


@pytest.mark.parametrize("obstacle", [TAKEN, DAMAGED])
def test_a_record_that_is_not_this_objects_is_not_shown(hsm: FakeHsm, obstacle: Obstacle) -> None:
    record = a_settled_key(hsm, n_versions=2)
    status = key_status(a_kms_key(), record, OPENED, obstacle, NOW)
    text = str(to_wire(status))
    assert all(secret not in text for secret in (record.key_id, record.account, record.versions[0].material_id, DIGEST))
    assert status.key_state is UNSET
    assert [notice.reason for notice in key_notices(a_kms_key(), record, obstacle)] == [obstacle.reason]


def test_damage_leaves_what_was_shown_before(hsm: FakeHsm) -> None:
    key = after(a_kms_key(), a_settled_key(hsm))
    damaged = key_status(key, None, None, DAMAGED, LATER)
    assert damaged.key_id == key.status.key_id
    assert damaged.record_digest == DIGEST
    assert ready(damaged.conditions) == ("False", "RecordIntegrity")


def test_transition_times_move_only_with_the_status(hsm: FakeHsm) -> None:
    key = after(a_kms_key(), a_settled_key(hsm))
    same = key_status(key, a_settled_key(hsm), OPENED, None, LATER)
    assert same == key.status  # an idle pass writes nothing
    disabled = key_status(key, a_settled_key(hsm, state=KeyState.DISABLED), OPENED, None, LATER)
    assert [c.last_transition_time for c in disabled.conditions if c.type == "Ready"] == [NOW]  # True before and after
    held = key_status(key, a_settled_key(hsm, held=True), OPENED, None, LATER)
    assert [c.last_transition_time for c in held.conditions if c.type in ("Ready", "Stalled")] == [LATER, LATER]


def test_other_controllers_conditions_stay(hsm: FakeHsm) -> None:
    foreign = {"type": "Audited", "status": "True", "reason": "X", "lastTransitionTime": "2026-01-01T00:00:00Z"}
    status = key_status(a_kms_key(status={"conditions": [foreign]}), a_settled_key(hsm), OPENED, None, NOW)
    assert ready(status.conditions, "Audited") == ("True", "X")


def test_a_forged_status_is_replaced_by_the_records_view(hsm: FakeHsm) -> None:
    words = {"keyArn": "arn:forged", "keyState": "Enabled", "protectionLevel": "HSM", "publicKey": "x"}
    forged = {**words, "nextRotationTime": "2030-01-01T00:00:00Z"}
    record = a_settled_key(hsm, state=KeyState.DISABLED)
    status = key_status(a_kms_key(status=forged), record, OPENED, None, NOW)
    assert status == replace(key_status(a_kms_key(), record, OPENED, None, NOW), conditions=status.conditions)


def test_the_reconcile_request_is_answered(hsm: FakeHsm) -> None:
    key = a_kms_key(annotations={"kms.keystead.io/reconcile-requested-at": "x" * 300}, about={"generation": 7})
    status = key_status(key, a_settled_key(hsm), OPENED, None, NOW)
    assert (status.last_handled_reconcile_at, status.observed_generation) == ("x" * 256, 7)


def reasons(key: KmsKey, record: KeyRecord | None, obstacle: Obstacle | None = None) -> list[str]:
    return [notice.reason for notice in key_notices(key, record, obstacle)]


def test_each_event_of_a_key_is_told_once(hsm: FakeHsm) -> None:
    born, rotated = a_settled_key(hsm), a_settled_key(hsm, n_versions=2, seq=2, prev=DIGEST)
    key = a_kms_key()
    assert reasons(key, born) == ["Created"]
    key = after(key, born)
    assert reasons(key, born) == []
    assert reasons(key, rotated) == ["Rotated"]
    key = after(key, rotated)
    assert reasons(key, rotated) == []
    assert reasons(a_kms_key(), rotated) == ["Reattached"]


def test_a_stall_is_told_once_a_cause(hsm: FakeHsm) -> None:
    unsupported = Obstacle(Reason.KEY_SPEC_UNSUPPORTED, "no")
    key = a_kms_key()
    assert reasons(key, None, unsupported) == ["KeySpecUnsupported"]
    key = after(key, None, unsupported)
    assert reasons(key, None, unsupported) == []
    assert reasons(key, None, DAMAGED) == ["RecordIntegrity"]
    assert reasons(key, None, Obstacle(Reason.ENGINE_UNAVAILABLE, "wait")) == []  # heals alone: no event


def test_every_state_has_words(hsm: FakeHsm) -> None:
    assert state_of(None).reason is Reason.CREATING
    for state in (KeyState.ENABLED, KeyState.DISABLED, KeyState.PENDING_DELETION):
        assert state_of(a_settled_key(hsm, state=state)).message


def test_an_empty_status_is_the_default() -> None:
    assert KmsKey(spec=KmsKeySpec()).status == KmsKeyStatus()


# KmsDataKey


def shown(data_key: KmsDataKey, record: DataKeyRecord | None, key: KeyRecord | None, obstacle: Obstacle | None = None) -> KmsDataKey:
    return replace(data_key, status=data_key_status(data_key, record, OPENED, key, obstacle, NOW))


def test_a_data_keys_status_shows_versions_and_no_blob(hsm: FakeHsm) -> None:
    import base64

    key = a_settled_key(hsm)
    made = [a_data_key_version(n, blob=b"secret-blob-%d" % n, key_material_id=key.current_version.material_id) for n in (1, 2)]
    status = shown(a_kms_data_key(), a_data_key(key, versions=made), key).status
    assert (status.version, status.secret_name, status.key_name) == (2, "s", "key-1")
    assert ready(status.conditions, "Rewrapped") == ("True", "Rewrapped")
    text = str(to_wire(status))
    assert base64.b64encode(b"secret-blob-2").decode() not in text
    assert "secret-blob" not in text


def under(key: KeyRecord, arns: list[str]) -> DataKeyRecord:
    """A data key with a version under each of these."""
    made = [a_data_key_version(n, key_material_id=key.current_version.material_id) for n in range(1, len(arns) + 1)]
    record = a_data_key(key, versions=made)
    return replace(record, versions=[replace(version, key_arn=arn) for version, arn in zip(record.versions, arns, strict=True)])


def test_a_data_keys_status_has_the_keys_of_all_its_versions_once_each(hsm: FakeHsm) -> None:
    """Of a version that left the Secret, too: whoever has data under it needs the key."""
    old, new = a_settled_key(hsm, n=2), a_settled_key(hsm)
    arns = [key_arn("cluster-1", key.account, key.key_id) for key in (old, new)]
    status = shown(a_kms_data_key(), under(new, arns[:1] * 2 + arns[1:] * 2), new).status
    assert status.versions is not UNSET and 1 not in status.versions
    assert (status.key_arn, status.key_arns) == (arns[1], tuple(sorted(arns)))


def test_of_very_many_keys_those_of_the_newest_versions_are_shown(hsm: FakeHsm) -> None:
    key = a_settled_key(hsm)
    arns = [f"arn:aws:kms:r:1:key/{n:03}" for n in range(KEY_ARNS_SHOWN + 5)]
    assert shown(a_kms_data_key(), under(key, arns), key).status.key_arns == tuple(arns[5:])


def test_rewrap_progress_is_shown(hsm: FakeHsm) -> None:
    key = a_settled_key(hsm, n_versions=2)
    old, new = (version.material_id for version in key.versions)
    made = [a_data_key_version(1, key_material_id=old), a_data_key_version(2, key_material_id=new)]
    status = shown(a_kms_data_key(), a_data_key(key, versions=made), key).status
    assert status.rewrap is not UNSET
    assert (status.rewrap.key_material_id, status.rewrap.total, status.rewrap.done) == (new, 2, 1)
    assert ready(status.conditions, "Rewrapped") == ("False", "Rewrapping")


@pytest.mark.parametrize("obstacle", [TAKEN, DAMAGED])
def test_a_data_key_record_that_is_not_this_objects_is_not_shown(hsm: FakeHsm, obstacle: Obstacle) -> None:
    record = a_data_key(a_settled_key(hsm))
    data_key = shown(a_kms_data_key(), record, a_settled_key(hsm), obstacle)
    text = str(to_wire(data_key.status))
    assert record.current_version.key_arn not in text
    assert data_key.status.version is UNSET
    assert [notice.reason for notice in data_key_notices(a_kms_data_key(), record, obstacle)] == [obstacle.reason]


def test_each_event_of_a_data_key_is_told_once(hsm: FakeHsm) -> None:
    key = a_settled_key(hsm, n_versions=2)
    old, new = (version.material_id for version in key.versions)
    first = a_data_key(key, versions=[a_data_key_version(1, key_material_id=old)])
    second = a_data_key(key, versions=[*first.versions, a_data_key_version(2, key_material_id=old)], seq=3, prev=DIGEST)
    third = replace(second, versions=[replace(version, key_material_id=new) for version in second.versions])
    data_key, told = a_kms_data_key(), []
    for record in (first, first, second, second, third, third):
        told.append([notice.reason for notice in data_key_notices(data_key, record, None)])
        data_key = shown(data_key, record, key)
    assert told == [["Created"], [], ["Rotated"], [], ["Rewrapped"], []]
    assert [notice.reason for notice in data_key_notices(a_kms_data_key(), second, None)] == ["Reattached"]


def test_an_adopted_data_key_says_so(hsm: FakeHsm) -> None:
    key = a_settled_key(hsm)
    record = a_data_key(key, versions=[a_data_key_version(1)], seq=3, prev=DIGEST)
    adopting = a_kms_data_key(annotations={names.ADOPT: names.ADOPT_TRUE})
    assert [notice.reason for notice in data_key_notices(adopting, record, None)] == ["Adopted"]
