"""The sealed records: one frozen type a kind, one strict codec, one way to open and seal them.

Member tables and test vectors: docs/reference/format.md. Decided in RECORDS (Where the facts are).
"""

from keystead.engine.record.account import AccountRecord
from keystead.engine.record.alias import AliasRecord
from keystead.engine.record.codec import Record, decode, digest, encode
from keystead.engine.record.datakey import DataKeyRecord, DataKeyVersion
from keystead.engine.record.grant import GrantConstraints, GrantRecord
from keystead.engine.record.install import InstallRecord
from keystead.engine.record.key import Hold, KeyRecord, KeyVersion, Rotation, RotationWindow, Wrap
from keystead.engine.record.sealed import SealedRecord, open_sealed, seal_record

AnyRecord = KeyRecord | AliasRecord | GrantRecord | DataKeyRecord
"""The records that an object holds."""

__all__ = [
    "AccountRecord",
    "AliasRecord",
    "AnyRecord",
    "DataKeyRecord",
    "DataKeyVersion",
    "GrantConstraints",
    "GrantRecord",
    "Hold",
    "InstallRecord",
    "KeyRecord",
    "KeyVersion",
    "Record",
    "Rotation",
    "RotationWindow",
    "SealedRecord",
    "Wrap",
    "decode",
    "digest",
    "encode",
    "open_sealed",
    "seal_record",
]
