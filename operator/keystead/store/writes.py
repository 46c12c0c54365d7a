"""What the API's control plane asks for, carried out on custom resources of a cluster (RESOURCES, API calls as writes).

Implements `reconciler.ports.Writer`. Every change is fenced by the uid of the object that was authorised. What belongs to another field
manager is not sent: the error names the manager. `keystead-api`, `keystead-api.<field>` and `keystead-cli` count as one owner.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

from keystead.errors import ConflictError, ForeignOwnerError, NotFoundError
from keystead.operations.writes import Annotate, CreateObject, DeleteObject, SetFields, SetTags, Target, Write
from keystead.reconciler.ports import Kind, ObjectRef
from keystead.resources import names
from keystead.resources.conditions import stalled_of
from keystead.store.kube import APPLY, MERGE_PATCH, Kube
from keystead.store.managers import API as MANAGER
from keystead.store.managers import fence, foreign, owners_of
from keystead.store.objects import KubeObjects, path_of

_TRIES: Final = 4
# Between two tries, at random: those that met once shall not meet again.
_PAUSE_SECONDS: Final = 0.05
Object = dict[str, Any]


class KubeWriter:
    """One a worker."""

    def __init__(self, kube: Kube) -> None:
        self._kube = kube
        self._objects = KubeObjects(kube)

    async def write(self, write: Write) -> None:
        """Carry it out."""
        match write:
            case CreateObject():
                await self._create(write)
            case SetFields():
                await _again(lambda: self._set_fields(write))
            case SetTags():
                await _again(lambda: self._set_tags(write))
            case Annotate(target, annotations):
                await _again(lambda: self._annotate(target, annotations))
            case DeleteObject(target):
                await self._delete(target)

    async def stalled(self, kind: Kind, namespace: str, name: str) -> tuple[str, str] | None:
        """Reason and message of Stalled=True, where it speaks of the spec as it is now."""
        body = await self._objects.get(ObjectRef(kind, namespace, name))
        return None if body is None else stalled_of(body)

    async def _create(self, write: CreateObject) -> None:
        """Create-only. One of this name that says the same is what an earlier attempt of the same call made."""
        ref = ObjectRef(write.kind, write.namespace, write.name)
        labels = {names.CREATED_BY: names.CREATED_BY_API}
        metadata = {"labels": labels, **({"annotations": dict(write.annotations)} if write.annotations else {})}
        body = _body(ref, metadata, dict(write.spec))
        try:
            await self._kube.request("POST", path_of(ref).rpartition("/")[0], {"fieldManager": MANAGER}, body)
        except ConflictError:
            found = await self._objects.get(ref)
            if found is None or not _says_the_same(found, labels, write.spec):
                raise

    async def _set_fields(self, write: SetFields) -> None:
        ref = _ref(write.target)
        found = await self._objects.get(ref)
        if found is None:
            await self._write_again(ref, write)
            return
        fields = {field: value for field, value in write.fields.items() if found["spec"].get(field) != value}
        if not fields and not write.target.uid:
            return  # what a first try wrote from the record
        _check_uid(ref, found, write.target)
        if not fields:
            return  # it is so already, whoever said it
        for field in fields:
            _refuse_foreign(ref, found, field, owners_of(found, field))
        (field, value), *others = fields.items()
        if others or value is None:
            await self._merge(ref, found, MANAGER, {"spec": fields})
            return
        # The version too: who took the field meanwhile keeps it, though ours is forced against our own managers.
        body = _body(ref, fence(found), {field: value})
        query = {"fieldManager": f"{MANAGER}.{field}", "force": "true"}
        await self._kube.request("PATCH", path_of(ref), query, body, APPLY)

    async def _write_again(self, ref: ObjectRef, write: SetFields) -> None:
        """An orphan gets a KmsKey under its own name; ConflictError where somebody made one meanwhile."""
        if write.manifest is None:
            raise NotFoundError(f"{ref} is not there")
        await self._kube.request("POST", path_of(ref).rpartition("/")[0], {"fieldManager": MANAGER}, dict(write.manifest))

    async def _set_tags(self, write: SetTags) -> None:
        ref = _ref(write.target)
        found = await self._held(ref, write.target)
        said = found["spec"].get("tags", [{"key": key, "value": value} for key, value in write.recorded.items()])
        old = {tag["key"]: tag.get("value", "") for tag in said}
        new = {key: value for key, value in {**old, **write.put}.items() if key not in write.drop}
        for key in sorted(old.keys() | new.keys()):
            if old.get(key) != new.get(key):
                _refuse_foreign(ref, found, f"tags[{key}]", _tag_owners(found, key))
        tags = [{"key": key, "value": value} for key, value in new.items()]
        await self._merge(ref, found, f"{MANAGER}.tags", {"spec": {"tags": tags}})

    async def _annotate(self, target: Target, annotations: Mapping[str, str]) -> None:
        ref = _ref(target)
        found = await self._held(ref, target)
        await self._merge(ref, found, MANAGER, {"metadata": {"annotations": dict(annotations)}})

    async def _merge(self, ref: ObjectRef, found: Object, manager: str, patch: Object) -> None:
        """A merge patch of this very version: two at once do not overwrite each other."""
        body = {**patch, "metadata": {**patch.get("metadata", {}), **fence(found)}}
        await self._kube.request("PATCH", path_of(ref), {"fieldManager": manager}, body, MERGE_PATCH)

    async def _delete(self, target: Target) -> None:
        try:
            await self._objects.delete(_ref(target), target.uid)
        except ConflictError:
            return  # another object has the name: the one that was meant is gone

    async def _held(self, ref: ObjectRef, target: Target) -> Object:
        found = await self._objects.get(ref)
        if found is None:
            raise NotFoundError(f"{ref} is not there")
        _check_uid(ref, found, target)
        return found


async def _again(attempt: Callable[[], Awaitable[None]]) -> None:
    """Three more times where somebody else wrote first."""
    for left in reversed(range(_TRIES)):
        try:
            return await attempt()
        except ConflictError:
            if not left:
                raise
        await asyncio.sleep(random.uniform(0, _PAUSE_SECONDS))  # noqa: S311 - no secret
    return None


def _body(ref: ObjectRef, metadata: Object, spec: Object) -> Object:
    return {
        "apiVersion": names.API_VERSION,
        "kind": ref.kind.value,
        "metadata": {"namespace": ref.namespace, "name": ref.name, **metadata},
        "spec": spec,
    }


def _ref(target: Target) -> ObjectRef:
    return ObjectRef(target.kind, target.namespace, target.name)


def _check_uid(ref: ObjectRef, found: Object, target: Target) -> None:
    if found["metadata"]["uid"] != target.uid:
        raise ConflictError(f"{ref}: it is another object now")


def _says_the_same(found: Object, labels: Mapping[str, str], spec: Mapping[str, Any]) -> bool:
    """The API server adds defaults: all that was sent must be there as it was sent. One that is on its way out is none."""
    has = found["metadata"].get("labels") or {}
    if "deletionTimestamp" in found["metadata"]:
        return False
    return all(has.get(key) == value for key, value in labels.items()) and _holds(found["spec"], spec)


def _holds(found: object, sent: object) -> bool:
    if isinstance(sent, Mapping) and isinstance(found, Mapping):
        return all(key in found and _holds(found[key], value) for key, value in sent.items())
    return found == sent


def _tag_owners(found: Object, key: str) -> list[str]:
    item = "k:" + json.dumps({"key": key}, separators=(",", ":"))
    return [manager for manager, owned in foreign(found) if item in owned.get("f:tags", {})]


def _refuse_foreign(ref: ObjectRef, found: Object, field: str, owners: list[str]) -> None:
    if owners:
        raise ForeignOwnerError(f"{ref}: spec.{field} belongs to field manager {', '.join(sorted(set(owners)))}")


