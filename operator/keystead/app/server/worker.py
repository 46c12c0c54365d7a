"""`keystead server`: one worker, wired; app/server/main.py starts one or several. Stateless: token, read model and facts are made anew at
each start.

Order of a start: API server, token (and that the records are its own), records, then the door. Order of an end: unready, a moment for the
Service to hear of it, drain.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Final

from prometheus_client import generate_latest

from keystead.app.auditing import Trail
from keystead.app.auditkey import AuditSigner
from keystead.app.dev.ports import Alone
from keystead.app.engine import EngineHolder
from keystead.app.frontdoor import House, make_door
from keystead.app.process import freeze_memory
from keystead.app.quota import make_quota, read_limits
from keystead.app.server.metrics import ServerMetrics
from keystead.app.server.tenants import audit_routes
from keystead.app.server.whois import Accounts, Recogniser, StillThere
from keystead.app.workers import METRICS, READY, STATE, Post
from keystead.errors import StoreError
from keystead.handlers.probes import serve as serve_probes
from keystead.resources.metrics import Metric
from keystead.server.auditpeers import TlsPeers
from keystead.server.facts import Facts
from keystead.server.http import Listen, serve
from keystead.server.siblings import Desk, PodSiblings
from keystead.server.tls import Tls
from keystead.server.usage import PERIOD_SECONDS, UseKeeper, Uses
from keystead.settings import Settings
from keystead.store.kube import Kube, connect
from keystead.store.model import RecordModel
from keystead.store.reviews import KubeFacts
from keystead.store.stream import Stream
from keystead.store.usefiles import WorkerUses
from keystead.store.uses import KubeUses
from keystead.store.writes import KubeWriter

log = logging.getLogger(__name__)
_RETRY_SECONDS: Final = 1.0
WORKER_USES_SECONDS: Final = 10.0
"""Between two looks at the files that the workers of a Pod exchange."""


class Believed:
    """Implements `server.door.Stream` on the records' stream."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream

    @property
    def refusal(self) -> str | None:
        """Why the read model may not be believed now."""
        return self._stream.missing


class Server:
    """One worker process. `post`: its place among several (app/server/main.py); None: it is alone, and answers the probes itself."""

    def __init__(self, settings: Settings, kube: Kube, stopping: asyncio.Event, post: Post | None = None) -> None:
        self.settings = settings
        self.kube = kube
        self.post = post
        self.metrics = ServerMetrics()
        self.engine = EngineHolder(settings, kube, self.metrics.called)
        self.model = RecordModel()
        name = replica_name()
        records = settings.cluster.records_namespace
        self.stream = Stream(kube, records, self.model, max_stale=settings.server.max_stale, identity=name)
        self.accounts = Accounts(self.model)
        self.facts = Facts(KubeFacts(kube), self.accounts.account_of, stretch=settings.server.max_stale)
        self.stopping = stopping
        self.stop = asyncio.Event()
        self.listening = False
        self.port = 0
        server = settings.server
        self.quota = make_quota(
            read_limits(server.quota, "KEYSTEAD_QUOTA"), server.workers * server.quota_share, self.metrics.throttled
        )
        self.uses = Uses()
        self.uses.begin(kube.clock.now())
        self.metrics.calls(self.uses.calls.totals)
        self.trail = Trail(
            settings.audit,
            name,
            kube.clock.now,
            AuditSigner(self.model, self.engine, kube.clock.now),
            self.metrics.registry,
            None if post is None else post.press,
        )
        self.desk = None if post is None else self._desk(post)
        self.metrics.gauge(Metric.HSM_SESSIONS, self.engine.sessions)
        self.metrics.gauge(Metric.SERVER_RECORDS, lambda: len(self.model))
        self.metrics.gauge(Metric.SERVER_RECORDS_REFUSED, lambda: len(self.model.refused))
        self.metrics.gauge(Metric.SERVER_STREAM_AGE, lambda: self.stream.pulse.age(time.monotonic()))

    def _desk(self, post: Post) -> Desk:
        answers: dict[str, Callable[[], bytes]] = {
            STATE: self._state,
            METRICS: partial(generate_latest, self.metrics.registry),
        }
        desk = Desk(post.own, answers)
        self.stream.watch.moved = desk.saw
        return desk

    def _state(self) -> bytes:
        missing = self.missing()
        return READY if missing is None else missing.encode()

    def _keeper(self) -> UseKeeper:
        """Alone: a ConfigMap. One of several: a file, for the supervisor."""
        if self.post is not None:
            return UseKeeper(self.uses.own, self.uses.learn, WorkerUses(self.post.folder, self.post.index), WORKER_USES_SECONDS)
        store = KubeUses(self.kube, self.settings.cluster.namespace, replica_name())
        return UseKeeper(self.uses.own, self.uses.learn, store, PERIOD_SECONDS)

    def house(self) -> House:
        """What the door stands on."""
        recogniser = Recogniser(self.facts, self.accounts)
        return House(
            region=self.settings.cluster.region,
            model=self.model,
            engine=self.engine,
            facts=self.facts,
            writer=KubeWriter(self.kube),
            siblings=Alone() if self.post is None else PodSiblings(self.post.others, lambda: self.stream.watch.ahead),
            stream=Believed(self.stream),
            alive=StillThere(self.facts, self.accounts),
            identify=recogniser.identify,
            recognise=recogniser.recognise,
            now=self.kube.clock.now,
            uses=self.uses,
            audit=self.trail.audit,
            served=self.metrics.served,
            quota=self.quota,
            keys_per_namespace=self.settings.cluster.keys_per_namespace,
            routes=audit_routes(
                self.settings.audit.kept_in,
                recognise=recogniser.recognise,
                region=self.settings.cluster.region,
                facts=self.facts,
                model=self.model,
                audit=self.trail.audit,
                domain=lambda: self.engine().domain,
                stale=lambda: self.stream.missing,
                now=self.kube.clock.now,
                replica=socket.gethostname(),  # the Pod: its workers have one folder
                throttled=self.metrics.throttled,
                peers=self._peers(),
            ),
        )

    def _peers(self) -> TlsPeers | None:
        """The other Pods, whose records a tenant reads through this one."""
        peers = self.settings.audit.peers
        return TlsPeers(peers, self.settings.server.tls_cert, lambda: self.port) if peers else None

    def missing(self) -> str | None:
        """What readiness lacks."""
        if self.stopping.is_set():
            return "server: it is stopping"
        lacks = self.engine.missing or self.stream.missing or self.trail.missing
        return lacks or (None if self.listening else "server: it does not listen yet")

    @asynccontextmanager
    async def _answering(self) -> AsyncIterator[None]:
        """To probes, or to the other processes of the Pod: before the first record is read, until the last call is answered."""
        if self.desk is not None:
            await self.desk.open()
            try:
                yield
            finally:
                await self.desk.close()
            return
        port = self.settings.server.probe_port
        runner, port = await serve_probes(port, lambda: None, self.missing, self.metrics.registry)
        log.info("probes on port %s", port)
        try:
            yield
        finally:
            await runner.cleanup()

    async def run(self) -> int:
        """Until SIGTERM; the exit code."""
        async with self._answering():
            return await self._run()

    async def _run(self) -> int:
        keeper = self._keeper()
        tasks = [asyncio.create_task(work) for work in (self._keep(keeper), self._lame_duck(), self._serve())]
        recording = asyncio.create_task(self.trail.run())
        try:
            done, _ = await asyncio.wait([*tasks, recording], return_when=asyncio.FIRST_COMPLETED)
            while tasks[1] in done and tasks[2] not in done:
                done, _ = await asyncio.wait([*tasks[::2], recording], return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                if task.exception() is not None:
                    log.error("a task ended", exc_info=task.exception())
                    return 1
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await keeper.close()
            await self.trail.close(recording)
            self.engine.close()
            await self.kube.close()
        return 0

    async def _keep(self, keeper: UseKeeper) -> None:
        """Open the token, then keep the read model in step, for ever."""
        await self.engine.run()
        async with asyncio.TaskGroup() as group:
            group.create_task(keeper.run())
            group.create_task(self.stream.run(lambda: self.engine().domain))

    async def _lame_duck(self) -> None:
        """After SIGTERM: unready at once, and still serving until the Service has heard of it."""
        await self.stopping.wait()
        if self.engine.opened.is_set():
            await asyncio.sleep(self.settings.server.lame_duck)
        self.stop.set()

    async def _serve(self) -> None:
        """From the first whole read model to the end of the drain."""
        server, synced = self.settings.server, asyncio.create_task(self._synced())
        stopped = asyncio.create_task(self.stop.wait())
        await asyncio.wait({synced, stopped}, return_when=asyncio.FIRST_COMPLETED)
        synced.cancel()
        stopped.cancel()
        if self.stop.is_set():
            return
        freeze_memory()
        listen = Listen(
            host="",
            port=server.port if self.post is None else self.post.port,
            reuse_port=self.post is not None,
            tls=Tls(certificate=server.tls_cert, key=server.tls_key),
            grace=server.drain,
        )
        await serve(make_door(self.house()), listen, self.stop, self._listens)
        if self.desk is not None:
            await self.desk.close()

    async def _synced(self) -> None:
        await self.stream.watch.synced.wait()
        await self.trail.opened()
        if self.desk is not None:
            await self.desk.caught_up()

    def _listens(self, port: int) -> None:
        self.listening, self.port = True, port
        log.info("serving on port %s", port)


def replica_name() -> str:
    """Of this process, among all that serve."""
    return f"{socket.gethostname()}-{os.getpid()}"


async def serve_until_stopped(settings: Settings, post: Post | None = None) -> int:
    """One worker; the exit code."""
    kube = await connect(settings.cluster.kubeconfig, "server")
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    waiting, stopped = asyncio.create_task(first_answer(kube)), asyncio.create_task(stopping.wait())
    await asyncio.wait({waiting, stopped}, return_when=asyncio.FIRST_COMPLETED)
    stopped.cancel()
    if not waiting.done():  # as process 1 of a Pod it would otherwise wait for SIGKILL
        waiting.cancel()
        await kube.close()
        return 0
    return await Server(settings, kube, stopping, post).run()


async def first_answer(kube: Kube) -> None:
    """The API server's time must be known before anything is judged by it."""
    while True:
        try:
            await kube.request("GET", "/version")
        except StoreError as error:
            log.info("waiting for the API server: %s", error)
            await asyncio.sleep(_RETRY_SECONDS)
        else:
            return
