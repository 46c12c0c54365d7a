"""Local time for `keystead dev`. It never goes back: not behind its own answers, and not behind what is written in the store."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Final

from keystead.errors import StoreUnavailableError

# As store/kube.py believes them of an API server: a machine without a clock, and a time that no period can be added to.
EARLIEST: Final = datetime(2020, 1, 1, tzinfo=UTC)
LATEST: Final = datetime(2200, 1, 1, tzinfo=UTC)
# Up to then a float of seconds has every microsecond.
_EARLIEST: Final = EARLIEST.timestamp()
_LATEST: Final = LATEST.timestamp()


class LocalClock:
    """Implements `reconciler.ports.Clock`. Where the machine's clock was set back, time goes on from where it was."""

    def __init__(self, written: datetime | None = None) -> None:
        """`written`: a time that is in the store. No answer lies before it."""
        self._base = written.timestamp() if written is not None and EARLIEST <= written < LATEST else None
        self._since = time.monotonic()

    def now(self) -> datetime:
        """The machine's time, or a later one. StoreUnavailableError where it cannot be: nothing is dated by it."""
        wall, elapsed = time.time(), time.monotonic()
        sane = _EARLIEST <= wall < _LATEST
        if self._base is not None:
            going = self._base + (elapsed - self._since)
            if wall <= going or not sane:
                return datetime.fromtimestamp(going, UTC)
        if not sane:
            raise StoreUnavailableError(f"this machine's clock says {datetime.fromtimestamp(wall, UTC):%Y-%m-%d}; hint: set it")
        self._base, self._since = wall, elapsed
        return datetime.fromtimestamp(wall, UTC)
