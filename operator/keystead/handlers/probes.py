"""/healthz, /readyz and /metrics of the operator, of a server, and of the workers of a Pod together.

healthz: the event loop answers, and a leader's Lease has not run out under it. readyz: the token answers a known question, the record
watch is in step, and the watch of the objects has begun; a standby is ready too (keystead_leader tells who leads). metrics: Prometheus
text; never a tenant's name beside a secret, never a blob.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from aiohttp import web
from prometheus_client import CollectorRegistry, generate_latest


async def serve(
    port: int,
    dead: Callable[[], str | None],
    missing: Callable[[], str | None],
    registry: CollectorRegistry | Callable[[], Awaitable[bytes]],
) -> tuple[web.AppRunner, int]:
    """Listen; answers the runner to clean up and the port.

    `dead()` says what only a restart mends, `missing()` what readiness lacks; None: nothing. `registry`: or what makes the page.
    """

    async def healthz(_: web.Request) -> web.Response:
        return _answer(dead())

    async def readyz(_: web.Request) -> web.Response:
        return _answer(missing())

    async def metrics(_: web.Request) -> web.Response:
        page = generate_latest(registry) if isinstance(registry, CollectorRegistry) else await registry()
        return web.Response(body=page, headers={"Content-Type": "text/plain; version=0.0.4"})

    app = web.Application()
    app.add_routes([web.get("/healthz", healthz), web.get("/readyz", readyz), web.get("/metrics", metrics)])
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "0.0.0.0", port)  # noqa: S104 - the Pod's own address; NetworkPolicy bounds who may ask
    await site.start()
    return runner, runner.addresses[0][1]


def _answer(wrong: str | None) -> web.Response:
    return web.Response(text="ok\n") if wrong is None else web.Response(status=503, text=f"{wrong}\n")
