"""The World of fakes.py over the SQLite store of `keystead dev`: the reconciler's suites run on both.

What a test changes by hand (`stored`, `bodies`, `namespaces`) is written to the database, past the ports, as somebody with the file would.
Faults are raised in front of the real port. The CRDs' facts and a terminating namespace, which dev does not have, stay the test's.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from datetime import datetime
from typing import Any

from tests.builders import NOW, UID
from tests.reconciler.fakes import FakeObjects, FakeRecords, Faults, World

from keystead.engine.identifiers import RecordKind
from keystead.engine.plan.common import CrdFacts, NamespaceFacts
from keystead.engine.record import SealedRecord
from keystead.errors import RefusedError
from keystead.reconciler.ports import EventType, Kind, ObjectRef, StoredRecord
from keystead.resources import names
from keystead.store.sqlite import lifecycle
from keystead.store.sqlite.admission import admitted
from keystead.store.sqlite.database import Transaction
from keystead.store.sqlite.store import SqliteStore

Save = Callable[[], None]


class Live(dict[str, Any]):
    """A part of an object: what is set in it is saved."""

    def __init__(self, content: Mapping[str, Any], save: Save) -> None:
        super().__init__(content)
        self.save = save

    def __setitem__(self, key: str, value: Any) -> None:
        super().__setitem__(key, value)
        self.save()

    def __delitem__(self, key: str) -> None:
        super().__delitem__(key)
        self.save()


class StoredRecords(MutableMapping[str, StoredRecord]):
    """All records. `writes` past the port: with a version of their own."""

    def __init__(self, store: SqliteStore) -> None:
        self._store = store

    def _all(self) -> dict[str, StoredRecord]:
        return {stored.sealed.name: stored for stored in self._store.records.list_all()}

    def __getitem__(self, name: str) -> StoredRecord:
        return self._all()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._all())

    def __len__(self) -> int:
        return len(self._all())

    def __delitem__(self, name: str) -> None:
        self[name]
        self._store.database.run(lambda to: to.execute("DELETE FROM records WHERE name = ?", name))

    def __setitem__(self, name: str, stored: StoredRecord) -> None:
        sealed = stored.sealed

        def work(transaction: Transaction) -> None:
            rv = transaction.next_rv()
            sql = "INSERT OR REPLACE INTO records VALUES (?, ?, ?, ?)"
            transaction.execute(sql, name, sealed.record, sealed.seal, rv)

        self._store.database.run(work)


class SqliteFaultyRecords(FakeRecords):
    """SqliteRecords, with faults and a book of the writes."""

    def __init__(self, store: SqliteStore) -> None:
        Faults.__init__(self)
        self._real = store.records
        self._stored = StoredRecords(store)
        self.writes: list[tuple[str, RecordKind]] = []

    @property  # type: ignore[override]
    def stored(self) -> StoredRecords:
        return self._stored

    @stored.setter
    def stored(self, content: Mapping[str, StoredRecord]) -> None:
        for name in set(self._stored) - set(content):
            del self._stored[name]

    async def get(self, name: str) -> StoredRecord | None:
        self.maybe("get")
        return await self._real.get(name)

    async def create(self, kind: RecordKind, sealed: SealedRecord) -> StoredRecord:
        self.maybe("create")
        return self._note("create", kind, await self._real.create(kind, sealed))

    async def replace(self, kind: RecordKind, sealed: SealedRecord, resource_version: str) -> StoredRecord:
        self.maybe("replace")
        return self._note("replace", kind, await self._real.replace(kind, sealed, resource_version))

    async def delete(self, name: str, resource_version: str) -> None:
        self.maybe("delete")
        there = name in self._stored
        await self._real.delete(name, resource_version)
        if there:
            self.writes.append(("delete", RecordKind(name.split("-", maxsplit=1)[0])))

    def _note(self, verb: str, kind: RecordKind, stored: StoredRecord) -> StoredRecord:
        self.writes.append((verb, kind))
        self.maybe("lose_reply")
        return stored


class Bodies(MutableMapping[ObjectRef, dict[str, Any]]):
    """All objects, as a GET gives them; finalizers and annotations are there where they are empty."""

    def __init__(self, store: SqliteStore) -> None:
        self._store = store

    def __getitem__(self, ref: ObjectRef) -> dict[str, Any]:
        found = lifecycle.find(self._store.database.view, ref)
        if found is None:
            raise KeyError(ref)

        def save() -> None:
            self._store.database.run(lambda to: _overwrite(to, ref, body))

        for member, empty in (("finalizers", []), ("annotations", {})):
            found["metadata"].setdefault(member, empty)
        body = Live({**found, "metadata": Live(found["metadata"], save)}, save)
        return body

    def __setitem__(self, ref: ObjectRef, body: dict[str, Any]) -> None:
        """An object comes back as it was: from an etcd that was restored."""
        metadata = body["metadata"]

        def work(transaction: Transaction) -> None:
            lifecycle.make(transaction, ref, body)
            sql = "UPDATE objects SET uid = ?, generation = ? WHERE kind = ? AND ns = ? AND name = ?"
            transaction.execute(sql, metadata["uid"], metadata["generation"], ref.kind.value, ref.namespace, ref.name)

        self._store.database.run(work)

    def __delitem__(self, ref: ObjectRef) -> None:
        old = self[ref]
        self._store.database.run(lambda to: lifecycle.remove(to, ref, old))

    def __iter__(self) -> Iterator[ObjectRef]:
        rows = self._store.database.view.rows("SELECT kind, ns, name FROM objects ORDER BY rv")
        return iter([ObjectRef(Kind(kind), namespace, name) for kind, namespace, name in rows])

    def __len__(self) -> int:
        return len(list(iter(self)))


class Namespaces(MutableMapping[str, NamespaceFacts]):
    """The namespaces; whether one is terminating is remembered here."""

    def __init__(self, store: SqliteStore) -> None:
        self._store = store
        self._ending: set[str] = set()

    def __getitem__(self, name: str) -> NamespaceFacts:
        return NamespaceFacts(self._store.objects.namespaces()[name], name in self._ending)

    def __setitem__(self, name: str, facts: NamespaceFacts) -> None:
        (self._ending.add if facts.terminating else self._ending.discard)(name)
        sql = "INSERT OR REPLACE INTO namespaces VALUES (?, ?)"
        self._store.database.run(lambda to: to.execute(sql, name, facts.uid))

    def __delitem__(self, name: str) -> None:
        self[name]
        self._store.database.run(lambda to: to.execute("DELETE FROM namespaces WHERE name = ?", name))

    def __iter__(self) -> Iterator[str]:
        return iter(self._store.objects.namespaces())

    def __len__(self) -> int:
        return len(self._store.objects.namespaces())


class Events(Mapping[tuple[str, str, str], str]):
    """The events that were written."""

    def __init__(self, store: SqliteStore) -> None:
        self._store = store

    def _all(self) -> dict[tuple[str, str, str], str]:
        return {(row["uid"], row["reason"], row["once"]): row["message"] for row in self._store.objects.events()}

    def __getitem__(self, key: tuple[str, str, str]) -> str:
        return self._all()[key]

    def __iter__(self) -> Iterator[tuple[str, str, str]]:
        return iter(self._all())

    def __len__(self) -> int:
        return len(self._all())

    def __str__(self) -> str:
        return str(self._all())

    def clear(self) -> None:
        self._store.database.run(lambda to: to.execute("DELETE FROM events"))


class SqliteFaultyObjects(FakeObjects):
    """SqliteObjects, with faults and a book of the statuses."""

    def __init__(self, store: SqliteStore) -> None:
        Faults.__init__(self)
        self._real, self._store = store.objects, store
        self.bodies = Bodies(store)  # type: ignore[assignment]
        self.namespaces = Namespaces(store)  # type: ignore[assignment]
        self.namespaces["team-a"] = NamespaceFacts(UID)
        self.crds = {kind: CrdFacts(store.database.view.fact(f"crd/{kind}")) for kind in Kind}
        self.statuses: list[tuple[ObjectRef, dict[str, Any]]] = []
        self.events = Events(store)  # type: ignore[assignment]

    async def get(self, ref: ObjectRef) -> dict[str, Any] | None:
        self.maybe("get")
        return await self._real.get(ref)

    async def apply_status(self, ref: ObjectRef, uid: str, status: dict[str, Any]) -> None:
        self.maybe("apply_status")
        await self._real.apply_status(ref, uid, status)
        self.statuses.append((ref, status))

    async def set_finalizers(self, ref: ObjectRef, uid: str, resource_version: str, finalizers: tuple[str, ...]) -> None:
        self.maybe("set_finalizers")
        await self._real.set_finalizers(ref, uid, resource_version, finalizers)

    async def create(self, ref: ObjectRef, body: dict[str, Any]) -> None:
        self.maybe("create")
        await self._real.create(ref, body)

    async def delete(self, ref: ObjectRef, uid: str) -> None:
        self.maybe("delete")
        await self._real.delete(ref, uid)

    def remove(self, ref: ObjectRef, now: datetime = NOW) -> None:
        def work(transaction: Transaction) -> None:
            old = lifecycle.find(transaction, ref)
            if old is not None:
                lifecycle.delete(transaction, ref, old)

        self._store.database.run(work)

    async def namespace(self, name: str) -> NamespaceFacts | None:
        found = await self._real.namespace(name)
        return None if found is None else self.namespaces[name]

    async def event(self, ref: ObjectRef, uid: str, reason: str, message: str, kind: EventType, once: str) -> None:
        self.maybe("event")
        await self._real.event(ref, uid, reason, message, kind, once)
        await self._store.database.write(lambda _: None)  # tests look at once


class SqliteWorld(World):
    """`apply` goes through admission; what it refuses is put there all the same, as if an older release had admitted it."""

    def store(self) -> tuple[FakeRecords, FakeObjects]:
        self.sqlite = SqliteStore(None, self.clock)
        return SqliteFaultyRecords(self.sqlite), SqliteFaultyObjects(self.sqlite)

    def apply(self, ref: ObjectRef, *, annotations: Mapping[str, str] | None = None, uid: str | None = None, **spec: Any) -> None:
        metadata = {"namespace": ref.namespace, "name": ref.name, "annotations": dict(annotations or {})}
        body = {"apiVersion": names.API_VERSION, "kind": ref.kind.value, "metadata": metadata, "spec": spec}

        def work(transaction: Transaction) -> None:
            old = lifecycle.find(transaction, ref)
            try:
                new = admitted(body, old)
            except RefusedError:
                kept = {"status": {"observedGeneration": -1}, "metadata": {}} if old is None else old
                new = {**kept, **body, "metadata": {**kept["metadata"], **metadata}}
            if old is not None:
                lifecycle.change(transaction, ref, old, new)
                return
            made = lifecycle.make(transaction, ref, new)["metadata"]["uid"]
            transaction.execute("UPDATE objects SET uid = ? WHERE uid = ?", uid or made, made)

        self.sqlite.database.run(work)

    def delete(self, ref: ObjectRef) -> None:
        self.objects.remove(ref)


def _overwrite(transaction: Transaction, ref: ObjectRef, body: dict[str, Any]) -> None:
    uid = body["metadata"]["uid"]
    metadata = {key: value for key, value in body["metadata"].items() if key not in ("uid", "resourceVersion", "generation")}
    text = json.dumps({**body, "metadata": metadata})
    sql = "UPDATE objects SET json = ?, rv = ?, uid = ? WHERE kind = ? AND ns = ? AND name = ?"
    transaction.execute(sql, text, transaction.next_rv(), uid, ref.kind.value, ref.namespace, ref.name)
