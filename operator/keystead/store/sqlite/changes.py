"""What changed: of this process at once, of other processes on the same file within `PAUSE`; each once, in the order of the commits.

Read models and the reconciler's feed subscribe. Own writes and foreign ones come the same way, by reading what lies behind the last rv that
was told, so that no subscriber ever sees an older state after a newer one. Of two writes of one object between two looks only the last is
seen.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from keystead.engine.record import SealedRecord
from keystead.reconciler.ports import Kind, ObjectRef, StoredRecord
from keystead.store.sqlite.database import Database, View
from keystead.store.sqlite.lifecycle import whole_object

# Seconds between two looks at whether another process wrote.
PAUSE: Final = 0.01
_RECORD: Final = ""
"""`kind` of a record in the table `gone`."""


@dataclass(frozen=True, slots=True)
class RecordChange:
    """A record as it is now; stored None: it is gone."""

    rv: int
    name: str
    stored: StoredRecord | None


@dataclass(frozen=True, slots=True)
class ObjectChange:
    """An object as it is now; body None: the one with this uid is gone."""

    rv: int
    ref: ObjectRef
    uid: str
    body: dict[str, Any] | None


Change: TypeAlias = RecordChange | ObjectChange


@dataclass(frozen=True, slots=True)
class Changes:
    """What changed up to `rv`, in order. whole: it is all that there is, and whatever else is known is gone."""

    rv: int
    whole: bool
    changes: tuple[Change, ...]


Subscriber: TypeAlias = Callable[[Changes], None]


class ChangeFeed:
    """The changes of one file, for one process."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._subscribers: list[Subscriber] = []
        self._told = 0
        self._version = 0
        database.committed.append(self.look)

    def changed_since(self, rv: int) -> Changes:
        """Everything that was written or deleted after `rv`; after 0, or where the deletions since then are forgotten: the whole."""
        with self._database.snapshot() as view:
            now, floor = view.fact("rv"), view.fact("floor")
            whole = rv == 0 or rv < floor
            since = 0 if whole else rv
            found = [*_records(view, since), *_objects(view, since), *(() if whole else _gone(view, since))]
        return Changes(now, whole, tuple(sorted(found, key=lambda change: change.rv)))

    def subscribe(self, subscriber: Subscriber) -> None:
        """Told of all that there is, now; then of every change."""
        self.look()
        everything = self.changed_since(0)
        self._subscribers.append(subscriber)
        subscriber(everything)

    def unsubscribe(self, subscriber: Subscriber) -> None:
        """Told of nothing more."""
        self._subscribers.remove(subscriber)

    def look(self) -> None:
        """Tell what is new. Called after each commit of this process; by `poll` after those of others."""
        if not self._subscribers:
            self._told = self._database.view.fact("rv")
            return
        found = self.changed_since(self._told) if self._database.view.fact("rv") != self._told else None
        if found is None:
            return
        self._told = found.rv
        for subscriber in tuple(self._subscribers):
            subscriber(found)

    async def poll(self, pause: float = PAUSE) -> None:
        """Look for what other processes wrote, for ever: for `--workers` above 1."""
        while True:
            version = self._database.data_version()
            if version != self._version:
                self._version = version
                self.look()
            await asyncio.sleep(pause)


def _records(view: View, since: int) -> Iterator[RecordChange]:
    for name, data, seal, rv in view.rows("SELECT name, bytes, seal, rv FROM records WHERE rv > ?", since):
        yield RecordChange(rv, name, StoredRecord(SealedRecord(name, data, seal), str(rv)))


def _objects(view: View, since: int) -> Iterator[ObjectChange]:
    sql = "SELECT kind, ns, name, uid, rv, generation, json FROM objects WHERE rv > ?"
    for kind, namespace, name, uid, rv, generation, text in view.rows(sql, since):
        yield ObjectChange(rv, ObjectRef(Kind(kind), namespace, name), uid, whole_object(text, uid, rv, generation))


def _gone(view: View, since: int) -> Iterator[Change]:
    """Deletions. A name that was given again is told as gone, and then as what it is now."""
    for rv, kind, namespace, name, uid in view.rows("SELECT rv, kind, ns, name, uid FROM gone WHERE rv > ?", since):
        if kind == _RECORD:
            yield RecordChange(rv, name, None)
        else:
            yield ObjectChange(rv, ObjectRef(Kind(kind), namespace, name), uid, None)
