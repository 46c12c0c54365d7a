"""A namespace made again, in memory: what it inherits (nothing), adoption of each kind, `as-new`, and kills between the writes."""

from __future__ import annotations

from typing import Any

import pytest
from tests.builders import OTHER_UID, UID
from tests.reconciler.fakes import INSTALL_ID, World, away

from keystead.engine.identifiers import account_id, orphan_name, root_arn
from keystead.engine.plan.common import NamespaceFacts
from keystead.engine.plan.key_settings import strict_policy
from keystead.engine.record import AliasRecord, DataKeyRecord, GrantRecord, KeyRecord, open_sealed
from keystead.engine.view.manifest import alias_manifest, data_key_manifest, grant_manifest, key_manifest
from keystead.errors import KeysteadError, StoreUnavailableError
from keystead.policy import Action, Decision, Question, evaluate, root_caller
from keystead.reconciler.ports import Kind, ObjectRef
from keystead.resources.vocabulary import KeyState

KEY = ObjectRef(Kind.KEY, "team-a", "k")
ALIAS = ObjectRef(Kind.ALIAS, "team-a", "a")
GRANT = ObjectRef(Kind.GRANT, "team-a", "g")
DATA_KEY = ObjectRef(Kind.DATA_KEY, "team-a", "d")
OTHER = ObjectRef(Kind.KEY, "team-a", "other")
ADOPT = {"kms.keystead.io/adopt": "true"}
AS_NEW = {"kms.keystead.io/adopt": "as-new"}
SPECS: dict[ObjectRef, dict[str, Any]] = {
    KEY: {},
    ALIAS: {"aliasName": "alias/a", "keyRef": {"name": "k"}},
    GRANT: {"keyRef": {"name": "k"}, "serviceAccountRef": {"name": "app"}, "operations": ["Decrypt"]},
    DATA_KEY: {"keyRef": {"name": "k"}, "target": {"secretName": "s"}},
}
EVERYTHING = tuple(SPECS)


async def apply(world: World, *refs: ObjectRef, annotations: dict[str, str] | None = None, **spec: Any) -> None:
    """Apply and reconcile, in this order."""
    for ref in refs:
        world.apply(ref, annotations=annotations, **(spec or SPECS[ref]))
        await world.reconcile(ref)


def made_again(world: World, uid: str = OTHER_UID) -> None:
    """kubectl delete namespace, kubectl create namespace; a new process, which has seen nothing of before."""
    world.objects.bodies.clear()
    world.secrets.secrets.clear()
    world.objects.namespaces["team-a"] = NamespaceFacts(uid)
    world.objects.events.clear()
    world.restart()


def key(world: World, ref: ObjectRef = KEY) -> KeyRecord:
    return world.record(ref, KeyRecord)


def aside(world: World, key_id: str) -> KeyRecord:
    return open_sealed(world.engine.hsm, world.records.stored[orphan_name(key_id)].sealed, KeyRecord)


def told(world: World) -> str:
    """Everything that the namespace's people can read."""
    return str([body["status"] for body in world.objects.bodies.values()]) + str(world.objects.events)


@pytest.fixture
async def before(world: World) -> KeyRecord:
    """One object of each kind of an earlier namespace; its key's record."""
    await apply(world, *EVERYTHING)
    found = key(world)
    made_again(world)
    return found


# Nothing is inherited


async def test_every_kind_of_an_earlier_namespace_needs_adoption(world: World, before: KeyRecord) -> None:
    stored = dict(world.records.stored)
    await apply(world, *EVERYTHING)
    assert {ref: world.ready(ref) for ref in EVERYTHING} == {
        KEY: "AdoptionRequired",
        ALIAS: "AdoptionRequired",
        GRANT: "AdoptionRequired",
        DATA_KEY: "AdoptionRequired",
    }
    assert world.records.stored == stored
    assert world.secrets.secrets == {}
    assert all(word not in told(world) for word in (before.key_id, before.account, "2026-11-01"))


async def test_what_names_an_earlier_namespaces_key_learns_only_that_the_name_is_taken(world: World) -> None:
    await apply(world, KEY)
    record = key(world)
    made_again(world)
    await apply(world, ALIAS, GRANT, DATA_KEY)
    said = {(world.ready(ref), world.status(ref)["conditions"][0]["message"].split("taken")[-1]) for ref in (ALIAS, GRANT, DATA_KEY)}
    assert said == {("DependencyNotReady", " by an earlier namespace's key")}
    assert record.key_id not in told(world)


async def destroyed(world: World) -> KeyRecord:
    """The key of the earlier namespace, destroyed there."""
    await apply(world, KEY, scheduledDeletion={"pendingWindowInDays": 7})
    world.clock.advance(days=8)
    await world.reconcile(KEY)
    world.clock.advance(minutes=11)
    await world.reconcile(KEY)
    assert key(world).state is KeyState.DESTROYED
    return key(world)


async def test_a_destroyed_key_of_an_earlier_namespace_tells_no_more(world: World) -> None:
    """Neither its id nor that it was destroyed, whatever names it."""
    await apply(world, KEY, ALIAS, GRANT)
    record = await destroyed(world)
    made_again(world)
    await apply(world, *EVERYTHING)
    assert record.key_id not in told(world)
    assert "destroyed" not in told(world)
    assert world.ready(KEY) == "AdoptionRequired"


async def test_a_finalizer_that_a_backup_brought_waits_for_nothing_of_an_earlier_namespace(world: World) -> None:
    """Neither does the new tenant's deletion hang on it, nor does it tell that something depends on the old key."""
    await apply(world, KEY, deletionPolicy="ScheduleDeletion")
    await apply(world, ALIAS)
    stored = key(world)
    made_again(world)
    world.apply(KEY)
    world.objects.bodies[KEY]["metadata"]["finalizers"] = ["kms.keystead.io/in-use"]
    await world.reconcile(KEY)
    assert world.objects.bodies[KEY]["metadata"]["finalizers"] == []
    assert world.ready(KEY) == "AdoptionRequired"
    world.delete(KEY)
    await world.reconcile(KEY)
    assert key(world) == stored


# Adoption


async def test_an_adopted_key_is_the_same_and_keeps_its_account(world: World, before: KeyRecord) -> None:
    await apply(world, KEY, annotations=ADOPT)
    record = key(world)
    assert world.ready(KEY) == "Available"
    assert (record.key_id, record.account, record.versions) == (before.key_id, before.account, before.versions)
    assert (record.namespace_uid, record.bound) == (OTHER_UID, True)
    await apply(world, OTHER, description="new")
    assert key(world, OTHER).account == before.account


async def test_a_key_adopted_after_a_new_one_takes_the_new_account(world: World, before: KeyRecord) -> None:
    await apply(world, OTHER, description="new")
    ours = key(world, OTHER).account
    await apply(world, KEY, annotations=ADOPT)
    assert ours != before.account
    assert (key(world).key_id, key(world).account) == (before.key_id, ours)
    assert ours in world.status(KEY)["keyArn"]


async def test_every_kind_is_adopted(world: World, before: KeyRecord) -> None:
    grant = world.record(GRANT, GrantRecord)
    blobs = [version.blob for version in world.record(DATA_KEY, DataKeyRecord).versions]
    await apply(world, *EVERYTHING, annotations=ADOPT)
    assert {world.ready(ref) for ref in EVERYTHING} == {"Available"}
    assert world.record(GRANT, GrantRecord).grant_id == grant.grant_id
    assert [version.blob for version in world.record(DATA_KEY, DataKeyRecord).versions] == blobs
    assert world.secrets.secrets["team-a", "s"].data["ciphertext"] == blobs[0]
    assert world.record(ALIAS, AliasRecord).key_id == before.key_id


async def test_adoption_into_another_account_leaves_no_claim_behind(world: World, before: KeyRecord) -> None:
    """The alias is claimed anew in the new account; a claim of the old one would count as a dependant for ever."""
    await apply(world, OTHER, description="new")
    await apply(world, *EVERYTHING, annotations=ADOPT)
    claim, grant = world.record(ALIAS, AliasRecord), world.record(GRANT, GrantRecord)
    assert (claim.account, claim.key_id) == (key(world).account, before.key_id)
    assert grant.grantee_principal == f"arn:aws:iam::{claim.account}:role/app"
    assert world.index.dependants(before.key_id, "team-a").aliases == ("a",)
    for ref in (ALIAS, GRANT, DATA_KEY):
        world.delete(ref)
        await world.reconcile(ref)
    assert not world.index.dependants(before.key_id, "team-a")


@pytest.mark.parametrize("fault", ["replace", "lose_reply"])
@pytest.mark.parametrize("write", range(3))
async def test_an_adoption_survives_a_kill_at_each_write(world: World, before: KeyRecord, fault: str, write: int) -> None:
    """The account, the record's namespace, its object. A kill before or after each gives the same key and account."""
    await interrupted(world, fault, write, ADOPT)
    assert world.ready(KEY) == "Available"
    assert (key(world).key_id, key(world).account, key(world).namespace_uid) == (before.key_id, before.account, OTHER_UID)


async def interrupted(world: World, fault: str, write: int, annotations: dict[str, str]) -> None:
    """Adopt; the n-th write fails, or its answer is lost, and the process with it; a new one goes on."""
    allowed = [0]
    for method in ("create", "replace"):
        _count(world, method, fault, write, allowed)
    world.apply(KEY, annotations=annotations)
    try:
        await world.reconcile(KEY)
    except KeysteadError:
        world.restart()
        await world.reconcile(KEY)


def _count(world: World, method: str, fault: str, write: int, seen: list[int]) -> None:
    real = getattr(world.records, method)

    async def call(*arguments: Any) -> Any:
        seen[0] += 1
        if seen[0] - 1 == write:
            if fault == "lose_reply":
                await real(*arguments)
            raise StoreUnavailableError("away")
        return await real(*arguments)

    setattr(world.records, method, call)


# As new


async def test_as_new_gives_a_new_key_and_sets_the_old_one_aside(world: World, before: KeyRecord) -> None:
    await apply(world, KEY, annotations=AS_NEW)
    assert world.ready(KEY) == "Available"
    new, old = key(world), aside(world, before.key_id)
    assert (new.key_id != before.key_id, new.account != before.account) == (True, True)
    assert (new.seq, new.namespace_uid) == (2, OTHER_UID)
    assert (old.key_id, old.versions, old.bound, old.seq) == (before.key_id, before.versions, False, before.seq + 1)
    assert (old.namespace_uid, old.account) == (UID, before.account)
    assert world.index.record_of(before.key_id) == orphan_name(before.key_id)
    assert world.index.record_of(new.key_id) != orphan_name(before.key_id)


async def test_as_new_is_done_once(world: World, before: KeyRecord) -> None:
    await apply(world, KEY, annotations=AS_NEW)
    new, made = key(world), world.engine.generated
    for _ in range(3):
        await world.reconcile(KEY)
    world.restart()
    await world.reconcile(KEY)
    assert (key(world), world.engine.generated) == (new, made)


async def test_a_tombstone_is_set_aside_like_any_record(world: World) -> None:
    old = await destroyed(world)
    made_again(world)
    await apply(world, KEY, annotations=AS_NEW)
    assert world.ready(KEY) == "Available"
    assert key(world).key_id != old.key_id
    assert aside(world, old.key_id).state is KeyState.DESTROYED


async def test_aliases_and_grants_as_new_are_others_and_a_data_key_is_refused(world: World, before: KeyRecord) -> None:
    grant = world.record(GRANT, GrantRecord)
    blobs = world.record(DATA_KEY, DataKeyRecord)
    await apply(world, *EVERYTHING, annotations=AS_NEW)
    assert {ref: world.ready(ref) for ref in EVERYTHING} == {
        KEY: "Available",
        ALIAS: "Available",
        GRANT: "Available",
        DATA_KEY: "AdoptionRequired",
    }
    assert world.record(GRANT, GrantRecord).grant_id != grant.grant_id
    assert world.record(DATA_KEY, DataKeyRecord) == blobs


@pytest.mark.parametrize("fault", ["before", "lose_reply"])
@pytest.mark.parametrize("write", range(4))
async def test_a_move_survives_a_kill_at_each_write(world: World, before: KeyRecord, fault: str, write: int) -> None:
    """orphan-<id>, the account, the new record (and nothing after it): one new key, and the old one never lost."""
    await interrupted(world, fault, write, AS_NEW)
    assert world.ready(KEY) == "Available"
    old = aside(world, before.key_id)
    assert (old.key_id, old.versions, old.seq) == (before.key_id, before.versions, before.seq + 1)
    assert key(world).key_id != before.key_id
    assert sum(name.startswith("orphan-") for name in world.records.stored) == 1
    assert sum(name.startswith("account-") for name in world.records.stored) == 2
    assert world.index.record_of(before.key_id) == orphan_name(before.key_id)


async def test_a_token_that_goes_away_between_the_writes_of_a_move_loses_nothing(world: World, before: KeyRecord) -> None:
    world.engine.fail("slow", away())
    await apply(world, KEY, annotations=AS_NEW)
    assert world.ready(KEY) == "EngineUnavailable"
    assert before.key_id not in told(world)
    assert key(world).versions == before.versions
    await world.reconcile(KEY)
    assert world.ready(KEY) == "Available"


# Identity


async def test_an_object_that_goes_while_its_key_is_generated_leaves_one_orphan(world: World) -> None:
    """The record is written for an object that is gone; the next pass says so, and the same manifest takes the key up."""
    slow = world.engine.slow

    async def deleted_meanwhile(call: Any) -> Any:
        world.delete(KEY)
        return await slow(call)

    world.engine.slow = deleted_meanwhile  # type: ignore[method-assign]
    world.apply(KEY)
    with pytest.raises(KeysteadError):  # its status goes to nobody
        await world.reconcile(KEY)
    world.engine.slow = slow  # type: ignore[method-assign]
    await world.reconcile(KEY)
    orphan = key(world)
    assert not orphan.bound
    await apply(world, KEY)
    assert (key(world).key_id, world.engine.generated) == (orphan.key_id, 1)


async def test_a_policy_of_an_adopted_key_names_the_accounts_that_it_named(world: World) -> None:
    def policy(account: str) -> dict[str, Any]:
        everything = {"Effect": "Allow", "Principal": {"AWS": root_arn(account)}, "Action": "kms:*", "Resource": "*"}
        return {"Version": "2012-10-17", "Statement": [everything]}

    def may(record: KeyRecord) -> bool:
        answer = evaluate(Question(root_caller(record.account, "team-a"), Action.DECRYPT, record, (), {}, world.clock.now()))
        return isinstance(answer, Decision) and answer.allowed

    first = account_id(bytes.fromhex(INSTALL_ID), "team-a", 0)
    await apply(world, KEY, policy=policy(first))
    assert may(key(world))
    made_again(world)
    await apply(world, OTHER, description="claims the namespace's next account")
    await apply(world, KEY, annotations=ADOPT, policy=policy(first))
    adopted = key(world)
    assert adopted.account == key(world, OTHER).account != first
    assert not may(adopted)
    await apply(world, KEY, annotations=ADOPT, policy=policy(adopted.account))
    assert may(key(world))


# An object that is written from its record


CHANGES: list[dict[str, Any]] = [
    {},
    {"enabled": False, "description": "d", "tags": [{"key": "b", "value": "2"}, {"key": "a"}]},
    {"rotation": {"enabled": True, "periodInDays": 90, "windows": [{"cron": "0 3 * * *", "timezone": "UTC", "duration": "2h"}]}},
    {"policy": strict_policy(account_id(bytes.fromhex(INSTALL_ID), "team-a", 0))},
    {"deletionPolicy": "ScheduleDeletion", "pendingWindowInDays": 9, "scheduledDeletion": {"pendingWindowInDays": 8}},
    {"keySpec": "HMAC_256", "keyUsage": "GENERATE_VERIFY_MAC"},
]


@pytest.mark.parametrize("bare", [False, True])
@pytest.mark.parametrize("spec", CHANGES)
async def test_an_object_written_from_its_record_changes_nothing(world: World, spec: dict[str, Any], bare: bool) -> None:
    await apply(world, KEY, **(spec or {"description": ""}))
    before = key(world)
    made_again(world)
    manifest = key_manifest(before, ADOPT, bare=bare)
    world.apply(KEY, annotations=manifest["metadata"]["annotations"], **manifest["spec"])
    await world.reconcile(KEY)
    assert settled(key(world)) == settled(before)
    if not bare:
        assert manifest["spec"] | {"keySpec": 0, "keyUsage": 0, "region": 0} == {**keep(spec), "keySpec": 0, "keyUsage": 0, "region": 0}


def keep(spec: dict[str, Any]) -> dict[str, Any]:
    """The manifest as its record has it: tags in order with a value, a running window without its length."""
    tags = {"tags": [{"key": "a", "value": ""}, {"key": "b", "value": "2"}]} if "tags" in spec else {}
    return spec | tags | ({"scheduledDeletion": {}} if "scheduledDeletion" in spec else {})


def settled(record: KeyRecord) -> tuple[Any, ...]:
    """All that a key is, without whose it is."""
    passing = ("seq", "prev", "namespace_uid", "object_uid", "crd_uid", "bound", "transition")
    return tuple(getattr(record, name) for name in record.__struct_fields__ if name not in passing)


async def test_aliases_grants_and_data_keys_are_written_from_their_records(world: World) -> None:
    await apply(world, KEY, ALIAS)
    await apply(world, GRANT, **SPECS[GRANT], expiresAt="2030-01-01T00:00:00Z", constraints={"encryptionContextSubset": {"a": "b"}})
    await apply(world, DATA_KEY, **SPECS[DATA_KEY], encryptionContext={"app": "x"}, numberOfBytes=20)
    alias, grant, data_key = world.record(ALIAS, AliasRecord), world.record(GRANT, GrantRecord), world.record(DATA_KEY, DataKeyRecord)
    before = key(world)
    made_again(world)
    manifests = {
        KEY: key_manifest(before, ADOPT),
        ALIAS: alias_manifest(alias, "k", ADOPT),
        GRANT: grant_manifest(grant, "k", ADOPT),
        DATA_KEY: data_key_manifest(data_key, "k", ADOPT),
    }
    for ref, manifest in manifests.items():
        assert (manifest["kind"], manifest["metadata"]["name"]) == (ref.kind.value, ref.name)
        world.apply(ref, annotations=manifest["metadata"]["annotations"], **manifest["spec"])
        await world.reconcile(ref)
        assert world.ready(ref) == "Available"
    after = world.record(GRANT, GrantRecord)
    assert (after.grant_id, after.constraints, after.expires_at) == (grant.grant_id, grant.constraints, grant.expires_at)
    assert world.record(DATA_KEY, DataKeyRecord).versions == data_key.versions
    assert world.record(ALIAS, AliasRecord).alias_name == alias.alias_name


