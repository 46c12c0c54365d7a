"""A key whose id and material are given before it is made: the first of its name, and no later one."""

from __future__ import annotations

import hmac

import pytest
from tests.reconciler.fakes import World
from tests.reconciler.test_key_life import pass_the_end

from keystead.engine.identifiers import KeyId, RecordKind, key_id_bytes
from keystead.engine.imported import imported_id
from keystead.engine.material import material_of
from keystead.engine.record import KeyRecord
from keystead.reconciler.ports import Kind, ObjectRef, Seed
from keystead.resources import names
from keystead.resources.vocabulary import KeySpec, KeyState, Origin

REF = ObjectRef(Kind.KEY, "team-a", "k")
KEY_ID = KeyId("7d84313c-2079-4cbe-b049-ca1ab1f6ad16")
MATERIAL = bytes(range(32))


def record(world: World) -> KeyRecord:
    return world.record(REF, KeyRecord)


async def test_a_seeded_key_has_the_given_id_and_material(world: World) -> None:
    world.seeds[REF] = Seed(KEY_ID, MATERIAL)
    world.apply(REF)
    await world.reconcile(REF)
    made = record(world)
    material = material_of(made, made.current_version)
    assert made.key_id == KEY_ID
    assert material.material_id == imported_id(KeySpec.SYMMETRIC_DEFAULT, key_id_bytes(KEY_ID), MATERIAL)
    assert world.engine.hsm.derive(material, b"message") == hmac.digest(MATERIAL, b"message", "sha512")
    assert world.ready(REF) == "Available"


async def test_to_its_record_a_seeded_key_is_one_like_every_other(world: World) -> None:
    world.seeds[REF] = Seed(KEY_ID, MATERIAL)
    world.apply(REF)
    await world.reconcile(REF)
    assert (record(world).origin, record(world).current_version.origin) == (Origin.AWS_KMS, Origin.AWS_KMS)


@pytest.mark.parametrize("seed", [Seed(KEY_ID, None), Seed(None, MATERIAL)], ids=["id", "material"])
async def test_what_a_seed_leaves_out_is_made_as_ever(world: World, seed: Seed) -> None:
    world.seeds[REF] = seed
    world.apply(REF)
    await world.reconcile(REF)
    made = record(world)
    given = imported_id(KeySpec.SYMMETRIC_DEFAULT, key_id_bytes(made.key_id), MATERIAL)
    assert (made.key_id == KEY_ID) is (seed.key_id is not None)
    assert given is not None
    assert (made.current_version.material_id == given.hex()) is (seed.material is not None)


async def test_a_seed_is_of_one_object_only(world: World) -> None:
    world.seeds[ObjectRef(Kind.KEY, "team-a", "another")] = Seed(KEY_ID, MATERIAL)
    world.apply(REF)
    await world.reconcile(REF)
    assert record(world).key_id != KEY_ID


async def test_a_key_that_is_there_is_not_made_again(world: World) -> None:
    world.apply(REF)
    await world.reconcile(REF)
    before = record(world)
    world.seeds[REF] = Seed(KEY_ID, MATERIAL)
    world.restart()
    await world.reconcile(REF)
    assert record(world) == before


async def test_a_rotation_of_a_seeded_key_generates(world: World) -> None:
    world.seeds[REF] = Seed(KEY_ID, MATERIAL)
    world.apply(REF, rotation={"enabled": True, "periodInDays": 90})
    await world.reconcile(REF)
    world.clock.advance(days=91)
    await world.reconcile(REF)
    first, second = record(world).versions
    assert record(world).key_id == KEY_ID
    assert first.material_id != second.material_id
    assert world.records.writes.count(("create", RecordKind.KEY)) == 1


async def test_a_new_key_in_the_place_of_a_destroyed_one_has_an_id_of_its_own(world: World) -> None:
    world.seeds[REF] = Seed(KEY_ID, MATERIAL)
    world.apply(REF, scheduledDeletion={"pendingWindowInDays": 7})
    await world.reconcile(REF)
    await pass_the_end(world)
    assert record(world).state is KeyState.DESTROYED
    world.apply(REF, annotations={names.NEW_KEY_AFTER_DESTRUCTION: KEY_ID})
    await world.reconcile(REF)
    assert record(world).state is KeyState.ENABLED
    assert record(world).key_id != KEY_ID
