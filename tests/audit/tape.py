"""An audit trail that keeps what the controller tells it, for tests of what a World does: `taped(world)`."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from dataclasses import dataclass, field
from typing import Any, Literal

from tests.reconciler.fakes import World

from keystead.engine.record import KeyRecord
from keystead.errors import AuditUnavailableError
from keystead.operations.trail import CallEvent, ServiceEvent
from keystead.reconciler.chronicle import Chronicle
from keystead.reconciler.ports import Kind, ObjectRef

REF = ObjectRef(Kind.KEY, "team-a", "k")


class Gate(asyncio.Event):
    """`waiting`: how many wait at it, and could not go on."""

    waiting = 0

    async def wait(self) -> Literal[True]:
        self.waiting += 1
        try:
            return await super().wait()
        finally:
            self.waiting -= 1


@dataclass
class Tape:
    """`trail.Audit`. `states`: what the key REF was when an event came."""

    world: World
    events: list[ServiceEvent] = field(default_factory=list)
    states: list[Any] = field(default_factory=list)
    stopped: bool = False
    durable: Gate = field(default_factory=Gate)

    def call(self, _: CallEvent) -> None:
        raise AssertionError

    def service(self, event: ServiceEvent) -> Awaitable[None]:
        if self.stopped:
            raise AuditUnavailableError
        self.events.append(event)
        self.states.append(self.world.record(REF, KeyRecord).state if self.world.has_record(REF) else None)
        return self._later()

    async def _later(self) -> None:
        await self.durable.wait()

    @property
    def names(self) -> list[str]:
        return [event.name for event in self.events]


def taped(world: World) -> Tape:
    """From now on the world's changes are told to it."""
    tape = Tape(world)
    tape.durable.set()
    world.book.chronicle = Chronicle(tape, world.clock.now, world.engine.hsm.entropy)
    return tape
