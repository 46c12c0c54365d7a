"""Every operation x every key state, holds and orphans, through the pipeline."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.builders import a_grant, a_key, a_world, call
from tests.operations.requests import KEYS, a_blob, a_request, the_key

from keystead.engine.identifiers import key_arn
from keystead.errors import DisabledError, InvalidStateError, KmsError
from keystead.operations.describe import DescribeKeyRequest
from keystead.operations.encryption import ReEncryptRequest
from keystead.operations.rules import RULES
from keystead.resources.vocabulary import GrantOperation, KeyState

PUBLISHED = json.loads((Path(__file__).resolve().parents[1] / "vectors" / "key_states.json").read_text())
# DeriveSharedSecret is newer than the table: assumed to be as Sign.
ROWS = {**PUBLISHED["rows"], "DeriveSharedSecret": PUBLISHED["rows"]["Sign"]}
CELLS = [
    (operation, KeyState(state), mark)
    for operation in sorted(KEYS)
    for state, mark in zip(PUBLISHED["columns"], ROWS[operation], strict=True)
]
SERVED = {"Decrypt", "DeriveSharedSecret", "Verify", "VerifyMac", "GetPublicKey", "DescribeKey"}
operations = pytest.mark.parametrize("operation", sorted(KEYS))


def arn(key) -> str:
    return key_arn(key.region, key.account, key.key_id)


def refusal(hsm, world, request) -> KmsError:
    with pytest.raises(KmsError) as caught:
        call(hsm, world, request)
    return caught.value


@pytest.mark.parametrize(("operation", "state", "mark"), CELLS)
def test_a_state_does_to_an_operation_what_aws_says(hsm, operation, state, mark):
    key = the_key(hsm, operation, state=state)
    request = a_request(hsm, operation, key)
    world = a_world(hsm, key)
    if mark == "Y":
        call(hsm, world, request)
        return
    error = refusal(hsm, world, request)
    assert type(error) is (DisabledError if mark == "X[1]" else InvalidStateError)
    assert error.message.startswith(arn(key))


@operations
@pytest.mark.parametrize("state", [KeyState.ENABLED, KeyState.DISABLED, KeyState.UPDATING, KeyState.UNAVAILABLE])
@pytest.mark.parametrize("bound", [True, False])
def test_a_held_key_is_disabled(hsm, operation, state, bound):
    key = the_key(hsm, operation, held=True, state=state, bound=bound)
    request = a_request(hsm, operation, key)
    if operation == "DescribeKey":
        assert call(hsm, a_world(hsm, key), request).key_metadata.key_state is KeyState.DISABLED
        return
    error = refusal(hsm, a_world(hsm, key), request)
    assert (type(error), error.message) == (DisabledError, f"{arn(key)} is disabled.")


def test_a_hold_does_not_hide_a_pending_deletion(hsm):
    key = a_key(hsm, held=True, state=KeyState.PENDING_DELETION)
    metadata = call(hsm, a_world(hsm, key), DescribeKeyRequest(key_id=key.key_id)).key_metadata
    assert metadata.key_state is KeyState.PENDING_DELETION


@operations
def test_an_enabled_orphan_answers_what_reads_and_nothing_that_writes(hsm, operation):
    key = the_key(hsm, operation, bound=False)
    request = a_request(hsm, operation, key)
    world = a_world(hsm, key)
    if operation in SERVED:
        call(hsm, world, request)
        return
    error = refusal(hsm, world, request)
    assert (type(error), error.message) == (InvalidStateError, f"{arn(key)} has no KmsKey object.")


@operations
def test_an_orphan_serves_by_a_grant_too(hsm, operation):
    key = the_key(hsm, operation, bound=False)
    request = a_request(hsm, operation, key)
    world = a_world(hsm, key, a_grant(key, *GrantOperation))
    if operation in SERVED:
        call(hsm, world, request)
    else:
        assert type(refusal(hsm, world, request)) is InvalidStateError


@operations
@pytest.mark.parametrize("state", [KeyState.DISABLED, KeyState.PENDING_DELETION])
def test_an_orphan_keeps_its_state(hsm, operation, state):
    key = the_key(hsm, operation, bound=False, state=state)
    request = a_request(hsm, operation, key)
    if operation == "DescribeKey":
        assert call(hsm, a_world(hsm, key), request).key_metadata.key_state is state
        return
    error = refusal(hsm, a_world(hsm, key), request)
    assert type(error) is (DisabledError if state is KeyState.DISABLED else InvalidStateError)
    assert "KmsKey object" not in error.message


def test_an_orphan_is_a_source_of_re_encrypt_and_no_destination(hsm):
    orphan, live = a_key(hsm, bound=False), a_key(hsm, n=2)
    world = a_world(hsm, orphan, live)
    out = ReEncryptRequest(ciphertext_blob=a_blob(hsm, orphan, None), destination_key_id=live.key_id)
    assert call(hsm, world, out).key_id == arn(live)
    into = ReEncryptRequest(ciphertext_blob=a_blob(hsm, live, None), destination_key_id=orphan.key_id)
    assert refusal(hsm, world, into).message == f"{arn(orphan)} has no KmsKey object."


@pytest.mark.parametrize("state", [KeyState.DISABLED, KeyState.PENDING_DELETION])
def test_re_encrypt_is_refused_by_the_state_of_either_key(hsm, state):
    stopped, live = a_key(hsm, state=state), a_key(hsm, n=2)
    world = a_world(hsm, stopped, live)
    out = ReEncryptRequest(ciphertext_blob=a_blob(hsm, stopped, None), destination_key_id=live.key_id)
    into = ReEncryptRequest(ciphertext_blob=a_blob(hsm, live, None), destination_key_id=stopped.key_id)
    assert refusal(hsm, world, out).message.startswith(arn(stopped))
    assert refusal(hsm, world, into).message.startswith(arn(stopped))


def test_served_is_the_table_of_the_code():
    assert SERVED | {"ReEncrypt"} == {rule.operation for rule in RULES.values() if rule.orphan} & set(KEYS)
