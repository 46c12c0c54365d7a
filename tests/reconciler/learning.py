"""How tests tell an index of a record that was written: with the digest of its bytes, as the book does."""

from __future__ import annotations

from keystead.engine.record import digest, encode
from keystead.engine.record.common import RecordBase
from keystead.reconciler.index import RecordIndex


def learn(index: RecordIndex, name: str, record: RecordBase) -> None:
    """The record under this name."""
    index.learn(name, record, digest(encode(record)))
