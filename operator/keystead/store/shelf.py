"""Records in groups, sorted when somebody asks and kept so until something changes there. Used by the read model (store/model.py) only."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any, Generic, TypeVar

P = TypeVar("P", bound=Hashable)
R = TypeVar("R")


class Shelf(Generic[P, R]):
    """`order` gives what the records of a group are sorted by. `at` answers the same tuple until the group changes."""

    __slots__ = ("_held", "_order", "_sorted")

    def __init__(self, order: Callable[[R], Any]) -> None:
        self._order = order
        self._held: dict[P, dict[Hashable, R]] = {}
        self._sorted: dict[P, tuple[R, ...]] = {}

    def put(self, place: P, name: Hashable, record: R) -> None:
        """File a record of this name in a group."""
        self._held.setdefault(place, {})[name] = record
        self._sorted.pop(place, None)

    def drop(self, place: P, name: Hashable) -> None:
        """Take it out. Nothing happens where it is not."""
        held = self._held.get(place)
        if held is None or held.pop(name, None) is None:
            return
        self._sorted.pop(place, None)
        if not held:
            del self._held[place]

    def count(self, place: P) -> int:
        """How many records a group has."""
        return len(self._held.get(place, ()))

    def at(self, place: P) -> tuple[R, ...]:
        """The records of a group, in order."""
        found = self._sorted.get(place)
        if found is None:
            held = self._held.get(place)
            if held is None:
                return ()
            found = self._sorted[place] = tuple(sorted(held.values(), key=self._order))
        return found
