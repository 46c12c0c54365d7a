"""The change feed of SQLite: what this process wrote at once, what others wrote soon, each once and in order."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from keystead.engine.identifiers import RecordKind, record_name
from keystead.engine.record import SealedRecord
from keystead.operations.writes import CreateObject, DeleteObject, SetFields, Target
from keystead.reconciler.ports import EventType, Kind, ObjectRef
from keystead.store.sqlite import database
from keystead.store.sqlite.changes import Changes, ObjectChange, RecordChange
from keystead.store.sqlite.store import SqliteStore

KEPT, DROPPED = (ObjectRef(Kind.KEY, "default", name) for name in ("kept", "dropped"))
INSTALL = record_name(RecordKind.INSTALL)


class Model:
    """What a read model knows, and how it learnt it."""

    def __init__(self) -> None:
        self.told: list[Changes] = []
        self.records: dict[str, bytes] = {}
        self.objects: dict[ObjectRef, dict[str, Any]] = {}

    def __call__(self, changes: Changes) -> None:
        self.told.append(changes)
        if changes.whole:
            self.records, self.objects = {}, {}
        for change in changes.changes:
            match change:
                case RecordChange(_, name, None):
                    self.records.pop(name, None)
                case RecordChange(_, name, stored) if stored is not None:
                    self.records[name] = stored.sealed.record
                case ObjectChange(_, ref, _, None):
                    self.objects.pop(ref, None)
                case ObjectChange(_, ref, _, body) if body is not None:
                    self.objects[ref] = body

    @property
    def versions(self) -> list[int]:
        return [change.rv for changes in self.told for change in changes.changes]


@pytest.fixture(params=["memory", "file"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[SqliteStore]:
    made = SqliteStore(None if request.param == "memory" else tmp_path / "state")
    await made.objects.ensure_namespace("default")
    yield made
    made.close()


async def create(store: SqliteStore, ref: ObjectRef, **spec: Any) -> Target:
    await store.writer.write(CreateObject(ref.kind, ref.namespace, ref.name, spec))
    found = await store.objects.get(ref)
    assert found is not None
    return Target(ref.kind, ref.namespace, ref.name, found["metadata"]["uid"])


async def test_an_own_write_is_told_before_it_is_answered(store: SqliteStore) -> None:
    model = Model()
    store.changes.subscribe(model)
    target = await create(store, KEPT)
    assert model.objects[KEPT]["metadata"]["uid"] == target.uid
    made = await store.records.create(RecordKind.GRANT, SealedRecord("grant-1", b"r", b"s"))
    assert model.records == {"grant-1": b"r"}
    await store.writer.write(SetFields(target, {"enabled": False}))
    assert model.objects[KEPT]["spec"]["enabled"] is False
    await store.records.delete("grant-1", made.resource_version)
    await store.writer.write(DeleteObject(target))
    assert (model.records, model.objects) == ({}, {})
    assert model.versions == sorted(set(model.versions))


async def test_who_subscribes_is_told_of_all_that_there_is(store: SqliteStore) -> None:
    await create(store, KEPT)
    await store.writer.write(DeleteObject(await create(store, DROPPED)))
    await store.records.create(RecordKind.KEY, SealedRecord("key-1", b"r", b"s"))
    model = Model()
    store.changes.subscribe(model)
    assert (set(model.records), set(model.objects)) == ({"key-1"}, {KEPT})
    assert [changes.whole for changes in model.told] == [True]


async def test_a_write_that_changed_nothing_is_not_told(store: SqliteStore) -> None:
    target = await create(store, KEPT, description="d")
    model = Model()
    store.changes.subscribe(model)
    await store.writer.write(SetFields(target, {"description": "d"}))
    await store.objects.event(KEPT, target.uid, "Created", "", EventType.NORMAL, "1")
    assert len(model.told) == 1


async def test_an_object_made_again_is_told_as_gone_and_as_new(store: SqliteStore) -> None:
    first = await create(store, KEPT)
    since = store.changes.changed_since(0).rv
    await store.writer.write(DeleteObject(first))
    again = await create(store, KEPT)
    found = store.changes.changed_since(since)
    assert [(change.uid, change.body is None) for change in found.changes] == [(first.uid, True), (again.uid, False)]  # type: ignore[union-attr]
    assert store.changes.changed_since(found.rv).changes == ()


async def test_who_has_not_looked_for_long_is_told_the_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = SqliteStore(tmp_path / "state")
    await store.objects.ensure_namespace("default")
    await store.writer.write(DeleteObject(await create(store, DROPPED)))
    since = store.changes.changed_since(0).rv
    for number in range(5):
        await create(store, ObjectRef(Kind.KEY, "default", f"k{number}"))
    store.close()
    monkeypatch.setattr(database, "REMEMBERED", 2)
    again = SqliteStore(tmp_path / "state")
    assert not again.changes.changed_since(since + 4).whole
    found = again.changes.changed_since(since)
    assert found.whole
    assert len(found.changes) == 5
    again.close()


async def test_a_reset_tells_that_everything_is_gone_but_the_install_record(store: SqliteStore) -> None:
    for name in (INSTALL, "key-1"):
        await store.records.create(RecordKind.KEY, SealedRecord(name, b"r", b"s"))
    await create(store, KEPT)
    uid = await store.objects.ensure_namespace("default")
    crd = await store.objects.crd(Kind.KEY)
    model = Model()
    store.changes.subscribe(model)
    store.empty()
    assert (set(model.records), model.objects) == ({INSTALL}, {})
    assert store.objects.namespaces() == {}
    assert await store.objects.crd(Kind.KEY) == crd
    assert await store.objects.ensure_namespace("default") != uid
    await create(store, KEPT)


async def test_another_process_is_told_soon_and_in_order(tmp_path: Path) -> None:
    """As `--workers` has it: the one reads what the other writes, and both may write."""
    store = SqliteStore(tmp_path / "state")
    await store.objects.ensure_namespace("default")
    model = Model()
    store.changes.subscribe(model)
    polling = asyncio.create_task(store.changes.poll())
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.store.sqlite_child", "some", str(tmp_path / "state")),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert child.stdin is not None
    assert child.stdout is not None
    assert await child.stdout.readline() == b"open\n"
    child.stdin.write(b"go\n")
    for number in range(50):  # meanwhile, in the same file
        await create(store, ObjectRef(Kind.KEY, "default", f"own-{number}"))
    assert await child.stdout.readline() == b"done\n"
    done = asyncio.get_running_loop().time()
    while "key-1" not in model.records:
        assert asyncio.get_running_loop().time() < done + 60
        await asyncio.sleep(0.002)
    assert await child.wait() == 0
    assert model.records == {"key-1": b"r"}
    assert set(model.objects) == {KEPT, *(ObjectRef(Kind.KEY, "default", f"own-{number}") for number in range(50))}
    assert model.objects[KEPT]["spec"]["description"] == "changed"
    assert model.versions == sorted(set(model.versions))
    polling.cancel()
    store.close()
