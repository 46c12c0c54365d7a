"""Runs a `SlowCall`: in a slow-lane process, or inline for the few that are fast (new secrets)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from keystead.engine.imported import spki_of
from keystead.engine.keyspec import row
from keystead.engine.ports import (
    Agree,
    DecryptRsa,
    Generate,
    Import,
    MakePair,
    NewPair,
    SignDigest,
    SlowCall,
    SlowResult,
)
from keystead.errors import HsmUnsupportedError
from keystead.hsm.domain import TokenDomain
from keystead.hsm.generate import TokenGenerator
from keystead.hsm.private import TokenPrivateKeys
from keystead.hsm.software import SoftwareKeys, new_private_key, pkcs8
from keystead.hsm.vault import Vault
from keystead.resources.vocabulary import KeySpec, Protection


@dataclass(frozen=True, slots=True)
class Executor:
    """One per session."""

    generator: TokenGenerator
    private: TokenPrivateKeys
    software: SoftwareKeys
    random: Callable[[int], bytes]

    def run(self, call: SlowCall) -> SlowResult:
        """The result of a call. HsmDataError, HsmUnsupportedError or HsmUnavailableError as the call's page says."""
        self.generator.domain.token.check_thread()
        match call:
            case Generate() | Import():
                maker = self.software if call.protection is Protection.SOFTWARE else self.generator
                return maker.generate(call, self.random(32))
            case MakePair():
                key = new_private_key(KeySpec(call.spec.value))
                return NewPair(pkcs8(key), spki_of(key))
            case SignDigest():
                return self._keys(call.material.protection).sign(call)
            case DecryptRsa():
                return self._keys(call.material.protection).decrypt(call)
            case Agree():
                return self._keys(call.material.protection).agree(call)
        raise HsmUnsupportedError(f"{type(call).__name__} is not a call")

    def _keys(self, protection: Protection) -> TokenPrivateKeys | SoftwareKeys:
        return self.software if protection is Protection.SOFTWARE else self.private


def make_executor(domain: TokenDomain, vault: Vault, random: Callable[[int], bytes]) -> Executor:
    """An executor on a session's domain and vault."""
    private = TokenPrivateKeys(domain, vault)
    return Executor(TokenGenerator(domain, vault, private), private, SoftwareKeys(domain), random)


def is_quick(call: SlowCall) -> bool:
    """New secrets take 0.3 ms: not worth a trip to another process."""
    return isinstance(call, (Generate, Import)) and row(call.spec).secret_length > 0
