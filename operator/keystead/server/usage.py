"""What a worker remembers of the use of keys: the last cryptographic call of each, by key id (AWS GetKeyLastUsage), and counts of calls.

Noted by the door after each call that succeeded. UseKeeper hands it on, and learns what others noted: by a ConfigMap a replica, by files
between the workers of a Pod, by SQLite in `keystead dev` (5 minutes' accuracy, AWS.md).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator
from datetime import datetime
from typing import Any, Final, Protocol

from keystead.errors import KeysteadError
from keystead.operations.usetable import UseTable
from keystead.operations.world import LastUse
from keystead.server.calls import Calls

log = logging.getLogger(__name__)

# AWS's cryptographic operations on a key. The others read, or need no key.
COUNTED: Final = frozenset(
    {
        "Decrypt",
        "DeriveSharedSecret",
        "Encrypt",
        "GenerateDataKey",
        "GenerateDataKeyPair",
        "GenerateDataKeyPairWithoutPlaintext",
        "GenerateDataKeyWithoutPlaintext",
        "GenerateMac",
        "ReEncrypt",
        "Sign",
        "Verify",
        "VerifyMac",
    }
)
PERIOD_SECONDS: Final = 60.0
"""Between two writes of a replica, and between two looks at what the others wrote."""
_CLOSE_SECONDS: Final = 3.0


class Uses:
    """One a worker. `calls`: what it counts."""

    def __init__(self) -> None:
        self.calls = Calls()
        self._last: dict[str, LastUse] = {}
        self._own: dict[str, LastUse] = {}
        self._noted: dict[str, tuple[str, datetime, str, str]] = {}
        self._began: datetime | None = None
        self._known = UseTable()

    def begin(self, now: datetime) -> None:
        """Uses are noted from now on. Only the first time counts."""
        self._began = self._began or now

    def used(self, operation: str, response: Any, request_id: str, event_id: str, now: datetime) -> None:  # noqa: ANN401 - any response
        """A call succeeded. What is no cryptographic operation changes nothing. `event_id`: of its audit record."""
        if operation not in COUNTED:
            return
        # Only the last use of a key is ever asked for: the rest of its work is done then, and not in each call.
        self._noted[response.key_id] = noted = (operation, now, event_id, request_id)
        if operation == "ReEncrypt":
            self._noted[response.source_key_id] = noted

    def _take_notes(self) -> None:
        for arn, noted in self._noted.items():
            use = LastUse(*noted)
            key_id = _key_id(arn)
            self._own[key_id] = self._last[key_id] = use
        self._noted.clear()

    def last_use(self, key_id: str) -> LastUse | None:
        """The last use of a key that this worker knows of."""
        self._take_notes()
        return self._last.get(key_id)

    @property
    def tracking_since(self) -> datetime | None:
        """From when it is sure that a key without a use was not used."""
        starts = [moment for moment in (self._began, self._known.since) if moment is not None]
        return UseTable(since=min(starts, default=None), dropped=self._known.dropped).tracking_since

    def merge(self, key_id: str, use: LastUse) -> None:
        """What another worker, or this one in an earlier life, knows."""
        self._take_notes()
        known = self._last.get(key_id)
        if known is None or known.time < use.time:
            self._last[key_id] = use

    def learn(self, table: UseTable) -> None:
        """What is known elsewhere."""
        self._known = table
        for key_id, use in table.uses.items():
            self.merge(key_id, use)

    def own(self) -> UseTable:
        """What this worker itself saw."""
        self._take_notes()
        return UseTable(dict(self._own), self._began, counts=self.calls.counts())

    def all(self) -> Iterator[tuple[str, LastUse]]:
        """Everything known."""
        self._take_notes()
        return iter(tuple(self._last.items()))


class UseStore(Protocol):
    """Where uses are kept. Both raise StoreError where that cannot be reached."""

    async def save(self, table: UseTable, *, last: bool) -> None:
        """What this worker saw since its start, in place of what it saved before. `last`: it ends now."""

    async def load(self) -> UseTable:
        """The last uses that all have saved, merged. No counts: no worker needs them."""


class UseKeeper:
    """Saves and learns, every `period` seconds and at the end. A store that is away costs a line in the log and nothing else."""

    def __init__(self, own: Callable[[], UseTable], learn: Callable[[UseTable], None], store: UseStore, period: float) -> None:
        self._own = own
        self._learn = learn
        self._store = store
        self._period = period
        self._said = ""

    async def run(self, pause: Callable[[float], Awaitable[None]] = asyncio.sleep) -> None:
        """For ever. The first time at once: a new worker knows what was known before."""
        while True:
            await self.turn()
            await pause(self._period)

    async def turn(self, *, last: bool = False) -> None:
        """Save, then learn."""
        try:
            await self._store.save(self._own(), last=last)
            if not last:
                self._learn(await self._store.load())
        except KeysteadError as error:
            if str(error) != self._said:
                self._said = str(error)
                log.warning("last uses of keys and counts of calls are not kept: %s", error)
        else:
            self._said = ""

    async def close(self) -> None:
        """The last save; it does not hold up the end for long."""
        try:
            async with asyncio.timeout(_CLOSE_SECONDS):
                await self.turn(last=True)
        except TimeoutError:
            log.warning("the last uses of keys and the counts of calls since the last minute are lost: no answer in %g s", _CLOSE_SECONDS)


def _key_id(arn: str) -> str:
    return arn.rpartition("/")[2]
