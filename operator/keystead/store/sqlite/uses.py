"""Last uses in `keystead dev`: a row a key, the newest; all workers write and read it. GetKeyLastUsage survives a restart by it."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from keystead.operations.usetable import UseTable
from keystead.operations.world import LastUse
from keystead.store.sqlite.database import Database, Transaction

SINCE: Final = "uses/since"
_PUT: Final = """
INSERT INTO uses VALUES (?, ?, ?, ?, ?) ON CONFLICT (key) DO UPDATE SET operation = excluded.operation, time = excluded.time,
    event = excluded.event, request = excluded.request WHERE excluded.time > uses.time
"""


class SqliteUses:
    """Implements `server.usage.UseStore`."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._saved: dict[str, LastUse] = {}

    async def save(self, table: UseTable, *, last: bool) -> None:
        """Write what is new."""
        new = {key_id: use for key_id, use in table.uses.items() if self._saved.get(key_id) != use}
        if new or (table.since is not None and self._database.view.fact(SINCE) is None):
            await self._database.write(lambda transaction: _save(transaction, new, table.since))
        self._saved = dict(table.uses)

    async def load(self) -> UseTable:
        """All rows."""
        view = self._database.view
        rows = view.rows("SELECT key, operation, time, event, request FROM uses")
        since = view.fact(SINCE)
        uses = {key: LastUse(operation, datetime.fromisoformat(time), event, request) for key, operation, time, event, request in rows}
        return UseTable(uses, None if since is None else datetime.fromisoformat(since))


def _save(transaction: Transaction, uses: dict[str, LastUse], since: datetime | None) -> None:
    for key_id, use in uses.items():
        transaction.execute(_PUT, key_id, use.operation, use.time.isoformat(timespec="microseconds"), use.event_id, use.request_id)
    if since is not None and transaction.fact(SINCE) is None:
        transaction.set_fact(SINCE, since.isoformat(timespec="microseconds"))
