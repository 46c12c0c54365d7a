"""Custom resources, their status, and the facts around them in `keystead dev`: namespaces, the constant uids of the CRDs, events."""

from __future__ import annotations

import json
import uuid
from typing import Any, Final

from keystead.engine.clock import format_time
from keystead.engine.plan.common import CrdFacts, NamespaceFacts
from keystead.errors import ConflictError
from keystead.reconciler.ports import EventType, Kind, ObjectRef
from keystead.store.sqlite import lifecycle
from keystead.store.sqlite.admission import admitted
from keystead.store.sqlite.database import Database, Transaction, View
from keystead.store.sqlite.lifecycle import Object, whole_object

# Events that are kept, the newest.
EVENTS: Final = 10_000


class SqliteObjects:
    """Implements `reconciler.ports.Objects`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def get(self, ref: ObjectRef) -> Object | None:
        """The live object, or None."""
        return lifecycle.find(self._database.view, ref)

    def list_all(self, kind: Kind) -> list[Object]:
        """All objects of a kind, by namespace and name."""
        sql = "SELECT json, uid, rv, generation FROM objects WHERE kind = ? ORDER BY ns, name"
        return [whole_object(*row) for row in self._database.view.rows(sql, kind.value)]

    async def apply_status(self, ref: ObjectRef, uid: str, status: dict[str, Any]) -> None:
        """Replace the status of the object with this uid: nobody else writes one here. ConflictError where it is gone."""
        text = json.dumps(status)  # as it is now: the caller may go on with it before the commit

        def work(transaction: Transaction) -> None:
            old = lifecycle.held(transaction, ref, uid)
            lifecycle.change(transaction, ref, old, {**old, "status": json.loads(text)})

        await self._database.write(work)

    async def set_finalizers(self, ref: ObjectRef, uid: str, resource_version: str, finalizers: tuple[str, ...]) -> None:
        """Replace the finalizers of this very version. ConflictError where it changed; nothing where the object is gone."""

        def work(transaction: Transaction) -> None:
            old = lifecycle.find(transaction, ref)
            if old is None:
                return
            if (old["metadata"]["uid"], old["metadata"]["resourceVersion"]) != (uid, resource_version):
                raise ConflictError(f"{ref}: it changed meanwhile")
            lifecycle.set_finalizers(transaction, ref, old, finalizers)

        await self._database.write(work)

    async def create(self, ref: ObjectRef, body: dict[str, Any]) -> None:
        """Make the object. ConflictError where there is one of its name."""
        made = admitted(body)

        def work(transaction: Transaction) -> None:
            lifecycle.make(transaction, ref, made)

        await self._database.write(work)

    async def delete(self, ref: ObjectRef, uid: str) -> None:
        """DELETE with the uid. ConflictError where another object has the name; nothing where it is gone."""

        def work(transaction: Transaction) -> None:
            if lifecycle.find(transaction, ref) is not None:
                lifecycle.delete(transaction, ref, lifecycle.held(transaction, ref, uid))

        await self._database.write(work)

    async def namespace(self, name: str) -> NamespaceFacts | None:
        """The namespace, or None."""
        uid = namespace_uid(self._database.view, name)
        return None if uid is None else NamespaceFacts(uid)

    async def ensure_namespace(self, name: str) -> str:
        """The uid of the namespace, which is made where there is none."""
        found = namespace_uid(self._database.view, name)
        return found if found is not None else await self._database.write(lambda transaction: _ensure(transaction, name))

    def namespaces(self) -> dict[str, str]:
        """Namespaces and their uids."""
        return dict(self._database.view.rows("SELECT name, uid FROM namespaces ORDER BY name"))

    async def crd(self, kind: Kind) -> CrdFacts | None:
        """A uid that was made with the file, and stays."""
        uid = self._database.view.fact(f"crd/{kind}")
        return None if uid is None else CrdFacts(uid)

    async def event(self, ref: ObjectRef, uid: str, reason: str, message: str, kind: EventType, once: str) -> None:
        """An event, once for each uid, reason and `once`.

        Not waited for: it is on the disk no later than the status that the caller writes next, which is the order that counts.
        """

        def work(transaction: Transaction) -> None:
            sql = "INSERT OR IGNORE INTO events (uid, reason, once, kind, ns, name, type, message, time) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
            where = (ref.kind.value, ref.namespace, ref.name)
            transaction.execute(sql, uid, reason, once, *where, kind.value, message[:1024], format_time(transaction.now))
            transaction.execute("DELETE FROM events WHERE number <= (SELECT max(number) FROM events) - ?", EVENTS)

        self._database.post(work)

    def events(self) -> list[dict[str, str]]:
        """The events that are kept, oldest first."""
        members = ("uid", "reason", "once", "kind", "namespace", "name", "type", "message", "time")
        sql = "SELECT uid, reason, once, kind, ns, name, type, message, time FROM events ORDER BY number"
        return [dict(zip(members, row, strict=True)) for row in self._database.view.rows(sql)]


def namespace_uid(view: View, name: str) -> str | None:
    """The uid of a namespace, or None."""
    found = view.rows("SELECT uid FROM namespaces WHERE name = ?", name)
    return found[0][0] if found else None


def _ensure(transaction: Transaction, name: str) -> str:
    transaction.execute("INSERT OR IGNORE INTO namespaces VALUES (?, ?)", name, str(uuid.uuid4()))
    found = namespace_uid(transaction, name)
    assert found is not None
    return found
