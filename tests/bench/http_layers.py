"""What an empty 200 costs in each HTTP layer that was weighed (docs/decisions/0032-http-layer.md): `python -m tests.bench.http_layers`.

Every server runs in a process of its own, all at the same time; rounds are interleaved, because these machines are shared. The figure is
the server's own CPU time for each answer, from /proc/PID/stat with its children, median of the rounds. Those that are not installed are
left out and named: uvicorn, granian and hypercorn are in no lock.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib.util
import json
import os
import socket
import statistics
import subprocess
import sys
import time
from pathlib import Path

from keystead.server.http import Listen, run, serve
from keystead.server.message import Asked, Reply

TICK = os.sysconf("SC_CLK_TCK")


class EmptyDoor:
    """Answers 200 with nothing."""

    def handle(self, asked: Asked) -> Reply:
        """At once."""
        return Reply(200, b"")


async def asgi(scope, receive, send):
    """The same as an ASGI application, which reads the body as ours does."""
    if scope["type"] != "http":
        return
    await receive()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
    await send({"type": "http.response.body", "body": b""})


def ours(port: int, start=run) -> None:
    """Our protocol on the loop's own server."""
    start(serve(EmptyDoor(), Listen(host="127.0.0.1", port=port), asyncio.Event(), lambda _: None))


def ours_asyncio(port: int) -> None:
    """The same on asyncio's own loop."""
    ours(port, asyncio.run)


def uvicorn_ours(port: int) -> None:
    """Our protocol as the protocol class of uvicorn's server."""
    import uvicorn

    from keystead.server.connection import Connection
    from keystead.server.shared import Limits, Shared

    shared: list[Shared] = []

    class Protocol(Connection):
        def __init__(self, config, server_state, app_state, _loop=None):
            if not shared:
                shared.append(Shared(EmptyDoor(), Limits(), asyncio.get_running_loop()))
            super().__init__(shared[0])

        def shutdown(self):
            self.abort()

    uvicorn.run(asgi, port=port, http=Protocol, loop="uvloop", log_level="warning", lifespan="off")


def uvicorn_asgi(port: int) -> None:
    """Bare ASGI on uvicorn."""
    import uvicorn

    uvicorn.run(asgi, port=port, http="httptools", loop="uvloop", log_level="warning", access_log=False, lifespan="off")


def aiohttp_web(port: int) -> None:
    """aiohttp.web's low-level server."""
    import uvloop
    from aiohttp import web

    async def handle(request: web.BaseRequest) -> web.Response:
        await request.read()
        return web.Response()

    async def main() -> None:
        await asyncio.get_running_loop().create_server(web.Server(handle, access_log=None), "127.0.0.1", port)
        await asyncio.Event().wait()

    uvloop.run(main())


def granian_asgi(port: int) -> None:
    """granian (Rust), ASGI, one worker."""
    from granian import Granian
    from granian.constants import Interfaces, Loops

    Granian(
        "tests.bench.http_layers:asgi", port=port, interface=Interfaces.ASGINL, loop=Loops.uvloop, log_access=False
    ).serve()


def hypercorn_asgi(port: int) -> None:
    """hypercorn on uvloop."""
    import uvloop
    from hypercorn.asyncio import serve as hypercorn_serve
    from hypercorn.config import Config

    config = Config()
    config.bind = [f"127.0.0.1:{port}"]
    uvloop.run(hypercorn_serve(asgi, config))


LAYERS = {
    "ours": (ours, ()),
    "ours, asyncio's loop": (ours_asyncio, ()),
    "ours under uvicorn's Server": (uvicorn_ours, ("uvicorn",)),
    "uvicorn, ASGI": (uvicorn_asgi, ("uvicorn",)),
    "aiohttp.web": (aiohttp_web, ("aiohttp",)),
    "granian, ASGI": (granian_asgi, ("granian",)),
    "hypercorn, ASGI": (hypercorn_asgi, ("hypercorn",)),
}


def cpu(pid: int) -> float:
    """Seconds of a process and its living descendants."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    children = " ".join(each.read_text() for each in Path(f"/proc/{pid}/task").glob("*/children")).split()
    return (int(fields[11]) + int(fields[12])) / TICK + sum(cpu(int(child)) for child in children)


def free_port() -> int:
    """A port that was free a moment ago."""
    with socket.socket() as each:
        each.bind(("127.0.0.1", 0))
        return each.getsockname()[1]


def start(name: str) -> tuple[subprocess.Popen[bytes], int]:
    """A server that accepts connections."""
    port = free_port()
    process = subprocess.Popen([sys.executable, "-m", "tests.bench.http_layers", "--serve", name, "--port", str(port)])
    end = time.monotonic() + 20
    while time.monotonic() < end:
        with socket.socket() as each:
            if each.connect_ex(("127.0.0.1", port)) == 0:
                return process, port
        time.sleep(0.05)
    process.kill()
    raise RuntimeError(f"{name} does not listen")


def load(port: int, connections: int, seconds: float) -> dict:
    """One run of the load generator, in its own process."""
    arguments = [f"127.0.0.1:{port}", "--connections", str(connections), "--seconds", str(seconds)]
    return json.loads(subprocess.check_output([sys.executable, "-m", "tests.bench.http_load", *arguments]))


def main() -> int:
    """Measure and print a table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--serve", choices=LAYERS)
    parser.add_argument("--port", type=int)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--connections", type=int, default=32)
    options = parser.parse_args()
    if options.serve:
        LAYERS[options.serve][0](options.port)
        return 0
    there = {name: all(map(importlib.util.find_spec, needs)) for name, (_, needs) in LAYERS.items()}
    running = {name: start(name) for name, found in there.items() if found}
    costs: dict[str, list[float]] = {name: [] for name in running}
    loads: dict[str, list[dict]] = {name: [] for name in running}
    try:
        for _ in range(options.rounds):
            for name, (process, port) in running.items():
                before = cpu(process.pid)
                result = load(port, options.connections, options.seconds)
                costs[name].append((cpu(process.pid) - before) / result["count"] * 1e6)
                loads[name].append(result)
                assert set(result["statuses"]) == {"200"}, result
    finally:
        for process, _ in running.values():
            process.terminate()
    print(f"{'layer':30}{'CPU us':>8}{'best':>8}{'ratio':>7}{'req/s':>9}{'p50 ms':>8}{'p99 ms':>8}{'client us':>11}")
    middle = {name: statistics.median(each) for name, each in costs.items()}
    for name, cost in middle.items():
        rate, p50, p99, client = (
            statistics.median(values)
            for values in zip(
                *((r["count"] / r["seconds"], r["p50"], r["p99"], r["cpu_us"]) for r in loads[name]), strict=True
            )
        )
        row = f"{cost:8.1f}{min(costs[name]):8.1f}{cost / middle['ours']:7.2f}{rate:9.0f}{p50:8.2f}{p99:8.2f}{client:11.1f}"
        print(f"{name:30}{row}")
    for name, found in there.items():
        if not found:
            print(f"{name}: not installed")
    return 0


if __name__ == "__main__":
    sys.exit(main())
