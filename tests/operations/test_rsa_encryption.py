"""Encrypt, Decrypt and ReEncrypt with RSA key pairs."""

from __future__ import annotations

import pytest
from tests.builders import a_key, a_world, call
from tests.operations.lanes import BrokenSlow
from tests.operations.requests import CONTEXT, a_blob, rsa_key

from keystead.engine.algorithms import EncryptionAlgorithm, RsaPadding
from keystead.engine.keyspec import oaep_limit, row
from keystead.engine.publickey import encrypt_rsa
from keystead.errors import InvalidCiphertextError, InvalidKeyUsageError, KmsError, ValidationError
from keystead.operations.encryption import DecryptRequest, EncryptRequest, ReEncryptRequest
from keystead.resources.vocabulary import KeySpec, KeyUsage

SHA_1, SHA_256 = EncryptionAlgorithm.RSAES_OAEP_SHA_1, EncryptionAlgorithm.RSAES_OAEP_SHA_256
RSA = [KeySpec.RSA_2048, KeySpec.RSA_3072, KeySpec.RSA_4096]
rsa_cases = pytest.mark.parametrize(("spec", "algorithm"), [(spec, a) for spec in RSA for a in (SHA_1, SHA_256)])


def refusal(hsm, world, request, **how) -> KmsError:
    with pytest.raises(KmsError) as caught:
        call(hsm, world, request, **how)
    return caught.value


def test_an_rsa_signing_key_does_not_encrypt(hsm):
    key = a_key(hsm, KeySpec.RSA_2048, usage=KeyUsage.SIGN_VERIFY)
    request = EncryptRequest(key_id=key.key_id, plaintext=b"x", encryption_algorithm=SHA_256)
    assert type(refusal(hsm, a_world(hsm, key), request)) is InvalidKeyUsageError


@pytest.mark.parametrize("algorithm", [SHA_1, SHA_256])
def test_a_symmetric_key_has_no_rsa_algorithm(hsm, algorithm):
    key = a_key(hsm)
    text = f"Algorithm {algorithm.value} is incompatible with key spec SYMMETRIC_DEFAULT."
    seal = EncryptRequest(key_id=key.key_id, plaintext=b"x", encryption_algorithm=algorithm)
    opening = DecryptRequest(ciphertext_blob=a_blob(hsm, key), key_id=key.key_id, encryption_algorithm=algorithm)
    for request in (seal, opening):
        error = refusal(hsm, a_world(hsm, key), request)
        assert (type(error), error.message) == (InvalidKeyUsageError, text)


def test_an_rsa_key_has_no_symmetric_algorithm(hsm):
    key = rsa_key(hsm)
    error = refusal(hsm, a_world(hsm, key), EncryptRequest(key_id=key.key_id, plaintext=b"x"))
    assert error.message == "Algorithm SYMMETRIC_DEFAULT is incompatible with key spec RSA_2048."


@rsa_cases
def test_rsa_encrypts_up_to_its_limit_and_decrypts(hsm, spec, algorithm):
    key = rsa_key(hsm, spec)
    world, limit = a_world(hsm, key), oaep_limit(spec, algorithm)
    for plaintext in (b"x", bytes(limit)):
        request = EncryptRequest(key_id=key.key_id, plaintext=plaintext, encryption_algorithm=algorithm)
        blob = call(hsm, world, request).ciphertext_blob
        assert len(blob) == row(spec).size // 8
        opened = call(
            hsm, world, DecryptRequest(ciphertext_blob=blob, key_id=key.key_id, encryption_algorithm=algorithm)
        )
        assert (opened.plaintext, opened.key_material_id) == (plaintext, None)
    error = refusal(
        hsm, world, EncryptRequest(key_id=key.key_id, plaintext=bytes(limit + 1), encryption_algorithm=algorithm)
    )
    text = f"Algorithm {algorithm.value} and key spec {spec.value} cannot encrypt data larger than {limit} bytes."
    assert error.message == text


@pytest.mark.parametrize("algorithm", [SHA_1, SHA_256])
def test_every_bad_rsa_ciphertext_is_the_same_answer(hsm, algorithm):
    key = rsa_key(hsm)
    world, spki = a_world(hsm, key), key.current_version.spki
    good = encrypt_rsa(spki, RsaPadding(algorithm.value), b"secret")
    other = SHA_1 if algorithm is SHA_256 else SHA_256
    flipped = bytearray(good)
    flipped[100] ^= 1
    bad = [
        bytes(flipped),
        bytes(256),
        b"\xff" * 256,
        good[:-1],
        good + b"\0",
        b"x",
        encrypt_rsa(spki, RsaPadding(other.value), b"secret"),
    ]
    for blob in bad:
        request = DecryptRequest(ciphertext_blob=blob, key_id=key.key_id, encryption_algorithm=algorithm)
        error = refusal(hsm, world, request)
        assert (type(error), error.message) == (InvalidCiphertextError, "")


def test_an_rsa_ciphertext_needs_its_key_id(hsm):
    key = rsa_key(hsm)
    request = DecryptRequest(ciphertext_blob=bytes(256), encryption_algorithm=SHA_256)
    assert type(refusal(hsm, a_world(hsm, key), request)) is ValidationError


def test_a_context_with_an_rsa_key_is_refused(hsm):
    key = rsa_key(hsm)
    seal = EncryptRequest(key_id=key.key_id, plaintext=b"x", encryption_algorithm=SHA_256, encryption_context=CONTEXT)
    opening = DecryptRequest(
        ciphertext_blob=bytes(256), key_id=key.key_id, encryption_algorithm=SHA_256, encryption_context=CONTEXT
    )
    for request in (seal, opening):
        assert type(refusal(hsm, a_world(hsm, key), request)) is ValidationError


def test_re_encrypt_from_rsa_to_symmetric_and_back(hsm):
    pair, secret = rsa_key(hsm), a_key(hsm)
    world = a_world(hsm, pair, secret)
    blob = encrypt_rsa(pair.current_version.spki, RsaPadding.OAEP_SHA_256, b"moved")
    there = call(
        hsm,
        world,
        ReEncryptRequest(
            ciphertext_blob=blob,
            source_key_id=pair.key_id,
            source_encryption_algorithm=SHA_256,
            destination_key_id=secret.key_id,
        ),
    )
    back = call(
        hsm,
        world,
        ReEncryptRequest(
            ciphertext_blob=there.ciphertext_blob,
            destination_key_id=pair.key_id,
            destination_encryption_algorithm=SHA_1,
        ),
    )
    opened = call(
        hsm,
        world,
        DecryptRequest(ciphertext_blob=back.ciphertext_blob, key_id=pair.key_id, encryption_algorithm=SHA_1),
    )
    assert opened.plaintext == b"moved"
    assert (there.source_key_material_id, back.destination_key_material_id) == (None, None)


def test_re_encrypt_to_a_pair_refuses_what_is_too_long_for_it(hsm):
    pair, secret = rsa_key(hsm), a_key(hsm)
    request = ReEncryptRequest(
        ciphertext_blob=a_blob(hsm, secret, None, bytes(191)),
        destination_key_id=pair.key_id,
        destination_encryption_algorithm=SHA_256,
    )
    assert "cannot encrypt data larger than 190 bytes" in refusal(hsm, a_world(hsm, pair, secret), request).message


@pytest.mark.parametrize("length", [1, 132, 255, 257, 384])
def test_a_ciphertext_of_another_length_does_not_reach_the_token(hsm, length):
    key = rsa_key(hsm)
    request = DecryptRequest(ciphertext_blob=bytes(length), key_id=key.key_id, encryption_algorithm=SHA_256)
    nobody = BrokenSlow(AssertionError("asked the token"))  # type: ignore[arg-type]
    assert type(refusal(nobody, a_world(hsm, key), request)) is InvalidCiphertextError
