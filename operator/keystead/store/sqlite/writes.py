"""Intent on SQLite: what store/writes.py does on the API server, and the manifests of `--seed`.

Two parties write specs in `keystead dev`: the API (manager keystead-api) and the seeds (keystead-seed). A seed owns nothing against the
API, so ForeignOwnerError does not occur here. The other way round it does count: a field that the API wrote last is the API's, and a seed
that is applied again at the next start leaves it alone; the table `owners` says which those are.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from keystead.errors import ConflictError, NotFoundError, RefusedError
from keystead.operations.writes import Annotate, CreateObject, DeleteObject, SetFields, SetTags, Target, Write
from keystead.reconciler.ports import Kind, ObjectRef
from keystead.resources import names
from keystead.resources.conditions import stalled_of
from keystead.store.sqlite import lifecycle
from keystead.store.sqlite.admission import MAX_OBJECT, admitted
from keystead.store.sqlite.database import Database, Transaction
from keystead.store.sqlite.lifecycle import Object
from keystead.store.sqlite.objects import namespace_uid

API: Final = "keystead-api"
SEED: Final = "keystead-seed"


class SqliteWriter:
    """Implements `reconciler.ports.Writer`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def write(self, write: Write) -> None:
        """Carry it out. RefusedError names the field; ConflictError, NotFoundError: nothing was written."""
        await self._database.write(lambda transaction: _carry_out(transaction, write))

    async def apply(self, manifest: Mapping[str, Any]) -> None:
        """A seed: made, or brought to what the manifest says, but for the fields that the API wrote meanwhile. Never a status."""
        await self._database.write(lambda transaction: _apply(transaction, manifest))

    async def stalled(self, kind: Kind, namespace: str, name: str) -> tuple[str, str] | None:
        """Reason and message, where the object says at its current generation that somebody must act."""
        body = lifecycle.find(self._database.view, ObjectRef(kind, namespace, name))
        return None if body is None else stalled_of(body)


def _carry_out(transaction: Transaction, write: Write) -> None:
    match write:
        case CreateObject():
            _create(transaction, write)
        case SetFields():
            _set_fields(transaction, write)
        case SetTags(target, put, drop, recorded):
            old = _held(transaction, target)
            said = old["spec"].get("tags", [{"key": key, "value": value} for key, value in recorded.items()])
            _spec(transaction, target, old, {"tags": _tags(said, put, drop)})
        case Annotate(target, annotations):
            old = _held(transaction, target)
            metadata = old["metadata"]
            metadata = {**metadata, "annotations": {**metadata.get("annotations", {}), **annotations}}
            _replace(transaction, _ref(target), old, {**old, "metadata": metadata})
        case DeleteObject(target):
            found = lifecycle.find(transaction, _ref(target))
            if found is not None and found["metadata"]["uid"] == target.uid:
                lifecycle.delete(transaction, _ref(target), found)


def _create(transaction: Transaction, write: CreateObject) -> None:
    ref = ObjectRef(write.kind, write.namespace, write.name)
    labels = {names.CREATED_BY: names.CREATED_BY_API}
    metadata = {"labels": labels, **({"annotations": dict(write.annotations)} if write.annotations else {})}
    made = _new(transaction, ref, metadata, write.spec)
    found = lifecycle.find(transaction, ref)
    if found is None:
        _own(transaction, lifecycle.make(transaction, ref, made)["metadata"]["uid"], write.spec, API)
        return
    metadata = found["metadata"]
    ours = metadata.get("labels", {}).get(names.CREATED_BY) == names.CREATED_BY_API
    if not ours or "deletionTimestamp" in metadata or found["spec"] != made["spec"]:
        raise ConflictError(f"{ref} already exists")


def _set_fields(transaction: Transaction, write: SetFields) -> None:
    target, ref = write.target, _ref(write.target)
    found = lifecycle.find(transaction, ref)
    if found is None and write.manifest is not None:
        spec = _merged(write.manifest.get("spec") or {}, write.fields)
        made = lifecycle.make(transaction, ref, _new(transaction, ref, write.manifest.get("metadata") or {}, spec))
        _own(transaction, made["metadata"]["uid"], write.fields, API)
    elif found is not None and not target.uid and _merged(found["spec"], write.fields) == found["spec"]:
        return  # what a first try wrote from the record
    else:
        _spec(transaction, target, _held(transaction, target), write.fields)


def _apply(transaction: Transaction, manifest: Mapping[str, Any]) -> None:
    old = _replaced_by(transaction, manifest)
    new = _sized(admitted(manifest, old))
    ref = ObjectRef(Kind(new["kind"]), new["metadata"]["namespace"], new["metadata"]["name"])
    given = {field: value for field, value in manifest["spec"].items() if value is not None}
    if old is None:
        _in_namespace(transaction, ref)
        _own(transaction, lifecycle.make(transaction, ref, new)["metadata"]["uid"], given, SEED)
        return
    uid = old["metadata"]["uid"]
    owners = dict(transaction.rows("SELECT field, manager FROM owners WHERE uid = ?", uid))
    gone = {field: None for field, manager in owners.items() if manager == SEED and field not in given}
    fields = gone | {field: value for field, value in given.items() if owners.get(field) != API}
    maps = {member: {**old["metadata"].get(member, {}), **new["metadata"].get(member, {})} for member in ("labels", "annotations")}
    metadata = {**old["metadata"], **{member: entries for member, entries in maps.items() if entries}}
    _replace(transaction, ref, old, {**old, "metadata": metadata, "spec": _merged(old["spec"], fields)})
    _own(transaction, uid, fields, SEED)
    for field in gone:
        transaction.execute("DELETE FROM owners WHERE uid = ? AND field = ?", uid, field)


def _replaced_by(transaction: Transaction, manifest: Mapping[str, Any]) -> Object | None:
    """The live object of a manifest's name, whatever else is wrong with it."""
    kind, metadata = manifest.get("kind"), manifest.get("metadata")
    if not isinstance(metadata, Mapping) or not isinstance(kind, str) or kind not in tuple(Kind):
        return None
    name, namespace = metadata.get("name"), metadata.get("namespace")
    if not isinstance(name, str) or not isinstance(namespace, str):
        return None
    return lifecycle.find(transaction, ObjectRef(Kind(kind), namespace, name))


def _spec(transaction: Transaction, target: Target, old: Object, fields: Mapping[str, Any]) -> None:
    _replace(transaction, _ref(target), old, {**old, "spec": _merged(old["spec"], fields)})
    _own(transaction, old["metadata"]["uid"], fields, API)


def _replace(transaction: Transaction, ref: ObjectRef, old: Object, new: Object) -> None:
    lifecycle.change(transaction, ref, old, _sized(admitted(new, old)))


def _new(transaction: Transaction, ref: ObjectRef, metadata: Mapping[str, Any], spec: Mapping[str, Any]) -> Object:
    """A manifest of our own making, admitted. NotFoundError where its namespace is not there."""
    _in_namespace(transaction, ref)
    given = {**metadata, "namespace": ref.namespace, "name": ref.name}
    return _sized(admitted({"apiVersion": names.API_VERSION, "kind": ref.kind.value, "metadata": given, "spec": dict(spec)}))


def _in_namespace(transaction: Transaction, ref: ObjectRef) -> None:
    if namespace_uid(transaction, ref.namespace) is None:
        raise NotFoundError(f'namespaces "{ref.namespace}" not found')


def _held(transaction: Transaction, target: Target) -> Object:
    """The object that was authorised. NotFoundError where there is none, ConflictError where another one has its name."""
    found = lifecycle.find(transaction, _ref(target))
    if found is None:
        raise NotFoundError(f"there is no {_ref(target)}")
    if found["metadata"]["uid"] != target.uid:
        raise ConflictError(f"{_ref(target)} is another object than the one that was authorised")
    return found


def _merged(spec: Mapping[str, Any], fields: Mapping[str, Any]) -> Object:
    merged = {**spec, **fields}
    return {field: value for field, value in merged.items() if value is not None}


def _tags(tags: Iterable[Mapping[str, str]], put: Mapping[str, str], drop: frozenset[str]) -> list[dict[str, str]]:
    """In their order, new ones at the end. An empty list stays one: an absent field would mean "as the record has them"."""
    kept = {tag["key"]: tag.get("value", "") for tag in tags if tag["key"] not in drop}
    return [{"key": key, "value": value} for key, value in {**kept, **put}.items()]


def _own(transaction: Transaction, uid: str, fields: Iterable[str], manager: str) -> None:
    """A field that the API took away is the API's too: a seed does not bring it back."""
    sql = "INSERT INTO owners VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET manager = excluded.manager"
    for field in fields:
        transaction.execute(sql, uid, field, manager)


def _sized(body: Object) -> Object:
    if lifecycle.size_of(body) > MAX_OBJECT:
        raise RefusedError(f"{body['kind']}: the object is larger than {MAX_OBJECT} bytes")
    return body


def _ref(target: Target) -> ObjectRef:
    return ObjectRef(target.kind, target.namespace, target.name)
