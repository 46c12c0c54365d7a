"""The one map from the API's error codes to HTTP, and the body of an error. Called by the door, for every KmsError.

TABLE is total over the subclasses of KmsError and over the exceptions of the model (tests). What may never enter: an exception's
notes and causes; the answer has its public message only.
"""

from __future__ import annotations

from typing import Final

import msgspec

from keystead.errors import KmsError


class SerializationError(KmsError):
    """A body that is not the JSON of its operation's request. The message shows no value of it."""

    code = "SerializationException"


# Codes that are in no model: those of the protocol and of the signature (AWS.md, Authentication errors).
COMMON: Final = frozenset(
    {
        "AccessDeniedException",
        "ExpiredTokenException",
        "IncompleteSignatureException",
        "InvalidSignatureException",
        "MissingAuthenticationTokenException",
        "NotAuthorizedException",
        "SerializationException",
        "ThrottlingException",
        "UnknownOperationException",
        "UnrecognizedClientException",
        "ValidationException",
    }
)

# Every other code is 400. SDKs retry 500 and 503 whatever the name (AWS.md, Who retries what).
FAULTS: Final = {"KMSInternalException": 500, "KeyUnavailableException": 500, "DependencyTimeoutException": 503}

# The exceptions of the model that an operation of ours answers with, now or once it can.
ERRORS: Final = frozenset(
    {
        "AlreadyExistsException",
        "ConflictException",
        "DisabledException",
        "DryRunOperationException",
        "IncorrectKeyException",
        "InvalidArnException",
        "InvalidCiphertextException",
        "InvalidGrantIdException",
        "InvalidGrantTokenException",
        "InvalidKeyUsageException",
        "InvalidMarkerException",
        "KMSInvalidMacException",
        "KMSInvalidSignatureException",
        "KMSInvalidStateException",
        "LimitExceededException",
        "MalformedPolicyDocumentException",
        "NotFoundException",
        "TagException",
        "UnsupportedOperationException",
    }
)

TABLE: Final[dict[str, int]] = dict.fromkeys(sorted(COMMON | ERRORS), 400) | FAULTS
"""Error code -> HTTP status."""


def status_of(error: KmsError) -> int:
    """The HTTP status. A code without a row (a test forbids it) is the service's fault: 500."""
    return TABLE.get(error.code, 500)


def error_body(error: KmsError) -> bytes:
    """The body: code and public message."""
    return msgspec.json.encode({"__type": error.code, "message": error.message})
