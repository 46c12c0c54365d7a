"""Suite 1: the ciphertext blob that Encrypt and GenerateDataKey answer with, and how it is sealed and opened.

    offset  bytes  field
         0      2  magic "KS"
         2      1  version 01
         3      1  suite 01
         4     16  key id
        20     32  material id
        52     32  N
        84     32  K_com, the key commitment
       116      n  ciphertext, n >= 1
     116+n     16  tag

AES-256-GCM under K_enc, IV 12 zero bytes, AAD = the 116 header bytes | canonical encryption context (engine.context).
The zero IV is safe because K_enc is used once: N has 256 random bits. K_com is compared, in constant time, BEFORE GCM: GCM
alone is not committing. At most 6,144 bytes in all (botocore CiphertextType). Every failure is the same BlobError.
"""

from __future__ import annotations

import hmac
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from keystead.engine.kdf import Kdf, message_input, software_input
from keystead.engine.values import per_call
from keystead.errors import BlobError

MAGIC: Final = b"KS\x01\x01"
HEADER_LENGTH: Final = 116
TAG_LENGTH: Final = 16
OVERHEAD: Final = HEADER_LENGTH + TAG_LENGTH
MAX_LENGTH: Final = 6144
NONCE_LENGTH: Final = 32
_IV = bytes(12)


@per_call
class BlobIds:
    """What a blob says of itself, before anything about it is believed."""

    key_id: bytes
    material_id: bytes


def read_ids(blob: bytes) -> BlobIds:
    """Strict decoding of a blob's frame. BlobError for anything that is not one."""
    if not OVERHEAD < len(blob) <= MAX_LENGTH or blob[:4] != MAGIC:
        raise BlobError("not a ciphertext of this service")
    return BlobIds(blob[4:20], blob[20:52])


def seal_message(kdf: Kdf, ids: bytes, nonce: bytes, plaintext: bytes, context: bytes) -> bytes:
    """The blob of a plaintext of 1 to 6,012 bytes. `ids` = key id 16 | material id 32, `nonce` = 32 fresh random bytes."""
    return _seal(kdf(message_input(ids, nonce)), ids, nonce, plaintext, context)


def open_message(kdf: Kdf, blob: bytes, context: bytes) -> bytes:
    """The plaintext of a blob. BlobError, always the same, where blob, key or context are not the right ones."""
    read_ids(blob)
    return _open(kdf(message_input(blob[4:52], blob[52:84])), blob, context)


def seal_software_key(domain_kdf: Kdf, ids: bytes, nonce: bytes, secret: bytes) -> bytes:
    """A SOFTWARE key's secret (PKCS#8 or raw) as a blob under DM_g; wrap format `suite1`."""
    return _seal(domain_kdf(software_input(ids, nonce)), ids, nonce, secret, b"\0\0")


def open_software_key(domain_kdf: Kdf, blob: bytes, ids: bytes) -> bytes:
    """The secret of a SOFTWARE key; `ids` are those of the record, and the blob must carry the same."""
    read_ids(blob)
    if not hmac.compare_digest(blob[4:52], ids):
        raise BlobError("a software key of another key or version")
    return _open(domain_kdf(software_input(ids, blob[52:84])), blob, b"\0\0")


def _seal(derived: bytes, ids: bytes, nonce: bytes, plaintext: bytes, context: bytes) -> bytes:
    if len(ids) != 48 or len(nonce) != NONCE_LENGTH or len(derived) != 64:
        raise ValueError("ids are 48 bytes, N 32, the derived key 64")
    if not 1 <= len(plaintext) <= MAX_LENGTH - OVERHEAD:
        raise ValueError("a plaintext has 1 to 6,012 bytes")
    header = MAGIC + ids + nonce + derived[32:]
    return header + AESGCM(derived[:32]).encrypt(_IV, plaintext, header + context)


def _open(derived: bytes, blob: bytes, context: bytes) -> bytes:
    if not hmac.compare_digest(derived[32:], blob[84:116]):
        raise BlobError("not a ciphertext of this key")
    try:
        return AESGCM(derived[:32]).decrypt(_IV, blob[116:], blob[:116] + context)
    except InvalidTag:
        raise BlobError("not a ciphertext of this key") from None
