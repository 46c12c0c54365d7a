"""The table of last uses as it travels: between the workers of a Pod, into a ConfigMap, into SQLite. Pure. Counts of calls go with it.

Written by server/usage.py and merged by whoever keeps it (store/uses.py, store/usefiles.py, store/sqlite/uses.py). What it says of a key
that is not in it: it was not used since `since`, as far as its worker could know. What may never enter: who used a key, and for what.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final

import msgspec

from keystead.operations.counts import Counts, added, inflated
from keystead.operations.world import LastUse

MAX_BYTES: Final = 780_000
"""Of a packed table, some 10,000 keys, and the counts beside it: a ConfigMap takes 1 MiB, and so it is one in base64, too."""


@dataclass(frozen=True, slots=True)
class UseTable:
    """`since`: from when uses were noted, the oldest start that is known. `dropped`: the newest use that was left out for want of room.

    counts: calls since the start of whoever made the table (operations/counts.py packs them; `pack` here leaves them out)
    """

    uses: Mapping[str, LastUse] = field(default_factory=dict)
    since: datetime | None = None
    dropped: datetime | None = None
    counts: Counts = field(default_factory=dict)

    @property
    def tracking_since(self) -> datetime | None:
        """From when it is sure that a key that is not in the table was not used."""
        known = [moment for moment in (self.since, self.dropped) if moment is not None]
        return max(known) if self.since is not None else None


def merged(tables: Iterable[UseTable]) -> UseTable:
    """The newest use of each key; the oldest start; the newest gap; the sums of the counts."""
    tables = tuple(tables)
    uses: dict[str, LastUse] = {}
    for table in tables:
        for key_id, use in table.uses.items():
            known = uses.get(key_id)
            if known is None or known.time < use.time:
                uses[key_id] = use
    since = [table.since for table in tables if table.since is not None]
    dropped = [table.dropped for table in tables if table.dropped is not None]
    return UseTable(uses, min(since, default=None), max(dropped, default=None), added(table.counts for table in tables))


class _Wire(msgspec.Struct, array_like=True):
    uses: dict[str, tuple[str, datetime, str, str]]
    since: datetime | None
    dropped: datetime | None


def pack(table: UseTable, limit: int = MAX_BYTES) -> bytes:
    """Compressed JSON of at most `limit` bytes. What was used least lately is left out, and `dropped` says so."""
    while True:
        data = zlib.compress(msgspec.json.encode(_wire(table)), 1)
        if len(data) <= limit or not table.uses:
            return data
        kept = int(len(table.uses) * limit / len(data) * 0.95)
        table = newest(table, kept)


def newest(table: UseTable, count: int) -> UseTable:
    """The `count` uses that are newest."""
    if len(table.uses) <= count:
        return table
    rows = sorted(table.uses.items(), key=lambda row: row[1].time, reverse=True)
    gone = rows[count][1].time
    return replace(table, uses=dict(rows[:count]), dropped=gone if table.dropped is None else max(gone, table.dropped))


def unpack(data: bytes) -> UseTable:
    """ValueError for anything that `pack` does not write."""
    try:
        wire = msgspec.json.decode(inflated(data), type=_Wire)
    except msgspec.MsgspecError as error:
        raise ValueError(f"not a table of uses: {error}") from None
    for moment in (wire.since, wire.dropped, *(row[1] for row in wire.uses.values())):
        if moment is not None and moment.tzinfo is None:
            raise ValueError("a time without its zone")
    return UseTable({key_id: LastUse(*row) for key_id, row in wire.uses.items()}, wire.since, wire.dropped)


def _wire(table: UseTable) -> _Wire:
    rows = {key_id: (use.operation, use.time, use.event_id, use.request_id) for key_id, use in table.uses.items()}
    return _Wire(rows, table.since, table.dropped)
