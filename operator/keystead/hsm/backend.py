"""One opened HSM: what `app` hands to everything above. Domain, fast lane, slow lanes and capabilities of one token."""

from __future__ import annotations

import asyncio
import contextlib
import os
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass

from keystead.engine.ports import SlowCall, SlowResult
from keystead.errors import HsmAuthError, HsmUnavailableError, HsmUnsupportedError
from keystead.hsm.capabilities import TokenCapabilities
from keystead.hsm.domain import TokenDomain
from keystead.hsm.executor import Executor, is_quick, make_executor
from keystead.hsm.fastlane import TokenFastLane
from keystead.hsm.lanes import SlowLanes
from keystead.hsm.pin import PinMarker, read_pin
from keystead.hsm.token import TokenPlace, TokenSession, translated
from keystead.hsm.vault import Vault
from keystead.resources.vocabulary import KeySpec, Protection
from keystead.settings import HsmSettings


@dataclass(frozen=True, slots=True, weakref_slot=True, eq=False)
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

    async def protection(self, spec: KeySpec) -> Protection | None:
        """`capabilities.protection`, with a probe that it needs run in a slow lane."""
        call = self.capabilities.unknown(spec)
        if call is not None:
            try:
                await self.slow_async(call)
            except HsmUnsupportedError:
                self.capabilities.learn(call, holds=False)
            else:
                self.capabilities.learn(call, holds=True)
        return self.capabilities.protection(spec)

    def forget(self, key_id: bytes) -> None:
        """Destroy the session objects of a key, here and in the lanes. One that cannot be destroyed goes with the session."""
        self.lanes.renew()
        with contextlib.suppress(HsmUnavailableError):
            self.vault.forget_key(key_id)

    def sessions(self) -> int:
        """Logins that this process and its lanes hold now."""
        return (0 if self.fast.away else 1) + self.lanes.sessions()

    def close(self) -> None:
        """End lanes and session."""
        self.lanes.close()
        self.domain.token.close()


def _result(future: Future[SlowResult]) -> SlowResult:
    try:
        return future.result()
    except BrokenProcessPool:
        raise HsmUnavailableError("the slow lane died") from None


def open_token(settings: HsmSettings, marker: PinMarker, *, writable: bool = False) -> TokenSession:
    """Log in once. HsmAuthError: a marker forbids it, or the PIN is refused and the marker set."""
    if reason := marker.refused():
        raise HsmAuthError(reason)
    pin = read_pin(settings.pin_file)
    try:
        return TokenSession(TokenPlace(settings.module, settings.token_label), pin, writable=writable)
    except HsmAuthError:
        marker.refuse()
        raise


def open_hsm(settings: HsmSettings, marker: PinMarker, expected_fingerprint: str | None = None) -> Hsm:
    """Log in once and open the domain. Errors of `open_token`; HsmSetupError: no domain, half of one, another."""
    token = open_token(settings, marker)
    with translated("open its domain"):
        domain = TokenDomain(token, expected_fingerprint)
    return wire(settings, domain)


def wire(settings: HsmSettings, domain: TokenDomain) -> Hsm:
    """The ports of a domain that is open already."""
    vault = Vault(domain)
    executor = make_executor(domain, vault, os.urandom)
    return Hsm(
        domain=domain,
        fast=TokenFastLane(domain, vault),
        vault=vault,
        executor=executor,
        lanes=SlowLanes(domain.token.place, read_pin(settings.pin_file), domain.fingerprint, settings.slow_lanes),
        capabilities=TokenCapabilities(settings, domain, executor),
    )
