"""One DM, many uses: the table of labels that keeps them apart.

    HMAC-SHA-512(DM_g, "keystead/v1/<label>" 00 (u16 len | part)*)[:32]

RECORD_SEAL and SOFTWARE_KEY have layouts of their own (engine.seal, engine.kdf). No label is a prefix of another, and the 0
byte ends each: no input of one use is an input of another (tested).
"""

from __future__ import annotations

from enum import StrEnum

from keystead.engine.kdf import Kdf


class Label(StrEnum):
    """What the domain MAC key is used for. A new use is a new row; a row is never reused."""

    RECORD_SEAL = "record-seal"
    DOMAIN_ID = "domain-id"
    SOFTWARE_KEY = "software-key"
    IMPORT_CHECK = "import-check"
    CREDENTIAL = "credential"
    GRANT_TOKEN = "grant-token"  # noqa: S105 - a label, not a secret
    IMPORT_TOKEN = "import-token"  # noqa: S105 - a label, not a secret
    CREATE_NAME = "create-name"
    LIST_MARKER = "list-marker"
    DATA_KEY_RECORD = "data-key-record"
    JOURNAL = "journal"
    AUDIT = "audit"
    BACKUP = "backup"


def label_bytes(label: Label) -> bytes:
    """`keystead/v1/<label>` and its 0 byte."""
    return b"keystead/v1/" + label.value.encode() + b"\0"


def domain_mac(domain_kdf: Kdf, label: Label, *parts: bytes) -> bytes:
    """32 bytes bound to a label and to parts of up to 65,535 bytes each."""
    if label in (Label.RECORD_SEAL, Label.SOFTWARE_KEY):
        raise ValueError(f"{label} has a layout of its own")
    framed = b"".join(len(part).to_bytes(2, "big") + part for part in parts)
    return domain_kdf(label_bytes(label) + framed)[:32]
