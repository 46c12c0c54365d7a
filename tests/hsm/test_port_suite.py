"""The ports of engine.ports, on the fake, on SoftHSM2 and on kryoptic: ONE suite (STYLE 28)."""

from __future__ import annotations

import dataclasses
import hmac
import os
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from tests.hsm.work import decrypt, encrypt, new_material, sign, verify

from keystead.engine.algorithms import KeyAgreementAlgorithm, MacAlgorithm, RsaPadding, SigningAlgorithm
from keystead.engine.kdf import material_id_input
from keystead.engine.keyspec import KEY_SPECS, row, usages, wrapped_length_fits
from keystead.engine.material import public_material_id
from keystead.engine.ports import Agree, DecryptRsa, MakePair, Material, NewPair, SignDigest
from keystead.engine.publickey import CURVES, encrypt_rsa
from keystead.errors import BlobError, HsmDataError, HsmUnsupportedError
from keystead.resources.vocabulary import DataKeyPairSpec, KeySpec, KeyUsage, Protection

_PAIRS = [(spec, usage) for spec in KEY_SPECS for usage in usages(spec)]
_HMACS = [spec for spec in KEY_SPECS if row(spec).macs]
_SIGNING = [spec for spec in KEY_SPECS if KeyUsage.SIGN_VERIFY in usages(spec)]
_AGREEMENT = [spec for spec in KEY_SPECS if KeyUsage.KEY_AGREEMENT in usages(spec)]
_PH = SigningAlgorithm.ED25519_PH_SHA_512


def _material(hsm: Any, spec: KeySpec, usage: KeyUsage | None = None) -> Material:
    return new_material(hsm, spec, usage, hsm.capabilities.protection(spec))


@pytest.fixture(scope="session")
def key(hsm: Any) -> Material:
    """A SYMMETRIC_DEFAULT key."""
    return new_material(hsm)


@pytest.fixture(scope="session")
def rsa_key(hsm: Any) -> Material:
    """An RSA_2048 key that decrypts."""
    return new_material(hsm, KeySpec.RSA_2048, KeyUsage.ENCRYPT_DECRYPT)


def test_domain_mac_is_64_bytes_and_always_the_same(hsm: Any) -> None:
    assert len(hsm.domain.mac(b"x")) == 64
    assert hsm.domain.mac(b"x") == hsm.domain.mac(b"x") != hsm.domain.mac(b"y")


def test_domain_has_a_generation_and_a_fingerprint(hsm: Any) -> None:
    assert hsm.domain.generation == 1
    assert len(bytes.fromhex(hsm.domain.fingerprint)) == 32


def test_no_spec_is_unsupported_where_software_keys_are_allowed(hsm: Any) -> None:
    protections = {spec: hsm.capabilities.protection(spec) for spec in KEY_SPECS}
    assert None not in protections.values()
    software = {spec for spec, found in protections.items() if found is Protection.SOFTWARE}
    assert software <= {KeySpec.ECC_NIST_EDWARDS25519, KeySpec.ECC_SECG_P256K1}


@pytest.mark.parametrize(("spec", "usage"), _PAIRS, ids=lambda value: value.value)
def test_generated_material_has_the_shape_of_its_spec(hsm: Any, spec: KeySpec, usage: KeyUsage) -> None:
    made = _material(hsm, spec, usage)
    assert len(made.material_id) == 32
    if made.protection is not Protection.SOFTWARE:
        assert wrapped_length_fits(spec, len(made.wrapped), made.plain_len)
    if row(spec).secret_length:
        assert made.spki is None
    else:
        assert made.spki is not None
        assert made.material_id == public_material_id(made.key_id, made.spki)


def test_material_ids_are_never_the_same_twice(hsm: Any) -> None:
    assert len({new_material(hsm, spec).material_id for spec in _HMACS for _ in range(2)}) == 2 * len(_HMACS)


def test_symmetric_material_derives_its_own_id(hsm: Any, key: Material) -> None:
    assert hsm.fast.derive(key, material_id_input(key.key_id))[:32] == key.material_id


def test_encrypted_message_opens_again(hsm: Any, key: Material) -> None:
    assert decrypt(hsm, key, encrypt(hsm, key, b"secret")) == b"secret"


def test_message_of_another_key_or_context_does_not_open(hsm: Any, key: Material) -> None:
    blob, other = encrypt(hsm, key), new_material(hsm)
    with pytest.raises(BlobError):
        decrypt(hsm, other, blob)
    with pytest.raises(BlobError):
        decrypt(hsm, key, blob, b"\0\0")


@pytest.mark.parametrize("member", ["key_id", "material_id"])
def test_material_under_another_id_is_refused(hsm: Any, key: Material, member: str) -> None:
    wrong = dataclasses.replace(key, **{member: bytes(len(getattr(key, member)))})
    with pytest.raises(HsmDataError):
        hsm.fast.derive(wrong, b"x")
    assert hsm.fast.derive(key, b"x")


@pytest.mark.parametrize("length", [0, 1, 8, 39, 40, 64, 71, 73, 80, 4096])
def test_wrapped_material_of_another_length_is_refused(hsm: Any, key: Material, length: int) -> None:
    wrong = dataclasses.replace(key, wrapped=(key.wrapped * 60)[:length])
    with pytest.raises(HsmDataError):
        hsm.fast.derive(wrong, b"x")


def test_every_changed_byte_of_wrapped_material_is_refused(hsm: Any, key: Material) -> None:
    for index in range(len(key.wrapped)):
        changed = bytearray(key.wrapped)
        changed[index] ^= 1
        with pytest.raises(HsmDataError):
            hsm.fast.derive(dataclasses.replace(key, wrapped=bytes(changed)), b"x")
    assert hsm.fast.derive(key, b"x") == hsm.fast.derive(key, b"x")


@pytest.mark.parametrize("spec", _HMACS, ids=str)
def test_mac_verifies_and_another_does_not(hsm: Any, spec: KeySpec) -> None:
    made, algorithm = new_material(hsm, spec), row(spec).macs[0]
    mac = hsm.fast.generate_mac(made, algorithm, b"message")
    assert len(mac) == int(algorithm.value[-3:]) // 8
    assert hsm.fast.verify_mac(made, algorithm, b"message", mac)
    assert not hsm.fast.verify_mac(made, algorithm, b"another", mac)
    for wrong in (b"", mac[:-1], mac + b"\0", bytes(len(mac))):
        assert not hsm.fast.verify_mac(made, algorithm, b"message", wrong)


def test_mac_key_does_not_derive_messages(hsm: Any) -> None:
    made = new_material(hsm, KeySpec.HMAC_256)
    with pytest.raises(HsmDataError):
        hsm.fast.derive(dataclasses.replace(made, spec=KeySpec.SYMMETRIC_DEFAULT), b"x")


@pytest.mark.parametrize("spec", _SIGNING, ids=str)
def test_signature_of_every_algorithm_verifies_in_software(hsm: Any, spec: KeySpec) -> None:
    made = _material(hsm, spec, KeyUsage.SIGN_VERIFY)
    for algorithm in row(spec).signing:
        if algorithm is not _PH:
            signature = sign(hsm, made, algorithm, b"message")
            assert verify(made, algorithm, b"message", signature)
            assert not verify(made, algorithm, b"another", signature)


@pytest.mark.parametrize("length", [0, 31, 33, 64])
def test_digest_of_the_wrong_length_is_refused(hsm: Any, length: int) -> None:
    made = new_material(hsm, KeySpec.ECC_NIST_P256, KeyUsage.SIGN_VERIFY)
    with pytest.raises(HsmDataError):
        hsm.slow(SignDigest(made, SigningAlgorithm.ECDSA_SHA_256, bytes(length)))


def test_prehashed_ed25519_is_never_asked_of_a_token(hsm: Any) -> None:
    made = _material(hsm, KeySpec.ECC_NIST_EDWARDS25519)
    with pytest.raises(HsmUnsupportedError):
        hsm.slow(SignDigest(made, _PH, bytes(64)))


@pytest.mark.parametrize("padding", RsaPadding, ids=str)
def test_rsa_decrypts_what_its_public_key_encrypts(hsm: Any, rsa_key: Material, padding: RsaPadding) -> None:
    assert rsa_key.spki is not None
    for plaintext in (b"", b"x", os.urandom(190)):
        ciphertext = encrypt_rsa(rsa_key.spki, padding, plaintext)
        assert hsm.slow(DecryptRsa(rsa_key, padding, ciphertext)) == plaintext


@pytest.mark.parametrize("padding", RsaPadding, ids=str)
def test_every_bad_rsa_ciphertext_is_the_same_error(hsm: Any, rsa_key: Material, padding: RsaPadding) -> None:
    assert rsa_key.spki is not None
    good = encrypt_rsa(rsa_key.spki, padding, b"x")
    other = next(item for item in RsaPadding if item is not padding)
    bad = [
        b"",
        good[:-1],
        good + b"\0",
        bytes(256),
        b"\xff" * 256,
        encrypt_rsa(rsa_key.spki, other, b"x"),
        *(os.urandom(256) for _ in range(5)),
    ]
    words = set()
    for ciphertext in bad:
        with pytest.raises(HsmDataError) as caught:
            hsm.slow(DecryptRsa(rsa_key, padding, ciphertext))
        words.add(str(caught.value))
    assert len(words) == 1
    assert hsm.slow(DecryptRsa(rsa_key, padding, good)) == b"x"


@pytest.mark.parametrize("spec", _AGREEMENT, ids=str)
def test_both_sides_agree_on_one_secret(hsm: Any, spec: KeySpec) -> None:
    made = new_material(hsm, spec, KeyUsage.KEY_AGREEMENT)
    assert made.spki is not None
    public = serialization.load_der_public_key(made.spki)
    assert isinstance(public, ec.EllipticCurvePublicKey)
    for _ in range(3):
        peer = ec.generate_private_key(CURVES[spec]())
        secret = hsm.slow(Agree(made, KeyAgreementAlgorithm.ECDH, _spki(peer)))
        assert hmac.compare_digest(secret, peer.exchange(ec.ECDH(), public))


def _spki(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)


def test_private_key_under_another_public_key_is_refused(hsm: Any) -> None:
    one, two = (new_material(hsm, KeySpec.ECC_NIST_P256, KeyUsage.SIGN_VERIFY) for _ in range(2))
    swapped = dataclasses.replace(one, wrapped=two.wrapped, plain_len=two.plain_len)
    with pytest.raises(HsmDataError):
        sign(hsm, swapped, SigningAlgorithm.ECDSA_SHA_256, b"message")


@pytest.mark.parametrize("spec", [DataKeyPairSpec.ECC_NIST_P256, DataKeyPairSpec.RSA_2048], ids=str)
def test_data_key_pair_halves_belong_together(hsm: Any, spec: DataKeyPairSpec) -> None:
    pair = hsm.slow(MakePair(spec))
    assert isinstance(pair, NewPair)
    private = serialization.load_der_private_key(pair.private_pkcs8, None)
    assert private.public_key() == serialization.load_der_public_key(pair.public_spki)


def test_software_keys_are_only_those_of_this_domain_and_key(hsm: Any) -> None:
    spec = next((s for s in KEY_SPECS if hsm.capabilities.protection(s) is Protection.SOFTWARE), None)
    assert spec is not None
    made = new_material(hsm, spec, protection=Protection.SOFTWARE)
    moved = dataclasses.replace(made, key_id=bytes(16))
    with pytest.raises(HsmDataError):
        sign(hsm, moved, row(spec).signing[0], b"message")


def test_mac_algorithms_are_all_held_by_the_token(hsm: Any) -> None:
    assert {algorithm for spec in _HMACS for algorithm in row(spec).macs} == set(MacAlgorithm)
