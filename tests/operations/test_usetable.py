"""The table of last uses: what is packed is unpacked, what is merged is the newest, and what has no room is told."""

from __future__ import annotations

import random
import uuid
import zlib
from datetime import UTC, datetime, timedelta

import pytest

from keystead.operations.usetable import MAX_BYTES, UseTable, merged, newest, pack, unpack
from keystead.operations.world import LastUse

NOW = datetime(2026, 11, 26, 8, 0, 0, 123456, tzinfo=UTC)


def use(seconds: int = 0, operation: str = "Encrypt") -> LastUse:
    return LastUse(operation, NOW + timedelta(seconds=seconds), f"event-{seconds}", f"request-{seconds}")


def test_what_is_packed_is_unpacked() -> None:
    table = UseTable({"a": use(), "b": use(5, "Sign")}, NOW, NOW + timedelta(seconds=1))
    assert unpack(pack(table)) == table
    assert unpack(pack(UseTable())) == UseTable()


def test_of_one_key_the_newest_use_counts_whoever_tells_it() -> None:
    old, new = UseTable({"a": use(1), "b": use(9)}), UseTable({"a": use(2), "c": use(3)})
    assert merged((old, new)).uses == merged((new, old)).uses == {"a": use(2), "b": use(9), "c": use(3)}


def test_the_oldest_start_and_the_newest_gap_count() -> None:
    tables = UseTable({}, NOW, None), UseTable({}, NOW - timedelta(days=1), NOW - timedelta(hours=1)), UseTable()
    whole = merged(tables)
    assert (whole.since, whole.dropped) == (NOW - timedelta(days=1), NOW - timedelta(hours=1))
    assert whole.tracking_since == NOW - timedelta(hours=1)


@pytest.mark.parametrize(
    ("since", "dropped", "told"),
    [(None, None, None), (NOW, None, NOW), (NOW, NOW - timedelta(1), NOW), (NOW - timedelta(1), NOW, NOW), (None, NOW, None)],
)
def test_tracking_begins_after_what_was_left_out(since: datetime | None, dropped: datetime | None, told: datetime | None) -> None:
    assert UseTable({}, since, dropped).tracking_since == told


def test_a_table_that_is_too_large_loses_what_was_used_least_lately_and_says_so() -> None:
    chance = random.Random(7)

    def id_() -> str:
        return str(uuid.UUID(int=chance.getrandbits(128)))

    uses = {id_(): LastUse("GenerateDataKey", NOW + timedelta(seconds=n), id_(), id_()) for n in range(20_000)}
    data = pack(UseTable(uses, NOW))
    assert MAX_BYTES * 0.85 < len(data) <= MAX_BYTES
    kept = unpack(data)
    lost = [entry for key_id, entry in uses.items() if key_id not in kept.uses]
    assert kept.dropped == max(entry.time for entry in lost) < min(entry.time for entry in kept.uses.values())
    assert len(kept.uses) > 9_000, "room for the keys of a large cluster"


def test_a_second_loss_is_told_as_the_later_one() -> None:
    first = newest(UseTable({"a": use(1), "b": use(2), "c": use(3)}, NOW), 2)
    assert (set(first.uses), first.dropped) == ({"b", "c"}, use(1).time)
    assert newest(first, 1).dropped == use(2).time
    assert newest(first, 2) is first


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"junk",
        zlib.compress(b"junk"),
        zlib.compress(b"[]"),
        zlib.compress(b'[{"a":["Encrypt","soon","e","r"]},null,null]'),
        zlib.compress(b'[{"a":["Encrypt","2026-11-26T08:00:00","e","r"]},null,null]'),
        zlib.compress(b"[{},null,null]") + b"more",
        zlib.compress(b"[{},null,null]")[:-3],
        zlib.compress(b" " * (65 * 1024 * 1024) + b"[{},null,null]"),
    ],
)
def test_what_was_not_packed_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        unpack(data)
