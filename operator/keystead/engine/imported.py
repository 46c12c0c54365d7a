"""Material that was made elsewhere, before it becomes a key: what of it fits a spec, and the id that it will have.

Called by hsm (`Import`) and by dev (seeds, so that a bad one is refused before the token is opened). What is refused says what is wrong
with it and never shows a byte of it.
"""

from __future__ import annotations

import hmac

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_der_private_key

from keystead.engine.keyspec import Family, row
from keystead.engine.material import public_material_id, symmetric_material_id
from keystead.engine.publickey import CURVES
from keystead.errors import FormatError
from keystead.resources.vocabulary import KeySpec

PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey
_HALF = 32


def read_imported(spec: KeySpec, plaintext: bytes) -> bytes | PrivateKey:
    """The secret as the token gets it, or the private key. FormatError says what does not fit."""
    return read_secret(spec, plaintext) if row(spec).secret_length else read_private_key(spec, plaintext)


def read_secret(spec: KeySpec, plaintext: bytes) -> bytes:
    """A secret of the spec's length. SYMMETRIC_DEFAULT takes 32 bytes, too: HMAC pads a key with zeros (RFC 2104 2)."""
    length, given = row(spec).secret_length, len(plaintext)
    if row(spec).family is Family.SYMMETRIC and given == _HALF:
        return plaintext.ljust(length, b"\0")
    if given != length:
        fits = f"{_HALF} or {length}" if row(spec).family is Family.SYMMETRIC else f"{length}"
        raise FormatError(f"{given} bytes: {spec} takes {fits} bytes")
    return plaintext


def read_private_key(spec: KeySpec, plaintext: bytes) -> PrivateKey:
    """An RSA key of the spec's size, or a key on its curve, as unencrypted PKCS#8 in DER."""
    try:
        key = load_der_private_key(plaintext, None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise FormatError(f"not a private key: {spec} takes unencrypted PKCS#8 in DER") from None
    if not isinstance(key, PrivateKey):
        raise FormatError(f"a key of another kind: {spec} is wanted")
    if _name(key) != _wanted(spec):
        raise FormatError(f"a key for {_name(key)}: {spec} takes {_wanted(spec)}")
    return key


def spki_of(key: PrivateKey) -> bytes:
    """SubjectPublicKeyInfo DER of a private key."""
    return key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def imported_id(spec: KeySpec, key_id: bytes, plaintext: bytes) -> bytes | None:
    """The material id that this has under this key id. None for HMAC keys, whose ids are random. FormatError as above."""
    key = read_imported(spec, plaintext)
    if not isinstance(key, bytes):
        return public_material_id(key_id, spki_of(key))
    if row(spec).family is not Family.SYMMETRIC:
        return None
    return symmetric_material_id(lambda message: hmac.digest(key, message, "sha512"), key_id)


def _name(key: PrivateKey) -> str:
    if isinstance(key, rsa.RSAPrivateKey):
        return f"RSA of {key.key_size} bits"
    return str(key.curve.name) if isinstance(key, ec.EllipticCurvePrivateKey) else "Ed25519"


def _wanted(spec: KeySpec) -> str:
    if row(spec).family is Family.RSA:
        return f"RSA of {row(spec).size} bits"
    return str(CURVES[spec].name) if spec in CURVES else "Ed25519"
