"""One opened HSM: what `app` hands to everything above. Domain, fast lane, slow lanes and capabilities of one token."""

from __future__ import annotations

import asyncio
import os
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass

from keystead.engine.ports import SlowCall, SlowResult
from keystead.errors import HsmAuthError, HsmUnavailableError
from keystead.hsm.capabilities import TokenCapabilities
from keystead.hsm.domain import TokenDomain
from keystead.hsm.executor import Executor, is_quick, make_executor
from keystead.hsm.fastlane import TokenFastLane
from keystead.hsm.lanes import SlowLanes
from keystead.hsm.pin import PinMarker, read_pin
from keystead.hsm.token import TokenPlace, TokenSession
from keystead.hsm.vault import Vault
from keystead.settings import HsmSettings


@dataclass(frozen=True, slots=True)
class Hsm:
    """The ports, wired. Belongs to the thread that opened it."""

    domain: TokenDomain
    fast: TokenFastLane
    vault: Vault
    executor: Executor
    lanes: SlowLanes
    capabilities: TokenCapabilities

    def slow(self, call: SlowCall) -> SlowResult:
        """Run a slow call and wait for it (CLI, tests)."""
        if is_quick(call):
            return self.executor.run(call)
        return _result(self.lanes.submit(call))

    async def slow_async(self, call: SlowCall) -> SlowResult:
        """Run a slow call without holding the event loop."""
        if is_quick(call):
            return self.executor.run(call)
        try:
            return await asyncio.wrap_future(self.lanes.submit(call))
        except BrokenProcessPool:
            raise HsmUnavailableError("the slow lane died") from None

    def close(self) -> None:
        """End lanes and session."""
        self.lanes.close()
        self.domain.token.close()


def _result(future: Future[SlowResult]) -> SlowResult:
    try:
        return future.result()
    except BrokenProcessPool:
        raise HsmUnavailableError("the slow lane died") from None


def open_hsm(settings: HsmSettings, marker: PinMarker, expected_fingerprint: str | None = None) -> Hsm:
    """Log in once and open the domain. HsmAuthError where a marker forbids it or the PIN is refused; then the marker is set."""
    if reason := marker.refused():
        raise HsmAuthError(reason)
    pin = read_pin(settings.pin_file)
    place = TokenPlace(settings.module, settings.token_label)
    try:
        token = TokenSession(place, pin)
    except HsmAuthError:
        marker.refuse()
        raise
    domain = TokenDomain(token, expected_fingerprint)
    vault = Vault(domain)
    executor = make_executor(domain, vault, os.urandom)
    lanes = SlowLanes(place, pin, domain.fingerprint, settings.slow_lanes)
    return Hsm(
        domain=domain,
        fast=TokenFastLane(domain, vault),
        vault=vault,
        executor=executor,
        lanes=lanes,
        capabilities=TokenCapabilities(settings, domain, executor),
    )
