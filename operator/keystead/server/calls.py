"""Counts the calls of one worker for `kubectl kms usage` and for a metric. Called by the door at the end of every authenticated call.

Who pays at AWS is who calls (operations/prices.py): a call counts for the namespace of its caller, whosever key it used. A call that was
refused counts without its key: a namespace's own numbers must not tell it of keys that it may not know of.

The hot path is one look into a dict and an addition: what class a call is of is found out once for each operation, namespace and key.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final, Protocol

from keystead.engine.record import KeyRecord
from keystead.operations.counts import NO_KEY, OTHER, Counts, Row, aged
from keystead.operations.prices import PAIRS, PriceClass, class_of, month_of
from keystead.operations.world import Judged

MAX_ROWS: Final = 20_000
"""Rows of keys in a worker's memory; further keys are counted as OTHER."""
MAX_NAMESPACES: Final = 1_000
"""Namespaces of the metric; further ones are counted as OTHER."""
_MAX_CELLS: Final = 20_000
_RE_ENCRYPT: Final = "ReEncrypt"
_SPECIAL: Final = PAIRS | {_RE_ENCRYPT}
_REFUSED: Final = ""
# What a key can make of a call, the cheapest first.
_DEARER: Final = (PriceClass.REQUESTS, PriceClass.RSA_2048, PriceClass.ASYMMETRIC)


class Counter(Protocol):
    """Counts calls by who pays for them (operations/prices.py). namespace: of the caller."""

    def answered(self, operation: str, namespace: str, request: object, trail: Sequence[Judged], now: datetime) -> None: ...
    def refused(self, namespace: str, now: datetime) -> None: ...


class Uncounted:
    """Implements Counter where nothing is counted."""

    def answered(self, operation: str, namespace: str, request: object, trail: Sequence[Judged], now: datetime) -> None:
        """Nothing."""

    def refused(self, namespace: str, now: datetime) -> None:
        """Nothing."""


class Calls:
    """One a worker. Implements Counter."""

    def __init__(self) -> None:
        # (operation, namespace, key id) -> [calls, price class], since they were last taken into the counts.
        self._cells: dict[tuple[str, str, str], list[Any]] = {}
        self._number = 0
        self._month = ""
        self._counts: dict[Row, int] = {}
        self._keyed = 0
        self._totals: dict[tuple[str, str], int] = {}
        self._namespaces: set[str] = set()

    def answered(self, operation: str, namespace: str, request: Any, trail: Sequence[Judged], now: datetime) -> None:  # noqa: ANN401 - any request
        """A call was answered. trail: its decisions; the first is about its key."""
        if now.month != self._number:
            self._turn(now)
        key = trail[0].key if trail else None
        cell = self._cells.get((operation, namespace, NO_KEY if key is None else key.key_id))
        if cell is None:
            if operation in _SPECIAL:  # their cells have other names
                self._special(operation, namespace, request, trail)
                return
            cell = self._cell(operation, namespace, key, class_of(operation, None if key is None else key.spec))
        cell[0] += 1

    def refused(self, namespace: str, now: datetime) -> None:
        """A call of a known caller was refused."""
        if now.month != self._number:
            self._turn(now)
        self._cell(_REFUSED, namespace, None, PriceClass.REFUSED)[0] += 1

    def counts(self) -> Counts:
        """All since the start of the worker."""
        self._take()
        return dict(self._counts)

    def totals(self) -> Mapping[tuple[str, str], int]:
        """(namespace, class) -> calls since the start of the worker, for the metric."""
        self._take()
        return dict(self._totals)

    def _special(self, operation: str, namespace: str, request: Any, trail: Sequence[Judged]) -> None:  # noqa: ANN401 - any request
        """A pair is priced by its own spec; a ReEncrypt is one call of the dearer of its two keys."""
        keys = [each.key for each in trail if each.key is not None]
        if operation == _RE_ENCRYPT:
            classes = [class_of(operation, key.spec) for key in keys] or [PriceClass.REQUESTS]
            kind = max(classes, key=_DEARER.index)
            key = keys[classes.index(kind)] if keys else None
        else:
            kind, key = class_of(operation, None, request.key_pair_spec), keys[0] if keys else None
        self._cell(f"{operation}/{kind.value}", namespace, key, kind)[0] += 1

    def _cell(self, operation: str, namespace: str, key: KeyRecord | None, kind: PriceClass) -> list[Any]:
        place = (operation, namespace, NO_KEY if key is None else key.key_id)
        cell = self._cells.get(place)
        if cell is None:
            if len(self._cells) >= _MAX_CELLS:
                self._fold()
            cell = self._cells[place] = [0, kind.value]
        return cell

    def _turn(self, now: datetime) -> None:
        """What was counted so far is of the month before."""
        self._fold()
        month = month_of(now)
        if month != self._month:
            self._counts = aged(self._counts)
            self._keyed = sum(row.key_id not in (NO_KEY, OTHER) for row in self._counts)
        self._month, self._number = month, now.month

    def _take(self) -> None:
        self._fold()
        self._number = 0  # the next call looks at the calendar: a worker may have stood still for a year

    def _fold(self) -> None:
        for (_, namespace, key_id), (calls, kind) in self._cells.items():
            row = Row(self._month, namespace, key_id, kind)
            if row not in self._counts and key_id != NO_KEY:
                if self._keyed >= MAX_ROWS:
                    row = row._replace(key_id=OTHER)
                else:
                    self._keyed += 1
            self._counts[row] = self._counts.get(row, 0) + calls
            self._total(namespace, kind, calls)
        self._cells.clear()

    def _total(self, namespace: str, kind: str, calls: int) -> None:
        if namespace not in self._namespaces:
            if len(self._namespaces) >= MAX_NAMESPACES:
                namespace = OTHER
            else:
                self._namespaces.add(namespace)
        self._totals[namespace, kind] = self._totals.get((namespace, kind), 0) + calls
