"""A bare client of the API server for the benchmark: many writes in flight, and one watch that says when an object became Ready.

It is aiohttp and nothing else, so that what the clients cost beside the operator on the same two cores stays small.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import aiohttp
from tests.cluster.cluster import Cluster

GROUP = "/apis/kms.keystead.io/v1alpha1"
IN_FLIGHT = 16  # as many as the operator has workers
APPLY = "application/apply-patch+yaml"
LINE = 4 * 2**20  # one watch event is one line, and a line holds a whole object


class ApiError(Exception):
    """The API server refused what the benchmark asked."""


@dataclass
class Api:
    """Requests as the cluster's administrator. Made by `connected`."""

    session: aiohttp.ClientSession
    url: str

    async def request(self, method: str, path: str, body: Any = None, content: str = "application/json") -> Any:
        """One request; the parsed answer."""
        data = None if body is None else json.dumps(body).encode()
        headers = {"Content-Type": content}
        async with self.session.request(method, self.url + path, data=data, headers=headers) as answer:
            text = await answer.read()
            if answer.status >= 300:
                raise ApiError(f"{method} {path}: {answer.status}: {text[:500].decode(errors='replace')}")
            return json.loads(text)

    async def list_all(self, path: str) -> AsyncIterator[dict[str, Any]]:
        """All objects of a collection, by pages."""
        after = ""
        while True:
            page = await self.request("GET", f"{path}?limit=500{after}")
            for item in page["items"]:
                yield item
            token = page["metadata"].get("continue")
            if not token:
                return
            after = f"&continue={token}"

    async def version(self, path: str) -> str:
        """The resourceVersion to watch a collection from."""
        return str((await self.request("GET", f"{path}?limit=1"))["metadata"]["resourceVersion"])


@contextlib.asynccontextmanager
async def connected(cluster: Cluster) -> AsyncIterator[Api]:
    """A client of a cluster that we built, with its administrator's certificate."""
    plane = cluster.control.plane  # type: ignore[union-attr]
    pki = plane.folder / "pki"
    context = ssl.create_default_context(cafile=pki / "ca.crt")
    context.load_cert_chain(pki / "admin.crt", pki / "admin.key")
    connector = aiohttp.TCPConnector(ssl=context, limit=0)
    async with aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=None)) as session:
        yield Api(session, plane.api_url)


async def in_parallel(calls: Iterable[Callable[[], Awaitable[Any]]], in_flight: int = IN_FLIGHT) -> float:
    """Make all calls with so many in flight; the seconds that it took."""
    waiting = iter(calls)

    async def worker() -> None:
        for call in waiting:
            await call()

    start = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for _ in range(in_flight):
            group.create_task(worker())
    return time.perf_counter() - start


@dataclass
class ReadyWatch:
    """When objects of one kind became Ready, by (namespace, name). A context manager: `async with ReadyWatch(...) as ready`."""

    api: Api
    plural: str
    times: dict[tuple[str, str], float] = field(default_factory=dict)
    _waiting: dict[tuple[str, str], asyncio.Future[float]] = field(default_factory=dict)
    _task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> ReadyWatch:
        version = await self.api.version(f"{GROUP}/{self.plural}")
        self._task = asyncio.create_task(self._run(version))
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._task is not None
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def ready(self, namespace: str, name: str, seconds: float = 60.0) -> float:
        """The moment (perf_counter) at which this object's Ready=True was seen."""
        key = (namespace, name)
        if key in self.times:
            return self.times[key]
        assert self._task is not None
        future = self._waiting.setdefault(key, asyncio.get_running_loop().create_future())
        await asyncio.wait({future, self._task}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        if self._task.done():
            self._task.result()
        if not future.done():
            path = f"{GROUP}/namespaces/{namespace}/{self.plural}/{name}"
            status = (await self.api.request("GET", path)).get("status")
            raise ApiError(
                f"{self.plural} {namespace}/{name} was not Ready in {seconds:g} s: {json.dumps(status)[:2000]}"
            )
        return future.result()

    async def all_ready(self, keys: Iterable[tuple[str, str]], seconds: float) -> None:
        """Until all of these are Ready; ApiError for the first that is not when the time is up."""
        end = time.perf_counter() + seconds
        for namespace, name in keys:
            await self.ready(namespace, name, max(end - time.perf_counter(), 0.01))

    async def _run(self, version: str) -> None:
        while True:
            path = f"{self.api.url}{GROUP}/{self.plural}?watch=1&allowWatchBookmarks=true&resourceVersion={version}"
            async with self.api.session.get(path, read_bufsize=LINE) as answer:
                async for line in answer.content:
                    version = self._seen(json.loads(line))

    def _seen(self, event: Mapping[str, Any]) -> str:
        body = event["object"]
        if event["type"] == "ERROR":
            raise ApiError(f"watch of {self.plural}: {body}")
        metadata = body["metadata"]
        key = (metadata.get("namespace", ""), metadata.get("name", ""))
        if key not in self.times and is_ready(body):
            self.times[key] = time.perf_counter()
            future = self._waiting.pop(key, None)
            if future is not None and not future.done():
                future.set_result(self.times[key])
        return str(metadata["resourceVersion"])


def is_ready(body: Mapping[str, Any]) -> bool:
    """Ready=True, said of the object's own generation."""
    status = body.get("status") or {}
    if status.get("observedGeneration") != body["metadata"].get("generation"):
        return False
    return any(each["type"] == "Ready" and each["status"] == "True" for each in status.get("conditions", []))
