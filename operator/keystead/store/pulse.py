"""How far behind may this worker be? The rules of the heartbeat (AWS.md, One stream), without I/O: monotonic time is an argument.

Called by store/stream.py, which writes and reads the Secret `heartbeat`. What a state means is told to the server's door:

    FRESH    what was written 3 s ago is in the read model: serve
    SILENT   a write was answered and did not show within 2 s: the stream is broken or late; refuse, not ready
    CUT_OFF  the API server cannot be reached: serve on, for `max_stale` seconds since the last sign of life
    STALE    longer than that, or no sign of life yet: refuse, not ready

The sign of life is of no use if only others make it: a stream that is minutes late shows theirs, one a second. So each worker also
waits for a write of its own every few seconds. resourceVersions of one kind grow as integers.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final

# A sign of life is written when none was seen for this long; spread, so that of many workers one writes.
WRITE_AFTER: Final = (0.5, 0.9)
# And at least this often by each worker.
OWN_AFTER: Final = (4.0, 6.0)
# From the beginning of a write to its sight in the stream.
SEEN_WITHIN: Final = 2.0
FRESH_FOR: Final = 1.0 + SEEN_WITHIN


class State(StrEnum):
    """See above."""

    FRESH = "fresh"
    SILENT = "silent"
    CUT_OFF = "cut-off"
    STALE = "stale"

    @property
    def serves(self) -> bool:
        """Whether requests are answered from the read model."""
        return self in (State.FRESH, State.CUT_OFF)


class Pulse:
    """One a worker. `max_stale`: seconds without the API server that are served through; 0: none."""

    def __init__(self, max_stale: float) -> None:
        self._max_stale = max_stale
        self._seen = self._fresh_until = float("-inf")
        self._version = 0
        self._waits_since: float | None = None
        self._expected: int | None = None
        self._latched = False
        self._next = self._own = float("-inf")

    def state(self, now: float) -> State:
        """Asked at every request: one comparison while all is well."""
        if now < self._fresh_until:
            return State.FRESH
        if self._latched or (self._waits_since is not None and now >= self._waits_since + SEEN_WITHIN):
            return State.SILENT
        return State.CUT_OFF if now < self._seen + self._max_stale else State.STALE

    def due(self, now: float) -> bool:
        """Whether it is time to write."""
        return now >= min(self._next, self._own)

    def age(self, now: float) -> float:
        """Seconds since the last sign of life."""
        return now - self._seen

    def saw(self, now: float, version: int, spread: float) -> None:
        """The stream showed a heartbeat. `spread`: random, from 0 to 1."""
        self._version = max(self._version, version)
        if self._waits_since is not None and self._expected is not None and version < self._expected:
            return  # somebody's, written before ours
        self._waits_since = self._expected = None
        self._latched = False
        self._seen = max(self._seen, now)
        self._fresh_until = self._seen + FRESH_FOR
        self._next = now + _between(WRITE_AFTER, spread)

    def listed(self, began: float, now: float, version: int, spread: float) -> None:
        """A list that began then showed the heartbeat. It does not heal a stream that was found silent: only the stream does."""
        if self.state(now) is not State.SILENT:
            self.saw(began, version, spread)
        self._next = now

    def wrote(self, started: float, version: int | None, spread: float) -> None:
        """A write that began then was answered with this version; None: it was refused, so that nothing can be seen."""
        self._next = started + _between(WRITE_AFTER, spread)
        self._own = started + _between(OWN_AFTER, spread)
        if self._waits_since is not None or (version is not None and version <= self._version):
            return  # an earlier one is waited for, or this one was seen before its answer came
        self._waits_since, self._expected = started, version
        self._fresh_until = min(self._fresh_until, started + SEEN_WITHIN)

    def failed(self, now: float, spread: float) -> None:
        """A write was not answered: whether the stream is late cannot be known. What was known before stays."""
        if self.state(now) is State.SILENT:
            self._latched = True
        self._waits_since = self._expected = None
        self._next = now + _between(WRITE_AFTER, spread) / 2
        self._own = max(self._own, self._next)


def _between(bounds: tuple[float, float], spread: float) -> float:
    return bounds[0] + (bounds[1] - bounds[0]) * spread
