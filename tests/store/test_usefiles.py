"""Last uses between the workers of a Pod, and in SQLite: nothing is lost by who is killed, and rubbish is an error of ours."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from keystead.errors import StoreUnavailableError
from keystead.operations.counts import Row
from keystead.operations.usetable import UseTable
from keystead.operations.world import LastUse
from keystead.store.sqlite.store import SqliteStore
from keystead.store.sqlite.uses import SqliteUses
from keystead.store.usefiles import PodUses, WorkerUses

NOW = datetime(2026, 11, 26, 8, 0, 0, 5, tzinfo=UTC)


def use(seconds: int = 0) -> LastUse:
    return LastUse("Encrypt", NOW + timedelta(seconds=seconds), f"e{seconds}", f"r{seconds}")


async def test_the_supervisor_collects_what_workers_saw_and_publishes_what_is_known(tmp_path: Path) -> None:
    pod = PodUses(tmp_path, 3)
    a, b = WorkerUses(tmp_path, 0), WorkerUses(tmp_path, 1)
    assert pod.collect() == UseTable()
    assert await a.load() == UseTable()
    await a.save(UseTable({"k": use(1)}, NOW), last=False)
    await b.save(UseTable({"k": use(2), "l": use(3)}, NOW - timedelta(1)), last=True)
    assert pod.collect() == UseTable({"k": use(2), "l": use(3)}, NOW - timedelta(1))
    pod.publish(UseTable({"elsewhere": use(4)}, NOW))
    assert await a.load() == await b.load() == UseTable({"elsewhere": use(4)}, NOW)


async def test_what_a_killed_worker_saw_stays_when_the_next_one_saves(tmp_path: Path) -> None:
    await WorkerUses(tmp_path, 0).save(UseTable({"old": use(1)}, NOW), last=False)
    await WorkerUses(tmp_path, 0).save(UseTable({"new": use(2)}, NOW + timedelta(1)), last=False)
    assert PodUses(tmp_path, 1).collect() == UseTable({"old": use(1), "new": use(2)}, NOW)


async def test_a_file_that_is_none_of_ours_is_an_error_and_the_next_save_mends_it(tmp_path: Path) -> None:
    (tmp_path / "0.uses").write_bytes(b"junk")
    (tmp_path / "all.uses").write_bytes(b"junk")
    worker = WorkerUses(tmp_path, 0)
    with pytest.raises(StoreUnavailableError):
        PodUses(tmp_path, 1).collect()
    with pytest.raises(StoreUnavailableError):
        await worker.load()
    await worker.save(UseTable({"k": use()}, NOW), last=False)
    assert PodUses(tmp_path, 1).collect() == UseTable({"k": use()}, NOW)


async def test_a_folder_that_is_gone_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailableError, match="cannot be written"):
        await WorkerUses(tmp_path / "gone", 0).save(UseTable(), last=False)


async def test_sqlite_keeps_the_newest_use_of_each_key_whoever_saves_last(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "s")
    a, b = SqliteUses(store.database), SqliteUses(store.database)
    await a.save(UseTable({"k": use(2), "l": use(1)}, NOW), last=False)
    await b.save(UseTable({"k": use(1), "m": use(3)}, NOW + timedelta(1)), last=True)
    expected = UseTable({"k": use(2), "l": use(1), "m": use(3)}, NOW)
    assert await a.load() == expected
    store.close()
    again = SqliteStore(tmp_path / "s")
    assert await again.uses.load() == expected
    again.close()


async def test_sqlite_is_not_written_without_news(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "s")
    table = UseTable({"k": use(2)}, NOW)
    await store.uses.save(table, last=False)
    committed: list[None] = []
    store.database.committed.append(lambda: committed.append(None))
    await store.uses.save(table, last=False)
    assert committed == []
    await store.uses.save(UseTable({"k": use(3)}, NOW), last=False)
    assert len(committed) == 1
    store.close()


async def test_a_reset_forgets_uses_and_their_begin(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "s")
    await store.uses.save(UseTable({"k": use()}, NOW), last=False)
    store.empty()
    assert await store.uses.load() == UseTable()
    later = NOW + timedelta(1)
    await store.uses.save(UseTable({}, later), last=False)
    assert await store.uses.load() == UseTable({}, later)
    store.close()


async def test_the_counts_of_all_workers_are_added_and_a_new_worker_goes_on_where_the_old_one_ended(tmp_path: Path) -> None:
    row = Row("2026-11", "a", "k", "requests")
    first, other = WorkerUses(tmp_path, 0), WorkerUses(tmp_path, 1)
    for calls in (1, 3):  # its own since its start, in place of what it saved before
        await first.save(UseTable(counts={row: calls}), last=False)
    await other.save(UseTable(counts={row: 10}), last=False)
    assert PodUses(tmp_path, 2).collect().counts == {row: 13}
    again = WorkerUses(tmp_path, 0)
    for calls in (100, 200):
        await again.save(UseTable(counts={row: calls}), last=False)
    assert PodUses(tmp_path, 2).collect().counts == {row: 213}


async def test_sqlite_adds_what_is_new_from_every_process_and_keeps_thirteen_months(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path)
    row = Row("2026-11", "a", "k", "requests")
    a, b = SqliteUses(store.database), SqliteUses(store.database)
    for calls in (2, 2, 5):
        await a.save(UseTable(counts={row: calls}), last=False)
    await b.save(UseTable(counts={row: 10}), last=True)
    assert a.counts() == {row: 15}
    months = {Row(f"{2027 + number // 12}-{number % 12 + 1:02}", "a", "", "requests"): 1 for number in range(13)}
    await b.save(UseTable(counts={row: 10} | months), last=False)
    store.close()
    again = SqliteStore(tmp_path)
    assert again.uses.counts() == months
    again.empty()
    assert again.uses.counts() == {}
    again.close()
