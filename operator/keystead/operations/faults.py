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
    ConflictError,
    FencedError,
    ForeignOwnerError,
    FormatError,
    HsmDataError,
    HsmError,
    HsmUnsupportedError,
    IdentityTokenError,
    InvalidCiphertextError,
    InvalidSpecError,
    InvalidStateError,
    KeysteadError,
    KmsError,
    KmsInternalError,
    RecordIntegrityError,
    RefusedError,
    StoreError,
    ThrottlingError,
    UnsupportedOperationError,
    ValidationError,
)
from keystead.operations.effects import Running
from keystead.operations.world import World
from keystead.policy import Caller

Given = TypeVar("Given", bound=World)
Request = TypeVar("Request")
Response = TypeVar("Response")
Operation = Callable[[Given, Caller, Request], Running[Response]]

_INTERNAL: Final = "The request failed because of an internal error. Try it again."


def _internal(_: KeysteadError) -> KmsError:
    return KmsInternalError(_INTERNAL)


FAULTS: Final[dict[type[KeysteadError], Callable[[KeysteadError], KmsError]]] = {
    BlobError: lambda _: InvalidCiphertextError(),
    # The record's material: where caller data is at fault, the operation has said so before (DecryptRsa).
    HsmDataError: _internal,
    HsmUnsupportedError: lambda _: UnsupportedOperationError("The key store of this key cannot do this operation."),
    HsmError: _internal,
    # A field is kept by somebody else, whom the text names: who asks for a change must learn where to make it (RESOURCES, API calls).
    ForeignOwnerError: lambda error: InvalidStateError(str(error)),
    # The writer has tried three times (AWS.md, Read your writes); SDKs try again.
    ConflictError: lambda _: ThrottlingError("Somebody else is changing the same object. Try the call again."),
    # A rule of the cluster's own: ours are checked before a write.
    RefusedError: lambda _: ValidationError("The cluster refused this change. Its administrators can tell the reason."),
    StoreError: _internal,
    FormatError: _internal,
    RecordIntegrityError: _internal,
    InvalidSpecError: _internal,
    FencedError: _internal,
    # The server's own affair: no operation meets one.
    IdentityTokenError: _internal,
}


def public_error(error: KeysteadError) -> KmsError:
    """The API's answer for an error of ours: the row of its nearest class. A KmsError is its own answer."""
    if isinstance(error, KmsError):
        return error
    for kind in type(error).__mro__:
        make = FAULTS.get(kind)
        if make is not None:
            return make(error)
    return _internal(error)


def operation(function: Operation[Given, Request, Response]) -> Operation[Given, Request, Response]:
    """An operation whose only errors are KmsErrors."""

    @wraps(function)
    def guarded(world: Given, caller: Caller, request: Request) -> Running[Response]:
        try:
            return (yield from function(world, caller, request))
        except KmsError:
            raise
        except KeysteadError as error:
            raise public_error(error) from error

    return guarded
