"""One kind of fact that only the API server knows, remembered for seconds. Used by server/facts.py only.

A yes lives 10 s, a no 2 s. A yes that is used is asked for again in the background at 7 s, so that a busy caller never waits. Questions
that come at once are one question. A question that is not answered in 1 s is a fault, never a yes or a no.

While the API server does not answer, a yes that was learnt before goes on for `stretch` seconds in all: as long as the records do
(`maxStale`; 0: not at all). Nobody can know better then. A no is never stretched. What may never enter: a secret as a key.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Hashable
from typing import Final, Generic, NamedTuple, TypeVar

from keystead.errors import KeysteadError, KmsInternalError, StoreError, StoreUnavailableError

log = logging.getLogger(__name__)
K = TypeVar("K", bound=Hashable)
V = TypeVar("V")

YES_SECONDS: Final = 10.0
NO_SECONDS: Final = 2.0
REFRESH_SECONDS: Final = 7.0
DEADLINE_SECONDS: Final = 1.0
MOST: Final = 50_000


class Fact(NamedTuple, Generic[V]):
    """What was answered, and when it was asked."""

    value: V
    at: float


class FactCache(Generic[K, V]):
    """`is_yes` tells an answer that lives long from one that does not. `most`: of each of the two, the oldest go first."""

    def __init__(
        self, is_yes: Callable[[V], bool], monotonic: Callable[[], float], most: int = MOST, stretch: float = 0.0
    ) -> None:
        self._is_yes = is_yes
        self._monotonic = monotonic
        self._most = most
        self._yes: dict[K, Fact[V]] = {}
        self._no: dict[K, Fact[V]] = {}
        self._asking: dict[K, asyncio.Task[V]] = {}
        self._stretch = stretch
        self._away = False
        self._unreached: float | None = None

    def __len__(self) -> int:
        return len(self._yes) + len(self._no)

    def known(self, key: K, ask: Callable[[K], Awaitable[V]]) -> Fact[V] | None:
        """The fact, None where it has to be asked for. `ask`: how to ask for it again, in the background."""
        now = self._monotonic()
        fact = self._yes.get(key)
        if fact is not None and now < fact.at + YES_SECONDS:
            if now >= fact.at + REFRESH_SECONDS and key not in self._asking:
                self._start(key, ask)
            return fact
        if fact is not None and self._is_stretched(fact, now):
            if now >= (self._unreached or 0.0) + DEADLINE_SECONDS and key not in self._asking:
                self._start(key, ask)
            return fact
        fact = self._no.get(key)
        return fact if fact is not None and now < fact.at + NO_SECONDS else None

    async def ask(self, key: K, ask: Callable[[K], Awaitable[V]]) -> V:
        """The fact, asked for where it is not known. KmsInternalError where no answer comes."""
        fact = self.known(key, ask)
        if fact is not None:
            return fact.value
        task = self._asking.get(key) or self._start(key, ask)
        try:
            return await asyncio.shield(task)  # others wait for it, too
        except KmsInternalError:
            old = self._yes.get(key)
            if old is None or not self._is_stretched(old, self._monotonic()):
                raise
            return old.value

    def _is_stretched(self, fact: Fact[V], now: float) -> bool:
        """Whether an old yes still counts: the API server cannot be asked, and it is not older than the records may be."""
        return self._unreached is not None and now < fact.at + self._stretch

    def _start(self, key: K, ask: Callable[[K], Awaitable[V]]) -> asyncio.Task[V]:
        task = self._asking[key] = asyncio.get_running_loop().create_task(self._answer(key, ask))
        task.add_done_callback(_look)
        return task

    async def _answer(self, key: K, ask: Callable[[K], Awaitable[V]]) -> V:
        asked = self._monotonic()
        try:
            async with asyncio.timeout(DEADLINE_SECONDS):
                value = await ask(key)
        except (StoreError, TimeoutError) as error:
            if not self._away:  # said once, not for every request that needs it
                log.warning("a fact could not be asked for: %s", error if isinstance(error, StoreError) else "no answer in time")
            self._away = True
            self._unreached = self._monotonic() if isinstance(error, StoreUnavailableError | TimeoutError) else None
            raise KmsInternalError from None
        finally:
            del self._asking[key]
        self._away, self._unreached = False, None
        self._keep(key, Fact(value, asked))
        return value

    def _keep(self, key: K, fact: Fact[V]) -> None:
        """At the end of its table, which is thus in the order of time; what has run out leaves at the front, two at a time."""
        yes = self._is_yes(fact.value)
        table, other, seconds = (self._yes, self._no, YES_SECONDS) if yes else (self._no, self._yes, NO_SECONDS)
        other.pop(key, None)
        table.pop(key, None)
        table[key] = fact
        for _ in range(2):
            oldest = next(iter(table))
            if len(table) > self._most or table[oldest].at + seconds <= fact.at:
                del table[oldest]


def _look(task: asyncio.Task[V]) -> None:
    """Nobody may be waiting any more: the fault was logged."""
    if not task.cancelled():
        error = task.exception()
        if error is not None and not isinstance(error, KeysteadError):
            log.error("a question failed", exc_info=error)
