"""The API server's habits with an object, within a transaction: uid, generation, resourceVersion, finalizers, deletion.

A write of nothing new is none. A new object has a new uid, whatever its name. Generation moves with spec and with the beginning of a
deletion, not with status or metadata.
"""

from __future__ import annotations

import json
import uuid
from typing import Any

from keystead.engine.clock import format_time
from keystead.errors import ConflictError
from keystead.reconciler.ports import ObjectRef
from keystead.store.sqlite.database import Transaction, View

Object = dict[str, Any]
_GIVEN = ("uid", "resourceVersion", "generation")
"""Members of metadata that lie in columns of their own."""


def whole_object(text: str, uid: str, rv: int, generation: int) -> Object:
    """The object of a row."""
    body: Object = json.loads(text)
    body["metadata"] |= {"uid": uid, "resourceVersion": str(rv), "generation": generation}
    return body


def find(view: View, ref: ObjectRef) -> Object | None:
    """The live object, or None."""
    sql = "SELECT json, uid, rv, generation FROM objects WHERE kind = ? AND ns = ? AND name = ?"
    for text, uid, rv, generation in view.rows(sql, *_place(ref)):
        return whole_object(text, uid, rv, generation)
    return None


def held(view: View, ref: ObjectRef, uid: str) -> Object:
    """The live object with this uid. ConflictError where it is gone, or another one has its name."""
    body = find(view, ref)
    if body is None or body["metadata"]["uid"] != uid:
        raise ConflictError(f"{ref}: the object with the uid {uid} is gone")
    return body


def make(transaction: Transaction, ref: ObjectRef, body: Object) -> Object:
    """A new object. ConflictError where the name is taken."""
    if find(transaction, ref) is not None:
        raise ConflictError(f"{ref} already exists")
    uid = str(uuid.uuid4())
    metadata = {**body["metadata"], "creationTimestamp": format_time(transaction.now)}
    text = _text({**body, "metadata": metadata})
    rv = transaction.next_rv()
    transaction.execute("INSERT INTO objects VALUES (?, ?, ?, ?, ?, 1, ?)", *_place(ref), uid, rv, text)
    return whole_object(text, uid, rv, 1)


def change(transaction: Transaction, ref: ObjectRef, old: Object, new: Object) -> None:
    """Write `new` in place of `old`. A change of nothing is no write."""
    if new == old:
        return
    generation = old["metadata"]["generation"]
    moves = new["spec"] != old["spec"] or ("deletionTimestamp" in new["metadata"]) != ("deletionTimestamp" in old["metadata"])
    sql = "UPDATE objects SET json = ?, rv = ?, generation = ? WHERE kind = ? AND ns = ? AND name = ?"
    transaction.execute(sql, _text(new), transaction.next_rv(), generation + moves, *_place(ref))


def set_finalizers(transaction: Transaction, ref: ObjectRef, old: Object, finalizers: tuple[str, ...]) -> None:
    """The last one of a terminating object takes the object with it."""
    metadata = {**old["metadata"], "finalizers": list(finalizers)}
    if not finalizers:
        del metadata["finalizers"]
    if "deletionTimestamp" not in metadata:
        change(transaction, ref, old, {**old, "metadata": metadata})
    elif not finalizers:
        remove(transaction, ref, old)
    elif set(finalizers) <= set(old["metadata"].get("finalizers", ())):
        change(transaction, ref, old, {**old, "metadata": metadata})
    else:
        raise ConflictError(f"{ref}: no finalizer can be added to an object that is being deleted")


def delete(transaction: Transaction, ref: ObjectRef, old: Object) -> None:
    """With finalizers the object stays and is terminating, from the first DELETE on."""
    metadata = old["metadata"]
    if not metadata.get("finalizers"):
        remove(transaction, ref, old)
    elif "deletionTimestamp" not in metadata:
        ending = {**metadata, "deletionTimestamp": format_time(transaction.now), "deletionGracePeriodSeconds": 0}
        change(transaction, ref, old, {**old, "metadata": ending})


def remove(transaction: Transaction, ref: ObjectRef, old: Object) -> None:
    """The object goes."""
    uid = old["metadata"]["uid"]
    transaction.execute("DELETE FROM objects WHERE kind = ? AND ns = ? AND name = ?", *_place(ref))
    transaction.execute("DELETE FROM owners WHERE uid = ?", uid)
    transaction.execute("INSERT INTO gone VALUES (?, ?, ?, ?, ?)", transaction.next_rv(), *_place(ref), uid)


def size_of(body: Object) -> int:
    """Bytes of the object as it is stored."""
    return len(_text(body).encode())


def _place(ref: ObjectRef) -> tuple[str, str, str]:
    return ref.kind.value, ref.namespace, ref.name


def _text(body: Object) -> str:
    metadata = {key: value for key, value in body["metadata"].items() if key not in _GIVEN}
    return json.dumps({**body, "metadata": metadata}, separators=(",", ":"))
