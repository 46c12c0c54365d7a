"""The records of all replicas as one answer (auditroute.py): siblings are asked at once, in bounded time, and what they tell is merged.

Whoever could not be asked is named with the reason: an answer is whole, or says that it is not. Pure but for the siblings' port. What may
never enter: an address that came from a request or from a sibling's answer.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

import msgspec
from msgspec import Raw

from keystead.errors import InvalidMarkerError
from keystead.server.auditmarker import Marker, Seals, Spot
from keystead.server.auditpeers import Address, Found, reason_of
from keystead.server.auditquery import MOST_SIBLINGS

log = logging.getLogger(__name__)
EACH_SECONDS: Final = 8.0
"""For one sibling: a page has 5 s (audit/reading/tenant.py)."""
TOGETHER_SECONDS: Final = 15.0
_AT_ONCE: Final = 8
_PAUSE: Final = 0.3
_OK: Final = 200
_BUSY: Final = 429
_REASONS: Final[Mapping[int, str]] = {
    400: "it does not take the question: it may be of another version",
    401: "it does not know the caller",
    403: "it does not let the caller read this key",
    404: "it keeps no files of records",
    _BUSY: "it is busy",
}


class Peers(Protocol):
    """auditpeers.py."""

    async def find(self) -> Found: ...
    async def ask(self, address: Address, target: bytes, authorization: bytes, share: int) -> tuple[int, bytes]: ...


@dataclass(frozen=True, slots=True)
class Told:
    """What one replica told. reaches_back: from when it has records, "" where it has none. place: where it goes on, None: nowhere.

    damaged: something of its files could not be read
    """

    id: str
    replica: str
    address: str
    records: tuple[bytes, ...]
    reaches_back: str
    place: bytes | None
    damaged: bool = False


@dataclass(frozen=True, slots=True)
class NotAsked:
    """One of whose records there is nothing in this answer. replica: "" where it is not known; address: or the name that led nowhere."""

    replica: str
    address: str
    reason: str


class Part(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """The answer to a sibling: our own records. next_marker has one spot, that of `id`."""

    records: list[Raw]
    next_marker: str | None
    reaches_back: str = msgspec.field(name="from")
    replica: str
    id: str
    damaged: bool = False


_PART: Final = msgspec.json.Decoder(Part)


class _Stamp(msgspec.Struct, frozen=True):
    time: str = msgspec.field(name="eventTime", default="")
    id: str = msgspec.field(name="eventID", default="")


_STAMP: Final = msgspec.json.Decoder(_Stamp)


def part_of(told: Told, until: str, seals: Seals) -> bytes:
    """What a replica answers to its sibling."""
    spots = {told.id: Spot(told.replica, "", told.place)}
    marker = None if told.place is None else seals.seal(Marker(until, spots))
    return msgspec.json.encode(Part([Raw(text) for text in told.records], marker, told.reaches_back, told.replica, told.id, told.damaged))


def still_to_ask(found: Found, marker: Marker) -> tuple[tuple[Address, ...], list[NotAsked]]:
    """Siblings that have not told everything yet, and those that cannot be asked from the start."""
    told_all = {spot.address for spot in marker.spots.values() if spot.place is None}
    wanted = tuple(address for address in found.others if str(address) not in told_all)
    unasked = [NotAsked("", name, "its name leads nowhere now") for name in found.unresolved]
    unasked += [NotAsked("", str(address), f"there are more than {MOST_SIBLINGS}") for address in wanted[MOST_SIBLINGS:]]
    return wanted[:MOST_SIBLINGS], unasked


async def ask_siblings(
    addresses: Sequence[Address], ask: Callable[[Address], Awaitable[tuple[int, bytes]]], seals: Seals
) -> list[Told | NotAsked]:
    """Each of them, some at once; an answer for each address."""
    gate, end = asyncio.Semaphore(_AT_ONCE), asyncio.get_running_loop().time() + TOGETHER_SECONDS

    async def one(address: Address) -> Told | NotAsked:
        status, pause = _OK, _PAUSE
        try:
            async with asyncio.timeout_at(end), gate, asyncio.timeout(EACH_SECONDS):
                while True:
                    status, body = await ask(address)
                    if status != _BUSY:
                        break
                    await asyncio.sleep(pause)
                    pause *= 2  # each time costs both of us a handshake, and a busy one needs it least
            if status != _OK:
                return NotAsked("", str(address), _REASONS.get(status, f"it answered with status {status}"))
            return await asyncio.to_thread(_read, body, address, seals)
        except (OSError, EOFError, ValueError) as error:
            return NotAsked("", str(address), _REASONS[_BUSY] if status == _BUSY else reason_of(error))

    told = await asyncio.gather(*map(one, addresses))
    for each in told:
        if isinstance(each, NotAsked):
            log.warning("the audit records of the replica at %s could not be asked for: %s", each.address, each.reason)
    return told


def _read(body: bytes, address: Address, seals: Seals) -> Told:
    """ValueError where it is no part."""
    try:
        part = _PART.decode(body)
    except msgspec.DecodeError:
        raise ValueError("it is no part") from None
    try:
        spot = None if part.next_marker is None else seals.open(part.next_marker).spots.get(part.id)
    except InvalidMarkerError:
        raise ValueError("a marker of somebody else's") from None
    if part.next_marker is not None and spot is None:
        raise ValueError("a marker without its own place")
    place = None if spot is None else spot.place
    return Told(part.id, part.replica, str(address), tuple(bytes(text) for text in part.records), part.reaches_back, place, part.damaged)


def whole(told: Sequence[Told | NotAsked], marker: Marker, until: str, seals: Seals, *, asked_siblings: bool) -> bytes:
    """The answer to a reader: records in the order of time, each once; a line for each replica; those that could not be asked."""
    answered = list({each.id: each for each in reversed(told) if isinstance(each, Told)}.values())[::-1]  # a replica with two addresses
    spots = {**marker.spots, **{each.id: Spot(each.replica, each.address, each.place) for each in answered}}
    more = any(each.place is not None for each in answered)
    unasked = _named([each for each in told if isinstance(each, NotAsked)], answered, marker)
    return msgspec.json.encode(
        {
            "records": [Raw(text) for text in in_order(text for each in answered for text in each.records)],
            "nextMarker": seals.seal(Marker(marker.until or until, spots)) if more else None,
            "replicas": [
                {
                    "replica": each.replica,
                    "address": each.address or None,
                    "from": each.reaches_back or None,
                    "more": each.place is not None,
                    **({"damaged": True} if each.damaged else {}),
                }
                for each in answered
            ],
            "notAsked": [{"replica": each.replica or None, "address": each.address or None, "reason": each.reason} for each in unasked],
            "askedSiblings": asked_siblings,
        }
    )


def in_order(records: Iterable[bytes]) -> list[bytes]:
    """By time; of records with one eventID the first."""
    stamped: dict[str, tuple[str, bytes]] = {}
    for number, text in enumerate(records):
        stamp = _stamp(text)
        stamped.setdefault(stamp.id or f"no id {number}", (stamp.time, text))
    return [text for _, text in sorted(stamped.values(), key=lambda item: item[0])]


def _stamp(text: bytes) -> _Stamp:
    try:
        return _STAMP.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return _Stamp()


def _named(unasked: Sequence[NotAsked], answered: Sequence[Told], marker: Marker) -> list[NotAsked]:
    """With the replica's name where an earlier page had one; and those that told of more then, and are in no list now."""
    heard = {each.id for each in answered}
    left = {spot.address: spot.replica for id_, spot in marker.spots.items() if spot.place is not None and id_ not in heard}
    named = [NotAsked(left.pop(each.address, "") if each.address else "", each.address, each.reason) for each in unasked]
    return named + [NotAsked(replica, address, "it is gone") for address, replica in left.items()]
