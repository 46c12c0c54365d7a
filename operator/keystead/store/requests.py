"""What people ask of the operator through `keystead records`: annotations, one field, an object made from its record.

Every write is fenced: a change carries the uid and resourceVersion of the object that was read, a creation is create-only. The rights are
the caller's own; the admission policies ask for the verb of each.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from keystead.errors import ConflictError, NotFoundError, StoreError
from keystead.reconciler.ports import Kind, ObjectRef
from keystead.resources import names
from keystead.store.kube import APPLY, MERGE_PATCH, Kube
from keystead.store.managers import CLI as MANAGER
from keystead.store.managers import fence, owners_of
from keystead.store.objects import KubeObjects, path_of

_TRIES: Final = 5
Object = dict[str, Any]


class KubeRequests:
    """Reads and fenced writes of one caller. `dry`: the API server judges a write and stores nothing."""

    def __init__(self, kube: Kube, *, dry: bool = False) -> None:
        self._kube = kube
        self._dry = {"dryRun": "All"} if dry else {}

    async def get(self, ref: ObjectRef) -> Object | None:
        """The live object, or None."""
        return await KubeObjects(self._kube).get(ref)

    async def list_all(self, kind: Kind) -> list[Object]:
        """All objects of a kind; none where its CRD is absent."""
        try:
            return [body async for body in KubeObjects(self._kube).each(kind)]
        except NotFoundError:
            return []

    async def namespaces(self) -> dict[str, str]:
        """Live namespaces and their uids."""
        items, _ = await self._kube.list_pages("/api/v1/namespaces")
        return {item["metadata"]["name"]: item["metadata"]["uid"] for item in items}

    async def annotate(self, ref: ObjectRef, found: Object, annotations: Mapping[str, str]) -> Object:
        """Set annotations on the object as it was read. ConflictError where it is another one, or changed meanwhile."""
        body = {"metadata": {**fence(found), "annotations": dict(annotations)}}
        return await self._patch(ref, MANAGER, body, MERGE_PATCH)

    async def create(self, ref: ObjectRef, body: Object) -> Object:
        """A new object, whose spec nobody owns. ConflictError where somebody made it meanwhile."""
        path = path_of(ref).rpartition("/")[0]
        made: Object = await self._kube.request("POST", path, {"fieldManager": MANAGER, **self._dry}, body)
        return made if self._dry else await self._given_up(ref, made)

    async def _given_up(self, ref: ObjectRef, made: Object) -> Object:
        """Fields that came from a record are no wish of ours: owned, they would conflict with the manifest that is applied next.

        What is written stays written where this fails. An empty `f:spec` is kept: an object without any owner would get one, for all of it.
        """
        for _ in range(_TRIES):
            owned = made.get("metadata", {}).get("managedFields") or []
            kept = [_without_spec(entry) for entry in owned]
            if kept == owned:
                return made
            try:
                return await self._patch(ref, MANAGER, {"metadata": {**fence(made), "managedFields": kept}}, MERGE_PATCH)
            except ConflictError:  # the operator wrote its finalizer or its status meanwhile
                fresh = await self.get(ref)
                if fresh is None or fresh["metadata"]["uid"] != made["metadata"]["uid"]:
                    return made
                made = fresh
            except StoreError:
                return made
        return made

    async def set_field(self, ref: ObjectRef, found: Object, field: str, value: object) -> Object:
        """Server-side apply of one field of spec with the uid that was read: without it the apply could make an object.

        ConflictError names the manager, where somebody else owns the field.
        """
        _refuse_foreign(ref, found, field, value)
        body = {
            "apiVersion": names.API_VERSION,
            "kind": ref.kind.value,
            "metadata": {"namespace": ref.namespace, "name": ref.name, "uid": found["metadata"]["uid"]},
            "spec": {field: value},
        }
        return await self._patch(ref, f"{MANAGER}.{field}", body, APPLY, force="true")

    async def drop_field(self, ref: ObjectRef, found: Object, field: str) -> Object:
        """Take one field of spec away. ConflictError names the manager, where somebody else owns it."""
        _refuse_foreign(ref, found, field, None)
        return await self._patch(
            ref, f"{MANAGER}.{field}", {"metadata": fence(found), "spec": {field: None}}, MERGE_PATCH
        )

    async def _patch(self, ref: ObjectRef, manager: str, body: Object, kind: str, **query: str) -> Object:
        answer: Object = await self._kube.request(
            "PATCH", path_of(ref), {"fieldManager": manager, **query, **self._dry}, body, kind
        )
        return answer


def _without_spec(entry: Object) -> Object:
    fields = entry.get("fieldsV1", {})
    ours = entry["manager"] == MANAGER and fields.get("f:spec")
    return {**entry, "fieldsV1": {**fields, "f:spec": {}}} if ours else entry


def _refuse_foreign(ref: ObjectRef, found: Object, field: str, value: object) -> None:
    owners = owners_of(found, field)
    if owners:
        patch = json.dumps({"spec": {field: value}})
        raise ConflictError(
            f"{ref}: spec.{field} belongs to field manager {', '.join(owners)}; hint: change it in the manifest that it applies; where "
            f"there is none: kubectl patch {ref.kind.value.lower()} {ref.name} -n {ref.namespace} --type=merge --patch '{patch}'"
        )
