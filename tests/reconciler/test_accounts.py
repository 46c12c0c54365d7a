"""Account ids: derived, claimed create-only, never freed."""

from __future__ import annotations

import pytest
from tests.builders import NOW, OTHER_UID, UID
from tests.reconciler.fakes import INSTALL_ID, World

from keystead.engine.identifiers import RecordKind, account_id, record_name
from keystead.engine.record import AccountRecord
from keystead.errors import ConflictError, RecordIntegrityError


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
