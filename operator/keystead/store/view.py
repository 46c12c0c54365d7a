"""The read model as one request sees it: with the uids of the live namespaces that its front door knows, and the last uses of keys.

Made by app (frontdoor.py) and by store/snapshot.py; asked by operations, as operations.world.Catalogue. Nothing is kept here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import TypeAlias

from keystead.engine.record import AliasRecord, GrantRecord, KeyRecord
from keystead.operations.world import LastUse
from keystead.policy import Action, Caller
from keystead.policy.grant_needs import Wanted
from keystead.store.model import RecordModel

Uses: TypeAlias = Callable[[str], LastUse | None]


class View:
    """Implements operations.world.Catalogue."""

    __slots__ = ("_given", "_last_use", "_model", "_uids")

    def __init__(
        self,
        model: RecordModel,
        namespace_uids: Mapping[str, str],
        last_use: Uses = lambda _: None,
        given: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        """given: account ids by namespace that nobody else can come by (`keystead dev`)."""
        self._given = given
        self._model = model
        self._uids = namespace_uids
        self._last_use = last_use

    def namespace_uid(self, namespace: str) -> str | None:
        """The uid of the live namespace of this name, None where the front door knows of none."""
        return self._uids.get(namespace)

    def has_account(self, namespace: str, account: str) -> bool:
        """Whether the account's record is of this namespace as it lives now."""
        if self._given.get(namespace) == account:
            return True
        return self._model.account_of(namespace, self._uids.get(namespace, "")) == account

    def last_use(self, key_id: str) -> LastUse | None:
        """The last cryptographic use of a key that is known."""
        return self._last_use(key_id)

    def by_id(self, key_id: bytes) -> KeyRecord | None:
        """As the model says, like all that follow."""
        return self._model.by_id(key_id)

    def alias(self, account: str, region: str, name: str) -> AliasRecord | None:
        """See the model."""
        return self._model.alias(account, region, name)

    def grants_of(self, key_id: bytes) -> Sequence[GrantRecord]:
        """See the model."""
        return self._model.grants_of(key_id)

    def grants_held(self, key: KeyRecord, grantee: str) -> Sequence[GrantRecord]:
        """See the model."""
        return self._model.grants_held(key, grantee)

    def grants_to(
        self, key: KeyRecord, caller: Caller, action: Action, context: Mapping[str, str], source: str = "", wanted: Wanted | None = None
    ) -> Sequence[GrantRecord]:
        """See the model."""
        return self._model.grants_to(key, caller, action, context, source, wanted)

    def grant(self, grant_id: str) -> GrantRecord | None:
        """See the model."""
        return self._model.grant(grant_id)

    def key_named(self, namespace: str, name: str) -> KeyRecord | None:
        """See the model."""
        return self._model.key_named(namespace, name)

    def keys_of(self, account: str, region: str) -> Sequence[KeyRecord]:
        """See the model."""
        return self._model.keys_of(account, region)

    def aliases_of(self, account: str, region: str) -> Sequence[AliasRecord]:
        """See the model."""
        return self._model.aliases_of(account, region)

    def managed_key(self, account: str, region: str) -> KeyRecord | None:
        """See the model."""
        return self._model.managed_key(account, region)

    def grant_named(self, namespace: str, name: str) -> GrantRecord | None:
        """See the model."""
        return self._model.grant_named(namespace, name)

    def grants_retirable_by(self, principal: str) -> Sequence[GrantRecord]:
        """See the model."""
        return self._model.grants_retirable_by(principal)
