"""Material that was made elsewhere becomes a key that works, on the fake and on every real token; what does not fit its spec is refused."""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
from collections.abc import Callable
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_der_public_key,
)
from tests.hsm.fake import _RSA_KEYS as RSA_KEYS
from tests.hsm.work import decrypt, encrypt, sign, verify

from keystead.engine.algorithms import KeyAgreementAlgorithm, MacAlgorithm, RsaPadding
from keystead.engine.imported import imported_id, spki_of
from keystead.engine.keyspec import KEY_SPECS, Family, row, usages
from keystead.engine.ports import Agree, DecryptRsa, GeneratedMaterial, Import, Material
from keystead.engine.publickey import CURVES, encrypt_rsa
from keystead.errors import HsmDataError
from keystead.resources.vocabulary import KeySpec, KeyUsage, Protection

KEY_ID = bytes(range(16))
PAIRS = [spec for spec in KEY_SPECS if not row(spec).secret_length]
SECRETS = [spec for spec in KEY_SPECS if row(spec).secret_length]
SIGNING = [spec for spec in PAIRS if KeyUsage.SIGN_VERIFY in usages(spec)]


def der(key: Any) -> bytes:
    return key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())


def new_pair(spec: KeySpec) -> bytes:
    """PKCS#8 of a key of this spec, made outside the token."""
    if row(spec).family is Family.RSA:
        return base64.b64decode(RSA_KEYS[str(row(spec).size)][0])
    return der(ec.generate_private_key(CURVES[spec]()) if spec in CURVES else ed25519.Ed25519PrivateKey.generate())


def imported(
    hsm: Any, spec: KeySpec, plaintext: bytes, usage: KeyUsage | None = None, key_id: bytes | None = None
) -> Material:
    """Under a new key id where none is given: of one id and one material there is one usage."""
    protection, usage, key_id = hsm.capabilities.protection(spec), usage or usages(spec)[0], key_id or os.urandom(16)
    made = hsm.slow(Import(key_id, spec, protection, usage, plaintext))
    assert isinstance(made, GeneratedMaterial)
    return Material(key_id, spec, usage, protection, made.material_id, made.wrapped, made.plain_len, made.spki)


def test_imported_hmac_key_gives_the_mac_of_rfc_4231(hsm: Any) -> None:
    """Test case 2 has a key of 4 bytes: padded with zeros it is the same HMAC key (RFC 2104 2)."""
    key = imported(hsm, KeySpec.HMAC_256, b"Jefe".ljust(32, b"\0"))
    mac = hsm.fast.generate_mac(key, MacAlgorithm.HMAC_SHA_256, b"what do ya want for nothing?")
    assert mac.hex() == "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"


@pytest.mark.parametrize("spec", [spec for spec in SECRETS if row(spec).macs], ids=str)
def test_imported_mac_key_of_every_spec_is_that_key(hsm: Any, spec: KeySpec) -> None:
    secret, algorithm = os.urandom(row(spec).secret_length), row(spec).macs[0]
    mac = hsm.fast.generate_mac(imported(hsm, spec, secret), algorithm, b"message")
    assert mac == hmac.digest(secret, b"message", "sha" + algorithm.value[-3:])


@pytest.mark.parametrize("length", [32, 64])
def test_imported_symmetric_key_derives_what_its_bytes_derive(hsm: Any, length: int) -> None:
    secret = os.urandom(length)
    key = imported(hsm, KeySpec.SYMMETRIC_DEFAULT, secret)
    assert hsm.fast.derive(key, b"message") == hmac.digest(secret, b"message", "sha512")
    assert key.material_id == imported_id(KeySpec.SYMMETRIC_DEFAULT, key.key_id, secret)


def test_message_of_the_same_material_imported_before_opens(hsm: Any) -> None:
    secret = os.urandom(32)
    first, again = (imported(hsm, KeySpec.SYMMETRIC_DEFAULT, secret, key_id=KEY_ID) for _ in range(2))
    assert decrypt(hsm, again, encrypt(hsm, first, b"from an earlier life")) == b"from an earlier life"


@pytest.mark.parametrize("spec", PAIRS, ids=str)
def test_imported_pair_has_its_own_public_key_and_id(hsm: Any, spec: KeySpec) -> None:
    plaintext = new_pair(spec)
    key = imported(hsm, spec, plaintext)
    assert key.spki is not None
    assert key.material_id == imported_id(spec, key.key_id, plaintext)


@pytest.mark.parametrize("spec", SIGNING, ids=str)
def test_imported_key_signs_what_verifies_in_software(hsm: Any, spec: KeySpec) -> None:
    key, algorithm = imported(hsm, spec, new_pair(spec), KeyUsage.SIGN_VERIFY), row(spec).signing[0]
    signature = sign(hsm, key, algorithm, b"message")
    assert verify(key, algorithm, b"message", signature)
    assert not verify(key, algorithm, b"another", signature)


@pytest.mark.parametrize("spec", list(CURVES), ids=str)
def test_private_value_with_leading_zeros_is_imported_whole(hsm: Any, spec: KeySpec) -> None:
    key = imported(hsm, spec, der(ec.derive_private_key(0x1234567, CURVES[spec]())), KeyUsage.SIGN_VERIFY)
    signature = sign(hsm, key, row(spec).signing[0], b"message")
    assert verify(key, row(spec).signing[0], b"message", signature)


@pytest.mark.parametrize("padding", RsaPadding, ids=str)
def test_imported_rsa_key_decrypts(hsm: Any, padding: RsaPadding) -> None:
    key = imported(hsm, KeySpec.RSA_2048, new_pair(KeySpec.RSA_2048), KeyUsage.ENCRYPT_DECRYPT)
    assert key.spki is not None
    assert hsm.slow(DecryptRsa(key, padding, encrypt_rsa(key.spki, padding, b"secret"))) == b"secret"


def test_imported_key_agrees(hsm: Any) -> None:
    key = imported(hsm, KeySpec.ECC_NIST_P384, new_pair(KeySpec.ECC_NIST_P384), KeyUsage.KEY_AGREEMENT)
    assert key.spki is not None
    peer, public = ec.generate_private_key(ec.SECP384R1()), load_der_public_key(key.spki)
    assert isinstance(public, ec.EllipticCurvePublicKey)
    secret = hsm.slow(Agree(key, KeyAgreementAlgorithm.ECDH, spki_of(peer)))
    assert secret == peer.exchange(ec.ECDH(), public)


@pytest.mark.parametrize("spec", SECRETS, ids=str)
def test_secret_of_another_length_is_refused(hsm: Any, spec: KeySpec) -> None:
    length = row(spec).secret_length
    for wrong in {0, 1, 16, 28, 31, length - 1, length + 1, 128}:
        with pytest.raises(HsmDataError, match=rf"^{wrong} bytes: {spec} takes .*{length} bytes$"):
            imported(hsm, spec, bytes(wrong))


def _encrypted() -> bytes:
    key = ec.generate_private_key(ec.SECP256R1())
    return key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, BestAvailableEncryption(b"password"))


NO_KEY, BITS, CURVE = "^not a private key: .* PKCS#8 in DER$", "^a key for RSA of", "^a key for (secp|Ed25519|RSA)"
WRONG: list[tuple[str, KeySpec, Callable[[], bytes], str]] = [
    ("empty", KeySpec.RSA_2048, lambda: b"", NO_KEY),
    ("noise", KeySpec.ECC_NIST_P256, lambda: hashlib.sha512(b"noise").digest() * 2, NO_KEY),
    ("public half", KeySpec.ECC_NIST_P256, lambda: spki_of(ec.generate_private_key(ec.SECP256R1())), NO_KEY),
    ("cut short", KeySpec.RSA_2048, lambda: new_pair(KeySpec.RSA_2048)[:-1], NO_KEY),
    ("with a tail", KeySpec.RSA_2048, lambda: new_pair(KeySpec.RSA_2048) + b"\0", NO_KEY),
    ("encrypted", KeySpec.ECC_NIST_P256, _encrypted, NO_KEY),
    ("other size", KeySpec.RSA_3072, lambda: new_pair(KeySpec.RSA_2048), BITS),
    ("odd size", KeySpec.RSA_2048, lambda: der(rsa.generate_private_key(65537, 1024)), BITS),
    ("other curve", KeySpec.ECC_NIST_P256, lambda: new_pair(KeySpec.ECC_NIST_P384), CURVE),
    ("curve of the same length", KeySpec.ECC_NIST_P256, lambda: new_pair(KeySpec.ECC_SECG_P256K1), CURVE),
    ("edwards", KeySpec.ECC_NIST_P256, lambda: new_pair(KeySpec.ECC_NIST_EDWARDS25519), CURVE),
    ("rsa for edwards", KeySpec.ECC_NIST_EDWARDS25519, lambda: new_pair(KeySpec.RSA_2048), CURVE),
]


@pytest.mark.parametrize(("spec", "make", "words"), [row_[1:] for row_ in WRONG], ids=[row_[0] for row_ in WRONG])
def test_what_is_no_key_of_the_spec_is_refused(
    hsm: Any, spec: KeySpec, make: Callable[[], bytes], words: str
) -> None:
    with pytest.raises(HsmDataError, match=words):
        imported(hsm, spec, make())


def test_import_does_not_show_its_plaintext() -> None:
    call = Import(KEY_ID, KeySpec.HMAC_256, Protection.TOKEN, KeyUsage.GENERATE_VERIFY_MAC, b"S" * 32)
    assert "SSS" not in repr(call)
