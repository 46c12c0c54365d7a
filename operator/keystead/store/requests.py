"""What people ask of the operator through `keystead records`: annotations, one field, an object made from its record.

Every write is fenced: a change carries the uid and resourceVersion of the object that was read, a creation is create-only. The rights are
the caller's own; the admission policies ask for the verb of each.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from keystead.errors import ConflictError, NotFoundError
from keystead.reconciler.ports import Kind, ObjectRef
from keystead.resources import names
from keystead.store.kube import APPLY, MERGE_PATCH, Kube
from keystead.store.objects import KubeObjects, path_of

MANAGER: Final = "keystead-cli"
# Field managers of Keystead's own clients, `<name>` and `<name>.<field>`, count as one owner: an apply between them is forced.
_OURS: Final = (MANAGER, "keystead-api")
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
            return await KubeObjects(self._kube).list_all(kind)
        except NotFoundError:
            return []

    async def namespaces(self) -> dict[str, str]:
        """Live namespaces and their uids."""
        items, _ = await self._kube.list_pages("/api/v1/namespaces")
        return {item["metadata"]["name"]: item["metadata"]["uid"] for item in items}

    async def annotate(self, ref: ObjectRef, found: Object, annotations: Mapping[str, str]) -> Object:
        """Set annotations on the object as it was read. ConflictError where it is another one, or changed meanwhile."""
        body = {"metadata": {**_fence(found), "annotations": dict(annotations)}}
        return await self._patch(ref, MANAGER, body, MERGE_PATCH)

    async def create(self, ref: ObjectRef, body: Object) -> Object:
        """A new object. ConflictError where somebody made it meanwhile."""
        path = path_of(ref).rpartition("/")[0]
        made: Object = await self._kube.request("POST", path, {"fieldManager": MANAGER, **self._dry}, body)
        return made

    async def set_field(self, ref: ObjectRef, found: Object, field: str, value: object) -> Object:
        """Server-side apply of one field of spec with the uid that was read: without it the apply could make an object.

        ConflictError names the manager, where somebody else owns the field.
        """
        _refuse_foreign(ref, found, field)
        body = {
            "apiVersion": names.API_VERSION,
            "kind": ref.kind.value,
            "metadata": {"namespace": ref.namespace, "name": ref.name, "uid": found["metadata"]["uid"]},
            "spec": {field: value},
        }
        return await self._patch(ref, f"{MANAGER}.{field}", body, APPLY, force="true")

    async def drop_field(self, ref: ObjectRef, found: Object, field: str) -> Object:
        """Take one field of spec away. ConflictError names the manager, where somebody else owns it."""
        _refuse_foreign(ref, found, field)
        return await self._patch(
            ref, f"{MANAGER}.{field}", {"metadata": _fence(found), "spec": {field: None}}, MERGE_PATCH
        )

    async def _patch(self, ref: ObjectRef, manager: str, body: Object, kind: str, **query: str) -> Object:
        answer: Object = await self._kube.request(
            "PATCH", path_of(ref), {"fieldManager": manager, **query, **self._dry}, body, kind
        )
        return answer


def _fence(found: Object) -> Object:
    return {key: found["metadata"][key] for key in ("uid", "resourceVersion")}


def _refuse_foreign(ref: ObjectRef, found: Object, field: str) -> None:
    owners = [
        entry["manager"]
        for entry in found["metadata"].get("managedFields") or ()
        if f"f:{field}" in entry.get("fieldsV1", {}).get("f:spec", {}) and entry["manager"].partition(".")[0] not in _OURS
    ]
    if owners:
        raise ConflictError(
            f"{ref}: spec.{field} belongs to field manager {', '.join(owners)}; hint: change it there, or in the manifest that it applies"
        )
