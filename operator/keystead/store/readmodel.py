"""What the operator remembers of the records: an index fed by list and watch on keystead-records, verified like every read.

It tells which data keys a key's rotation concerns, which records name objects that were not seen, and the highest transition; it
authorises nothing and replaces no GET before a write.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from keystead.engine.freshness import Memory, Seen
from keystead.engine.identifiers import RecordKind
from keystead.engine.ports import Domain
from keystead.engine.record import DataKeyRecord, KeyRecord, open_sealed
from keystead.errors import HsmError, KeysteadError, RecordIntegrityError, StoreError
from keystead.reconciler.ports import Kind, ObjectRef, StoredRecord
from keystead.store.records import KubeRecords, parse_secret

log = logging.getLogger(__name__)
KINDS: Final = (RecordKind.KEY, RecordKind.DATAKEY)
_RETRY_SECONDS: Final = 1.0


@dataclass(frozen=True, slots=True)
class Entry:
    """What the index keeps of one record."""

    ref: ObjectRef
    key_id: str
    transition: int
    bound: bool


class RecordIndex:
    """The index. `changed` is called for every record that is new or different."""

    def __init__(self, records: KubeRecords, memory: Memory, changed: Callable[[Entry], None]) -> None:
        self._records = records
        self._memory = memory
        self._changed = changed
        self._entries: dict[str, Entry] = {}
        self.synced = asyncio.Event()

    def floor(self) -> int:
        """The highest transition of any record."""
        return max((entry.transition for entry in self._entries.values()), default=0)

    def orphans(self) -> int:
        """Key records without an object."""
        return sum(not entry.bound for entry in self._entries.values() if entry.ref.kind is Kind.KEY)

    async def run(self, domain: Callable[[], Domain], pause: Callable[[float], Awaitable[None]] = asyncio.sleep) -> None:
        """List, then watch, for ever; lists anew when the watch breaks or its version is too old."""
        while True:
            try:
                await self._list_and_watch(domain())
            except (StoreError, HsmError) as error:
                log.info("the record watch starts anew: %s", error)
            await pause(_RETRY_SECONDS)

    async def _list_and_watch(self, domain: Domain) -> None:
        stored, version = await self._records.list_all(KINDS)
        names = {item.sealed.name for item in stored}
        for gone in set(self._entries) - names:
            del self._entries[gone]
        for item in stored:
            self._take(domain, item)
        self.synced.set()
        while True:
            async for kind, secret in self._records.watch(KINDS, version):
                if kind == "ERROR":
                    raise StoreError("the watch's version is too old")
                version = secret["metadata"]["resourceVersion"]
                if kind in ("ADDED", "MODIFIED"):
                    self._take_secret(domain, secret)
                elif kind == "DELETED":
                    self._entries.pop(secret["metadata"]["name"], None)

    def _take_secret(self, domain: Domain, secret: dict[str, object]) -> None:
        try:
            self._take(domain, parse_secret(secret))
        except RecordIntegrityError as error:
            log.error("%s", error)

    def _take(self, domain: Domain, stored: StoredRecord) -> None:
        name = stored.sealed.name
        record: KeyRecord | DataKeyRecord
        try:
            if name.startswith("datakey-"):
                record = open_sealed(domain, stored.sealed, DataKeyRecord)
            else:
                record = open_sealed(domain, stored.sealed, KeyRecord)
            self._memory.observe(name, Seen(record.seq, stored.sealed.digest))
        except KeysteadError as error:
            log.error("%s", error)
            return
        if isinstance(record, DataKeyRecord) and record.part:
            return
        kind = Kind.KEY if isinstance(record, KeyRecord) else Kind.DATA_KEY
        entry = Entry(ObjectRef(kind, record.namespace, record.name), record.key_id, record.transition, record.bound)
        self._entries[name] = entry
        self._changed(entry)
