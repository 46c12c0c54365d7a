"""GenerateDataKey and its siblings, GenerateRandom."""

from __future__ import annotations

from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_der_private_key
from tests.builders import Rbac, a_key, a_world, call, root_of
from tests.operations.lanes import CountingLane
from tests.operations.requests import CONTEXT, a_request

from keystead.errors import (
    AccessDeniedError,
    InvalidKeyUsageError,
    KmsError,
    KmsInternalError,
    UnsupportedOperationError,
    ValidationError,
)
from keystead.operations.datakeys import (
    LENGTHS,
    GenerateDataKeyPairRequest,
    GenerateDataKeyPairWithoutPlaintextRequest,
    GenerateDataKeyRequest,
    GenerateDataKeyWithoutPlaintextRequest,
    GenerateRandomRequest,
)
from keystead.operations.encryption import DecryptRequest
from keystead.operations.pipeline import arn_of
from keystead.resources.vocabulary import DataKeyPairSpec, DataKeySpec, KeySpec, KeyUsage

MAKERS = [
    "GenerateDataKey",
    "GenerateDataKeyWithoutPlaintext",
    "GenerateDataKeyPair",
    "GenerateDataKeyPairWithoutPlaintext",
]
makers = pytest.mark.parametrize("operation", MAKERS)
BOTH = [GenerateDataKeyRequest, GenerateDataKeyWithoutPlaintextRequest]
PAIRS = [GenerateDataKeyPairRequest, GenerateDataKeyPairWithoutPlaintextRequest]


def refusal(hsm, world, request, **how) -> KmsError:
    with pytest.raises(KmsError) as caught:
        call(hsm, world, request, **how)
    return caught.value


def opened(hsm, world, blob, context=CONTEXT) -> bytes:
    return call(hsm, world, DecryptRequest(ciphertext_blob=blob, encryption_context=context)).plaintext


def test_every_data_key_spec_has_a_length():
    assert set(LENGTHS) == set(DataKeySpec)
    assert all(length * 8 == int(spec.value[-3:]) for spec, length in LENGTHS.items())


@pytest.mark.parametrize(
    ("asked", "length"),
    [
        ({"key_spec": DataKeySpec.AES_256}, 32),
        ({"key_spec": DataKeySpec.AES_128}, 16),
        ({"number_of_bytes": 1}, 1),
        ({"number_of_bytes": 1024}, 1024),
    ],
)
def test_a_data_key_has_the_length_asked_for_and_its_blob_opens(hsm, asked, length):
    key = a_key(hsm)
    world = a_world(hsm, key)
    made = call(hsm, world, GenerateDataKeyRequest(key_id=key.key_id, encryption_context=CONTEXT, **asked))
    assert len(made.plaintext) == length
    assert (made.key_id, made.key_material_id) == (arn_of(key), key.versions[0].material_id)
    assert opened(hsm, world, made.ciphertext_blob) == made.plaintext


def test_without_plaintext_there_is_none_and_the_blob_opens(hsm):
    key = a_key(hsm)
    world = a_world(hsm, key)
    request = GenerateDataKeyWithoutPlaintextRequest(
        key_id=key.key_id, key_spec=DataKeySpec.AES_256, encryption_context=CONTEXT
    )
    made = call(hsm, world, request)
    assert not hasattr(made, "plaintext")
    assert len(opened(hsm, world, made.ciphertext_blob)) == 32


def test_no_two_data_keys_are_alike(hsm):
    key = a_key(hsm)
    world = a_world(hsm, key)
    request = GenerateDataKeyRequest(key_id=key.key_id, number_of_bytes=32)
    assert len({call(hsm, world, request).plaintext for _ in range(20)}) == 20


@pytest.mark.parametrize("kind", BOTH)
@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({}, "Please specify either number of bytes or key spec."),
        (
            {"key_spec": DataKeySpec.AES_256, "number_of_bytes": 32},
            "Please specify either number of bytes or key spec.",
        ),
        (
            {"number_of_bytes": 0},
            "1 validation error detected: Value '0' at 'numberOfBytes' failed to satisfy constraint: Member must have "
            "value greater than or equal to 1",
        ),
        (
            {"number_of_bytes": 1025},
            "1 validation error detected: Value '1025' at 'numberOfBytes' failed to satisfy constraint: Member must "
            "have value less than or equal to 1024",
        ),
        (
            {"number_of_bytes": -1},
            "1 validation error detected: Value '-1' at 'numberOfBytes' failed to satisfy constraint: Member must have "
            "value greater than or equal to 1",
        ),
    ],
)
def test_exactly_one_size_within_bounds(hsm, kind, asked, message):
    key = a_key(hsm)
    error = refusal(hsm, a_world(hsm, key), kind(key_id=key.key_id, **asked))
    assert (type(error), error.message) == (ValidationError, message)


@pytest.mark.parametrize("kind", PAIRS)
@pytest.mark.parametrize("spec", list(DataKeyPairSpec))
def test_a_data_key_pair_opens_to_the_private_half_of_its_public_key(hsm, kind, spec):
    key = a_key(hsm)
    world = a_world(hsm, key)
    made = call(hsm, world, kind(key_id=key.key_id, key_pair_spec=spec, encryption_context=CONTEXT))
    private = opened(hsm, world, made.private_key_ciphertext_blob)
    public = load_der_private_key(private, None).public_key()
    assert public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo) == made.public_key
    assert (made.key_pair_spec, made.key_id) == (spec, arn_of(key))
    if kind is GenerateDataKeyPairRequest:
        assert made.private_key_plaintext == private
    else:
        assert not hasattr(made, "private_key_plaintext")


@makers
@pytest.mark.parametrize("bit", [0, 255, 256, 511])
@pytest.mark.parametrize("call_number", [1, 2])
def test_a_flipped_bit_in_either_derivation_returns_nothing(hsm, operation, bit, call_number):
    key = a_key(hsm)
    lane = CountingLane(hsm.fast, frozenset({call_number}), bit)
    error = refusal(hsm, a_world(hsm, key, fast=lane), a_request(hsm, operation, key))
    assert type(error) is KmsInternalError
    assert len(lane.derived) == 2


@makers
def test_the_self_check_derives_in_the_token_again(hsm, operation):
    key = a_key(hsm)
    lane = CountingLane(hsm.fast)
    call(hsm, a_world(hsm, key, fast=lane), a_request(hsm, operation, key))
    assert len(lane.derived) == 2
    assert lane.derived[0] == lane.derived[1]


@makers
@pytest.mark.parametrize("spec", [KeySpec.RSA_2048, KeySpec.HMAC_256, KeySpec.ECC_NIST_P256])
def test_only_symmetric_keys_make_data_keys(hsm, operation, spec):
    key = a_key(hsm, spec)
    error = refusal(hsm, a_world(hsm, key), a_request(hsm, operation, key))
    assert type(error) is InvalidKeyUsageError
    if key.usage is KeyUsage.ENCRYPT_DECRYPT:
        assert error.message == "Algorithm SYMMETRIC_DEFAULT is incompatible with key spec RSA_2048."
    else:
        assert error.message == f"{arn_of(key)} key usage is {key.usage.value} which is not valid for {operation}."


@pytest.mark.parametrize("operation", ["GenerateDataKey", "GenerateDataKeyPair"])
def test_a_recipient_is_never_ignored(hsm, operation):
    key = a_key(hsm)
    request = replace(a_request(hsm, operation, key), recipient={"AttestationDocument": b"x"})
    assert type(refusal(hsm, a_world(hsm, key), request)) is UnsupportedOperationError


@pytest.mark.parametrize("count", [1, 32, 1024])
def test_random_bytes_come_from_the_entropy_of_the_world(hsm, count):
    made = call(hsm, a_world(hsm, entropy=lambda n: b"r" * n), GenerateRandomRequest(number_of_bytes=count))
    assert made.plaintext == b"r" * count


@pytest.mark.parametrize(
    ("request_", "kind"),
    [
        (GenerateRandomRequest(), ValidationError),
        (GenerateRandomRequest(number_of_bytes=0), ValidationError),
        (GenerateRandomRequest(number_of_bytes=1025), ValidationError),
        (GenerateRandomRequest(number_of_bytes=1, custom_key_store_id="cks-1"), UnsupportedOperationError),
        (GenerateRandomRequest(number_of_bytes=1, recipient={}), UnsupportedOperationError),
    ],
)
def test_random_within_bounds(hsm, request_, kind):
    assert type(refusal(hsm, a_world(hsm), request_)) is kind


def test_no_number_of_bytes_is_said_in_aws_words(hsm):
    assert refusal(hsm, a_world(hsm), GenerateRandomRequest()).message == "NumberOfBytes is required."


def test_random_asks_rbac_without_a_key(hsm):
    rbac = Rbac(answer=False)
    error = refusal(hsm, a_world(hsm), GenerateRandomRequest(number_of_bytes=1), rbac=rbac)
    assert type(error) is AccessDeniedError
    assert [(review.verb, review.namespace, review.name) for review in rbac.asked] == [("generaterandom", "team-a", "")]
    call(hsm, a_world(hsm), GenerateRandomRequest(number_of_bytes=1), caller=root_of(a_key(hsm)), rbac=rbac)
