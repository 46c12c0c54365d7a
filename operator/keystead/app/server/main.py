"""The command `keystead server`: one process, or a supervisor of several workers (`KEYSTEAD_SERVER_WORKERS`).

With several, the supervisor answers the probes of the Pod and keeps its one ConfigMap of last uses; it opens no token and serves no call.
"""

from __future__ import annotations

import asyncio
import logging
import signal
from typing import Final

from keystead.app.addresses import check_address, reserved
from keystead.app.process import raise_file_limit
from keystead.app.quota import read_limits
from keystead.app.server.worker import first_answer, replica_name, serve_until_stopped
from keystead.app.workers import Post, Supervisor, private_folder
from keystead.audit.press import Press
from keystead.errors import InvalidSpecError
from keystead.handlers.probes import serve as serve_probes
from keystead.hsm.memory import look
from keystead.operations.usetable import UseTable, merged
from keystead.server.http import run as run_loop
from keystead.server.tls import Certificates, Tls
from keystead.server.usage import PERIOD_SECONDS, UseKeeper
from keystead.settings import ServerSettings, Settings
from keystead.store.kube import Kube, connect
from keystead.store.usefiles import PodUses
from keystead.store.uses import KubeUses

log = logging.getLogger(__name__)
_PORT: Final = "KEYSTEAD_SERVER_PORT"
_MARGIN_SECONDS: Final = 5.0
"""What workers have beyond lame duck and drain. The Pod's grace period is longer still."""


def run_server(settings: Settings) -> int:
    """The command."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    raise_file_limit()
    memory = look()
    log.log(logging.INFO if memory.safe else logging.WARNING, "memory: %s", memory)
    _check(settings.server)
    return run_loop(serve_until_stopped(settings) if settings.server.workers == 1 else _supervise(settings))


def run_worker(post: Post, settings: Settings) -> int:
    """A worker process."""
    raise_file_limit()
    return run_loop(serve_until_stopped(settings, post))


def _check(server: ServerSettings) -> None:
    """InvalidSpecError for what would only fail after the token and all records were opened."""
    check_address("", server.port, _PORT)
    read_limits(server.quota, "KEYSTEAD_QUOTA")
    check_address("0.0.0.0", server.probe_port, "KEYSTEAD_SERVER_PROBE_PORT")  # noqa: S104 - as handlers/probes.py
    try:
        Certificates(Tls(certificate=server.tls_cert, key=server.tls_key))
    except OSError as error:  # SSLError is one
        raise InvalidSpecError(
            "KEYSTEAD_TLS_CERT", f"it and KEYSTEAD_TLS_KEY are no certificate chain and its key: {error.strerror or error}"
        ) from None


async def _supervise(settings: Settings) -> int:
    server, stop = settings.server, asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    kube = await connect(settings.cluster.kubeconfig, "server")
    with private_folder() as folder, reserved("", server.port, _PORT) as port:
        posts = tuple(Post(index, server.workers, folder, port) for index in range(server.workers))
        grace = server.lame_duck + server.drain + _MARGIN_SECONDS
        supervisor = Supervisor(run_worker, settings, posts, grace, stagger=True, press=Press())
        runner, probes = await serve_probes(server.probe_port, lambda: None, lambda: supervisor.missing, supervisor.metrics)
        log.info("probes on port %s", probes)
        keeper = _keeper(settings, kube, PodUses(folder, server.workers))
        keeping = asyncio.create_task(_keep(kube, keeper))
        try:
            return await supervisor.run(stop)
        finally:
            keeping.cancel()
            await asyncio.gather(keeping, return_exceptions=True)
            await keeper.close()
            await runner.cleanup()
            await kube.close()


def _keeper(settings: Settings, kube: Kube, pod: PodUses) -> UseKeeper:
    """Of what all workers saw, for all workers."""
    store = KubeUses(kube, settings.cluster.namespace, replica_name())
    started: list[UseTable] = []

    def own() -> UseTable:
        if not started:
            started.append(UseTable(since=kube.clock.now()))
        return merged((*started, pod.collect()))

    return UseKeeper(own, pod.publish, store, PERIOD_SECONDS)


async def _keep(kube: Kube, keeper: UseKeeper) -> None:
    await first_answer(kube)
    await keeper.run()
