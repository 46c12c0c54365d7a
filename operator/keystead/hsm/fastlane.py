"""The fast lane: symmetric and HMAC keys, inline, some 10 microseconds a call. Implements `engine.ports.FastLane`."""

from __future__ import annotations

import time
from typing import Final

import pkcs11
from pkcs11 import Mechanism

from keystead.engine.algorithms import MacAlgorithm
from keystead.engine.ports import Material
from keystead.errors import HsmDataError, HsmError, HsmSessionLostError, HsmUnavailableError
from keystead.hsm.domain import TokenDomain
from keystead.hsm.faults import Fault, classify
from keystead.hsm.mechanisms import HMACS
from keystead.hsm.openssl import clear_errors
from keystead.hsm.vault import Vault

_SHA512 = Mechanism.SHA512_HMAC
# Of the answer. The binding makes room for 8,192 bytes where it is not told, which costs an eighth of the call.
_SHA512_LENGTH: Final = 64
# A token that is away is asked again this often, not by every call.
_RETRY_SECONDS: Final = 1.0


class TokenFastLane:
    """Inline calls on this thread's session. After a session fault it reopens the module, at most once a second."""

    def __init__(self, domain: TokenDomain, vault: Vault) -> None:
        self._domain = domain
        self._vault = vault
        self._broken_since: float | None = None

    def derive(self, material: Material, message: bytes) -> bytes:
        """HMAC-SHA-512 of a KDF input under a SYMMETRIC_DEFAULT material."""
        self._domain.token.check_thread()  # before `try`: another thread's mistake is no fault of the session
        if self._broken_since is not None:
            self._recover()
        try:
            return self._vault.handle(material).sign(message, mechanism=_SHA512, buffer_size=_SHA512_LENGTH)  # type: ignore[no-any-return]
        except (pkcs11.PKCS11Error, HsmError) as error:
            raise self._translate(error) from None

    def generate_mac(self, material: Material, algorithm: MacAlgorithm, message: bytes) -> bytes:
        """The MAC of a message under an HMAC key."""
        self._domain.token.check_thread()
        if self._broken_since is not None:
            self._recover()
        try:
            handle = self._vault.handle(material)
            return handle.sign(message, mechanism=HMACS[algorithm])  # type: ignore[no-any-return]
        except (pkcs11.PKCS11Error, HsmError) as error:
            raise self._translate(error) from None

    def verify_mac(self, material: Material, algorithm: MacAlgorithm, message: bytes, mac: bytes) -> bool:
        """Whether this is the MAC of the message. A wrong or short one is False, not an error."""
        self._domain.token.check_thread()
        if self._broken_since is not None:
            self._recover()
        try:
            handle = self._vault.handle(material)
            return bool(handle.verify(message, mac, mechanism=HMACS[algorithm]))
        except (pkcs11.SignatureInvalid, pkcs11.SignatureLenRange):
            return False
        except (pkcs11.PKCS11Error, HsmError) as error:
            raise self._translate(error) from None

    @property
    def away(self) -> bool:
        """Whether the session was lost and is not back yet. Asks the token nothing."""
        return self._broken_since is not None

    def healthy(self) -> bool:
        """One known-answer call; what /readyz asks. Tries to bring a lost session back."""
        try:
            if self._broken_since is not None:
                self._recover()
        except HsmError:
            return False
        if self._domain.known_answer():
            return True
        self._broken_since = time.monotonic() - _RETRY_SECONDS
        return False

    def _translate(self, error: Exception) -> HsmError:
        clear_errors()
        if isinstance(error, HsmDataError):
            return error
        if (
            isinstance(error, pkcs11.PKCS11Error)
            and classify(error) is not Fault.SESSION
            and self._domain.known_answer()
        ):
            return HsmDataError(type(error).__name__)
        self._broken_since = time.monotonic() - _RETRY_SECONDS
        if isinstance(error, HsmError):
            return error
        lost = isinstance(error, pkcs11.PKCS11Error) and classify(error) is Fault.SESSION
        form = HsmSessionLostError if lost else HsmUnavailableError
        return form(f"the token does not work: {type(error).__name__}")

    def _recover(self) -> None:
        now = time.monotonic()
        if self._broken_since is not None and now - self._broken_since < _RETRY_SECONDS:
            raise HsmUnavailableError("the token is away")
        self._broken_since = now
        self._vault.clear()
        self._domain.reopen()
        self._broken_since = None
