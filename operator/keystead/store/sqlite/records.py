"""Sealed records in SQLite: get, create-only, replace by resourceVersion. Only the process that leads writes them."""

from __future__ import annotations

from keystead.engine.identifiers import RecordKind
from keystead.engine.record import SealedRecord
from keystead.errors import ConflictError
from keystead.reconciler.ports import StoredRecord
from keystead.store.sqlite.database import Database, Transaction, View


class SqliteRecords:
    """Implements `reconciler.ports.Records`. The kind of a record is in its name."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def get(self, name: str) -> StoredRecord | None:
        """The record, sealed and unverified, or None."""
        return _find(self._database.view, name)

    def list_all(self) -> list[StoredRecord]:
        """All records, by name."""
        rows = self._database.view.rows("SELECT name, bytes, seal, rv FROM records ORDER BY name")
        return [StoredRecord(SealedRecord(name, data, seal), str(rv)) for name, data, seal, rv in rows]

    async def create(self, kind: RecordKind, sealed: SealedRecord) -> StoredRecord:
        """Create-only. ConflictError where the name is taken."""
        return await self._database.write(lambda transaction: create(transaction, sealed))

    async def replace(self, kind: RecordKind, sealed: SealedRecord, resource_version: str) -> StoredRecord:
        """The next bytes of this very version. ConflictError where somebody else wrote."""
        return await self._database.write(lambda transaction: _replace(transaction, sealed, resource_version))

    async def delete(self, name: str, resource_version: str) -> None:
        """Delete this very version. ConflictError where somebody else wrote; nothing where it is gone."""
        await self._database.write(lambda transaction: _delete(transaction, name, resource_version))


def create(transaction: Transaction, sealed: SealedRecord) -> StoredRecord:
    """Create-only, within a transaction: the first records of a new folder too."""
    if _find(transaction, sealed.name) is not None:
        raise ConflictError(f"record {sealed.name} already exists")
    rv = transaction.next_rv()
    transaction.execute("INSERT INTO records VALUES (?, ?, ?, ?)", sealed.name, sealed.record, sealed.seal, rv)
    return StoredRecord(sealed, str(rv))


def _find(view: View, name: str) -> StoredRecord | None:
    for data, seal, rv in view.rows("SELECT bytes, seal, rv FROM records WHERE name = ?", name):
        return StoredRecord(SealedRecord(name, data, seal), str(rv))
    return None


def _held(transaction: Transaction, name: str, resource_version: str) -> StoredRecord | None:
    found = _find(transaction, name)
    if found is not None and found.resource_version != resource_version:
        raise ConflictError(f"record {name} has been modified")
    return found


def _replace(transaction: Transaction, sealed: SealedRecord, resource_version: str) -> StoredRecord:
    if _held(transaction, sealed.name, resource_version) is None:
        raise ConflictError(f"record {sealed.name} is gone")
    rv = transaction.next_rv()
    transaction.execute("UPDATE records SET bytes = ?, seal = ?, rv = ? WHERE name = ?", sealed.record, sealed.seal, rv, sealed.name)
    return StoredRecord(sealed, str(rv))


def _delete(transaction: Transaction, name: str, resource_version: str) -> None:
    if _held(transaction, name, resource_version) is None:
        return
    transaction.execute("DELETE FROM records WHERE name = ?", name)
    transaction.execute("INSERT INTO gone VALUES (?, '', '', ?, '')", transaction.next_rv(), name)
