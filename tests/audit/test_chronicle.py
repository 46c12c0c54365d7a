"""What the controller does is on record: one event a write, a key's end before it ends, and nothing while nothing can be recorded."""

from __future__ import annotations

import asyncio
import inspect
import re
from typing import Any

import pytest
from msgspec.structs import replace as changed
from tests.audit.events import HSM, KEY
from tests.audit.tape import REF, Tape
from tests.builders import a_grant, a_key, an_alias
from tests.reconciler.fakes import World

from keystead.engine.record import Hold, KeyRecord
from keystead.errors import AuditUnavailableError, StoreUnavailableError
from keystead.operations.trail import EVENTS
from keystead.reconciler import chronicle, data_key_trail
from keystead.reconciler.chronicle import UNKNOWN, told_of
from keystead.reconciler.ports import Kind, ObjectRef
from keystead.resources import names
from keystead.resources.vocabulary import GrantOperation, KeyState
from keystead.server import auditroute

ALIAS = ObjectRef(Kind.ALIAS, "team-a", "a")
GRANT = ObjectRef(Kind.GRANT, "team-a", "g")
DATA_KEY = ObjectRef(Kind.DATA_KEY, "team-a", "d")


async def born(world: World, **spec: Any) -> None:
    world.apply(REF, **spec)
    await world.reconcile(REF)


def test_every_name_of_an_event_is_one_that_a_search_can_ask_for() -> None:
    sources = "".join(inspect.getsource(module) for module in (chronicle, data_key_trail))
    said = set(re.findall(r'(?:return |else |\()"([A-Z][a-z]\w+)"[,)]? ?', sources))
    said |= {f"{verb}{kind}" for verb in ("Create", "Update") for kind in re.findall(r'f"\{_verb\(before\)\}(\w+)"', sources)}
    assert said - {"Create", "Update"} == EVENTS - {auditroute.NAME}


async def test_a_key_and_all_that_is_bound_to_it_are_on_record(world: World, tape: Tape) -> None:
    await born(world)
    world.apply(ALIAS, aliasName="alias/a", keyRef={"name": "k"})
    world.apply(GRANT, operations=["Decrypt"], serviceAccountRef={"name": "app"}, keyRef={"name": "k"})
    world.apply(DATA_KEY, keyRef={"name": "k"}, target={"secretName": "s"})
    for ref in (ALIAS, GRANT, DATA_KEY):
        await world.reconcile(ref)
    assert tape.names == ["CreateKey", "CreateAlias", "CreateGrant", "IssueDataKey", "InjectDataKey", "UpdateDataKey"]
    key = world.record(REF, KeyRecord)
    assert {event.key_arn for event in tape.events} == {f"arn:aws:kms:cluster-1:{key.account}:key/{key.key_id}"}
    assert {(event.account, event.namespace) for event in tape.events} == {(key.account, "team-a")}
    assert len({event.event_id for event in tape.events}) == 6
    assert tape.events[4].details == {"name": "d", "secretName": "s", "version": "1"}


async def test_a_rotation_and_the_re_wrap_that_follows_are_on_record(world: World, tape: Tape) -> None:
    await born(world)
    world.apply(DATA_KEY, keyRef={"name": "k"}, target={"secretName": "s"})
    await world.reconcile(DATA_KEY)
    world.apply(REF, annotations={names.ROTATE_REQUESTED_AT: "now"})
    await world.reconcile(REF)
    world.clock.advance(days=1)
    await world.reconcile(DATA_KEY)
    rotated = next(event for event in tape.events if event.name == "RotateKey")
    assert rotated.details["rotationType"] == "ON_DEMAND"
    assert rotated.details["keyMaterialId"] == world.record(REF, KeyRecord).versions[1].material_id
    assert "ReWrapDataKey" in tape.names


async def ended(world: World) -> None:
    """A key whose window is over."""
    await born(world, deletionPolicy="ScheduleDeletion", pendingWindowInDays=7)
    world.delete(REF)
    await world.reconcile(REF)
    for _ in range(3):
        world.clock.advance(days=8)
        await world.reconcile(REF)


async def test_a_keys_end_is_on_record_before_its_material_is_gone(world: World, tape: Tape) -> None:
    await ended(world)
    ends = [(event, state) for event, state in zip(tape.events, tape.states, strict=True) if event.name == "DeleteKey"]
    found = [(event.details["phase"], state) for event, state in ends]
    assert found == [("begins", KeyState.PENDING_DELETION), ("done", KeyState.DESTROYED)]
    assert "ScheduleKeyDeletion" in tape.names


async def test_a_keys_end_waits_until_it_is_durable_that_it_begins(world: World, tape: Tape) -> None:
    await born(world, deletionPolicy="ScheduleDeletion", pendingWindowInDays=7)
    world.delete(REF)
    await world.reconcile(REF)
    tape.durable.clear()
    for _ in range(2):
        world.clock.advance(days=8)
        ending = asyncio.create_task(world.reconcile(REF))
        while not ending.done() and not tape.durable.waiting:
            await asyncio.sleep(0.001)
        if not ending.done():
            break
    assert not ending.done()
    assert world.record(REF, KeyRecord).state is KeyState.PENDING_DELETION
    tape.durable.set()
    await ending
    assert world.record(REF, KeyRecord).state is KeyState.DESTROYED


async def test_nothing_is_written_while_nothing_can_be_recorded(world: World, tape: Tape) -> None:
    tape.stopped = True
    await born(world)
    assert not world.has_record(REF)
    assert "no audit record can be kept now" in str(world.status(REF)["conditions"])
    tape.stopped = False
    await world.reconcile(REF)
    assert world.ready(REF) == "Available"
    assert tape.names == ["CreateKey"]


async def test_what_is_written_and_cannot_be_recorded_then_is_no_fault_of_the_object(world: World, tape: Tape) -> None:
    await born(world)
    world.apply(REF, description="x")
    tape.durable.clear()

    async def fails() -> None:
        raise AuditUnavailableError

    tape._later = fails  # type: ignore[method-assign]
    await world.reconcile(REF)
    assert world.ready(REF) == "Available"
    assert world.record(REF, KeyRecord).description == "x"


async def test_a_write_whose_answer_was_lost_is_on_record_as_that(tape: Tape, world: World) -> None:
    await born(world)
    before = world.record(REF, KeyRecord)
    await world.book.chronicle.wrote(before, changed(before, description="x"), known=False)
    assert (tape.events[-1].name, tape.events[-1].code) == ("UpdateKey", UNKNOWN)


@pytest.mark.parametrize("world", [World], indirect=True)
async def test_the_book_tells_when_a_stores_answer_was_lost(world: World, tape: Tape) -> None:
    await born(world)
    world.apply(REF, description="x")
    world.records.fail("lose_reply", StoreUnavailableError("gone"))
    with pytest.raises(StoreUnavailableError):
        await world.reconcile(REF)
    assert tape.events[-1].code == UNKNOWN


KEY_2 = a_key(HSM, n_versions=2)


@pytest.mark.parametrize(
    ("before", "after", "name"),
    [
        (None, KEY, "CreateKey"),
        (KEY, KEY_2, "RotateKey"),
        (KEY, a_key(HSM, n=2), "CreateKey"),
        (KEY, changed(KEY, enabled=False, state=KeyState.DISABLED), "DisableKey"),
        (changed(KEY, enabled=False), KEY, "EnableKey"),
        (KEY, changed(KEY, hold=Hold(since="2026-11-01T00:00:00Z", by="x")), "HoldKey"),
        (changed(KEY, hold=Hold(since="2026-11-01T00:00:00Z", by="x")), KEY, "ReleaseKey"),
        (KEY, a_key(HSM, state=KeyState.PENDING_DELETION), "ScheduleKeyDeletion"),
        (a_key(HSM, state=KeyState.PENDING_DELETION), KEY, "CancelKeyDeletion"),
        (KEY, a_key(HSM, state=KeyState.DESTROYED), "DeleteKey"),
        (KEY, changed(KEY, policy=b"{}"), "PutKeyPolicy"),
        (KEY, changed(KEY, namespace_uid="other"), "AdoptKey"),
        (KEY, changed(KEY, tags={"a": "b"}, description="x"), "UpdateKey"),
        (None, an_alias(KEY), "CreateAlias"),
        (an_alias(KEY), None, "DeleteAlias"),
        (an_alias(KEY), changed(an_alias(KEY), key_id=KEY_2.key_id, updated="2026-11-02T00:00:00Z"), "UpdateAlias"),
        (None, a_grant(KEY, GrantOperation.DECRYPT), "CreateGrant"),
        (a_grant(KEY, GrantOperation.DECRYPT), None, "RevokeGrant"),
        (a_grant(KEY, GrantOperation.DECRYPT), a_grant(KEY, GrantOperation.DECRYPT, bound=False), "UpdateGrant"),
    ],
)  # fmt: skip
def test_a_write_has_its_name(before: Any, after: Any, name: str) -> None:
    told = told_of(before, after)
    assert told is not None
    assert told[0] == name


def test_what_changed_is_named_and_never_shown() -> None:
    told = told_of(KEY, changed(KEY, transition=2, tags={"secret-tag": "secret"}, description="secret words"))
    assert told == ("UpdateKey", {"name": KEY.name, "changed": "description,tags"})


def test_what_is_nobodys_business_has_no_name() -> None:
    assert told_of(None, None) is None
