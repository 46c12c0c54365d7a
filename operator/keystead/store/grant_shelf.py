"""Grants by key, grantee, operation and needs (policy.grant_needs): the one that allows a call, if any. For store/model.py only.

A tenant has up to 50,000 grants on a key of his, under terms of his choice, and shares the worker with others: so a call costs the same
whatever they are, within a millisecond unless its context has dozens of pairs (tests/store/test_grant_shelf.py counts). Grants of equal
needs are one crowd, of which the one that ends last is found: where it is over, all are. Crowds are filed each under one of their needs,
the one that tells it best from others.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Final, TypeAlias

from msgspec import UNSET

from keystead.engine.record import GrantRecord, KeyRecord
from keystead.engine.record.grant import grantee_of
from keystead.policy.actions import ACTIONS, Action
from keystead.policy.caller import Caller
from keystead.policy.grant_needs import NOTHING, Need, Needs, Wanted, met_by, needs_of, rank_of
from keystead.resources.vocabulary import GrantOperation
from keystead.store.ordered import Ordered
from keystead.store.sieve import Sieve

Owner: TypeAlias = tuple[str, str, str]
Entry: TypeAlias = tuple[str, GrantRecord, Needs]
FEW: Final = 16
"""So many crowds under one need are looked at one by one."""


class _Offer:
    """The grants of one key to one grantee for one operation. Entries are in order, the best first."""

    __slots__ = ("crowds", "filed", "free")

    def __init__(self) -> None:
        self.free: list[Entry] = []
        self.crowds: dict[Needs, tuple[Need, list[Entry]]] = {}
        self.filed: dict[Need, list[Entry] | Sieve[GrantRecord]] = {}

    def put(self, entry: Entry) -> None:
        needs = entry[2]
        if not needs:
            insort(self.free, entry)
            return
        crowd = self.crowds.get(needs)
        if crowd is None:
            under = min(needs, key=lambda need: len(self.filed.get(need, ())))
            self.crowds[needs] = under, [entry]
            self._file(under, entry)
            return
        under, entries = crowd
        best = entries[0]
        insort(entries, entry)
        if entries[0] is not best:
            self._unfile(under, best)
            self._file(under, entry)

    def drop(self, entry: Entry) -> None:
        needs = entry[2]
        if not needs:
            del self.free[bisect_left(self.free, entry)]
            return
        under, entries = self.crowds[needs]
        at = bisect_left(entries, entry)
        del entries[at]
        if at:
            return
        self._unfile(under, entry)
        if entries:
            self._file(under, entries[0])
        else:
            del self.crowds[needs]

    def best(self, met: AbstractSet[Need], best: Entry | None) -> Entry | None:
        """The best of those whose needs are met, if it is better than this one."""
        for need in met:
            filed = self.filed.get(need)
            if filed is not None:
                found = filed.first(met) if isinstance(filed, Sieve) else next((row for row in filed if met >= row[2]), None)
                if found is not None and (best is None or found[0] < best[0]):
                    best = found
        return best

    def _file(self, under: Need, entry: Entry) -> None:
        filed = self.filed.get(under)
        if filed is None:
            self.filed[under] = [entry]
        elif isinstance(filed, Sieve):
            filed.put(entry)
        else:
            insort(filed, entry)
            if len(filed) > FEW:
                self.filed[under] = Sieve(filed)

    def _unfile(self, under: Need, entry: Entry) -> None:
        filed = self.filed[under]
        if isinstance(filed, Sieve):
            filed.drop(entry[0])
        else:
            del filed[bisect_left(filed, entry)]
        if not filed:
            del self.filed[under]


class _Owned:
    """All grants of one key to one grantee."""

    __slots__ = ("every", "offers")

    def __init__(self) -> None:
        self.every: Ordered[GrantRecord] = Ordered(by_id)
        self.offers: dict[GrantOperation, _Offer] = {}


def by_id(grant: GrantRecord) -> tuple[str, str, str]:
    """The order of lists: that of grant ids, which are unique but for records that somebody made up."""
    return grant.grant_id, grant.namespace, grant.name


class GrantShelf:
    """A grant is of a key in the namespace as it lived when it was made: one that was made again finds none of the old one's."""

    __slots__ = ("_owners",)

    def __init__(self) -> None:
        self._owners: dict[Owner, _Owned] = {}

    def put(self, grant: GrantRecord) -> None:
        """File a grant, which is not there."""
        owner = grant.key_id, grant.namespace_uid, grantee_of(grant)
        owned = self._owners.get(owner)
        if owned is None:
            owned = self._owners[owner] = _Owned()
        owned.every.put(grant)
        for operation, entry in _entries(grant).items():
            offer = owned.offers.get(operation)
            if offer is None:
                offer = owned.offers[operation] = _Offer()
            offer.put(entry)

    def drop(self, grant: GrantRecord) -> None:
        """Take it out."""
        owner = grant.key_id, grant.namespace_uid, grantee_of(grant)
        owned = self._owners[owner]
        owned.every.drop(grant)
        for operation, entry in _entries(grant).items():
            offer = owned.offers[operation]
            offer.drop(entry)
            if not offer.free and not offer.crowds:
                del owned.offers[operation]
        if not owned.every:
            del self._owners[owner]

    def at(
        self,
        key: KeyRecord,
        caller: Caller,
        action: Action,
        context: Mapping[str, str],
        source: str = "",
        wanted: Wanted | None = None,
    ) -> tuple[GrantRecord, ...]:
        """The grant of a key that allows a caller this, if it is not over: then none does. See operations.world.Keys.grants_to."""
        owned = self._owners.get((key.key_id, key.namespace_uid, caller.principal))
        operation = ACTIONS[action].grantable
        if owned is None or operation is None:
            return ()
        offer = owned.offers.get(operation)
        if offer is None:
            return ()
        best = offer.free[0] if offer.free else None
        if offer.crowds and (best is None or best[1].expires_at is not UNSET):
            best = offer.best(met_by(caller, action, context, source, wanted), best)
        return () if best is None else (best[1],)

    def every(self, key: KeyRecord, grantee: str) -> Sequence[GrantRecord]:
        """All grants of a key to a grantee, in the order of their ids."""
        owned = self._owners.get((key.key_id, key.namespace_uid, grantee))
        return () if owned is None else owned.every


def _entries(grant: GrantRecord) -> dict[GrantOperation, Entry]:
    """By operation; one entry for all that need the same."""
    entries: dict[Needs, Entry] = {}
    found: dict[GrantOperation, Entry] = {}
    for operation, needs in needs_of(grant).items():
        entry = entries.get(needs)
        if entry is None:
            entry = entries[needs] = (rank_of(grant, needs), grant, needs or NOTHING)
        found[operation] = entry
    return found
