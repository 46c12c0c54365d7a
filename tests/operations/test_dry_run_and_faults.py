"""DryRun does every check and nothing else; faults of the token become one bland answer."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.builders import Rbac, a_key, a_world, an_app, call
from tests.operations.lanes import BrokenLane, BrokenSlow, CountingLane
from tests.operations.requests import DRY_RUN, KEYS, a_request, rsa_key, the_key

from keystead.engine.algorithms import EncryptionAlgorithm
from keystead.engine.ports import DecryptRsa
from keystead.errors import (
    AccessDeniedError,
    DisabledError,
    HsmAuthError,
    HsmDataError,
    HsmSetupError,
    HsmUnavailableError,
    HsmUnsupportedError,
    InvalidCiphertextError,
    InvalidMacError,
    InvalidSignatureError,
    KmsError,
    KmsInternalError,
    StoreUnavailableError,
    UnsupportedOperationError,
)
from keystead.operations import DryRunError, Need, Slow, drive
from keystead.operations.encryption import DecryptRequest, EncryptRequest, decrypt, encrypt
from keystead.resources.vocabulary import KeySpec, KeyState, KeyUsage

dry_runs = pytest.mark.parametrize("operation", DRY_RUN)
SHA_256 = EncryptionAlgorithm.RSAES_OAEP_SHA_256
OPENS = {"Decrypt", "ReEncrypt"}
FAST = {name for name in KEYS if name not in ("Sign", "Verify", "GetPublicKey", "DeriveSharedSecret", "DescribeKey")}
SECRET = "PIN 8316 of slot 4"


def refusal(hsm, world, request, **how) -> KmsError:
    with pytest.raises(KmsError) as caught:
        call(hsm, world, request, **how)
    return caught.value


@dry_runs
def test_a_dry_run_that_would_succeed_says_so(hsm, operation):
    key = the_key(hsm, operation)
    error = refusal(hsm, a_world(hsm, key), a_request(hsm, operation, key, dry_run=True))
    assert (type(error), error.code) == (DryRunError, "DryRunOperationException")
    assert error.message == "The request would have succeeded, but the DryRun option is set."


@dry_runs
def test_a_dry_run_makes_nothing(hsm, operation):
    key = the_key(hsm, operation)
    lane = CountingLane(hsm.fast)
    world = a_world(hsm, key, fast=lane)
    request = a_request(hsm, operation, key, dry_run=True)
    refusal(BrokenSlow(AssertionError("a slow call in a dry run")), world, request)  # type: ignore[arg-type]
    assert len(lane.derived) == (1 if operation in OPENS else 0)
    assert world.entropy.calls == 0


@dry_runs
def test_a_dry_run_is_refused_like_the_real_call(hsm, operation):
    key = the_key(hsm, operation)
    request = a_request(hsm, operation, key, dry_run=True)
    assert type(refusal(hsm, a_world(hsm, key), request, rbac=Rbac(answer=False))) is AccessDeniedError
    disabled = a_world(hsm, the_key(hsm, operation, state=KeyState.DISABLED))
    assert type(refusal(hsm, disabled, request)) is DisabledError


@pytest.mark.parametrize(
    ("operation", "member", "kind"),
    [
        ("Decrypt", "ciphertext_blob", InvalidCiphertextError),
        ("ReEncrypt", "ciphertext_blob", InvalidCiphertextError),
        ("Verify", "signature", InvalidSignatureError),
        ("VerifyMac", "mac", InvalidMacError),
    ],
)
def test_a_dry_run_checks_what_the_caller_sends(hsm, operation, member, kind):
    key = the_key(hsm, operation)
    request = a_request(hsm, operation, key, dry_run=True)
    good = getattr(request, member)
    bad = replace(request, **{member: good[:-1] + bytes([good[-1] ^ 1])})
    assert type(refusal(hsm, a_world(hsm, key), bad)) is kind


@pytest.mark.parametrize("operation", sorted(FAST))
@pytest.mark.parametrize("error", [HsmUnavailableError, HsmAuthError, HsmSetupError, HsmDataError])
def test_a_fault_of_the_token_is_internal_and_tells_nothing(hsm, operation, error):
    key = the_key(hsm, operation)
    request = a_request(hsm, operation, key)
    answer = refusal(hsm, a_world(hsm, key, fast=BrokenLane(error(SECRET))), request)
    assert type(answer) is KmsInternalError
    assert "8316" not in answer.message
    assert isinstance(answer.__cause__, error)


@pytest.mark.parametrize("operation", ["Sign", "DeriveSharedSecret", "GenerateDataKeyPair"])
@pytest.mark.parametrize("error", [HsmUnavailableError, HsmDataError])
def test_a_fault_of_a_slow_call_is_internal(hsm, operation, error):
    key = the_key(hsm, operation)
    request = a_request(hsm, operation, key)
    answer = refusal(BrokenSlow(error(SECRET)), a_world(hsm, key), request)  # type: ignore[arg-type]
    assert (type(answer), "8316" in answer.message) == (KmsInternalError, False)


def test_a_token_that_cannot_is_an_unsupported_operation(hsm):
    key = the_key(hsm, "Sign")
    request = a_request(hsm, "Sign", key)
    answer = refusal(BrokenSlow(HsmUnsupportedError(SECRET)), a_world(hsm, key), request)  # type: ignore[arg-type]
    assert (type(answer), "8316" in answer.message) == (UnsupportedOperationError, False)


@pytest.mark.parametrize(
    ("error", "kind"), [(HsmDataError, InvalidCiphertextError), (HsmUnavailableError, KmsInternalError)]
)
def test_rsa_decryption_tells_bad_data_from_a_bad_token(hsm, error, kind):
    key = rsa_key(hsm)
    request = DecryptRequest(ciphertext_blob=bytes(256), key_id=key.key_id, encryption_algorithm=SHA_256)
    answer = refusal(BrokenSlow(error(SECRET)), a_world(hsm, key), request)  # type: ignore[arg-type]
    assert type(answer) is kind


def test_rbac_that_does_not_answer_is_an_internal_error_and_not_a_yes(hsm):
    def away(review):
        raise StoreUnavailableError(SECRET)

    key = a_key(hsm)
    running = encrypt(a_world(hsm, key), an_app(), EncryptRequest(key_id=key.key_id, plaintext=b"x"))
    with pytest.raises(KmsInternalError) as caught:
        drive(running, away, hsm.slow)
    assert "8316" not in caught.value.message


def test_effects_come_in_the_order_of_the_pipeline(hsm):
    key = rsa_key(hsm)
    request = DecryptRequest(ciphertext_blob=bytes(256), key_id=key.key_id, encryption_algorithm=SHA_256)
    running = decrypt(a_world(hsm, key), an_app(), request)
    first = next(running)
    assert isinstance(first, Need)
    second = running.send(True)
    assert isinstance(second, Slow)
    assert isinstance(second.call, DecryptRsa)
    with pytest.raises(StopIteration) as stop:
        running.send(b"plaintext")
    assert stop.value.value.plaintext == b"plaintext"


def test_a_key_pair_with_its_usage_keeps_to_it_in_the_token(hsm):
    key = a_key(hsm, KeySpec.RSA_2048, usage=KeyUsage.SIGN_VERIFY)
    request = DecryptRequest(ciphertext_blob=bytes(256), key_id=key.key_id, encryption_algorithm=SHA_256)
    assert refusal(hsm, a_world(hsm, key), request).code == "IncorrectKeyException"
