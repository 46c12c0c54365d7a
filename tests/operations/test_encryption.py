"""Encrypt, Decrypt, ReEncrypt."""

from __future__ import annotations

from dataclasses import replace

import pytest
from msgspec.structs import replace as changed
from tests.builders import Rbac, a_key, a_world, call, root_of
from tests.operations.lanes import CountingLane
from tests.operations.requests import CONTEXT, a_blob

from keystead.engine.algorithms import EncryptionAlgorithm
from keystead.engine.identifiers import key_id_bytes
from keystead.errors import (
    IncorrectKeyError,
    InvalidCiphertextError,
    InvalidKeyUsageError,
    KmsError,
    KmsInternalError,
    UnsupportedOperationError,
    ValidationError,
)
from keystead.operations.encryption import DecryptRequest, EncryptRequest, ReEncryptRequest
from keystead.operations.pipeline import arn_of
from keystead.resources.vocabulary import KeySpec

INCORRECT = "The key ID in the request does not identify a CMK that can perform this operation."


def refusal(hsm, world, request, **how) -> KmsError:
    with pytest.raises(KmsError) as caught:
        call(hsm, world, request, **how)
    return caught.value


@pytest.mark.parametrize("plaintext", [b"x", b"\0", bytes(4096)])
@pytest.mark.parametrize("context", [None, {}, CONTEXT])
def test_what_was_encrypted_decrypts(hsm, plaintext, context):
    key = a_key(hsm)
    world = a_world(hsm, key)
    sealed = call(hsm, world, EncryptRequest(key_id=key.key_id, plaintext=plaintext, encryption_context=context))
    assert (sealed.key_id, sealed.encryption_algorithm) == (arn_of(key), EncryptionAlgorithm.SYMMETRIC_DEFAULT)
    assert len(sealed.ciphertext_blob) == len(plaintext) + 132
    opened = call(hsm, world, DecryptRequest(ciphertext_blob=sealed.ciphertext_blob, encryption_context=context))
    assert opened.plaintext == plaintext
    assert (opened.key_id, opened.key_material_id) == (arn_of(key), key.versions[0].material_id)


def test_two_blobs_of_one_plaintext_differ_in_nonce_and_key(hsm):
    key = a_key(hsm)
    world = a_world(hsm, key)
    request = EncryptRequest(key_id=key.key_id, plaintext=b"same")
    one, two = (call(hsm, world, request).ciphertext_blob for _ in range(2))
    assert one[:52] == two[:52]
    assert one[52:84] != two[52:84]
    assert one[84:] != two[84:]


def test_every_version_opens_its_blobs_and_the_newest_seals(hsm):
    young, old = a_key(hsm, n_versions=1), a_key(hsm, n_versions=3)
    blob = a_blob(hsm, young, None)
    opened = call(hsm, a_world(hsm, old), DecryptRequest(ciphertext_blob=blob))
    assert opened.key_material_id == old.versions[0].material_id
    assert a_blob(hsm, old)[20:52].hex() == old.versions[2].material_id


def test_a_blob_of_a_version_that_the_key_does_not_have_is_refused(hsm):
    blob = a_blob(hsm, a_key(hsm, n_versions=2), None)
    error = refusal(hsm, a_world(hsm, a_key(hsm, n_versions=1)), DecryptRequest(ciphertext_blob=blob))
    assert (type(error), error.message) == (InvalidCiphertextError, "")


@pytest.mark.parametrize("named", [True, False])
def test_every_damaged_byte_of_a_blob_gives_one_of_two_answers(hsm, named):
    key = a_key(hsm)
    blob, world = a_blob(hsm, key, None, b"0123456789"), a_world(hsm, key)
    for position in range(len(blob)):
        bad = bytearray(blob)
        bad[position] ^= 0x10
        request = DecryptRequest(ciphertext_blob=bytes(bad), key_id=key.key_id if named else None)
        error = refusal(hsm, world, request)
        if 4 <= position < 20:  # the key id: another key, which does not exist
            assert error.code == ("IncorrectKeyException" if named else "AccessDeniedException")
        else:
            assert (type(error), error.message) == (InvalidCiphertextError, "")


@pytest.mark.parametrize("length", [1, 115, 116, 131, 132, 6144])
def test_a_blob_that_does_not_parse_is_an_invalid_ciphertext_before_any_question(hsm, length):
    rbac = Rbac()
    error = refusal(hsm, a_world(hsm), DecryptRequest(ciphertext_blob=bytes(length)), rbac=rbac)
    assert (type(error), error.message) == (InvalidCiphertextError, "")
    assert rbac.asked == []


@pytest.mark.parametrize("length", [0, 6145])
def test_a_blob_has_1_to_6144_bytes(hsm, length):
    error = refusal(hsm, a_world(hsm), DecryptRequest(ciphertext_blob=bytes(length)))
    assert type(error) is ValidationError
    assert error.message.startswith("1 validation error detected: Value at 'ciphertextBlob' failed to satisfy")


@pytest.mark.parametrize("context", [None, {"App": "x"}, {**CONTEXT, "more": "y"}, {"app": "x", "env": "prod"}])
def test_another_context_is_an_invalid_ciphertext(hsm, context):
    key = a_key(hsm)
    request = DecryptRequest(ciphertext_blob=a_blob(hsm, key), encryption_context=context)
    error = refusal(hsm, a_world(hsm, key), request)
    assert (type(error), error.message) == (InvalidCiphertextError, "")


def test_a_blob_of_another_key_than_the_named_one_is_an_incorrect_key(hsm):
    one, two = a_key(hsm), a_key(hsm, n=2)
    request = DecryptRequest(ciphertext_blob=a_blob(hsm, one, None), key_id=two.key_id)
    known, unknown = (refusal(hsm, world, request) for world in (a_world(hsm, one, two), a_world(hsm, two)))
    assert {(type(error), error.message) for error in (known, unknown)} == {(IncorrectKeyError, INCORRECT)}


@pytest.mark.parametrize("spec", [KeySpec.HMAC_256, KeySpec.ECC_NIST_P256])
def test_decrypt_with_a_key_of_another_usage_is_an_incorrect_key(hsm, spec):
    key = a_key(hsm, spec)
    request = DecryptRequest(ciphertext_blob=a_blob(hsm, a_key(hsm), None), key_id=key.key_id)
    assert type(refusal(hsm, a_world(hsm, key), request)) is IncorrectKeyError


@pytest.mark.parametrize("spec", [KeySpec.HMAC_512, KeySpec.RSA_2048, KeySpec.ECC_NIST_P256])
def test_a_blob_that_names_a_key_of_another_spec_is_an_invalid_ciphertext(hsm, spec):
    key = a_key(hsm, spec)
    header = b"KS\1\1" + key_id_bytes(key.key_id) + bytes.fromhex(key.versions[0].material_id)
    request = DecryptRequest(ciphertext_blob=header.ljust(150, b"\0"))
    assert type(refusal(hsm, a_world(hsm, key), request)) is InvalidCiphertextError


@pytest.mark.parametrize(("length", "where"), [(0, "greater than or equal to 1"), (4097, "less than or equal to 4096")])
def test_a_plaintext_has_1_to_4096_bytes(hsm, length, where):
    key = a_key(hsm)
    error = refusal(hsm, a_world(hsm, key), EncryptRequest(key_id=key.key_id, plaintext=bytes(length)))
    text = f"Value at 'plaintext' failed to satisfy constraint: Member must have length {where}"
    assert error.message == f"1 validation error detected: {text}"


def test_a_context_over_8_kib_is_refused(hsm):
    key = a_key(hsm)
    request = EncryptRequest(key_id=key.key_id, plaintext=b"x", encryption_context={"k": "v" * 8192})
    assert type(refusal(hsm, a_world(hsm, key), request)) is ValidationError


@pytest.mark.parametrize("spec", [KeySpec.ECC_NIST_P256, KeySpec.HMAC_256])
def test_encrypt_with_a_key_of_another_usage_is_refused(hsm, spec):
    key = a_key(hsm, spec)
    error = refusal(hsm, a_world(hsm, key), EncryptRequest(key_id=key.key_id, plaintext=b"x"))
    assert type(error) is InvalidKeyUsageError
    assert error.message == f"{arn_of(key)} key usage is {key.usage.value} which is not valid for Encrypt."


def test_re_encrypt_moves_a_plaintext_to_another_key_and_context(hsm):
    one, two = a_key(hsm), a_key(hsm, n=2)
    world = a_world(hsm, one, two)
    request = ReEncryptRequest(
        ciphertext_blob=a_blob(hsm, one, {"from": "a"}),
        destination_key_id=two.key_id,
        source_encryption_context={"from": "a"},
        destination_encryption_context={"to": "b"},
    )
    moved = call(hsm, world, request)
    assert (moved.source_key_id, moved.key_id) == (arn_of(one), arn_of(two))
    assert moved.source_key_material_id == one.versions[0].material_id
    assert moved.destination_key_material_id == two.versions[0].material_id
    opened = call(hsm, world, DecryptRequest(ciphertext_blob=moved.ciphertext_blob, encryption_context={"to": "b"}))
    assert (opened.key_id, opened.plaintext) == (arn_of(two), b"plaintext")


@pytest.mark.parametrize("call_number", [2, 3])
def test_re_encrypt_answers_only_after_its_own_blob_opened(hsm, call_number):
    """A re-wrap replaces the only blob there is: a wrong derivation must not lose what it held."""
    key = a_key(hsm)
    lane = CountingLane(hsm.fast, frozenset({call_number}), 0)
    request = ReEncryptRequest(ciphertext_blob=a_blob(hsm, key, None), destination_key_id=key.key_id)
    assert type(refusal(hsm, a_world(hsm, key, fast=lane), request)) is KmsInternalError
    assert len(lane.derived) == 3


def test_re_encrypt_with_a_source_key_id_that_is_not_the_blobs_is_an_incorrect_key(hsm):
    one, two = a_key(hsm), a_key(hsm, n=2)
    request = ReEncryptRequest(
        ciphertext_blob=a_blob(hsm, one, None), source_key_id=two.key_id, destination_key_id=two.key_id
    )
    assert type(refusal(hsm, a_world(hsm, one, two), request)) is IncorrectKeyError


def test_re_encrypt_of_a_damaged_blob_is_an_invalid_ciphertext(hsm):
    key = a_key(hsm)
    blob = a_blob(hsm, key, None)
    request = ReEncryptRequest(ciphertext_blob=blob[:-1] + bytes([blob[-1] ^ 1]), destination_key_id=key.key_id)
    assert type(refusal(hsm, a_world(hsm, key), request)) is InvalidCiphertextError


def test_a_recipient_is_never_ignored(hsm):
    key = a_key(hsm)
    request = DecryptRequest(ciphertext_blob=a_blob(hsm, key), encryption_context=CONTEXT)
    assert type(refusal(hsm, a_world(hsm, key), replace(request, recipient={}))) is UnsupportedOperationError


def test_one_token_call_each_to_encrypt_and_to_decrypt(hsm):
    key = a_key(hsm)
    lane = CountingLane(hsm.fast)
    world = a_world(hsm, key, fast=lane)
    blob = call(hsm, world, EncryptRequest(key_id=key.key_id, plaintext=b"x")).ciphertext_blob
    assert len(lane.derived) == 1
    call(hsm, world, DecryptRequest(ciphertext_blob=blob))
    assert len(lane.derived) == 2


def test_material_that_is_not_the_one_its_id_names_is_an_internal_error(hsm):
    one, two = a_key(hsm), a_key(hsm, n=2)
    swapped = changed(one.versions[0], wrapped=two.versions[0].wrapped)
    world = a_world(hsm, changed(one, versions=[swapped]))
    for request in (
        EncryptRequest(key_id=one.key_id, plaintext=b"x"),
        DecryptRequest(ciphertext_blob=a_blob(hsm, one, None)),
    ):
        assert type(refusal(hsm, world, request, caller=root_of(one))) is KmsInternalError


@pytest.mark.parametrize("wrapped", [b"", b"\0" * 8, b"\0" * 72])
def test_wrapped_material_that_cannot_be_unwrapped_is_an_internal_error(hsm, wrapped):
    key = a_key(hsm)
    bad = changed(key, versions=[changed(key.versions[0], wrapped=wrapped)])
    error = refusal(hsm, a_world(hsm, bad), EncryptRequest(key_id=key.key_id, plaintext=b"x"))
    assert type(error) is KmsInternalError
