"""Grants by key, grantee, operation and encryption context (policy.grant_places). Used by the read model (store/model.py) only."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import TypeAlias

from keystead.engine.record import GrantRecord
from keystead.engine.record.grant import grantee_of
from keystead.policy.actions import ACTIONS, Action
from keystead.policy.grant_places import Place, needs_context, places_for, places_of
from keystead.store.shelf import Shelf

Owner: TypeAlias = tuple[bytes, str]


class GrantShelf:
    """`at` costs the same however many grants a key and a grantee have, unless many lie in one place (the same terms again and again)."""

    __slots__ = ("_bound", "_found", "_places")

    def __init__(self) -> None:
        self._found: Shelf[tuple[bytes, str, Place], GrantRecord] = Shelf(lambda grant: grant.grant_id)
        self._places: dict[Hashable, list[tuple[bytes, str, Place]]] = {}
        # How many grants of a key and grantee ask for a context: where none does, that of a request is not looked at.
        self._bound: dict[Owner, int] = {}

    def put(self, key_id: bytes, name: Hashable, grant: GrantRecord) -> None:
        """File a grant of this name, which is not there."""
        grantee = grantee_of(grant)
        places = self._places[name] = []
        for choices in places_of(grant):
            if choices:
                # Of the pairs that it must contain the one that tells it best from the others.
                place = min(((key_id, grantee, choice) for choice in choices), key=self._found.count)
                self._found.put(place, name, grant)
                places.append(place)
        if needs_context(grant):
            self._bound[key_id, grantee] = self._bound.get((key_id, grantee), 0) + 1

    def drop(self, key_id: bytes, name: Hashable, grant: GrantRecord) -> None:
        """Take it out."""
        for place in self._places.pop(name, ()):
            self._found.drop(place, name)
        if needs_context(grant):
            owner = key_id, grantee_of(grant)
            self._bound[owner] -= 1
            if not self._bound[owner]:
                del self._bound[owner]

    def at(self, key_id: bytes, grantee: str, action: Action, context: Mapping[str, str]) -> tuple[GrantRecord, ...]:
        """Those of a key and grantee that may allow an action with this encryption context: first such as ask for none."""
        if context and (key_id, grantee) in self._bound:
            found: tuple[GrantRecord, ...] = ()
            for place in places_for(action, context):
                found += self._found.at((key_id, grantee, place))
            return found
        operation = ACTIONS[action].grantable
        return () if operation is None else self._found.at((key_id, grantee, (operation, None)))
