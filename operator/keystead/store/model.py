"""The server's read model: every sealed record, verified as it comes, in indexes that answer a request without a search.

Fed by store/readmodel.py (it is a `Sink`), asked by the pipeline through a `View` (view.py), one a request. Of two records with one key id
the higher seq counts. A tombstone is found by its id and is in no list; a record set aside (`orphan-<id>`) is found by its id and under no
name. What does not verify is left out, also what verified before it: the store holds something else now. What may never enter: an
unverified record.

Keys, aliases and grants of keystead-records are Keystead's own: they are held, and in no index. So no operation finds them, by whatever
name and for whomever, and every answer is that for what does not exist. The process itself asks for them by `own_key`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Final, TypeAlias, TypeVar

from msgspec import UNSET

from keystead.engine.freshness import Memory
from keystead.engine.identifiers import RECORDS_NAMESPACE, RecordKind, key_id_bytes, record_name
from keystead.engine.managed import MANAGED_KEY, is_own
from keystead.engine.ports import Domain
from keystead.engine.record import AccountRecord, AliasRecord, GrantRecord, InstallRecord, KeyRecord
from keystead.errors import KeysteadError, RecordIntegrityError
from keystead.policy import Action, Caller
from keystead.policy.grant_needs import Wanted
from keystead.reconciler.intake import comes_and_goes, open_told
from keystead.reconciler.ports import StoredRecord
from keystead.resources.vocabulary import KeyState
from keystead.store.grant_shelf import GrantShelf, by_id
from keystead.store.ordered import OrderedGroups
from keystead.store.shelf import Shelf
from keystead.store.waiting import Bell

T = TypeVar("T")
K = TypeVar("K")
R = TypeVar("R")
Known: TypeAlias = KeyRecord | AliasRecord | GrantRecord | AccountRecord | InstallRecord
Listener: TypeAlias = Callable[[str, int | None], None]
_Pair: TypeAlias = tuple[str, str]
_TYPES: Final[Mapping[str, type[Known]]] = {
    "key": KeyRecord,
    "orphan": KeyRecord,
    "alias": AliasRecord,
    "grant": GrantRecord,
    "account": AccountRecord,
    "install": InstallRecord,
}
SERVED: Final = (RecordKind.KEY, RecordKind.ALIAS, RecordKind.GRANT, RecordKind.ACCOUNT, RecordKind.INSTALL)
"""Kinds of the records that are held: what is listed and watched for a model."""


def type_of(name: str) -> type[Known] | None:
    """Type of the record that lies under this name; None for what a model does not hold."""
    return _TYPES.get(name.split("-", maxsplit=1)[0])


class RecordModel:
    """One a worker. `listeners` are told the name of every record that changed and its seq, None when it is gone."""

    def __init__(self) -> None:
        self.listeners: list[Listener] = []
        self._memory = Memory()
        self._bell = Bell()
        self._held: dict[str, tuple[Known, str]] = {}
        self._refused: dict[str, str] = {}
        self._keys: dict[bytes, KeyRecord] = {}
        self._names: dict[bytes, tuple[str, ...]] = {}
        self._aliases: dict[tuple[str, str, str], AliasRecord] = {}
        self._grants: dict[str, GrantRecord] = {}
        self._accounts: dict[str, AccountRecord] = {}
        self._key_lists: Shelf[_Pair, KeyRecord] = Shelf(lambda key: key.key_id)
        self._alias_lists: Shelf[_Pair, AliasRecord] = Shelf(lambda alias: alias.alias_name)
        self._grant_lists: OrderedGroups[bytes, GrantRecord] = OrderedGroups(by_id)
        self._grantees = GrantShelf()
        self._retirable: OrderedGroups[str, GrantRecord] = OrderedGroups(by_id)
        self._owners: Shelf[_Pair, AccountRecord] = Shelf(lambda account: account.n)

    # -- what requests ask (operations.world.Catalogue)

    def by_id(self, key_id: bytes) -> KeyRecord | None:
        """The key record with these 16 bytes; of two, the one with the higher seq."""
        return self._keys.get(key_id)

    def alias(self, account: str, region: str, name: str) -> AliasRecord | None:
        """The alias record; `name` begins with `alias/`."""
        return self._aliases.get((account, region, name))

    def grants_of(self, key_id: bytes) -> Sequence[GrantRecord]:
        """All grants of a key, in the order of their ids."""
        return self._grant_lists.at(key_id)

    def grants_held(self, key: KeyRecord, grantee: str) -> Sequence[GrantRecord]:
        """Those to this grantee, in the order of their ids."""
        return self._grantees.every(key, grantee)

    def grants_to(
        self, key: KeyRecord, caller: Caller, action: Action, context: Mapping[str, str], source: str = "", wanted: Wanted | None = None
    ) -> tuple[GrantRecord, ...]:
        """The grant of a key that allows a caller this, if any does."""
        return self._grantees.at(key, caller, action, context, source, wanted)

    def grant(self, grant_id: str) -> GrantRecord | None:
        """The grant record of this id."""
        return self._grants.get(grant_id)

    def key_named(self, namespace: str, name: str) -> KeyRecord | None:
        """The key record that the KmsKey of this name holds, or held last. Never one that was set aside."""
        held = self._held.get(record_name(RecordKind.KEY, namespace, name))
        if held is None or not isinstance(held[0], KeyRecord):
            return None
        # A move that was cut short leaves the key here, too: it is set aside.
        return held[0] if self._keys.get(key_id_bytes(held[0].key_id)) is held[0] else None

    def keys_of(self, account: str, region: str) -> tuple[KeyRecord, ...]:
        """The keys of an account in a region, tombstones left out, in the order of their ids."""
        return self._key_lists.at((account, region))

    def aliases_of(self, account: str, region: str) -> tuple[AliasRecord, ...]:
        """The aliases of an account in a region, in the order of their names."""
        return self._alias_lists.at((account, region))

    def managed_key(self, account: str, region: str) -> KeyRecord | None:
        """The AWS managed key of an account."""
        owner = self._accounts.get(account)
        key = None if owner is None else self.key_named(owner.namespace, MANAGED_KEY)
        if key is None or (key.account, key.region) != (account, region) or key.state is KeyState.DESTROYED:
            return None
        return key

    def grant_named(self, namespace: str, name: str) -> GrantRecord | None:
        """The grant record that the KmsGrant of this name holds."""
        held = self._held.get(record_name(RecordKind.GRANT, namespace, name))
        return held[0] if held is not None and isinstance(held[0], GrantRecord) and not is_own(namespace) else None

    def grants_retirable_by(self, principal: str) -> Sequence[GrantRecord]:
        """Grants that name this principal, in canonical form, or service as the one that may retire them; in the order of their ids."""
        return self._retirable.at(principal)

    def own_key(self, name: str) -> KeyRecord | None:
        """A key of Keystead's own. Never for a request."""
        held = self._held.get(record_name(RecordKind.KEY, RECORDS_NAMESPACE, name))
        return held[0] if held is not None and isinstance(held[0], KeyRecord) else None

    def account(self, account_id: str) -> AccountRecord | None:
        """The account record of this id."""
        return self._accounts.get(account_id)

    def account_of(self, namespace: str, namespace_uid: str) -> str:
        """The account id of the namespace of this name and uid; "" where it has none yet."""
        found = self._owners.at((namespace, namespace_uid))
        return found[0].account_id if found else ""

    def install(self) -> InstallRecord | None:
        """The install record."""
        held = self._held.get("install")
        return held[0] if held is not None and isinstance(held[0], InstallRecord) else None

    @property
    def refused(self) -> Mapping[str, str]:
        """Names of what lies in the store and must not be believed, and why."""
        return MappingProxyType(self._refused)

    def __len__(self) -> int:
        return len(self._held)

    async def until(self, ready: Callable[[], T | None], seconds: float) -> T | None:
        """The first answer of `ready` that is not None, looked for at every change; None when it has none after this time."""
        return await self._bell.until(ready, seconds)

    # -- what a list and a watch tell (reconciler.intake.Sink)

    def take(self, domain: Domain, stored: StoredRecord) -> None:
        """A record that is new or different. RecordIntegrityError where it must not be believed.

        Of an older one that was put back the newer one stays in force: it can only say less. Anything else leaves nothing.
        """
        name, digest = stored.sealed.name, stored.sealed.digest
        before = self._held.get(name)
        if before is not None and before[1] == digest:
            self._refused.pop(name, None)
            return
        try:
            record = self._open(domain, stored, digest)
        except RecordIntegrityError as error:
            self.refuse(name, error)
            raise
        if record is None:
            old = RecordIntegrityError(f"record {name} is older than the one that was seen before it: not believed")
            self._refused[name] = str(old)
            raise old
        self._refused.pop(name, None)
        self._unlink(name)
        self._held[name] = (record, digest)
        self._link(name, record)
        self._tell(name, record.seq)

    def _open(self, domain: Domain, stored: StoredRecord, digest: str) -> Known | None:
        kind = type_of(stored.sealed.name)
        if kind is None:
            raise RecordIntegrityError(f"record {stored.sealed.name} is of no known kind")
        return open_told(self._memory, domain, stored, digest, kind)

    def refuse(self, name: str, error: KeysteadError) -> None:
        """What lies under this name now is not to be believed."""
        self._refused[name] = str(error)
        if self._unlink(name):
            self._tell(name, None)

    def gone(self, name: str) -> None:
        """A record that is no longer in the store."""
        self._refused.pop(name, None)
        if comes_and_goes(name):
            self._memory.forget(name)
        if self._unlink(name):
            self._tell(name, None)

    def keep(self, names: set[str]) -> None:
        """A list is whole: what is not in it is gone."""
        for name in (self._held.keys() | self._refused.keys()) - names:
            self.gone(name)

    def _tell(self, name: str, seq: int | None) -> None:
        for listener in self.listeners:
            listener(name, seq)
        self._bell.ring()

    # -- the indexes

    def _link(self, name: str, record: Known) -> None:
        if _is_hidden(record):
            return
        match record:
            case KeyRecord():
                raw = key_id_bytes(record.key_id)
                self._settle(raw, (*self._names.get(raw, ()), name))
            case AliasRecord():
                self._aliases[record.account, record.region, record.alias_name] = record
                self._alias_lists.put((record.account, record.region), name, record)
            case GrantRecord():
                self._grants[record.grant_id] = record
                self._grant_lists.put(key_id_bytes(record.key_id), record)
                self._grantees.put(record)
                for retiring in _retiring(record):
                    self._retirable.put(retiring, record)
            case AccountRecord():
                self._accounts[record.account_id] = record
                self._owners.put((record.namespace, record.namespace_uid), name, record)
            case InstallRecord():
                pass

    def _unlink(self, name: str) -> bool:
        """Take a record out of all indexes; whether it was there."""
        held = self._held.pop(name, None)
        if held is None:
            return False
        if _is_hidden(held[0]):
            return True
        match held[0]:
            case KeyRecord(key_id=key_id):
                raw = key_id_bytes(key_id)
                self._settle(raw, tuple(other for other in self._names[raw] if other != name))
            case AliasRecord() as alias:
                _forget(self._aliases, (alias.account, alias.region, alias.alias_name), alias)
                self._alias_lists.drop((alias.account, alias.region), name)
            case GrantRecord() as grant:
                _forget(self._grants, grant.grant_id, grant)
                self._grant_lists.drop(key_id_bytes(grant.key_id), grant)
                self._grantees.drop(grant)
                for retiring in _retiring(grant):
                    self._retirable.drop(retiring, grant)
            case AccountRecord() as account:
                _forget(self._accounts, account.account_id, account)
                self._owners.drop((account.namespace, account.namespace_uid), name)
            case InstallRecord():
                pass
        return True

    def _settle(self, raw: bytes, names: tuple[str, ...]) -> None:
        """Which of the records with this key id counts, now that these names have one."""
        before = self._keys.pop(raw, None)
        if before is not None:
            self._key_lists.drop((before.account, before.region), raw)
        if not names:
            self._names.pop(raw, None)
            return
        self._names[raw] = names
        best = max(names, key=lambda name: (self._held[name][0].seq, not name.startswith("orphan-")))
        record = self._held[best][0]
        assert isinstance(record, KeyRecord)
        self._keys[raw] = record
        if record.state is not KeyState.DESTROYED:
            self._key_lists.put((record.account, record.region), raw, record)


def _is_hidden(record: Known) -> bool:
    return isinstance(record, KeyRecord | AliasRecord | GrantRecord) and is_own(record.namespace)


def _forget(table: dict[K, R], key: K, record: R) -> None:
    if table.get(key) is record:
        del table[key]


def _retiring(grant: GrantRecord) -> list[str]:
    return list({who for who in (grant.retiring_principal, grant.retiring_service_principal) if who is not UNSET})
