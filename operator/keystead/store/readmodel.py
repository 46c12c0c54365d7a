"""Keeps the record index: lists keystead-records, then watches it, for ever. What does not verify is logged and left out."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Final

from keystead.engine.ports import Domain
from keystead.errors import HsmError, KeysteadError, StoreError
from keystead.reconciler.index import INDEXED, RecordIndex
from keystead.reconciler.ports import StoredRecord
from keystead.store.records import KubeRecords, parse_secret

log = logging.getLogger(__name__)
_RETRY_SECONDS: Final = 1.0


class RecordWatch:
    """Feeds an index. `synced`: the first list is in it."""

    def __init__(self, records: KubeRecords, index: RecordIndex) -> None:
        self._records = records
        self._index = index
        self.synced = asyncio.Event()

    async def run(self, domain: Callable[[], Domain], pause: Callable[[float], Awaitable[None]] = asyncio.sleep) -> None:
        """List, then watch; lists anew when the watch breaks or its version is too old."""
        while True:
            try:
                await self._list_and_watch(domain())
            except (StoreError, HsmError) as error:
                log.info("the record watch starts anew: %s", error)
            await pause(_RETRY_SECONDS)

    async def _list_and_watch(self, domain: Domain) -> None:
        stored, version = await self._records.list_all(INDEXED)
        self._index.keep({item.sealed.name for item in stored})
        for item in stored:
            self._take(domain, item)
        self.synced.set()
        while True:
            async for kind, secret in self._records.watch(INDEXED, version):
                if kind == "ERROR":
                    raise StoreError("the watch's version is too old")
                version = secret["metadata"]["resourceVersion"]
                if kind in ("ADDED", "MODIFIED"):
                    self._take_secret(domain, secret)
                elif kind == "DELETED":
                    self._index.gone(secret["metadata"]["name"])

    def _take_secret(self, domain: Domain, secret: dict[str, object]) -> None:
        try:
            self._take(domain, parse_secret(secret))
        except KeysteadError as error:
            log.error("%s", error)

    def _take(self, domain: Domain, stored: StoredRecord) -> None:
        try:
            self._index.take(domain, stored)
        except KeysteadError as error:
            log.error("%s", error)
