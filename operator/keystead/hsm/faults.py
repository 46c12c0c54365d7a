"""The PKCS#11 fault TABLE: what a CKR means for us (HSM.md A7).

    AUTH         the PIN: one attempt, then a marker; never again with this PIN
    SESSION      session, module or token state is gone: reinitialise
    INPUT        may be the caller's data or a record: a known-answer call right after decides (vault.known_answer)
    SETUP        the token is not one we can use

A CKR that is not in the table is INPUT: the known-answer call decides, so nothing unknown flushes everybody's cache.
"""

from __future__ import annotations

from enum import StrEnum

import pkcs11


class Fault(StrEnum):
    """Classes of PKCS#11 errors."""

    AUTH = "AUTH"
    SESSION = "SESSION"
    INPUT = "INPUT"
    SETUP = "SETUP"


FAULTS: dict[type[Exception], Fault] = {
    pkcs11.PinIncorrect: Fault.AUTH,
    pkcs11.PinInvalid: Fault.AUTH,
    pkcs11.PinLenRange: Fault.AUTH,
    pkcs11.PinLocked: Fault.AUTH,
    pkcs11.PinExpired: Fault.AUTH,
    pkcs11.UserPinNotInitialized: Fault.SETUP,
    pkcs11.NoSuchToken: Fault.SETUP,
    pkcs11.MultipleTokensReturned: Fault.SETUP,
    pkcs11.MultipleObjectsReturned: Fault.SETUP,
    pkcs11.TokenNotRecognised: Fault.SETUP,
    pkcs11.SessionClosed: Fault.SESSION,
    pkcs11.SessionCount: Fault.SESSION,
    pkcs11.SessionHandleInvalid: Fault.SESSION,
    pkcs11.KeyHandleInvalid: Fault.SESSION,
    pkcs11.ObjectHandleInvalid: Fault.SESSION,
    pkcs11.WrappingKeyHandleInvalid: Fault.SESSION,
    pkcs11.UnwrappingKeyHandleInvalid: Fault.SESSION,
    pkcs11.UserNotLoggedIn: Fault.SESSION,
    pkcs11.UserAlreadyLoggedIn: Fault.SESSION,
    pkcs11.OperationActive: Fault.SESSION,
    pkcs11.TokenNotPresent: Fault.SESSION,
    pkcs11.DeviceRemoved: Fault.SESSION,
    pkcs11.DeviceMemory: Fault.SESSION,
    pkcs11.HostMemory: Fault.SESSION,
    pkcs11.NoSuchKey: Fault.SESSION,
}


def classify(error: Exception) -> Fault:
    """The class of an error that the binding raised."""
    return FAULTS.get(type(error), Fault.INPUT)
