"""Reconcile a KmsKey on in-memory ports: writes, events, conditions for each error, when it is looked at again."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from tests.builders import OTHER_UID
from tests.hsm.fake import LIKE_SOFTHSM, FakeHsm
from tests.reconciler.fakes import FakeEngine, World, away

from keystead.engine.identifiers import RecordKind, record_name
from keystead.engine.plan.common import NamespaceFacts
from keystead.engine.record import KeyRecord
from keystead.engine.rotation import next_rotation
from keystead.errors import (
    ConflictError,
    FencedError,
    ForbiddenError,
    HsmAuthError,
    HsmDataError,
    HsmSetupError,
    HsmUnsupportedError,
    KeysteadError,
    RecordIntegrityError,
    StoreUnavailableError,
)
from keystead.reconciler.ports import Kind, ObjectRef
from keystead.resources.vocabulary import KeySpec, KeyState

REF = ObjectRef(Kind.KEY, "team-a", "k")
NAME = record_name(RecordKind.KEY, "team-a", "k")
ROTATING = {"rotation": {"enabled": True, "periodInDays": 90}}


def record(world: World) -> KeyRecord:
    return world.record(REF, KeyRecord)


async def ready(world: World, **spec: Any) -> str:
    """Apply and reconcile; the key id."""
    world.apply(REF, **spec)
    await world.reconcile(REF)
    return record(world).key_id


def reasons(world: World) -> list[str]:
    return [reason for _, reason, _ in world.objects.events]


async def test_a_new_key_takes_three_writes_and_the_next_two(world: World) -> None:
    await ready(world)
    assert world.records.writes == [("create", RecordKind.ACCOUNT), ("create", RecordKind.KEY)]
    assert len(world.objects.statuses) == 1
    assert world.ready(REF) == "Available"
    second = ObjectRef(Kind.KEY, "team-a", "second")
    world.apply(second)
    await world.reconcile(second)
    assert len(world.records.writes) == 3


async def test_idle_passes_write_nothing(world: World) -> None:
    await ready(world)
    for _ in range(10):
        await world.reconcile(REF)
        world.clock.advance(minutes=5)
    assert len(world.records.writes) == 2
    assert len(world.objects.statuses) == 1
    assert reasons(world) == ["Created"]


async def test_status_is_announced_before_it_is_written(world: World) -> None:
    world.objects.fail("apply_status", StoreUnavailableError("away"))
    world.apply(REF)
    with pytest.raises(StoreUnavailableError):
        await world.reconcile(REF)
    assert world.announced == [REF]


async def test_events_come_before_the_status(world: World) -> None:
    """A kill between them emits the same event again, which the API server knows; the other way round it would be lost."""
    world.apply(REF)
    world.objects.fail("apply_status", StoreUnavailableError("away"))
    with pytest.raises(StoreUnavailableError):
        await world.reconcile(REF)
    assert reasons(world) == ["Created"]
    world.restart()
    await world.reconcile(REF)
    assert reasons(world) == ["Created"]


async def test_a_lost_reply_gives_the_same_key(world: World) -> None:
    world.apply(REF)
    world.records.fail("lose_reply", StoreUnavailableError("account"))
    with pytest.raises(StoreUnavailableError):
        await world.reconcile(REF)
    world.records.fail("lose_reply", StoreUnavailableError("key"))
    with pytest.raises(StoreUnavailableError):
        await world.reconcile(REF)
    first = record(world)
    await world.reconcile(REF)
    assert record(world) == first
    assert world.status(REF)["keyId"] == first.key_id


async def test_a_record_that_somebody_else_made_is_adopted(world: World) -> None:
    world.apply(REF)
    world.records.fail("create", ConflictError("account"), ConflictError("key"))
    for _ in range(3):
        try:
            await world.reconcile(REF)
        except (ConflictError, KeysteadError):
            continue
    assert world.ready(REF) == "Available"


async def test_delete_and_apply_again_is_the_same_key(world: World) -> None:
    key_id = await ready(world, enabled=False, description="d")
    world.delete(REF)
    outcome = await world.reconcile(REF)
    assert not record(world).bound
    assert outcome.again_in is None  # nothing to look at until something is seen
    assert await ready(world) == key_id
    assert record(world).bound
    assert (record(world).state, record(world).description) == (KeyState.DISABLED, "d")
    assert reasons(world)[-1] == "Reattached"


async def test_an_object_without_a_record_that_is_gone_is_forgotten(world: World) -> None:
    assert (await world.reconcile(REF)).again_in is None
    assert world.records.writes == []


async def test_an_object_that_is_gone_with_its_crd_is_looked_at_again(world: World) -> None:
    await ready(world, **ROTATING)
    world.delete(REF)
    del world.objects.crds[Kind.KEY]
    world.clock.advance(days=400)
    outcome = await world.reconcile(REF)
    assert record(world).bound
    assert outcome.again_in is not None
    assert outcome.again_in > 60


async def test_a_lost_status_is_rebuilt(world: World) -> None:
    key_id = await ready(world)
    before = world.status(REF)
    world.objects.bodies[REF]["status"] = {"observedGeneration": -1}
    await world.reconcile(REF)
    assert world.status(REF) == before
    assert record(world).key_id == key_id


async def test_a_status_without_its_record_generates_nothing(world: World) -> None:
    await ready(world)
    del world.records.stored[NAME]
    world.restart()
    made = world.engine.generated
    outcome = await world.reconcile(REF)
    assert world.ready(REF) == "RecordIntegrity"
    assert world.engine.generated == made
    assert NAME not in world.records.stored
    assert not outcome.failed


async def test_a_namespace_made_again_needs_adoption_and_learns_nothing(world: World) -> None:
    key_id = await ready(world)
    world.delete(REF)
    world.objects.namespaces["team-a"] = NamespaceFacts(OTHER_UID)
    world.apply(REF, uid="new-tenant")
    await world.reconcile(REF)
    assert world.ready(REF) == "AdoptionRequired"
    assert key_id not in str(world.status(REF))
    assert key_id not in str([event for event in world.objects.events.items() if event[0][0] == "new-tenant"])


async def test_an_unsupported_spec_makes_no_record() -> None:
    none = {**LIKE_SOFTHSM, KeySpec.ECC_NIST_EDWARDS25519: None}
    world = World(FakeEngine(FakeHsm(protections=none)))
    world.apply(REF, keySpec="ECC_NIST_EDWARDS25519", keyUsage="SIGN_VERIFY")
    await world.reconcile(REF)
    assert world.ready(REF) == "KeySpecUnsupported"
    assert world.records.writes == []


async def test_an_object_that_cannot_be_parsed_says_which_field(world: World) -> None:
    world.apply(REF, keySpec="NO_SUCH_SPEC")
    await world.reconcile(REF)
    assert world.ready(REF) == "InvalidSpec"
    assert "spec.keySpec" in str(world.status(REF))
    assert world.records.writes == []


@pytest.mark.parametrize(
    ("error", "reason", "soon"),
    [
        (away(), "EngineUnavailable", True),
        (HsmSetupError("two tokens"), "EngineUnavailable", True),
        (HsmDataError("odd"), "EngineUnavailable", True),
        (HsmAuthError("the PIN was refused"), "HsmAuthFailed", False),
    ],
)
async def test_a_token_that_cannot_be_used_is_a_condition(world: World, error: KeysteadError, reason: str, soon: bool) -> None:
    world.apply(REF)
    world.engine_error = error
    outcome = await world.reconcile(REF)
    assert world.ready(REF) == reason
    assert outcome.failed is soon
    world.engine_error = None
    await world.reconcile(REF)
    assert world.ready(REF) == "Available"


async def test_a_token_that_fails_while_it_generates_leaves_no_record(world: World) -> None:
    world.apply(REF)
    world.engine.fail("slow", away())
    await world.reconcile(REF)
    assert world.ready(REF) == "EngineUnavailable"
    assert NAME not in world.records.stored
    world.engine.fail("slow", HsmUnsupportedError("no"))
    await world.reconcile(REF)
    assert world.ready(REF) == "KeySpecUnsupported"


async def test_a_token_that_goes_away_leaves_what_status_shows(world: World) -> None:
    key_id = await ready(world)
    world.engine_error = away()
    await world.reconcile(REF)
    assert (world.ready(REF), world.status(REF)["keyId"]) == ("EngineUnavailable", key_id)


@pytest.mark.parametrize(
    ("error", "reason", "soon"),
    [(RecordIntegrityError("seal"), "RecordIntegrity", False), (ForbiddenError("no right"), "EngineUnavailable", True)],
)
async def test_a_record_that_cannot_be_read_is_a_condition(world: World, error: KeysteadError, reason: str, soon: bool) -> None:
    world.apply(REF)
    world.records.fail("get", error)
    outcome = await world.reconcile(REF)
    assert (world.ready(REF), outcome.failed) == (reason, soon)


@pytest.mark.parametrize("error", [StoreUnavailableError("away"), ConflictError("first"), FencedError("lost the lead")])
async def test_the_stores_errors_and_the_fence_are_the_workers(world: World, error: KeysteadError) -> None:
    world.apply(REF)
    world.records.fail("create", StoreUnavailableError("account"))
    with pytest.raises(StoreUnavailableError):
        await world.reconcile(REF)
    await world.accounts.claim(world.engine.hsm, "team-a", world.objects.namespaces["team-a"].uid, 1, world.clock.now())
    world.records.fail("create", error)
    with pytest.raises(type(error)):
        await world.reconcile(REF)
    assert world.objects.statuses == []


async def test_a_former_leader_writes_nothing(world: World) -> None:
    world.apply(REF)
    world.leadership.leading = False
    with pytest.raises(FencedError):
        await world.reconcile(REF)
    assert world.records.writes == []
    assert world.objects.statuses == []


# Rotation and time


async def test_a_due_rotation_makes_exactly_one_version(world: World) -> None:
    await ready(world, **ROTATING)
    due = next_rotation(record(world))
    assert due is not None
    world.clock.moment = due - timedelta(seconds=1)
    outcome = await world.reconcile(REF)
    assert record(world).n_versions == 1
    assert outcome.again_in == pytest.approx(1.05)
    world.clock.moment = due
    for _ in range(3):
        await world.reconcile(REF)
    assert record(world).n_versions == 2
    assert reasons(world) == ["Created", "Rotated"]


async def test_a_rotation_whose_reply_was_lost_is_not_made_twice(world: World) -> None:
    await ready(world)
    world.apply(REF, annotations={"kms.keystead.io/rotate-requested-at": "1"})
    world.records.fail("lose_reply", StoreUnavailableError("reply"))
    with pytest.raises(StoreUnavailableError):
        await world.reconcile(REF)
    world.restart()
    await world.reconcile(REF)
    assert record(world).n_versions == 2
    assert record(world).on_demand_rotations == 1
    assert world.status(REF)["lastHandledRotateAt"] == "1"


async def test_a_clock_that_steps_back_rotates_nothing_again(world: World) -> None:
    await ready(world, **ROTATING)
    world.clock.advance(days=91)
    await world.reconcile(REF)
    for _ in range(4):
        world.clock.advance(hours=-2)
        await world.reconcile(REF)
    world.clock.advance(hours=8)
    await world.reconcile(REF)
    assert record(world).n_versions == 2


async def test_a_stopped_key_that_is_overdue_is_no_busy_loop(world: World) -> None:
    await ready(world, **ROTATING)
    world.clock.advance(days=400)
    world.apply(REF, enabled=False, **ROTATING)
    outcome = await world.reconcile(REF)
    assert record(world).n_versions == 1
    assert outcome.again_in is not None
    assert outcome.again_in > 60
    world.apply(REF, enabled=True, **ROTATING)
    await world.reconcile(REF)
    await world.reconcile(REF)
    assert record(world).n_versions == 2
