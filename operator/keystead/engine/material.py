"""From a record's version to what a lane needs to use it, and the rules of material ids (HSM.md A6).

Called by operations (use), reconciler and hsm (making). AES-KWP has no AAD: below the seal, the material id is the only
thing that binds wrapped bytes to a key, so whoever unwraps compares it (symmetric) or the SPKI (pairs).
"""

from __future__ import annotations

import hashlib
import hmac
from functools import lru_cache
from typing import Final

from keystead.engine.blob import OVERHEAD
from keystead.engine.identifiers import key_id_bytes
from keystead.engine.kdf import LABEL_MATERIAL_ID, Kdf, material_id_input
from keystead.engine.keyspec import Family, row, wrapped_length_fits
from keystead.engine.ports import Material
from keystead.engine.record.key import KeyRecord, KeyVersion, Wrap
from keystead.errors import RecordIntegrityError
from keystead.resources.vocabulary import KeySpec, KeyUsage, Protection

SYMMETRIC_ID_LENGTH: Final = 32
_MATERIALS: Final = 1024
_MOST_KEPT: Final = 4096


def symmetric_material_id(kdf: Kdf, key_id: bytes) -> bytes:
    """Material id of SYMMETRIC_DEFAULT: the first 32 bytes that the material derives from its own key id."""
    return kdf(material_id_input(key_id))[:SYMMETRIC_ID_LENGTH]


def public_material_id(key_id: bytes, spki: bytes) -> bytes:
    """Material id of a key pair. (HMAC keys: 32 random bytes; an id computed with the key would publish a MAC.)"""
    return hashlib.sha256(LABEL_MATERIAL_ID + b"\0" + key_id + spki).digest()


def material_of(record: KeyRecord, version: KeyVersion) -> Material:
    """The material of a version. RecordIntegrityError where it is gone, or where its parts do not fit each other."""
    wrapped, plain_len = version.wrapped, version.plain_len
    if not isinstance(wrapped, bytes) or not isinstance(plain_len, int):
        raise RecordIntegrityError(f"key {record.key_id}: version {version.n} has no material")
    spki = version.spki if isinstance(version.spki, bytes) else None
    make = _material if len(wrapped) <= _MOST_KEPT else _material.__wrapped__
    made = make(
        record.key_id, record.spec, record.usage, version.protection, version.wrap, version.material_id, wrapped, plain_len, spki
    )
    if made is None:
        raise RecordIntegrityError(f"key {record.key_id}: the material of version {version.n} has an impossible length")
    return made


# A pure function of everything that it looks at. What is kept is wrapped, as it is in the records.
@lru_cache(maxsize=_MATERIALS)
def _material(
    key_id: str,
    spec: KeySpec,
    usage: KeyUsage,
    protection: Protection,
    wrap: Wrap,
    material_id: str,
    wrapped: bytes,
    plain_len: int,
    spki: bytes | None,
) -> Material | None:
    """None: of an impossible length."""
    if not _fits(spec, protection, wrap, len(wrapped), plain_len):
        return None
    raw = bytes.fromhex(material_id)
    return Material(key_id_bytes(key_id), spec, usage, protection, raw, wrapped, plain_len, spki)


def find_version(record: KeyRecord, material_id: bytes) -> KeyVersion | None:
    """The version with this material id; the newest first, since most data is young."""
    wanted = material_id.hex()
    for version in reversed(record.versions):
        if version.material_id == wanted:
            return version
    return None


def public_key(record: KeyRecord) -> bytes:
    """The DER SPKI of a key pair's current version. RecordIntegrityError where its id does not name it."""
    version = record.current_version
    spki = version.spki
    if not isinstance(spki, bytes) or row(record.spec).family in (Family.SYMMETRIC, Family.HMAC):
        raise RecordIntegrityError(f"key {record.key_id}: version {version.n} has no public key")
    expected = public_material_id(key_id_bytes(record.key_id), spki).hex()
    if not hmac.compare_digest(expected, version.material_id):
        raise RecordIntegrityError(f"key {record.key_id}: the public key is not the one of version {version.n}")
    return spki


def _fits(spec: KeySpec, protection: Protection, wrap: Wrap, wrapped: int, plain_len: int) -> bool:
    # Before the token sees it: kryoptic unwraps an empty blob to an empty key and signs with it (HSM.md A9).
    if wrap is Wrap.SUITE1:
        secret = row(spec).secret_length
        plausible = plain_len == secret if secret else plain_len > 0
        return protection is Protection.SOFTWARE and plausible and wrapped == plain_len + OVERHEAD
    return protection is not Protection.SOFTWARE and wrapped_length_fits(spec, wrapped, plain_len)
