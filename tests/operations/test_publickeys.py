"""GetPublicKey, DeriveSharedSecret, DescribeKey."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_der_public_key
from tests.builders import ACCOUNT, a_key, a_world, call
from tests.operations.requests import a_request, the_key

from keystead.engine.algorithms import KeyAgreementAlgorithm, SigningAlgorithm
from keystead.engine.keyspec import KEY_SPECS, Family, row, usages
from keystead.engine.publickey import CURVES
from keystead.errors import InvalidKeyUsageError, KmsError, UnsupportedOperationError, ValidationError
from keystead.operations.describe import DescribeKeyRequest, KeyManager
from keystead.operations.pipeline import arn_of
from keystead.operations.publickeys import DeriveSharedSecretRequest, GetPublicKeyRequest
from keystead.resources.vocabulary import KeySpec, KeyState, KeyUsage, Origin

ECDH = KeyAgreementAlgorithm.ECDH
AGREEING = [spec for spec in KeySpec if KeyUsage.KEY_AGREEMENT in usages(spec)]
COMBINATIONS = [(spec, usage) for spec in KeySpec for usage in usages(spec)]
SECRETS = (Family.SYMMETRIC, Family.HMAC)


def refusal(hsm, world, request) -> KmsError:
    with pytest.raises(KmsError) as caught:
        call(hsm, world, request)
    return caught.value


def spki_of(key) -> bytes:
    return key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


# No token does Ed25519ph: Sign refuses it, so no key says that it can.
PH = SigningAlgorithm.ED25519_PH_SHA_512


def algorithms_for(spec, usage):
    known = KEY_SPECS[spec]
    return {
        KeyUsage.ENCRYPT_DECRYPT: (known.encryption, (), (), ()),
        KeyUsage.SIGN_VERIFY: ((), tuple(item for item in known.signing if item is not PH), (), ()),
        KeyUsage.GENERATE_VERIFY_MAC: ((), (), known.macs, ()),
        KeyUsage.KEY_AGREEMENT: ((), (), (), known.agreement),
    }[usage]


@pytest.mark.parametrize(("spec", "usage"), [c for c in COMBINATIONS if row(c[0]).family not in SECRETS])
def test_a_public_key_comes_with_the_algorithms_of_its_usage(hsm, spec, usage):
    key = a_key(hsm, spec, usage=usage)
    answer = call(hsm, a_world(hsm, key), GetPublicKeyRequest(key_id=key.key_id))
    assert answer.public_key == key.versions[0].spki
    load_der_public_key(answer.public_key)
    assert (answer.key_id, answer.key_spec, answer.key_usage) == (arn_of(key), spec, usage)
    assert answer.customer_master_key_spec is spec
    encryption, signing, _, agreement = algorithms_for(spec, usage)
    assert answer.encryption_algorithms == encryption
    assert answer.signing_algorithms == signing
    assert answer.key_agreement_algorithms == agreement


@pytest.mark.parametrize("spec", [spec for spec in KeySpec if row(spec).family in SECRETS])
def test_a_secret_has_no_public_key(hsm, spec):
    key = a_key(hsm, spec)
    error = refusal(hsm, a_world(hsm, key), GetPublicKeyRequest(key_id=key.key_id))
    assert type(error) is UnsupportedOperationError


@pytest.mark.parametrize("spec", AGREEING)
def test_both_sides_derive_the_same_secret(hsm, spec):
    key = a_key(hsm, spec, usage=KeyUsage.KEY_AGREEMENT)
    peer = ec.generate_private_key(CURVES[spec]())
    request = DeriveSharedSecretRequest(key_id=key.key_id, key_agreement_algorithm=ECDH, public_key=spki_of(peer))
    answer = call(hsm, a_world(hsm, key), request)
    assert answer.shared_secret == peer.exchange(ec.ECDH(), load_der_public_key(key.versions[0].spki))
    assert len(answer.shared_secret) == row(spec).size
    assert (answer.key_id, answer.key_agreement_algorithm, answer.key_origin) == (arn_of(key), ECDH, Origin.AWS_KMS)


@pytest.mark.parametrize("spec", AGREEING)
def test_a_peer_that_is_no_point_of_the_curve_is_refused(hsm, spec):
    key = a_key(hsm, spec, usage=KeyUsage.KEY_AGREEMENT)
    good = spki_of(ec.generate_private_key(CURVES[spec]()))
    others = [spki_of(ec.generate_private_key(curve())) for other, curve in CURVES.items() if other is not spec]
    for peer in [b"x", good[:-1], good + b"\0", good[:-1] + bytes([good[-1] ^ 1]), *others]:
        request = DeriveSharedSecretRequest(key_id=key.key_id, key_agreement_algorithm=ECDH, public_key=peer)
        error = refusal(hsm, a_world(hsm, key), request)
        assert (type(error), error.message) == (ValidationError, "")


@pytest.mark.parametrize("length", [0, 8193])
def test_a_peer_has_1_to_8192_bytes(hsm, length):
    key = the_key(hsm, "DeriveSharedSecret")
    request = DeriveSharedSecretRequest(key_id=key.key_id, key_agreement_algorithm=ECDH, public_key=bytes(length))
    assert "'publicKey'" in refusal(hsm, a_world(hsm, key), request).message


@pytest.mark.parametrize("spec", [KeySpec.ECC_NIST_P256, KeySpec.SYMMETRIC_DEFAULT])
def test_a_key_of_another_usage_derives_nothing(hsm, spec):
    key = a_key(hsm, spec)
    request = a_request(hsm, "DeriveSharedSecret", key)
    error = refusal(hsm, a_world(hsm, key), request)
    assert type(error) is InvalidKeyUsageError
    assert error.message == f"{arn_of(key)} key usage is {key.usage.value} which is not valid for DeriveSharedSecret."


def test_a_recipient_is_never_ignored(hsm):
    key = the_key(hsm, "DeriveSharedSecret")
    request = replace(a_request(hsm, "DeriveSharedSecret", key), recipient={})
    assert type(refusal(hsm, a_world(hsm, key), request)) is UnsupportedOperationError


@pytest.mark.parametrize(("spec", "usage"), COMBINATIONS)
def test_describe_key_says_what_a_key_is(hsm, spec, usage):
    key = a_key(hsm, spec, usage=usage, description="orders")
    metadata = call(hsm, a_world(hsm, key), DescribeKeyRequest(key_id=key.key_id)).key_metadata
    assert (metadata.key_id, metadata.arn, metadata.aws_account_id) == (key.key_id, arn_of(key), ACCOUNT)
    assert (metadata.key_spec, metadata.key_usage, metadata.description) == (spec, usage, "orders")
    assert (metadata.enabled, metadata.key_state, metadata.deletion_date) == (True, KeyState.ENABLED, None)
    assert metadata.creation_date == datetime(2026, 11, 1, tzinfo=UTC)
    assert metadata.key_manager is KeyManager.CUSTOMER
    assert algorithms_for(spec, usage) == (
        metadata.encryption_algorithms,
        metadata.signing_algorithms,
        metadata.mac_algorithms,
        metadata.key_agreement_algorithms,
    )
    symmetric = spec is KeySpec.SYMMETRIC_DEFAULT
    assert metadata.current_key_material_id == (key.versions[0].material_id if symmetric else None)


@pytest.mark.parametrize("state", [state for state in KeyState if state is not KeyState.DESTROYED])
def test_describe_key_shows_every_state(hsm, state):
    key = a_key(hsm, state=state)
    metadata = call(hsm, a_world(hsm, key), DescribeKeyRequest(key_id=key.key_id)).key_metadata
    assert (metadata.key_state, metadata.enabled) == (state, state is KeyState.ENABLED)
    assert (metadata.deletion_date is not None) == (state is KeyState.PENDING_DELETION)


def test_a_key_that_keystead_makes_for_itself_is_managed_by_aws_in_their_words(hsm):
    key = a_key(hsm, name="aws-keystead")
    metadata = call(hsm, a_world(hsm, key), DescribeKeyRequest(key_id=key.key_id)).key_metadata
    assert metadata.key_manager is KeyManager.AWS
