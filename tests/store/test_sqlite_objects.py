"""The API server's habits on SQLite, where the reconciler's suites (tests/reconciler, on both worlds) do not ask for them."""

from __future__ import annotations

import asyncio
import sqlite3
import stat
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.reconciler.fakes import FakeClock

from keystead.engine.identifiers import RecordKind
from keystead.engine.record import SealedRecord
from keystead.errors import ConflictError, FencedError, StoreError, StoreUnavailableError
from keystead.reconciler.ports import EventType, Kind, ObjectRef
from keystead.resources.names import API_VERSION, IN_USE
from keystead.store.sqlite import clock as clock_module
from keystead.store.sqlite.clock import LocalClock
from keystead.store.sqlite.database import FILE
from keystead.store.sqlite.store import SqliteStore

REF = ObjectRef(Kind.KEY, "default", "k")
SEALED = SealedRecord("key-1", b"record", b"seal")


@pytest.fixture(params=["memory", "file"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[SqliteStore]:
    made = SqliteStore(None if request.param == "memory" else tmp_path / "state")
    await made.objects.ensure_namespace("default")
    yield made
    made.close()


async def apply(store: SqliteStore, **spec: Any) -> dict[str, Any]:
    metadata = {"namespace": REF.namespace, "name": REF.name}
    await store.writer.apply({"apiVersion": API_VERSION, "kind": "KmsKey", "metadata": metadata, "spec": spec})
    return await live(store)


async def live(store: SqliteStore) -> dict[str, Any]:
    found = await store.objects.get(REF)
    assert found is not None
    return found


# Objects


async def test_generation_moves_with_spec_and_with_nothing_else(store: SqliteStore) -> None:
    first = (await apply(store))["metadata"]
    await store.objects.apply_status(REF, first["uid"], {"observedGeneration": 1})
    after_status = (await live(store))["metadata"]
    await store.objects.set_finalizers(REF, first["uid"], after_status["resourceVersion"], (IN_USE,))
    after_finalizers = (await live(store))["metadata"]
    changed = (await apply(store, description="d"))["metadata"]
    assert [each["generation"] for each in (first, after_status, after_finalizers, changed)] == [1, 1, 1, 2]
    versions = [int(each["resourceVersion"]) for each in (first, after_status, after_finalizers, changed)]
    assert versions == sorted(set(versions))
    assert {each["uid"] for each in (first, after_status, after_finalizers, changed)} == {first["uid"]}


async def test_a_write_of_nothing_new_is_no_write(store: SqliteStore) -> None:
    body = await apply(store, description="d")
    await apply(store, description="d")
    await store.objects.apply_status(REF, body["metadata"]["uid"], body["status"])
    assert await live(store) == body


async def test_a_status_is_for_the_object_that_was_read(store: SqliteStore) -> None:
    uid = (await apply(store))["metadata"]["uid"]
    with pytest.raises(ConflictError):
        await store.objects.apply_status(REF, "another", {"observedGeneration": 1})
    await store.objects.delete(REF, uid)
    with pytest.raises(ConflictError):
        await store.objects.apply_status(REF, uid, {"observedGeneration": 1})
    assert await store.objects.get(REF) is None


async def test_an_object_made_again_is_another_one(store: SqliteStore) -> None:
    first = (await apply(store, description="d"))["metadata"]
    await store.objects.delete(REF, first["uid"])
    again = (await apply(store, description="d"))["metadata"]
    assert again["uid"] != first["uid"]
    assert again["generation"] == 1
    with pytest.raises(ConflictError):
        await store.objects.delete(REF, first["uid"])
    assert (await live(store))["metadata"]["uid"] == again["uid"]


async def test_finalizers_hold_an_object_that_is_being_deleted(store: SqliteStore) -> None:
    made = (await apply(store))["metadata"]
    await store.objects.set_finalizers(REF, made["uid"], made["resourceVersion"], (IN_USE,))
    await store.objects.delete(REF, made["uid"])
    ending = (await live(store))["metadata"]
    assert "deletionTimestamp" in ending
    assert ending["generation"] == 2
    await store.objects.delete(REF, made["uid"])
    assert (await live(store))["metadata"] == ending
    with pytest.raises(ConflictError):
        await store.objects.set_finalizers(REF, made["uid"], ending["resourceVersion"], (IN_USE, "example.com/more"))
    with pytest.raises(ConflictError):
        await store.objects.set_finalizers(REF, made["uid"], made["resourceVersion"], ())
    await store.objects.set_finalizers(REF, made["uid"], ending["resourceVersion"], ())
    assert await store.objects.get(REF) is None


async def test_an_event_is_there_once_and_before_the_status_that_follows(store: SqliteStore) -> None:
    uid = (await apply(store))["metadata"]["uid"]
    for _ in range(2):
        await store.objects.event(REF, uid, "Created", "made", EventType.NORMAL, "1")
    await store.objects.apply_status(REF, uid, {"observedGeneration": 1})
    assert [(row["reason"], row["message"]) for row in store.objects.events()] == [("Created", "made")]


async def test_facts_of_namespaces_and_crds_stay(tmp_path: Path) -> None:
    first = SqliteStore(tmp_path / "state")
    uid = await first.objects.ensure_namespace("default")
    assert await first.objects.ensure_namespace("default") == uid
    assert await first.objects.namespace("other") is None
    crds = [await first.objects.crd(kind) for kind in Kind]
    first.close()
    again = SqliteStore(tmp_path / "state")
    facts = await again.objects.namespace("default")
    assert facts is not None
    assert facts.uid == uid
    assert [await again.objects.crd(kind) for kind in Kind] == crds
    again.close()


# Records


async def test_records_are_create_only_and_replaced_by_version(store: SqliteStore) -> None:
    made = await store.records.create(RecordKind.KEY, SEALED)
    with pytest.raises(ConflictError):
        await store.records.create(RecordKind.KEY, SealedRecord("key-1", b"other", b"seal"))
    following = await store.records.replace(RecordKind.KEY, SealedRecord("key-1", b"2", b"s"), made.resource_version)
    with pytest.raises(ConflictError):
        await store.records.replace(RecordKind.KEY, SEALED, made.resource_version)
    with pytest.raises(ConflictError):
        await store.records.delete("key-1", made.resource_version)
    assert await store.records.get("key-1") == following
    await store.records.delete("key-1", following.resource_version)
    await store.records.delete("key-1", following.resource_version)
    assert await store.records.get("key-1") is None
    with pytest.raises(ConflictError):
        await store.records.replace(RecordKind.KEY, SEALED, following.resource_version)


async def test_a_refused_write_takes_no_other_of_its_commit_with_it(store: SqliteStore) -> None:
    await store.records.create(RecordKind.KEY, SEALED)
    numbers = range(2, 12)
    commits: list[int] = []
    store.database.committed.append(lambda: commits.append(1))
    writes = (store.records.create(RecordKind.KEY, SealedRecord(f"key-{number // 2}", b"r", b"s")) for number in numbers)
    results = await asyncio.gather(*writes, return_exceptions=True)
    assert [isinstance(result, ConflictError) for result in results] == [number % 2 == 1 or number == 2 for number in numbers]
    assert len(store.records.list_all()) == 5
    assert len(commits) == 1


# Leading


def test_one_process_leads_a_folder_and_each_is_counted(tmp_path: Path) -> None:
    first, second = SqliteStore(tmp_path / "state"), SqliteStore(tmp_path / "state")
    with pytest.raises(FencedError):
        first.lead.check()
    assert first.lead.acquire() == 1
    first.lead.check()
    with pytest.raises(ConflictError, match="another keystead dev"):
        second.lead.acquire()
    with pytest.raises(FencedError):
        second.lead.check()
    first.lead.release()
    with pytest.raises(FencedError):
        _ = first.lead.transition
    assert second.lead.acquire() == 2
    for store in (first, second):
        store.close()


# The folder


def test_the_state_is_for_its_owner_only(tmp_path: Path) -> None:
    folder = tmp_path / "state"
    folder.mkdir(mode=0o755)
    store = SqliteStore(folder)
    store.lead.acquire()
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (folder, *folder.iterdir())}
    assert modes.pop("state") == 0o700
    assert set(modes) >= {FILE, f"{FILE}-wal", "leader.lock"}
    assert set(modes.values()) == {0o600}
    store.close()


def test_every_commit_is_synced(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "state")
    told = store.database.run(lambda to: [to.rows(f"PRAGMA {name}")[0][0] for name in ("journal_mode", "synchronous")])
    assert told == ["wal", 2]
    store.close()


def test_an_open_folder_of_other_files_is_left_alone(tmp_path: Path) -> None:
    folder = tmp_path / "home"
    folder.mkdir(mode=0o755)
    (folder / "notes").write_text("mine")
    with pytest.raises(StoreError, match="folder of its own"):
        SqliteStore(folder)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o755


def test_a_file_that_is_no_database_or_of_a_later_version_is_told(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    (tmp_path / FILE).write_text("not a database, and longer than the sixteen bytes of a header" * 20)
    with pytest.raises(StoreError, match="cannot be opened"):
        SqliteStore(tmp_path)
    (tmp_path / FILE).unlink()
    SqliteStore(tmp_path).close()
    connection = sqlite3.connect(tmp_path / FILE)
    connection.execute("PRAGMA user_version = 2")
    connection.close()
    with pytest.raises(StoreError, match="later version"):
        SqliteStore(tmp_path)


async def test_a_file_that_somebody_else_holds_is_a_store_that_is_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("keystead.store.sqlite.database.BUSY_SECONDS", 0.05)
    store = SqliteStore(tmp_path / "state")
    other = sqlite3.connect(tmp_path / "state" / FILE, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreUnavailableError):
        await store.records.create(RecordKind.KEY, SEALED)
    waiting = asyncio.create_task(store.records.create(RecordKind.KEY, SealedRecord("key-2", b"r", b"s")))
    await asyncio.sleep(0)
    other.execute("ROLLBACK")
    other.close()
    assert (await waiting).sealed.name == "key-2"
    assert (await store.records.create(RecordKind.KEY, SEALED)).sealed == SEALED
    store.close()


# The clock

TRUE = datetime(2026, 11, 26, 8, 0, 0, tzinfo=UTC)


class Machine:
    """The machine's two clocks, in the test's hands."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.wall, self.monotonic = TRUE, 100.0
        monkeypatch.setattr(clock_module.time, "time", lambda: self.wall.timestamp())  # noqa: PLW0108 - the wall that it has then
        monkeypatch.setattr(clock_module.time, "monotonic", lambda: self.monotonic)

    def advance(self, seconds: float, step: float = 0) -> None:
        self.wall += timedelta(seconds=seconds + step)
        self.monotonic += seconds


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    return Machine(monkeypatch)


def test_time_goes_on_where_the_machine_was_set_back(machine: Machine) -> None:
    clock = LocalClock()
    assert clock.now() == TRUE
    machine.advance(10, step=-7200)
    assert clock.now() == TRUE + timedelta(seconds=10)
    machine.advance(5, step=7200 + 60)
    assert clock.now() == machine.wall


async def test_time_does_not_go_back_behind_what_is_written(tmp_path: Path, machine: Machine) -> None:
    store = SqliteStore(tmp_path / "state", FakeClock(TRUE + timedelta(days=1)))
    await store.records.create(RecordKind.KEY, SEALED)
    store.close()
    again = SqliteStore(tmp_path / "state")
    machine.advance(3)
    assert again.clock.now() == TRUE + timedelta(days=1, seconds=3)
    again.close()


@pytest.mark.parametrize("moment", [datetime(1970, 1, 1, tzinfo=UTC), datetime(2200, 1, 1, tzinfo=UTC)])
def test_a_machine_without_a_clock_dates_nothing(machine: Machine, moment: datetime) -> None:
    machine.wall = moment
    with pytest.raises(StoreUnavailableError, match="clock"):
        LocalClock().now()
    assert LocalClock(TRUE).now() == TRUE
