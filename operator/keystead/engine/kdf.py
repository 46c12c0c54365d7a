"""Inputs of the one HMAC-SHA-512 that derives everything from a key's material.

    00000001 | label | 00 | context | 00000200        SP 800-108r1, counter mode, r = 32, L = 512 bits, one block

The output's halves are K_enc (32) and K_com (32). HMAC is a PRF, so publishing K_com says nothing about K_enc; K_com
commits to everything in `context` (docs/reference/format.md, Soundness). Independent oracle in the tests: KBKDFHMAC.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

# HMAC-SHA-512 of an input under one key's material: 64 bytes. The only way in which a KMS key is used.
Kdf = Callable[[bytes], bytes]

LABEL_MESSAGE: Final = b"keystead/v1/message"
LABEL_MATERIAL_ID: Final = b"keystead/v1/material-id"
LABEL_SOFTWARE_KEY: Final = b"keystead/v1/software-key"
SUITE_1: Final = b"\x01"

_COUNTER = b"\0\0\0\1"
_BITS = b"\0\0\2\0"
_MESSAGE_HEAD = _COUNTER + LABEL_MESSAGE + b"\0" + SUITE_1
_SOFTWARE_HEAD = _COUNTER + LABEL_SOFTWARE_KEY + b"\0" + SUITE_1


def message_input(ids: bytes, nonce: bytes) -> bytes:
    """109 bytes. `ids` = key id 16 | material id 32; `nonce` = N, 32 random bytes."""
    return _MESSAGE_HEAD + ids + nonce + _BITS


def software_input(ids: bytes, nonce: bytes) -> bytes:
    """114 bytes, for a SOFTWARE key under DM_g."""
    return _SOFTWARE_HEAD + ids + nonce + _BITS


def material_id_input(key_id: bytes) -> bytes:
    """Input whose first 32 output bytes are the material id of a SYMMETRIC_DEFAULT material."""
    return _COUNTER + LABEL_MATERIAL_ID + b"\0" + key_id + _BITS
