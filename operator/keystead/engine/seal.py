"""The seal of a record: a MAC under DM_g over the exact bytes and the Secret's name.

    seal = u32 g | HMAC-SHA-512(DM_g, "keystead/v1/record-seal" 00 | u32 g | u16 len | name | u32 len | record)[:32]

Verify first, parse then: nothing of a record is believed, not even its layout, before its seal holds. The name in the MAC
makes two swapped Secrets fail; freshness is not a seal's work (engine.freshness).
"""

from __future__ import annotations

import hmac
from typing import Final

from keystead.engine.kdf import Kdf
from keystead.engine.labels import Label, label_bytes
from keystead.errors import RecordIntegrityError

SEAL_LENGTH: Final = 36
MAX_RECORD: Final = 256 * 1024


def seal(domain_kdf: Kdf, generation: int, name: str, record: bytes) -> bytes:
    """The 36-byte seal of a record that is stored under `name`."""
    g = generation.to_bytes(4, "big")
    return g + domain_kdf(_seal_input(g, name, record))[:32]


def verify_seal(domain_kdf: Kdf, generation: int, name: str, record: bytes, given: bytes) -> None:
    """RecordIntegrityError unless `given` seals these bytes under this name in this domain generation."""
    if len(given) != SEAL_LENGTH:
        raise RecordIntegrityError(f"record {name}: the seal has {len(given)} bytes, not {SEAL_LENGTH}")
    g = int.from_bytes(given[:4], "big")
    if g != generation:
        raise RecordIntegrityError(f"record {name}: sealed by domain generation {g}, this token has {generation}")
    if len(record) > MAX_RECORD:
        raise RecordIntegrityError(f"record {name}: {len(record)} bytes are more than 256 KiB")
    if not hmac.compare_digest(given, seal(domain_kdf, generation, name, record)):
        raise RecordIntegrityError(f"record {name}: the seal does not verify; the record is refused, never repaired")


def _seal_input(g: bytes, name: str, record: bytes) -> bytes:
    text = name.encode()
    return b"".join(
        (label_bytes(Label.RECORD_SEAL), g, len(text).to_bytes(2, "big"), text, len(record).to_bytes(4, "big"), record)
    )
