"""GenerateMac and VerifyMac."""

from __future__ import annotations

import pytest
from msgspec.structs import replace as changed
from tests.builders import a_key, a_world, call

from keystead.engine.algorithms import MacAlgorithm
from keystead.errors import InvalidKeyUsageError, InvalidMacError, KmsError, KmsInternalError, ValidationError
from keystead.operations.macs import GenerateMacRequest, VerifyMacRequest
from keystead.operations.pipeline import arn_of
from keystead.resources.vocabulary import KeySpec

SPECS = {
    KeySpec.HMAC_224: MacAlgorithm.HMAC_SHA_224,
    KeySpec.HMAC_256: MacAlgorithm.HMAC_SHA_256,
    KeySpec.HMAC_384: MacAlgorithm.HMAC_SHA_384,
    KeySpec.HMAC_512: MacAlgorithm.HMAC_SHA_512,
}
pairs = pytest.mark.parametrize(("spec", "algorithm"), list(SPECS.items()))


def refusal(hsm, world, request) -> KmsError:
    with pytest.raises(KmsError) as caught:
        call(hsm, world, request)
    return caught.value


@pairs
@pytest.mark.parametrize("message", [b"x", bytes(4096)])
def test_a_mac_verifies(hsm, spec, algorithm, message):
    key = a_key(hsm, spec)
    world = a_world(hsm, key)
    made = call(hsm, world, GenerateMacRequest(key_id=key.key_id, message=message, mac_algorithm=algorithm))
    assert len(made.mac) == int(algorithm.value[-3:]) // 8
    assert (made.key_id, made.mac_algorithm) == (arn_of(key), algorithm)
    request = VerifyMacRequest(key_id=key.key_id, message=message, mac=made.mac, mac_algorithm=algorithm)
    answer = call(hsm, world, request)
    assert (answer.mac_valid, answer.key_id, answer.mac_algorithm) == (True, arn_of(key), algorithm)


@pairs
def test_a_wrong_mac_is_an_exception_and_never_false(hsm, spec, algorithm):
    key, other = a_key(hsm, spec), a_key(hsm, spec, n=2)
    world = a_world(hsm, key, other)
    mac = call(hsm, world, GenerateMacRequest(key_id=key.key_id, message=b"x", mac_algorithm=algorithm)).mac
    wrong = [
        (key, b"y", mac),
        (other, b"x", mac),
        (key, b"x", mac[:-1]),
        (key, b"x", mac + b"\0"),
        (key, b"x", mac[:1]),
        (key, b"x", bytes(len(mac))),
        (key, b"x", mac[:-1] + bytes([mac[-1] ^ 1])),
    ]
    for record, message, given in wrong:
        request = VerifyMacRequest(key_id=record.key_id, message=message, mac=given, mac_algorithm=algorithm)
        error = refusal(hsm, world, request)
        assert (type(error), error.message) == (InvalidMacError, "")


@pairs
def test_only_the_algorithm_of_the_spec(hsm, spec, algorithm):
    key = a_key(hsm, spec)
    for other in set(MacAlgorithm) - {algorithm}:
        error = refusal(
            hsm, a_world(hsm, key), GenerateMacRequest(key_id=key.key_id, message=b"x", mac_algorithm=other)
        )
        assert type(error) is InvalidKeyUsageError
        assert error.message == f"Algorithm {other.value} is incompatible with key spec {spec.value}."


def test_a_key_of_another_usage_makes_no_mac(hsm):
    key = a_key(hsm)
    request = GenerateMacRequest(key_id=key.key_id, message=b"x", mac_algorithm=MacAlgorithm.HMAC_SHA_512)
    error = refusal(hsm, a_world(hsm, key), request)
    assert type(error) is InvalidKeyUsageError
    assert error.message == f"{arn_of(key)} key usage is ENCRYPT_DECRYPT which is not valid for GenerateMac."


@pytest.mark.parametrize("length", [0, 4097])
def test_a_message_has_1_to_4096_bytes(hsm, length):
    key = a_key(hsm, KeySpec.HMAC_256)
    request = GenerateMacRequest(key_id=key.key_id, message=bytes(length), mac_algorithm=MacAlgorithm.HMAC_SHA_256)
    assert type(refusal(hsm, a_world(hsm, key), request)) is ValidationError


def test_an_empty_mac_is_refused(hsm):
    key = a_key(hsm, KeySpec.HMAC_256)
    request = VerifyMacRequest(key_id=key.key_id, message=b"x", mac=b"", mac_algorithm=MacAlgorithm.HMAC_SHA_256)
    assert type(refusal(hsm, a_world(hsm, key), request)) is ValidationError


@pytest.mark.parametrize("wrapped", [b"", b"\0" * 8, b"\0" * 40, b"\0" * 48])
def test_an_empty_or_damaged_wrapped_key_signs_nothing(hsm, wrapped):
    key = a_key(hsm, KeySpec.HMAC_256)
    bad = changed(key, versions=[changed(key.versions[0], wrapped=wrapped)])
    request = GenerateMacRequest(key_id=key.key_id, message=b"x", mac_algorithm=MacAlgorithm.HMAC_SHA_256)
    assert type(refusal(hsm, a_world(hsm, bad), request)) is KmsInternalError
