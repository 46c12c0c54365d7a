"""The record book: every read verifies and remembers, every write seals, continues the chain and is fenced.

The fence: a record holds the transition number of the leader that wrote it, and it never decreases. A write needs the Lease to be
held right now (monotonic clock), a transition not older than the record's, and the resourceVersion that was read. Every write is told to
the audit trail (chronicle.py).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Generic

from keystead.engine.births import successor
from keystead.engine.freshness import Memory, Seen
from keystead.engine.identifiers import RecordKind
from keystead.engine.plan.common import Opened
from keystead.engine.ports import Domain
from keystead.engine.record import Record, SealedRecord, open_sealed, seal_record
from keystead.engine.record.common import RecordBase
from keystead.errors import ConflictError, FencedError, RecordIntegrityError, StoreError, StoreUnavailableError
from keystead.reconciler.chronicle import PLAIN, UNRECORDED, Chronicle, Deed
from keystead.reconciler.ports import Index, Leadership, Records, StoredRecord

# Reads of one record that may cross this process's own writes before the pass gives way.
_CROSSINGS: Final = 8


@dataclass(frozen=True, slots=True)
class Held(Generic[Record]):
    """A record that was opened or written, and what is needed to replace it."""

    record: Record
    opened: Opened
    resource_version: str


class RecordBook:
    """Reads and writes records for one process."""

    def __init__(
        self, records: Records, leadership: Leadership, memory: Memory, index: Index, chronicle: Chronicle | None = None
    ) -> None:
        self._records = records
        self.chronicle = chronicle or UNRECORDED
        self._index = index
        self._leadership = leadership
        self.memory = memory

    async def read(self, domain: Domain, name: str, kind: type[Record]) -> Held[Record] | None:
        """The verified record, or None. RecordIntegrityError: not as this domain wrote it, older than seen, or vanished.

        An answer that crossed a write of this process says nothing of freshness: it is asked for again.
        """
        for _ in range(_CROSSINGS):
            before = self.memory.known(name)
            stored = await self._records.get(name)
            if self.memory.known(name) != before:
                continue
            if stored is not None:
                return self._hold(domain, stored, kind)
            if before is None:
                return None
            raise RecordIntegrityError(
                f"record {name} was here before and is gone; nothing was generated. Restore that Secret in keystead-records"
            )
        raise ConflictError(f"record {name} is written faster than it can be read")

    async def read_unless_absent(self, domain: Domain, name: str, kind: type[Record]) -> Held[Record] | None:
        """`read`, spared where the index says that there is no such record: only for who creates it then."""
        if self._index.absent(name) and not self.memory.knows(name):
            return None
        return await self.read(domain, name, kind)

    def _hold(self, domain: Domain, stored: StoredRecord, kind: type[Record]) -> Held[Record]:
        return self._remember(stored, open_sealed(domain, stored.sealed, kind))

    def _remember(self, stored: StoredRecord, record: Record) -> Held[Record]:
        opened = Opened(stored.sealed.name, record.seq, stored.sealed.digest)
        self.memory.observe(opened.name, Seen(opened.seq, opened.digest))
        self._index.learn(opened.name, record, opened.digest)
        return Held(record, opened, stored.resource_version)

    async def create(self, domain: Domain, kind: RecordKind, name: str, record: Record, deed: Deed = PLAIN) -> Held[Record]:
        """Create-only: the claim of a name. ConflictError where somebody was first; RecordIntegrityError where that is no record."""
        self.chronicle.check()
        self._leadership.check()
        sealed = seal_record(domain, name, record)
        try:
            stored = await self._records.create(kind, sealed)
        except ConflictError:
            await self.read(domain, name, type(record))  # what is there is learnt, or refused
            raise
        except StoreError as error:
            self._index.doubt(name)  # it may have been made, and the reply lost
            await self._doubt(error, None, record, deed)
            raise
        written = self._written(sealed, stored, record)
        await self.chronicle.wrote(None, record, deed=deed)
        return written

    async def replace(
        self, domain: Domain, kind: RecordKind, held: Held[Record], record: Record, deed: Deed = PLAIN
    ) -> Held[Record]:
        """Write the successor of a held record. ConflictError: it changed meanwhile. FencedError: a newer leader wrote it."""
        await self.chronicle.begins(held.record, record)
        transition = self._fence(held)
        following = successor(record, held.record, held.opened.digest, transition)
        sealed = seal_record(domain, held.opened.name, following)
        try:
            stored = await self._records.replace(kind, sealed, held.resource_version)
        except StoreUnavailableError as error:
            await self._doubt(error, held.record, following, deed)
            raise
        written = self._written(sealed, stored, following)
        await self.chronicle.wrote(held.record, following, deed=deed)
        return written

    def _written(self, sealed: SealedRecord, stored: StoredRecord, record: Record) -> Held[Record]:
        """What was just sealed and answered byte for byte needs no second look."""
        if stored.sealed != sealed:
            raise RecordIntegrityError(f"record {sealed.name}: the store answered with other bytes than were written")
        return self._remember(stored, record)

    async def delete(self, held: Held[Record]) -> None:
        """Delete an alias's or a grant's record: its name is free, and its absence is no integrity fault. Fenced like a write."""
        self.chronicle.check()
        self._fence(held)
        try:
            await self._records.delete(held.opened.name, held.resource_version)
        except StoreUnavailableError as error:
            self.memory.forget(held.opened.name)  # it may be gone, and then its absence is no fault
            await self._doubt(error, held.record, None)
            raise
        self.memory.forget(held.opened.name)
        self._index.drop(held.opened.name)
        await self.chronicle.wrote(held.record, None)

    async def _doubt(self, error: StoreError, before: RecordBase | None, after: RecordBase | None, deed: Deed = PLAIN) -> None:
        """The next pass finds it done, or does it: if it was this one, the trail must have it from here."""
        if isinstance(error, StoreUnavailableError):
            await self.chronicle.wrote(before, after, known=False, deed=deed)

    def _fence(self, held: Held[Record]) -> int:
        self._leadership.check()
        transition = self._leadership.transition
        if held.record.transition > transition:
            raise FencedError(
                f"record {held.opened.name} was written under transition {held.record.transition}, this leader has {transition}"
            )
        return transition
