"""What a tenant reads of its own key: a page of the records that its account has about that key, from this replica's folder.

Called by the route /audit (server/auditroute.py), in a thread beside the event loop that serves: it reads blocks, looks for the key's id in
each (both without Python's lock, or nearly), and lets others run between records. Bounded by records, bytes and time; a page may be short
or empty and still have a next one.

What may never enter an answer: a record of another account, its place in the chain (its seq counts other people's calls), and
`operatorOnly` (why another account's key refused).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import msgspec

from keystead.audit.reading.files import Chain, Part, Unread, blocks_of, find_chains
from keystead.audit.reading.lines import LineError, sound_block
from keystead.audit.reading.records import parts_since, reaches_back
from keystead.engine.clock import format_time
from keystead.errors import FormatError, InvalidMarkerError

MOST_BYTES: Final = 5_000_000
SECONDS: Final = 5.0
_HIDDEN: Final = ("chain", "operatorOnly", "keysteadType")
_CALLS: Final = ("call", "service")
_EVERY: Final = 16
_ANY: Final = msgspec.json.Decoder(dict[str, Any])


@dataclass(frozen=True, slots=True)
class Place:
    """Where to go on: the file, and the offset in it."""

    chain: str
    number: int
    offset: int


_PLACE: Final = msgspec.json.Decoder(Place)


@dataclass(frozen=True, slots=True)
class Page:
    """records: JSON objects; place: where the next page begins, None where there is none; reaches_back: from when there are records.

    damaged: there is something in these files that cannot be read, and may have been a record of the key
    """

    records: tuple[bytes, ...]
    place: bytes | None
    reaches_back: str
    damaged: bool = False


@dataclass(slots=True)
class _Budget:
    records: int
    bytes: int
    until: float

    def take(self, size: int) -> None:
        self.records -= 1
        self.bytes -= size

    def spent(self, clock: Callable[[], float]) -> bool:
        return self.records <= 0 or self.bytes <= 0 or clock() >= self.until


class TenantRecords:
    """Implements `server.auditroute.Trail`."""

    def __init__(
        self,
        folder: Path,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._folder = folder
        self._clock = clock

    def page(
        self, key_arn: str, account: str, since: datetime | None, limit: int, place: bytes | None, until: str = "", parts: int = 1
    ) -> Page:
        """From `since` on, or from where the page before ended; nothing that is later than `until`. InvalidMarkerError for a place that is
        none. parts: the page is one of so many, and has that part of what one may hold; one record at least."""
        after = None if place is None else _read(place)
        budget = _Budget(max(1, limit // parts), MOST_BYTES // parts, self._clock() + SECONDS)
        bound = "" if since is None else format_time(since)
        found: list[bytes] = []
        unread = Unread()
        reached: Place | None = None
        for part, start in _parts(find_chains([self._folder]), since, after):
            reached = self._read_part(part, start, (key_arn, account, bound, until or "~"), budget, found, unread)
            if reached is not None:
                break
        told = None if reached is None else msgspec.json.encode(reached)
        return Page(tuple(found), told, reaches_back([self._folder]), bool(unread.first))

    def _read_part(
        self, part: tuple[Chain, Part], start: int, want: tuple[str, str, str, str], budget: _Budget, found: list[bytes], unread: Unread
    ) -> Place | None:
        """Where to go on, None where the file is at its end."""
        chain, file = part
        needle, looked = want[0].rpartition("/")[2].encode(), 0
        try:
            for offset, block in blocks_of(file, start, unread, closed=file is not chain.parts[-1]):
                if not sound_block(block):
                    unread.note(file.name, "lines that are no records")
                for data, end in _lines(block, offset) if needle in block else ():
                    looked += 1
                    if looked % _EVERY == 0:
                        time.sleep(0)  # other threads run
                    try:
                        record = told_of(data, *want) if needle in data else None
                    except LineError:
                        unread.note(file.name, "a line that is no record")
                        continue
                    if record is not None:
                        found.append(record)
                        budget.take(len(record))
                        if budget.spent(self._clock):
                            return Place(chain.id, file.number, end)
                if budget.spent(self._clock):
                    return Place(chain.id, file.number, offset + len(block))
        except FormatError:  # damaged, or taken by retention meanwhile: `keystead audit verify` tells
            return None
        return None


def _read(place: bytes) -> Place:
    try:
        return _PLACE.decode(place)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise InvalidMarkerError("The marker is not valid.") from None


def _parts(chains: list[Chain], since: datetime | None, after: Place | None) -> Iterator[tuple[tuple[Chain, Part], int]]:
    """Files in the order of chains and numbers, and where to begin in each. What retention took meanwhile is passed over."""
    for chain in chains:  # in the order of their ids, which do not change
        if after is not None and chain.id < after.chain:
            continue
        for part in parts_since(chain.parts, since):
            if after is None or chain.id != after.chain or part.number > after.number:
                yield (chain, part), 0
            elif part.number == after.number:
                yield (chain, part), after.offset


def _lines(block: bytes, offset: int) -> Iterator[tuple[bytes, int]]:
    for data in block.split(b"\n")[:-1]:
        offset += len(data) + 1
        yield data, offset


def told_of(data: bytes, key_arn: str, account: str, since: str, until: str) -> bytes | None:
    """A record as the account may see it; None where it is not the account's, not about the key, or of another time (`~`: no end).

    LineError for what is no record.
    """
    try:
        record = _ANY.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise LineError("no record") from None
    if record.get("keysteadType") not in _CALLS or record.get("recipientAccountId") != account:
        return None
    moment, keys = record.get("eventTime"), record.get("resources")
    if not isinstance(moment, str) or not since <= moment <= until:
        return None
    if not isinstance(keys, list) or not any(isinstance(item, dict) and item.get("ARN") == key_arn for item in keys):
        return None
    for member in _HIDDEN:
        record.pop(member, None)
    return msgspec.json.encode(record)
