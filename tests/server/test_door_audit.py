"""The door and its audit: every authenticated call is recorded before it is answered, and what cannot be recorded is not answered."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable
from dataclasses import dataclass, field
from typing import Any

import pytest
from tests.server.doors import IDENTITY, NOW, Away, House, ask

from keystead.errors import AccessDeniedError, AuditUnavailableError, UnrecognizedClientError
from keystead.operations.trail import CallEvent, ServiceEvent
from keystead.server.message import Asked, Reply


@dataclass
class Tape:
    """`trail.Audit`: what was recorded."""

    events: list[CallEvent] = field(default_factory=list)
    stopped: bool = False
    durable: asyncio.Event | None = None
    error: Exception | None = None
    at_once: Exception | None = None

    def call(self, event: CallEvent) -> Awaitable[None] | None:
        if self.at_once is not None:
            raise self.at_once
        self.events.append(event)
        return None if self.durable is None and self.error is None else self._later()

    async def _later(self) -> None:
        if self.durable is not None:
            await self.durable.wait()
        if self.error is not None:
            raise self.error

    def service(self, _: ServiceEvent) -> None:
        raise AssertionError


async def answered(house: House, tape: Tape, asked: Asked | None = None) -> Reply:
    coming = house.door(audit=tape).handle(asked or ask(body=b"hello"))
    return coming if isinstance(coming, Reply) else await coming


def code(reply: Reply) -> str:
    return str(json.loads(reply.body)["__type"])


async def test_an_answered_call_is_one_record_with_what_was_asked_and_answered() -> None:
    house, tape = House(), Tape()
    reply = house.door(audit=tape).handle(ask(body=b"hello", user_agent="aws-cli"))
    assert isinstance(reply, Reply)  # nothing to wait for: at once
    (event,) = tape.events
    assert (event.operation, event.request, event.response, event.code) == ("Echo", "hello", ("hello",), "")
    assert (event.actor, event.region, event.time) == (IDENTITY.actor, "us-east-1", NOW)
    assert event.headers[b"user-agent"] == b"aws-cli"
    assert dict(reply.headers)[b"x-amzn-requestid"].decode() == event.request_id != event.event_id


async def test_a_refused_call_is_recorded_with_its_error() -> None:
    house, tape = House(fault=AccessDeniedError("no")), Tape()
    assert code(await answered(house, tape)) == "AccessDeniedException"
    assert [(event.code, event.message, event.response) for event in tape.events] == [("AccessDeniedException", "no", None)]


async def test_who_is_not_known_leaves_no_record() -> None:
    """It belongs to no account, and anybody could fill the disk with it."""
    house, tape = House(), Tape()
    house.who.error = UnrecognizedClientError("who")
    await answered(house, tape)
    assert tape.events == []


@pytest.mark.parametrize("fault", [None, AccessDeniedError("no")])
async def test_the_answer_waits_until_the_record_is_durable(fault: Exception | None) -> None:
    tape = Tape(durable=asyncio.Event())
    coming = House(fault=fault).door(audit=tape).handle(ask())
    assert not isinstance(coming, Reply)
    answer = asyncio.ensure_future(coming)
    await asyncio.wait({answer}, timeout=0.05)
    assert (len(tape.events), answer.done()) == (1, False)
    assert tape.durable is not None
    tape.durable.set()
    assert (await answer).status == (200 if fault is None else 400)


@pytest.mark.parametrize("error", [AuditUnavailableError(), OSError("the disk is full of /secret/paths")])
@pytest.mark.parametrize("fault", [None, AccessDeniedError("no")])
async def test_a_record_that_fails_is_an_internal_error_in_place_of_the_answer(error: Exception, fault: Exception | None) -> None:
    house, tape = House(fault=fault), Tape(error=error)
    reply = await answered(house, tape)
    assert (reply.status, code(reply)) == (500, "KMSInternalException")
    assert b"hello" not in reply.body
    assert b"secret" not in reply.body


async def test_a_record_that_is_refused_at_once_is_an_internal_error() -> None:
    house, tape = House(fault=AccessDeniedError("no")), Tape(at_once=AuditUnavailableError())
    assert code(await answered(house, tape)) == "KMSInternalException"
    assert code(await answered(House(), tape)) == "KMSInternalException"


async def test_nothing_is_begun_while_no_record_can_be_kept() -> None:
    house, tape = House(), Tape(stopped=True)
    reply = await answered(house, tape)
    assert (reply.status, code(reply), house.seen) == (500, "KMSInternalException", ["signature"])
    assert tape.events == []


async def test_a_call_whose_caller_is_known_later_is_recorded_too() -> None:
    house, tape = House(), Tape(durable=asyncio.Event())
    house.who.later = Away(IDENTITY)
    assert tape.durable is not None
    tape.durable.set()
    assert (await answered(house, tape)).status == 200
    assert len(tape.events) == 1


async def test_the_use_of_a_key_names_the_event_of_its_record() -> None:
    house, tape, used = House(), Tape(), []
    await_ = house.door(audit=tape, used=lambda *told: used.append(told)).handle(ask())
    assert isinstance(await_, Reply)
    assert [told[3] for told in used] == [tape.events[0].event_id]


# Counted once, by what the caller got


@dataclass
class Bill:
    """`calls.Counter`: what was counted for usage."""

    counted: list[str] = field(default_factory=list)

    def answered(self, operation: str, *_: object) -> None:
        self.counted.append(operation)

    def refused(self, *_: object) -> None:
        self.counted.append("refused")


FAILS: dict[str, dict[str, Any]] = {
    "later": {"error": AuditUnavailableError()},
    "by a fault": {"error": OSError("full")},
    "at once": {"at_once": AuditUnavailableError()},
    "before": {"stopped": True},
}


@pytest.mark.parametrize("known", ["at once", "later"])
@pytest.mark.parametrize("fault", [None, AccessDeniedError("no")])
@pytest.mark.parametrize("fails", FAILS)
async def test_a_call_whose_record_fails_is_counted_once_by_what_its_caller_got(fails: str, fault: Exception | None, known: str) -> None:
    house, bill = House(fault=fault), Bill()
    if known == "later":
        house.who.later = Away(IDENTITY)
    coming = house.door(audit=Tape(**FAILS[fails]), calls=bill).handle(ask())
    assert code(coming if isinstance(coming, Reply) else await coming) == "KMSInternalException"
    # Usage has what the trail has, and no more.
    assert (house.served, bill.counted) == ([("Echo", "KMSInternalException")], [])


@pytest.mark.parametrize("fault", [None, AccessDeniedError("no")])
@pytest.mark.parametrize("waits", [False, True])
async def test_a_call_is_counted_once_and_not_before_its_record_is_durable(waits: bool, fault: Exception | None) -> None:
    house, bill = House(fault=fault), Bill()
    tape = Tape(durable=asyncio.Event() if waits else None)
    coming = house.door(audit=tape, calls=bill).handle(ask())
    if not isinstance(coming, Reply):
        answer = asyncio.ensure_future(coming)
        await asyncio.wait({answer}, timeout=0.05)
        assert (house.served, bill.counted) == ([], [])
        assert tape.durable is not None
        tape.durable.set()
        await answer
    assert house.served == [("Echo", "" if fault is None else "AccessDeniedException")]
    assert bill.counted == ["Echo" if fault is None else "refused"]
