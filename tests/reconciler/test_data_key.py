"""Reconcile a KmsDataKey on in-memory ports: record before Secret, the same blob for ever, every error's condition."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from tests.reconciler.fakes import World, away

from keystead.engine.identifiers import RecordKind, record_name
from keystead.engine.plan.secret import SecretFacts
from keystead.engine.record import DataKeyRecord
from keystead.errors import (
    ConflictError,
    ForbiddenError,
    HsmAuthError,
    KeysteadError,
    RecordIntegrityError,
    RefusedError,
    StoreUnavailableError,
)
from keystead.reconciler.ports import Kind, ObjectRef

KEY = ObjectRef(Kind.KEY, "team-a", "k")
REF = ObjectRef(Kind.DATA_KEY, "team-a", "d")
SPEC: dict[str, Any] = {"keyRef": {"name": "k"}, "target": {"secretName": "s"}}
NAME = record_name(RecordKind.DATAKEY, "team-a", "d")
PREFIX = "kms.keystead.io.d."


def record(world: World) -> DataKeyRecord:
    return world.record(REF, DataKeyRecord)


def secret(world: World) -> SecretFacts:
    return world.secrets.secrets["team-a", "s"]


def blobs(world: World) -> list[bytes]:
    return [version.blob for version in record(world).versions]


async def ready(world: World, *, foreign: bool = False, **spec: Any) -> None:
    """A key, a data key and, if it shall be injected, somebody's Secret."""
    world.apply(KEY)
    await world.reconcile(KEY)
    if foreign:
        theirs = SecretFacts(uid="theirs", resource_version="t", type="Opaque", immutable=False, data={"password": b"p"})
        world.secrets.secrets["team-a", "s"] = theirs
    world.apply(REF, **{**SPEC, **spec})
    await world.reconcile(REF)


async def test_the_record_comes_before_the_secret(world: World) -> None:
    world.secrets.fail("create", StoreUnavailableError("away"))
    with pytest.raises(StoreUnavailableError):
        await ready(world)
    assert len(blobs(world)) == 1
    await world.reconcile(REF)
    assert world.ready(REF) == "Available"
    assert secret(world).data["ciphertext"] == blobs(world)[0]


async def test_a_lost_reply_issues_nothing_twice(world: World) -> None:
    world.apply(KEY)
    await world.reconcile(KEY)
    world.records.fail("lose_reply", StoreUnavailableError("reply"))
    with pytest.raises(StoreUnavailableError):
        await ready(world)
    first = blobs(world)
    world.restart()
    await world.reconcile(REF)
    assert blobs(world) == [secret(world).data["ciphertext"]] == first


async def test_idle_passes_write_nothing(world: World) -> None:
    await ready(world)
    before = len(world.records.writes), len(world.objects.statuses), len(world.secrets.writes), len(world.objects.events)
    for _ in range(10):
        await world.reconcile(REF)
        world.clock.advance(minutes=5)
    assert before == (len(world.records.writes), len(world.objects.statuses), len(world.secrets.writes), len(world.objects.events))


async def test_a_deleted_secret_comes_back_with_the_same_blob(world: World) -> None:
    await ready(world)
    before = dict(secret(world).data)
    del world.secrets.secrets["team-a", "s"]
    await world.reconcile(REF)
    assert secret(world).data == before
    assert record(world).target.secret_uid == secret(world).uid


async def test_an_edited_secret_is_put_right(world: World) -> None:
    await ready(world)
    before = dict(secret(world).data)
    world.secrets.edit("s", ciphertext=b"edited", ciphertext__9=b"more", **{"meta__json": None})
    await world.reconcile(REF)
    assert secret(world).data == before
    assert world.ready(REF) == "Available"


async def test_injection_leaves_what_is_not_ours(world: World) -> None:
    await ready(world, foreign=True)
    assert secret(world).data["password"] == b"p"
    assert secret(world).data[f"{PREFIX}ciphertext"] == blobs(world)[0]
    assert record(world).target.injected
    world.secrets.edit("s", **{f"{PREFIX}ciphertext".replace(".", "__"): None})
    await world.reconcile(REF)
    assert secret(world).data[f"{PREFIX}ciphertext"] == blobs(world)[0]


async def test_a_key_that_another_manager_edited_is_a_conflict_and_stays(world: World) -> None:
    await ready(world, foreign=True)
    world.secrets.edit("s", **{f"{PREFIX}ciphertext".replace(".", "__"): b"theirs"})
    await world.reconcile(REF)
    assert world.ready(REF) == "TargetConflict"
    assert secret(world).data[f"{PREFIX}ciphertext"] == b"theirs"


async def test_a_reapplied_data_key_rotates_in_a_foreign_secret(world: World) -> None:
    """Its fields must be its own again, although the object has another uid."""
    await ready(world, foreign=True)
    world.delete(REF)
    await world.reconcile(REF)
    world.apply(REF, uid="uid-of-the-second", annotations={"kms.keystead.io/rotate-requested-at": "1"}, **SPEC)
    await world.reconcile(REF)
    assert world.ready(REF) == "Available"
    assert secret(world).data[f"{PREFIX}ciphertext"] == blobs(world)[1]


async def test_a_deleted_foreign_secret_is_waited_for(world: World) -> None:
    await ready(world, foreign=True)
    del world.secrets.secrets["team-a", "s"]
    await world.reconcile(REF)
    assert world.ready(REF) == "TargetNotFound"
    assert ("team-a", "s") not in world.secrets.secrets


async def test_rotation_keeps_old_and_new_for_the_overlap(world: World) -> None:
    await ready(world, rotation={"periodInDays": 1, "overlap": "6h"})
    world.clock.advance(days=1)
    outcome = await world.reconcile(REF)
    old, new = blobs(world)
    data = secret(world).data
    assert (data["ciphertext"], data["ciphertext.2"], data["ciphertext.1"]) == (new, new, old)
    assert outcome.again_in is not None
    assert outcome.again_in <= 120
    world.clock.advance(hours=6)
    await world.reconcile(REF)
    assert sorted(secret(world).data) == ["ciphertext", "ciphertext.2", "meta.json"]
    assert blobs(world) == [old, new]


async def test_versions_are_rewrapped_when_the_key_rotates(world: World) -> None:
    await ready(world)
    world.apply(REF, annotations={"kms.keystead.io/rotate-requested-at": "1"}, **SPEC)
    await world.reconcile(REF)
    before = blobs(world)
    world.apply(KEY, annotations={"kms.keystead.io/rotate-requested-at": "1"})
    await world.reconcile(KEY)
    await world.reconcile(REF)
    after = blobs(world)
    assert len(after) == 2
    assert not set(before) & set(after)
    assert secret(world).data["ciphertext"] == after[1]
    rewrap = world.status(REF)["rewrap"]
    assert (rewrap["done"], rewrap["total"]) == (2, 2)
    assert json.loads(secret(world).data["meta.json"])["keyMaterialId"] == world.status(KEY)["currentKeyMaterialId"]


async def test_many_versions_are_rewrapped_in_several_passes(world: World) -> None:
    await ready(world)
    for n in range(2, 13):
        world.apply(REF, annotations={"kms.keystead.io/rotate-requested-at": str(n)}, **SPEC)
        await world.reconcile(REF)
    world.apply(KEY, annotations={"kms.keystead.io/rotate-requested-at": "1"})
    await world.reconcile(KEY)
    outcome = await world.reconcile(REF)
    assert outcome.again_in == 0.0
    assert 0 < world.status(REF)["rewrap"]["done"] < 12
    await world.reconcile(REF)
    assert world.status(REF)["rewrap"]["done"] == 12


# Conditions


@pytest.mark.parametrize(
    ("error", "reason", "soon"), [(away(), "EngineUnavailable", True), (HsmAuthError("the PIN was refused"), "HsmAuthFailed", False)]
)
async def test_a_token_that_cannot_be_used_is_a_condition(world: World, error: KeysteadError, reason: str, soon: bool) -> None:
    await ready(world)
    world.engine_error = error
    outcome = await world.reconcile(REF)
    assert (world.ready(REF), outcome.failed) == (reason, soon)
    assert world.status(REF)["version"] == 1


async def test_a_token_that_answers_nothing_generates_nothing(world: World) -> None:
    world.apply(KEY)
    await world.reconcile(KEY)
    world.apply(REF, **SPEC)
    world.engine.hsm.down = True
    outcome = await world.reconcile(REF)
    assert outcome.failed
    assert NAME not in world.records.stored
    world.engine.hsm.down = False
    await world.reconcile(REF)
    assert world.ready(REF) == "Available"


@pytest.mark.parametrize(
    ("method", "error", "reason"),
    [
        ("get", ForbiddenError("no right"), "TargetForbidden"),
        ("create", ForbiddenError("no right"), "TargetForbidden"),
        ("create", RefusedError("422 data: Too long: may not be more than 1048576 bytes"), "TargetTooLarge"),
        ("create", RefusedError("POST secrets: 413 too large"), "TargetTooLarge"),
        ("create", RefusedError("422 metadata.labels: Invalid value"), "InvalidSpec"),
    ],
)
async def test_a_secret_that_cannot_be_made_is_a_condition(world: World, method: str, error: KeysteadError, reason: str) -> None:
    world.secrets.fail(method, error)
    await ready(world)
    assert world.ready(REF) == reason
    assert ("team-a", "s") not in world.secrets.secrets
    await world.reconcile(REF)
    assert world.ready(REF) == "Available"


@pytest.mark.parametrize("method", ["get", "create"])
async def test_a_namespace_without_a_role_says_where_to_add_it(world: World, method: str) -> None:
    world.secrets.fail(method, ForbiddenError("no right"))
    await ready(world)
    told = {c["type"]: c["message"] for c in world.status(REF)["conditions"]}
    assert told["Ready"] == "no right; is this namespace in dataKeys.namespaces of the chart?"


async def test_an_immutable_secret_is_a_condition(world: World) -> None:
    await ready(world, foreign=True)
    live = secret(world)
    world.secrets.secrets["team-a", "s"] = replace(live, immutable=True, data={"password": b"p"})
    await world.reconcile(REF)
    assert world.ready(REF) == "TargetImmutable"
    assert secret(world).data == {"password": b"p"}


async def test_a_secret_that_moved_meanwhile_is_looked_at_again(world: World) -> None:
    await ready(world)
    world.secrets.edit("s", ciphertext=b"edited")
    first = secret(world)
    found = world.secrets.get

    async def stale(namespace: str, name: str) -> SecretFacts | None:
        answer = await found(namespace, name)
        world.secrets.get = found  # type: ignore[method-assign]
        world.secrets.edit("s", note=b"n")
        return answer

    world.secrets.get = stale  # type: ignore[method-assign]
    with pytest.raises(ConflictError):
        await world.reconcile(REF)
    assert secret(world).data["ciphertext"] == first.data["ciphertext"]
    await world.reconcile(REF)
    assert world.ready(REF) == "Available"


@pytest.mark.parametrize("state", ["disabled", "held", "deleted", "scheduled"])
async def test_a_key_that_cannot_be_used_leaves_the_secret(world: World, state: str) -> None:
    await ready(world)
    before = dict(secret(world).data)
    match state:
        case "disabled":
            world.apply(KEY, enabled=False)
        case "held":
            world.apply(KEY, annotations={"kms.keystead.io/hold": "x"})
        case "scheduled":
            world.apply(KEY, scheduledDeletion={})
        case _:
            world.delete(KEY)
    await world.reconcile(KEY)
    world.apply(REF, annotations={"kms.keystead.io/rotate-requested-at": "1"}, **SPEC)
    await world.reconcile(REF)
    assert world.ready(REF) == ("DependencyNotFound" if state == "deleted" else "DependencyNotReady")
    assert secret(world).data == before
    del world.secrets.secrets["team-a", "s"]
    await world.reconcile(REF)
    assert secret(world).data == before  # a copy of the record needs no key


async def test_a_missing_key_heals_when_it_appears(world: World) -> None:
    world.apply(REF, **SPEC)
    await world.reconcile(REF)
    assert world.ready(REF) == "DependencyNotFound"
    await ready(world)
    assert world.ready(REF) == "Available"


async def test_nothing_is_said_of_keys_in_a_namespace_that_does_not_exist(world: World) -> None:
    said = set()
    for name in ("there", "not-there"):
        ref = ObjectRef(Kind.DATA_KEY, "team-a", name)
        world.apply(ref, keyRef={"name": name, "namespace": "team-b"}, target={"secretName": name})
        await world.reconcile(ref)
        said |= {(c["reason"], c["message"]) for c in world.status(ref)["conditions"]}
    assert len(said) == 1
    assert {kind for _, kind in world.records.writes} == {RecordKind.ACCOUNT}  # by which keys abroad may know this namespace


@pytest.mark.parametrize("where", ["status", "own secret", "foreign secret"])
async def test_a_data_key_without_its_record_generates_nothing(world: World, where: str) -> None:
    await ready(world, foreign=where == "foreign secret")
    before = dict(secret(world).data)
    del world.records.stored[NAME]
    world.restart()
    if where != "status":
        world.objects.bodies[REF]["status"] = {"observedGeneration": -1}
    await world.reconcile(REF)
    assert world.ready(REF) == "RecordIntegrity"
    assert NAME not in world.records.stored
    assert secret(world).data == before


async def test_a_damaged_key_record_is_told_at_its_data_keys(world: World) -> None:
    await ready(world)
    world.records.fail("get", RecordIntegrityError("seal"))
    await world.reconcile(REF)
    assert world.ready(REF) == "RecordIntegrity"


async def test_a_deleted_data_key_leaves_record_and_secret(world: World) -> None:
    await ready(world)
    world.delete(REF)
    outcome = await world.reconcile(REF)
    assert not record(world).bound
    assert secret(world).data["ciphertext"] == blobs(world)[0]
    assert outcome.again_in is None


async def test_an_object_that_cannot_be_parsed_says_which_field(world: World) -> None:
    world.apply(REF, keyRef={"name": "k"}, target={})
    await world.reconcile(REF)
    assert world.ready(REF) == "InvalidSpec"
    assert "secretName" in str(world.status(REF))


@pytest.mark.parametrize("spec", ["AES_128", "RSA_2048", "ECC_NIST_P256", None])
async def test_every_kind_of_data_key_is_issued(world: World, spec: str | None) -> None:
    await ready(world, **({"dataKeySpec": spec} if spec else {"numberOfBytes": 48}))
    assert world.ready(REF) == "Available"
    assert ("public-key" in secret(world).data) is (spec in ("RSA_2048", "ECC_NIST_P256"))


async def test_a_request_at_birth_is_answered_by_the_birth(world: World) -> None:
    world.apply(KEY)
    await world.reconcile(KEY)
    world.apply(REF, annotations={"kms.keystead.io/rotate-requested-at": "1"}, **SPEC)
    await world.reconcile(REF)
    assert len(blobs(world)) == 1
    assert world.status(REF)["lastHandledRotateAt"] == "1"
