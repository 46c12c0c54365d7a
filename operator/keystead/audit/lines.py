"""The chain: lines of JSON, each of which ends with its place and the hash of the line before. Pure.

Format: docs/reference/audit-format.md.

    {"keysteadType":"call", ... ,"chain":{"id":"<chain id>","seq":7,"prev":"<64 hex: SHA-256 of line 6, without its newline>"}}

What is signed at a checkpoint is the place itself:

    SHA-256( "keystead/v1/audit-checkpoint" 00 | chain id 00 | u64 seq | 32 bytes prev )

seq and prev are those of the line that carries the signature: it vouches for every line before it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from typing import Any, Final

import msgspec

from keystead.engine.clock import format_time

LABEL: Final = b"keystead/v1/audit-checkpoint"
FIRST: Final = "0" * 64
ALGORITHM: Final = "ECDSA_SHA_256"
FILE: Final = re.compile(r"audit-(?P<chain>[A-Za-z0-9._-]+-\d{8}T\d{6}Z-[0-9a-f]{8})-(?P<n>\d{6,12})\.jsonl(?P<gz>\.gz)?\Z", re.ASCII)
"""Names of files."""
_UNFIT: Final = re.compile(r"[^A-Za-z0-9._-]+")
_ENCODER: Final = msgspec.json.Encoder()


def chain_id(replica: str, now: datetime, random4: bytes) -> str:
    """`<replica>-<yyyymmddThhmmssZ>-<8 hex>`. The replica's name in letters that a file name has."""
    name = _UNFIT.sub("-", replica).strip("._-")[:100] or "keystead"
    return f"{name}-{format_time(now).replace('-', '').replace(':', '')}-{random4.hex()}"


def file_name(chain: str, number: int) -> str:
    """Of the n-th file of a chain, from 0."""
    return f"audit-{chain}-{number:06d}.jsonl"


def checkpoint_digest(chain: str, seq: int, prev: str) -> bytes:
    """What is signed."""
    return sha256(LABEL + b"\0" + chain.encode() + b"\0" + seq.to_bytes(8, "big") + bytes.fromhex(prev)).digest()


def bare(kind: str, members: dict[str, Any]) -> bytes:
    """A record of our own (start, checkpoint, gap, removed, end), not chained yet."""
    return _ENCODER.encode({"keysteadType": kind, **members})


@dataclass(slots=True)
class Chain:
    """Where a chain stands: the place of its next line."""

    id: str
    seq: int = 0
    prev: str = FIRST

    def link(self, record: bytes) -> bytes:
        """The record as the chain's next line, with its newline. `record`: a JSON object that is not empty."""
        line = b'%b,"chain":{"id":"%b","seq":%d,"prev":"%b"}}' % (record[:-1], self.id.encode(), self.seq, self.prev.encode())
        self.seq += 1
        self.prev = sha256(line).hexdigest()
        return line + b"\n"

    def digest(self) -> bytes:
        """What a checkpoint in the next place signs."""
        return checkpoint_digest(self.id, self.seq, self.prev)


@dataclass(frozen=True, slots=True)
class Place:
    """What a line says of itself, and the hash that the next one must name."""

    chain: str
    seq: int
    prev: str
    hash: str
    kind: str


class _ChainMember(msgspec.Struct):
    id: str
    seq: int
    prev: str


class _Line(msgspec.Struct):
    chain: _ChainMember
    keystead_type: str = msgspec.field(name="keysteadType", default="")


_LINES: Final = msgspec.json.Decoder(_Line)


def place_of(line: bytes) -> Place | None:
    """Of a line without its newline; None for what is no line of ours (cut off, empty, nested without end)."""
    try:
        read = _LINES.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return Place(read.chain.id, read.chain.seq, read.chain.prev, sha256(line).hexdigest(), read.keystead_type)
