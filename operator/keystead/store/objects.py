"""Custom resources, their status, and the facts around them: namespaces, CRDs, events, access reviews."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable
from typing import Any, Final

from keystead.engine.clock import format_time
from keystead.engine.plan.common import CrdFacts, NamespaceFacts
from keystead.errors import ConflictError, NotFoundError, RefusedError
from keystead.reconciler.ports import EventType, Kind, ObjectRef
from keystead.resources import names
from keystead.store.kube import APPLY, JSON_PATCH, MERGE_PATCH, Kube

MANAGER: Final = "keystead-operator"
_API: Final = f"/apis/{names.API_VERSION}"


class JoinedReads:
    """One GET for all who ask before it is sent. Who asks while one is under way waits for the next: no answer is older than its
    question."""

    def __init__(self, kube: Kube) -> None:
        self._kube = kube
        self._sent: dict[str, asyncio.Task[Any]] = {}
        self._next: dict[str, asyncio.Task[Any]] = {}

    async def get(self, path: str) -> Any:  # noqa: ANN401 - JSON
        """As Kube.request("GET", path)."""
        asked = self._next.get(path)
        if asked is None:
            asked = self._next[path] = asyncio.create_task(self._send(path, self._sent.get(path)))
        return await asyncio.shield(asked)

    async def _send(self, path: str, before: asyncio.Task[Any] | None) -> Any:  # noqa: ANN401 - JSON
        if before is not None:
            await asyncio.wait({before})
        self._sent[path] = own = self._next.pop(path)
        try:
            return await self._kube.request("GET", path)
        finally:
            if self._sent.get(path) is own:
                del self._sent[path]


class KubeObjects:
    """Implements `reconciler.ports.Objects`."""

    def __init__(self, kube: Kube, crd_seen: Callable[[Kind, bool], None] = lambda _kind, _present: None) -> None:
        self._kube = kube
        self._joined = JoinedReads(kube)
        self._crd_seen = crd_seen

    async def get(self, ref: ObjectRef) -> dict[str, Any] | None:
        """The live object, or None where it is not there (or its CRD is not)."""
        try:
            found: dict[str, Any] = await self._kube.request("GET", path_of(ref))
        except NotFoundError:
            return None
        return found

    async def each(self, kind: Kind, namespaces: tuple[str, ...] = ()) -> AsyncIterator[dict[str, Any]]:
        """All objects of a kind, as `pages` reads them."""
        async for page in self.pages(kind, namespaces):
            for body in page:
                yield body

    async def pages(self, kind: Kind, namespaces: tuple[str, ...] = ()) -> AsyncIterator[list[dict[str, Any]]]:
        """All objects of a kind, in these namespaces or cluster-wide, a page in memory at a time. NotFoundError where the CRD is absent."""
        places = [f"{_API}/namespaces/{name}/{kind.plural}" for name in namespaces] or [f"{_API}/{kind.plural}"]
        for place in places:
            async for page in self._kube.pages(place):
                yield page["items"]

    async def apply_status(self, ref: ObjectRef, uid: str, status: dict[str, Any]) -> None:
        """Server-side apply of the whole status, with the uid: without it the apply could make an object (KUBERNETES.md)."""
        body = {
            "apiVersion": names.API_VERSION,
            "kind": ref.kind.value,
            "metadata": {"name": ref.name, "namespace": ref.namespace, "uid": uid},
            "status": status,
        }
        path, query = f"{path_of(ref)}/status", {"fieldManager": MANAGER, "force": "true"}
        answer = await self._kube.request("PATCH", path, query, body, APPLY)
        foreign = _foreign(answer.get("status") or {}, status)
        if foreign:
            body = {"metadata": {"uid": uid}, "status": foreign}
            await self._kube.request("PATCH", path, {"fieldManager": MANAGER}, body, MERGE_PATCH)

    async def set_finalizers(self, ref: ObjectRef, uid: str, resource_version: str, finalizers: tuple[str, ...]) -> None:
        """JSON patch that tests uid and resourceVersion. ConflictError where they are others; nothing where the object is gone."""
        patch = [
            {"op": "test", "path": "/metadata/uid", "value": uid},
            {"op": "test", "path": "/metadata/resourceVersion", "value": resource_version},
            {"op": "add", "path": "/metadata/finalizers", "value": list(finalizers)},
        ]
        try:
            await self._kube.request("PATCH", path_of(ref), {"fieldManager": MANAGER}, patch, JSON_PATCH)
        except NotFoundError:
            return
        except RefusedError as error:  # a test that fails answers 422
            raise ConflictError(f"{ref}: it changed meanwhile ({error})") from None

    async def create(self, ref: ObjectRef, body: dict[str, Any]) -> None:
        """POST. ConflictError where there is an object of this name."""
        await self._kube.request("POST", path_of(ref).rpartition("/")[0], {"fieldManager": MANAGER}, body)

    async def delete(self, ref: ObjectRef, uid: str) -> None:
        """DELETE with the uid. Nothing where it is gone."""
        body = {"apiVersion": "v1", "kind": "DeleteOptions", "preconditions": {"uid": uid}}
        try:
            await self._kube.request("DELETE", path_of(ref), body=body)
        except NotFoundError:
            return

    async def served(self) -> set[Kind]:
        """The kinds that the API server serves now (discovery, which everybody may read)."""
        try:
            found = await self._kube.request("GET", _API)
        except NotFoundError:
            return set()
        resources = {item["name"] for item in found["resources"]}
        return {kind for kind in Kind if kind.plural in resources}

    async def namespace(self, name: str) -> NamespaceFacts | None:
        """The live namespace, or None."""
        try:
            found = await self._joined.get(f"/api/v1/namespaces/{name}")
        except NotFoundError:
            return None
        return NamespaceFacts(found["metadata"]["uid"], "deletionTimestamp" in found["metadata"])

    async def crd(self, kind: Kind) -> CrdFacts | None:
        """The live CRD of a kind, or None."""
        path = f"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{kind.plural}.{names.GROUP}"
        try:
            found = await self._joined.get(path)
        except NotFoundError:
            self._crd_seen(kind, False)
            return None
        terminating = "deletionTimestamp" in found["metadata"]
        self._crd_seen(kind, not terminating)
        return CrdFacts(found["metadata"]["uid"], terminating)

    async def event(self, ref: ObjectRef, uid: str, reason: str, message: str, kind: EventType, once: str) -> None:
        """An event whose name is a digest of uid, reason and `once`: made a second time it is the same one."""
        digest = hashlib.sha256("\0".join((uid, reason, once)).encode()).hexdigest()[:16]
        now = format_time(self._kube.clock.now())
        body = {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"name": f"{ref.name[:200].rstrip('.-')}.{digest}", "namespace": ref.namespace},
            "involvedObject": {
                "apiVersion": names.API_VERSION,
                "kind": ref.kind.value,
                "name": ref.name,
                "namespace": ref.namespace,
                "uid": uid,
            },
            "reason": reason,
            "message": message[:1024],
            "type": kind.value,
            "firstTimestamp": now,
            "lastTimestamp": now,
            "count": 1,
            "source": {"component": MANAGER},
            "reportingComponent": MANAGER,
        }
        try:
            await self._kube.request("POST", f"/api/v1/namespaces/{ref.namespace}/events", body=body)
        except ConflictError:
            return


def _foreign(found: dict[str, Any], wanted: dict[str, Any]) -> dict[str, Any]:
    """Members that an apply leaves behind because somebody else wrote them, as a merge patch. Conditions are everybody's."""
    return {key: wanted.get(key) for key, value in found.items() if key != "conditions" and wanted.get(key) != value}


def path_of(ref: ObjectRef) -> str:
    """The API path of an object."""
    return f"{_API}/namespaces/{ref.namespace}/{ref.kind.plural}/{ref.name}"
