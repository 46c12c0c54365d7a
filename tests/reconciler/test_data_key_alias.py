"""Reconcile a KmsDataKey that names an alias: what a move changes and when, what it depends on, and what waits for the alias."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from tests.builders import OTHER_UID
from tests.reconciler.fakes import World

from keystead.engine.plan.common import Dependants, NamespaceFacts
from keystead.engine.record import DataKeyRecord, DataKeyVersion, KeyRecord
from keystead.errors import ConflictError
from keystead.operations.effects import drive
from keystead.operations.encryption import DecryptRequest, decrypt
from keystead.operations.world import World as Operations
from keystead.policy import root_caller
from keystead.reconciler.pipeline import NoNewKeys, OneKey
from keystead.reconciler.ports import Kind, ObjectRef
from keystead.resources import names
from keystead.resources.vocabulary import KeyState

OLD = ObjectRef(Kind.KEY, "team-a", "old")
NEW = ObjectRef(Kind.KEY, "team-a", "new")
ALIAS = ObjectRef(Kind.ALIAS, "team-a", "a")
REF = ObjectRef(Kind.DATA_KEY, "team-a", "d")
SPEC: dict[str, Any] = {"aliasRef": {"name": "a"}, "target": {"secretName": "s"}}


def record(world: World) -> DataKeyRecord:
    return world.record(REF, DataKeyRecord)


def key(world: World, ref: ObjectRef) -> KeyRecord:
    return world.record(ref, KeyRecord)


def under(world: World) -> list[str]:
    """The key ids of the versions, oldest first."""
    return [version.key_arn.rpartition("/")[2] for version in record(world).versions]


def opened(world: World, version: DataKeyVersion, under_key: ObjectRef) -> bytes:
    """The plaintext of a version, under that key only."""
    one = key(world, under_key)
    hsm = world.engine.hsm
    where = Operations(
        domain=hsm,
        fast=hsm,
        capabilities=NoNewKeys(),
        keys=OneKey(one, one.namespace_uid),
        region=one.region,
        now=world.clock.now(),
        entropy=hsm.entropy,
    )
    request = DecryptRequest(ciphertext_blob=version.blob, encryption_context=version.encryption_context)
    answer: bytes = drive(decrypt(where, root_caller(one.account, one.namespace), request), lambda _: False, hsm.slow).plaintext
    return answer


async def passes(world: World, *refs: ObjectRef) -> None:
    for ref in refs:
        await world.reconcile(ref)


async def point(world: World, ref: ObjectRef) -> None:
    world.apply(ALIAS, aliasName="alias/app", keyRef={"name": ref.name})
    await world.reconcile(ALIAS)


async def rotate(world: World, ref: ObjectRef, value: str, **spec: Any) -> None:
    world.apply(ref, annotations={names.ROTATE_REQUESTED_AT: value}, **spec)
    await world.reconcile(ref)


async def ready(world: World) -> None:
    """Keys old and new, the alias on old, and a data key by it."""
    world.apply(OLD)
    world.apply(NEW)
    await passes(world, OLD, NEW)
    await point(world, OLD)
    world.apply(REF, **SPEC)
    await world.reconcile(REF)


async def test_a_moved_alias_changes_nothing_until_the_next_rotation(world: World) -> None:
    await ready(world)
    first, secret = record(world), dict(world.secrets.secrets["team-a", "s"].data)
    await point(world, NEW)
    await world.reconcile(REF)
    assert (record(world), world.ready(REF)) == (first, "Available")
    assert world.secrets.secrets["team-a", "s"].data == secret
    await rotate(world, REF, "1", **SPEC)
    old, new = key(world, OLD).key_id, key(world, NEW).key_id
    assert (under(world), record(world).key_id, world.status(REF)["keyName"]) == ([old, new], new, "new")
    assert record(world).versions[0] == first.versions[0]
    assert world.secrets.secrets["team-a", "s"].data["ciphertext"] == record(world).versions[1].blob


async def test_old_versions_open_and_are_rewrapped_only_under_their_own_key(world: World) -> None:
    await ready(world)
    await point(world, NEW)
    await rotate(world, REF, "1", **SPEC)
    plain = [opened(world, v, ref) for v, ref in zip(record(world).versions, (OLD, NEW), strict=True)]
    before = record(world)
    await rotate(world, NEW, "1")
    await world.reconcile(REF)
    assert under(world) == [key(world, OLD).key_id, key(world, NEW).key_id]
    assert record(world).versions[0] == before.versions[0]
    assert record(world).versions[1].blob != before.versions[1].blob
    assert record(world).versions[1].key_material_id == key(world, NEW).current_version.material_id
    await rotate(world, OLD, "1")
    await world.reconcile(REF)
    assert (world.ready(REF), world.status(REF)["rewrap"]["total"]) == ("Available", 1)
    assert [opened(world, v, ref) for v, ref in zip(record(world).versions, (OLD, NEW), strict=True)] == plain


async def test_a_data_key_depends_on_every_key_of_its_versions(world: World) -> None:
    await ready(world)
    old, new = key(world, OLD).key_id, key(world, NEW).key_id
    await point(world, NEW)
    await rotate(world, REF, "1", **SPEC)
    for _ in range(2):
        assert world.index.dependants(old, "team-a") == Dependants(data_keys=("d",))
        assert world.index.dependants(new, "team-a") == Dependants(aliases=("a",), data_keys=("d",))
        world.restart()
    world.delete(REF)
    await world.reconcile(REF)
    assert not world.index.dependants(old, "team-a")


async def test_a_key_of_old_versions_is_held_in_use(world: World) -> None:
    """Its deletion would make a version unreadable that was issued and may be in use."""
    await ready(world)
    await point(world, NEW)
    await rotate(world, REF, "1", **SPEC)
    world.apply(OLD, deletionPolicy="ScheduleDeletion")
    await world.reconcile(OLD)
    world.delete(OLD)
    await world.reconcile(OLD)
    assert world.ready(OLD) == "InUse"
    world.delete(REF)
    await world.reconcile(REF)
    with suppress(ConflictError):  # the status of an object that ends with its finalizer
        await world.reconcile(OLD)
    await world.reconcile(OLD)
    assert key(world, OLD).state is KeyState.PENDING_DELETION


async def test_a_missing_alias_heals_when_it_appears(world: World) -> None:
    world.apply(OLD)
    world.apply(REF, **SPEC)
    await passes(world, OLD, REF)
    assert (world.ready(REF), world.has_record(REF)) == ("DependencyNotFound", False)
    await point(world, OLD)
    await world.reconcile(REF)
    assert world.ready(REF) == "Available"


async def test_a_rotation_waits_for_an_alias_that_is_gone_and_the_secret_stays(world: World) -> None:
    await ready(world)
    before = dict(world.secrets.secrets["team-a", "s"].data)
    world.delete(ALIAS)
    await passes(world, ALIAS, REF)
    assert world.ready(REF) == "Available"  # nothing is due
    await rotate(world, REF, "1", **SPEC)
    assert (world.ready(REF), len(record(world).versions)) == ("DependencyNotFound", 1)
    del world.secrets.secrets["team-a", "s"]
    await world.reconcile(REF)
    assert world.secrets.secrets["team-a", "s"].data == before
    await point(world, NEW)
    await world.reconcile(REF)
    assert (world.ready(REF), len(record(world).versions)) == ("Available", 2)


async def test_a_claim_of_an_earlier_namespace_leads_nowhere(world: World) -> None:
    await ready(world)
    for ref in (ALIAS, OLD, REF):
        world.objects.bodies.pop(ref)
    world.objects.namespaces["team-a"] = NamespaceFacts(OTHER_UID)
    fresh = ObjectRef(Kind.DATA_KEY, "team-a", "fresh")
    world.apply(ALIAS, aliasName="alias/app", keyRef={"name": "old"})
    world.apply(fresh, aliasRef={"name": "a"}, target={"secretName": "fresh"})
    await passes(world, ALIAS, fresh)
    assert (world.ready(fresh), world.has_record(fresh)) == ("DependencyNotFound", False)


async def test_without_an_alias_that_is_there_nothing_is_made(world: World) -> None:
    world.apply(REF, target={"secretName": "s"}, aliasRef={"name": "no-such-alias"})
    await world.reconcile(REF)
    assert (world.ready(REF), world.has_record(REF)) == ("DependencyNotFound", False)
