"""Rotation: its schedule, on demand, and what was rotated."""

from __future__ import annotations

from datetime import timedelta

import pytest
from tests.builders import NOW

from keystead.engine.identifiers import key_arn
from keystead.engine.rotation import next_rotation
from keystead.errors import KmsError
from keystead.operations.control.rotation import (
    DisableKeyRotationRequest,
    EnableKeyRotationRequest,
    GetKeyRotationStatusRequest,
    IncludeKeyMaterial,
    KeyMaterialState,
    ListKeyRotationsRequest,
    RotateKeyOnDemandRequest,
    RotationType,
)
from keystead.operations.encryption import DecryptRequest, EncryptRequest
from keystead.operations.writes import Annotate
from keystead.resources.vocabulary import KeySpec, KeyUsage

ALL = [
    EnableKeyRotationRequest,
    DisableKeyRotationRequest,
    GetKeyRotationStatusRequest,
    RotateKeyOnDemandRequest,
    ListKeyRotationsRequest,
]
WINDOW = {"cron": "0 3 * * 6", "timezone": "UTC", "duration": "4h"}


def arn(key) -> str:
    return key_arn(key.region, key.account, key.key_id)


def refusal(desk, request, **how) -> KmsError:
    with pytest.raises(KmsError) as caught:
        desk.call(request, **how)
    return caught.value


def status(desk, key):
    return desk.call(GetKeyRotationStatusRequest(key_id=key.key_id))


def rotate(desk, key, **how):
    return desk.call(RotateKeyOnDemandRequest(key_id=key.key_id), **how)


def rotations(desk, key, **members):
    return desk.call(ListKeyRotationsRequest(key_id=key.key_id, **members)).rotations


def test_a_new_key_does_not_rotate(desk):
    answer = status(desk, desk.apply("k"))
    assert (answer.key_rotation_enabled, answer.rotation_period_in_days, answer.next_rotation_date) == (False, None, None)


@pytest.mark.parametrize(("asked", "days"), [(None, 365), (90, 90), (2560, 2560)])
def test_rotation_is_enabled(desk, asked, days):
    key = desk.apply("k")
    desk.call(EnableKeyRotationRequest(key_id=key.key_id, rotation_period_in_days=asked))
    answer = status(desk, key)
    assert (answer.key_rotation_enabled, answer.key_id, answer.rotation_period_in_days) == (True, key.key_id, days)
    assert answer.next_rotation_date == next_rotation(desk.record("k"), NOW)
    assert timedelta(days=days) <= answer.next_rotation_date - NOW <= timedelta(days=days, hours=1)


@pytest.mark.parametrize(("days", "bound"), [(89, "greater than or equal to 90"), (2561, "less than or equal to 2560")])
def test_a_period_has_90_to_2560_days(desk, days, bound):
    key = desk.apply("k")
    error = refusal(desk, EnableKeyRotationRequest(key_id=key.key_id, rotation_period_in_days=days))
    assert error.message == (
        f"1 validation error detected: Value '{days}' at 'rotationPeriodInDays' failed to satisfy constraint: "
        f"Member must have value {bound}"
    )


def test_a_period_is_changed_and_windows_stay(desk):
    key = desk.apply("k", rotation={"enabled": True, "periodInDays": 100, "windows": [WINDOW]})
    desk.call(EnableKeyRotationRequest(key_id=key.key_id, rotation_period_in_days=200))
    rotation = desk.record("k").rotation
    assert (rotation.enabled, rotation.period, len(rotation.windows)) == (True, 200, 1)


def test_rotation_is_disabled_and_the_period_is_kept_in_the_record(desk):
    key = desk.apply("k", rotation={"enabled": True, "periodInDays": 100, "windows": [WINDOW]})
    desk.call(DisableKeyRotationRequest(key_id=key.key_id))
    rotation = desk.record("k").rotation
    assert (rotation.enabled, rotation.period, len(rotation.windows)) == (False, 100, 1)
    assert status(desk, key).key_rotation_enabled is False


def test_what_is_so_already_is_not_written(desk):
    key = desk.apply("k", rotation={"enabled": True, "periodInDays": 365})
    desk.call(EnableKeyRotationRequest(key_id=key.key_id))
    other = desk.apply("other")
    desk.call(DisableKeyRotationRequest(key_id=other.key_id))
    assert desk.changes == []


def test_a_key_pending_deletion_does_not_rotate_and_says_so(desk):
    key = desk.apply("k", rotation={"enabled": True}, scheduledDeletion={})
    assert status(desk, key).key_rotation_enabled is False


def test_a_disabled_key_keeps_its_status_and_has_no_date(desk):
    key = desk.apply("k", rotation={"enabled": True}, enabled=False)
    answer = status(desk, key)
    assert (answer.key_rotation_enabled, answer.next_rotation_date) == (True, None)


@pytest.mark.parametrize("request_type", ALL)
@pytest.mark.parametrize(
    ("spec", "usage"),
    [(KeySpec.ECC_NIST_P256, KeyUsage.SIGN_VERIFY), (KeySpec.HMAC_256, KeyUsage.GENERATE_VERIFY_MAC)],
)
def test_only_symmetric_keys_rotate(desk, request_type, spec, usage):
    key = desk.apply("k", keySpec=spec.value, keyUsage=usage.value)
    error = refusal(desk, request_type(key_id=key.key_id))
    assert (error.code, error.message) == ("UnsupportedOperationException", "")


@pytest.mark.parametrize("request_type", ALL)
def test_an_alias_is_no_key_id_here(desk, request_type):
    assert refusal(desk, request_type(key_id="alias/x")).message == "Invalid keyId 'alias/x'"


# On demand


def test_a_key_rotates_on_demand_and_old_ciphertexts_open(desk):
    key = desk.apply("k")
    blob = desk.call(EncryptRequest(key_id=key.key_id, plaintext=b"old")).ciphertext_blob
    assert rotate(desk, key).key_id == arn(key)
    now = desk.record("k")
    assert (now.n_versions, now.on_demand_rotations) == (2, 1)
    assert desk.call(DecryptRequest(ciphertext_blob=blob)).plaintext == b"old"
    (change,) = desk.changes
    assert isinstance(change.write, Annotate)
    assert not change.narrows


def test_a_retry_of_the_sdk_rotates_once(desk):
    key = desk.apply("k")
    for _ in range(3):
        rotate(desk, key, invocation="i-1")
    assert desk.record("k").n_versions == 2


def test_two_calls_rotate_twice(desk):
    key = desk.apply("k")
    rotate(desk, key, invocation="i-1")
    rotate(desk, key, invocation="i-2")
    rotate(desk, key)
    assert desk.record("k").n_versions == 4


def test_the_same_call_on_another_key_rotates_that_one(desk):
    one, two = desk.apply("one"), desk.apply("two")
    rotate(desk, one, invocation="i-1")
    rotate(desk, two, invocation="i-1")
    assert (desk.record("one").n_versions, desk.record("two").n_versions) == (2, 2)


def test_a_key_rotates_25_times_on_demand(desk):
    key = desk.apply("k")
    for _ in range(25):
        rotate(desk, key)
    error = refusal(desk, RotateKeyOnDemandRequest(key_id=key.key_id))
    assert (error.code, error.message) == (
        "LimitExceededException",
        "The on-demand rotations limit has been reached for the given keyId. No more on-demand rotations can be performed for this "
        f"key: {arn(key)}",
    )
    assert desk.record("k").n_versions == 26


def test_the_retry_of_the_25th_is_no_26th(desk):
    key = desk.apply("k")
    for n in range(25):
        rotate(desk, key, invocation=f"i-{n}")
    rotate(desk, key, invocation="i-24")


@pytest.mark.parametrize(("before", "refused"), [(timedelta(minutes=19), True), (timedelta(hours=2), False)])
def test_no_rotation_on_demand_shortly_before_a_scheduled_one(desk, before, refused):
    key = desk.apply("k", rotation={"enabled": True, "periodInDays": 90})
    desk.world.clock.moment = next_rotation(key) - before
    if refused:
        assert refusal(desk, RotateKeyOnDemandRequest(key_id=key.key_id)).code == "ConflictException"
        assert desk.changes == []
    else:
        rotate(desk, key)


@pytest.mark.parametrize("held", [True, False])
def test_a_disabled_or_held_key_does_not_rotate(desk, held):
    key = desk.apply("k", enabled=held)
    if held:
        desk.annotate("k", hold="x")
    error = refusal(desk, RotateKeyOnDemandRequest(key_id=key.key_id))
    assert (error.code, error.message) == ("DisabledException", f"{arn(key)} is disabled.")


# What was rotated


def test_a_key_that_never_rotated_has_no_rotations(desk):
    assert rotations(desk, desk.apply("k")) == ()


def test_rotations_are_told_oldest_first_with_what_caused_them(desk):
    key = desk.apply("k", rotation={"enabled": True, "periodInDays": 90})
    desk.world.clock.advance(days=1)
    rotate(desk, key)
    on_demand = desk.world.clock.moment
    desk.world.clock.advance(days=91)
    desk.look("k")
    scheduled = desk.world.clock.moment
    desk.world.clock.advance(days=1)
    rotate(desk, key)
    found = rotations(desk, key)
    assert [entry.rotation_type for entry in found] == [
        RotationType.ON_DEMAND,
        RotationType.AUTOMATIC,
        RotationType.ON_DEMAND,
    ]
    assert [entry.rotation_date for entry in found][:2] == [on_demand, scheduled]
    assert [entry.key_material_state for entry in found] == [
        KeyMaterialState.NON_CURRENT,
        KeyMaterialState.NON_CURRENT,
        KeyMaterialState.CURRENT,
    ]
    assert [entry.key_material_id for entry in found] == [v.material_id for v in desk.record("k").versions[1:]]
    assert {entry.key_id for entry in found} == {key.key_id}


def test_all_key_material_has_the_first_one_too(desk):
    key = desk.apply("k")
    rotate(desk, key)
    first, second = rotations(desk, key, include_key_material=IncludeKeyMaterial.ALL_KEY_MATERIAL)
    assert (first.rotation_date, first.rotation_type) == (None, None)
    assert first.key_material_state is KeyMaterialState.NON_CURRENT
    assert second.rotation_type is RotationType.ON_DEMAND
    assert rotations(desk, key, include_key_material=IncludeKeyMaterial.ROTATIONS_ONLY) == (second,)


def test_rotations_come_in_pages(desk):
    key = desk.apply("k")
    for _ in range(12):
        rotate(desk, key)
    seen, marker = [], None
    for _ in range(3):
        answer = desk.call(ListKeyRotationsRequest(key_id=key.key_id, limit=5, marker=marker))
        seen += [entry.key_material_id for entry in answer.rotations]
        marker = answer.next_marker
    assert marker is None
    assert seen == [version.material_id for version in desk.record("k").versions[1:]]
