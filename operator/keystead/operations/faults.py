"""The one map from our errors to the answers of the API, and the wrapper that applies it to every operation.

Details never leave: the public message is bland, the cause stays on the exception for the log (`raise ... from`). One
error for every failure of a blob after authorisation is here too: BlobError has one row.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Final, TypeVar

from keystead.errors import (
    BlobError,
    FencedError,
    FormatError,
    HsmDataError,
    HsmError,
    HsmUnsupportedError,
    InvalidCiphertextError,
    InvalidSpecError,
    KeysteadError,
    KmsError,
    KmsInternalError,
    RecordIntegrityError,
    StoreError,
    UnsupportedOperationError,
)
from keystead.operations.effects import Running
from keystead.operations.world import World
from keystead.policy import Caller

Request = TypeVar("Request")
Response = TypeVar("Response")
Operation = Callable[[World, Caller, Request], Running[Response]]

_INTERNAL: Final = "The request failed because of an internal error. Try it again."

FAULTS: Final[dict[type[KeysteadError], Callable[[], KmsError]]] = {
    BlobError: InvalidCiphertextError,
    # The record's material: where caller data is at fault, the operation has said so before (DecryptRsa).
    HsmDataError: lambda: KmsInternalError(_INTERNAL),
    HsmUnsupportedError: lambda: UnsupportedOperationError("The key store of this key cannot do this operation."),
    HsmError: lambda: KmsInternalError(_INTERNAL),
    StoreError: lambda: KmsInternalError(_INTERNAL),
    FormatError: lambda: KmsInternalError(_INTERNAL),
    RecordIntegrityError: lambda: KmsInternalError(_INTERNAL),
    InvalidSpecError: lambda: KmsInternalError(_INTERNAL),
    FencedError: lambda: KmsInternalError(_INTERNAL),
}


def public_error(error: KeysteadError) -> KmsError:
    """The API's answer for an error of ours: the row of its nearest class. A KmsError is its own answer."""
    if isinstance(error, KmsError):
        return error
    for kind in type(error).__mro__:
        make = FAULTS.get(kind)
        if make is not None:
            return make()
    return KmsInternalError(_INTERNAL)


def operation(function: Operation[Request, Response]) -> Operation[Request, Response]:
    """An operation whose only errors are KmsErrors."""

    @wraps(function)
    def guarded(world: World, caller: Caller, request: Request) -> Running[Response]:
        try:
            return (yield from function(world, caller, request))
        except KmsError:
            raise
        except KeysteadError as error:
            raise public_error(error) from error

    return guarded
