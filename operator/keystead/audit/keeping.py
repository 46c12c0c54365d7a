"""The housekeeping of a folder, beside the journal: compresses what is closed, and takes what retention says, on record first."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from functools import partial

from keystead.audit.flush import Lane
from keystead.audit.ports import Keeper, Removed
from keystead.errors import AuditUnavailableError

log = logging.getLogger(__name__)
_EVERY = 2.0
"""Seconds between two looks."""


class Keeping:
    """`record`: returns when it is durable that the file goes."""

    def __init__(self, keeper: Keeper, record: Callable[[Removed], Awaitable[None]]) -> None:
        self._keeper = keeper
        self._record = record
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
            for removed in await self._lane.submit(self._keeper.tidy):
                await self._record(removed)
                await self._lane.submit(partial(self._keeper.remove, removed))
        except OSError as error:
            log.warning("audit: the folder could not be tidied: %s", error.strerror or type(error).__name__)
        except AuditUnavailableError:
            pass  # it is on record nowhere that the file goes, so it stays
