"""Sealing and opening with a SYMMETRIC_DEFAULT key: one HMAC in the token, AES-256-GCM here (engine.blob)."""

from __future__ import annotations

import hmac
from functools import partial
from typing import Final

from keystead.engine.blob import NONCE_LENGTH, open_message, seal_message
from keystead.engine.material import find_version, material_of
from keystead.engine.ports import Material
from keystead.engine.record import KeyRecord, KeyVersion
from keystead.errors import BlobError, InvalidCiphertextError, KmsInternalError
from keystead.operations.world import World

_NOT_VERIFIED: Final = "The new data key could not be verified; nothing was returned."


def seal(world: World, record: KeyRecord, plaintext: bytes, context: bytes) -> bytes:
    """A blob of the plaintext under the key's current version."""
    return _seal(world, material_of(record, record.current_version), plaintext, context)


def open_blob(world: World, record: KeyRecord, version: KeyVersion, blob: bytes, context: bytes) -> bytes:
    """The plaintext of a blob of this version. BlobError for all that is wrong with it."""
    return _open(world, material_of(record, version), blob, context)


def version_of(record: KeyRecord, material_id: bytes) -> KeyVersion:
    """The version that made a blob. The answer for none is that of every bad blob."""
    version = find_version(record, material_id)
    if version is None:
        raise InvalidCiphertextError
    return version


def seal_checked(world: World, record: KeyRecord, secret: bytes, context: bytes) -> bytes:
    """`seal`, then open the blob again before anybody gets it: derived anew in the token, not from a kept key.

    KMSInternalException where it does not give the secret back: a data key that cannot be decrypted is lost data.
    """
    material = material_of(record, record.current_version)
    blob = _seal(world, material, secret, context)
    try:
        opened = _open(world, material, blob, context)
    except BlobError as error:
        raise KmsInternalError(_NOT_VERIFIED) from error
    if not hmac.compare_digest(opened, secret):
        raise KmsInternalError(_NOT_VERIFIED)
    return blob


def _seal(world: World, material: Material, plaintext: bytes, context: bytes) -> bytes:
    derive, nonce = world.fast.derive, world.entropy(NONCE_LENGTH)
    return seal_message(partial(derive, material), material.ids, nonce, plaintext, context)


def _open(world: World, material: Material, blob: bytes, context: bytes) -> bytes:
    derive = world.fast.derive
    return open_message(partial(derive, material), blob, context)
