"""What lists and watches tell, taken in: pages, breaks, silence, and records that are none."""

from __future__ import annotations

import asyncio
import base64
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, cast

import pytest
from msgspec.structs import replace
from tests.builders import ACCOUNT, REGION, a_key
from tests.hsm.fake import FakeHsm

from keystead.engine.identifiers import RecordKind, key_id_bytes, record_name
from keystead.engine.record import KeyRecord, seal_record
from keystead.errors import ConflictError, HsmUnavailableError, StoreError, StoreUnavailableError
from keystead.store.model import SERVED, RecordModel
from keystead.store.readmodel import RecordWatch, Secret
from keystead.store.records import KubeRecords

BROKEN = StoreUnavailableError("the line broke")


@pytest.fixture(scope="module")
def hsm() -> FakeHsm:
    return FakeHsm()


class FakeStore:
    """`KubeRecords` in memory. `push` sends an event to the watch that is open; an error ends it. `opened`: versions watched from."""

    def __init__(self, hsm: FakeHsm) -> None:
        self.hsm = hsm
        self.version = 1
        self.secrets: dict[str, Secret] = {}
        self.lists = 0
        self.opened: list[str] = []
        self.fail_list: list[StoreError] = []
        self.fail_watch: list[StoreError] = []
        self._events: asyncio.Queue[Any] = asyncio.Queue()

    def secret(self, name: str, data: dict[str, str]) -> Secret:
        self.version += 1
        return {"metadata": {"name": name, "resourceVersion": str(self.version)}, "data": data}

    def record(self, key: KeyRecord) -> Secret:
        sealed = seal_record(self.hsm, record_name(RecordKind.KEY, key.namespace, key.name), key)
        data = {"record": base64.b64encode(sealed.record).decode(), "seal": base64.b64encode(sealed.seal).decode()}
        return self.secret(sealed.name, data)

    def put(self, secret: Secret) -> Secret:
        self.secrets[secret["metadata"]["name"]] = secret
        return secret

    def push(self, kind: str, secret: Secret | StoreError) -> None:
        self._events.put_nowait((kind, secret))

    async def pages(self, _: tuple[str, ...]) -> AsyncIterator[tuple[list[Any], str]]:
        self.lists += 1
        if self.fail_list:
            raise self.fail_list.pop(0)
        items, version = list(self.secrets.values()), str(self.version)
        for start in range(0, max(1, len(items)), 3):
            yield items[start : start + 3], version
            await asyncio.sleep(0)

    async def watch(self, _: tuple[str, ...], version: str) -> AsyncIterator[tuple[str, Any]]:
        self.opened.append(version)
        if self.fail_watch:
            raise self.fail_watch.pop(0)
        while True:
            kind, secret = await self._events.get()
            if isinstance(secret, StoreError):
                raise secret
            yield kind, secret


@asynccontextmanager
async def running(store: FakeStore, model: RecordModel, **settings: Any) -> AsyncIterator[RecordWatch]:
    """A watch that runs, with its first list taken in."""
    watch = RecordWatch(cast(KubeRecords, store), model, SERVED, **settings)
    task = asyncio.create_task(watch.run(lambda: store.hsm, pause))
    try:
        await asyncio.wait_for(watch.synced.wait(), 2)
        yield watch
        assert not task.done()
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def pause(_: float) -> None:
    await asyncio.sleep(0)


async def shown(model: RecordModel, key: KeyRecord) -> None:
    """Until the model holds exactly this record."""
    raw = key_id_bytes(key.key_id)
    assert await model.until(lambda: True if model.by_id(raw) == key else None, 2), model.by_id(raw)


def later(key: KeyRecord, **changes: Any) -> KeyRecord:
    return replace(key, **{"seq": key.seq + 1, "prev": "ab" * 32, **changes})


@pytest.fixture
def store(hsm: FakeHsm) -> FakeStore:
    return FakeStore(hsm)


async def test_a_list_of_many_pages_then_what_changes(store: FakeStore, hsm: FakeHsm) -> None:
    keys = [a_key(hsm, n=n) for n in range(1, 9)]
    for key in keys:
        store.put(store.record(key))
    model = RecordModel()
    async with running(store, model):
        assert len(model.keys_of(ACCOUNT, REGION)) == 8
        new = later(keys[0], description="new")
        store.push("MODIFIED", store.record(new))
        await shown(model, new)
        store.push("BOOKMARK", {"metadata": {"resourceVersion": "77"}})
        store.push("DELETED", store.record(keys[1]))
        assert await model.until(lambda: True if len(model) == 7 else None, 2)


async def test_what_is_seen_is_told_once_all_up_to_it_is_in_the_model(store: FakeStore, hsm: FakeHsm) -> None:
    """A list of pages is seen when its last page is in: a part of it says nothing of the others (server/siblings.py)."""
    for n in range(1, 9):
        store.put(store.record(a_key(hsm, n=n)))
    model, told = RecordModel(), list[tuple[int, int]]()
    watch = RecordWatch(cast(KubeRecords, store), model, SERVED)
    watch.moved = lambda seen: told.append((seen, len(model)))
    halves: list[tuple[int, bool]] = []
    model.listeners.append(lambda *_: halves.append((watch.seen, watch.ahead == store.version)))
    task = asyncio.create_task(watch.run(lambda: hsm, pause))
    try:
        await asyncio.wait_for(watch.synced.wait(), 2)
        listed = store.version
        assert told == [(listed, 8)]
        assert set(halves) == {(0, True)}, "while it lists nothing is seen, and the model may be ahead of that"
        store.push("MODIFIED", store.record(later(a_key(hsm, n=1), description="new")))
        await shown(model, later(a_key(hsm, n=1), description="new"))
        store.push("BOOKMARK", {"metadata": {"resourceVersion": "177"}})
        store.push("DELETED", store.record(a_key(hsm, n=2)))
        assert await model.until(lambda: True if len(model) == 7 else None, 2)
        assert [seen for seen, _ in told] == [listed, listed + 1, 177, store.version]
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_where_the_line_broke_the_watch_goes_on_without_a_list(store: FakeStore, hsm: FakeHsm) -> None:
    key = a_key(hsm)
    store.put(store.record(key))
    model = RecordModel()
    async with running(store, model):
        store.push("BOOKMARK", {"metadata": {"resourceVersion": "77"}})
        store.push("", BROKEN)
        store.push("MODIFIED", store.record(later(key)))
        await shown(model, later(key))
    assert store.lists == 1
    assert store.opened[-1] == "77"


@pytest.mark.parametrize("how", ["event", "410", "504"])
async def test_a_version_that_is_too_old_or_too_new_makes_a_new_list(store: FakeStore, hsm: FakeHsm, how: str) -> None:
    """And what is not in it is gone."""
    key, other = a_key(hsm), a_key(hsm, n=2)
    store.put(store.record(key))
    gone = store.put(store.record(other))
    model = RecordModel()
    async with running(store, model):
        del store.secrets[gone["metadata"]["name"]]
        store.put(store.record(later(key)))
        if how == "event":
            store.push("ERROR", {"code": 410})
        else:
            answered = StoreUnavailableError("Too large resource version")
            answered.status = 504
            store.fail_watch = [ConflictError("too old") if how == "410" else answered]
            store.push("", BROKEN)
        await shown(model, later(key))
        assert await model.until(lambda: True if model.by_id(key_id_bytes(other.key_id)) is None else None, 2)
    assert store.lists == 2


async def test_a_silent_watch_is_opened_anew_where_it_stopped(store: FakeStore, hsm: FakeHsm) -> None:
    key = a_key(hsm)
    store.put(store.record(key))
    model = RecordModel()
    async with running(store, model, silence=0.02):
        while len(store.opened) < 3:
            await asyncio.sleep(0)
        store.push("MODIFIED", store.record(later(key)))
        await shown(model, later(key))
    assert store.lists == 1
    assert set(store.opened[:3]) == {store.opened[0]}


async def test_an_api_server_that_is_away_is_waited_for(store: FakeStore, hsm: FakeHsm) -> None:
    key = a_key(hsm)
    store.put(store.record(key))
    store.fail_list = [StoreUnavailableError("away"), ConflictError("expired page")]
    model = RecordModel()
    async with running(store, model):
        assert len(model) == 1
    assert store.lists == 3


async def test_bad_records_are_said_once_and_hide_no_other(
    store: FakeStore, hsm: FakeHsm, caplog: pytest.LogCaptureFixture
) -> None:
    key = a_key(hsm)
    bad = [store.secret("key-" + "0" * 40, {}), store.secret("heartbeat", {"record": "AA==", "seal": "AA=="})]
    for secret in (*bad, store.record(key)):
        store.put(secret)
    model = RecordModel()
    with caplog.at_level(logging.ERROR):
        async with running(store, model):
            assert len(model) == 1
            assert set(model.refused) == {secret["metadata"]["name"] for secret in bad}
            for _ in range(3):
                store.push("MODIFIED", bad[0])
            store.push("ERROR", {"code": 410})
            store.push("MODIFIED", store.record(later(key)))
            await shown(model, later(key))
    assert len([entry for entry in caplog.records if "no record and seal" in entry.getMessage()]) == 1


async def test_a_known_record_that_becomes_junk_is_left_out(store: FakeStore, hsm: FakeHsm) -> None:
    key = a_key(hsm)
    name = store.put(store.record(key))["metadata"]["name"]
    model = RecordModel()
    async with running(store, model):
        store.push("MODIFIED", store.secret(name, {"record": "!"}))
        assert await model.until(lambda: True if len(model) == 0 else None, 2)
        assert list(model.refused) == [name]


async def test_a_token_that_was_away_misses_no_record(store: FakeStore, hsm: FakeHsm) -> None:
    class Shy(FakeHsm):
        away = 0

        def mac(self, message: bytes) -> bytes:
            if self.away:
                self.away -= 1
                raise HsmUnavailableError("away")
            return super().mac(message)

    for n in range(1, 4):
        store.put(store.record(a_key(hsm, n=n)))
    store.hsm = Shy()
    store.hsm.away = 2
    model = RecordModel()
    async with running(store, model):
        assert len(model) == 3
        assert not model.refused


async def test_what_lies_beside_the_records_is_told_after_the_list_is_whole(store: FakeStore, hsm: FakeHsm) -> None:
    heartbeat = store.put(store.secret("heartbeat", {}))
    store.put(store.record(a_key(hsm)))
    model = RecordModel()
    told: list[tuple[int, bool]] = []
    watch = RecordWatch(cast(KubeRecords, store), model, SERVED)
    watch.beside["heartbeat"] = lambda _, began: told.append((len(model), began is None))
    task = asyncio.create_task(watch.run(lambda: hsm, pause))
    await asyncio.wait_for(watch.synced.wait(), 2)
    store.push("MODIFIED", heartbeat)
    store.push("MODIFIED", store.record(a_key(hsm, n=2)))
    await model.until(lambda: True if len(model) == 2 else None, 2)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert told == [(1, False), (1, True)]


async def test_a_long_list_lets_others_have_their_turn(store: FakeStore, hsm: FakeHsm, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("keystead.store.readmodel._SLICE_SECONDS", 0.0)
    for n in range(1, 31):
        store.put(store.record(a_key(hsm, n=n)))
    turns = 0

    async def other() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    task = asyncio.create_task(other())
    async with running(store, RecordModel()):
        assert turns >= 30
    task.cancel()
