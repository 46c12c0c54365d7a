"""alias/aws/keystead by reconciling: made once, on first use; rotated yearly; used by data keys only. And Keystead's own key."""

from __future__ import annotations

import asyncio
import json

import pytest
from tests.builders import OTHER_UID
from tests.reconciler.fakes import World

from keystead.engine.identifiers import RECORDS_NAMESPACE, RecordKind, account_id, record_name
from keystead.engine.managed import AUDIT_KEY, DATA_KEYS_SERVICE, audit_policy, managed_policy, serves_data_keys
from keystead.engine.plan.common import NamespaceFacts
from keystead.engine.record import AccountRecord, DataKeyRecord, KeyRecord, open_sealed
from keystead.errors import FencedError
from keystead.reconciler.own import AUDIT_REF
from keystead.reconciler.ports import Kind, ObjectRef
from keystead.resources import names
from keystead.resources.vocabulary import DeletionPolicy, KeySpec, KeyUsage

KEY = ObjectRef(Kind.KEY, "team-a", "aws-keystead")


def data_key(n: int = 1) -> ObjectRef:
    return ObjectRef(Kind.DATA_KEY, "team-a", f"d{n}")


async def first_use(world: World, ref: ObjectRef | None = None) -> None:
    ref = ref or data_key()
    world.apply(ref, target={"secretName": ref.name})
    for each in (ref, KEY, ref):
        await world.reconcile(each)


async def test_the_first_use_makes_an_ordinary_key_with_the_policy_of_an_aws_managed_one(world: World) -> None:
    await first_use(world)
    body, key = world.objects.bodies[KEY], world.record(KEY, KeyRecord)
    assert world.ready(data_key()) == "Available"
    assert body["spec"]["policy"] == managed_policy(key.account)
    assert json.loads(key.policy or b"") == managed_policy(key.account)
    assert serves_data_keys(key)
    assert (key.spec, key.usage, key.deletion_policy) == (KeySpec.SYMMETRIC_DEFAULT, KeyUsage.ENCRYPT_DECRYPT, DeletionPolicy.RETAIN)
    assert (key.rotation.enabled, key.rotation.period) == (True, 365)  # type: ignore[union-attr]
    assert DATA_KEYS_SERVICE in json.dumps(body["spec"]["policy"])
    assert world.record(data_key(), DataKeyRecord).key_id == key.key_id


async def test_two_at_once_make_one(world: World) -> None:
    refs = [data_key(n) for n in range(8)]
    for ref in refs:
        world.apply(ref, target={"secretName": ref.name})
    await asyncio.gather(*(world.reconcile(ref) for ref in refs))
    made = [ref for ref in world.objects.bodies if ref.kind is Kind.KEY]
    assert made == [KEY]
    await world.reconcile(KEY)
    for ref in refs:
        await world.reconcile(ref)
    assert {world.record(ref, DataKeyRecord).key_id for ref in refs} == {world.record(KEY, KeyRecord).key_id}


async def test_it_rotates_after_a_year_and_its_data_keys_follow(world: World) -> None:
    await first_use(world)
    blob = world.record(data_key(), DataKeyRecord).versions[0].blob
    world.clock.advance(days=364)
    await world.reconcile(KEY)
    assert world.record(KEY, KeyRecord).n_versions == 1
    world.clock.advance(days=2)
    await world.reconcile(KEY)
    assert world.record(KEY, KeyRecord).n_versions == 2
    await world.reconcile(data_key())
    version = world.record(data_key(), DataKeyRecord).versions[0]
    assert version.blob != blob
    assert version.key_material_id == world.record(KEY, KeyRecord).current_version.material_id


async def test_an_object_that_was_taken_away_is_made_again_and_holds_the_same_key(world: World) -> None:
    await first_use(world)
    before = world.record(KEY, KeyRecord)
    world.delete(KEY)
    await world.reconcile(KEY)
    assert not world.record(KEY, KeyRecord).bound
    for ref in (data_key(), KEY, data_key()):
        await world.reconcile(ref)
    after = world.record(KEY, KeyRecord)
    assert (after.key_id, after.bound, after.policy) == (before.key_id, True, before.policy)
    assert world.ready(data_key()) == "Available"


async def test_a_key_that_a_tenant_made_under_the_name_is_used_for_nothing(world: World) -> None:
    world.apply(KEY)
    await world.reconcile(KEY)
    await first_use(world)
    assert world.ready(data_key()) == "DependencyNotReady"
    assert not world.has_record(data_key())


async def test_a_namespace_made_again_has_no_use_of_the_earlier_ones_key(world: World) -> None:
    await first_use(world)
    earlier = world.record(KEY, KeyRecord)
    world.objects.namespaces["team-a"] = NamespaceFacts(OTHER_UID)
    for ref in (KEY, data_key()):
        world.delete(ref)
    world.restart()
    await first_use(world, data_key(2))
    assert world.ready(KEY) == "AdoptionRequired"
    assert not world.has_record(data_key(2))
    # An administrator decides; the policy is that of the account that the namespace has now.
    world.apply(KEY, annotations={names.ADOPT: "true"}, **world.objects.bodies[KEY]["spec"])
    for ref in (KEY, data_key(2)):
        await world.reconcile(ref)
    adopted = world.record(KEY, KeyRecord)
    assert adopted.key_id == earlier.key_id
    assert serves_data_keys(adopted)
    assert world.ready(data_key(2)) == "Available"


# Keystead's own key


@pytest.fixture
def records(world: World) -> World:
    world.objects.namespaces[RECORDS_NAMESPACE] = NamespaceFacts("uid-records")
    return world


def own_account(world: World) -> AccountRecord:
    account = account_id(bytes.fromhex("0f" * 16), RECORDS_NAMESPACE, 0)
    stored = world.records.stored[record_name(RecordKind.ACCOUNT, account)]
    return open_sealed(world.engine.hsm, stored.sealed, AccountRecord)


async def test_the_audit_key_is_made_once(records: World) -> None:
    assert await records.own_keys.ensure()
    assert await records.own_keys.ensure()
    await records.reconcile(AUDIT_REF)
    key = records.record(AUDIT_REF, KeyRecord)
    assert (key.name, key.spec, key.usage) == (AUDIT_KEY, KeySpec.ECC_NIST_P256, KeyUsage.SIGN_VERIFY)
    assert (key.deletion_policy, json.loads(key.policy or b"")) == (DeletionPolicy.RETAIN, audit_policy(key.account))
    assert key.account == own_account(records).account_id
    shown = records.objects.bodies[AUDIT_REF]["status"]
    assert shown["publicKey"].startswith("-----BEGIN PUBLIC KEY-----")
    records.delete(AUDIT_REF)
    assert await records.own_keys.ensure()  # again, and it is the same key
    await records.reconcile(AUDIT_REF)
    again = records.record(AUDIT_REF, KeyRecord)
    assert (again.key_id, again.bound, again.n_versions) == (key.key_id, True, 1)


async def test_a_restored_records_namespace_keeps_its_key_and_its_account(records: World) -> None:
    await records.own_keys.ensure()
    await records.reconcile(AUDIT_REF)
    before, account = records.record(AUDIT_REF, KeyRecord), own_account(records)
    records.objects.namespaces[RECORDS_NAMESPACE] = NamespaceFacts("uid-restored")
    records.delete(AUDIT_REF)
    records.restart()
    await records.own_keys.ensure()
    await records.reconcile(AUDIT_REF)
    after = records.record(AUDIT_REF, KeyRecord)
    assert (after.key_id, after.account, after.namespace_uid) == (before.key_id, account.account_id, "uid-restored")
    assert own_account(records).namespace_uid == "uid-restored"


async def test_the_audit_key_is_not_made_without_its_namespace_or_the_lead(records: World) -> None:
    records.leadership.leading = False
    with pytest.raises(FencedError):
        await records.own_keys.ensure()
    assert AUDIT_REF not in records.objects.bodies
    records.leadership.leading = True
    records.objects.namespaces[RECORDS_NAMESPACE] = NamespaceFacts("uid-records", terminating=True)
    assert not await records.own_keys.ensure()
    assert AUDIT_REF not in records.objects.bodies


# What else may be bound to it


async def test_no_grant_and_no_alias_of_a_manifest_is_bound_to_it(world: World) -> None:
    await first_use(world)
    grant, alias = ObjectRef(Kind.GRANT, "team-a", "g"), ObjectRef(Kind.ALIAS, "team-a", "a")
    world.apply(grant, keyRef={"name": KEY.name}, granteePrincipal="arn:aws:iam::111122223333:role/app", operations=["Decrypt"])
    world.apply(alias, aliasName="alias/mine", keyRef={"name": KEY.name})
    for ref in (grant, alias):
        await world.reconcile(ref)
        assert not world.has_record(ref), ref
        assert world.ready(ref) != "Available"
