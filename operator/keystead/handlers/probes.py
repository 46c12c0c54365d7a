"""/healthz, /readyz and /metrics of the operator.

healthz: the process answers. readyz: the token answers a known question, the record watch is in step, and the watch of the objects has
begun; a standby is ready too. metrics: Prometheus text; never a tenant's name beside a secret, never a blob.
"""

from __future__ import annotations

from collections.abc import Callable

from aiohttp import web
from prometheus_client import CollectorRegistry, generate_latest


async def serve(port: int, ready: Callable[[], str | None], registry: CollectorRegistry) -> tuple[web.AppRunner, int]:
    """Listen; answers the runner to clean up and the port. `ready()` says what is missing, None: ready."""

    async def healthz(_: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def readyz(_: web.Request) -> web.Response:
        missing = ready()
        return web.Response(text="ok\n") if missing is None else web.Response(status=503, text=f"{missing}\n")

    async def metrics(_: web.Request) -> web.Response:
        return web.Response(body=generate_latest(registry), headers={"Content-Type": "text/plain; version=0.0.4"})

    app = web.Application()
    app.add_routes([web.get("/healthz", healthz), web.get("/readyz", readyz), web.get("/metrics", metrics)])
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "0.0.0.0", port)  # noqa: S104 - the Pod's own address; NetworkPolicy bounds who may ask
    await site.start()
    return runner, runner.addresses[0][1]
