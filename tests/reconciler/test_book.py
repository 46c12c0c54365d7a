"""The record book: what is not believed, and which writes are refused."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest
from msgspec.structs import replace
from tests.builders import a_key
from tests.reconciler.fakes import World

from keystead.engine.identifiers import RecordKind
from keystead.engine.record import KeyRecord, SealedRecord, seal_record
from keystead.errors import ConflictError, FencedError, RecordIntegrityError
from keystead.reconciler.book import Held
from keystead.reconciler.ports import StoredRecord

NAME = "key-" + "ab" * 20


async def made(world: World, **changes: object) -> Held[KeyRecord]:
    return await world.book.create(world.engine.hsm, RecordKind.KEY, NAME, a_key(world.engine.hsm, **changes))


async def read(world: World) -> Held[KeyRecord] | None:
    return await world.book.read(world.engine.hsm, NAME, KeyRecord)


async def test_a_write_continues_the_chain(world: World) -> None:
    first = await made(world)
    world.leadership.transition = 4
    second = await world.book.replace(world.engine.hsm, RecordKind.KEY, first, replace(first.record, description="x"))
    assert (second.record.seq, second.record.prev, second.record.transition) == (2, first.opened.digest, 4)
    again = await read(world)
    assert again == second


async def test_a_name_is_claimed_once(world: World) -> None:
    await made(world)
    with pytest.raises(ConflictError):
        await made(world)


async def test_a_record_that_changed_meanwhile_is_not_overwritten(world: World) -> None:
    first = await made(world)
    await world.book.replace(world.engine.hsm, RecordKind.KEY, first, replace(first.record, description="theirs"))
    with pytest.raises(ConflictError):
        await world.book.replace(world.engine.hsm, RecordKind.KEY, first, replace(first.record, description="ours"))
    assert [verb for verb, _ in world.records.writes] == ["create", "replace"]


async def test_a_record_of_a_newer_leader_is_not_overwritten(world: World) -> None:
    world.leadership.transition = 9
    first = await made(world, transition=9)
    world.leadership.transition = 8
    with pytest.raises(FencedError, match="transition 9"):
        await world.book.replace(world.engine.hsm, RecordKind.KEY, first, first.record)
    assert len(world.records.writes) == 1


async def test_without_the_lease_nothing_is_written(world: World) -> None:
    first = await made(world)
    world.leadership.leading = False
    with pytest.raises(FencedError):
        await world.book.replace(world.engine.hsm, RecordKind.KEY, first, first.record)
    with pytest.raises(FencedError):
        await world.book.create(world.engine.hsm, RecordKind.KEY, "key-other", first.record)
    assert len(world.records.writes) == 1


async def test_an_absent_record_is_none_until_it_was_seen(world: World) -> None:
    assert await read(world) is None
    await made(world)
    del world.records.stored[NAME]
    with pytest.raises(RecordIntegrityError, match="was here before and is gone"):
        await read(world)
    world.restart()
    assert await read(world) is None  # a new process has only the status to tell it


class Crossing:
    """A store whose answer to a GET arrives after a write of the same process."""

    def __init__(self, world: World, write: Callable[[], Awaitable[object]], times: int = 1) -> None:
        self._get, self._write, self.left = world.records.get, write, times

    async def get(self, name: str) -> StoredRecord | None:
        answer = await self._get(name)
        if self.left:
            self.left -= 1
            await self._write()
        return answer


async def test_a_read_that_crossed_a_write_is_no_fault_and_is_made_again(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    first = await made(world)

    async def write() -> None:
        await world.book.replace(world.engine.hsm, RecordKind.KEY, first, replace(first.record, description="newer"))

    monkeypatch.setattr(world.records, "get", Crossing(world, write).get)
    found = await read(world)
    assert found is not None
    assert found.record.description == "newer"


async def test_a_read_that_crossed_a_create_finds_it(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(world.records, "get", Crossing(world, lambda: made(world)).get)
    found = await read(world)
    assert found is not None
    assert found.record.seq == 1


async def test_a_record_that_is_written_without_end_is_a_conflict(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    held = [await made(world)]

    async def write() -> None:
        held.append(await world.book.replace(world.engine.hsm, RecordKind.KEY, held[-1], held[-1].record))

    monkeypatch.setattr(world.records, "get", Crossing(world, write, times=100).get)
    with pytest.raises(ConflictError, match="faster"):
        await read(world)


async def test_an_older_record_is_not_believed(world: World) -> None:
    first = await made(world)
    old = world.records.stored[NAME]
    await world.book.replace(world.engine.hsm, RecordKind.KEY, first, replace(first.record, description="x"))
    world.records.stored[NAME] = old
    with pytest.raises(RecordIntegrityError, match="older record"):
        await read(world)


async def test_another_record_of_the_same_number_is_not_believed(world: World) -> None:
    first = await made(world)
    twin = seal_record(world.engine.hsm, NAME, replace(first.record, description="twin"))
    world.records.stored[NAME] = StoredRecord(twin, "9")
    with pytest.raises(RecordIntegrityError, match="differs"):
        await read(world)


async def test_edited_moved_or_unsealed_bytes_are_not_believed(world: World) -> None:
    await made(world)
    stored = world.records.stored[NAME]
    sealed = stored.sealed
    edited = sealed.record.replace(b"Enabled", b"Updatin")
    for bad in (
        SealedRecord(NAME, edited, sealed.seal),
        SealedRecord(NAME, sealed.record, bytes(len(sealed.seal))),
        SealedRecord(NAME, b"", b""),
        seal_record(world.engine.hsm, "key-elsewhere", a_key(world.engine.hsm)),
    ):
        world.records.stored[NAME] = StoredRecord(SealedRecord(NAME, bad.record, bad.seal), "9")
        with pytest.raises(RecordIntegrityError):
            await read(world)


async def test_a_store_that_answers_with_other_bytes_is_not_believed(world: World) -> None:
    first = await made(world)
    other = seal_record(world.engine.hsm, NAME, replace(first.record, seq=2, prev=first.opened.digest, description="other"))

    async def replaced(*_: object) -> StoredRecord:
        return StoredRecord(other, "9")

    world.records.replace = replaced  # type: ignore[method-assign]
    with pytest.raises(RecordIntegrityError, match="other bytes"):
        await world.book.replace(world.engine.hsm, RecordKind.KEY, first, first.record)
