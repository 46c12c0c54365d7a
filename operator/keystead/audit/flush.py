"""A thread that does what blocks, one job at a time, for an event loop that must not. Called by the journal, one for each sink.

A daemon thread: a disk or a reader that never answers must not keep the process from ending (a ThreadPoolExecutor would be joined).
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from queue import SimpleQueue
from typing import Any, TypeVar

T = TypeVar("T")
_Job = tuple[Callable[[], Any], "asyncio.Future[Any]", asyncio.AbstractEventLoop]


class Lane:
    """Made anywhere, used from one event loop."""

    def __init__(self, name: str) -> None:
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._work, name=f"audit-{name}", daemon=True)
        self._thread.start()

    def submit(self, job: Callable[[], T]) -> asyncio.Future[T]:
        """Its answer, or what it raised."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        self._jobs.put((job, future, loop))
        return future

    def close(self) -> None:
        """After what it is doing, the thread ends."""
        self._jobs.put(None)

    def _work(self) -> None:
        while True:
            item = self._jobs.get()
            if item is None:
                return
            job, future, loop = item
            try:
                answer, error = job(), None
            except Exception as raised:  # noqa: BLE001 - the outermost loop of the thread: it is told to whoever waits
                answer, error = None, raised
            with suppress(RuntimeError):  # the loop is closed: nobody waits
                loop.call_soon_threadsafe(_settle, future, answer, error)
            del item, job, future, answer, error


def _settle(future: asyncio.Future[Any], answer: Any, error: Exception | None) -> None:  # noqa: ANN401
    if future.done():
        return
    if error is None:
        future.set_result(answer)
    else:
        future.set_exception(error)
