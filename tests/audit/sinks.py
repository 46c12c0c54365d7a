"""A sink that a test holds up or breaks, and what verifies a chain: an independent reading of the format, written for the tests only."""

from __future__ import annotations

import json
import threading
from hashlib import sha256
from typing import Any

from tests.audit.events import NOW

from keystead.audit.journal import Journal
from keystead.audit.lines import Chain
from keystead.audit.rules import Rules

CHAIN = "tests-20261126T080000Z-0123abcd"
# What would stop it by the clock is far away: a test that means it says so, or skips the time (test_journal.py, `Clock`).
RULES = Rules(buffer_seconds=0.02, retry_seconds=0.02, stall_seconds=60.0, checkpoint_seconds=1000.0, close_seconds=10.0)


class MemorySink:
    """`ports.Sink`. `open`: cleared, a write waits; `error`: the next writes raise it after `torn` bytes."""

    name = "memory"

    def __init__(self) -> None:
        self.data = b""
        self.writes = 0
        self.open = threading.Event()
        self.open.set()
        self.error: OSError | None = None
        self.closed = False

    def write(self, data: bytes) -> None:
        self.writes += 1
        self.open.wait(60)
        if self.error is not None:
            raise self.error
        self.data += data

    def close(self) -> None:
        self.closed = True

    @property
    def lines(self) -> list[dict[str, Any]]:
        return read_chain(self.data)


def a_journal(*sinks: Any, **changes: Any) -> Journal:
    """A journal over these sinks."""
    members = {"rules": RULES, **changes}
    return Journal(Chain(CHAIN), sinks, {"version": "0", "replica": "tests", "previous": []}, lambda: NOW, **members)


def read_chain(data: bytes) -> list[dict[str, Any]]:
    """All records, once each of them stands in its place: the last member is `chain`, seq counts up, prev is the hash before."""
    records, before = [], "0" * 64
    lines = data.split(b"\n")
    assert lines.pop() == b"", "the last line has no end"
    for seq, line in enumerate(lines):
        record = json.loads(line)
        assert list(record)[-1] == "chain"
        assert record["chain"]["seq"] == seq
        assert record["chain"]["prev"] == before
        before = sha256(line).hexdigest()
        records.append(record)
    assert len({record["chain"]["id"] for record in records}) <= 1
    return records


def kinds(records: list[dict[str, Any]]) -> list[str]:
    """Their types, in order."""
    return [record["keysteadType"] for record in records]
