"""`keystead server`: one worker, wired. Stateless: token, read model and facts are made anew at each start.

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
from typing import Final

from keystead.app.devports import Alone
from keystead.app.engine import EngineHolder
from keystead.app.frontdoor import House, make_door
from keystead.app.process import freeze_memory, raise_file_limit
from keystead.app.servermetrics import ServerMetrics
from keystead.app.whois import Accounts, Recogniser, StillThere
from keystead.errors import StoreError
from keystead.handlers.probes import serve as serve_probes
from keystead.hsm.memory import look
from keystead.resources.metrics import Metric
from keystead.server.facts import Facts
from keystead.server.http import Listen, serve
from keystead.server.http import run as run_loop
from keystead.server.tls import Tls
from keystead.settings import Settings
from keystead.store.kube import Kube, connect
from keystead.store.model import RecordModel
from keystead.store.reviews import KubeFacts
from keystead.store.stream import Stream
from keystead.store.writes import KubeWriter

log = logging.getLogger(__name__)
_RETRY_SECONDS: Final = 1.0


class Believed:
    """Implements `server.door.Stream` on the records' stream."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream

    @property
    def refusal(self) -> str | None:
        """Why the read model may not be believed now."""
        return self._stream.missing


class Server:
    """One worker process."""

    def __init__(self, settings: Settings, kube: Kube) -> None:
        self.settings = settings
        self.kube = kube
        self.metrics = ServerMetrics()
        self.engine = EngineHolder(settings, kube, self.metrics.called)
        self.model = RecordModel()
        name = f"{socket.gethostname()}-{os.getpid()}"
        records = settings.cluster.records_namespace
        self.stream = Stream(kube, records, self.model, max_stale=settings.server.max_stale, identity=name)
        self.accounts = Accounts(self.model)
        self.facts = Facts(KubeFacts(kube), self.accounts.account_of)
        self.stopping = asyncio.Event()
        self.stop = asyncio.Event()
        self.metrics.gauge(Metric.HSM_SESSIONS, self.engine.sessions)
        self.metrics.gauge(Metric.SERVER_RECORDS, lambda: len(self.model))
        self.metrics.gauge(Metric.SERVER_RECORDS_REFUSED, lambda: len(self.model.refused))
        self.metrics.gauge(Metric.SERVER_STREAM_AGE, lambda: self.stream.pulse.age(time.monotonic()))

    def house(self) -> House:
        """What the door stands on."""
        recogniser = Recogniser(self.facts, self.accounts)
        return House(
            region=self.settings.cluster.region,
            model=self.model,
            engine=self.engine,
            facts=self.facts,
            writer=KubeWriter(self.kube),
            siblings=Alone(),
            stream=Believed(self.stream),
            alive=StillThere(self.facts, self.accounts),
            identify=recogniser.identify,
            recognise=recogniser.recognise,
            now=self.kube.clock.now,
            served=self.metrics.served,
        )

    def missing(self) -> str | None:
        """What readiness lacks."""
        if self.stopping.is_set():
            return "server: it is stopping"
        return self.engine.missing or self.stream.missing

    async def run(self) -> int:
        """Until SIGTERM; the exit code."""
        server = self.settings.server
        runner, port = await serve_probes(server.probe_port, lambda: None, self.missing, self.metrics.registry)
        log.info("probes on port %s", port)
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, self.stopping.set)
        tasks = [asyncio.create_task(work) for work in (self._keep(), self._lame_duck(), self._serve())]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            while tasks[1] in done and tasks[2] not in done:
                done, _ = await asyncio.wait(tasks[::2], return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                if task.exception() is not None:
                    log.error("a task ended", exc_info=task.exception())
                    return 1
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await runner.cleanup()
            self.engine.close()
            await self.kube.close()
        return 0

    async def _keep(self) -> None:
        """Open the token, then keep the read model in step, for ever."""
        await self.engine.run()
        await self.stream.run(lambda: self.engine().domain)

    async def _lame_duck(self) -> None:
        """After SIGTERM: unready at once, and still serving until the Service has heard of it."""
        await self.stopping.wait()
        if self.engine.opened.is_set():
            await asyncio.sleep(self.settings.server.lame_duck)
        self.stop.set()

    async def _serve(self) -> None:
        """From the first whole read model to the end of the drain."""
        server, synced = self.settings.server, asyncio.create_task(self.stream.watch.synced.wait())
        stopped = asyncio.create_task(self.stop.wait())
        await asyncio.wait({synced, stopped}, return_when=asyncio.FIRST_COMPLETED)
        synced.cancel()
        stopped.cancel()
        if self.stop.is_set():
            return
        freeze_memory()
        listen = Listen(
            host="",
            port=server.port,
            reuse_port=server.workers > 1,
            tls=Tls(certificate=server.tls_cert, key=server.tls_key),
            grace=server.drain,
        )
        await serve(make_door(self.house()), listen, self.stop, lambda port: log.info("serving on port %s", port))


async def _main(settings: Settings) -> int:
    kube = await connect(settings.cluster.kubeconfig, "server")
    await _first_answer(kube)
    return await Server(settings, kube).run()


async def _first_answer(kube: Kube) -> None:
    """The API server's time must be known before anything is judged by it."""
    while True:
        try:
            await kube.request("GET", "/version")
        except StoreError as error:
            log.info("waiting for the API server: %s", error)
            await asyncio.sleep(_RETRY_SECONDS)
        else:
            return


def run_server(settings: Settings) -> int:
    """The command."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    raise_file_limit()
    memory = look()
    log.log(logging.INFO if memory.safe else logging.WARNING, "memory: %s", memory)
    return run_loop(_main(settings))
