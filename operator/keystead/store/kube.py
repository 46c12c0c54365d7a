"""One small HTTP client on `kubernetes.aio`: JSON in, JSON out, our errors, and the API server's clock.

The official client brings kubeconfig, in-cluster credentials, token refresh and TLS; its generated models are not used: they cost more
than the calls. Retries are the queue's work, not the client's. (aiohttp repeats a PUT once when an idle connection turns out to be
closed; resourceVersion makes the second one a conflict where the first had arrived.)
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode, urlsplit
from urllib.request import getproxies, proxy_bypass

import aiohttp
from kubernetes.aio import client, config

from keystead import __version__
from keystead.errors import (
    ConflictError,
    ForbiddenError,
    NotFoundError,
    RefusedError,
    StoreError,
    StoreUnavailableError,
)
from keystead.operations.calling import CALL

JSON: Final = "application/json"
APPLY: Final = "application/apply-patch+yaml"
MERGE_PATCH: Final = "application/merge-patch+json"
JSON_PATCH: Final = "application/json-patch+json"

PAGE: Final = "500"
# One request: more than any healthy API server needs, less than the Lease's deadline.
REQUEST_SECONDS: Final = 8.0
# A watch that says nothing for this long is opened anew (bookmarks come about once a minute).
WATCH_SILENCE_SECONDS: Final = 75.0
# Times that an API server may have. Before: a machine that booted without a clock. After: so far from the end of the calendar that no
# period, window or overlap added to a record's time can pass it.
EARLIEST: Final = datetime(2020, 1, 1, tzinfo=UTC)
LATEST: Final = datetime(2200, 1, 1, tzinfo=UTC)

# Levels of JSON that an API server lets through (Go's decoder): somebody's object as deep as that must not stop the reading of all the
# others. Python stops at 1,000 by default; Kopf's own reading obeys the same limit.
_DEPTH: Final = 10_000

_ERRORS: Final[Mapping[int, type[StoreError]]] = {
    403: ForbiddenError,
    404: NotFoundError,
    409: ConflictError,
    410: ConflictError,
    422: RefusedError,
    400: RefusedError,
    401: ForbiddenError,
    413: RefusedError,
}


@dataclass(slots=True)
class ServerClock:
    """The API server's time: its `Date` header, carried on by the monotonic clock between answers.

    A Date that is missing, unreadable or beyond EARLIEST and LATEST is not believed: the time goes on as it went. Within them a step is
    believed, forward and back: what must not happen twice or early is not guarded by the clock alone.
    """

    _date: datetime | None = None
    _at: float = 0.0
    _why: str = ""

    def observe(self, header: str | None) -> None:
        """Take over the Date of an answer."""
        try:
            date = parsedate_to_datetime(header or "").astimezone(UTC)
        except (ValueError, TypeError, OverflowError):
            self._why = f": its Date is {header!r}"
            return
        if EARLIEST <= date < LATEST:
            self._date, self._at = date, time.monotonic()
        else:
            self._why = f": its Date is {header!r}, which is not believed"

    def now(self) -> datetime:
        """The API server's time. StoreUnavailableError before its first answer that is believed."""
        if self._date is None:
            raise StoreUnavailableError(f"the API server's time is not known yet{self._why}")
        return self._date + timedelta(seconds=time.monotonic() - self._at)


def user_agent(identity: str = "") -> str:
    """What the API server's audit log shows of a request: the program, its version, and which operator process it was."""
    if not identity:
        return f"keystead/{__version__}"
    shown = "".join(c if c.isascii() and c.isprintable() and c not in "()" else "_" for c in identity)
    return f"keystead-operator/{__version__} ({shown})"


class Kube:
    """Requests to one API server. `identity`: the operator process that asks; empty for a command."""

    def __init__(self, api: client.ApiClient, identity: str = "") -> None:
        self._api = api
        self._agent = user_agent(identity)
        self.clock = ServerClock()

    async def request(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None = None,
        body: object = None,
        content_type: str = JSON,
    ) -> Any:  # noqa: ANN401 - JSON
        """The JSON of the answer. StoreError by status; StoreUnavailableError where no answer came."""
        timeout = aiohttp.ClientTimeout(total=REQUEST_SECONDS)
        response = await self._send(method, path, query, body, content_type, timeout)
        try:
            data = await response.read()
        except (aiohttp.ClientError, TimeoutError) as error:
            raise StoreUnavailableError(f"{method} {path}: the answer broke off ({type(error).__name__})") from None
        self.clock.observe(response.headers.get("Date"))
        if response.status >= 400:
            raise _error(response.status, method, path, data)
        return _parsed(f"{method} {path}", data) if data else None

    async def list_pages(self, path: str, query: Mapping[str, str] | None = None) -> tuple[list[Any], str]:
        """All items of a list, read in pages of 500, and the resourceVersion to watch from."""
        found: list[Any] = []
        version = ""
        async for page in self.pages(path, query):
            found += page["items"]
            version = page["metadata"]["resourceVersion"]
        return found, version

    async def pages(self, path: str, query: Mapping[str, str] | None = None) -> AsyncIterator[Any]:
        """A list, a page of 500 at a time: ten thousand objects at once would cost hundreds of megabytes."""
        asked = {"limit": PAGE, **(query or {})}
        while True:
            page = await self.request("GET", path, asked)
            yield page
            token = page["metadata"].get("continue")
            if not token:
                return
            asked = {**asked, "continue": token}

    async def watch(self, path: str, query: Mapping[str, str]) -> AsyncIterator[Any]:
        """Events of a watch. Ends when the server ends it; StoreUnavailableError after silence or a broken line."""
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=REQUEST_SECONDS, sock_read=WATCH_SILENCE_SECONDS)
        response = await self._send("GET", path, {**query, "watch": "1"}, None, JSON, timeout)
        try:
            if response.status >= 400:
                raise _error(response.status, "WATCH", path, await response.read())
            async for line in response.content:
                if line.strip():
                    yield _parsed(f"WATCH {path}", line)
        except (aiohttp.ClientError, TimeoutError) as error:
            raise StoreUnavailableError(f"WATCH {path}: {type(error).__name__}") from None
        finally:
            response.close()

    async def _send(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None,
        body: object,
        content_type: str,
        timeout: aiohttp.ClientTimeout,
    ) -> aiohttp.ClientResponse:
        headers = {"Accept": JSON, "Content-Type": content_type, "User-Agent": self._agent}
        call = CALL.get()
        if call:  # the API server takes it over as auditID of its own record (docs/audit.md)
            headers["Audit-ID"] = call
        await self._api.update_params_for_auth(headers, [], ["BearerToken"], path, method, body)
        url = self._api.configuration.host + path + (f"?{urlencode(query)}" if query else "")
        try:
            reply = await self._api.rest_client.request(
                method, url, headers=headers, body=body, _request_timeout=timeout
            )
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise StoreUnavailableError(f"{method} {path}: no answer ({type(error).__name__})") from None
        response: aiohttp.ClientResponse = reply.response
        return response

    async def close(self) -> None:
        """End the connections."""
        await self._api.close()


async def connect(kubeconfig: Path | None, identity: str = "", context: str = "") -> Kube:
    """A client from a kubeconfig (its current context, or `context`), or from the Pod's ServiceAccount. StoreError where neither works."""
    sys.setrecursionlimit(max(sys.getrecursionlimit(), 2 * _DEPTH))
    settings = client.Configuration()
    try:
        if kubeconfig is not None:
            await config.load_kube_config(
                str(kubeconfig), context=context or None, client_configuration=settings, persist_config=False
            )
        else:
            config.load_incluster_config(client_configuration=settings)
    except (config.ConfigException, OSError, ValueError) as error:
        raise StoreError(f"no access to an API server: {error}; hint: set KUBECONFIG") from None
    settings.retries = None
    settings.client_go_retries = False
    # With trust_env aiohttp asks ~/.netrc and the proxy variables in a thread at each request: half of a request's cost.
    settings.client_session_kwargs = {"trust_env": False}
    settings.proxy = settings.proxy or _proxy(settings.host)
    return Kube(client.ApiClient(settings), identity)


def _proxy(url: str) -> str | None:
    """What HTTPS_PROXY and NO_PROXY say of the API server, once."""
    host = urlsplit(url).hostname or ""
    return None if proxy_bypass(host) else getproxies().get("https")


def _parsed(what: str, data: bytes) -> Any:  # noqa: ANN401 - JSON
    try:
        return json.loads(data)
    except (ValueError, RecursionError):  # a proxy's page, or a line that was cut
        raise StoreUnavailableError(f"{what}: the answer is no JSON") from None


def _error(status: int, method: str, path: str, data: bytes) -> StoreError:
    made = _ERRORS.get(status, StoreUnavailableError)(f"{method} {path}: {status} {_message(data)}")
    if isinstance(made, StoreUnavailableError):
        made.status = status
    return made


def _message(data: bytes) -> str:
    try:
        answer = json.loads(data)
        return str(answer.get("message", ""))[:500]
    except (ValueError, AttributeError):
        return data[:200].decode(errors="replace")
