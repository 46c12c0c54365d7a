"""Last uses in the cluster: ConfigMaps keystead-usage-<n> in the release's namespace, one a replica, merged by all.

    data.holder                who writes it; empty: its replica ended in order
    data.written               when; the holder writes at least every 5 minutes
    binaryData.uses.json.zlib  the table (operations/usetable.py), bounded by what a ConfigMap takes

Called by server/usage.py's UseKeeper. A new replica takes over what a dead one left, with what is in it: so there are never more of them
than replicas at one time, nothing is forgotten, and nothing has to be deleted (the server may not). Two that take the same one over: the
resourceVersion decides. Losing it all costs GetKeyLastUsage its memory and nothing else; no decision is ever made by it.
"""

from __future__ import annotations

import asyncio
import base64
import logging
from datetime import datetime, timedelta
from itertools import count
from typing import Any, Final

from keystead.engine.clock import format_time, parse_time
from keystead.errors import ConflictError, NotFoundError
from keystead.operations.usetable import UseTable, merged, pack, unpack
from keystead.resources import names
from keystead.store.kube import Kube

log = logging.getLogger(__name__)
PREFIX: Final = "keystead-usage-"
_TABLE: Final = "uses.json.zlib"
_SELECTOR: Final = {"app.kubernetes.io/component": "usage", names.MANAGED_BY: names.MANAGED_BY_KEYSTEAD}
_REWRITE: Final = timedelta(minutes=5)
_DEAD: Final = timedelta(minutes=15)
_ATTEMPTS: Final = 8
Body = dict[str, Any]


class KubeUses:
    """Implements `server.usage.UseStore`. `holder`: which replica this is."""

    def __init__(self, kube: Kube, namespace: str, holder: str) -> None:
        self._kube = kube
        self._path = f"/api/v1/namespaces/{namespace}/configmaps"
        self._holder = holder
        self._held: Body | None = None
        self._earlier = UseTable()
        self._saved: UseTable | None = None

    async def load(self) -> UseTable:
        """What is in all of them."""
        return merged(_table(body) for body in await self._all())

    async def save(self, table: UseTable, *, last: bool) -> None:
        """Write the own one: where there is something new, or it is time to show that somebody holds it."""
        now = self._kube.clock.now()
        if self._held is not None and not last and table == self._saved and now - _written(self._held) < _REWRITE:
            return
        for _ in range(_ATTEMPTS):
            if self._held is None:
                self._held = await self._claim(now)
                self._earlier = merged((self._earlier, _table(self._held)))
            whole = merged((self._earlier, table))
            try:
                self._held = await self._put(self._held, "" if last else self._holder, whole, now)
            except (ConflictError, NotFoundError):  # we were taken for dead, or somebody deleted it: another one
                self._held = None
            else:
                self._saved = table
                return
        raise ConflictError(f"no ConfigMap {PREFIX}<n> could be written: somebody else writes them all")

    async def _all(self) -> list[Body]:
        selector = ",".join(f"{key}={value}" for key, value in _SELECTOR.items())
        found, _ = await self._kube.list_pages(self._path, {"labelSelector": selector})
        return [body for body in found if body["metadata"]["name"].startswith(PREFIX)]

    async def _claim(self, now: datetime) -> Body:
        """One that nobody writes any more, or a new one. What it holds stays in it."""
        there = await self._all()
        for body in there:
            holder = _data(body).get("holder", "")
            if holder not in ("", self._holder) and now - _written(body) < _DEAD:
                continue
            try:
                return await self._put(body, self._holder, _table(body), now)
            except (ConflictError, NotFoundError):
                continue
        taken = {body["metadata"]["name"] for body in there}
        for number in count():
            if (name := f"{PREFIX}{number}") in taken:
                continue
            body = self._body({"name": name, "labels": _SELECTOR}, self._holder, UseTable(), now)
            try:
                made: Body = await self._kube.request("POST", self._path, body=body)
            except ConflictError:
                continue
            return made
        raise AssertionError("unreachable")

    async def _put(self, found: Body, holder: str, table: UseTable, now: datetime) -> Body:
        metadata = {member: found["metadata"][member] for member in ("name", "resourceVersion", "labels", "annotations")
                    if member in found["metadata"]}
        path = f"{self._path}/{metadata['name']}"
        made = await asyncio.to_thread(self._body, metadata, holder, table, now)  # ten thousand keys are 50 ms of compression
        answer: Body = await self._kube.request("PUT", path, body=made)
        return answer

    def _body(self, metadata: Body, holder: str, table: UseTable, now: datetime) -> Body:
        data = {"holder": holder, "written": format_time(now)}
        if table.since is not None:
            data["trackingSince"] = format_time(table.since)
        packed = base64.b64encode(pack(table)).decode()
        return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data, "binaryData": {_TABLE: packed}}


def _data(body: Body) -> Body:
    return body.get("data") or {}


def _written(body: Body) -> datetime:
    """Long ago, where it cannot be read."""
    try:
        return parse_time(_data(body).get("written", ""))
    except ValueError:
        return parse_time("2020-01-01T00:00:00Z")


def _table(body: Body) -> UseTable:
    """Empty where somebody else has written into it."""
    try:
        return unpack(base64.b64decode((body.get("binaryData") or {}).get(_TABLE, ""), validate=True))
    except ValueError as error:
        log.warning("ConfigMap %s holds no last uses: %s", body["metadata"]["name"], error)
        return UseTable()
