"""Last uses and counts of calls in the cluster: ConfigMaps keystead-usage-<n> in the release's namespace, one a replica, merged by all.

    data.holder                  who writes it; empty: its replica ended in order
    data.written                 when; the holder writes at least every 5 minutes
    data.countsSince             when the first of its counts was written
    data.run                     <id of the holder's run>.<number of the write>
    data.after                   data.run as the holder found it when it took the ConfigMap over
    binaryData.uses.json.zlib    the last uses (operations/usetable.py), bounded by what the counts leave
    binaryData.counts.json.zlib  the counts (operations/counts.py), bounded; absent where an earlier version wrote

Called by server/usage.py's UseKeeper. A new replica takes over what a dead one left, with what is in it: so there are never more of them
than replicas at one time, nothing is forgotten, and nothing has to be deleted (the server may not). Two that take the same one over: the
resourceVersion decides. Members that this version does not know stay. Losing it all costs GetKeyLastUsage its memory and `kubectl
kms usage` its numbers, and nothing else; no decision is ever made by it.

Counts are added where last uses are merged, so it matters that each is in one ConfigMap only. A replica writes what it found when it took
the ConfigMap over, and its own since its start. One that finds it taken over by somebody else (it was taken for dead) begins another, with
what it counted after the write that the other one found: `after` says which that was, if two writes may have been the last.
"""

from __future__ import annotations

import asyncio
import base64
import logging
import uuid
from datetime import datetime, timedelta
from itertools import count
from typing import Any, Final

from keystead.engine.clock import format_time, parse_time
from keystead.errors import ConflictError, NotFoundError
from keystead.operations import counts
from keystead.operations.counts import Counts, added, without
from keystead.operations.usetable import MAX_BYTES, UseTable, merged, pack, unpack
from keystead.resources import names
from keystead.store.kube import Kube

log = logging.getLogger(__name__)
PREFIX: Final = "keystead-usage-"
_TABLE: Final = "uses.json.zlib"
_COUNTS: Final = "counts.json.zlib"
SELECTOR: Final = {"app.kubernetes.io/component": "usage", names.MANAGED_BY: names.MANAGED_BY_KEYSTEAD}
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
        self._run = uuid.uuid4().hex
        self._writes = 0
        # Counts that were in the ConfigMap that is held.
        self._found: Counts = {}
        # Own counts since the start: those that others hold now; those, and what is in the held ConfigMap; those, and what may be in it.
        self._given: Counts = {}
        self._kept: Counts = {}
        self._tried: tuple[str, Counts] = ("", {})
        self._unsure = False

    async def load(self) -> UseTable:
        """What is in all of them."""
        return merged(_table(body) for body in await self._all())

    async def save(self, table: UseTable, *, last: bool) -> None:
        """Write the own one: where there is something new, or it is time to show that somebody holds it."""
        now = self._kube.clock.now()
        if self._held is not None and not last and table == self._saved and now - _written(self._held) < _REWRITE:
            return
        if self._held is not None and self._unsure:
            await self._look_again(self._held)
        for _ in range(_ATTEMPTS):
            if self._held is None:
                self._held = await self._claim(now)
                self._earlier = merged((self._earlier, _table(self._held)))
                self._found = added((self._found, counts_in(self._held) or {}))
                self._kept = self._given
            whole = merged((self._earlier, table))
            calls = added((self._found, without(table.counts, self._given)))
            self._tried, self._unsure = (self._mark(), table.counts), True
            try:
                self._held = await self._put(self._held, "" if last else self._holder, now, self._tried[0], whole, calls)
            except ConflictError:
                self._tried = ("", {})
                await self._look_again(self._held)
            except NotFoundError:  # somebody deleted it: what was in it goes into another one
                self._held, self._unsure = None, False
            else:
                self._saved, self._kept, self._unsure = table, table.counts, False
                return
        raise ConflictError(f"no ConfigMap {PREFIX}<n> could be written: somebody else writes them all")

    async def _look_again(self, held: Body) -> None:
        """Somebody wrote it. If it was ourselves, by a write whose answer was lost, we go on; else we were taken for dead."""
        try:
            body: Body | None = await self._kube.request("GET", f"{self._path}/{held['metadata']['name']}")
        except NotFoundError:
            body = None
        self._held, self._unsure = None, False
        if body is None or counts_in(body) is None:  # an earlier version takes over last uses only: the counts are still ours alone
            return
        mark, tried = _data(body).get("run", ""), self._tried
        if mark.startswith(f"{self._run}."):
            self._held, self._kept = body, tried[1] if mark == tried[0] else self._kept
            return
        self._given = tried[1] if _data(body).get("after") == tried[0] else self._kept
        self._found = {}

    def _mark(self) -> str:
        self._writes += 1
        return f"{self._run}.{self._writes}"

    async def _all(self) -> list[Body]:
        found, _ = await self._kube.list_pages(self._path, {"labelSelector": selector()})
        return [body for body in found if body["metadata"]["name"].startswith(PREFIX)]

    async def _claim(self, now: datetime) -> Body:
        """One that nobody writes any more, or a new one. What it holds stays in it."""
        there = await self._all()
        for body in there:
            holder = _data(body).get("holder", "")
            if holder not in ("", self._holder) and now - _written(body) < _DEAD:
                continue
            try:
                return await self._put(body, self._holder, now, self._mark())
            except (ConflictError, NotFoundError):
                continue
        taken = {body["metadata"]["name"] for body in there}
        for number in count():
            if (name := f"{PREFIX}{number}") in taken:
                continue
            metadata = {"metadata": {"name": name, "labels": SELECTOR}}
            body = self._body(metadata, self._holder, now, self._mark(), UseTable(), {})
            try:
                made: Body = await self._kube.request("POST", self._path, body=body)
            except ConflictError:
                continue
            return made
        raise AssertionError("unreachable")

    async def _put(
        self, found: Body, holder: str, now: datetime, mark: str, table: UseTable | None = None, calls: Counts | None = None
    ) -> Body:
        path = f"{self._path}/{found['metadata']['name']}"
        made = await asyncio.to_thread(self._body, found, holder, now, mark, table, calls)  # ten thousand keys are 50 ms of compression
        answer: Body = await self._kube.request("PUT", path, body=made)
        return answer

    def _body(
        self, found: Body, holder: str, now: datetime, mark: str, table: UseTable | None = None, calls: Counts | None = None
    ) -> Body:
        """What is found, with the members that are ours. table, calls None: those that are there stay."""
        metadata = {member: found["metadata"][member] for member in ("name", "resourceVersion", "labels", "annotations")
                    if member in found["metadata"]}
        there = _data(found)
        data = {**there, "holder": holder, "written": format_time(now), "run": mark}
        if not there.get("run", "").startswith(f"{self._run}."):
            data["after"] = there.get("run", "")
        packed = dict(found.get("binaryData") or {})
        if table is not None and table.since is not None:
            data["trackingSince"] = format_time(table.since)
        if table is not None and calls is not None:
            counted = counts.pack(calls)
            data.setdefault("countsSince", format_time(now))
            packed[_COUNTS] = base64.b64encode(counted).decode()
            packed[_TABLE] = base64.b64encode(pack(table, MAX_BYTES - len(counted))).decode()
        return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data, "binaryData": packed}


def selector() -> str:
    """Which ConfigMaps are meant, for a list; besides, their names begin with PREFIX."""
    return ",".join(f"{key}={value}" for key, value in SELECTOR.items())


def counts_in(body: Body) -> Counts | None:
    """The counts of one ConfigMap. None where it has none, or somebody else has written into it."""
    member = (body.get("binaryData") or {}).get(_COUNTS)
    if member is None:
        return None
    try:
        return counts.unpack(base64.b64decode(member, validate=True))
    except ValueError as error:
        log.warning("ConfigMap %s holds no counts: %s", body["metadata"]["name"], error)
        return None


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
