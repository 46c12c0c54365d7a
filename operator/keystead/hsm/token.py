"""One token, one login: module, session, and what to do when they are away.

Called by domain, vault and ceremony. Log in exactly once per C_Initialize (with a read-only token folder SoftHSM
answers a second login with GENERAL_ERROR); to start again the module is finalised and initialised.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar

import pkcs11

from keystead.errors import HsmAuthError, HsmDataError, HsmSetupError, HsmUnavailableError
from keystead.hsm.faults import Fault, classify
from keystead.hsm.openssl import clear_errors
from keystead.hsm.templates import KeysteadMapper

T = TypeVar("T")
PIN_CHANGED: Final = (
    "the token {!r} refused the PIN of this process, which is not tried again; "
    "hint: put the right PIN into its Secret or file, then restart"
)


@dataclass(frozen=True, slots=True)
class TokenPlace:
    """Which token: the module's file and the token's label. Never a slot number."""

    module: Path
    label: str


def load_module(module: Path) -> pkcs11.lib:
    """The PKCS#11 module, initialised. HsmSetupError where it cannot be loaded."""
    if not module.exists():
        raise HsmSetupError(f"PKCS#11 module {module} does not exist; hint: install it (softhsm2) or set hsm.module")
    try:
        return pkcs11.lib(str(module))
    except (pkcs11.PKCS11Error, RuntimeError, OSError) as error:
        raise HsmSetupError(f"PKCS#11 module {module} cannot be loaded: {_words(error)}") from None


def find_token(lib: pkcs11.lib, label: str) -> pkcs11.Token:
    """The one initialised token of this label. HsmSetupError where there is none, or more than one."""
    try:
        tokens = [token for token in lib.get_tokens() if token.label == label]
    except pkcs11.PKCS11Error as error:
        raise HsmUnavailableError(f"the module cannot list its tokens: {_words(error)}") from None
    if not tokens:
        raise HsmSetupError(
            f"no token is called {label!r}; hint: run `keystead hsm init`, or look at the token folder: "
            "an empty or broken folder looks the same"
        )
    if len(tokens) > 1:
        raise HsmSetupError(f"{len(tokens)} tokens are called {label!r}; hint: keep the right one only")
    return tokens[0]


class TokenSession:
    """An open, logged-in session. Used by the thread that made it and by no other."""

    def __init__(self, place: TokenPlace, pin: str, *, writable: bool = False) -> None:
        self.place = place
        self._pin = pin
        self._writable = writable
        self._thread = threading.get_ident()
        self._refused = False
        self._lib = load_module(place.module)
        self.session = self._login()

    def _login(self) -> pkcs11.Session:
        token = find_token(self._lib, self.place.label)
        try:
            return token.open(rw=self._writable, user_pin=self._pin, attribute_mapper=KeysteadMapper())
        except pkcs11.PKCS11Error as error:
            if classify(error) is Fault.AUTH:
                self._refused = True
                raise HsmAuthError(f"the token {self.place.label!r} refused the PIN ({_words(error)})") from None
            raise HsmUnavailableError(f"the token {self.place.label!r} cannot be opened: {_words(error)}") from None
        finally:
            clear_errors()  # of C_Initialize too: else a TLS read of this thread fails (openssl.py)

    def reopen(self) -> None:
        """Finalise the module, initialise it and log in again: the only cure for a lost session or folder.

        A PIN that was refused (somebody changed it meanwhile) is never tried again: some tokens lock for good.
        """
        self.check_thread()
        if self._refused:
            raise HsmAuthError(PIN_CHANGED.format(self.place.label))
        try:
            self._lib.reinitialize()
        except pkcs11.PKCS11Error as error:
            clear_errors()
            raise HsmUnavailableError(f"the module cannot be initialised again: {_words(error)}") from None
        self.session = self._login()

    def close(self) -> None:
        """End the session; a token that is already away is no error."""
        try:
            self.session.close()
        except pkcs11.PKCS11Error:
            return

    def check_thread(self) -> None:
        """Two threads in python-pkcs11 crash the process (HSM.md A8): refuse before they do."""
        if threading.get_ident() != self._thread:
            raise HsmUnavailableError("the token session belongs to another thread")

    def versions(self) -> dict[str, str]:
        """What `hsm check` prints: library and token, with their versions."""
        token = self.session.token
        return {
            "module": str(self.place.module),
            "library": f"{self._lib.library_description} {_version(self._lib.library_version)}",
            "manufacturer": self._lib.manufacturer_id,
            "cryptoki": _version(self._lib.cryptoki_version),
            "token": f"{token.label} ({token.model}, {token.manufacturer_id})",
        }


def attempt(call: Callable[[], T], known_answer: Callable[[], bool]) -> T:
    """Run a call on data that a caller or a record brought, and tell whose fault an error is (HSM.md A7).

    HsmUnavailableError: session or token state is gone. HsmDataError: the known-answer call right after it passed, so
    the input is at fault and the session, with everybody's cache, stays.
    """
    try:
        return call()
    except pkcs11.PKCS11Error as error:
        clear_errors()
        if classify(error) is not Fault.SESSION and known_answer():
            raise HsmDataError(_words(error)) from None
        raise HsmUnavailableError(f"the token does not work: {_words(error)}") from None


@contextmanager
def translated(doing: str) -> Iterator[None]:
    """Errors of the binding inside become HsmUnavailableError: `doing` says what could not be done."""
    try:
        yield
    except pkcs11.PKCS11Error as error:
        clear_errors()
        raise HsmUnavailableError(f"the token cannot {doing}: {_words(error)}") from None


def _words(error: BaseException) -> str:
    return type(error).__name__ if not str(error) else f"{type(error).__name__}: {error}"


def _version(pair: tuple[int, int]) -> str:
    return f"{pair[0]}.{pair[1]}"
