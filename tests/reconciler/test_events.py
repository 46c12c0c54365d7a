"""Events are chosen ones, few, each once: what docs/reference/events.md says of a key, a data key and a rotation."""

from __future__ import annotations

from collections import Counter

from tests.reconciler.fakes import World

from keystead.errors import StoreUnavailableError
from keystead.reconciler.ports import Kind, ObjectRef
from keystead.resources import names
from keystead.resources.events import TYPICAL, Event

KEY = ObjectRef(Kind.KEY, "team-a", "k")
DATA_KEY = ObjectRef(Kind.DATA_KEY, "team-a", "d")


async def life(world: World) -> Counter[tuple[str, str]]:
    """Create, ten idle passes, one rotation, ten idle passes: (object, event) -> how often."""
    world.apply(KEY)
    world.apply(DATA_KEY, keyRef={"name": "k"}, target={"secretName": "s"})
    for _ in range(10):
        await world.reconcile(KEY)
        await world.reconcile(DATA_KEY)
    world.apply(KEY, annotations={names.ROTATE_REQUESTED_AT: "1"})
    for _ in range(10):
        await world.reconcile(KEY)
        await world.reconcile(DATA_KEY)
    uids = {world.objects.bodies[ref]["metadata"]["uid"]: ref.name for ref in (KEY, DATA_KEY)}
    return Counter((uids[uid], str(reason)) for uid, reason, _ in world.objects.events)


async def test_creation_idle_passes_and_a_rotation_emit_exactly_three_kinds_of_events(world: World) -> None:
    told = await life(world)
    assert told == {("k", "Created"): 1, ("k", "Rotated"): 1, ("d", "Created"): 1, ("d", "Rewrapped"): 1}
    assert {event for _, event in told} == set(TYPICAL) == {Event.CREATED, Event.ROTATED, Event.REWRAPPED}


async def test_an_event_whose_reply_was_lost_is_still_one(world: World) -> None:
    world.objects.fail("apply_status", StoreUnavailableError("lost"))
    world.apply(KEY)
    try:
        await world.reconcile(KEY)
    except StoreUnavailableError:
        await world.reconcile(KEY)
    assert [reason for _, reason, _ in world.objects.events] == ["Created"]


async def test_a_policy_that_cannot_be_used_is_a_warning_once(world: World) -> None:
    world.apply(KEY)
    await world.reconcile(KEY)
    world.apply(KEY, policy={"Version": "2012-10-17", "Statement": []})
    for _ in range(3):
        await world.reconcile(KEY)
    assert sorted(reason for _, reason, _ in world.objects.events) == ["Created", "InvalidSpec"]
