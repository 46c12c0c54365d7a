"""The one error tree. Every layer may import it; nothing here imports anything of ours.

What it is: the errors that Keystead raises on purpose. Messages are written for the person who must act and never carry
a plaintext, a PIN, key material, a blob or a token.

    KeysteadError
    ├── InvalidSpecError            a custom resource or a setting says something impossible (names the field)
    ├── FormatError                 bytes that we read do not have the layout that they must have
    │   ├── BlobError               a ciphertext blob
    │   ├── RecordFormatError       a record's members
    │   └── BackupError             a domain backup or recovery key
    ├── RecordIntegrityError        a record is there but must not be believed (seal, digest, sequence, missing)
    ├── HsmError                    the token
    │   ├── HsmUnavailableError     module, token or session is away: retry later
    │   │   └── HsmSessionLostError the session broke in a call; it is opened anew at once
    │   ├── HsmAuthError            the PIN was refused, or a marker says that it was: no retry
    │   ├── HsmSetupError           the token is not one that we can use (empty, twice, other domain)
    │   ├── HsmDataError            the token refused this input; the token itself is well (HSM.md A7)
    │   └── HsmUnsupportedError     the token cannot do this key spec
    ├── StoreError                  the API server or database
    │   ├── NotFoundError
    │   ├── ConflictError           somebody else wrote first (409)
    │   ├── ForbiddenError          a right is missing (403)
    │   ├── RefusedError            the content was refused (422)
    │   ├── ForeignOwnerError       a field belongs to another field manager (names it)
    │   └── StoreUnavailableError   retry later
    ├── IdentityTokenError          a web identity token that nobody vouches for
    │   └── IdentityTokenExpiredError
    ├── FencedError                 a newer leader has written: this process must stop writing
    └── KmsError                    an answer of the KMS API, by AWS's name (see below)
"""

from __future__ import annotations


class KeysteadError(Exception):
    """Base of all errors that Keystead raises on purpose."""


class InvalidSpecError(KeysteadError):
    """A field of a resource or setting cannot be accepted. `field` is its dotted path, `message` says the fix."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(f"{field}: {message}")
        self.field = field
        self.message = message

    def __reduce__(self) -> tuple[type[InvalidSpecError], tuple[str, str]]:
        """It is told by a worker process, too."""
        return type(self), (self.field, self.message)


class FormatError(KeysteadError):
    """Bytes without the layout that they must have."""


class BlobError(FormatError):
    """A ciphertext blob that cannot be read. Callers map every one of these to one public error."""


class RecordFormatError(FormatError):
    """A record with unknown, missing, duplicate or misshapen members."""


class BackupError(FormatError):
    """A domain backup or a recovery key that cannot be used."""


class RecordIntegrityError(KeysteadError):
    """A record that must not be believed, or that must exist and does not. Nothing may be generated in its place."""


class HsmError(KeysteadError):
    """Something about the token."""


class HsmUnavailableError(HsmError):
    """Module, token or session is away. The work is tried again later."""


class HsmSessionLostError(HsmUnavailableError):
    """The session broke in a call: the next one opens it anew."""


class HsmAuthError(HsmError):
    """The token refused the PIN, or a marker says so. Never tried again with the same PIN."""


class HsmSetupError(HsmError):
    """The token is reachable but is not the one we need."""


class HsmDataError(HsmError):
    """The token refused this input, and a known-answer call right after it passed: the input is at fault."""


class HsmUnsupportedError(HsmError):
    """This token cannot generate, wrap and unwrap this key spec."""


class StoreError(KeysteadError):
    """Something about the API server or the database."""


class NotFoundError(StoreError):
    """The object does not exist."""


class ConflictError(StoreError):
    """Another writer was first (create of an existing name, stale resourceVersion, a field owned by another manager)."""


class ForbiddenError(StoreError):
    """The API server says that we lack a right."""


class RefusedError(StoreError):
    """The API server refused the content."""


class ForeignOwnerError(StoreError):
    """A field of an object belongs to another field manager, which the message names: nothing was written."""


class StoreUnavailableError(StoreError):
    """The API server is away or overloaded. The work is tried again later. `status`: what it answered; 0: nothing."""

    status = 0


class FencedError(KeysteadError):
    """A record carries a newer leader's transition number: this process lost the lead and must not write."""


class IdentityTokenError(KeysteadError):
    """A web identity token that is none: bad signature, audience, issuer or form, or its ServiceAccount or Pod has gone."""


class IdentityTokenExpiredError(IdentityTokenError):
    """It was a web identity token; its time is over."""


class KmsError(KeysteadError):
    """An answer of the KMS API. `code` is AWS's exception name; the message is AWS's public text."""

    code = "KMSInternalException"

    def __init__(self, message: str = "") -> None:
        super().__init__(message)
        self.message = message


class AccessDeniedError(KmsError):
    """The caller may not, or must not learn whether it may."""

    code = "AccessDeniedException"


class NotFoundException(KmsError):
    """No such key, alias or grant for this caller."""

    code = "NotFoundException"


class InvalidCiphertextError(KmsError):
    """Every failure of a blob after authorisation, without a distinction."""

    code = "InvalidCiphertextException"


class IncorrectKeyError(KmsError):
    """The KeyId given is not the key of the blob."""

    code = "IncorrectKeyException"


class InvalidKeyUsageError(KmsError):
    """The key's usage or spec does not fit the operation or algorithm."""

    code = "InvalidKeyUsageException"


class InvalidStateError(KmsError):
    """The key's state refuses the operation."""

    code = "KMSInvalidStateException"


class DisabledError(KmsError):
    """The key is disabled or held."""

    code = "DisabledException"


class InvalidSignatureError(KmsError):
    """Verify with a signature that is not the key's."""

    code = "KMSInvalidSignatureException"


class InvalidMacError(KmsError):
    """VerifyMac with a MAC that is not the key's."""

    code = "KMSInvalidMacException"


class ValidationError(KmsError):
    """A parameter is out of bounds or of the wrong form."""

    code = "ValidationException"


class UnsupportedOperationError(KmsError):
    """This key, or this version, cannot do it."""

    code = "UnsupportedOperationException"


class KmsInternalError(KmsError):
    """The token or the store failed. SDKs retry it (HTTP 500)."""

    code = "KMSInternalException"


class AuditUnavailableError(KmsInternalError):
    """No audit record can be kept now, and what is not recorded is not answered. SDKs retry it (HTTP 500)."""

    def __init__(self, message: str = "The request cannot be recorded now. Try it again.") -> None:
        super().__init__(message)


class ThrottlingError(KmsError):
    """Too many calls at once. SDKs retry it. The words are AWS's, the same whatever was exceeded."""

    code = "ThrottlingException"

    def __init__(
        self, message: str = "You have exceeded the rate at which you may call KMS. Reduce the frequency of your calls."
    ) -> None:
        super().__init__(message)


class DependencyTimeoutError(KmsError):
    """A change was written, and its effect did not show in time. SDKs retry it (HTTP 503), and the retry finds it."""

    code = "DependencyTimeoutException"


class AlreadyExistsError(KmsError):
    """The alias exists."""

    code = "AlreadyExistsException"


class LimitExceededError(KmsError):
    """A bound of the service is reached."""

    code = "LimitExceededException"


class TagError(KmsError):
    """Tags that cannot be."""

    code = "TagException"


class InvalidArnError(KmsError):
    """An ARN that names nothing that the operation could use."""

    code = "InvalidArnException"


class InvalidGrantIdError(KmsError):
    """No such grant of this key."""

    code = "InvalidGrantIdException"


class InvalidGrantTokenError(KmsError):
    """A grant token that is none of ours, or whose grant is gone."""

    code = "InvalidGrantTokenException"


class InvalidMarkerError(KmsError):
    """A Marker that no list answered with."""

    code = "InvalidMarkerException"


class MalformedPolicyDocumentError(KmsError):
    """A key policy that cannot be read or that would lock everybody out. `place`: like `Statement[2].Effect`, "" for the whole of it."""

    code = "MalformedPolicyDocumentException"
    place = ""


class ConflictingRotationError(KmsError):
    """A rotation is under way or asked for already."""

    code = "ConflictException"


class MissingAuthenticationTokenError(KmsError):
    """A request without credentials."""

    code = "MissingAuthenticationTokenException"


class IncompleteSignatureError(KmsError):
    """An Authorization header, or what belongs to it, that cannot be read."""

    code = "IncompleteSignatureException"


class UnrecognizedClientError(KmsError):
    """An access key or a session token that is none of ours."""

    code = "UnrecognizedClientException"


class ExpiredTokenError(KmsError):
    """Temporary credentials whose time is over."""

    code = "ExpiredTokenException"


class InvalidRequestSignatureError(KmsError):
    """The request's signature, its scope or its time. Not InvalidSignatureError: that is a message's, in Verify."""

    code = "InvalidSignatureException"
