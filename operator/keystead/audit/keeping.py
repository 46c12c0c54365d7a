"""The housekeeping of a folder, beside the journal: compresses what is closed, and takes what retention says, on record first.

On a full disk that record is kept with the room that was held back. Then it is `scarce`, as wherever the disk was full (the processes of
a folder share the room), and the journal takes no calls, until retention is done and as much room is held back again: else calls would
use up what the next removal needs.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from functools import partial

from keystead.audit.flush import Lane
from keystead.audit.ports import Keeper, Removed

log = logging.getLogger(__name__)
_EVERY = 2.0
"""Seconds between two looks."""
_PATIENCE = 1.0
"""Seconds that the record of a removal may take, until room is made for it."""


class Keeping:
    """`record`: returns when it is durable that the file goes, however long that takes. `enough`: called when room is held again; it says
    whether it is scarce no more.
    """

    def __init__(self, keeper: Keeper, record: Callable[[Removed], Awaitable[None]], enough: Callable[[], bool]) -> None:
        self.scarce = False
        self._keeper = keeper
        self._record = record
        self._enough = enough
        self._lane = Lane("keeping")

    async def run(self) -> None:
        """For ever."""
        try:
            while True:
                await asyncio.sleep(_EVERY)
                await self._once()
        finally:
            self._lane.close()

    async def _once(self) -> None:
        try:
            while doomed := await self._lane.submit(self._keeper.tidy):
                for removed in doomed:
                    await self._put_on_record(removed)
                    await self._lane.submit(partial(self._keeper.remove, removed))
        except OSError as error:
            log.warning("audit: the folder could not be tidied: %s", error.strerror or type(error).__name__)
        if await self._lane.submit(self._keeper.hold_room) and self.scarce:
            self.scarce = not self._enough()

    async def _put_on_record(self, removed: Removed) -> None:
        """On a full disk with what is held back for this."""
        recording = asyncio.ensure_future(self._record(removed))
        try:
            while not (await asyncio.wait({recording}, timeout=_PATIENCE))[0]:
                self.scarce = True
                await self._lane.submit(self._keeper.give_room)
            await recording
        finally:
            recording.cancel()
