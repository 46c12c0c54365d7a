"""Counts of calls: by month, namespace that called, key and price class. How they are added, kept small, and how they travel. Pure.

Counted by server/calls.py, kept beside the last uses by whoever keeps those (store/uses.py and its siblings), read by `kubectl kms usage`.
Nothing is decided by them. What may never enter: who called, and what for.

What has no room becomes coarser, never less: the sum of a namespace's calls of a class in a month stays true as long as its month is kept.

    two months by key           then a month is one row, key OTHER, for each namespace and class
    as many keys as have room   those with the fewest calls are OTHER; the older month goes first
    13 months                   fewer where they have no room, two always
    namespaces                  where even they have no room, those with the fewest calls are one: ""
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Annotated, Final, NamedTuple

import msgspec
from msgspec import Meta

OTHER: Final = "other"
"""Stands where a key id would: keys that have no row of their own."""
NO_KEY: Final = ""
"""Stands where a key id would: the call needs no key."""
MAX_BYTES: Final = 160_000
"""Of packed counts, some 2,500 keys that are used in two months: it is a part of usetable.MAX_BYTES."""
MONTHS: Final = 13
KEYED_MONTHS: Final = 2
_MAX_UNPACKED: Final = 64 * 1024 * 1024


class Row(NamedTuple):
    """What is counted apart. price: the value of a PriceClass, perhaps one of a later version."""

    month: str
    namespace: str
    key_id: str
    price: str


Counts = Mapping[Row, int]


def added(tables: Iterable[Counts]) -> dict[Row, int]:
    """The sums."""
    sums: dict[Row, int] = {}
    for table in tables:
        for row, calls in table.items():
            sums[row] = sums.get(row, 0) + calls
    return sums


def without(counts: Counts, given: Counts) -> dict[Row, int]:
    """What came after an earlier state of the same counts. A row that has become coarser since then is taken off the coarser one."""
    rest = dict(counts)
    for row, calls in given.items():
        place = row if row in rest else row._replace(key_id=OTHER)
        if place in rest:
            rest[place] -= calls
    return {row: calls for row, calls in rest.items() if calls > 0}


def aged(counts: Counts, months: int = MONTHS) -> dict[Row, int]:
    """The newest `months` of them, the newest KEYED_MONTHS by key."""
    newest = max((_index(row.month) for row in counts), default=0)
    table: dict[Row, int] = {}
    for row, calls in counts.items():
        age = newest - _index(row.month)
        if age < months:
            place = row if age < KEYED_MONTHS or row.key_id == NO_KEY else row._replace(key_id=OTHER)
            table[place] = table.get(place, 0) + calls
    return table


def pack(counts: Counts, limit: int = MAX_BYTES) -> bytes:
    """Compressed JSON of at most `limit` bytes."""
    data = b""
    for table in _coarser(counts):
        data = zlib.compress(msgspec.json.encode(_wire(table)), 1)
        if len(data) <= limit:
            break
    return data


def unpack(data: bytes) -> dict[Row, int]:
    """ValueError for anything that `pack` does not write."""
    try:
        wire = msgspec.json.decode(inflated(data), type=_Wire)
    except msgspec.MsgspecError as error:
        raise ValueError(f"no counts: {error}") from None
    return {
        Row(month, namespace, key_id, price): calls
        for month, namespaces in wire.items()
        for namespace, keys in namespaces.items()
        for key_id, prices in keys.items()
        for price, calls in prices.items()
    }


def inflated(data: bytes) -> bytes:
    """One whole zlib stream of a bounded size. ValueError for anything else."""
    machine = zlib.decompressobj()
    try:
        text = machine.decompress(data, _MAX_UNPACKED)
    except zlib.error as error:
        raise ValueError(f"not compressed: {error}") from None
    if not machine.eof or machine.unused_data:
        raise ValueError("not whole")
    return text


_Calls = Annotated[int, Meta(ge=0)]
_Month = Annotated[str, Meta(pattern=r"^\d{4}-(0[1-9]|1[0-2])$")]
_Wire = dict[_Month, dict[str, dict[str, dict[str, _Calls]]]]


def _wire(counts: Counts) -> _Wire:
    wire: _Wire = {}
    for row, calls in counts.items():
        wire.setdefault(row.month, {}).setdefault(row.namespace, {}).setdefault(row.key_id, {})[row.price] = calls
    return wire


def _coarser(counts: Counts) -> Iterator[dict[Row, int]]:
    """The same counts, and then ever coarser ones. The last is small."""
    table = aged(counts)
    yield table
    while keyed := sum(row.key_id not in (NO_KEY, OTHER) for row in table):
        table = _fewer(table, keyed // 2)
        yield table
    for months in range(MONTHS - 1, KEYED_MONTHS - 1, -1):
        table = aged(table, months)
        yield table
    while any(row.namespace for row in table):
        table = _lumped(table)
        yield table


def _fewer(table: Counts, keep: int) -> dict[Row, int]:
    """The rows of `keep` keys: newest month first, then those with most calls."""
    keyed = [row for row in table if row.key_id not in (NO_KEY, OTHER)]
    kept = set(sorted(keyed, key=lambda row: (row.month, table[row]), reverse=True)[:keep])
    return added(
        {row if row in kept or row.key_id == NO_KEY else row._replace(key_id=OTHER): calls} for row, calls in table.items()
    )


def _lumped(table: Counts) -> dict[Row, int]:
    """Half as many namespaces; the others are one without a name."""
    calls: dict[str, int] = {}
    for row, number in table.items():
        calls[row.namespace] = calls.get(row.namespace, 0) + number
    names = sorted((name for name in calls if name), key=lambda name: calls[name], reverse=True)
    kept = set(names[: len(names) // 2])
    return added({row if row.namespace in kept else row._replace(namespace=""): number} for row, number in table.items())


def _index(month: str) -> int:
    return int(month[:4]) * 12 + int(month[5:])
