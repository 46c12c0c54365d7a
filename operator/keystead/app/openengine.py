"""An open token as the engine of a process: every call is counted. The operator, the server and `keystead dev` work on one."""

from __future__ import annotations

from keystead.app.counting import SLOW, Called, CountedFastLane, counted
from keystead.engine.ports import Capabilities, FastLane, SlowCall, SlowResult
from keystead.hsm.backend import Hsm
from keystead.hsm.domain import TokenDomain
from keystead.resources.vocabulary import KeySpec, Protection


class OpenEngine:
    """Implements `reconciler.ports.Engine` on an open HSM. Every call is counted."""

    def __init__(self, hsm: Hsm, called: Called) -> None:
        self.hsm = hsm
        self._called = called
        self._fast = CountedFastLane(hsm.fast, called)

    @property
    def domain(self) -> TokenDomain:
        """The domain."""
        return self.hsm.domain

    @property
    def fast(self) -> FastLane:
        """The fast lane."""
        return self._fast

    @property
    def capabilities(self) -> Capabilities:
        """What the store can do with each spec, as far as it was probed."""
        return self.hsm.capabilities

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
