"""Rows in the order of their ranks, each with a set of needs: the first whose needs are all met, without a look at each row.

For crowds (store/grant_shelf.py, its only user): a tenant may have 50,000 grants that lack one pair of the context of his call. Rows lie in
blocks; for each need a block has the bits of the rows that have it. One `or` a need that is not met rules out all its rows at once.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Hashable, Iterable
from collections.abc import Set as AbstractSet
from typing import Any, Final, Generic, TypeVar

V = TypeVar("V")
Row = tuple[str, V, frozenset[Any]]
MOST: Final = 1024
"""Rows of a block."""


class _Block(Generic[V]):
    __slots__ = ("bits", "ranks", "rows")

    def __init__(self, rows: list[Row[V]], bits: dict[Hashable, int]) -> None:
        self.rows, self.bits = rows, bits
        self.ranks = [row[0] for row in rows]

    def put(self, row: Row[V]) -> None:
        at = bisect_left(self.ranks, row[0])
        self.ranks.insert(at, row[0])
        self.rows.insert(at, row)
        below = (1 << at) - 1
        if at + 1 < len(self.rows):
            for need, bits in self.bits.items():
                self.bits[need] = (bits & below) | (bits & ~below) << 1
        for need in row[2]:
            self.bits[need] = self.bits.get(need, 0) | 1 << at

    def drop(self, rank: str) -> None:
        at = bisect_left(self.ranks, rank)
        del self.ranks[at], self.rows[at]
        below = (1 << at) - 1
        moved = ((need, (bits & below) | (bits >> 1 & ~below)) for need, bits in self.bits.items())
        self.bits = {need: bits for need, bits in moved if bits}

    def split(self) -> tuple[_Block[V], _Block[V]]:
        half = len(self.rows) // 2
        low = {need: bits & (1 << half) - 1 for need, bits in self.bits.items()}
        high = {need: bits >> half for need, bits in self.bits.items()}
        return (
            _Block(self.rows[:half], {need: bits for need, bits in low.items() if bits}),
            _Block(self.rows[half:], {need: bits for need, bits in high.items() if bits}),
        )

    def first(self, met: AbstractSet[Any]) -> Row[V] | None:
        lacking = 0
        for need, bits in self.bits.items():
            if need not in met:
                lacking |= bits
        # The lowest bit that is not set.
        at = (~lacking & (lacking + 1)).bit_length() - 1
        return self.rows[at] if at < len(self.rows) else None


class Sieve(Generic[V]):
    """Ranks are unique."""

    __slots__ = ("_blocks",)

    def __init__(self, rows: Iterable[Row[V]] = ()) -> None:
        self._blocks: list[_Block[V]] = []
        for row in rows:
            self.put(row)

    def __bool__(self) -> bool:
        return bool(self._blocks)

    def __len__(self) -> int:
        return sum(len(block.rows) for block in self._blocks)

    def put(self, row: Row[V]) -> None:
        """Add a row, whose rank is not there."""
        if not self._blocks:
            self._blocks.append(_Block([row], dict.fromkeys(row[2], 1)))
            return
        at = min(self._block_of(row[0]), len(self._blocks) - 1)
        block = self._blocks[at]
        block.put(row)
        if len(block.rows) > MOST:
            self._blocks[at : at + 1] = block.split()

    def drop(self, rank: str) -> None:
        """Take out the row of this rank."""
        at = self._block_of(rank)
        self._blocks[at].drop(rank)
        if not self._blocks[at].rows:
            del self._blocks[at]

    def first(self, met: AbstractSet[Any]) -> Row[V] | None:
        """The row of the least rank whose needs are all among these."""
        for block in self._blocks:
            found = block.first(met)
            if found is not None:
                return found
        return None

    def _block_of(self, rank: str) -> int:
        return bisect_left(self._blocks, rank, key=lambda block: block.ranks[-1])
