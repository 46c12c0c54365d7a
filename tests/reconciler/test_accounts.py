"""Account ids: derived, claimed create-only, taken over by adoption, never freed."""

from __future__ import annotations

import asyncio

import pytest
from tests.builders import NOW, OTHER_UID, UID
from tests.reconciler.fakes import INSTALL_ID, World

from keystead.engine.identifiers import RecordKind, account_id, record_name
from keystead.engine.record import AccountRecord
from keystead.errors import ConflictError, RecordIntegrityError, StoreUnavailableError
from keystead.reconciler.ports import StoredRecord


def candidate(namespace: str, n: int) -> str:
    return account_id(bytes.fromhex(INSTALL_ID), namespace, n)


async def claim(world: World, namespace: str = "team-a", uid: str = UID) -> str:
    return await world.accounts.claim(world.engine.hsm, namespace, uid, 1, NOW)


def written(world: World) -> int:
    return sum(kind is RecordKind.ACCOUNT for _, kind in world.records.writes)


async def test_the_first_derivation_is_claimed(world: World) -> None:
    assert await claim(world) == candidate("team-a", 0)
    held = await world.book.read(world.engine.hsm, record_name(RecordKind.ACCOUNT, candidate("team-a", 0)), AccountRecord)
    assert held is not None
    assert (held.record.namespace, held.record.namespace_uid, held.record.n) == ("team-a", UID, 0)


async def test_a_claim_is_found_again_after_a_restart(world: World) -> None:
    first = await claim(world)
    assert await claim(world) == first
    world.restart()
    assert await claim(world) == first
    assert written(world) == 1


async def test_a_namespace_made_again_gets_the_next_one(world: World) -> None:
    assert await claim(world) == candidate("team-a", 0)
    assert await claim(world, uid=OTHER_UID) == candidate("team-a", 1)
    assert await claim(world) == candidate("team-a", 0)  # nothing is freed


async def test_a_collision_goes_on_to_the_next_derivation(world: World) -> None:
    taken = record_name(RecordKind.ACCOUNT, candidate("team-a", 0))
    foreign = AccountRecord(
        domain_generation=1,
        domain_fingerprint=world.engine.hsm.fingerprint,
        namespace_uid=OTHER_UID,
        transition=1,
        seq=1,
        account_id=candidate("team-a", 0),
        n=3,
        namespace="team-b",
        created="2026-11-01T00:00:00Z",
    )
    await world.book.create(world.engine.hsm, RecordKind.ACCOUNT, taken, foreign)
    assert await claim(world) == candidate("team-a", 1)


async def test_a_claim_lost_to_ourselves_is_ours(world: World) -> None:
    """Two keys of a new namespace at once: the second create is refused, and the record that is there is this namespace's."""
    other = World(world.engine)
    other.records = world.records
    other.restart()
    world.records.fail("lose_reply", ConflictError("answered twice"))
    assert await claim(world) == candidate("team-a", 0)
    assert await claim(other) == candidate("team-a", 0)
    assert written(world) == 1


async def test_without_an_install_record_no_account_is_derived(world: World) -> None:
    del world.records.stored[record_name(RecordKind.INSTALL)]
    with pytest.raises(RecordIntegrityError, match="hsm init"):
        await claim(world)
    assert written(world) == 0


# Adoption


async def adopt(world: World, account: str, namespace: str = "team-a", uid: str = OTHER_UID) -> str:
    return await world.accounts.adopt(world.engine.hsm, namespace, uid, account, 1)


async def owner(world: World, account: str) -> str:
    held = await world.book.read(world.engine.hsm, record_name(RecordKind.ACCOUNT, account), AccountRecord)
    assert held is not None
    return held.record.namespace_uid


async def test_an_account_follows_the_first_key_that_is_adopted(world: World) -> None:
    old = await claim(world)
    assert await adopt(world, old) == old
    assert await owner(world, old) == OTHER_UID
    assert await claim(world, uid=OTHER_UID) == old  # a really new key gets no other one


async def test_a_namespace_with_an_account_keeps_it(world: World) -> None:
    old, new = await claim(world), await claim(world, uid=OTHER_UID)
    for _ in range(2):
        assert await adopt(world, old) == new
        world.restart()
    assert await owner(world, old) == UID
    assert written(world) == 2


async def test_adoption_that_was_cut_short_ends_with_the_same_account(world: World) -> None:
    old = await claim(world)
    world.records.fail("lose_reply", StoreUnavailableError("away"))
    with pytest.raises(StoreUnavailableError):
        await adopt(world, old)
    world.restart()
    assert await adopt(world, old) == old


async def test_an_adopted_account_is_never_freed(world: World) -> None:
    """A third namespace of the name, which adopts nothing, gets an id that nobody had."""
    old = await claim(world)
    await adopt(world, old)
    world.restart()
    assert await claim(world, uid="third") == candidate("team-a", 1)
    assert await owner(world, old) == OTHER_UID


@pytest.mark.parametrize("account", [candidate("team-b", 0), candidate("team-a", 5)])
async def test_the_account_of_another_namespace_or_of_nobody_is_not_taken_over(world: World, account: str) -> None:
    await claim(world, namespace="team-b", uid="theirs")
    with pytest.raises(RecordIntegrityError, match="no record of namespace team-a"):
        await adopt(world, account)


async def test_a_key_made_while_another_is_adopted_gives_no_second_account(world: World) -> None:
    old = await claim(world)
    world.restart()
    get = world.records.get

    async def slowly(name: str) -> StoredRecord | None:
        found = await get(name)
        await asyncio.sleep(0)
        return found

    world.records.get = slowly  # type: ignore[method-assign]
    answers = await asyncio.gather(adopt(world, old), claim(world, uid=OTHER_UID), adopt(world, old))
    assert set(answers) == {old}
