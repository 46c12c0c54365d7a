"""When a waiting window is over: the one guard before key material is destroyed (RECORDS, Life of a key).

The clock is the API server's `Date`. One look is not enough: a clock that jumps would destroy early. So the end must be seen twice, ten
minutes apart by this process's monotonic clock and by the API server's time, with nothing before the end seen in between: it is looked at
every minute, so that two jumps of the clock are not taken for one that lasts. What was seen is in memory only: a restart, and a new
leader, begin again, which can only delay.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

APART: Final = timedelta(minutes=10)
EVERY: Final = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class _Look:
    end: datetime
    now: datetime
    monotonic: float


class Windows:
    """The first look at each window that seemed over. `monotonic`: seconds, as time.monotonic."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._first: dict[str, _Look] = {}

    def over(self, key_id: str, end: datetime, now: datetime) -> bool:
        """Whether the window that ends at `end` was seen to be over before, long enough ago. Remembers this look."""
        first, at = self._first.get(key_id), self._monotonic()
        if now < end:
            self._first.pop(key_id, None)
            return False
        if first is None or first.end != end or now < first.now:
            self._first[key_id] = _Look(end, now, at)
            return False
        return at - first.monotonic >= APART.total_seconds() and now - first.now >= APART

    def next_look(self, key_id: str, end: datetime, now: datetime) -> datetime | None:
        """When to look again. None: the end was seen twice, and what still keeps the key is no matter of time."""
        first = self._first.get(key_id)
        if first is None:
            return max(end, now)
        waited = min(timedelta(seconds=self._monotonic() - first.monotonic), now - first.now)
        return None if waited >= APART else now + min(max(APART - waited, timedelta(seconds=1)), EVERY)

    def forget(self, key_id: str) -> None:
        """The key is destroyed, or no longer pending."""
        self._first.pop(key_id, None)
