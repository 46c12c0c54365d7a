"""The work queue: new before refresh, deduplicated, one worker a key, own backoff.

A key that is asked for while it is worked on comes back once, in the more urgent of its classes. Delays are by the event loop's
monotonic clock. `jitter` spreads refreshes; it is an argument, so that tests are exact.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from enum import IntEnum
from typing import Final

from keystead.reconciler.ports import ObjectRef

BACKOFF_FIRST: Final = 0.2
BACKOFF_MAX: Final = 60.0


class Class(IntEnum):
    """Urgency. NEW: generation not yet observed, deletions. REFRESH: looking again."""

    NEW = 0
    REFRESH = 1


class WorkQueue:
    """Keys to reconcile. Used within one event loop.

    `refreshes`: so many are worked on at once, and no more: a worker is always free for a new object. None: no bound.
    """

    def __init__(self, refreshes: int | None = None) -> None:
        self._refreshes = refreshes
        self._ready: dict[Class, OrderedDict[ObjectRef, None]] = {kind: OrderedDict() for kind in Class}
        self._working: dict[ObjectRef, Class] = {}
        self._again: dict[ObjectRef, Class] = {}
        self._timers: dict[ObjectRef, asyncio.TimerHandle] = {}
        self._failures: dict[ObjectRef, int] = {}
        self._wake = asyncio.Event()
        self._closed = False

    def depth(self, kind: Class) -> int:
        """Keys of a class that wait for a worker now."""
        return len(self._ready[kind])

    def add(self, key: ObjectRef, kind: Class) -> None:
        """Ask for a key. Twice is once; the more urgent class wins."""
        if self._closed:
            return
        if key in self._working:
            self._again[key] = min(kind, self._again.get(key, kind))
            return
        self._cancel_timer(key)
        if key in self._ready[Class.NEW]:
            return
        if kind is Class.NEW:
            self._ready[Class.REFRESH].pop(key, None)
        self._ready[kind][key] = None
        self._wake.set()

    def add_later(self, key: ObjectRef, seconds: float, kind: Class = Class.REFRESH) -> None:
        """Ask for a key after a while; a sooner wish for it replaces a later one."""
        if self._closed:
            return
        loop = asyncio.get_running_loop()
        timer = self._timers.get(key)
        if timer is not None and timer.when() <= loop.time() + seconds:
            return
        self._cancel_timer(key)
        self._timers[key] = loop.call_later(max(seconds, 0.0), self._fire, key, kind)

    def _fire(self, key: ObjectRef, kind: Class) -> None:
        self._timers.pop(key, None)
        self.add(key, kind)

    def _cancel_timer(self, key: ObjectRef) -> None:
        timer = self._timers.pop(key, None)
        if timer is not None:
            timer.cancel()

    async def get(self) -> ObjectRef:
        """The next key; NEW ones first. Waits. CancelledError ends a worker."""
        while (kind := self._next()) is None:
            self._wake.clear()
            await self._wake.wait()
        key, _ = self._ready[kind].popitem(last=False)
        self._working[key] = kind
        return key

    def _next(self) -> Class | None:
        """The class to take from, None where a worker must wait."""
        if self._ready[Class.NEW]:
            return Class.NEW
        running = sum(kind is Class.REFRESH for kind in self._working.values())
        room = self._refreshes is None or running < self._refreshes
        return Class.REFRESH if self._ready[Class.REFRESH] and room else None

    def done(self, key: ObjectRef) -> None:
        """The work on a key ended well."""
        self._failures.pop(key, None)
        self._finish(key)

    def failed(self, key: ObjectRef, jitter: Callable[[], float], kind: Class | None = None) -> float:
        """The work failed: again after a backoff that doubles, 0.2 s to 60 s. Answers the delay.

        `kind` None: in the class that it was in, for a new object whose first try fails is still a new object.
        """
        count = self._failures.get(key, 0)
        self._failures[key] = count + 1
        delay = min(BACKOFF_FIRST * float(1 << min(count, 16)), BACKOFF_MAX) * (0.75 + 0.5 * jitter())
        kind = self._working[key] if kind is None else kind
        self._finish(key)
        if key not in self._ready[Class.NEW] and key not in self._ready[Class.REFRESH]:
            self.add_later(key, delay, kind)
        return delay

    def _finish(self, key: ObjectRef) -> None:
        self._working.pop(key, None)
        self._wake.set()
        again = self._again.pop(key, None)
        if again is not None:
            self.add(key, again)

    def close(self) -> None:
        """Take no more keys and stop the timers."""
        self._closed = True
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
