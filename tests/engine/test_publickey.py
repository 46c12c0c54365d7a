"""Public keys in software: verification, encryption, the check of a peer."""

from __future__ import annotations

import hashlib

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa, utils
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st
from tests.builders import a_key
from tests.engine.test_kdf import bytes32
from tests.hsm.fake import FakeHsm

from keystead.engine.algorithms import DIGESTS, RsaPadding, SigningAlgorithm
from keystead.engine.keyspec import KEY_SPECS
from keystead.engine.material import material_of
from keystead.engine.ports import MakePair, SignDigest
from keystead.engine.publickey import CURVES, check_peer, ecdsa_der, encrypt_rsa, signing_input, verify
from keystead.errors import FormatError, HsmUnsupportedError
from keystead.resources.vocabulary import DataKeyPairSpec, KeySpec, KeyUsage

HSM = FakeHsm()
PH = SigningAlgorithm.ED25519_PH_SHA_512
PAIRS = [(spec, a) for spec, row in KEY_SPECS.items() for a in row.signing if a is not PH]


def spki_of(key) -> bytes:
    return key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


@pytest.mark.parametrize(("spec", "algorithm"), PAIRS)
def test_a_signature_verifies_and_a_changed_one_does_not(spec, algorithm):
    record = a_key(HSM, spec, usage=KeyUsage.SIGN_VERIFY)
    material = material_of(record, record.current_version)
    digest = signing_input(algorithm, b"message")
    signature = HSM.slow(SignDigest(material, algorithm, digest))
    assert verify(material.spki, algorithm, digest, signature) is True
    assert verify(material.spki, algorithm, signing_input(algorithm, b"messagf"), signature) is False
    assert verify(material.spki, algorithm, digest, signature[:-1]) is False
    assert verify(material.spki, algorithm, digest, bytes(len(signature))) is False


def test_another_scheme_does_not_verify():
    key = rsa.generate_private_key(65537, 2048)
    digest = hashlib.sha256(b"x").digest()
    pkcs1 = key.sign(digest, padding.PKCS1v15(), utils.Prehashed(hashes.SHA256()))
    assert verify(spki_of(key), SigningAlgorithm.RSASSA_PKCS1_V1_5_SHA_256, digest, pkcs1)
    assert not verify(spki_of(key), SigningAlgorithm.RSASSA_PSS_SHA_256, digest, pkcs1)


def test_pss_wants_a_salt_as_long_as_the_hash():
    key = rsa.generate_private_key(65537, 2048)
    digest = hashlib.sha256(b"x").digest()
    short = padding.PSS(padding.MGF1(hashes.SHA256()), 20)
    signature = key.sign(digest, short, utils.Prehashed(hashes.SHA256()))
    assert not verify(spki_of(key), SigningAlgorithm.RSASSA_PSS_SHA_256, digest, signature)


def test_ed25519ph_is_said_to_be_unsupported():
    key = ed25519.Ed25519PrivateKey.generate()
    with pytest.raises(HsmUnsupportedError):
        verify(spki_of(key), SigningAlgorithm.ED25519_PH_SHA_512, bytes(64), bytes(64))


@pytest.mark.parametrize("algorithm", [a for a in SigningAlgorithm if a is not PH])
def test_a_public_key_of_another_kind_is_a_format_error(algorithm):
    elliptic, edwards = ec.generate_private_key(ec.SECP256R1()), ed25519.Ed25519PrivateKey.generate()
    other = edwards if "ECDSA" in algorithm else elliptic
    with pytest.raises(FormatError):
        verify(spki_of(other), algorithm, bytes(DIGESTS[algorithm][1]), bytes(64))


@given(st.binary(max_size=200))
def test_random_bytes_are_no_public_key(data):
    with pytest.raises(FormatError):
        check_peer(KeySpec.ECC_NIST_P256, data)


@pytest.mark.parametrize("which", list(RsaPadding))
def test_oaep_is_what_the_private_key_opens(which):
    key = rsa.generate_private_key(65537, 2048)
    chosen = hashes.SHA1() if which is RsaPadding.OAEP_SHA_1 else hashes.SHA256()
    ciphertext = encrypt_rsa(spki_of(key), which, b"secret")
    assert key.decrypt(ciphertext, padding.OAEP(padding.MGF1(chosen), chosen, None)) == b"secret"


@pytest.mark.parametrize("spec", list(CURVES))
def test_a_peer_must_lie_on_the_curve_of_the_key(spec):
    for other, curve in CURVES.items():
        peer = spki_of(ec.generate_private_key(curve()))
        if other is spec:
            check_peer(spec, peer)
        else:
            with pytest.raises(FormatError):
                check_peer(spec, peer)


def test_a_point_beside_the_curve_is_refused():
    peer = bytearray(spki_of(ec.generate_private_key(ec.SECP256R1())))
    peer[-1] ^= 1
    with pytest.raises(FormatError):
        check_peer(KeySpec.ECC_NIST_P256, bytes(peer))


def test_a_peer_of_another_kind_is_refused():
    pair = HSM.slow(MakePair(DataKeyPairSpec.RSA_2048))
    with pytest.raises(FormatError):
        check_peer(KeySpec.ECC_NIST_P256, pair.public_spki)


@given(bytes32, bytes32)
def test_r_and_s_become_der(r, s):
    expected = utils.encode_dss_signature(int.from_bytes(r, "big"), int.from_bytes(s, "big"))
    assert ecdsa_der(r + s) == expected


@pytest.mark.parametrize("raw", [b"", b"abc"])
def test_r_and_s_have_the_same_length(raw):
    with pytest.raises(FormatError):
        ecdsa_der(raw)
