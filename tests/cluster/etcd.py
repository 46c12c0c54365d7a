"""Reads every key of an etcd through its JSON gateway (POST /v3/kv/range, bytes as base64).

Called by controlplane.py, for tests that ask what really lies in the database.
"""

from __future__ import annotations

import base64
import json
import ssl
import urllib.request
from collections.abc import Iterable, Iterator
from typing import Any

PAGE = 500  # keys a request; a page of big objects stays below a few hundred MB


def _encode(value: bytes) -> str:
    return base64.b64encode(value).decode("ascii")


def entries(url: str, context: ssl.SSLContext, page: int) -> Iterator[tuple[bytes, bytes]]:
    """All (key, value) pairs of one revision, in the order of their keys."""
    start, revision = b"\0", 0
    while True:
        # range_end "\0" means: every key from `key` on (etcd API reference, RangeRequest)
        query = {"key": _encode(start), "range_end": _encode(b"\0"), "limit": page, "revision": revision}
        answer = _post(f"{url}/v3/kv/range", query, context)
        pairs = [decode(pair) for pair in answer.get("kvs", [])]
        yield from pairs
        if not answer.get("more"):
            return
        start, revision = pairs[-1][0] + b"\0", revision or int(answer["header"]["revision"])


def decode(pair: dict[str, str]) -> tuple[bytes, bytes]:
    """One element of `kvs`, here or in the output of `etcdctl --write-out json`. An empty value is left out there."""
    return base64.b64decode(pair["key"]), base64.b64decode(pair.get("value", ""))


def _post(url: str, body: dict[str, Any], context: ssl.SSLContext) -> dict[str, Any]:
    request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context))
    with opener.open(request, timeout=60) as response:
        answer: dict[str, Any] = json.load(response)
    return answer


def dump(pairs: Iterable[tuple[bytes, bytes]]) -> bytes:
    """Keys and values as one blob to search in: key, newline, value, newline."""
    return b"".join(key + b"\n" + value + b"\n" for key, value in pairs)
