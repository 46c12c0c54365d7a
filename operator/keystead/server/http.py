"""The HTTP server: listens, hands whole requests to the door, drains. HTTP/1.1 on httptools' parser and asyncio's sockets, under uvloop.

Called by app/server and app/dev: `run(serve(...))`. One process, one event loop; more of them share an address by SO_REUSEPORT.
connection.py is one connection, answers.py its bytes, tls.py certificates. Why no framework: docs/decisions/0032-http-layer.md. No rule of
AWS may enter: that is the door's.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from typing import Any, TypeVar

import uvloop

from keystead.server.connection import Connection
from keystead.server.message import Door
from keystead.server.shared import Limits, Shared
from keystead.server.tls import Certificates, Tls

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Listen:
    """Where to listen, and how to stop.

    host        address; no default, because who may reach it is the caller's decision
    port        0: any free one, told to `ready`
    reuse_port  several processes on one address
    tls         None: plain HTTP, which only `keystead dev` may use
    backlog     connections that the kernel accepts for us while we are busy
    grace       seconds from stop to the last answer; under a Pod's usual 30 s
    quiet       seconds of it in which idle connections live on: a busy client's next request is then answered with
                `Connection: close`, instead of meeting a connection that has just been closed
    """

    host: str
    port: int = 0
    reuse_port: bool = False
    tls: Tls | None = None
    backlog: int = 1024
    grace: float = 20.0
    quiet: float = 1.0


def run(main: Coroutine[Any, Any, T]) -> T:
    """asyncio.run on uvloop, which costs less for each request and much less for each byte of TLS."""
    return uvloop.run(main)


async def serve(
    door: Door, listen: Listen, stop: asyncio.Event, ready: Callable[[int], object], limits: Limits | None = None
) -> None:
    """Serve until `stop` is set, then drain. `ready` is told the port once connections are accepted."""
    loop = asyncio.get_running_loop()
    limits = limits or Limits()
    certificates = Certificates(listen.tls) if listen.tls else None
    shared = Shared(door, limits, loop, secure=certificates is not None)
    listener = await loop.create_server(
        lambda: Connection(shared),
        listen.host,
        listen.port,
        backlog=listen.backlog,
        reuse_port=listen.reuse_port or None,
        ssl=certificates.context if certificates else None,
        ssl_handshake_timeout=limits.request if certificates else None,
        ssl_shutdown_timeout=limits.linger if certificates else None,
    )
    helpers = [asyncio.ensure_future(_every(limits.sweep, shared.sweep))]
    if certificates and listen.tls:
        helpers.append(asyncio.ensure_future(_every(listen.tls.poll, certificates.refresh)))
    try:
        ready(listener.sockets[0].getsockname()[1])
        await stop.wait()
        listener.close()
        await _drain(shared, listen)
    finally:
        listener.close()
        for helper in helpers:
            helper.cancel()
        for task in list(shared.tasks):
            task.cancel()
        for connection in list(shared.connections):
            connection.abort()
        await asyncio.gather(*helpers, *shared.tasks, return_exceptions=True)


async def _drain(shared: Shared, listen: Listen) -> None:
    """Nothing new is accepted. Every answer from now on ends its connection."""
    shared.draining = True
    shared.left()
    if await _within(listen.quiet, shared.empty.wait()):
        return
    shared.hurrying = True
    for connection in list(shared.connections):
        connection.close_if_idle()
    await _within(listen.grace - listen.quiet, shared.empty.wait())


async def _within(seconds: float, event: Awaitable[object]) -> bool:
    try:
        await asyncio.wait_for(event, seconds)
    except TimeoutError:
        return False
    return True


async def _every(seconds: float, action: Callable[[], None]) -> None:
    while True:
        await asyncio.sleep(seconds)
        action()
