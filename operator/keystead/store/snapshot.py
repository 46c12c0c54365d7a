"""All sealed records at one moment, opened and verified: what `keystead crypt` and `keystead records` work on.

Implements `operations.world.Keys`. A record that does not verify is left out of the model and named in `refused`: a command on it says
so instead of guessing.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

from keystead.engine.identifiers import RecordKind, key_id_bytes
from keystead.engine.ports import Domain
from keystead.engine.record import AccountRecord, AliasRecord, GrantRecord, KeyRecord, open_sealed
from keystead.errors import RecordIntegrityError
from keystead.reconciler.ports import StoredRecord
from keystead.store.kube import Kube
from keystead.store.records import KubeRecords

_KINDS = (RecordKind.KEY, RecordKind.ALIAS, RecordKind.GRANT, RecordKind.ACCOUNT)


@dataclass(slots=True)
class Snapshot:
    """Keys by their 16 bytes, aliases, grants, accounts, and the live namespaces' uids."""

    keys: dict[bytes, KeyRecord] = field(default_factory=dict)
    aliases: dict[tuple[str, str, str], AliasRecord] = field(default_factory=dict)
    grants: dict[bytes, list[GrantRecord]] = field(default_factory=lambda: defaultdict(list))
    accounts: dict[str, AccountRecord] = field(default_factory=dict)
    namespaces: dict[str, str] = field(default_factory=dict)
    refused: list[str] = field(default_factory=list)

    def by_id(self, key_id: bytes) -> KeyRecord | None:
        """The key record with these 16 bytes; of two, the one with the higher seq."""
        return self.keys.get(key_id)

    def alias(self, account: str, region: str, name: str) -> AliasRecord | None:
        """The alias record."""
        return self.aliases.get((account, region, name))

    def grants_of(self, key_id: bytes) -> Sequence[GrantRecord]:
        """All grants of a key."""
        return tuple(self.grants.get(key_id, ()))

    def grant(self, grant_id: str) -> GrantRecord | None:
        """The grant record of this id."""
        return next((grant for held in self.grants.values() for grant in held if grant.grant_id == grant_id), None)

    def namespace_uid(self, namespace: str) -> str | None:
        """The live namespace's uid."""
        return self.namespaces.get(namespace)

    def add(self, domain: Domain, stored: StoredRecord) -> None:
        """Open a record and file it by its kind, which its name tells."""
        sealed = stored.sealed
        try:
            match sealed.name.split("-")[0]:
                case "key" | "orphan":
                    self._add_key(open_sealed(domain, sealed, KeyRecord))
                case "alias":
                    alias = open_sealed(domain, sealed, AliasRecord)
                    self.aliases[alias.account, alias.region, alias.alias_name] = alias
                case "grant":
                    grant = open_sealed(domain, sealed, GrantRecord)
                    self.grants[key_id_bytes(grant.key_id)].append(grant)
                case "account":
                    account = open_sealed(domain, sealed, AccountRecord)
                    self.accounts[account.account_id] = account
        except RecordIntegrityError as error:
            self.refused.append(str(error))

    def _add_key(self, record: KeyRecord) -> None:
        raw = key_id_bytes(record.key_id)
        known = self.keys.get(raw)
        if known is None or known.seq < record.seq:
            self.keys[raw] = record


async def take(kube: Kube, records_namespace: str, domain: Domain) -> Snapshot:
    """Read everything once."""
    snapshot = Snapshot()
    stored, _ = await KubeRecords(kube, records_namespace).list_all(_KINDS)
    for item in stored:
        snapshot.add(domain, item)
    answer = await kube.request("GET", "/api/v1/namespaces")
    snapshot.namespaces = {item["metadata"]["name"]: item["metadata"]["uid"] for item in answer["items"]}
    return snapshot
