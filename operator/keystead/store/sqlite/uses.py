"""Last uses in `keystead dev`: a row a key, the newest; all workers write and read it. GetKeyLastUsage survives a restart by it.

Counts of calls: a row for each operations.counts.Row, to which every worker adds what is new.
"""

from __future__ import annotations

from datetime import datetime
from typing import Final

from keystead.operations.counts import MONTHS, Counts, Row, without
from keystead.operations.usetable import UseTable
from keystead.operations.world import LastUse
from keystead.store.sqlite.database import Database, Transaction

SINCE: Final = "uses/since"
_PUT: Final = """
INSERT INTO uses VALUES (?, ?, ?, ?, ?) ON CONFLICT (key) DO UPDATE SET operation = excluded.operation, time = excluded.time,
    event = excluded.event, request = excluded.request WHERE excluded.time > uses.time
"""
_ADD: Final = """
INSERT INTO calls VALUES (?, ?, ?, ?, ?) ON CONFLICT (month, ns, key, price) DO UPDATE SET calls = calls + excluded.calls
"""
_FORGET: Final = "DELETE FROM calls WHERE month NOT IN (SELECT DISTINCT month FROM calls ORDER BY month DESC LIMIT ?)"


class SqliteUses:
    """Implements `server.usage.UseStore`."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._saved: dict[str, LastUse] = {}
        self._counted: Counts = {}

    async def save(self, table: UseTable, *, last: bool) -> None:
        """Write what is new."""
        new = {key_id: use for key_id, use in table.uses.items() if self._saved.get(key_id) != use}
        calls = without(table.counts, self._counted)
        if new or calls or (table.since is not None and self._database.view.fact(SINCE) is None):
            await self._database.write(lambda transaction: _save(transaction, new, calls, table.since))
        self._saved, self._counted = dict(table.uses), table.counts

    async def load(self) -> UseTable:
        """All rows."""
        view = self._database.view
        rows = view.rows("SELECT key, operation, time, event, request FROM uses")
        since = view.fact(SINCE)
        uses = {key: LastUse(operation, datetime.fromisoformat(time), event, request) for key, operation, time, event, request in rows}
        return UseTable(uses, None if since is None else datetime.fromisoformat(since))

    def counts(self) -> Counts:
        """All that was counted."""
        rows = self._database.view.rows("SELECT month, ns, key, price, calls FROM calls")
        return {Row(*place): calls for *place, calls in rows}


def _save(transaction: Transaction, uses: dict[str, LastUse], counts: Counts, since: datetime | None) -> None:
    for row, calls in counts.items():
        transaction.execute(_ADD, *row, calls)
    if counts:
        transaction.execute(_FORGET, MONTHS)
    for key_id, use in uses.items():
        transaction.execute(_PUT, key_id, use.operation, use.time.isoformat(timespec="microseconds"), use.event_id, use.request_id)
    if since is not None and transaction.fact(SINCE) is None:
        transaction.set_fact(SINCE, since.isoformat(timespec="microseconds"))
