"""The TABLE of condition keys: what type a key has, whether it has several values, and how each action takes it from a question.

Sources: AWS KMS, 'Condition keys for AWS KMS'; IAM, 'AWS global condition context keys'. A key that is not here is refused by name, and so
is one of AWS's whose facts we do not have (aws:PrincipalTag/: principals have no tags here): an ignored condition in a Deny would open
the key. AWS refuses aws:ResourceTag/ and kms:ResourceAliases in key policies, where IAM policies are for them; there are none here.

Some keys belong to operations that this version does not serve (import, replication); they are known, and absent everywhere.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from typing import Final, NamedTuple, TypeAlias

from keystead.engine.identifiers import one_spelling
from keystead.policy import request
from keystead.policy.actions import KEYLESS, Action
from keystead.policy.request import Take

Source: TypeAlias = Callable[[Action], Take | None]


class Type(StrEnum):
    """What the values of a key are; operators say which they compare (conditions.OPERATORS)."""

    STRING = "String"
    NUMERIC = "Numeric"
    DATE = "Date"
    EPOCH = "Epoch"
    """Seconds since 1970: Numeric and Date compare them."""
    BOOL = "Bool"
    IP = "IpAddress"
    TEXT = "Text"
    """A text that the user chooses (a context value, a tag): every operator may compare it, as what it may look like."""


class ConditionKey(NamedTuple):
    """One key. `source`: the taker for an action, None where the action never provides the key.

    spelled: how the request's value is spelled, where principals have several spellings; a document's are brought to it
    """

    name: str
    type: Type
    source: Source
    multi: bool = False
    spelled: Callable[[str], str] | None = None


def _on_key(take: Take) -> Source:
    """Every action on a key has it."""
    return lambda action: None if action in KEYLESS else take


def _always(take: Take) -> Source:
    return lambda _: take


def _fed(name: str) -> Source:
    return lambda action: request.fed(action, name)


def _nowhere(_: Action) -> Take | None:
    return None


def _algorithm(action: Action) -> Take | None:
    return request.data_key_algorithm(action) or request.fed(action, "kms:EncryptionAlgorithm")


_STRING, _BOOL, _NUMERIC = Type.STRING, Type.BOOL, Type.NUMERIC

_ROWS: Final = (
    ConditionKey("kms:BypassPolicyLockoutSafetyCheck", _BOOL, _fed("kms:BypassPolicyLockoutSafetyCheck")),
    ConditionKey("kms:CallerAccount", _STRING, _on_key(lambda question: question.caller.account)),
    ConditionKey("kms:CustomerMasterKeySpec", _STRING, _on_key(lambda question: question.key.spec.value)),
    ConditionKey("kms:CustomerMasterKeyUsage", _STRING, _on_key(lambda question: question.key.usage.value)),
    ConditionKey("kms:DataKeyPairSpec", _STRING, _fed("kms:DataKeyPairSpec")),
    ConditionKey("kms:EncryptionAlgorithm", _STRING, _algorithm),
    ConditionKey("kms:EncryptionContextKeys", _STRING, request.context_keys, multi=True),
    ConditionKey("kms:ExpirationModel", _STRING, _nowhere),
    ConditionKey("kms:GrantConstraintSourceArn", _STRING, request.constraint_source),
    ConditionKey("kms:GrantConstraintType", _STRING, request.constraint_type),
    ConditionKey("kms:GrantIsForAWSResource", _BOOL, request.for_resource),
    ConditionKey("kms:GrantOperations", _STRING, _fed("kms:GrantOperations"), multi=True),
    ConditionKey("kms:GranteePrincipal", _STRING, _fed("kms:GranteePrincipal"), spelled=one_spelling),
    ConditionKey("kms:GranteeServicePrincipal", _STRING, _fed("kms:GranteeServicePrincipal")),
    ConditionKey("kms:KeyAgreementAlgorithm", _STRING, _fed("kms:KeyAgreementAlgorithm")),
    ConditionKey("kms:KeyOrigin", _STRING, _on_key(lambda question: question.key.origin.value)),
    ConditionKey("kms:KeySpec", _STRING, _on_key(lambda question: question.key.spec.value)),
    ConditionKey("kms:KeyUsage", _STRING, _on_key(lambda question: question.key.usage.value)),
    ConditionKey("kms:MacAlgorithm", _STRING, _fed("kms:MacAlgorithm")),
    ConditionKey("kms:MessageType", _STRING, _fed("kms:MessageType")),
    ConditionKey("kms:MultiRegion", _BOOL, _on_key(request.multi_region)),
    ConditionKey("kms:MultiRegionKeyType", _STRING, _on_key(request.key_type)),
    ConditionKey("kms:PrimaryRegion", _STRING, _nowhere),
    ConditionKey("kms:ReEncryptOnSameKey", _BOOL, request.on_same_key),
    ConditionKey("kms:ReplicaRegion", _STRING, _nowhere),
    ConditionKey("kms:RequestAlias", _STRING, request.request_alias),
    ConditionKey("kms:ResourceAliases", _STRING, _on_key(request.resource_aliases), multi=True),
    ConditionKey("kms:RetiringPrincipal", _STRING, _fed("kms:RetiringPrincipal"), spelled=one_spelling),
    ConditionKey("kms:RetiringServicePrincipal", _STRING, _fed("kms:RetiringServicePrincipal")),
    ConditionKey("kms:RotationPeriodInDays", _NUMERIC, _fed("kms:RotationPeriodInDays")),
    ConditionKey(
        "kms:ScheduleKeyDeletionPendingWindowInDays", _NUMERIC, _fed("kms:ScheduleKeyDeletionPendingWindowInDays")
    ),
    ConditionKey("kms:SigningAlgorithm", _STRING, _fed("kms:SigningAlgorithm")),
    ConditionKey("kms:ValidTo", Type.EPOCH, _nowhere),  # the guide compares it as a number, the service reference calls it a date
    ConditionKey("kms:ViaService", _STRING, _on_key(lambda question: question.facts.carried.via_service or None)),
    ConditionKey("kms:WrappingAlgorithm", _STRING, _nowhere),
    ConditionKey("kms:WrappingKeySpec", _STRING, _nowhere),
    ConditionKey("aws:CurrentTime", Type.DATE, _always(request.current_time)),
    ConditionKey("aws:EpochTime", Type.EPOCH, _always(request.epoch_time)),
    ConditionKey("aws:PrincipalAccount", _STRING, _always(lambda question: question.caller.account)),
    ConditionKey("aws:PrincipalArn", _STRING, _always(lambda question: question.caller.principal)),
    ConditionKey("aws:SecureTransport", _BOOL, _always(request.secure_transport)),
    ConditionKey("aws:SourceAccount", _STRING, _always(request.source_account)),
    ConditionKey("aws:SourceArn", _STRING, _always(request.source_arn)),
    ConditionKey("aws:SourceIp", Type.IP, _always(request.source_ip)),
    ConditionKey("aws:TagKeys", _STRING, request.tag_keys, multi=True),
)
KEYS: Final[dict[str, ConditionKey]] = {row.name.lower(): row for row in _ROWS}
"""By the name in lower case: names of condition keys are compared without case (IAM, 'Condition')."""

STEADY: Final = frozenset(
    {
        "kms:CallerAccount",
        "kms:ViaService",
        "aws:PrincipalAccount",
        "aws:PrincipalArn",
        "aws:SecureTransport",
        "aws:SourceAccount",
        "aws:SourceArn",
        "aws:SourceIp",
    }
)
"""Whose value the caller and the way that a call came give, and nothing else of it (policy/reach.py)."""

# The rest of such a name is the user's: a key of the encryption context, of a tag.
NAMED: Final[dict[str, Callable[[str], Source]]] = {
    "kms:EncryptionContext:": request.context_value,
    "aws:RequestTag/": request.request_tag,
    "aws:ResourceTag/": request.resource_tag,
}


def condition_key(name: str) -> ConditionKey | None:
    """The row of a key that a document writes, None for one that is not implemented."""
    folded = name.lower()
    known = KEYS.get(folded)
    if known is not None:
        return known
    for prefix, source in NAMED.items():
        if folded.startswith(prefix.lower()) and len(name) > len(prefix):
            return ConditionKey(name, Type.TEXT, source(name[len(prefix) :]))
    return None
