"""The audit trail of one process, put together from its settings: journal, sinks, housekeeping, metrics. Server, operator and dev have one.

    trail = Trail(...); task = create_task(trail.run())     opens the folder, writes the chain's first line, then all others
    trail.missing                                           what readiness lacks
    await trail.close(task)                                 writes its last line

Until it is opened nothing can be recorded, so nothing is answered.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any, Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from keystead import __version__
from keystead.app.auditkey import AuditSigner
from keystead.audit.flush import Lane
from keystead.audit.folder import FolderKeeper, previous_chains
from keystead.audit.journal import Journal
from keystead.audit.lines import Chain, chain_id
from keystead.audit.ports import Signature, Signer, Sink
from keystead.audit.press import Channel, PressSink
from keystead.audit.rules import Rules
from keystead.audit.sinks import FileSink, StdoutSink
from keystead.engine.identifiers import RECORDS_NAMESPACE, RecordKind, record_name
from keystead.engine.managed import AUDIT_KEY
from keystead.engine.record import KeyRecord, open_sealed
from keystead.errors import AuditUnavailableError, KeysteadError
from keystead.operations.trail import Audit, CallEvent, NoAudit, ServiceEvent
from keystead.reconciler.ports import Engine, Records
from keystead.resources.metrics import METRICS, Metric
from keystead.settings import AuditMode, AuditSettings

_AGAIN_SECONDS: Final = 0.5
_OPEN_SECONDS: Final = 5.0
# A batch is one fdatasync: from a disk's cache to what stops everything.
_BUCKETS: Final = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)


class AuditMetrics:
    """Implements `audit.ports.Observer` in a registry of the process."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry
        records, flush = METRICS[Metric.AUDIT_RECORDS], METRICS[Metric.AUDIT_FLUSH]
        self._records = Counter(Metric.AUDIT_RECORDS.value, records.meaning, records.labels, registry=registry)
        self._flush = Histogram(Metric.AUDIT_FLUSH.value, flush.meaning, registry=registry, buckets=_BUCKETS)

    def watch(self, metric: Metric, value: Callable[[], float]) -> None:
        """A gauge that reads its value when it is asked."""
        Gauge(metric.value, METRICS[metric].meaning, registry=self._registry).set_function(value)

    def recorded(self, durability: str, number: int) -> None:
        """As Observer."""
        self._records.labels(durability).inc(number)

    def flushed(self, seconds: float) -> None:
        """As Observer."""
        self._flush.observe(seconds)


@dataclass(frozen=True, slots=True)
class _OneKey:
    """Implements `auditkey.OwnKeyModel`."""

    record: KeyRecord

    def own_key(self, _name: str) -> KeyRecord:
        """The one."""
        return self.record


class StoredKeySigner:
    """Implements `audit.ports.Signer` for a process without a read model: it reads the record of the key each time."""

    def __init__(self, records: Records, engine: Callable[[], Engine], now: Callable[[], datetime]) -> None:
        self._records = records
        self._engine = engine
        self._now = now

    async def sign(self, digest: bytes) -> Signature | None:
        """As Signer."""
        stored = await self._records.get(record_name(RecordKind.KEY, RECORDS_NAMESPACE, AUDIT_KEY))
        if stored is None:
            return None
        record = open_sealed(self._engine().domain, stored.sealed, KeyRecord)
        return await AuditSigner(_OneKey(record), self._engine, self._now).sign(digest)


class Trail:
    """Implements `operations.trail.Audit`. press: to the process that has the Pod's standard output; None: it is this one's own."""

    def __init__(
        self,
        settings: AuditSettings,
        replica: str,
        now: Callable[[], datetime],
        signer: Signer,
        registry: CollectorRegistry | None = None,
        press: Channel | None = None,
    ) -> None:
        self._settings = settings
        self._replica = replica
        self._now = now
        self._signer = signer
        self._press = press
        self._journal: Journal | None = None
        self._fault = "it is not open yet"
        self._opened = asyncio.Event()
        self._metrics = None if registry is None else AuditMetrics(registry)
        self._on = settings.mode is not AuditMode.OFF
        if self._metrics is not None:
            self._metrics.watch(Metric.AUDIT_STOPPED, lambda: float(self.stopped))
            self._metrics.watch(Metric.AUDIT_WAITING, lambda: 0 if self._journal is None else self._journal.waiting)

    @property
    def stopped(self) -> bool:
        """As Audit."""
        return self._on and (self._journal is None or self._journal.stopped)

    @property
    def missing(self) -> str | None:
        """What readiness lacks."""
        if not self.stopped:
            return None
        return f"audit: {self._fault if self._journal is None else self._journal.reason}"

    @property
    def audit(self) -> Audit:
        """What a door is given once it is opened: the journal itself, for a call should pass through as little as can be."""
        return self._open if self._on else NoAudit()

    def call(self, event: CallEvent) -> Awaitable[None] | None:
        """As Audit."""
        return self._open.call(event) if self._on else None

    def service(self, event: ServiceEvent) -> Awaitable[None] | None:
        """As Audit."""
        return self._open.service(event) if self._on else None

    @property
    def _open(self) -> Journal:
        if self._journal is None:
            raise AuditUnavailableError
        return self._journal

    async def opened(self) -> None:
        """The chain's first line is kept."""
        if self._on:
            await self._opened.wait()
            await self._open.started()

    async def run(self) -> None:
        """Until `close`."""
        if not self._on:
            await asyncio.Event().wait()
        previous = [] if self._settings.folder is None else await self._previous(self._settings.folder)
        self._journal = self._make({"version": __version__, "replica": self._replica, "previous": previous})
        self._opened.set()
        await self._journal.run()

    async def _previous(self, folder: Path) -> list[dict[str, Any]]:
        """The chains that are there. A folder that cannot be read is no folder to write to: it is waited for."""
        lane = Lane("folder")
        try:
            while True:
                try:
                    return await lane.submit(partial(previous_chains, folder, self._settings.file_bytes))
                except OSError as error:
                    self._fault = f"file: {error.strerror or type(error).__name__}"
                    await asyncio.sleep(_AGAIN_SECONDS)
        finally:
            lane.close()

    def _make(self, start: dict[str, object]) -> Journal:
        settings = self._settings
        chain = Chain(chain_id(self._replica, self._now(), os.urandom(4)))
        sinks: list[Sink] = []
        keepers = []
        if settings.folder is not None:
            sinks.append(FileSink(settings.folder, chain.id, settings.file_bytes))
            keepers.append(FolderKeeper(settings.folder, chain.id, settings.retain_bytes))
        if settings.stdout:
            sinks.append(StdoutSink() if self._press is None else PressSink(self._press))
        rules = Rules(sync=settings.mode is AuditMode.SYNC, buffer_seconds=settings.buffer_seconds)
        return Journal(chain, sinks, start, self._now, rules=rules, signer=self._signer, keepers=keepers, observer=self._metrics)

    async def close(self, running: asyncio.Task[None]) -> None:
        """End the chain; `running` is the task of `run`."""
        if self._journal is not None:
            await self._journal.close(running)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


@asynccontextmanager
async def kept(trail: Trail, refusal: Callable[[], KeysteadError]) -> AsyncIterator[asyncio.Task[None]]:
    """The trail of a process that does nothing without it, opened, and ended afterwards. refusal: what is raised where it does not open."""
    running = asyncio.create_task(trail.run())
    try:
        async with asyncio.timeout(_OPEN_SECONDS):
            await trail.opened()
    except TimeoutError:
        running.cancel()
        raise refusal() from None
    try:
        yield running
    finally:
        await trail.close(running)
