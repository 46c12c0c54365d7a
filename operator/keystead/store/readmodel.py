"""Feeds what remembers records: lists keystead-records, then watches it, for ever. What does not verify is logged, once, and left out.

The operator's index and the server's read model are fed by the same code, each through `reconciler.intake.Sink`.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from typing import Any, Final, TypeAlias

from keystead.engine.ports import Domain
from keystead.errors import HsmError, KeysteadError, StoreError, StoreUnavailableError
from keystead.reconciler.intake import Sink
from keystead.reconciler.ports import StoredRecord
from keystead.store.records import KubeRecords, parse_secret

log = logging.getLogger(__name__)
_RETRY_SECONDS: Final = 1.0
# Longest piece of a list that is taken in before others have their turn in the event loop.
_SLICE_SECONDS: Final = 0.005
Secret: TypeAlias = dict[str, Any]
Pause: TypeAlias = Callable[[float], Awaitable[None]]


class RecordWatch:
    """Feeds a sink. `synced`: the first list is in it.

    silence  a watch that says nothing for so many seconds is opened anew where it stopped; None: as store/kube.py does it
    beside   by name: told of a Secret that is no record; with the monotonic time at which its list began, None from the watch
    seen     everything up to this resourceVersion is in the sink; `moved` is told when it grows
    """

    def __init__(
        self, records: KubeRecords, sink: Sink, kinds: tuple[str, ...], *, silence: float | None = None
    ) -> None:
        self._records = records
        self._sink = sink
        self._kinds = kinds
        self._silence = silence
        self._version = ""
        self.seen = 0
        self.moved: Callable[[int], None] = lambda _seen: None
        self._said: dict[str, str] = {}
        self.beside: dict[str, Callable[[Secret, float | None], None]] = {}
        self.synced = asyncio.Event()

    @property
    def ahead(self) -> int:
        """Nothing later than this resourceVersion is in the sink: of a list that has begun a part may be, which `seen` does not count."""
        return int(self._version or 0)

    def _all_seen(self) -> None:
        self.seen = self.ahead
        self.moved(self.seen)

    async def run(self, domain: Callable[[], Domain], pause: Pause = asyncio.sleep) -> None:
        """List, then watch; lists anew when the watch breaks or its version is too old."""
        while True:
            try:
                await self._list_and_watch(domain(), pause)
            except (StoreError, HsmError) as error:
                log.info("the record watch starts anew: %s", error)
            await pause(_RETRY_SECONDS)

    async def _list_and_watch(self, domain: Domain, pause: Pause) -> None:
        await self._list(domain)
        self.synced.set()
        while True:
            # Where the line broke or died nothing is lost: what was missed comes from the version that was seen last.
            try:
                await self._watch(domain)
            except TimeoutError:
                log.info("the record watch was silent for %s s and is opened anew", self._silence)
            except StoreUnavailableError as error:
                if error.status:
                    raise
                log.info("the record watch broke off: %s", error)
                await pause(_RETRY_SECONDS)

    async def _list(self, domain: Domain) -> None:
        began, names, beside = time.monotonic(), set[str](), list[Secret]()
        async for items, version in self._records.pages(self._kinds):
            self._version = version
            slice_end = time.monotonic() + _SLICE_SECONDS
            for secret in items:
                name = secret["metadata"]["name"]
                if name in self.beside:
                    beside.append(secret)
                    continue
                names.add(name)
                self._take(domain, secret)
                if time.monotonic() > slice_end:
                    await asyncio.sleep(0)
                    slice_end = time.monotonic() + _SLICE_SECONDS
        self._sink.keep(names)
        self._said = {name: text for name, text in self._said.items() if name in names}
        for secret in beside:  # not before the list is whole: it says that everything of that moment is known
            self.beside[secret["metadata"]["name"]](secret, began)
        self._all_seen()

    async def _watch(self, domain: Domain) -> None:
        """From the last version that was seen, until the API server ends it. TimeoutError after silence."""
        async with aclosing(self._records.watch(self._kinds, self._version)) as events:
            while True:
                async with asyncio.timeout(self._silence):
                    event = await anext(events, None)
                if event is None:
                    return
                kind, secret = event
                if kind == "ERROR":
                    raise StoreError("the watch's version is too old")
                self._version = secret["metadata"]["resourceVersion"]
                self._hear(domain, kind, secret)
                self._all_seen()

    def _hear(self, domain: Domain, kind: str, secret: Secret) -> None:
        name = secret["metadata"].get("name", "")  # a bookmark has none
        if kind in ("ADDED", "MODIFIED"):
            if name in self.beside:
                self.beside[name](secret, None)
            else:
                self._take(domain, secret)
        elif kind == "DELETED":
            self._said.pop(name, None)
            self._sink.gone(name)

    def _take(self, domain: Domain, secret: Secret) -> None:
        name = secret["metadata"]["name"]
        try:
            self._sink.take(domain, self._parsed(secret))
        except HsmError:
            raise  # nothing is wrong with the record: all are taken in again once the token answers
        except KeysteadError as error:
            if self._said.get(name) != str(error):
                self._said[name] = str(error)
                log.error("%s", error)
        else:
            self._said.pop(name, None)

    def _parsed(self, secret: Secret) -> StoredRecord:
        try:
            return parse_secret(secret)
        except KeysteadError as error:
            self._sink.refuse(secret["metadata"]["name"], error)
            raise
