"""Sign and Verify."""

from __future__ import annotations

import hashlib

import pytest
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from msgspec.structs import replace as changed
from tests.builders import a_key, a_world, call

from keystead.engine.algorithms import DIGESTS, MessageType, SigningAlgorithm
from keystead.engine.keyspec import KEY_SPECS, Family, row
from keystead.errors import (
    InvalidKeyUsageError,
    InvalidSignatureError,
    KmsError,
    KmsInternalError,
    UnsupportedOperationError,
    ValidationError,
)
from keystead.operations.pipeline import arn_of
from keystead.operations.signatures import ONLY, SignRequest, VerifyRequest
from keystead.resources.vocabulary import KeySpec, KeyUsage

ED, PH = SigningAlgorithm.ED25519_SHA_512, SigningAlgorithm.ED25519_PH_SHA_512
PAIRS = [(spec, a) for spec, r in KEY_SPECS.items() for a in r.signing if a is not PH]
HASHED = [(spec, a) for spec, a in PAIRS if a is not ED]
ED_KEY = KeySpec.ECC_NIST_EDWARDS25519


def signing_key(hsm, spec, **changes):
    return a_key(hsm, spec, usage=KeyUsage.SIGN_VERIFY, **changes)


def refusal(hsm, world, request) -> KmsError:
    with pytest.raises(KmsError) as caught:
        call(hsm, world, request)
    return caught.value


def sign(hsm, world, key, algorithm, message, message_type=MessageType.RAW) -> bytes:
    request = SignRequest(key_id=key.key_id, message=message, message_type=message_type, signing_algorithm=algorithm)
    return call(hsm, world, request).signature


def verifying(key, algorithm, message, signature, message_type=MessageType.RAW):
    return VerifyRequest(
        key_id=key.key_id,
        message=message,
        message_type=message_type,
        signature=signature,
        signing_algorithm=algorithm,
    )


@pytest.mark.parametrize(("spec", "algorithm"), PAIRS)
def test_a_signature_verifies(hsm, spec, algorithm):
    key = signing_key(hsm, spec)
    world = a_world(hsm, key)
    request = SignRequest(key_id=key.key_id, message=b"message", signing_algorithm=algorithm)
    made = call(hsm, world, request)
    assert (made.key_id, made.signing_algorithm) == (arn_of(key), algorithm)
    answer = call(hsm, world, verifying(key, algorithm, b"message", made.signature))
    assert (answer.signature_valid, answer.key_id, answer.signing_algorithm) == (True, arn_of(key), algorithm)


@pytest.mark.parametrize(("spec", "algorithm"), HASHED)
def test_raw_and_digest_are_the_same_signature_scheme(hsm, spec, algorithm):
    key = signing_key(hsm, spec)
    world = a_world(hsm, key)
    digest = hashlib.new(DIGESTS[algorithm][0], b"message").digest()
    by_digest = sign(hsm, world, key, algorithm, digest, MessageType.DIGEST)
    call(hsm, world, verifying(key, algorithm, b"message", by_digest))
    by_message = sign(hsm, world, key, algorithm, b"message")
    call(hsm, world, verifying(key, algorithm, digest, by_message, MessageType.DIGEST))


@pytest.mark.parametrize(("spec", "algorithm"), PAIRS)
def test_a_wrong_signature_is_an_exception_and_never_false(hsm, spec, algorithm):
    key = signing_key(hsm, spec)
    world = a_world(hsm, key)
    good = sign(hsm, world, key, algorithm, b"message")
    for message, signature in [
        (b"messagf", good),
        (b"message", good[:-1]),
        (b"message", good + b"\0"),
        (b"message", bytes(len(good))),
        (b"message", b"x"),
    ]:
        error = refusal(hsm, world, verifying(key, algorithm, message, signature))
        assert (type(error), error.message) == (InvalidSignatureError, "")


def test_a_signature_of_another_key_does_not_verify(hsm):
    one, two = (signing_key(hsm, KeySpec.ECC_NIST_P256, n=n) for n in (1, 2))
    world = a_world(hsm, one, two)
    signature = sign(hsm, world, one, SigningAlgorithm.ECDSA_SHA_256, b"m")
    error = refusal(hsm, world, verifying(two, SigningAlgorithm.ECDSA_SHA_256, b"m", signature))
    assert type(error) is InvalidSignatureError


@pytest.mark.parametrize("spec", [s for s in KeySpec if row(s).family is Family.EC])
def test_ecdsa_signatures_are_der(hsm, spec):
    key = signing_key(hsm, spec)
    algorithm = row(spec).signing[0]
    r, s = decode_dss_signature(sign(hsm, a_world(hsm, key), key, algorithm, b"m"))
    assert r > 0
    assert s > 0


@pytest.mark.parametrize(("spec", "algorithm"), HASHED)
@pytest.mark.parametrize("change", [-1, 1, 32])
def test_a_digest_of_the_wrong_length_is_refused_in_aws_words(hsm, spec, algorithm, change):
    key = signing_key(hsm, spec)
    message = bytes(DIGESTS[algorithm][1] + change)
    request = SignRequest(
        key_id=key.key_id, message=message, message_type=MessageType.DIGEST, signing_algorithm=algorithm
    )
    text = f"Digest is invalid length for algorithm {algorithm.value}."
    for sent in (request, verifying(key, algorithm, message, b"x", MessageType.DIGEST)):
        error = refusal(hsm, a_world(hsm, key), sent)
        assert (type(error), error.message) == (ValidationError, text)


def test_the_edwards_algorithms_each_have_their_message_type():
    assert {algorithm: only.value for algorithm, only in ONLY.items()} == {ED: "RAW", PH: "DIGEST"}


@pytest.mark.parametrize(("algorithm", "wrong"), [(ED, MessageType.DIGEST), (PH, MessageType.RAW)])
def test_an_edwards_algorithm_with_the_other_message_type_is_refused(hsm, algorithm, wrong):
    key = signing_key(hsm, ED_KEY)
    request = SignRequest(key_id=key.key_id, message=bytes(64), message_type=wrong, signing_algorithm=algorithm)
    for sent in (request, verifying(key, algorithm, bytes(64), bytes(64), wrong)):
        assert type(refusal(hsm, a_world(hsm, key), sent)) is ValidationError


def test_ed25519ph_wants_a_64_byte_digest(hsm):
    key = signing_key(hsm, ED_KEY)
    request = SignRequest(key_id=key.key_id, message=bytes(63), message_type=MessageType.DIGEST, signing_algorithm=PH)
    assert refusal(hsm, a_world(hsm, key), request).message == (
        "Digest is invalid length for algorithm ED25519_PH_SHA_512."
    )


def test_ed25519ph_cannot_be_verified_in_this_version(hsm):
    key = signing_key(hsm, ED_KEY)
    sent = verifying(key, PH, bytes(64), bytes(64), MessageType.DIGEST)
    assert type(refusal(hsm, a_world(hsm, key), sent)) is UnsupportedOperationError


@pytest.mark.parametrize(("spec", "algorithm"), PAIRS)
def test_an_algorithm_of_another_spec_is_refused(hsm, spec, algorithm):
    key = signing_key(hsm, spec)
    other = next(a for a in SigningAlgorithm if a not in row(spec).signing)
    error = refusal(hsm, a_world(hsm, key), SignRequest(key_id=key.key_id, message=b"m", signing_algorithm=other))
    assert type(error) is InvalidKeyUsageError
    assert error.message == f"Algorithm {other.value} is incompatible with key spec {spec.value}."


@pytest.mark.parametrize(
    ("spec", "usage", "algorithm"),
    [
        (KeySpec.HMAC_256, KeyUsage.GENERATE_VERIFY_MAC, SigningAlgorithm.ECDSA_SHA_256),
        (KeySpec.ECC_NIST_P256, KeyUsage.KEY_AGREEMENT, SigningAlgorithm.ECDSA_SHA_256),
        (KeySpec.RSA_2048, KeyUsage.ENCRYPT_DECRYPT, SigningAlgorithm.RSASSA_PSS_SHA_256),
    ],
)
def test_a_key_of_another_usage_neither_signs_nor_verifies(hsm, spec, usage, algorithm):
    key = a_key(hsm, spec, usage=usage)
    for operation, sent in (
        ("Sign", SignRequest(key_id=key.key_id, message=b"m", signing_algorithm=algorithm)),
        ("Verify", verifying(key, algorithm, b"m", b"x")),
    ):
        error = refusal(hsm, a_world(hsm, key), sent)
        assert type(error) is InvalidKeyUsageError
        assert error.message == f"{arn_of(key)} key usage is {usage.value} which is not valid for {operation}."


@pytest.mark.parametrize("length", [0, 4097])
def test_a_message_has_1_to_4096_bytes(hsm, length):
    key = signing_key(hsm, KeySpec.ECC_NIST_P256)
    request = SignRequest(key_id=key.key_id, message=bytes(length), signing_algorithm=SigningAlgorithm.ECDSA_SHA_256)
    assert type(refusal(hsm, a_world(hsm, key), request)) is ValidationError


def test_a_public_key_that_is_not_the_versions_verifies_nothing(hsm):
    one, two = (signing_key(hsm, KeySpec.ECC_NIST_P256, n=n) for n in (1, 2))
    signature = sign(hsm, a_world(hsm, two), two, SigningAlgorithm.ECDSA_SHA_256, b"m")
    swapped = changed(one, versions=[changed(one.versions[0], spki=two.versions[0].spki)])
    error = refusal(hsm, a_world(hsm, swapped), verifying(one, SigningAlgorithm.ECDSA_SHA_256, b"m", signature))
    assert type(error) is KmsInternalError


def test_a_private_key_of_another_public_key_signs_nothing_that_is_answered(hsm):
    one, two = (signing_key(hsm, KeySpec.ECC_NIST_P256, n=n) for n in (1, 2))
    swapped = changed(
        one,
        versions=[changed(one.versions[0], wrapped=two.versions[0].wrapped, plain_len=two.versions[0].plain_len)],
    )
    request = SignRequest(key_id=one.key_id, message=b"m", signing_algorithm=SigningAlgorithm.ECDSA_SHA_256)
    assert type(refusal(hsm, a_world(hsm, swapped), request)) is KmsInternalError
