"""One line of the trail, parsed as far as verifying needs it: its link, its type, its time. Pure.

Every line is a JSON object whose last member is its link:

    ,"chain":{"id":"<chain>","seq":<n>,"prev":"<64 hex>"}}

`prev` is SHA-256 of the line before, without its newline; 64 zeros at seq 0. What may never enter: a line that is no JSON object.
"""

from __future__ import annotations

import hashlib
import re
from typing import Final, NamedTuple

import msgspec

from keystead.errors import FormatError

FIRST: Final = "0" * 64
_MARK: Final = b',"chain":{"id":"'
_BEGIN: Final = b'{"keysteadType":"'
_PREV: Final = b'"prev":"'
_END: Final = b'"}}'
_SEAM: Final = _END + b"\n" + _BEGIN
_BACK: Final = len(_END) + 64 + len(_PREV)
"""From a line's newline back to its `"prev"`."""
_LINK: Final = re.compile(
    rb',"chain":\{"id":"([A-Za-z0-9_][A-Za-z0-9._-]{0,127})","seq":(0|[1-9]\d{0,17}),"prev":"([0-9a-f]{64})"\}\}'
)


class LineError(FormatError):
    """No record of this format."""


class Link(NamedTuple):
    """Where a record stands."""

    chain: str
    seq: int
    prev: str


class Previous(msgspec.Struct, frozen=True, rename="camel"):
    """A chain that was in the folder when a process began."""

    id: str
    last_seq: int
    last_hash: str
    ended: bool = False


class Head(msgspec.Struct, frozen=True, rename="camel"):
    """What verifying looks at. Of a `removed` record the chain is told by its file's name."""

    keystead_type: str
    event_time: str = ""
    time: str = ""
    version: str = ""
    replica: str = ""
    previous: list[Previous] = []
    key_arn: str = ""
    algorithm: str = ""
    signature: str | None = None
    reason: str = ""
    lost: int | str | None = None
    from_: str | None = msgspec.field(default=None, name="from")
    to: str | None = None
    name: str = ""
    first_seq: int = -1
    last_seq: int = -1
    last_hash: str = ""

    @property
    def when(self) -> str:
        """Its time as text; "" where it has none."""
        return self.event_time or self.time


_HEAD: Final = msgspec.json.Decoder(Head)


def sound_block(block: bytes) -> bool:
    """Whether each of its whole lines is `sound`, at a small part of what parsing them costs."""
    find, last, at = block.find, len(block) - 1, -1
    after = len(_SEAM) - len(_END)
    while True:
        at = find(b"\n", at + 1)
        if block[at - _BACK : at - _BACK + 8] != _PREV:
            return False
        if at == last:
            return block.startswith(_BEGIN) and block.endswith(_END + b"\n") and _is_text(block)
        if block[at - 3 : at + after] != _SEAM:
            return False


def sound(data: bytes) -> bool:
    """Whether a line looks like a record of ours: it begins and ends like one, and has no byte that no record has.

    For lines that nobody parses. One that was damaged may look so: who changed what only its hash tells (verify.py).
    """
    return data.startswith(_BEGIN) and data.endswith(_END) and data[-_BACK : -_BACK + 8] == _PREV and _is_text(data)


def _is_text(data: bytes) -> bool:
    """A hole that a disk left is zeros, and what lies there by chance is seldom UTF-8."""
    if b"\0" in data:
        return False
    try:
        return data.isascii() or bool(data.decode())
    except UnicodeDecodeError:
        return False


def link_of(data: bytes) -> Link:
    """LineError where the last member is no link."""
    match = _LINK.fullmatch(data, max(data.rfind(_MARK), 0))
    if match is None:
        raise LineError("no record: its last member is not its place in a chain")
    return Link(match[1].decode(), int(match[2]), match[3].decode())


def head_of(data: bytes) -> Head:
    """LineError where it is no JSON object with a type."""
    try:
        return _HEAD.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise LineError("no record: it is no JSON object with a keysteadType") from None


def digest(data: bytes) -> str:
    """What the next record has as `prev`."""
    return hashlib.sha256(data).hexdigest()
