"""Reconcile a KmsGrant on in-memory ports: one grant id, its end, whose it is, the end of its key, kills and lost replies."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from tests.builders import NOW, OTHER_UID
from tests.reconciler.fakes import World

from keystead.engine.clock import format_time
from keystead.engine.identifiers import role_arn
from keystead.engine.plan.common import CrdFacts, NamespaceFacts
from keystead.engine.record import GrantRecord, KeyRecord
from keystead.errors import ConflictError, StoreUnavailableError
from keystead.reconciler.ports import Kind, ObjectRef
from keystead.resources import names

KEY = ObjectRef(Kind.KEY, "team-a", "k")
REF = ObjectRef(Kind.GRANT, "team-a", "g")
SPEC: dict[str, Any] = {
    "keyRef": {"name": "k"},
    "serviceAccountRef": {"name": "app"},
    "operations": ["Encrypt", "Decrypt"],
}
ADOPT = {names.ADOPT: names.ADOPT_TRUE}


def record(world: World) -> GrantRecord:
    return world.record(REF, GrantRecord)


def grant_ids(world: World) -> set[str]:
    """Every grant id that lies in the store."""
    return {record(world).grant_id} if world.has_record(REF) else set()


def events(world: World) -> list[str]:
    uid = world.objects.bodies[REF]["metadata"]["uid"]
    return [reason for who, reason, _ in world.objects.events if who == uid]


async def passes(world: World, *refs: ObjectRef) -> None:
    for ref in refs:
        await world.reconcile(ref)


async def a_key(world: World, **spec: Any) -> None:
    world.apply(KEY, **spec)
    await world.reconcile(KEY)


async def ready(world: World, **spec: Any) -> str:
    """A key and a grant on it; the grant id."""
    await a_key(world)
    world.apply(REF, **{**SPEC, **spec})
    await world.reconcile(REF)
    return record(world).grant_id


async def replace(world: World, **spec: Any) -> None:
    """kubectl replace --force: gone and back before anybody looked."""
    world.delete(REF)
    world.apply(REF, uid=f"made-at-{world.clock.moment.isoformat()}", **{**SPEC, **spec})
    await world.reconcile(REF)


# Birth


async def test_a_grant_is_one_record_in_canonical_form(world: World) -> None:
    grant_id = await ready(world)
    made, key = record(world), world.record(KEY, KeyRecord)
    assert (made.key_id, made.account, made.region) == (key.key_id, key.account, key.region)
    assert (made.grantee_principal, made.operations) == (role_arn(key.account, "app"), ["Decrypt", "Encrypt"])
    assert (len(grant_id), world.status(REF)["grantId"]) == (64, grant_id)
    assert (world.ready(REF), events(world)) == ("Available", ["Created"])


async def test_idle_passes_write_nothing(world: World) -> None:
    await ready(world)
    before = len(world.records.writes), len(world.objects.statuses), len(world.objects.events)
    for _ in range(10):
        await world.reconcile(REF)
        world.clock.advance(minutes=5)
    assert before == (len(world.records.writes), len(world.objects.statuses), len(world.objects.events))


async def test_a_grant_waits_for_its_key(world: World) -> None:
    world.apply(REF, **SPEC)
    await world.reconcile(REF)
    assert (world.ready(REF), grant_ids(world)) == ("DependencyNotFound", set())
    await a_key(world)
    await world.reconcile(REF)
    assert world.ready(REF) == "Available"


async def lost_reply(world: World) -> None:
    world.records.fail("lose_reply", StoreUnavailableError("reply"))


async def lost_request(world: World) -> None:
    world.records.fail("create", StoreUnavailableError("request"))


async def killed_before_the_event(world: World) -> None:
    world.objects.fail("event", StoreUnavailableError("killed"))


async def killed_before_the_status(world: World) -> None:
    world.objects.fail("apply_status", StoreUnavailableError("killed"))


@pytest.mark.parametrize("remembers", [True, False])
@pytest.mark.parametrize("fault", [lost_reply, lost_request, killed_before_the_event, killed_before_the_status])
async def test_no_fault_at_birth_gives_two_grant_ids(world: World, fault: Callable[[World], Awaitable[None]], remembers: bool) -> None:
    await a_key(world)
    world.apply(REF, **SPEC)
    await fault(world)
    with pytest.raises(StoreUnavailableError):
        await world.reconcile(REF)
    seen = grant_ids(world)
    if not remembers:
        world.restart()
    await passes(world, REF, REF)
    assert len(seen | grant_ids(world)) == 1
    assert (world.status(REF)["grantId"], events(world)) == (record(world).grant_id, ["Created"])


async def test_conflicts_for_ever_make_nothing_and_end_well(world: World) -> None:
    await a_key(world)
    world.apply(REF, **SPEC)
    world.records.fail("create", *[ConflictError("409")] * 20)
    for _ in range(20):
        with pytest.raises(ConflictError):
            await world.reconcile(REF)
    assert grant_ids(world) == set()
    await world.reconcile(REF)
    assert world.ready(REF) == "Available"


@pytest.mark.parametrize("state", ["disabled", "held", "scheduled", "deleted"])
async def test_a_key_that_cannot_be_used_grants_nothing_new_and_keeps_what_it_granted(world: World, state: str) -> None:
    grant_id = await ready(world)
    second = ObjectRef(Kind.GRANT, "team-a", "second")
    match state:
        case "disabled":
            world.apply(KEY, enabled=False)
        case "held":
            world.apply(KEY, annotations={names.HOLD: "INC-1"})
        case "scheduled":
            world.apply(KEY, scheduledDeletion={})
        case _:
            world.delete(KEY)
    await world.reconcile(KEY)
    world.apply(second, **SPEC)
    await passes(world, REF, second)
    assert (world.ready(REF), record(world).grant_id) == ("Available", grant_id)
    assert world.ready(second) == ("DependencyNotFound" if state == "deleted" else "DependencyNotReady")
    assert not world.has_record(second)


# The end


async def test_the_end_tells_itself_at_its_moment_and_once(world: World) -> None:
    await ready(world, ttl="1m")
    end = record(world).expires_at
    assert end == format_time(NOW.replace(minute=1)) == world.status(REF)["expirationTime"]
    outcome = await world.reconcile(REF)
    assert outcome.again_in is not None
    assert 60 <= outcome.again_in < 61
    world.clock.advance(seconds=outcome.again_in)
    for _ in range(3):
        await world.reconcile(REF)
        world.clock.advance(minutes=5)
    assert (world.ready(REF), events(world)) == ("GrantExpired", ["Created", "Expired"])
    assert record(world).expires_at == end  # it goes with its object
    world.delete(REF)
    outcome = await world.reconcile(REF)
    assert (outcome.again_in, world.has_record(REF)) == (None, False)


async def test_a_grant_that_was_over_before_it_was_made_is_no_grant(world: World) -> None:
    await a_key(world)
    world.apply(REF, expiresAt=format_time(NOW), **SPEC)
    await passes(world, REF, REF)
    assert (world.ready(REF), world.has_record(REF), events(world)) == ("GrantExpired", False, ["Expired"])
    assert "grantId" not in world.status(REF)


async def test_a_clock_that_steps_back_brings_no_grant_back_by_itself(world: World) -> None:
    """The record's end is absolute; the policy asks the same clock, and says the same as the status."""
    await ready(world, ttl="1m")
    world.clock.step(minutes=2)
    await world.reconcile(REF)
    assert world.ready(REF) == "GrantExpired"
    world.clock.step(minutes=-2)
    await world.reconcile(REF)
    assert (world.ready(REF), events(world)) == ("Available", ["Created", "Expired"])


# Whose it is


async def test_an_object_made_again_is_another_grant_with_a_fresh_ttl(world: World) -> None:
    first = await ready(world, ttl="1m")
    world.clock.advance(minutes=2)
    await world.reconcile(REF)
    assert world.ready(REF) == "GrantExpired"
    await replace(world, ttl="1m")
    assert world.ready(REF) == "Available"
    assert record(world).grant_id != first
    assert record(world).expires_at == format_time(NOW.replace(minute=3))
    assert (record(world).seq, events(world)) == (1, ["Created"])


async def test_a_kill_between_the_two_grants_leaves_one(world: World) -> None:
    first = await ready(world)
    world.records.fail("create", StoreUnavailableError("killed"))
    with pytest.raises(StoreUnavailableError):
        await replace(world)
    assert grant_ids(world) == set()
    world.restart()
    await world.reconcile(REF)
    assert len({first, *grant_ids(world)}) == 2
    assert world.ready(REF) == "Available"


async def test_a_lost_reply_of_a_delete_is_no_integrity_fault(world: World) -> None:
    """The process remembers the first grant's record; that it is gone is by right."""
    await ready(world)
    gone = world.records.delete

    async def lose(name: str, resource_version: str) -> None:
        await gone(name, resource_version)
        world.records.delete = gone  # type: ignore[method-assign]
        raise StoreUnavailableError("reply")

    world.records.delete = lose  # type: ignore[method-assign]
    with pytest.raises(StoreUnavailableError):
        await replace(world)
    await world.reconcile(REF)
    assert (world.ready(REF), record(world).seq) == ("Available", 1)


async def test_a_missing_record_that_nobody_deleted_by_right_is_told(world: World) -> None:
    await ready(world)
    world.records.stored = {name: stored for name, stored in world.records.stored.items() if not name.startswith("grant-")}
    world.restart()
    await world.reconcile(REF)
    assert (world.ready(REF), grant_ids(world)) == ("RecordIntegrity", set())


@pytest.mark.parametrize(("operations", "same"), [(["Decrypt", "Encrypt"], True), (["Decrypt"], False)])
async def test_after_the_crd_was_made_again_the_same_words_are_the_same_grant(world: World, operations: list[str], same: bool) -> None:
    first = await ready(world, ttl="1h")
    del world.objects.bodies[REF]
    for crd in (None, CrdFacts("crd-KmsGrant", terminating=True), CrdFacts("made-again")):
        world.objects.crds = {**world.objects.crds, Kind.GRANT: crd}  # type: ignore[dict-item]
        await world.reconcile(REF)
        assert grant_ids(world) == {first}
    world.clock.advance(minutes=10)
    world.apply(REF, uid="of-the-new-crd", **{**SPEC, "operations": operations, "ttl": "1h"})
    await world.reconcile(REF)
    assert (record(world).grant_id == first) is same
    assert (world.ready(REF), record(world).crd_uid) == ("Available", "made-again")
    assert record(world).expires_at == format_time(NOW.replace(hour=9, minute=0 if same else 10))
    assert events(world) == (["Reattached"] if same else ["Created"])


@pytest.mark.parametrize("how", [names.ADOPT_TRUE, names.ADOPT_AS_NEW])
async def test_an_earlier_namespaces_grant_must_be_adopted(world: World, how: str) -> None:
    first = await ready(world)
    del world.objects.bodies[REF], world.objects.bodies[KEY]
    world.objects.namespaces["team-a"] = NamespaceFacts(OTHER_UID)
    await passes(world, REF, KEY)
    assert grant_ids(world) == {first}
    world.apply(KEY)
    world.apply(REF, **SPEC)
    await passes(world, KEY, REF)
    assert (world.ready(REF), "grantId" in world.status(REF)) == ("AdoptionRequired", False)
    assert record(world).key_id not in str(world.status(REF))
    world.apply(KEY, annotations=ADOPT)
    world.apply(REF, annotations={names.ADOPT: how}, **SPEC)
    await passes(world, KEY, REF)
    assert world.ready(REF) == "Available"
    assert (record(world).grant_id == first) is (how == names.ADOPT_TRUE)
    assert record(world).namespace_uid == OTHER_UID
    assert events(world)[-1] == ("Adopted" if how == names.ADOPT_TRUE else "Created")
    after = record(world)
    world.apply(REF, **SPEC)  # the annotation is taken away
    await world.reconcile(REF)
    assert record(world) == after


# The end of the key


async def test_a_grant_of_a_destroyed_key_ends_and_a_new_key_does_not_inherit_it(world: World) -> None:
    first = await ready(world)
    await a_key(world, scheduledDeletion={"pendingWindowInDays": 7})
    world.clock.advance(days=8)
    await world.reconcile(KEY)
    world.clock.advance(minutes=11)
    await passes(world, KEY, KEY)
    destroyed = world.record(KEY, KeyRecord).key_id
    await world.reconcile(REF)
    assert (world.ready(REF), grant_ids(world)) == ("KeyDestroyed", set())
    world.clock.advance(hours=1)
    world.apply(KEY, annotations={names.NEW_KEY_AFTER_DESTRUCTION: destroyed})
    await world.reconcile(KEY)
    assert world.ready(KEY) == "Available"
    for _ in range(2):
        await world.reconcile(REF)
        assert (world.ready(REF), grant_ids(world)) == ("KeyDestroyed", set())
        world.restart()
    await replace(world)
    assert (world.ready(REF), record(world).grant_id != first) == ("Available", True)
    assert record(world).key_id != destroyed
