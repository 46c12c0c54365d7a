"""Waiting for something to show in the read model, in one event loop. Used by store/model.py and by what `keystead dev` has in its place.

However many records change in one go, a waiter looks once: a change costs the same with no waiter and with a thousand.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


class Bell:
    """Rung at every change; who waits looks again, in the loop's next turn."""

    def __init__(self) -> None:
        self._waiters = 0
        self._event = asyncio.Event()

    def ring(self) -> None:
        """Something changed. Only from the loop's own thread."""
        if self._waiters:
            self._event.set()
            self._event = asyncio.Event()
            self._waiters = 0

    async def until(self, ready: Callable[[], T | None], seconds: float) -> T | None:
        """The first answer of `ready` that is not None; None when it has none after this time."""
        end = asyncio.get_running_loop().time() + seconds
        while (found := ready()) is None:
            left = end - asyncio.get_running_loop().time()
            if left <= 0:
                return None
            self._waiters += 1  # of this event; those who gave up are counted until it is rung
            try:
                async with asyncio.timeout(left):
                    await self._event.wait()
            except TimeoutError:
                return ready()
        return found
