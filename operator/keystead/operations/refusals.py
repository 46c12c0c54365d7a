"""The public texts of refusals (AWS.md, Refusals; KMS.md, Behaviours). They tell an outsider nothing."""

from __future__ import annotations

from typing import Final

from keystead.engine.identifiers import alias_arn, key_arn
from keystead.errors import (
    AccessDeniedError,
    ConflictingRotationError,
    IncorrectKeyError,
    InvalidGrantTokenError,
    InvalidKeyUsageError,
    InvalidStateError,
    KmsError,
    LimitExceededError,
    NotFoundException,
    UnsupportedOperationError,
    ValidationError,
)
from keystead.policy import Action, Caller
from keystead.resources.vocabulary import KeySpec, KeyUsage

_BLOB: Final = (
    "The ciphertext refers to a customer master key that does not exist, does not exist in this region, or you are not "
    "allowed to access."
)
_FOREIGN: Final = (
    "the resource does not exist in this Region, no resource-based policies allow access, or a resource-based policy "
    "explicitly denies access"
)


class DryRunError(KmsError):
    """Everything was checked and nothing done, as asked."""

    code = "DryRunOperationException"


def dry_run() -> DryRunError:
    """The answer of a DryRun that would have succeeded."""
    return DryRunError("The request would have succeeded, but the DryRun option is set.")


def unknown_key(region: str, account: str, key_id: str) -> KmsError:
    """A well-formed id of the caller's own account that no key has."""
    return NotFoundException(f"Key '{key_arn(region, account, key_id)}' does not exist")


def unknown_alias(region: str, account: str, name: str) -> KmsError:
    """An alias of the caller's own account that does not exist."""
    return NotFoundException(f"Alias {alias_arn(region, account, name)} is not found.")


def malformed_key_id(text: str) -> KmsError:
    """Neither id, nor alias, nor ARN."""
    return NotFoundException(f"Invalid keyId '{text}'")


def other_region(region: str) -> KmsError:
    """An ARN of another region."""
    return NotFoundException(f"Invalid arn {region}")


def foreign(caller: Caller, action: Action) -> KmsError:
    """A key of another account, or of a namespace that is gone: the same whether or not it exists."""
    return AccessDeniedError(
        f"User: {caller.arn} is not authorized to perform: kms:{action.value} on this resource because {_FOREIGN}"
    )


def denied(caller: Caller, action: Action, arn: str, *, explicit: bool = False) -> KmsError:
    """A key of the caller's own account. `explicit`: a Deny statement of its policy says so."""
    why = (
        "with an explicit deny in a resource-based policy"
        if explicit
        else f"because no resource-based policy allows the kms:{action.value} action"
    )
    return AccessDeniedError(
        f"User: {caller.arn} is not authorized to perform: kms:{action.value} on resource: {arn} {why}"
    )


def keyless(caller: Caller, action: Action) -> KmsError:
    """An action that needs no key."""
    return AccessDeniedError(f"User: {caller.arn} is not authorized to perform: kms:{action.value}")


def blob_key() -> KmsError:
    """The key that a blob names: unknown, foreign or denied, without a distinction."""
    return AccessDeniedError(_BLOB)


def incorrect_key() -> KmsError:
    """The KeyId given is not the key that made the blob."""
    return IncorrectKeyError("The key ID in the request does not identify a CMK that can perform this operation.")


def grant_token() -> KmsError:
    """A grant token that is none of ours, or whose grant is gone."""
    return InvalidGrantTokenError("The grant token is not valid.")


def orphan(arn: str) -> KmsError:
    """A call that an orphan refuses (RECORDS, Life of a key)."""
    return InvalidStateError(f"{arn} has no KmsKey object.")


def held(arn: str, since: str, by: str) -> KmsError:
    """EnableKey on a held key: only who may release holds enables it (RECORDS, Life of a key)."""
    return InvalidStateError(f"{arn} is held since {since}: {by}. It stays disabled until the hold is released.")


def too_many(what: str, most: int, where: str) -> KmsError:
    """One more than may be (engine/bounds.py). Said after authorisation: it tells how many there are."""
    return LimitExceededError(f"{where} has {most} {what}, which is the limit.")


def no_more_rotations(arn: str) -> KmsError:
    """The 26th rotation on demand."""
    return LimitExceededError(
        "The on-demand rotations limit has been reached for the given keyId. No more on-demand rotations can be performed "
        f"for this key: {arn}"
    )


def rotation_is_due(arn: str) -> KmsError:
    """A rotation on demand shortly before a scheduled one."""
    return ConflictingRotationError(
        f"An automatic rotation of {arn} is in progress or scheduled to begin within the next 20 minutes."
    )


def wrong_usage(arn: str, usage: KeyUsage, operation: str) -> KmsError:
    """The key's usage is for other operations."""
    return InvalidKeyUsageError(f"{arn} key usage is {usage.value} which is not valid for {operation}.")


def wrong_algorithm(algorithm: str, spec: KeySpec) -> KmsError:
    """The key's spec has no such algorithm."""
    return InvalidKeyUsageError(f"Algorithm {algorithm} is incompatible with key spec {spec.value}.")


def no_public_key(arn: str, spec: KeySpec) -> KmsError:
    """GetPublicKey of a symmetric key."""
    return UnsupportedOperationError(f"{arn} key spec is {spec.value} which is not valid for GetPublicKey.")


def recipient() -> KmsError:
    """Recipient is never ignored: a caller that asked for an encrypted answer would get plaintext."""
    return UnsupportedOperationError("Recipient is not supported: there is no Nitro attestation here.")


def context_on_asymmetric() -> KmsError:
    """An encryption context with a key pair."""
    return ValidationError("EncryptionContext is not supported with asymmetric keys.")
