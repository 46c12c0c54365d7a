"""Grants by key, grantee, operation and encryption context (policy.grant_places). Used by the read model (store/model.py) only."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import TypeAlias

from keystead.engine.record import GrantRecord
from keystead.engine.record.grant import grantee_of
from keystead.policy.actions import ACTIONS, Action
from keystead.policy.grant_places import Place, asks_for, places_of
from keystead.policy.grants import fold
from keystead.store.shelf import Shelf

Owner: TypeAlias = tuple[bytes, str]


class _Owned:
    """The `number` grants of one key to one grantee. `asks`: how many ask for a whole context, and for a part of one: where none does, none
    is looked at.
    """

    __slots__ = ("asks", "found", "number")

    def __init__(self) -> None:
        self.found: Shelf[Place, GrantRecord] = Shelf(lambda grant: grant.grant_id)
        self.number, self.asks = 0, [0, 0]

    def count(self, grant: GrantRecord, change: int) -> None:
        """One more (1), or one less (-1)."""
        self.number += change
        for kind, asked in enumerate(asks_for(grant)):
            self.asks[kind] += change * asked


class GrantShelf:
    """`at` costs the same however many grants a key and a grantee have, unless many lie in one place (the same terms again and again)."""

    __slots__ = ("_owners", "_places")

    def __init__(self) -> None:
        self._owners: dict[Owner, _Owned] = {}
        self._places: dict[Hashable, list[Place]] = {}

    def put(self, key_id: bytes, name: Hashable, grant: GrantRecord) -> None:
        """File a grant of this name, which is not there."""
        owner = key_id, grantee_of(grant)
        owned = self._owners.get(owner)
        if owned is None:
            owned = self._owners[owner] = _Owned()
        places = self._places[name] = []
        for choices in places_of(grant):
            if choices:
                # Of the pairs that it must contain the one that tells it best from the others.
                place = min(choices, key=owned.found.count)
                owned.found.put(place, name, grant)
                places.append(place)
        owned.count(grant, 1)

    def drop(self, key_id: bytes, name: Hashable, grant: GrantRecord) -> None:
        """Take it out."""
        owner = key_id, grantee_of(grant)
        owned = self._owners[owner]
        for place in self._places.pop(name, ()):
            owned.found.drop(place, name)
        owned.count(grant, -1)
        if not owned.number:
            del self._owners[owner]

    def at(self, key_id: bytes, grantee: str, action: Action, context: Mapping[str, str]) -> tuple[GrantRecord, ...]:
        """Those of a key and grantee that may allow an action with this encryption context: first such as ask for none."""
        owned = self._owners.get((key_id, grantee))
        operation = ACTIONS[action].grantable
        if owned is None or operation is None:
            return ()
        found, (whole, part) = owned.found.at((operation, None)), owned.asks
        folded = fold(context) if context and (whole or part) else None
        if folded:
            if whole:
                found += owned.found.at((operation, frozenset(folded.items())))
            if part:
                for pair in folded.items():
                    found += owned.found.at((operation, pair))
        return found
