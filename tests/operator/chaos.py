"""A proxy before the API server that goes wrong on command: kills, dropped replies, false answers, stalled watches.

Plain HTTP on 127.0.0.1 in a thread of its own; forwards over TLS with the caller's own Authorization header. Use:

    with ChaosProxy(cluster) as proxy, installation.operator(server=proxy.url) as operator:
        proxy.rule(lambda request: request.is_record, drop_reply(), after=1)   # the second record write
        ...
        assert [write.status for write in proxy.writes()] == [201, 201, 200]

A rule acts on the requests that `match` says yes to: it lets `after` of them pass, then acts on `times` (None: on all).
The first rule that acts wins. Rules see watches too (`request.watch`), at their start and again at every chunk; there
`stall_watch` makes them silent, a drop ends them, and `answer` ends them with an ERROR event (410: too old).
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import ssl
import threading
from base64 import b64decode
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from email.utils import format_datetime, parsedate_to_datetime
from types import TracebackType
from typing import Any

import aiohttp
from aiohttp import web
from tests.cluster.cluster import Cluster
from tests.operator.faults import (
    WRITES,
    Action,
    Drop,
    Gate,
    Match,
    Reply,
    Request,
    Rule,
    answer,
    delay,
    drop_reply,
    drop_request,
    hold,
    kill_after,
    kill_before,
    stall_watch,
)
from yarl import URL

__all__ = [
    "ChaosProxy",
    "Gate",
    "Request",
    "Rule",
    "Write",
    "answer",
    "delay",
    "drop_reply",
    "drop_request",
    "hold",
    "kill_after",
    "kill_before",
    "stall_watch",
]
_HOP = frozenset({"connection", "host", "keep-alive", "transfer-encoding", "content-length", "upgrade"})


@dataclass
class Write:
    """One write that was seen.

    `status`: what the API server said; None: not asked, or no answer yet. `told`: what the caller was told; None: nothing.
    `fault`: the name of the action that was taken.
    """

    number: int
    method: str
    path: str
    query: Mapping[str, str]
    body: Any
    status: int | None = None
    told: int | None = None
    fault: str = ""

    @property
    def committed(self) -> bool:
        """Whether the API server did it."""
        return self.status is not None and self.status < 300


@dataclass
class ChaosProxy:
    """The proxy. A context manager; `url` is for a kubeconfig's `server`. Safe to steer from the test's thread.

    `log`: every write, the Lease's too. `requests`: reads and writes since `clear`. `streams`: watches open now.
    """

    cluster: Cluster
    log: list[Write] = field(default_factory=list)
    requests: int = 0
    streams: int = 0
    url: str = ""
    _rules: list[Rule] = field(default_factory=list)
    _errors: list[Exception] = field(default_factory=list)
    _shift: float = 0.0
    _number: int = 0
    _lock: threading.RLock = field(default_factory=threading.RLock)

    def rule(self, match: Match, action: Action, times: int | None = 1, after: int = 0) -> Rule:
        """Add a rule; the one that is answered counts its hits."""
        made = Rule(match, action, times, after)
        with self._lock:
            self._rules.append(made)
        return made

    def shift_date(self, seconds: float) -> None:
        """A clock that steps: add this to the Date header of every answer from now on. Not added up; 0 is the true time.

        Every time rule of the operator goes by that header (store/kube.py: ServerClock), so this is how a test lets days
        pass: rotation, overlap, expiry, deletion windows. An operator learns the new time with its next answer, at the
        latest with its next renewal of the Lease; a reconcile begins with a read, so one that starts after the step plans
        by the new time (`Desk.look` asks for one). What the API server itself stamps (creationTimestamp,
        deletionTimestamp) and the token's time stay true. A negative value steps back. Two operators see one clock when
        they share the proxy, and two clocks when each has its own. Survives `clear`: set it back to 0 at the end.
        """
        self._shift = seconds

    def clear(self) -> None:
        """Forget rules and log, and count writes from 1. The shift of the date stays."""
        with self._lock:
            self._rules.clear()
            self.log.clear()
            self.requests = self._number = 0

    def writes(self, match: Callable[[Write], bool] = lambda _: True) -> list[Write]:
        """The writes so far, the Lease's left out."""
        with self._lock:
            return [write for write in self.log if "/leases" not in write.path and match(write)]

    # -- inside the thread

    def __enter__(self) -> ChaosProxy:
        started = threading.Event()
        self._upstream, self._tls = server_of(self.cluster)
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        self._thread = threading.Thread(target=lambda: self._loop.run_until_complete(self._serve(started)), daemon=True)
        self._thread.start()
        assert started.wait(10), "the proxy did not start"
        return self

    def __exit__(self, kind: type[BaseException] | None, _: BaseException | None, __: TracebackType | None) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(20)
        self._loop.close()
        if kind is None and self._errors:
            raise AssertionError("a rule of the proxy failed") from self._errors[0]

    async def _serve(self, started: threading.Event) -> None:
        connector = aiohttp.TCPConnector(ssl=self._tls, limit=0)
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=10)
        async with aiohttp.ClientSession(connector=connector, timeout=timeout, auto_decompress=False) as self._session:
            self._session._retry_connection = False  # a PUT must not be sent twice by the proxy itself
            app = web.Application(client_max_size=1 << 26)
            app.router.add_route("*", "/{path:.*}", self._handle)
            runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=0.2)
            await runner.setup()
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            self.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
            started.set()
            await self._stop.wait()
            await runner.cleanup()
            late = asyncio.all_tasks() - {asyncio.current_task()}  # writes that outlived their callers
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)
        await asyncio.sleep(0.05)  # aborted connections close their sockets in the loop

    async def _handle(self, incoming: web.Request) -> web.StreamResponse:
        body = await incoming.read()
        request, write = self._note(incoming, body)
        try:
            if request.watch:
                self.streams += 1
                try:
                    return await self._stream(incoming, request)
                finally:
                    self.streams -= 1
            # shielded: a caller who dies in the middle of a write has sent it, and it counts
            reply = await asyncio.shield(self._answer(incoming, request, write, body))
        except (Drop, aiohttp.ClientError, OSError):
            if incoming.transport is not None:
                incoming.transport.abort()
            return web.Response(status=502)  # nobody reads it
        return web.Response(status=reply.status, headers=self._headers(reply.headers), body=reply.body)

    def _note(self, incoming: web.Request, body: bytes) -> tuple[Request, Write | None]:
        parsed: Any = None
        with contextlib.suppress(ValueError):
            parsed = json.loads(body) if body else None
        with self._lock:
            self.requests += 1
            number = 0
            if incoming.method in WRITES:
                number = self._number = self._number + 1
            request = Request(incoming.method, incoming.path, dict(incoming.query), parsed, number)
            if not number:
                return request, None
            write = Write(number, request.method, request.path, request.query, parsed)
            self.log.append(write)
            return request, write

    async def _answer(self, incoming: web.Request, request: Request, write: Write | None, body: bytes) -> Reply:
        seen = write or Write(0, request.method, request.path, request.query, None)

        async def forward() -> Reply:
            async with self._send(incoming, body) as response:
                reply = Reply(response.status, dict(response.headers), await response.read())
            seen.status = reply.status
            return reply

        action = self._action(request)
        if action is not None:
            seen.fault = action.__name__
        reply = await (forward() if action is None else action(forward))
        seen.told = reply.status
        return reply

    async def _stream(self, incoming: web.Request, request: Request) -> web.StreamResponse:
        async with self._send(incoming, b"") as response:
            try:
                outgoing = web.StreamResponse(status=response.status, headers=self._headers(response.headers))
                await outgoing.prepare(incoming)
                error = await self._instead(request)
                while not error and (chunk := await response.content.readany()):
                    error = await self._instead(request)
                    if not error:
                        await outgoing.write(chunk)
                if error:  # told as the API server does it: within the stream
                    await outgoing.write(b'{"type":"ERROR","object":' + error.body + b"}\n")
                return outgoing
            finally:
                if response.connection is not None and response.connection.transport is not None:
                    response.connection.transport.abort()  # an orderly end of TLS would outlive the loop

    async def _instead(self, request: Request) -> Reply | None:
        action = self._action(request)
        return None if action is None else await action(_nothing)

    def _action(self, request: Request) -> Action | None:
        with self._lock:
            try:
                return next((rule.action for rule in self._rules if rule.acts_on(request)), None)
            except Exception as error:  # a test's own match function: told in __exit__
                self._errors.append(error)
                return None

    def _send(self, incoming: web.Request, body: bytes) -> Any:
        headers = {key: value for key, value in incoming.headers.items() if key.lower() not in _HOP}
        url = URL(self._upstream + incoming.raw_path, encoded=True)
        return self._session.request(incoming.method, url, headers=headers, data=body or None, allow_redirects=False)

    def _headers(self, given: Mapping[str, str]) -> dict[str, str]:
        headers = {key: value for key, value in given.items() if key.lower() not in _HOP}
        if self._shift and "Date" in headers:
            moment = parsedate_to_datetime(headers["Date"]) + timedelta(seconds=self._shift)
            headers["Date"] = format_datetime(moment, usegmt=True)
        return headers


async def _nothing() -> Reply:
    raise Drop


def server_of(cluster: Cluster) -> tuple[str, ssl.SSLContext]:
    """URL and TLS context of the real API server."""
    view = cluster.kubectl("config", "view", "--raw", "--minify", "--flatten", "-o", "json")
    entry = json.loads(view)["clusters"][0]["cluster"]
    authority = entry.get("certificate-authority-data")
    context = ssl.create_default_context(cadata=b64decode(authority).decode() if authority else None)
    return entry["server"], context
