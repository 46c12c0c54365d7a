"""What comes in place of an answer: a proxy's page, a line that was cut, nothing. Always a StoreError, which is tried again."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from kubernetes.aio import client

from keystead.errors import ConflictError, ForbiddenError, RefusedError, StoreUnavailableError
from keystead.store.kube import Kube

# Body and status of what the server answers, by path.
ANSWERS: dict[str, tuple[int, bytes]] = {
    "/page": (200, b"<html>502 Bad Gateway</html>"),
    "/cut": (200, b'{"kind": "Sec'),
    "/not-utf8": (200, b"\xff\xfe{}"),
    "/overloaded": (429, b"<html>slow down</html>"),
    "/gone": (410, b'{"message": "too old resource version"}'),
    "/deep": (200, b"[" * 100_000),
    "/forbidden": (403, b"[]"),
    "/refused": (422, b"null"),
}


async def _answer(request: web.Request) -> web.Response:
    status, body = ANSWERS[request.path]
    return web.Response(status=status, body=body, headers={"Retry-After": "3600"})


@pytest.fixture
async def kube() -> AsyncIterator[Kube]:
    """A client whose API server answers ANSWERS."""
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", _answer)
    async with TestServer(app) as server:
        settings = client.Configuration()
        settings.host = str(server.make_url("")).rstrip("/")
        settings.retries = None
        made = Kube(client.ApiClient(settings))
        yield made
        await made.close()


@pytest.mark.parametrize("path", ["/page", "/cut", "/not-utf8", "/deep", "/overloaded"])
async def test_what_is_no_answer_is_an_api_server_that_is_away(kube: Kube, path: str) -> None:
    with pytest.raises(StoreUnavailableError, match=path):
        await kube.request("GET", path)


@pytest.mark.parametrize("path", ["/page", "/cut", "/not-utf8", "/deep", "/overloaded"])
async def test_a_watch_of_it_ends_in_the_same_error(kube: Kube, path: str) -> None:
    with pytest.raises(StoreUnavailableError, match=path):
        async for _ in kube.watch(path, {}):
            pytest.fail("an event")


@pytest.mark.parametrize(("path", "error"), [("/gone", ConflictError), ("/forbidden", ForbiddenError), ("/refused", RefusedError)])
async def test_a_refusal_keeps_its_kind_whatever_its_body(kube: Kube, path: str, error: type[Exception]) -> None:
    with pytest.raises(error, match=path):
        await kube.request("GET", path)
    with pytest.raises(error, match=path):
        async for _ in kube.watch(path, {}):
            pytest.fail("an event")
