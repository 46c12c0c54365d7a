"""Bytes of a record: compact JSON, keys sorted, ASCII. Strict both ways.

`decode` accepts exactly what `encode` writes: an unknown, missing or duplicate member, other spacing or order, a float, a null
or another version number is RecordFormatError. It is called on bytes whose seal has been verified, and on nothing else.
"""

from __future__ import annotations

import hashlib
import json
from typing import TypeVar

import msgspec

from keystead.engine.record.common import RecordBase
from keystead.engine.seal import MAX_RECORD
from keystead.errors import RecordFormatError

Record = TypeVar("Record", bound=RecordBase)


def encode(record: RecordBase) -> bytes:
    """The one byte form of a record. RecordFormatError where it would be larger than 256 KiB."""
    data = json.dumps(msgspec.to_builtins(record), sort_keys=True, separators=(",", ":")).encode("ascii")
    if len(data) > MAX_RECORD:
        raise RecordFormatError(f"a record of {len(data)} bytes is larger than 256 KiB")
    return data


def decode(data: bytes, kind: type[Record]) -> Record:
    """The record of these bytes. RecordFormatError for bytes that `encode` would not have written."""
    try:
        record = msgspec.json.decode(data, type=kind)
        again = encode(record)
    except (msgspec.MsgspecError, RecursionError, ValueError) as error:
        raise RecordFormatError(f"{kind.__name__}: {error}") from None
    if again != data:
        raise RecordFormatError(f"{kind.__name__}: not in the canonical form")
    return record


def digest(data: bytes) -> str:
    """SHA-256 of a record's bytes in hex: what `prev` and status.recordDigest hold."""
    return hashlib.sha256(data).hexdigest()
