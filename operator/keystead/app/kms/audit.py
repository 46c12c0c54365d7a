"""Asks the server for the records of a key (route /audit; each endpoint that is named), and puts the answers in the order of time.

The token is one of the TokenRequest API, for ten minutes, with the audience `keystead`: made with the rights of the person who asks. It is
sent over TLS only, and stands in no message. All pages of an endpoint come over one connection: behind a load balancer another replica
would answer the next one, and where it asks no siblings, refuse its marker.
"""

from __future__ import annotations

import http.client
import json
import ssl
import time
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode, urlsplit

from keystead.app.kms.view import Unread, View
from keystead.cli.kms_audit import AuditAnswer, AuditAsk, ReplicaMissing, ReplicaTold
from keystead.engine.clock import format_time
from keystead.errors import ForbiddenError, InvalidSpecError, NotFoundError, RefusedError, StoreUnavailableError
from keystead.policy.bearer import AUDIENCE

PATH: Final = "/audit"
_SECONDS: Final = 30.0
_TOKEN_SECONDS: Final = 600
_PAGE: Final = 1000
_TRIES: Final = 5
_BUSY: Final = 429


async def token_for(view: View, namespace: str, name: str) -> str:
    """A token of a ServiceAccount with our audience."""
    path = f"/api/v1/namespaces/{namespace}/serviceaccounts/{name}/token"
    body = {
        "apiVersion": "authentication.k8s.io/v1",
        "kind": "TokenRequest",
        "spec": {"audiences": [AUDIENCE], "expirationSeconds": _TOKEN_SECONDS},
    }
    try:
        made = await view.post(path, body, f"create serviceaccounts/token of {name} in {namespace}")
    except NotFoundError:
        raise NotFoundError(f"there is no ServiceAccount {name} in {namespace}") from None
    if isinstance(made, Unread):
        raise ForbiddenError(f"{made}; hint: ask for that right, or give --token-file")
    return str(made["status"]["token"])


def read_token(path: Path) -> str:
    """From a file."""
    try:
        return path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        raise InvalidSpecError("--token-file", f"{path} cannot be read") from None


def read_all(ask: AuditAsk, token: str) -> AuditAnswer:
    """From all endpoints, each record once. Blocks."""
    found: dict[str, Mapping[str, Any]] = {}
    told: dict[tuple[str, str, str], ReplicaTold] = {}
    missing: list[ReplicaMissing] = []
    alone: list[str] = []
    more = False
    for endpoint in ask.endpoints:
        count = 0
        last: Mapping[str, Any] = {}
        for page in _pages(endpoint, ask, token):
            last = page
            for item in page["replicas"]:
                name, begin = str(item.get("replica") or ""), str(item.get("from") or "")
                place = (endpoint, name, str(item.get("address") or ""))
                known = told.get(place)
                damaged = item.get("damaged") is True or (known is not None and known.damaged)
                # One that has told everything says once from when.
                told[place] = ReplicaTold(endpoint, name, begin or ("" if known is None else known.reaches_back), damaged)
            for record in page["records"]:
                found[str(record.get("eventID", len(found)))] = record
            count += len(page["records"])
            if count >= ask.limit and page.get("nextMarker"):
                more = True
                break
        missing += _missing(endpoint, last)
        if not last.get("askedSiblings"):
            alone.append(endpoint)
    ordered = sorted(found.values(), key=lambda record: str(record.get("eventTime", "")))
    return AuditAnswer(ordered[: ask.limit], list(told.values()), more or len(ordered) > ask.limit, missing, alone)


def _missing(endpoint: str, page: Mapping[str, Any]) -> list[ReplicaMissing]:
    """As the last page says: who was not asked for an earlier one, and is there again, has told the rest."""
    return [
        ReplicaMissing(endpoint, str(item.get("replica") or ""), str(item.get("address") or ""), str(item.get("reason") or ""))
        for item in page["notAsked"]
    ]


def _pages(endpoint: str, ask: AuditAsk, token: str) -> Iterator[Mapping[str, Any]]:
    connection = _connect(endpoint, ask.ca_file)
    query = {"key": ask.key, "limit": str(min(_PAGE, ask.limit)), **_since(ask.since)}
    try:
        while True:
            page = _page(connection, endpoint, query, token)
            yield page
            if not page.get("nextMarker"):
                return
            query["marker"] = page["nextMarker"]
    finally:
        connection.close()


def _since(moment: datetime | None) -> dict[str, str]:
    return {} if moment is None else {"since": format_time(moment)}


def _connect(endpoint: str, ca_file: Path | None) -> http.client.HTTPSConnection:
    parts = urlsplit(endpoint)
    try:
        if parts.scheme != "https" or not parts.hostname:
            raise InvalidSpecError("--endpoint", f"{endpoint!r}: give https://HOST:PORT; a token is sent over TLS only")
        trust = ssl.create_default_context(cafile=None if ca_file is None else str(ca_file))
        return http.client.HTTPSConnection(parts.hostname, parts.port, timeout=_SECONDS, context=trust)
    except ssl.SSLError:
        raise InvalidSpecError("--ca-file", f"{ca_file} has no certificate in PEM") from None
    except ValueError:
        raise InvalidSpecError("--endpoint", f"{endpoint!r} is no URL") from None


def _page(connection: http.client.HTTPSConnection, endpoint: str, query: Mapping[str, str], token: str) -> Mapping[str, Any]:
    for left in reversed(range(_TRIES)):
        status, body = _get(connection, endpoint, query, token)
        if status != _BUSY or not left:
            break
        time.sleep(1.0)  # two read already; each of them has five seconds at most
    if status == http.HTTPStatus.OK:
        if not all(isinstance(body.get(name), list) for name in ("records", "replicas", "notAsked")):
            raise StoreUnavailableError(f"{endpoint}: its answer is not of this version; hint: is it a Keystead server?")
        page: Mapping[str, Any] = body
        return page
    said = str(body.get("message") or f"status {status}")
    match status:
        case 401 | 403:
            raise ForbiddenError(f"{endpoint}: {said}; hint: kubectl create role NAME --verb=audit --resource=kmskeys.kms.keystead.io")
        case 404:
            raise NotFoundError(f"{endpoint} tells no records; hint: it keeps no files of them (values audit), or is no Keystead server")
        case 400:
            raise RefusedError(f"{endpoint}: {said}")
    raise StoreUnavailableError(f"{endpoint}: {said}")


def _get(connection: http.client.HTTPSConnection, endpoint: str, query: Mapping[str, str], token: str) -> tuple[int, dict[str, Any]]:
    try:
        connection.request("GET", f"{PATH}?{urlencode(query)}", headers={"Authorization": f"Bearer {token}"})
        response = connection.getresponse()
        data = response.read()
    except ssl.SSLCertVerificationError:
        raise StoreUnavailableError(f"{endpoint}: its certificate is not trusted; hint: --ca-file FILE") from None
    except (OSError, http.client.HTTPException) as error:
        raise StoreUnavailableError(f"{endpoint}: no answer ({type(error).__name__}); hint: check host and port of the replica") from None
    except ValueError:  # http.client, of a header that is none: its words have the token
        raise InvalidSpecError("--token-file", "it holds no token") from None
    try:
        body = json.loads(data)
    except ValueError:
        body = {}
    return response.status, body if isinstance(body, dict) else {}
