"""Before a data key's record outgrows 256 KiB its oldest versions move to sealed archives, and none is ever lost."""

from __future__ import annotations

from typing import Any

import pytest
from tests.reconciler.fakes import World

from keystead.engine.identifiers import RecordKind, archive_name, record_name
from keystead.engine.plan import data_key as plan
from keystead.engine.record import DataKeyRecord, DataKeyVersion, open_sealed
from keystead.errors import ConflictError, StoreUnavailableError
from keystead.reconciler.ports import Kind, ObjectRef

KEY = ObjectRef(Kind.KEY, "team-a", "k")
REF = ObjectRef(Kind.DATA_KEY, "team-a", "d")
SPEC: dict[str, Any] = {"keyRef": {"name": "k"}, "target": {"secretName": "s"}, "rotation": {"periodInDays": 1}}
NAME = record_name(RecordKind.DATAKEY, "team-a", "d")


@pytest.fixture(autouse=True)
def small_records(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan, "ARCHIVE_ABOVE", 3000)


async def rotate(world: World, times: int) -> None:
    for _ in range(times):
        world.clock.advance(days=2)
        await world.reconcile(REF)


async def part(world: World, name: str) -> DataKeyRecord:
    stored = await world.records.get(name)
    assert stored is not None
    return open_sealed(world.engine.domain, stored.sealed, DataKeyRecord)


async def all_versions(world: World) -> list[DataKeyVersion]:
    main = world.record(REF, DataKeyRecord)
    found: list[DataKeyVersion] = []
    for k in range(1, main.archives + 1):
        archive = await part(world, archive_name(NAME, k))
        assert archive.part == k
        found += archive.versions
    return found + list(main.versions)


async def born(world: World) -> None:
    world.apply(KEY)
    await world.reconcile(KEY)
    world.apply(REF, **SPEC)
    await world.reconcile(REF)


async def test_versions_move_to_archives_and_none_is_lost(world: World) -> None:
    await born(world)
    await rotate(world, 20)
    main = world.record(REF, DataKeyRecord)
    assert main.archives >= 2
    assert [version.n for version in await all_versions(world)] == list(range(1, 22))
    assert world.status(REF)["version"] == 21


async def test_a_lost_reply_while_archiving_loses_and_doubles_nothing(world: World) -> None:
    await born(world)
    while world.record(REF, DataKeyRecord).archives == 0:
        world.clock.advance(days=2)
        world.records.fail("lose_reply", StoreUnavailableError("reply"))
        with pytest.raises((StoreUnavailableError, ConflictError)):
            await world.reconcile(REF)
        world.restart()
        await world.reconcile(REF)
    numbers = [version.n for version in await all_versions(world)]
    assert numbers == list(range(1, len(numbers) + 1))
