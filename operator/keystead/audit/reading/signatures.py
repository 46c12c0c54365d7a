"""Signatures of checkpoints: an ECDSA signature (DER) over SHA-256 of

    keystead/v1/audit-checkpoint 00 | chain id (UTF-8) 00 | seq of the checkpoint's own line (8 bytes, big-endian) | prev (32 bytes)

It vouches for every record before its line: `prev` is the hash of the last one, which holds the hash of the one before it, and so on.
The seq and the chain are in it because a signature must fit one place only. Pure.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Sequence
from typing import Final

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, EllipticCurvePublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_der_public_key,
    load_pem_public_key,
)

from keystead.audit.reading.lines import Link
from keystead.errors import InvalidSpecError

ALGORITHM: Final = "ECDSA_SHA_256"
_LABEL: Final = b"keystead/v1/audit-checkpoint\0"
_PEM: Final = re.compile(rb"-----BEGIN PUBLIC KEY-----.+?-----END PUBLIC KEY-----", re.DOTALL)
PublicKey = EllipticCurvePublicKey


def message_of(link: Link) -> bytes:
    """What is signed at this place."""
    return _LABEL + link.chain.encode() + b"\0" + link.seq.to_bytes(8, "big") + bytes.fromhex(link.prev)


def read_keys(pem: bytes) -> tuple[PublicKey, ...]:
    """The public keys of a PEM file: more than one where the signing key was replaced. InvalidSpecError."""
    found = []
    for block in _PEM.findall(pem):
        try:
            key = load_pem_public_key(block)
        except (ValueError, UnsupportedAlgorithm):
            raise InvalidSpecError("--public-key", "a PEM block that is no public key") from None
        if not isinstance(key, EllipticCurvePublicKey):
            raise InvalidSpecError("--public-key", "checkpoints are signed with an elliptic curve key, and this is none")
        found.append(key)
    if not found:
        raise InvalidSpecError("--public-key", "no PEM block PUBLIC KEY; hint: keystead audit key > audit.pem")
    return tuple(found)


def is_signed(keys: Sequence[PublicKey], link: Link, algorithm: str, signature: str) -> bool:
    """Whether one of the keys made it."""
    if algorithm != ALGORITHM:
        return False
    try:
        raw = base64.b64decode(signature, validate=True)
    except binascii.Error:
        return False
    return any(_verifies(key, raw, message_of(link)) for key in keys)


def _verifies(key: PublicKey, signature: bytes, message: bytes) -> bool:
    try:
        key.verify(signature, message, ECDSA(SHA256()))
    except InvalidSignature:
        return False
    return True


def as_pem(text: str) -> str:
    """PEM of a public key that is PEM already, or DER in base64 (AWS GetPublicKey). InvalidSpecError."""
    if text.lstrip().startswith("-----BEGIN PUBLIC KEY-----"):
        return text.strip() + "\n"
    try:
        key = load_der_public_key(base64.b64decode(text, validate=True))
    except (ValueError, UnsupportedAlgorithm):
        raise InvalidSpecError("status.publicKey", "no public key") from None
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
