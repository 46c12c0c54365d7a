"""All of the store of `keystead dev` in one place. Made by app/dev/main.py, one a process."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from keystead.engine.identifiers import RecordKind, record_name
from keystead.reconciler.ports import Clock
from keystead.store.sqlite.changes import ChangeFeed
from keystead.store.sqlite.database import Database, Transaction
from keystead.store.sqlite.lead import FolderLead
from keystead.store.sqlite.objects import SqliteObjects
from keystead.store.sqlite.records import SqliteRecords
from keystead.store.sqlite.uses import SINCE, SqliteUses
from keystead.store.sqlite.writes import SqliteWriter

_INSTALL: Final = record_name(RecordKind.INSTALL)


class SqliteStore:
    """The ports on one file in `folder`, or in memory (folder None: `--memory`, one process)."""

    def __init__(self, folder: Path | None, clock: Clock | None = None) -> None:
        self.database = Database(folder, clock)
        self.clock = self.database.clock
        self.records = SqliteRecords(self.database)
        self.objects = SqliteObjects(self.database)
        self.writer = SqliteWriter(self.database)
        self.uses = SqliteUses(self.database)
        self.lead = FolderLead(self.database)
        self.changes = ChangeFeed(self.database)

    def empty(self) -> None:
        """A reset, in one transaction: every object, record, namespace and event goes, and every process is told.

        The install record stays (it says whose token this is), and so do the uids of the CRDs and the count of leaders. Whoever remembers
        what the records said (engine.freshness.Memory, the index) must begin anew: a record that is gone would be an integrity fault to it.
        """
        self.database.run(_empty)
        self.uses = SqliteUses(self.database)

    def close(self) -> None:
        """Let go of the folder."""
        self.lead.release()
        self.database.close()


def _empty(transaction: Transaction) -> None:
    rv = transaction.next_rv()
    transaction.execute("INSERT INTO gone SELECT ?, kind, ns, name, uid FROM objects", rv)
    transaction.execute("INSERT INTO gone SELECT ?, '', '', name, '' FROM records WHERE name != ?", rv, _INSTALL)
    transaction.execute("DELETE FROM records WHERE name != ?", _INSTALL)
    transaction.execute("DELETE FROM facts WHERE name = ?", SINCE)
    for table in ("objects", "owners", "namespaces", "events", "uses", "calls"):
        transaction.execute(f"DELETE FROM {table}")  # noqa: S608 - names of our own
