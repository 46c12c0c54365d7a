"""A KmsDataKey whose key is in another namespace: by the key's policy or a grant to this namespace's account, and never a word more."""

from __future__ import annotations

from typing import Any

import pytest
from tests.reconciler.fakes import World

from keystead.engine.identifiers import RecordKind, record_name
from keystead.engine.plan.common import NamespaceFacts
from keystead.engine.record import DataKeyRecord, KeyRecord
from keystead.reconciler.ports import Kind, ObjectRef

HOME = "team-c"
KEY = ObjectRef(Kind.KEY, HOME, "k")
GRANT = ObjectRef(Kind.GRANT, HOME, "g")
REF = ObjectRef(Kind.DATA_KEY, "team-a", "d")
SPEC: dict[str, Any] = {"keyRef": {"name": "k", "namespace": HOME}, "target": {"secretName": "s"}}
WORDS = "namespace 'team-c' does not let this namespace use the key"
ISSUE = ["kms:GenerateDataKeyWithoutPlaintext", "kms:ReEncrypt*"]


def root(account: str) -> str:
    return f"arn:aws:iam::{account}:root"


async def account_of(world: World, namespace: str = "team-a") -> str:
    facts = world.objects.namespaces[namespace]
    return await world.accounts.foreseen(world.engine.hsm, namespace, facts.uid)


def policy(own: str, *others: str, actions: Any = "kms:*", effect: str = "Allow") -> dict[str, Any]:
    def statement(effect: str, account: str, actions: Any) -> dict[str, Any]:
        return {"Effect": effect, "Principal": {"AWS": root(account)}, "Action": actions, "Resource": "*"}

    more = [statement(effect, other, actions) for other in others]
    return {"Version": "2012-10-17", "Statement": [statement("Allow", own, "kms:*"), *more]}


async def a_key(world: World, **spec: Any) -> KeyRecord:
    world.objects.namespaces[HOME] = NamespaceFacts("uid-of-team-c")
    world.apply(KEY, **spec)
    await world.reconcile(KEY)
    return world.record(KEY, KeyRecord)


async def trust(world: World, *, actions: Any = "kms:*", **spec: Any) -> KeyRecord:
    """C's key trusts A's account."""
    key = await a_key(world, **spec)
    world.apply(KEY, policy=policy(key.account, await account_of(world), actions=actions), **spec)
    await world.reconcile(KEY)
    return world.record(KEY, KeyRecord)


async def grant(world: World, *operations: str) -> None:
    world.apply(GRANT, keyRef={"name": "k"}, granteePrincipal=root(await account_of(world)), operations=list(operations))
    await world.reconcile(GRANT)
    assert world.ready(GRANT) == "Available", world.status(GRANT)


async def look(world: World, **spec: Any) -> tuple[str, str]:
    """Reason and message of Ready, after a pass."""
    world.apply(REF, **{**SPEC, **spec})
    return await again(world)


async def again(world: World) -> tuple[str, str]:
    await world.reconcile(REF)
    return next((str(c["reason"]), str(c["message"])) for c in world.status(REF)["conditions"] if c["type"] == "Ready")


@pytest.mark.parametrize("spec", [{}, {"dataKeySpec": "ECC_NIST_P256"}, {"numberOfBytes": 64}])
async def test_a_policy_that_names_the_account_gives_a_data_key(world: World, spec: dict[str, Any]) -> None:
    key = await trust(world)
    assert (await look(world, **spec))[0] == "Available"
    record = world.record(REF, DataKeyRecord)
    assert (record.key_id, record.namespace) == (key.key_id, "team-a")
    assert world.secrets.secrets["team-a", "s"].data["ciphertext"] == record.current_version.blob
    assert (world.status(REF)["keyArn"], world.status(REF)["keyName"]) == (world.status(KEY)["keyArn"], "k")


async def test_a_grant_to_the_account_gives_one_too(world: World) -> None:
    await a_key(world)
    assert await look(world) == ("ReferenceNotGranted", WORDS)
    await grant(world, "GenerateDataKeyWithoutPlaintext")
    assert (await again(world))[0] == "Available"


async def test_a_grant_of_something_else_gives_none(world: World) -> None:
    await a_key(world)
    await grant(world, "Encrypt", "Decrypt", "GenerateDataKey")
    assert await look(world) == ("ReferenceNotGranted", WORDS)


@pytest.mark.parametrize(
    "state",
    ["not there", "default policy", "deny", "other account", "disabled", "held", "scheduled", "deleted", "another spec", "by service"],
)
async def test_without_consent_all_keys_are_alike(world: World, state: str) -> None:
    mine = await account_of(world)
    key = await a_key(world, **({"keySpec": "ECC_NIST_P256", "keyUsage": "SIGN_VERIFY"} if state == "another spec" else {}))
    match state:
        case "not there":
            world.apply(REF, **{**SPEC, "keyRef": {"name": "not-there", "namespace": HOME}})
        case "deny":
            world.apply(KEY, policy=policy(key.account, mine, effect="Deny"))
        case "other account":
            world.apply(KEY, policy=policy(key.account, "111122223333"))
        case "disabled":
            world.apply(KEY, enabled=False)
        case "held":
            world.apply(KEY, annotations={"kms.keystead.io/hold": "x"})
        case "scheduled":
            world.apply(KEY, scheduledDeletion={})
        case "deleted":
            world.delete(KEY)
        case "by service":
            service = {"Effect": "Allow", "Principal": {"Service": "datakeys.kms.keystead.io"}, "Action": "kms:*", "Resource": "*"}
            document = policy(key.account)
            world.apply(KEY, policy={**document, "Statement": [*document["Statement"], service]})
    await world.reconcile(KEY)
    if state != "not there":
        world.apply(REF, **SPEC)
    assert await again(world) == ("ReferenceNotGranted", WORDS)
    status = world.status(REF)
    assert not {"keyArn", "keyName", "keyMaterialId", "version"} & status.keys()
    assert not world.has_record(REF)
    assert world.secrets.secrets == {}


async def test_the_same_is_read_whether_or_not_there_is_such_a_key(world: World) -> None:
    await a_key(world)
    await look(world)  # the account is claimed, once
    read: list[list[str]] = []
    for name in ("k", "not-there"):
        ref = ObjectRef(Kind.DATA_KEY, "team-a", f"of-{name}")
        world.apply(ref, keyRef={"name": name, "namespace": HOME}, target={"secretName": "s"})
        asked, get = [], world.records.get

        async def noting(record: str, asked: list[str] = asked, get: Any = get) -> Any:
            asked.append(record)
            return await get(record)

        world.records.get = noting  # type: ignore[method-assign]
        await world.reconcile(ref)
        world.records.get = get  # type: ignore[method-assign]
        own = record_name(RecordKind.DATAKEY, "team-a", ref.name), record_name(RecordKind.KEY, HOME, name)
        read.append([{own[0]: "own", own[1]: "key"}.get(each, each) for each in asked])
    assert read[0] == read[1]
    assert {"own", "key"} <= set(read[0])


@pytest.mark.parametrize("adopted", [False, True])
async def test_a_namespace_made_again_has_the_old_ones_rights_only_with_its_account(world: World, adopted: bool) -> None:
    old = await world.accounts.claim(world.engine.hsm, "team-a", world.objects.namespaces["team-a"].uid, 1, world.clock.moment)
    await trust(world)
    world.objects.namespaces["team-a"] = NamespaceFacts("somebody-else")
    if adopted:
        await world.accounts.adopt(world.engine.hsm, "team-a", "somebody-else", old, 1)
    assert (await account_of(world) == old) is adopted
    assert (await look(world))[0] == ("Available" if adopted else "ReferenceNotGranted")


async def test_a_first_data_key_claims_the_account_that_its_namespace_is_known_by(world: World) -> None:
    """Else a namespace made again under the name would come by the id, and by what other accounts lend to it."""
    await trust(world)
    before = await account_of(world)
    await look(world)
    world.objects.namespaces["team-a"] = NamespaceFacts("somebody-else")
    assert await account_of(world) != before
    ref = ObjectRef(Kind.DATA_KEY, "team-a", "theirs")
    world.apply(ref, **SPEC)
    await world.reconcile(ref)
    assert world.ready(ref) == "ReferenceNotGranted"


async def test_a_data_key_of_an_earlier_namespace_claims_nothing(world: World) -> None:
    await trust(world)
    await look(world)
    world.objects.namespaces["team-a"] = NamespaceFacts("somebody-else")
    before = set(world.records.stored)
    assert (await again(world))[0] == "AdoptionRequired"
    assert set(world.records.stored) == before


async def test_a_key_of_a_namespace_made_again_serves_nobody_abroad(world: World) -> None:
    await trust(world)
    world.objects.namespaces[HOME] = NamespaceFacts("another-team-c")
    assert await look(world) == ("ReferenceNotGranted", WORDS)
    del world.objects.namespaces[HOME]
    assert await again(world) == ("ReferenceNotGranted", WORDS)


async def test_to_whom_it_consents_the_keys_state_is_told(world: World) -> None:
    await trust(world, enabled=False)
    reason, words = await look(world)
    assert (reason, "Disabled" in words) == ("DependencyNotReady", True)


async def test_a_consent_that_is_taken_back_leaves_the_secret_and_stops_all_else(world: World) -> None:
    key = await trust(world)
    await look(world)
    before = dict(world.secrets.secrets["team-a", "s"].data)
    world.apply(KEY, policy=policy(key.account), annotations={"kms.keystead.io/rotate-requested-at": "1"})
    await world.reconcile(KEY)
    del world.secrets.secrets["team-a", "s"]
    world.apply(REF, annotations={"kms.keystead.io/rotate-requested-at": "2"}, **SPEC)
    assert await again(world) == ("ReferenceNotGranted", WORDS)
    assert world.secrets.secrets["team-a", "s"].data == before  # a copy of the record needs no key
    assert len(world.record(REF, DataKeyRecord).versions) == 1
    assert "rewrap" not in world.status(REF), "the key's current material is the key's own business now"


async def test_a_rotated_key_abroad_re_wraps_what_is_under_it(world: World) -> None:
    key = await trust(world)
    await look(world)
    world.apply(KEY, policy=policy(key.account, await account_of(world)), annotations={"kms.keystead.io/rotate-requested-at": "1"})
    await world.reconcile(KEY)
    assert (await again(world))[0] == "Available"
    material = world.record(KEY, KeyRecord).current_version.material_id
    assert world.record(REF, DataKeyRecord).current_version.key_material_id == material != key.current_version.material_id


async def test_a_re_wrap_that_is_not_allowed_says_no_more_than_that(world: World) -> None:
    actions = ["kms:GenerateDataKeyWithoutPlaintext"]
    key = await trust(world, actions=actions)
    await look(world)
    document = policy(key.account, await account_of(world), actions=actions)
    world.apply(KEY, policy=document, annotations={"kms.keystead.io/rotate-requested-at": "1"})
    await world.reconcile(KEY)
    assert await again(world) == ("ReferenceNotGranted", WORDS)


async def test_a_data_key_abroad_counts_at_its_key_and_is_not_named(world: World) -> None:
    key = await trust(world)
    await look(world)
    found = world.index.dependants(key.key_id, HOME)
    assert (found.foreign, found.data_keys) == (1, ())
