"""Reconcile a KmsAlias on in-memory ports: one claim a name, retarget, release, the end of its key, tenants, kills and lost replies."""

from __future__ import annotations

from dataclasses import replace as changed
from typing import Any

import pytest
from tests.builders import OTHER_UID
from tests.reconciler.fakes import World

from keystead.engine.identifiers import RecordKind, record_name
from keystead.engine.plan.common import CrdFacts, NamespaceFacts
from keystead.engine.record import AliasRecord, KeyRecord
from keystead.errors import ConflictError, StoreUnavailableError
from keystead.reconciler.ports import Kind, ObjectRef, StoredRecord
from keystead.resources import names

KEY = ObjectRef(Kind.KEY, "team-a", "k")
KEY_2 = ObjectRef(Kind.KEY, "team-a", "k2")
REF = ObjectRef(Kind.ALIAS, "team-a", "a")
SECOND = ObjectRef(Kind.ALIAS, "team-a", "second")
SPEC: dict[str, Any] = {"aliasName": "alias/app", "keyRef": {"name": "k"}}
TO_2: dict[str, Any] = {**SPEC, "keyRef": {"name": "k2"}}
ADOPT = {names.ADOPT: names.ADOPT_TRUE}


def record(world: World, ref: ObjectRef = REF) -> AliasRecord:
    return world.record(ref, AliasRecord)


def key_id(world: World, ref: ObjectRef = KEY) -> str:
    return world.record(ref, KeyRecord).key_id


def claims(world: World) -> list[str]:
    return sorted(name for name in world.records.stored if name.startswith("alias-"))


def events(world: World, ref: ObjectRef = REF) -> list[str]:
    uid = world.objects.bodies[ref]["metadata"]["uid"]
    return [reason for who, reason, _ in world.objects.events if who == uid]


async def passes(world: World, *refs: ObjectRef) -> None:
    for ref in refs:
        await world.reconcile(ref)


async def keys(world: World, *refs: ObjectRef, **spec: Any) -> None:
    for ref in refs or (KEY, KEY_2):
        world.apply(ref, **spec)
        await world.reconcile(ref)


async def ready(world: World) -> None:
    """Keys k and k2, and the alias a of k."""
    await keys(world)
    world.apply(REF, **SPEC)
    await world.reconcile(REF)


async def destroy(world: World, ref: ObjectRef = KEY) -> None:
    world.apply(ref, scheduledDeletion={"pendingWindowInDays": 7})
    await world.reconcile(ref)
    world.clock.advance(days=8)
    await world.reconcile(ref)
    world.clock.advance(minutes=11)
    await passes(world, ref, ref)
    assert world.ready(ref) == "KeyDestroyed"


# Claim


async def test_a_new_alias_is_one_record_and_one_event(world: World) -> None:
    await ready(world)
    key = world.record(KEY, KeyRecord)
    assert claims(world) == [record_name(RecordKind.ALIAS, key.account, key.region, "alias/app")]
    assert record(world).key_id == key.key_id == world.status(REF)["targetKeyId"]
    assert (world.ready(REF), events(world)) == ("Available", ["Created"])


async def test_idle_passes_write_nothing(world: World) -> None:
    await ready(world)
    before = len(world.records.writes), len(world.objects.statuses), len(world.objects.events)
    for _ in range(10):
        outcome = await world.reconcile(REF)
        assert outcome.again_in is not None
        world.clock.advance(minutes=5)
    assert before == (len(world.records.writes), len(world.objects.statuses), len(world.objects.events))


async def test_the_first_has_the_name_and_a_freed_one_goes_to_who_waits(world: World) -> None:
    await ready(world)
    world.apply(SECOND, **TO_2)
    await world.reconcile(SECOND)
    assert world.ready(SECOND) == "AliasTaken"
    assert "targetKeyId" not in world.status(SECOND)
    assert record(world).key_id == key_id(world)
    world.delete(REF)
    outcome = await world.reconcile(REF)
    assert (outcome.again_in, claims(world)) == (None, [])
    await world.reconcile(SECOND)
    assert (world.ready(SECOND), events(world, SECOND)) == ("Available", ["Created"])
    assert record(world, SECOND).key_id == key_id(world, KEY_2)


async def test_an_alias_waits_for_its_key(world: World) -> None:
    world.apply(REF, **SPEC)
    await world.reconcile(REF)
    assert (world.ready(REF), claims(world)) == ("DependencyNotFound", [])
    await keys(world, KEY)
    await world.reconcile(REF)
    assert world.ready(REF) == "Available"


async def test_a_lost_reply_claims_once(world: World) -> None:
    await keys(world)
    world.apply(REF, **SPEC)
    world.records.fail("lose_reply", StoreUnavailableError("reply"))
    with pytest.raises(StoreUnavailableError):
        await world.reconcile(REF)
    world.restart()
    await world.reconcile(REF)
    assert (world.ready(REF), record(world).seq) == ("Available", 1)


async def test_a_kill_between_record_and_status_says_the_same_once(world: World) -> None:
    await keys(world)
    world.apply(REF, **SPEC)
    world.objects.fail("apply_status", StoreUnavailableError("killed"))
    with pytest.raises(StoreUnavailableError):
        await world.reconcile(REF)
    world.restart()
    await world.reconcile(REF)
    assert (world.ready(REF), events(world), len(claims(world))) == ("Available", ["Created"], 1)


async def test_conflicts_for_ever_claim_nothing_and_end_well(world: World) -> None:
    await keys(world)
    world.apply(REF, **SPEC)
    world.records.fail("create", *[ConflictError("409")] * 20)
    for _ in range(20):
        with pytest.raises(ConflictError):
            await world.reconcile(REF)
    assert claims(world) == []
    await world.reconcile(REF)
    assert world.ready(REF) == "Available"


# Retarget


async def test_the_old_key_serves_until_the_write_and_the_new_one_after_it(world: World) -> None:
    await ready(world)
    old, made = key_id(world), record(world).created
    world.clock.advance(hours=1)
    world.apply(REF, **TO_2)
    world.records.fail("replace", StoreUnavailableError("before the write"))
    with pytest.raises(StoreUnavailableError):
        await world.reconcile(REF)
    assert record(world).key_id == old
    world.records.fail("lose_reply", StoreUnavailableError("after the write"))
    with pytest.raises(StoreUnavailableError):
        await world.reconcile(REF)
    after = record(world)
    assert after.key_id == key_id(world, KEY_2)
    world.restart()
    await passes(world, REF, REF)
    assert record(world) == after
    assert (after.created, after.updated > made, after.seq) == (made, True, 2)
    assert (world.status(REF)["targetKeyId"], events(world)) == (after.key_id, ["Created", "Retargeted"])


@pytest.mark.parametrize("state", ["dying", "orphan", "none"])
async def test_a_retarget_that_cannot_be_leaves_the_old_key(world: World, state: str) -> None:
    await ready(world)
    if state == "dying":
        world.apply(KEY_2, scheduledDeletion={})
    else:
        world.delete(KEY_2)
    await world.reconcile(KEY_2)
    world.apply(REF, **(TO_2 if state != "none" else {**SPEC, "keyRef": {"name": "no-such-key"}}))
    await world.reconcile(REF)
    assert world.ready(REF) == ("DependencyNotReady" if state == "dying" else "DependencyNotFound")
    assert record(world).key_id == key_id(world) == world.status(REF)["targetKeyId"]
    world.apply(REF, **SPEC)
    await world.reconcile(REF)
    assert world.ready(REF) == "Available"


async def test_a_key_of_another_region_is_refused_and_the_old_one_serves_on(world: World) -> None:
    await ready(world)
    abroad = ObjectRef(Kind.KEY, "team-a", "abroad")
    await keys(world, abroad, region="elsewhere-1")
    before = record(world)
    world.apply(REF, **{**SPEC, "keyRef": {"name": "abroad"}})
    await world.reconcile(REF)
    assert world.ready(REF) == "InvalidSpec"
    assert record(world) == before
    world.apply(REF, **TO_2)
    await world.reconcile(REF)
    assert (world.ready(REF), record(world).key_id) == ("Available", key_id(world, KEY_2))


async def test_a_suspended_alias_neither_moves_nor_claims(world: World) -> None:
    await ready(world)
    before = record(world)
    world.apply(REF, suspend=True, **TO_2)
    world.apply(SECOND, suspend=True, aliasName="alias/other", keyRef={"name": "k"})
    await passes(world, REF, SECOND)
    assert (world.ready(REF), world.ready(SECOND)) == ("Suspended", "Suspended")
    assert (record(world), len(claims(world))) == (before, 1)
    world.apply(REF, **TO_2)
    await world.reconcile(REF)
    assert record(world).key_id == key_id(world, KEY_2)


# Release


@pytest.mark.parametrize("key_is_there", [True, False])
async def test_an_object_made_again_under_another_name_releases_the_old_one(world: World, key_is_there: bool) -> None:
    await ready(world)
    world.delete(REF)
    reference = {"name": "k" if key_is_there else "no-such-key"}
    world.apply(REF, uid="uid-of-the-second", aliasName="alias/renamed", keyRef=reference)
    await world.reconcile(REF)
    world.apply(SECOND, **TO_2)
    await world.reconcile(SECOND)
    assert world.ready(SECOND) == "Available"
    assert world.ready(REF) == ("Available" if key_is_there else "DependencyNotFound")
    assert len(claims(world)) == 1 + key_is_there


async def test_an_object_made_again_keeps_its_name(world: World) -> None:
    await ready(world)
    world.delete(REF)
    world.apply(REF, uid="uid-of-the-second", **SPEC)
    await world.reconcile(REF)
    assert (record(world).object_uid, record(world).seq) == ("uid-of-the-second", 2)
    assert events(world) == ["Reattached"]


async def test_a_lost_reply_of_a_delete_is_no_integrity_fault(world: World) -> None:
    await ready(world)
    world.delete(REF)
    gone = world.records.delete

    async def lose(name: str, resource_version: str) -> None:
        await gone(name, resource_version)
        world.records.delete = gone  # type: ignore[method-assign]
        raise StoreUnavailableError("reply")

    world.records.delete = lose  # type: ignore[method-assign]
    with pytest.raises(StoreUnavailableError):
        await world.reconcile(REF)
    world.apply(REF, uid="uid-of-the-second", **SPEC)
    await world.reconcile(REF)
    assert (world.ready(REF), record(world).seq) == ("Available", 1)


async def test_a_missing_record_that_nobody_deleted_by_right_is_told(world: World) -> None:
    await ready(world)
    (name,) = claims(world)
    del world.records.stored[name]
    world.restart()
    await world.reconcile(REF)
    assert (world.ready(REF), claims(world)) == ("RecordIntegrity", [])


async def test_a_crd_made_again_releases_nothing_until_the_object_was_seen(world: World) -> None:
    await ready(world)
    body = world.objects.bodies.pop(REF)
    for crd in (None, CrdFacts("crd-KmsAlias", terminating=True), CrdFacts("made-again")):
        world.objects.crds = {**world.objects.crds, Kind.ALIAS: crd}  # type: ignore[dict-item]
        outcome = await world.reconcile(REF)
        assert outcome.again_in is not None
        assert len(claims(world)) == 1
    world.objects.bodies[REF] = body
    await world.reconcile(REF)
    assert record(world).crd_uid == "made-again"
    world.delete(REF)
    await world.reconcile(REF)
    assert claims(world) == []


# The end of the key


async def test_an_alias_of_a_destroyed_key_ends_and_a_new_key_does_not_inherit_it(world: World) -> None:
    await ready(world)
    await destroy(world)
    await world.reconcile(REF)
    assert (world.ready(REF), claims(world)) == ("KeyDestroyed", [])
    world.clock.advance(hours=1)
    world.apply(KEY, annotations={names.NEW_KEY_AFTER_DESTRUCTION: key_id(world)})
    await world.reconcile(KEY)
    assert world.ready(KEY) == "Available"
    for _ in range(2):
        await world.reconcile(REF)
        assert (world.ready(REF), claims(world)) == ("KeyDestroyed", [])
        world.restart()
    world.delete(REF)
    await world.reconcile(REF)
    world.apply(REF, **SPEC)
    await world.reconcile(REF)
    assert world.ready(REF) == "Available"
    assert record(world).key_id == world.status(KEY)["keyId"]


async def test_a_destroyed_key_frees_the_name(world: World) -> None:
    await ready(world)
    world.apply(SECOND, **TO_2)
    await destroy(world)
    await passes(world, REF, SECOND)
    assert (world.ready(REF), world.ready(SECOND)) == ("KeyDestroyed", "Available")


# Tenants


async def test_an_earlier_namespaces_name_must_be_adopted(world: World) -> None:
    await ready(world)
    first = record(world)
    del world.objects.bodies[REF], world.objects.bodies[KEY]
    world.objects.namespaces["team-a"] = NamespaceFacts(OTHER_UID)
    await passes(world, REF, KEY)
    assert record(world) == first
    world.apply(KEY)
    world.apply(REF, **SPEC)
    await passes(world, KEY, REF)
    assert (world.ready(KEY), world.ready(REF)) == ("AdoptionRequired", "AdoptionRequired")
    assert first.key_id not in str(world.status(REF))
    world.apply(KEY, annotations=ADOPT)
    await passes(world, KEY, REF)
    assert world.ready(REF) == "AdoptionRequired"
    world.apply(REF, annotations=ADOPT, **SPEC)
    await world.reconcile(REF)
    assert (world.ready(REF), events(world)[-1]) == ("Available", "Adopted")
    assert changed_only(first, record(world)) == {"namespace_uid", "object_uid", "seq", "prev"}


def changed_only(before: AliasRecord, after: AliasRecord) -> set[str]:
    return {name for name in before.__struct_fields__ if getattr(before, name) != getattr(after, name)}


async def test_an_alias_follows_its_adopted_key_to_another_account(world: World) -> None:
    """The namespace had an account of its own before its earlier key was adopted; the earlier claim depends on the key no more."""
    await ready(world)
    old, account = key_id(world), record(world).account
    del world.objects.bodies[REF], world.objects.bodies[KEY]
    world.objects.namespaces["team-a"] = NamespaceFacts(OTHER_UID)
    world.apply(ObjectRef(Kind.KEY, "team-a", "of-its-own"))
    await world.reconcile(ObjectRef(Kind.KEY, "team-a", "of-its-own"))
    world.apply(KEY, annotations=ADOPT)
    world.apply(REF, **SPEC)
    await passes(world, KEY, REF)
    assert world.ready(REF) == "Available"
    assert (record(world).key_id, record(world).account != account) == (old, True)
    assert len(claims(world)) == 1
    world.delete(REF)
    await world.reconcile(REF)
    assert not world.index.dependants(old, "team-a")


async def test_a_new_namespaces_alias_does_not_end_with_an_earlier_ones_key(world: World) -> None:
    """The earlier key's window ends while the new tenant's alias still waits for a key of its own."""
    await keys(world, KEY, deletionPolicy="ScheduleDeletion")
    world.apply(KEY, scheduledDeletion={"pendingWindowInDays": 7})
    await world.reconcile(KEY)
    del world.objects.bodies[KEY]
    world.objects.namespaces["team-a"] = NamespaceFacts(OTHER_UID)
    world.apply(REF, **SPEC)
    world.apply(KEY, annotations={names.ADOPT: names.ADOPT_AS_NEW}, scheduledDeletion={})
    await passes(world, KEY, REF)
    assert world.ready(REF) == "DependencyNotReady"
    aside = next(name for name in world.records.stored if name.startswith("orphan-"))
    world.clock.advance(days=8)
    await world.reconcile(ObjectRef(Kind.KEY, "", aside))
    world.clock.advance(minutes=11)
    await world.reconcile(ObjectRef(Kind.KEY, "", aside))
    world.apply(KEY, annotations={names.ADOPT: names.ADOPT_AS_NEW}, enabled=True)
    await passes(world, KEY, REF)
    assert (world.ready(KEY), world.ready(REF)) == ("Available", "Available")


async def test_in_a_terminating_namespace_nothing_is_claimed_and_nothing_released(world: World) -> None:
    await ready(world)
    world.objects.namespaces["team-a"] = changed(world.objects.namespaces["team-a"], terminating=True)
    world.apply(SECOND, aliasName="alias/other", keyRef={"name": "k"})
    await world.reconcile(SECOND)
    world.delete(REF)
    await world.reconcile(REF)
    assert (world.ready(SECOND), len(claims(world))) == ("Creating", 1)


async def test_an_idle_pass_reads_each_record_once(world: World) -> None:
    await ready(world)
    asked: list[str] = []
    found = world.records.get

    async def get(name: str) -> StoredRecord | None:
        asked.append(name.split("-", maxsplit=1)[0])
        return await found(name)

    world.records.get = get  # type: ignore[method-assign]
    await world.reconcile(REF)
    assert sorted(asked) == ["alias", "key"]
