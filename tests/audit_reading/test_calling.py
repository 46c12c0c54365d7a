"""The request id of a call goes to the API server as Audit-ID, wherever the call has to wait for it; and nowhere else."""

from __future__ import annotations

from collections import Counter

from aiohttp import web
from aiohttp.test_utils import TestServer
from kubernetes.aio import client
from tests.server.doors import House, Nothing, ask

from keystead.operations.calling import CALL
from keystead.operations.effects import Need
from keystead.policy import SubjectAccessReview
from keystead.server.driver import Driver
from keystead.server.message import Reply
from keystead.store.kube import Kube

REVIEW = SubjectAccessReview("jane", "", (), "encrypt", "team-a", "key-1")


class Facts:
    """`driver.Facts` that know nothing at once. `kube`: what a question goes to."""

    def __init__(self, kube: Kube) -> None:
        self.kube = kube

    def known(self, _review: SubjectAccessReview) -> bool | None:
        return None

    async def ask(self, _review: SubjectAccessReview) -> bool:
        return bool(await self.kube.request("GET", "/review"))


async def test_what_a_call_asks_of_the_api_server_carries_its_request_id_and_nothing_else_does() -> None:
    seen: list[str | None] = []

    async def answer(request: web.Request) -> web.Response:
        seen.append(request.headers.get("Audit-ID"))
        return web.json_response({"allowed": True})

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    async with TestServer(app) as server:
        settings = client.Configuration()
        settings.host = str(server.make_url("")).rstrip("/")
        kube = Kube(client.ApiClient(settings))
        house = House(effects=[Need(REVIEW)])
        house.driver = Driver(
            facts=Facts(kube), model=Nothing(), writer=Nothing(), engine=house.token, siblings=Nothing(), waiters=Counter()
        )  # type: ignore[arg-type]
        door = house.door()
        ids = []
        for _ in range(2):
            coming = door.handle(ask())
            assert not isinstance(coming, Reply)
            reply = await _in_a_task(coming)
            ids.append(dict(reply.headers)[b"x-amzn-requestid"].decode())
        await kube.request("GET", "/heartbeat")
        await kube.close()
    assert seen == [*ids, None]
    assert CALL.get() == ""


async def _in_a_task(coming: object) -> Reply:
    """As the HTTP layer does it: a context of its own."""
    import asyncio

    async def run() -> Reply:
        return await coming  # type: ignore[misc, no-any-return]

    return await asyncio.create_task(run())
