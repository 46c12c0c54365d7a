"""The journal of one process: takes events, chains their records, and tells when they are durable. Implements `trail.Audit`.

    sync       the answer waits until every sink has acknowledged the record (operations of table.DURABLE, and what Keystead does by itself)
    buffered   the answer does not wait; what is not acknowledged when the process is killed is lost: at most `buffer_seconds` and one
               write of records, or `buffer_bytes` of them

One batch is written at a time; what comes meanwhile is the next one, so that one fdatasync serves many calls. Lines are chained when a
batch is cut, once: a batch that fails is brought again as it was, and the chain has no hole.

Fails closed. A sink that fails, or has not acknowledged for `stall_seconds`, stops everything: waiting calls are refused, nothing is begun.
The records that were taken are kept, and tried again; when they are through, it goes on, with a `gap` line that says what happened.

A call that nobody waits for is written down together with the next 31, or when the batch is cut: one after the other they cost a third
of what each costs in the midst of its call (docs/performance.md). Of one that cannot be, a `gap` line tells.

Nothing here blocks the event loop: sinks work in threads of their own. What may never enter a line: a request as it is (cloudtrail.py).
"""

from __future__ import annotations

import asyncio
import errno
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from keystead.audit import cloudtrail, sessions
from keystead.audit.checkpoints import Checkpoints
from keystead.audit.flush import Lane
from keystead.audit.keeping import Keeping
from keystead.audit.lines import Chain, bare
from keystead.audit.ports import Keeper, NoSigner, Observer, Removed, Signer, Sink, Unobserved
from keystead.audit.rules import Rules
from keystead.audit.table import DURABLE
from keystead.engine.clock import format_time
from keystead.errors import AuditUnavailableError
from keystead.operations.trail import CallEvent, ServiceEvent

log = logging.getLogger(__name__)
_DURABLE: Final = DURABLE | sessions.DURABLE
_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT})


@dataclass(slots=True)
class _Batch:
    """What is written together. `hurried`: loop time of the first record that somebody waits for; None: nobody waits.

    events: calls that are no records yet, later than all records
    vouched: it is a checkpoint and nothing else, so that no other one has to follow
    patient: who waits for it however long it takes: no call
    """

    events: list[CallEvent] = field(default_factory=list)
    records: list[bytes] = field(default_factory=list)
    waiters: list[asyncio.Future[None]] = field(default_factory=list)
    patient: list[asyncio.Future[None]] = field(default_factory=list)
    size: int = 0
    buffered: int = 0
    durable: int = 0
    hurried: float | None = None
    vouched: bool = False


_STARTING: Final = "it is starting"
_TOGETHER: Final = 32
_USUAL_BYTES: Final = 2048


class Journal:
    """`run()` keeps it going; `close()` ends the chain. `stopped`, `reason`: whether records cannot be kept now, and why."""

    def __init__(
        self,
        chain: Chain,
        sinks: Sequence[Sink],
        start: dict[str, Any],
        now: Callable[[], datetime],
        *,
        rules: Rules | None = None,
        signer: Signer | None = None,
        keepers: Sequence[Keeper] = (),
        observer: Observer | None = None,
    ) -> None:
        self.stopped = True
        self.reason: str | None = _STARTING
        self.chain = chain
        self._lanes = [(sink, Lane(sink.name)) for sink in sinks]
        self._now = now
        self._rules = rules or Rules()
        self._tidying = [Keeping(keeper, self._removed, self._enough) for keeper in keepers]
        self._observer = observer or Unobserved()
        self._checkpoints = Checkpoints(chain, signer or NoSigner(), now, self._rules, self._wake)
        self._together = max(1, min(_TOGETHER, min(self._rules.buffer_bytes, self._rules.most_waiting) // (4 * _USUAL_BYTES)))
        self._next = _Batch()
        self._under_way: _Batch | None = None
        self._some, self._urgent = asyncio.Event(), asyncio.Event()
        self._closing = False
        self._lost = 0
        self._since = now()
        self._started = asyncio.Event()
        self._note(bare("start", {"time": format_time(self._since), **start}))

    @property
    def waiting(self) -> int:
        """Bytes of records that are not acknowledged; of what is no record yet about."""
        size = self._next.size + len(self._next.events) * _USUAL_BYTES
        return size + (0 if self._under_way is None else self._under_way.size)

    def call(self, event: CallEvent) -> Awaitable[None] | None:
        """As trail.Audit."""
        batch, durable = self._next, self._rules.sync and event.operation in _DURABLE
        if not (durable or self.stopped or batch.size > self._rules.most_waiting):
            batch.events.append(event)
            if len(batch.events) >= self._together:
                self._write_down(batch)
            if not self._some.is_set():
                self._some.set()
            return None
        try:
            records = cloudtrail.call(event)
        except Exception as error:  # noqa: BLE001 - what cannot be written down is not answered
            raise _unfit(event.operation, error) from None
        return self._take(records, durable)

    def service(self, event: ServiceEvent) -> Awaitable[None] | None:
        """As trail.Audit. In mode sync it is always waited for."""
        try:
            record = cloudtrail.service(event)
        except Exception as error:  # noqa: BLE001 - what cannot be written down is not answered
            raise _unfit(event.name, error) from None
        return self._take((record,), self._rules.sync)

    def _write_down(self, batch: _Batch) -> None:
        """Events become records."""
        events, batch.events = batch.events, []
        for event in events:
            try:
                records = cloudtrail.call(event)
            except Exception as error:  # noqa: BLE001 - it was answered: what is left is to say so
                _unfit(event.operation, error)
                now = format_time(self._now())
                told = {"reason": "a record could not be written down", "lost": 1, "from": format_time(event.time), "to": now}
                records = (bare("gap", {"time": now, **told}),)
            batch.records.extend(records)
            batch.size += sum(map(len, records))
            batch.buffered += len(records)
        if batch.size >= self._rules.buffer_bytes:
            self._urgent.set()

    def _take(self, records: Sequence[bytes], durable: bool) -> Awaitable[None] | None:
        batch = self._next
        self._write_down(batch)
        size = sum(map(len, records))
        if self.stopped or batch.size > self._rules.most_waiting:
            self._take_late(records, size)
            raise AuditUnavailableError
        batch.records.extend(records)
        batch.size += size
        if not self._some.is_set():
            self._some.set()
        if not durable:
            batch.buffered += len(records)
            if batch.size >= self._rules.buffer_bytes:
                self._urgent.set()
            return None
        batch.durable += len(records)
        loop = asyncio.get_running_loop()
        if batch.hurried is None:
            batch.hurried = loop.time()
            self._urgent.set()
        waiter: asyncio.Future[None] = loop.create_future()
        batch.waiters.append(waiter)
        return waiter

    def _take_late(self, records: Sequence[bytes], size: int) -> None:
        """It was done, and will not be answered: its record is kept all the same, as long as there is room."""
        if not self.stopped:
            self._stop(f"more than {self._rules.most_waiting} bytes of records wait")
        batch = self._next
        if batch.size > 2 * self._rules.most_waiting:
            self._lost += len(records)
            return
        batch.records.extend(records)
        batch.size += size
        batch.buffered += len(records)
        self._some.set()

    def _note(self, record: bytes) -> None:
        """A line of our own."""
        self._next.records.append(record)
        self._next.size += len(record)
        self._wake()

    def _wake(self) -> None:
        """There is something to write, at once."""
        self._some.set()
        self._urgent.set()

    async def run(self) -> None:
        """Write, for ever, or until `close`."""
        tidying = [asyncio.create_task(keeping.run()) for keeping in self._tidying]
        try:
            while not self._closing or self._next.records or self._next.events:
                await self._something()
                self._write_down(self._next)
                batch, self._next = self._next, _Batch()
                self._some.clear()
                self._urgent.clear()
                if batch.records or self._checkpoints.due:
                    await self._write(batch)
            await self._write(_Batch(records=[await self._checkpoints.end()]))
        except Exception as error:
            self._stop(f"a defect, {type(error).__name__}")
            raise
        finally:
            self._checkpoints.stop()
            for task in tidying:
                task.cancel()
            await asyncio.gather(*tidying, return_exceptions=True)

    async def started(self) -> None:
        """The first line is kept."""
        await self._started.wait()

    async def close(self, running: asyncio.Task[None]) -> None:
        """End the chain: `running` is the task of `run`. What is not kept in `close_seconds` stays without an end, as after a crash."""
        self._closing = True
        self._wake()
        done, _ = await asyncio.wait({running}, timeout=self._rules.close_seconds)
        if not done:
            log.error("audit: the last records were not kept: %s", self.reason or "a sink is slow")
            running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        for sink, lane in self._lanes:
            if done:
                await lane.submit(sink.close)
            lane.close()
        self._stop("it has ended", quietly=True)

    async def _something(self) -> None:
        """Until there is a batch to write: at once where somebody waits, else after `buffer_seconds`."""
        await self._some.wait()
        if not self._urgent.is_set():
            try:
                async with asyncio.timeout(self._rules.buffer_seconds):
                    await self._urgent.wait()
            except TimeoutError:
                pass

    async def _write(self, batch: _Batch) -> None:
        """Chain it, bring it to all sinks, until they have it; then tell."""
        self._under_way = batch
        if self._checkpoints.due:
            record = await self._checkpoints.line()
            if record is not None:
                batch.vouched = not batch.records
                batch.records.insert(0, record)
        if not batch.records:
            self._under_way = None
            return
        data = b"".join(map(self.chain.link, batch.records))
        loop = asyncio.get_running_loop()
        began = loop.time()
        late = (began if batch.hurried is None else batch.hurried) + self._rules.stall_seconds
        watch = loop.call_at(late, self._stop, "a sink has not acknowledged in time")
        try:
            keeping = [self._until_kept(sink, lane, data) for sink, lane in self._lanes]
            await (keeping[0] if len(keeping) == 1 else asyncio.gather(*keeping))  # one needs no task of its own
        finally:
            watch.cancel()
        self._under_way = None
        self._observer.flushed(loop.time() - began)
        self._kept(batch)

    async def _until_kept(self, sink: Sink, lane: Lane, data: bytes) -> None:
        while True:
            try:
                await lane.submit(lambda: sink.write(data))
            except OSError as error:
                if error.errno in _FULL:  # the next room may be what another process of the folder gave for its removals
                    for keeping in self._tidying:
                        keeping.scarce = True
                self._stop(f"{sink.name}: {error.strerror or type(error).__name__}")
                await asyncio.sleep(self._rules.retry_seconds)
            else:
                return

    def _kept(self, batch: _Batch) -> None:
        for durability, number in (("sync", batch.durable), ("buffered", batch.buffered)):
            if number:
                self._observer.recorded(durability, number)
        if not batch.vouched:
            self._checkpoints.follow()
        if self.stopped and not any(keeping.scarce for keeping in self._tidying):
            self._go_on()
        for waiter in (*batch.waiters, *batch.patient):
            if not waiter.done():
                waiter.set_result(None)

    def _enough(self) -> bool:
        """Room is held back on the disk. Whether that is enough: not for as long as a batch finds none."""
        if self._under_way is None and self.stopped:
            self._go_on()
        return self._under_way is None

    def _go_on(self) -> None:
        """All sinks have all that was taken until they failed, but for what came meanwhile."""
        if self.reason is not _STARTING:
            now = self._now()
            log.warning("audit: records are kept again")
            told = {"reason": self.reason, "lost": self._lost, "from": format_time(self._since), "to": format_time(now)}
            self._note(bare("gap", {"time": format_time(now), **told}))
            self._lost = 0
        self.stopped, self.reason = False, None
        self._started.set()

    def _stop(self, reason: str, *, quietly: bool = False) -> None:
        """Nothing is taken any more, and who waits is refused."""
        if self.reason is None or self.reason is _STARTING:
            self._since = self._now()
            if not quietly:
                log.error("audit: no record can be kept, so nothing is answered: %s", reason)
            self.stopped, self.reason = True, reason
        for batch in (self._next, self._under_way):
            if batch is not None:
                for waiter in batch.waiters:
                    if not waiter.done():
                        waiter.set_exception(AuditUnavailableError())
                        waiter.exception()  # whoever waited may be gone: that is no news for the log
                batch.waiters.clear()

    async def _removed(self, removed: Removed) -> None:
        """On record before it goes. A stop does not end the wait: it may be what ends the stop."""
        loop = asyncio.get_running_loop()
        members = {"name": removed.name, "firstSeq": removed.first_seq, "lastSeq": removed.last_seq}
        waiter: asyncio.Future[None] = loop.create_future()
        self._note(bare("removed", {"time": format_time(self._now()), **members, "lastHash": removed.last_hash}))
        self._next.patient.append(waiter)
        await waiter


def _unfit(name: str, error: Exception) -> AuditUnavailableError:
    """A defect of ours: what cannot be written down is not answered. Its words may quote the request."""
    log.error("audit: %s cannot be written down: %s", name, type(error).__name__)
    return AuditUnavailableError()
