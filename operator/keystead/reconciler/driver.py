"""The one reconcile of all kinds: gather, plan, apply, show. Level-based: it looks at what is, not at what happened.

A kind brings a `Life` (key.py, alias.py, grant.py, data_key.py); the driver turns errors into conditions, bounds the steps of one pass,
emits the events before the status (a kill in between emits the same event again, and the API server knows it), and says when to look again.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final, Generic, Protocol, TypeVar

from keystead.engine.plan.common import DeleteObject, Obstacle, Plan
from keystead.engine.view.common import Notice
from keystead.errors import InvalidSpecError, KeysteadError
from keystead.reconciler.context import Context
from keystead.reconciler.outcome import TARGET_FORBIDDEN_HINT, Outcome, StoppedError, obstacle_of, spread
from keystead.reconciler.ports import EventType, Kind, ObjectRef
from keystead.resources.model import Resource, to_wire
from keystead.resources.reasons import Reason
from keystead.resources.status import CommonStatus

log = logging.getLogger(__name__)
# Steps of one pass; with more left the object comes back at once, behind those that wait.
_STEPS: Final = 8
# A moment that a plan waits for is looked at just after it.
_AFTER: Final = 0.05

Object = TypeVar("Object", bound=Resource)
Gathered = TypeVar("Gathered")


class Life(Protocol[Object, Gathered]):
    """What one kind adds."""

    kind: Kind

    def parse(self, body: Mapping[str, Any]) -> Object:
        """InvalidSpecError where the body is not of this version of the kind."""

    def nothing(self, found: Object) -> Gathered:
        """No facts but the object: what a pass that could not gather shows."""

    async def gather(self, ref: ObjectRef, found: Object | None) -> Gathered:
        """Everything that the plan depends on, read now."""

    def plan(self, gathered: Gathered) -> Plan[Any]:
        """The pure plan."""

    async def apply(self, ref: ObjectRef, gathered: Gathered, step: Any) -> Gathered:  # noqa: ANN401 - the kind's own steps
        """Do one step, and answer the facts after it. StoppedError: with this obstacle."""

    def status(self, found: Object, gathered: Gathered, obstacle: Obstacle | None, now: datetime) -> CommonStatus:
        """The whole status."""

    def notices(self, found: Object, gathered: Gathered, obstacle: Obstacle | None) -> list[Notice]:
        """Events for what the status does not show yet."""

    def waits(self, found: Object | None, gathered: Gathered) -> bool:
        """Whether there is anything to look at again."""

    def next_change(self, found: Object | None, gathered: Gathered, now: datetime) -> datetime | None:
        """When the plan changes by time alone."""


class Driver(Generic[Object, Gathered]):
    """`reconcile` is what workers call for a kind."""

    def __init__(self, context: Context, life: Life[Object, Gathered]) -> None:
        self._context = context
        self._life = life

    async def reconcile(self, ref: ObjectRef) -> Outcome:
        """One object to what its spec says. StoreError and FencedError pass through; everything else becomes a condition."""
        body = await self._context.objects.get(ref)
        try:
            found = None if body is None else self._life.parse(body)
        except InvalidSpecError as error:
            await self._context.show_invalid(ref, body or {}, error)
            return Outcome(spread(ref, self._context.refresh_period))
        try:
            gathered = await self._life.gather(ref, found)
            gathered, obstacle, next_step = await self._work(ref, gathered)
        except KeysteadError as error:
            return await self._stopped(ref, found, error)
        if found is not None:
            if isinstance(next_step, DeleteObject):
                await self._tell(ref, found, gathered, obstacle)
                return await self._delete(ref, found)
            await self._show(ref, found, gathered, obstacle)
        return Outcome(self._again(ref, found, gathered) if next_step is None else 0.0)

    async def _work(self, ref: ObjectRef, gathered: Gathered) -> tuple[Gathered, Obstacle | None, object]:
        """(what is now, obstacle, the step that waits)."""
        plan = self._life.plan(gathered)
        for _ in range(_STEPS):
            if plan.step is None or isinstance(plan.step, DeleteObject):
                break
            try:
                gathered = await self._life.apply(ref, gathered, plan.step)
            except StoppedError as stopped:
                return gathered, stopped.obstacle, None
            plan = self._life.plan(gathered)
        return gathered, plan.obstacle, plan.step

    async def _delete(self, ref: ObjectRef, found: Object) -> Outcome:
        """The object goes, and no status is told of it any more: the watch sees it go."""
        self._context.leadership.check()
        await self._context.objects.delete(ref, found.metadata.uid)
        return Outcome(None)

    async def _show(self, ref: ObjectRef, found: Object, gathered: Gathered, obstacle: Obstacle | None) -> None:
        await self._tell(ref, found, gathered, obstacle)
        context, uid = self._context, found.metadata.uid
        status = self._life.status(found, gathered, obstacle, context.clock.now().replace(microsecond=0))
        if status != getattr(found, "status", None):
            await context.write_status(ref, uid, to_wire(status))

    async def _tell(self, ref: ObjectRef, found: Object, gathered: Gathered, obstacle: Obstacle | None) -> None:
        for notice in self._life.notices(found, gathered, obstacle):
            kind = EventType.WARNING if notice.warning else EventType.NORMAL
            await self._context.objects.event(ref, found.metadata.uid, notice.reason, notice.message, kind, notice.once)

    async def _stopped(self, ref: ObjectRef, found: Object | None, error: KeysteadError) -> Outcome:
        told = obstacle_of(error)
        if told is None:
            raise error
        obstacle, soon = told
        if obstacle.reason is Reason.TARGET_FORBIDDEN:
            # Only a data key has a target Secret: what is forbidden elsewhere are the records.
            own = self._life.kind is Kind.DATA_KEY
            said = f"{obstacle.message}{TARGET_FORBIDDEN_HINT}" if own else obstacle.message
            obstacle = Obstacle(obstacle.reason if own else Reason.ENGINE_UNAVAILABLE, said)
        if found is None:
            # Nobody reads a condition of it: the log says it, and what keeps its record from following is looked at again soon.
            log.warning("%s, which is gone: %s", ref, obstacle.message)
            return Outcome(None, failed=True)
        await self._show(ref, found, self._life.nothing(found), obstacle)
        return Outcome(spread(ref, self._context.refresh_period), failed=soon)

    def _again(self, ref: ObjectRef, found: Object | None, gathered: Gathered) -> float | None:
        if not self._life.waits(found, gathered):
            return None
        delay, now = spread(ref, self._context.refresh_period), self._context.clock.now()
        change = self._life.next_change(found, gathered, now)
        return delay if change is None else min(delay, max((change - now).total_seconds(), 0.0) + _AFTER)
