"""`keystead operator`: wires the watch, the queue, the reconcilers, the Lease and the token, and runs them until SIGTERM.

Every replica watches and keeps its models warm; workers run in the one that holds the Lease. Own tasks are born before Kopf's: Kopf
cancels the younger ones when it ends (KUBERNETES.md).
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import time
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, Final

from aiohttp import web

from keystead.app.auditing import StoredKeySigner, Trail
from keystead.app.controller import Controller, Ports
from keystead.app.engine import EngineHolder
from keystead.app.metrics import Metrics
from keystead.errors import FencedError, KeysteadError, StoreError
from keystead.handlers.probes import serve
from keystead.handlers.watch import stop_on_signals, watch
from keystead.hsm.memory import look
from keystead.reconciler.index import INDEXED
from keystead.reconciler.ports import Kind, ObjectRef
from keystead.reconciler.workers import Workers
from keystead.settings import NamespaceDefaultPolicy, Settings
from keystead.store.kube import Kube, connect
from keystead.store.lease import LeaseElector
from keystead.store.objects import KubeObjects
from keystead.store.readmodel import RecordWatch
from keystead.store.records import KubeRecords
from keystead.store.secrets import KubeSecrets

log = logging.getLogger(__name__)
KINDS: Final = tuple(Kind)
EXIT_FENCED: Final = 3
# Seconds for which a replica without a token leads, to say so in the conditions.
_SAY_SECONDS: Final = 10.0
# Seconds between the sweeps after the start (5, 15 and 35 s after it).
_SWEEPS: Final = (5.0, 10.0, 20.0)


# Objects of a sweep between two looks at what else waits.
_AT_A_TIME: Final = 50


class Operator:
    """One process of the operator."""

    def __init__(self, settings: Settings, kube: Kube, monotonic: Callable[[], float] = time.monotonic) -> None:
        cluster = settings.cluster
        self._monotonic = monotonic
        self.settings = settings
        self.kube = kube
        self.controller = Controller(settings.operator.workers, cluster.reconciled, self._forget)
        self.queue, self.feed = self.controller.queue, self.controller.feed
        self.memory, self.index = self.controller.memory, self.controller.index
        self.records = KubeRecords(kube, cluster.records_namespace)
        self.record_watch = RecordWatch(self.records, self.index, INDEXED)
        self.lease = LeaseElector(kube, cluster.namespace, _identity(settings), settings.operator, self.index.floor)
        self.metrics = Metrics(self.queue, self.index.orphans, self.lease, self._sessions, self.index.windows)
        self.engine = EngineHolder(settings, kube, self.metrics.called)
        signer = StoredKeySigner(self.records, self.engine, kube.clock.now)
        self.trail = Trail(settings.audit, _identity(settings), kube.clock.now, signer, self.metrics.registry)
        self.watching = asyncio.Event()
        self.stop = asyncio.Event()
        self.workers = self._make_workers()

    def _make_workers(self) -> Workers:
        ports = Ports(
            records=self.records,
            objects=KubeObjects(self.kube, self.metrics.crd_state),
            secrets=KubeSecrets(self.kube),
            leadership=self.lease,
            clock=self.kube.clock,
            engine=self.engine,
            region=self.settings.cluster.region,
            refresh_period=self.settings.operator.refresh_period,
            monotonic=self._monotonic,
            keys_per_namespace=self.settings.cluster.keys_per_namespace,
            audit=self.trail,
            strict_policies=self.settings.operator.namespace_default_policy is NamespaceDefaultPolicy.STRICT,
        )
        return self.controller.workers(ports, self.metrics)

    def _forget(self, ref: ObjectRef) -> None:
        self.metrics.forget(ref)

    def _sessions(self) -> int:
        return self.engine.sessions()

    def _seen(self, kind: Kind, event: str | None, body: Mapping[str, Any]) -> None:
        self.metrics.seen(kind, event, body)
        self.feed.seen(kind, event, body)

    def missing(self) -> str | None:
        """What readiness lacks."""
        if not self.watching.is_set():
            return "watch: the objects are not watched yet"
        if self.engine.missing is not None:
            return self.engine.missing
        return self.trail.missing if self.record_watch.synced.is_set() else "records: not listed yet"

    def dead(self) -> str | None:
        """What makes a restart the mend. A leader past its deadline ends by itself; this is for one that does not."""
        return "lease: not renewed in time, and this process did not end" if self.lease.expired else None

    async def run(self) -> int:
        """Until SIGTERM or the loss of the Lease; the exit code."""
        runner, port = await serve(self.settings.operator.probe_port, self.dead, self.missing, self.metrics.registry)
        log.info("probes on port %s", port)
        stop_on_signals(self.stop)
        await self._kinds_served()
        tasks = [asyncio.create_task(work) for work in (self._engine(), self._index(), self._lead(), self._sweep())]
        recording = asyncio.create_task(self.trail.run())
        cluster = self.settings.cluster
        watching = asyncio.create_task(
            watch(self._seen, KINDS, cluster.reconciled, cluster.kubeconfig, self.watching, self.stop)
        )
        code = await self._until_stopped([*tasks, watching, recording])
        await self._end(tasks, watching, recording, runner)
        return code

    async def _kinds_served(self) -> None:
        """Kopf resolves its kinds once, at its start: wait until the API server serves and lists them.

        A CRD that was just made answers 429 (storage is (re)initializing) for a moment, and a watch of that moment may stay silent.
        """
        objects = KubeObjects(self.kube)
        while not self.stop.is_set():
            try:
                served = await objects.served()
                for kind in KINDS:
                    self.metrics.crd_state(kind, kind in served)
                if served >= set(KINDS):
                    for kind in KINDS:
                        async for _ in objects.each(kind, self.settings.cluster.reconciled):
                            break  # it can be listed
                    return
                log.info("waiting for the CRDs of %s", ", ".join(sorted(set(KINDS) - served)))
            except StoreError as error:
                log.info("waiting for the API server: %s", error)
            await asyncio.sleep(1.0)

    async def _sweep(self) -> None:
        """Lists of our own soon after the start: a watch that began silent would cost the first objects Kopf's 70 seconds."""
        await self.watching.wait()
        objects = KubeObjects(self.kube)
        for delay in _SWEEPS:
            await asyncio.sleep(delay)
            for kind in KINDS:
                try:
                    number = 0
                    async for body in objects.each(kind, self.settings.cluster.reconciled):
                        self._seen(kind, None, body)
                        number += 1
                        if number % _AT_A_TIME == 0:
                            await asyncio.sleep(0)  # a page at once would hold everybody up
                except StoreError as error:
                    log.info("a sweep was left out: %s", error)
        await self.stop.wait()

    async def _engine(self) -> None:
        await self.engine.run()
        self.feed.again()
        await self.stop.wait()

    async def _index(self) -> None:
        await self.engine.opened.wait()
        await self.record_watch.run(lambda: self.engine().domain)

    async def _lead(self) -> None:
        """Lead, work, and end the process when the lead is lost: FencedError."""
        while not await self._opened_within(self.settings.operator.lease_duration):
            await self._lead_without_token()
        await self.record_watch.synced.wait()
        await self.trail.opened()  # one that cannot record leaves the lead to another
        await self.lease.acquire()
        await self._work()

    async def _work(self) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(self.lease.hold())
            group.create_task(self.workers.run(self.settings.operator.workers))
            group.create_task(self._own_keys())

    async def _own_keys(self) -> None:
        """Keystead's own key is made at the start of the lead, and again where somebody took its object away."""
        own, settings = self.controller.own_keys, self.settings.operator
        assert own is not None
        while True:
            there = False
            try:
                there = self.record_watch.synced.is_set() and await own.ensure()
            except FencedError:
                raise
            except KeysteadError as error:
                log.warning("Keystead's own key could not be looked at: %s", error)
            await asyncio.sleep(settings.refresh_period if there else settings.retry_period)

    async def _lead_without_token(self) -> None:
        """With a token that stays away somebody must say so in the conditions, but nobody may keep a healthy replica from leading."""
        await self.lease.acquire()
        work, opened = asyncio.create_task(self._work()), asyncio.create_task(self.engine.opened.wait())
        done, _ = await asyncio.wait({work, opened}, timeout=_SAY_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        for task in (work, opened):
            task.cancel()
        await asyncio.gather(work, opened, return_exceptions=True)
        if work in done:
            work.result()
        await self.lease.release()
        await asyncio.sleep(3 * self.settings.operator.retry_period)

    async def _opened_within(self, seconds: float) -> bool:
        """Whether the token is open, waiting this long for it."""
        try:
            await asyncio.wait_for(self.engine.opened.wait(), seconds)
        except TimeoutError:
            return False
        return True

    async def _until_stopped(self, tasks: list[asyncio.Task[None]]) -> int:
        stopping = asyncio.create_task(self.stop.wait())
        done, _ = await asyncio.wait([*tasks, stopping], return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        for task in done:
            if task is stopping or task.cancelled() or task.exception() is None:
                continue
            if _is_fenced(task.exception()):
                log.error("the lead is lost; this process ends and another one takes over")
                return EXIT_FENCED
            log.error("a task ended", exc_info=task.exception())
            return 1
        if not self.stop.is_set():
            log.error("a task ended without an error; this process is not whole any more")
            return 1
        return 0

    async def _end(
        self, tasks: list[asyncio.Task[None]], watching: asyncio.Task[None], recording: asyncio.Task[None], runner: web.AppRunner
    ) -> None:
        self.stop.set()
        self.queue.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self.lease.release()
        await _within(5.0, asyncio.gather(watching, return_exceptions=True))
        await runner.cleanup()
        await self.trail.close(recording)
        self.engine.close()
        await self.kube.close()


def _identity(settings: Settings) -> str:
    """Who this process is: in the Lease, and in the API server's audit log (the User-Agent)."""
    return settings.operator.identity or f"{socket.gethostname()}-{os.getpid()}"


def _is_fenced(error: BaseException | None) -> bool:
    if isinstance(error, BaseExceptionGroup):
        return any(_is_fenced(inner) for inner in error.exceptions)
    return isinstance(error, FencedError)


async def _within(seconds: float, work: Coroutine[Any, Any, Any] | asyncio.Future[Any]) -> None:
    try:
        await asyncio.wait_for(work, seconds)
    except TimeoutError:
        log.warning("the watch did not end in %s s", seconds)


async def _main(settings: Settings) -> int:
    kube = await connect(settings.cluster.kubeconfig, _identity(settings))
    await _first_answer(kube)
    return await Operator(settings, kube).run()


async def _first_answer(kube: Kube) -> None:
    """The API server's time must be known before anything is planned."""
    while True:
        try:
            await kube.request("GET", "/version")
        except StoreError as error:
            log.info("waiting for the API server: %s", error)
            await asyncio.sleep(1.0)
        else:
            return


def run_operator(settings: Settings) -> int:
    """The command. Kopf reads the kubeconfig that KUBECONFIG names, so it is set to the one in the settings."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    logging.getLogger("kopf").setLevel(logging.WARNING)
    memory = look()
    log.log(logging.INFO if memory.safe else logging.WARNING, "memory: %s", memory)
    if settings.cluster.kubeconfig is not None:
        os.environ["KUBECONFIG"] = str(settings.cluster.kubeconfig)
    return asyncio.run(_main(settings))
