"""The keeper of last uses: saves and learns at once, then every period, and at the end; a store that is away costs nothing else."""

from __future__ import annotations

import asyncio
import logging
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest

from keystead.errors import StoreUnavailableError
from keystead.operations.usetable import UseTable, merged
from keystead.operations.world import LastUse
from keystead.server.usage import UseKeeper, Uses

NOW = datetime(2026, 11, 26, 8, tzinfo=UTC)


class Shelf:
    """A `UseStore` in memory that several keepers share, each under its own name."""

    def __init__(self) -> None:
        self.saved: dict[str, UseTable] = {}
        self.ended: list[str] = []
        self.away: str = ""
        self.stuck = False

    def of(self, name: str) -> SimpleNamespace:
        async def save(table: UseTable, *, last: bool) -> None:
            if self.stuck:
                await asyncio.Event().wait()
            if self.away:
                raise StoreUnavailableError(self.away)
            self.saved[name] = table
            self.ended += [name] if last else []

        async def load() -> UseTable:
            return merged(self.saved.values())

        return SimpleNamespace(save=save, load=load)


def worker(began: datetime = NOW) -> Uses:
    uses = Uses()
    uses.begin(began)
    return uses


def keeper(uses: Uses, shelf: Shelf, name: str) -> UseKeeper:
    return UseKeeper(uses.own, uses.learn, shelf.of(name), 60)


def encrypt(uses: Uses, key_id: str, seconds: int = 0) -> LastUse:
    uses.used("Encrypt", SimpleNamespace(key_id=f"arn:key/{key_id}"), f"r{seconds}", "event", NOW + timedelta(seconds=seconds))
    return LastUse("Encrypt", NOW + timedelta(seconds=seconds), "event", f"r{seconds}")


async def test_what_one_saw_the_other_learns() -> None:
    shelf, a, b = Shelf(), worker(), worker(NOW - timedelta(hours=1))
    used = encrypt(a, "k", 1)
    await keeper(a, shelf, "a").turn()
    await keeper(b, shelf, "b").turn()
    assert b.last_use("k") == used
    assert b.tracking_since == NOW - timedelta(hours=1)
    await keeper(a, shelf, "a").turn()
    assert a.tracking_since == NOW - timedelta(hours=1)


async def test_what_was_learnt_is_not_told_on_as_ones_own() -> None:
    shelf, a, b = Shelf(), worker(), worker()
    encrypt(a, "k", 1)
    for uses, name in ((a, "a"), (b, "b"), (b, "b")):
        await keeper(uses, shelf, name).turn()
    assert set(shelf.saved["a"].uses) == {"k"}
    assert shelf.saved["b"].uses == {}


async def test_ones_own_later_use_is_not_replaced_by_what_is_learnt() -> None:
    shelf, a, b = Shelf(), worker(), worker()
    encrypt(a, "k", 1)
    await keeper(a, shelf, "a").turn()
    later = encrypt(b, "k", 2)
    await keeper(b, shelf, "b").turn()
    assert b.last_use("k") == later


async def test_a_gap_moves_the_begin_of_tracking() -> None:
    uses = worker(NOW - timedelta(days=9))
    uses.learn(UseTable({}, NOW - timedelta(days=30), NOW - timedelta(days=2)))
    assert uses.tracking_since == NOW - timedelta(days=2)


async def test_it_saves_at_once_and_then_every_period() -> None:
    pauses: list[float] = []
    shelf, uses = Shelf(), worker()
    seen: list[UseTable] = []

    async def pause(seconds: float) -> None:
        pauses.append(seconds)
        seen.append(shelf.saved["a"])
        encrypt(uses, "k", len(pauses))
        if len(pauses) == 3:
            raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        await keeper(uses, shelf, "a").run(pause)
    assert pauses == [60] * 3
    assert [len(table.uses) for table in seen] == [0, 1, 1]
    assert seen[2].uses["k"].request_id == "r2"


async def test_the_end_saves_once_more() -> None:
    shelf, uses = Shelf(), worker()
    kept = keeper(uses, shelf, "a")
    await kept.turn()
    encrypt(uses, "k")
    await kept.close()
    assert set(shelf.saved["a"].uses) == {"k"}
    assert shelf.ended == ["a"]


async def test_a_store_that_is_away_is_told_once_and_saved_to_when_it_is_back(caplog: pytest.LogCaptureFixture) -> None:
    shelf, uses = Shelf(), worker()
    kept = keeper(uses, shelf, "a")
    encrypt(uses, "k")
    shelf.away = "it is away"
    with caplog.at_level(logging.WARNING):
        await kept.turn()
        await kept.turn()
        assert caplog.text.count("it is away") == 1
        shelf.away = ""
        await kept.turn()
        shelf.away = "it is away"
        await kept.turn()
    assert caplog.text.count("it is away") == 2
    assert set(shelf.saved["a"].uses) == {"k"}


async def test_a_store_that_does_not_answer_does_not_hold_up_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("keystead.server.usage._CLOSE_SECONDS", 0.01)
    shelf = Shelf()
    shelf.stuck = True
    await asyncio.wait_for(keeper(worker(), shelf, "a").close(), 2)
