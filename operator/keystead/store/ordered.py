"""Records in order, in runs: what is added or goes moves a few hundred of its neighbours and not all. Used by the read model only
(store/model.py, store/grant_shelf.py), for lists that a tenant can make 50,000 long.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Callable, Hashable, Iterator, Sequence
from itertools import chain
from typing import Final, Generic, TypeVar, overload

P = TypeVar("P", bound=Hashable)
R = TypeVar("R")
MOST: Final = 1024
"""Records of a run."""


class Ordered(Sequence[R]):
    """`order`: unique. It changes with what it holds: whoever must have it as it is now makes a tuple."""

    __slots__ = ("_order", "_runs")

    def __init__(self, order: Callable[[R], tuple[str, ...]]) -> None:
        self._order = order
        self._runs: list[list[R]] = []

    def put(self, record: R) -> None:
        """Add a record, which is not there."""
        if not self._runs:
            self._runs.append([record])
            return
        at = min(self._run_of(self._order(record)), len(self._runs) - 1)
        run = self._runs[at]
        insort(run, record, key=self._order)
        if len(run) > MOST:
            half = len(run) // 2
            self._runs[at : at + 1] = run[:half], run[half:]

    def drop(self, record: R) -> None:
        """Take it out."""
        order = self._order(record)
        at = self._run_of(order)
        run = self._runs[at]
        del run[bisect_left(run, order, key=self._order)]
        if not run:
            del self._runs[at]

    def __len__(self) -> int:
        return sum(map(len, self._runs))

    def __iter__(self) -> Iterator[R]:
        return chain.from_iterable(self._runs)

    @overload
    def __getitem__(self, index: int) -> R: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[R]: ...
    def __getitem__(self, index: int | slice) -> R | Sequence[R]:
        if isinstance(index, slice):
            return self._part(*index.indices(len(self)))
        at = index if index >= 0 else len(self) + index
        for run in self._runs:
            if 0 <= at < len(run):
                return run[at]
            at -= len(run)
        raise IndexError(index)

    def _part(self, first: int, end: int, step: int) -> Sequence[R]:
        if step != 1:
            return list(self)[first:end:step]
        found: list[R] = []
        for run in self._runs:
            if end <= 0:
                break
            if first < len(run):
                found += run[max(first, 0) : end]
            first, end = first - len(run), end - len(run)
        return found

    def _run_of(self, order: tuple[str, ...]) -> int:
        return bisect_left(self._runs, order, key=lambda run: self._order(run[-1]))


class OrderedGroups(Generic[P, R]):
    """Records in groups, each in the order of `order`."""

    __slots__ = ("_groups", "_order")

    def __init__(self, order: Callable[[R], tuple[str, ...]]) -> None:
        self._order = order
        self._groups: dict[P, Ordered[R]] = {}

    def put(self, group: P, record: R) -> None:
        """Add a record, which is not there."""
        found = self._groups.get(group)
        if found is None:
            found = self._groups[group] = Ordered(self._order)
        found.put(record)

    def drop(self, group: P, record: R) -> None:
        """Take it out."""
        found = self._groups[group]
        found.drop(record)
        if not found:
            del self._groups[group]

    def at(self, group: P) -> Sequence[R]:
        """The records of a group, in order."""
        return self._groups.get(group, ())

    def __len__(self) -> int:
        return len(self._groups)
