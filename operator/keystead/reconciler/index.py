"""What the operator remembers of the records: an index, fed by a list and a watch (store/readmodel.py) and by its own writes.

Every record is verified like every read.

It finds records by object and by key, counts what depends on a key, tells which records name objects that were not seen, and the highest
transition; it authorises nothing and replaces no GET before a write. The writer's own writes are learnt at once, so that it reads them.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final, TypeVar

from msgspec import UNSET

from keystead.engine.clock import parse_time
from keystead.engine.freshness import Memory
from keystead.engine.identifiers import RecordKind, archive_of
from keystead.engine.managed import DATA_KEYS_SERVICE, is_managed
from keystead.engine.plan.common import Dependants
from keystead.engine.plan.key_life import destroyed_at, waits_for
from keystead.engine.ports import Domain
from keystead.engine.record import AliasRecord, AnyRecord, DataKeyRecord, GrantRecord, KeyRecord
from keystead.engine.record.common import RecordBase
from keystead.engine.record.grant import grantee_of
from keystead.errors import KeysteadError, RecordIntegrityError
from keystead.reconciler.intake import comes_and_goes, open_told
from keystead.reconciler.ports import Kind, ObjectRef, StoredRecord
from keystead.resources.vocabulary import KeyState

# Prefix of a record's name -> kind of the object, type of the record. Absent keys and data keys are faults; the others come and go.
_TYPES: Final[dict[str, tuple[Kind, type[AnyRecord]]]] = {
    "key": (Kind.KEY, KeyRecord),
    "orphan": (Kind.KEY, KeyRecord),
    "alias": (Kind.ALIAS, AliasRecord),
    "grant": (Kind.GRANT, GrantRecord),
    "datakey": (Kind.DATA_KEY, DataKeyRecord),
}
INDEXED: Final = (RecordKind.KEY, RecordKind.ALIAS, RecordKind.GRANT, RecordKind.DATAKEY)
"""Kinds of the records that objects hold: what is listed and watched for an index."""
_ALIASES: Final = b"kms:resourcealiases"
_MOVING: Final = (Kind.DATA_KEY, Kind.ALIAS)
"""Kinds whose spec may name another key than their record."""
K = TypeVar("K")


@dataclass(frozen=True, slots=True)
class Entry:
    """What the index keeps of one record.

    keys    ids of the keys under which it needs to be read: of a data key every key of its versions, those in archives too
    waits   without an object: time or the last dependant changes it
    aside   lies under `orphan-<id>`: no object of its name holds it
    ends    end of the waiting window; destroyed: when the material was destroyed, and of which namespace's uid it was
    counted where it counts: an alias or a grant for its key's id, a key for its namespace's uid (no tombstone, none of Keystead's own)
    by_alias  of a key: what its policy says hangs on the key's aliases
    """

    ref: ObjectRef
    seq: int
    digest: str
    keys: tuple[str, ...]
    transition: int
    bound: bool
    waits: bool = False
    aside: bool = False
    ends: datetime | None = None
    destroyed: tuple[datetime, str] | None = None
    counted: tuple[Kind, str] | None = None
    grantee: str = ""
    by_alias: bool = False

    @property
    def serves_controllers(self) -> bool:
        """Whether it is a grant to somebody as whom the controller itself asks."""
        return self.grantee.endswith(":root") or self.grantee == DATA_KEYS_SERVICE


class RecordIndex:
    """Implements `reconciler.ports.Index`. `changed` is called for every record that is new, different or gone."""

    def __init__(self, memory: Memory, changed: Callable[[Entry], None]) -> None:
        self._memory = memory
        self._changed = changed
        self._entries: dict[str, Entry] = {}
        self._by_ref: dict[ObjectRef, set[str]] = defaultdict(set)
        self._by_key: dict[str, set[str]] = defaultdict(set)
        self._counts: Counter[tuple[Kind, str]] = Counter()
        # By the name of a data key's record: the keys of its archives, by theirs.
        self._archived: dict[str, dict[str, set[str]]] = defaultdict(dict)
        self._listed: set[str] | None = None

    def floor(self) -> int:
        """The highest transition of any record."""
        return max((entry.transition for entry in self._entries.values()), default=0)

    def orphans(self) -> int:
        """Key records without an object; a destroyed key is none."""
        return sum(
            not entry.bound and entry.destroyed is None for entry in self._entries.values() if entry.ref.kind is Kind.KEY
        )

    def windows(self) -> Iterator[tuple[ObjectRef, datetime]]:
        """Keys without an object whose waiting window runs, and when it ends."""
        for entry in self._entries.values():
            if entry.ends is not None and not entry.bound:
                yield entry.ref, entry.ends

    def names_of(self, ref: ObjectRef) -> tuple[str, ...]:
        """Names of the records that an object of this name claims, in order."""
        return tuple(sorted(name for name in self._by_ref.get(ref, ()) if not self._entries[name].aside))

    def record_of(self, key_id: str) -> str | None:
        """Name of the key record with this id; of two, the one with the higher seq, or that an object can hold."""
        found = [name for name in self._by_key.get(key_id, ()) if self._entries[name].ref.kind is Kind.KEY]
        return max(found, key=lambda name: (self._entries[name].seq, not self._entries[name].aside), default=None)

    def dependants(self, key_id: str, namespace: str) -> Dependants:
        """What is bound to a key."""
        told: dict[Kind, list[str]] = defaultdict(list)
        foreign = 0
        for name in self._by_key.get(key_id, ()):
            entry = self._entries[name]
            if entry.ref.kind is Kind.KEY or not entry.bound:
                continue
            if entry.ref.namespace != namespace:
                foreign += 1
            else:
                told[entry.ref.kind].append(entry.ref.name)
        aliases, grants, data_keys = (tuple(sorted(told[kind])) for kind in (Kind.ALIAS, Kind.GRANT, Kind.DATA_KEY))
        return Dependants(aliases, grants, data_keys, foreign)

    def bound_to(self, key_id: str) -> tuple[ObjectRef, ...]:
        """Objects of the bound data keys that have a version under a key, and of its aliases: what they name now may be another key."""
        entries = [self._entries[name] for name in self._by_key.get(key_id, ())]
        return tuple(entry.ref for entry in entries if entry.ref.kind in _MOVING and entry.bound)

    def aliases_of(self, key_id: str) -> tuple[str, ...]:
        """Names of the alias records of a key, in order."""
        return tuple(sorted(name for name in self._by_key.get(key_id, ()) if self._entries[name].ref.kind is Kind.ALIAS))

    def asks_aliases(self, key_id: str) -> bool:
        """Whether what a key's policy says hangs on the key's aliases."""
        name = self.record_of(key_id)
        return name is not None and self._entries[name].by_alias

    def grants_to(self, key_id: str, grantee: str) -> tuple[str, ...]:
        """Names of the records of a key's grants to this principal, in order."""
        return tuple(sorted(name for name in self._by_key.get(key_id, ()) if self._entries[name].grantee == grantee))

    def count(self, kind: Kind, of: str) -> int:
        """Aliases or grants of the key with this id; keys of the namespace with this uid, tombstones and AWS managed keys left out."""
        return self._counts[kind, of]

    def destroyed_at(self, ref: ObjectRef, namespace_uid: str) -> datetime | None:
        """When a key that bore this name, in the namespace of this uid, was destroyed last."""
        told = [self._entries[name].destroyed for name in self._by_ref.get(ref, ())]
        return max((each[0] for each in told if each is not None and each[1] == namespace_uid), default=None)

    def learn(self, name: str, record: RecordBase, digest: str) -> None:
        """A record that this process read or wrote."""
        if isinstance(record, AnyRecord):
            self._put(name, record, digest)

    def drop(self, name: str) -> None:
        """A record that is gone: what was bound by it is told as bound no more."""
        self._archived.get(archive_of(name), {}).pop(name, None)
        entry = self._entries.pop(name, None)
        if entry is not None:
            self._unlink(name, entry)
            self._changed(replace(entry, bound=False))

    def absent(self, name: str) -> bool:
        """Whether no record of this name was in the store when it was listed, nor has come since, believed or not.

        A hint that spares a read: whoever acts on it creates, and a create finds what is there.
        """
        return self._listed is not None and name not in self._listed and name not in self._entries

    def doubt(self, name: str) -> None:
        """A record of this name may be there: it is read before anything is made."""
        if self._listed is not None:
            self._listed.add(name)

    def take(self, domain: Domain, stored: StoredRecord) -> None:
        """A record that a list or the watch tells of. RecordIntegrityError where it does not verify, or is of no known kind.

        One that is older than what this process has seen changes nothing: a watch lags. A read judges what is old.
        """
        name = stored.sealed.name
        self.doubt(name)
        known, digest = self._entries.get(name), stored.sealed.digest
        if known is not None and known.digest == digest:
            return  # an echo of what was verified before
        known_form = form_of(name)
        if known_form is None:
            raise RecordIntegrityError(f"record {name} is of no known kind")
        record = open_told(self._memory, domain, stored, digest, known_form[1])
        if record is not None:
            self._put(name, record, digest)

    def refuse(self, name: str, error: KeysteadError) -> None:
        """What is no record may be one again: it is read before anything is made in its place."""
        self.doubt(name)

    def gone(self, name: str) -> None:
        """A record that is no longer in the store."""
        if comes_and_goes(name):
            self._memory.forget(name)
        if self._listed is not None:
            self._listed.discard(name)
        self.drop(name)

    def keep(self, names: set[str]) -> None:
        """A list: what is not in it is gone."""
        self._listed = set(names)
        for name in set(self._entries) - names:
            self.gone(name)

    def _put(self, name: str, record: AnyRecord, digest: str) -> None:
        if isinstance(record, DataKeyRecord) and record.part:
            main = archive_of(name)
            self._archived[main][name] = _keys_of(record)
            if main in self._entries:
                self._file(main, self._entries[main])
            return
        entry, before = _entry(name, record, digest), self._entries.get(name)
        if before is not None and before.seq > entry.seq and not comes_and_goes(name):
            return  # an echo of what was there before this process wrote
        self._file(name, entry)

    def _file(self, name: str, entry: Entry) -> None:
        """In place of what was there, with the keys of its archives."""
        before, archived = self._entries.get(name), self._archived.get(name)
        if archived:
            entry = replace(entry, keys=tuple(sorted({*entry.keys}.union(*archived.values()))))
        if before == entry:
            return
        if before is not None:
            self._unlink(name, before)
        self._entries[name] = entry
        self._by_ref[entry.ref].add(name)
        if entry.counted is not None:
            self._counts[entry.counted] += 1
        for key_id in entry.keys:
            self._by_key[key_id].add(name)
        if before is not None and before.keys != entry.keys:
            self._changed(before)
        self._changed(entry)

    def _unlink(self, name: str, entry: Entry) -> None:
        _discard(self._by_ref, entry.ref, name)
        if entry.counted is not None:
            self._counts[entry.counted] -= 1
            if not self._counts[entry.counted]:
                del self._counts[entry.counted]
        for key_id in entry.keys:
            _discard(self._by_key, key_id, name)

    def object_of(self, key_id: str) -> ObjectRef | None:
        """The name of the object that a key's record belongs to."""
        name = self.record_of(key_id)
        return None if name is None else self._entries[name].ref


def _discard(table: dict[K, set[str]], key: K, name: str) -> None:
    found = table.get(key)
    if found is not None:
        found.discard(name)
        if not found:
            del table[key]


def form_of(name: str) -> tuple[Kind, type[AnyRecord]] | None:
    """Kind of the object and type of the record that lies under this name; None for a record that no object holds."""
    return _TYPES.get(name.split("-", maxsplit=1)[0])


def _keys_of(record: DataKeyRecord) -> set[str]:
    return {record.key_id, *(version.key_arn.rpartition("/")[2] for version in record.versions)}


def _entry(name: str, record: AnyRecord, digest: str) -> Entry:
    kind = _TYPES[name.split("-", maxsplit=1)[0]][0]
    ref = ObjectRef(kind, record.namespace, record.name)
    keys: tuple[str, ...] = (record.key_id,)
    if isinstance(record, DataKeyRecord):
        keys = tuple(sorted(_keys_of(record)))
    if not isinstance(record, KeyRecord):
        counted = None if kind is Kind.DATA_KEY else (kind, record.key_id)
        grantee = grantee_of(record) or "" if isinstance(record, GrantRecord) else ""
        return Entry(ref, record.seq, digest, keys, record.transition, record.bound, counted=counted, grantee=grantee)
    destroyed = destroyed_at(record)
    return Entry(
        ref,
        record.seq,
        digest,
        keys,
        record.transition,
        record.bound,
        waits=waits_for(record),
        aside=name.startswith("orphan-"),
        ends=None if record.deletion_date is UNSET else parse_time(record.deletion_date),
        destroyed=None if destroyed is None else (destroyed, record.namespace_uid),
        counted=None if record.state is KeyState.DESTROYED or is_managed(record) else (kind, record.namespace_uid),
        by_alias=asks_aliases(record),
    )


def asks_aliases(key: KeyRecord) -> bool:
    """Whether a key's policy looks at the condition key kms:ResourceAliases. A record's policy has no escapes in such names."""
    return key.policy is not UNSET and _ALIASES in key.policy.lower()
