"""EnableKey, DisableKey, ScheduleKeyDeletion, CancelKeyDeletion: on live keys, held keys and orphans."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from tests.builders import NAMESPACE, NOW

from keystead.engine.identifiers import key_arn
from keystead.errors import ConflictError, ForeignOwnerError, KmsError, NotFoundError, StoreUnavailableError
from keystead.operations.control.state import (
    CancelKeyDeletionRequest,
    DisableKeyRequest,
    EnableKeyRequest,
    ScheduleKeyDeletionRequest,
)
from keystead.operations.describe import DescribeKeyRequest
from keystead.operations.encryption import DecryptRequest, EncryptRequest
from keystead.resources.vocabulary import KeyState

CHANGES = [EnableKeyRequest, DisableKeyRequest, ScheduleKeyDeletionRequest, CancelKeyDeletionRequest]
PENDING = {"scheduledDeletion": {}}


def arn(key) -> str:
    return key_arn(key.region, key.account, key.key_id)


def refusal(desk, request, **how) -> KmsError:
    with pytest.raises(KmsError) as caught:
        desk.call(request, **how)
    return caught.value


def state(desk, key) -> KeyState:
    return desk.call(DescribeKeyRequest(key_id=key.key_id)).key_metadata.key_state


def test_a_key_is_disabled_and_enabled_again(desk):
    key = desk.apply("k")
    blob = desk.call(EncryptRequest(key_id=key.key_id, plaintext=b"x")).ciphertext_blob
    desk.call(DisableKeyRequest(key_id=key.key_id))
    assert state(desk, key) is KeyState.DISABLED
    error = refusal(desk, DecryptRequest(ciphertext_blob=blob))
    assert (error.code, error.message) == ("DisabledException", f"{arn(key)} is disabled.")
    desk.call(EnableKeyRequest(key_id=arn(key)))
    assert desk.call(DecryptRequest(ciphertext_blob=blob)).plaintext == b"x"


def test_what_takes_away_waits_for_every_worker_and_what_gives_does_not(desk):
    key = desk.apply("k")
    for request in (DisableKeyRequest, EnableKeyRequest, ScheduleKeyDeletionRequest, CancelKeyDeletionRequest):
        desk.call(request(key_id=key.key_id))
    assert [change.narrows for change in desk.changes] == [True, False, True, False]


def test_an_enabled_key_is_enabled_without_a_write(desk):
    key = desk.apply("k")
    desk.call(EnableKeyRequest(key_id=key.key_id))
    assert desk.changes == []


def test_a_disabled_key_is_disabled_once_more_in_case_somebody_just_enabled_it_elsewhere(desk):
    key = desk.apply("k", enabled=False)
    desk.body("k")["spec"] = {**desk.body("k")["spec"], "enabled": True}  # and the operator has not looked yet
    desk.call(DisableKeyRequest(key_id=key.key_id))
    assert desk.body("k")["spec"]["enabled"] is False
    assert desk.look("k").enabled is False


@pytest.mark.parametrize("days", [7, 8, 30, None])
def test_a_deletion_is_scheduled(desk, days):
    key = desk.apply("k")
    answer = desk.call(ScheduleKeyDeletionRequest(key_id=key.key_id, pending_window_in_days=days))
    window = days or 30
    assert answer.key_id == arn(key)
    assert answer.deletion_date == NOW + timedelta(days=window)
    assert (answer.key_state, answer.pending_window_in_days) == (KeyState.PENDING_DELETION, window)
    error = refusal(desk, EncryptRequest(key_id=key.key_id, plaintext=b"x"))
    assert error.message == f"{arn(key)} is pending deletion (or pending replica deletion)."


@pytest.mark.parametrize(("days", "bound"), [(6, "greater than or equal to 7"), (31, "less than or equal to 30")])
def test_a_window_has_7_to_30_days(desk, days, bound):
    key = desk.apply("k")
    error = refusal(desk, ScheduleKeyDeletionRequest(key_id=key.key_id, pending_window_in_days=days))
    assert error.message == (
        f"1 validation error detected: Value '{days}' at 'pendingWindowInDays' failed to satisfy constraint: "
        f"Member must have value {bound}"
    )


def test_a_window_that_runs_is_not_scheduled_again(desk):
    key = desk.apply("k", **PENDING)
    error = refusal(desk, ScheduleKeyDeletionRequest(key_id=key.key_id, pending_window_in_days=7))
    assert error.code == "KMSInvalidStateException"
    assert desk.look("k").deletion_date == key.deletion_date


def test_a_cancelled_deletion_ends_in_disabled(desk):
    key = desk.apply("k", **PENDING)
    answer = desk.call(CancelKeyDeletionRequest(key_id=key.key_id))
    assert answer.key_id == arn(key)
    assert state(desk, key) is KeyState.DISABLED
    assert "scheduledDeletion" not in desk.body("k")["spec"]


def test_a_deletion_that_is_cancelled_can_be_scheduled_again(desk):
    key = desk.apply("k")
    for _ in range(2):
        desk.call(ScheduleKeyDeletionRequest(key_id=key.key_id, pending_window_in_days=9))
        desk.call(CancelKeyDeletionRequest(key_id=key.key_id))
    assert state(desk, key) is KeyState.DISABLED


def test_a_key_that_is_not_pending_has_no_deletion_to_cancel(desk):
    key = desk.apply("k")
    error = refusal(desk, CancelKeyDeletionRequest(key_id=key.key_id))
    assert (error.code, error.message) == ("KMSInvalidStateException", f"{arn(key)} is not pending deletion.")


# Holds


def test_enabling_a_held_key_is_refused_and_names_the_hold(desk):
    desk.apply("k", enabled=False)
    key = desk.annotate("k", hold="incident 42")
    error = refusal(desk, EnableKeyRequest(key_id=key.key_id))
    assert error.code == "KMSInvalidStateException"
    assert "incident 42" in error.message
    assert key.hold.since in error.message
    assert desk.changes == []
    assert state(desk, key) is KeyState.DISABLED


def test_the_hold_is_not_told_to_who_may_not_enable(desk):
    desk.apply("k")
    key = desk.annotate("k", hold="incident 42")
    desk.rbac.answer = False
    assert "42" not in refusal(desk, EnableKeyRequest(key_id=key.key_id)).message


def test_a_held_key_that_was_enabled_is_disabled_for_the_time_after_the_hold(desk):
    desk.apply("k")
    key = desk.annotate("k", hold="incident 42")
    desk.call(DisableKeyRequest(key_id=key.key_id))
    assert desk.annotate("k", hold="released").state is KeyState.DISABLED


def test_a_deletion_is_scheduled_and_cancelled_under_a_hold(desk):
    desk.apply("k")
    key = desk.annotate("k", hold="x")
    desk.call(ScheduleKeyDeletionRequest(key_id=key.key_id))
    desk.call(CancelKeyDeletionRequest(key_id=key.key_id))
    assert desk.look("k").hold == key.hold


# Orphans


def test_an_orphan_is_disabled_by_an_object_that_says_only_that(desk):
    desk.apply("k", description="ours", tags=[{"key": "a", "value": "b"}])
    key = desk.orphan("k")
    assert not key.bound
    desk.call(DisableKeyRequest(key_id=key.key_id))
    now = desk.record("k")
    assert (now.bound, now.state, now.key_id) == (True, KeyState.DISABLED, key.key_id)
    assert (now.description, now.tags) == ("ours", {"a": "b"})
    said = {"keySpec", "keyUsage", "enabled"}
    assert set(desk.changes[-1].write.manifest["spec"]) == said


def test_an_orphan_that_is_disabled_already_gets_no_object(desk):
    desk.apply("k", enabled=False)
    key = desk.orphan("k")
    desk.call(DisableKeyRequest(key_id=key.key_id))
    assert desk.changes == []


def test_the_deletion_of_an_orphan_is_scheduled(desk):
    desk.apply("k")
    key = desk.orphan("k")
    answer = desk.call(ScheduleKeyDeletionRequest(key_id=key.key_id, pending_window_in_days=7))
    assert answer.deletion_date == NOW + timedelta(days=7)
    assert desk.record("k").state is KeyState.PENDING_DELETION


def test_the_deletion_that_began_with_the_objects_is_cancelled(desk):
    desk.apply("k", deletionPolicy="ScheduleDeletion")
    key = desk.orphan("k")
    assert key.state is KeyState.PENDING_DELETION
    desk.call(CancelKeyDeletionRequest(key_id=key.key_id))
    now = desk.record("k")
    assert (now.bound, now.state) == (True, KeyState.DISABLED)


def test_an_orphan_is_not_enabled(desk):
    desk.apply("k", enabled=False)
    key = desk.orphan("k")
    assert refusal(desk, EnableKeyRequest(key_id=key.key_id)).message == f"{arn(key)} has no KmsKey object."


def test_a_retry_of_a_change_to_an_orphan_finds_the_object_of_the_first_attempt(desk):
    desk.apply("k")
    key = desk.orphan("k")
    desk.fail(StoreUnavailableError("away"))
    assert refusal(desk, DisableKeyRequest(key_id=key.key_id)).code == "KMSInternalException"
    desk.call(DisableKeyRequest(key_id=key.key_id))
    assert desk.record("k").state is KeyState.DISABLED


# Who may, and what a writer meets


@pytest.mark.parametrize("request_type", CHANGES)
def test_an_alias_is_no_key_id_of_the_control_plane(desk, request_type):
    for name in ("alias/x", f"arn:aws:kms:cluster-1:{desk.account}:alias/x"):
        error = refusal(desk, request_type(key_id=name))
        assert (error.code, error.message) == ("NotFoundException", f"Invalid keyId '{name}'")


@pytest.mark.parametrize("request_type", CHANGES)
def test_rbac_is_asked_for_the_operation_on_the_key(desk, request_type):
    key = desk.apply("k")
    desk.rbac.answer = False
    error = refusal(desk, request_type(key_id=key.key_id))
    operation = request_type.__name__.removesuffix("Request")
    assert error.code == "AccessDeniedException"
    assert f"kms:{operation} on resource: {arn(key)}" in error.message
    (review,) = desk.rbac.asked
    assert (review.verb, review.namespace, review.name) == (operation.lower(), NAMESPACE, "k")
    assert desk.changes == []


@pytest.mark.parametrize("request_type", CHANGES)
@pytest.mark.parametrize("exists", [True, False])
def test_another_accounts_key_is_refused_alike_whether_or_not_it_exists(desk, request_type, exists):
    key = desk.apply("k")
    stranger = replace(desk.root, account="999988887777", namespace="team-b")
    name = arn(key) if exists else arn(key)[:-4] + "0000"
    error = refusal(desk, request_type(key_id=name), caller=stranger)
    assert error.code == "AccessDeniedException"
    assert "on this resource because the resource does not exist in this Region" in error.message


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ForeignOwnerError("spec.enabled is kept by the field manager flux"), "KMSInvalidStateException"),
        (ConflictError("409"), "ThrottlingException"),
        (NotFoundError("gone"), "KMSInternalException"),
    ],
)
def test_what_the_writer_meets_is_answered(desk, error, code):
    key = desk.apply("k")
    desk.fail(error)
    answer = refusal(desk, DisableKeyRequest(key_id=key.key_id))
    assert answer.code == code
    assert ("flux" in answer.message) is isinstance(error, ForeignOwnerError)


def test_keysteads_own_keys_are_nobodys_to_change(desk):
    key = desk.apply("aws-keystead")
    for request in (DisableKeyRequest, ScheduleKeyDeletionRequest):
        assert refusal(desk, request(key_id=key.key_id), caller=desk.root).code == "AccessDeniedException"
    assert desk.changes == []
