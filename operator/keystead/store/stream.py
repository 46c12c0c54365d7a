"""The server's one stream: all sealed records by list and watch into the read model, and the heartbeat that proves that it flows.

One a worker; started by app/server. The Secret `heartbeat` is made by the chart; `update` on it is all that the server may write beside
the records. What may never enter: a write of a record.
"""

from __future__ import annotations

import asyncio
import base64
import logging
import random
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final

from keystead.engine.ports import Domain
from keystead.errors import NotFoundError, StoreError, StoreUnavailableError
from keystead.store.kube import Kube
from keystead.store.model import SERVED, RecordModel
from keystead.store.pulse import Pulse, State
from keystead.store.readmodel import RecordWatch
from keystead.store.records import KubeRecords

log = logging.getLogger(__name__)
HEARTBEAT: Final = "heartbeat"
# A heartbeat comes every second: a watch without one for so long is opened anew, before anybody is refused.
_SILENCE_SECONDS: Final = 2.0
_WRITE_SECONDS: Final = 1.5
_TICK_SECONDS: Final = 0.05


class Stream:
    """Keeps a model. `max_stale`: seconds to serve on without the API server. `identity`: which worker this is."""

    def __init__(
        self,
        kube: Kube,
        namespace: str,
        model: RecordModel,
        *,
        max_stale: float = 60.0,
        identity: str = "",
        monotonic: Callable[[], float] = time.monotonic,
        spread: Callable[[], float] = random.random,
    ) -> None:
        self._kube = kube
        self._path = f"/api/v1/namespaces/{namespace}/secrets/{HEARTBEAT}"
        self._monotonic = monotonic
        self._spread = spread
        self._identity = identity
        self._secret: dict[str, Any] | None = None
        self._beats = 0
        self._said = ""
        self._state: State | None = None
        self.pulse = Pulse(max_stale)
        self.watch = RecordWatch(KubeRecords(kube, namespace), model, (*SERVED, HEARTBEAT), silence=_SILENCE_SECONDS)
        self.watch.beside[HEARTBEAT] = self._seen

    def state(self, now: float) -> State:
        """How far behind the model may be, at this moment of the monotonic clock."""
        return self.pulse.state(now)

    @property
    def missing(self) -> str | None:
        """What readiness lacks."""
        if not self.watch.synced.is_set():
            return "records: not listed yet"
        state = self.state(self._monotonic())
        return None if state.serves else f"records: the stream is {state.value}"

    async def run(self, domain: Callable[[], Domain], pause: Callable[[float], Awaitable[None]] = asyncio.sleep) -> None:
        """For ever."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self.watch.run(domain, pause))
            group.create_task(self._beat(pause))

    def _seen(self, secret: dict[str, Any], listed: float | None) -> None:
        self._secret = secret
        now, version = self._monotonic(), int(secret["metadata"]["resourceVersion"])
        if listed is None:
            self.pulse.saw(now, version, self._spread())
        else:
            self.pulse.listed(listed, now, version, self._spread())

    async def _beat(self, pause: Callable[[float], Awaitable[None]]) -> None:
        while True:
            now = self._monotonic()
            self._tell(now)
            if self.watch.synced.is_set() and self.pulse.due(now):
                await self._write(now)
            await pause(_TICK_SECONDS)

    async def _write(self, started: float) -> None:
        try:
            async with asyncio.timeout(_WRITE_SECONDS):
                answer = await self._kube.request("PUT", self._path, body=self._body())
            version = int(answer["metadata"]["resourceVersion"])
        except (StoreUnavailableError, TimeoutError):
            self.pulse.failed(self._monotonic(), self._spread())
        except StoreError as error:
            self._say(f"the heartbeat cannot be written: {error}; hint: `helm upgrade` makes the Secret and the right to it")
            self.pulse.wrote(started, None, self._spread())
        else:
            self._said = ""
            self.pulse.wrote(started, version, self._spread())

    def _body(self) -> dict[str, Any]:
        """The Secret as it was seen, with new data. Unconditional: this very write must come back through the stream."""
        if self._secret is None:
            raise NotFoundError(f"there is no Secret {HEARTBEAT}")
        self._beats += 1
        seen = self._secret["metadata"]
        kept = {member: seen[member] for member in ("labels", "annotations") if member in seen}
        beat = base64.b64encode(f"{self._identity} {self._beats}".encode()).decode()
        return {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": HEARTBEAT, **kept},
            "type": "kms.keystead.io/heartbeat",
            "data": {"beat": beat},
        }

    def _say(self, text: str) -> None:
        if text != self._said:
            self._said = text
            log.error("%s", text)

    def _tell(self, now: float) -> None:
        state = self.state(now)
        if state is not self._state:
            level = logging.INFO if state is State.FRESH or self._state is None else logging.WARNING
            log.log(level, "the stream of records is %s; last sign of life %.1f s ago", state.value, self.pulse.age(now))
            self._state = state
