"""An open token as the engine of a process: every call is counted. The operator, the server and `keystead dev` work on one."""

from __future__ import annotations

from typing import Final

from keystead.app.counting import SLOW, Called, CountedFastLane, counted
from keystead.engine.ports import Capabilities, FastLane, SlowCall, SlowResult
from keystead.hsm.backend import Hsm
from keystead.resources.vocabulary import KeySpec, Protection


class OpenEngine:
    """Implements `reconciler.ports.Engine` on an open HSM. Every call is counted."""

    def __init__(self, hsm: Hsm, called: Called) -> None:
        self.hsm = hsm
        self._called = called
        self.domain: Final = hsm.domain
        self.fast: Final[FastLane] = CountedFastLane(hsm.fast, called)
        self.capabilities: Final[Capabilities] = hsm.capabilities

    async def protection(self, spec: KeySpec) -> Protection | None:
        """What the store can do with a spec."""
        return await self.hsm.protection(spec)

    async def slow(self, call: SlowCall) -> SlowResult:
        """Run a slow call."""
        with counted(self._called, SLOW[type(call)]):
            return await self.hsm.slow_async(call)

    def forget(self, key_id: bytes) -> None:
        """Drop what is in memory of a key's material."""
        self.hsm.forget(key_id)
