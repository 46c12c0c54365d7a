"""Workers: take a key from the queue, reconcile it, say when it is wanted again. They run only while the Lease is held."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from typing import Protocol

from keystead.errors import ConflictError, FencedError, KeysteadError, StoreError
from keystead.reconciler.outcome import Outcome
from keystead.reconciler.ports import Kind, Leadership, ObjectRef
from keystead.reconciler.queue import Class, WorkQueue

log = logging.getLogger(__name__)


class Reconciler(Protocol):
    """One kind's reconcile."""

    async def reconcile(self, ref: ObjectRef) -> Outcome: ...


class Observer(Protocol):
    """Metrics of the work; never a name of a tenant's object."""

    def reconciled(self, kind: Kind, seconds: float, result: str) -> None: ...


class Workers:
    """`count` tasks that share the queue."""

    def __init__(
        self,
        queue: WorkQueue,
        reconcilers: Mapping[Kind, Reconciler],
        leadership: Leadership,
        observer: Observer,
        jitter: Callable[[], float],
    ) -> None:
        self._queue = queue
        self._reconcilers = reconcilers
        self._leadership = leadership
        self._observer = observer
        self._jitter = jitter

    async def run(self, count: int) -> None:
        """Work until cancelled. FencedError ends all: this process no longer leads."""
        async with asyncio.TaskGroup() as group:
            for _ in range(count):
                group.create_task(self._work())

    async def _work(self) -> None:
        while True:
            key = await self._queue.get()
            started = time.monotonic()
            try:
                result = await self._one(key)
            except asyncio.CancelledError:
                self._queue.failed(key, self._jitter)
                raise
            self._observer.reconciled(key.kind, time.monotonic() - started, result)

    async def _one(self, key: ObjectRef) -> str:
        try:
            self._leadership.check()
            outcome = await self._reconcilers[key.kind].reconcile(key)
        except FencedError:
            self._queue.failed(key, self._jitter)
            raise
        except ConflictError as error:
            # Somebody else wrote first: look again at once, from the beginning.
            log.info("%s: %s", key, error)
            self._queue.failed(key, self._jitter)
            return "conflict"
        except (StoreError, KeysteadError) as error:
            log.warning("%s: %s", key, error)
            self._queue.failed(key, self._jitter)
            return "error"
        except Exception:
            log.exception("%s: unexpected", key)
            self._queue.failed(key, self._jitter)
            return "error"
        if outcome.failed:  # its condition says so: it is not new any more
            self._queue.failed(key, self._jitter, Class.REFRESH)
            return "obstacle"
        self._queue.done(key)
        if outcome.again_in is not None:
            self._queue.add_later(key, outcome.again_in)
        return "ok"
