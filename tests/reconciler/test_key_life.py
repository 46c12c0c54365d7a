"""The life of a key on in-memory ports: dependants and the finalizer, windows by two clocks, the tombstone, keys that were set aside."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest
from msgspec import UNSET
from msgspec.structs import replace as changed
from tests.builders import OTHER_UID
from tests.operations.requests import a_blob
from tests.reconciler.fakes import World, away

from keystead.engine.identifiers import RecordKind, orphan_name, record_name
from keystead.engine.plan.common import CrdFacts, NamespaceFacts
from keystead.engine.record import KeyRecord, open_sealed
from keystead.errors import KeysteadError, RecordIntegrityError, StoreUnavailableError
from keystead.operations.effects import drive
from keystead.operations.encryption import DecryptRequest, decrypt
from keystead.operations.world import World as Calls
from keystead.policy import root_caller
from keystead.reconciler.aside import aside_ref
from keystead.reconciler.pipeline import NoNewKeys, OneKey
from keystead.reconciler.ports import Kind, ObjectRef
from keystead.resources import names
from keystead.resources.vocabulary import KeyState

REF = ObjectRef(Kind.KEY, "team-a", "k")
ALIAS = ObjectRef(Kind.ALIAS, "team-a", "a")
GRANT = ObjectRef(Kind.GRANT, "team-a", "g")
DATA_KEY = ObjectRef(Kind.DATA_KEY, "team-a", "d")
USERS = (ALIAS, GRANT, DATA_KEY)
NAME = record_name(RecordKind.KEY, "team-a", "k")
SCHEDULED: dict[str, Any] = {"deletionPolicy": "ScheduleDeletion", "pendingWindowInDays": 7}
PENDING, DESTROYED = KeyState.PENDING_DELETION, KeyState.DESTROYED
LEAVING = NamespaceFacts("0a4c2d3e-0000-4000-8000-000000000001", terminating=True)


def record(world: World, name: str = NAME) -> KeyRecord:
    return open_sealed(world.engine.hsm, world.records.stored[name].sealed, KeyRecord)


async def born(world: World, **spec: Any) -> str:
    world.apply(REF, **spec)
    await world.reconcile(REF)
    return record(world).key_id


async def used(world: World) -> None:
    """One dependant of each kind, and the key's own pass."""
    world.apply(ALIAS, aliasName="alias/a", keyRef={"name": "k"})
    world.apply(GRANT, operations=["Decrypt"], serviceAccountRef={"name": "app"}, keyRef={"name": "k"})
    world.apply(DATA_KEY, keyRef={"name": "k"}, target={"secretName": "s"})
    for ref in (*USERS, REF):
        await world.reconcile(ref)
    assert [world.ready(ref) for ref in USERS] == ["Available"] * 3


async def drop(world: World, *refs: ObjectRef) -> None:
    for ref in refs:
        world.delete(ref)
        await world.reconcile(ref)


def finalizers(world: World) -> list[str]:
    found: list[str] = world.objects.bodies[REF]["metadata"]["finalizers"]
    return found


def opens(world: World, key: KeyRecord, blob: bytes) -> bytes:
    """Decrypt with a key as its namespace's root."""
    hsm = world.engine.hsm
    calls = Calls(
        domain=hsm,
        fast=hsm,
        capabilities=NoNewKeys(),
        keys=OneKey(key, key.namespace_uid),
        region=key.region,
        now=world.clock.now(),
        entropy=hsm.entropy,
    )
    request = DecryptRequest(ciphertext_blob=blob)
    return drive(decrypt(calls, root_caller(key.account, key.namespace), request), lambda _: False, hsm.slow).plaintext


async def pass_the_end(world: World, ref: ObjectRef = REF) -> None:
    """The window ends, and its end is seen twice."""
    world.clock.advance(days=8)
    await world.reconcile(ref)
    world.clock.advance(minutes=10)
    await world.reconcile(ref)


def reasons(world: World) -> list[str]:
    return [reason for _, reason, _ in world.objects.events]


# Birth


async def test_a_hold_that_is_there_from_the_beginning_is_in_the_first_record(world: World) -> None:
    """The key is not open for a moment."""
    world.apply(REF, annotations={names.HOLD: "incident"})
    await world.reconcile(REF)
    assert (record(world).seq, record(world).hold is not UNSET) == (1, True)
    assert reasons(world) == ["Created", "Held"]


async def test_a_deletion_that_is_there_from_the_beginning_is_in_the_first_record(world: World) -> None:
    await born(world, scheduledDeletion={"pendingWindowInDays": 7})
    assert (record(world).seq, record(world).state) == (1, PENDING)
    assert reasons(world) == ["Created", "DeletionScheduled"]


# Dependants and the finalizer


async def test_the_finalizer_comes_with_the_first_dependant_and_goes_with_the_last(world: World) -> None:
    await born(world, **SCHEDULED)
    assert finalizers(world) == []
    await used(world)
    assert finalizers(world) == [names.IN_USE]
    await drop(world, ALIAS, GRANT)
    await world.reconcile(REF)
    assert finalizers(world) == [names.IN_USE]
    await drop(world, DATA_KEY)
    await world.reconcile(REF)
    assert finalizers(world) == []


async def test_a_key_in_use_says_so_and_works_on_while_it_is_deleted(world: World) -> None:
    key_id = await born(world, **SCHEDULED)
    await used(world)
    await drop(world, REF)
    assert world.ready(REF) == "InUse"
    message = world.status(REF)["conditions"][0]["message"]
    assert all(part in message for part in ("KmsAlias a", "KmsGrant g", "KmsDataKey d"))
    assert world.status(REF)["dependents"] == {"aliases": 1, "grants": 1, "dataKeys": 1}
    assert record(world).state is KeyState.ENABLED
    await drop(world, *USERS)
    await world.reconcile(REF)
    assert REF not in world.objects.bodies
    await world.reconcile(REF)
    assert (record(world).state, record(world).bound) == (PENDING, False)
    assert await born(world, **SCHEDULED) == key_id
    assert record(world).state is KeyState.DISABLED


async def test_a_finalizer_that_was_taken_by_hand_leaves_an_orphan_that_decrypts(world: World) -> None:
    await born(world, **SCHEDULED)
    await used(world)
    blob = a_blob(world.engine.hsm, record(world), None)
    plain = opens(world, record(world), blob)
    world.objects.bodies[REF]["metadata"]["finalizers"] = []
    await drop(world, REF)
    assert (record(world).state, record(world).bound) == (KeyState.ENABLED, False)
    assert opens(world, record(world), blob) == plain
    for ref in USERS[:2]:
        await drop(world, ref)
        assert (await world.reconcile(REF)).again_in is not None
        assert record(world).state is KeyState.ENABLED
    await drop(world, DATA_KEY)
    world.restart()
    await world.reconcile(REF)
    assert record(world).state is PENDING


@pytest.mark.parametrize("trouble", [None, away(), RecordIntegrityError("the seal")])
async def test_a_namespace_that_ends_is_never_held_up(world: World, trouble: KeysteadError | None) -> None:
    await born(world, **SCHEDULED)
    await used(world)
    world.objects.namespaces["team-a"] = LEAVING
    world.delete(REF)
    if isinstance(trouble, RecordIntegrityError):
        world.records.fail("get", trouble)
    else:
        world.engine_error = trouble
    with suppress(KeysteadError):
        await world.reconcile(REF)
    assert REF not in world.objects.bodies
    world.engine_error = None
    await world.reconcile(REF)
    assert (record(world).state, record(world).bound) == (KeyState.ENABLED, True)


async def test_a_key_in_use_is_held_while_its_record_cannot_be_read(world: World) -> None:
    await born(world, **SCHEDULED)
    await used(world)
    world.delete(REF)
    world.engine_error = away()
    await world.reconcile(REF)
    assert finalizers(world) == [names.IN_USE]


async def test_a_finalizer_is_written_by_the_leader_only(world: World) -> None:
    await born(world, **SCHEDULED)
    await used(world)
    await drop(world, *USERS)
    world.leadership.leading = False
    with pytest.raises(KeysteadError):
        await world.reconcile(REF)
    assert finalizers(world) == [names.IN_USE]


# Gone, and not gone


def _namespace_ends(world: World) -> None:
    world.objects.namespaces["team-a"] = LEAVING


def _crd_ends(world: World) -> None:
    world.objects.crds[Kind.KEY] = CrdFacts(world.objects.crds[Kind.KEY].uid, terminating=True)


def _crd_goes(world: World) -> None:
    del world.objects.crds[Kind.KEY]


def _crd_is_made_again(world: World) -> None:
    world.objects.crds[Kind.KEY] = CrdFacts("made-again")


def _namespace_is_made_again(world: World) -> None:
    world.objects.namespaces["team-a"] = NamespaceFacts(OTHER_UID)


NOT_GONE = [_namespace_ends, _crd_ends, _crd_goes, _crd_is_made_again, _namespace_is_made_again]


@pytest.mark.parametrize("happens", NOT_GONE)
@pytest.mark.parametrize("spec", [SCHEDULED, {}, {"scheduledDeletion": {"pendingWindowInDays": 7}}])
async def test_an_object_that_is_not_gone_changes_nothing_for_a_year(
    world: World, happens: Callable[[World], None], spec: dict[str, Any]
) -> None:
    await born(world, **spec)
    before = record(world)
    happens(world)
    world.delete(REF)
    for _ in range(4):
        outcome = await world.reconcile(REF)
        assert outcome.again_in is not None
        assert outcome.again_in > 0
        world.clock.advance(days=100)
    assert record(world) == before


async def test_a_crd_that_was_made_again_counts_once_the_object_was_seen(world: World) -> None:
    key_id = await born(world, **SCHEDULED)
    _crd_is_made_again(world)
    world.delete(REF)
    await world.reconcile(REF)
    assert record(world).state is KeyState.ENABLED
    assert await born(world, **SCHEDULED) == key_id
    await drop(world, REF)
    assert record(world).state is PENDING


# Windows


async def test_a_key_is_destroyed_once_its_end_was_seen_twice(world: World) -> None:
    key_id = await born(world, scheduledDeletion={"pendingWindowInDays": 7})
    world.clock.advance(days=7, seconds=1)
    outcome = await world.reconcile(REF)
    assert outcome.again_in is not None
    assert 0 < outcome.again_in <= 61
    world.clock.advance(minutes=9, seconds=59)
    await world.reconcile(REF)
    assert record(world).state is PENDING
    world.clock.advance(seconds=1)
    await world.reconcile(REF)
    dead = record(world)
    assert (dead.state, [version.wrapped for version in dead.versions]) == (DESTROYED, [UNSET])
    assert world.engine.forgotten == [bytes.fromhex(key_id.replace("-", ""))]
    assert (world.ready(REF), world.status(REF)["keyState"]) == ("KeyDestroyed", "Destroyed")
    for _ in range(3):
        await world.reconcile(REF)
    assert [reason for reason in reasons(world) if reason != "Created"] == ["DeletionScheduled", "Destroyed"]


async def test_a_key_without_an_object_is_destroyed_too_and_then_left_alone(world: World) -> None:
    await born(world, **SCHEDULED)
    await drop(world, REF)
    await pass_the_end(world)
    assert record(world).state is DESTROYED
    assert (await world.reconcile(REF)).again_in is None


async def test_a_tombstone_whose_object_went_is_not_looked_at_for_ever(world: World) -> None:
    await born(world, scheduledDeletion={"pendingWindowInDays": 7})
    await pass_the_end(world)
    world.delete(REF)
    assert (await world.reconcile(REF)).again_in is None
    assert not record(world).bound


async def test_a_clock_that_jumps_a_month_for_a_minute_destroys_nothing(world: World) -> None:
    await born(world, scheduledDeletion={"pendingWindowInDays": 7})
    await born(world, scheduledDeletion={"pendingWindowInDays": 7})
    for _ in range(3):
        world.clock.step(days=30)
        outcome = await world.reconcile(REF)
        assert outcome.again_in is not None
        world.clock.advance(seconds=outcome.again_in)
        world.clock.step(days=-30)
        await world.reconcile(REF)
        world.clock.advance(minutes=11)
    assert record(world).state is PENDING


async def test_a_new_process_begins_to_look_again(world: World) -> None:
    await born(world, **SCHEDULED)
    await drop(world, REF)
    world.clock.advance(days=8)
    for _ in range(3):
        await world.reconcile(REF)
        world.clock.advance(minutes=9)
        world.restart()
    assert record(world).state is PENDING
    await world.reconcile(REF)
    world.clock.advance(minutes=10)
    await world.reconcile(REF)
    assert record(world).state is DESTROYED


async def test_a_window_that_was_cancelled_between_the_two_looks_begins_again(world: World) -> None:
    await born(world, scheduledDeletion={"pendingWindowInDays": 7})
    world.clock.advance(days=8)
    await world.reconcile(REF)
    await born(world, scheduledDeletion={"pendingWindowInDays": 7}, enabled=True)
    world.apply(REF, annotations={names.CANCEL_DELETION: "true"}, scheduledDeletion={"pendingWindowInDays": 7}, enabled=True)
    await world.reconcile(REF)
    assert record(world).state is KeyState.ENABLED
    await born(world, scheduledDeletion={"pendingWindowInDays": 7})
    world.clock.advance(minutes=11)
    await world.reconcile(REF)
    assert record(world).state is PENDING
    assert record(world).deletion_date > world.clock.now().isoformat()
    assert reasons(world).count("DeletionScheduled") == 2
    assert reasons(world).count("DeletionCancelled") == 1


async def test_a_window_that_is_over_but_stopped_by_a_person_is_no_busy_loop(world: World) -> None:
    await born(world, scheduledDeletion={"pendingWindowInDays": 7})
    world.apply(REF, scheduledDeletion={"pendingWindowInDays": 7}, suspend=True)
    await pass_the_end(world)
    outcome = await world.reconcile(REF)
    assert record(world).state is PENDING
    assert outcome.again_in is not None
    assert outcome.again_in > 60
    await born(world, scheduledDeletion={"pendingWindowInDays": 7})
    assert record(world).state is DESTROYED


async def test_an_operator_that_was_away_during_the_delete_destroys_nothing_early(world: World) -> None:
    await born(world, **SCHEDULED)
    world.delete(REF)
    world.clock.advance(days=60)  # nobody saw it
    world.restart()
    await world.reconcile(REF)
    assert record(world).state is PENDING
    assert record(world).deletion_date > world.clock.now().isoformat()


# Holds


async def test_a_hold_outlives_annotation_window_and_object(world: World) -> None:
    await born(world, **SCHEDULED)
    world.apply(REF, annotations={names.HOLD: "incident"}, **SCHEDULED)
    await world.reconcile(REF)
    for _ in range(2):
        await born(world, enabled=True, **SCHEDULED)
        assert record(world).hold is not UNSET
        assert world.ready(REF) == "Held"
        await drop(world, REF)
    await born(world, enabled=True, **SCHEDULED)
    world.apply(REF, annotations={names.HOLD: "released"}, enabled=True, **SCHEDULED)
    await world.reconcile(REF)
    assert (record(world).hold, world.ready(REF)) == (UNSET, "Available")
    assert reasons(world).count("Released") == 1


async def test_a_held_key_that_is_destroyed_says_destroyed(world: World) -> None:
    world.apply(REF, annotations={names.HOLD: "x"}, scheduledDeletion={"pendingWindowInDays": 7})
    await world.reconcile(REF)
    await world.reconcile(REF)
    assert world.status(REF)["keyState"] == "PendingDeletion"
    await pass_the_end(world)
    assert (world.status(REF)["keyState"], world.ready(REF)) == ("Destroyed", "KeyDestroyed")
    await world.reconcile(REF)
    assert reasons(world).count("Destroyed") == 1


# After destruction


async def test_what_the_api_made_is_deleted_after_its_key_and_other_objects_stay(world: World) -> None:
    made, mine = REF, ObjectRef(Kind.KEY, "team-a", "mine")
    for ref in (made, mine):
        world.apply(ref, scheduledDeletion={"pendingWindowInDays": 7})
    world.objects.bodies[made]["metadata"]["labels"] = {names.CREATED_BY: names.CREATED_BY_API}
    for ref in (made, mine):
        await world.reconcile(ref)
    world.clock.advance(days=8)
    for ref in (made, mine):
        await world.reconcile(ref)
    world.clock.advance(minutes=10)
    for ref in (made, mine):
        await world.reconcile(ref)
    assert made not in world.objects.bodies
    assert world.ready(mine) == "KeyDestroyed"
    assert reasons(world).count("Destroyed") == 2


async def test_aliases_and_grants_end_with_their_key(world: World) -> None:
    await born(world, scheduledDeletion={"pendingWindowInDays": 7})
    world.apply(REF)
    await world.reconcile(REF)
    world.apply(REF, enabled=True)
    await world.reconcile(REF)
    await used(world)
    await born(world, scheduledDeletion={"pendingWindowInDays": 7})
    await pass_the_end(world)
    for ref in (ALIAS, GRANT):
        await world.reconcile(ref)
        assert not world.has_record(ref)
        assert world.ready(ref) == "KeyDestroyed"


async def test_aliases_and_grants_that_the_api_made_go_with_their_key(world: World) -> None:
    await born(world)
    await used(world)
    for ref in (ALIAS, GRANT):
        world.objects.bodies[ref]["metadata"]["labels"] = {names.CREATED_BY: names.CREATED_BY_API}
    await born(world, scheduledDeletion={"pendingWindowInDays": 7})
    await pass_the_end(world)
    for ref in (ALIAS, GRANT):
        await world.reconcile(ref)
        assert ref not in world.objects.bodies
        assert not world.has_record(ref)


async def destroyed(world: World) -> str:
    """A destroyed key with its object; its id."""
    key_id = await born(world, scheduledDeletion={"pendingWindowInDays": 7})
    await pass_the_end(world)
    assert record(world).state is DESTROYED
    return key_id


WRITES = [("create", 0), ("replace", 0), ("lose_reply", 0), ("lose_reply", 1)]


@pytest.mark.parametrize(("method", "number"), WRITES)
async def test_a_new_key_after_destruction_is_made_exactly_once(world: World, method: str, number: int) -> None:
    old = await destroyed(world)
    tomb = record(world)
    world.apply(REF, annotations={names.NEW_KEY_AFTER_DESTRUCTION: old})
    _fail_at(world, method, number)
    with pytest.raises(StoreUnavailableError):
        await world.reconcile(REF)
    world.restart()
    for _ in range(3):
        await world.reconcile(REF)
    new, moved = record(world), record(world, orphan_name(old))
    assert (new.state, new.bound, world.ready(REF)) == (KeyState.ENABLED, True, "Available")
    assert new.key_id != old == moved.key_id
    assert (moved.state, moved.bound, moved.versions) == (DESTROYED, False, tomb.versions)
    assert moved.seq > tomb.seq
    keys = [name for name in world.records.stored if name.startswith(("key-", "orphan-"))]
    assert sorted(keys) == sorted([NAME, orphan_name(old)])
    assert world.status(REF)["keyId"] == new.key_id


def _fail_at(world: World, method: str, number: int) -> None:
    """Fail at the `number`-th call of a method; the ones before go well."""
    calls = {"seen": 0}
    maybe = world.records.maybe

    def count(called: str) -> None:
        if called == method:
            calls["seen"] += 1
            if calls["seen"] == number + 1:
                raise StoreUnavailableError(f"{method} {number}")
        maybe(called)

    world.records.maybe = count  # type: ignore[method-assign]


async def test_the_annotation_of_one_destruction_does_not_answer_the_next(world: World) -> None:
    old = await destroyed(world)
    asked = {names.NEW_KEY_AFTER_DESTRUCTION: old}
    world.apply(REF, annotations=asked, scheduledDeletion={"pendingWindowInDays": 7})
    await world.reconcile(REF)
    await world.reconcile(REF)
    second = record(world).key_id
    await pass_the_end(world)
    await world.reconcile(REF)
    assert (record(world).key_id, record(world).state, world.ready(REF)) == (second, DESTROYED, "KeyDestroyed")


# Set aside


async def set_aside_while_pending(world: World) -> tuple[str, str]:
    """An earlier tenant's pending key, moved out of the way of a new one: (its id, the name of its record)."""
    key_id = await born(world, **SCHEDULED)
    await drop(world, REF)
    _namespace_is_made_again(world)
    world.apply(REF, annotations={names.ADOPT: names.ADOPT_AS_NEW}, uid="new-tenant")
    await world.reconcile(REF)
    assert record(world).key_id != key_id
    return key_id, orphan_name(key_id)


async def test_a_record_that_was_set_aside_while_pending_ends_too(world: World) -> None:
    key_id, name = await set_aside_while_pending(world)
    world.restart()
    aside = aside_ref(name)
    assert (await world.reconcile(aside)).again_in is not None
    await pass_the_end(world, aside)
    assert (record(world, name).state, record(world, name).versions[0].wrapped) == (DESTROYED, UNSET)
    assert bytes.fromhex(key_id.replace("-", "")) in world.engine.forgotten
    assert (await world.reconcile(aside)).again_in is None
    assert record(world).state is KeyState.ENABLED


async def test_a_record_that_was_set_aside_is_looked_at_by_the_leader_with_a_token(world: World) -> None:
    _, name = await set_aside_while_pending(world)
    world.engine_error = away()
    assert (await world.reconcile(aside_ref(name))).failed
    world.engine_error = None
    world.records.fail("get", StoreUnavailableError("away"))
    with pytest.raises(StoreUnavailableError):
        await world.reconcile(aside_ref(name))


async def broken_off(world: World) -> tuple[str, str]:
    """A move that was killed between its two writes: the key has its name still, and a copy lies under `orphan-<id>`."""
    key_id = await born(world, **SCHEDULED)
    await drop(world, REF)
    _namespace_is_made_again(world)
    world.apply(REF, annotations={names.ADOPT: names.ADOPT_AS_NEW}, uid="new-tenant")
    world.records.fail("replace", StoreUnavailableError("killed"))
    with pytest.raises(StoreUnavailableError):
        await world.reconcile(REF)
    world.restart()
    return key_id, orphan_name(key_id)


async def adopted(world: World) -> None:
    """The administrator thinks again: the earlier key is taken over."""
    world.apply(REF, annotations={names.ADOPT: names.ADOPT_TRUE}, enabled=True)
    await world.reconcile(REF)
    assert record(world).state is KeyState.ENABLED


async def test_the_copy_of_a_move_that_was_broken_off_ends_no_living_key(world: World) -> None:
    key_id, name = await broken_off(world)
    await adopted(world)
    await pass_the_end(world, aside_ref(name))
    assert record(world, name).state is PENDING
    assert world.index.record_of(key_id) == NAME
    assert record(world).state is KeyState.ENABLED


async def test_the_copy_ends_with_the_key(world: World) -> None:
    _, name = await broken_off(world)
    await adopted(world)
    await born(world, scheduledDeletion={"pendingWindowInDays": 7})
    await pass_the_end(world)
    for each in (NAME, name):
        assert (record(world, each).state, record(world, each).versions[0].wrapped) == (DESTROYED, UNSET)


async def test_a_copy_that_is_older_than_its_record_is_not_what_is_set_aside(world: World) -> None:
    key_id, name = await broken_off(world)
    await adopted(world)
    world.apply(REF, annotations={names.ROTATE_REQUESTED_AT: "1"}, enabled=True)
    await world.reconcile(REF)
    before = record(world)
    assert before.n_versions == 2
    world.objects.namespaces["team-a"] = replace(world.objects.namespaces["team-a"], uid="third-tenant")
    world.delete(REF)
    world.apply(REF, annotations={names.ADOPT: names.ADOPT_AS_NEW}, uid="third")
    await world.reconcile(REF)
    moved = record(world, name)
    assert changed(moved, seq=before.seq, prev=before.prev, bound=before.bound) == before
    assert record(world).key_id != key_id
