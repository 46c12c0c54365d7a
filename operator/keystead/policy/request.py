"""How a condition key gets its value from a question: from the key's record, the caller, the call, or a member of the request.

The TABLE `FEEDS` says of each action which member of its request dataclass feeds which condition key (AWS KMS, 'Condition keys for AWS
KMS', column 'API operations'; 'AWS KMS permissions'). Members are those of operations/*: tests hold the table against them. What a
request leaves out is what the operation will do without it. What a taker answers:

    None        the key is absent
    AMBIGUOUS   two texts stand for it, and which one is meant is not clear: an Allow does not count on it, a Deny does
    UNKNOWN     nobody said what the request is: the same, and for `Null` too
    otherwise   a text, or for a multi-valued key a tuple of them
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any, Final, TypeAlias

from msgspec import UNSET

from keystead.engine.clock import format_time
from keystead.engine.identifiers import account_in, canonical_principal
from keystead.policy.actions import Action
from keystead.policy.caller import CallerKind
from keystead.policy.question import Question


class Ambiguous:
    """The type of AMBIGUOUS and UNKNOWN."""


AMBIGUOUS: Final = Ambiguous()
UNKNOWN: Final = Ambiguous()
Value: TypeAlias = str | tuple[str, ...] | Ambiguous | None
Take: TypeAlias = Callable[[Question], Value]

MOST_VALUES: Final = 256
"""Of a multi-valued key, and pairs of an encryption context: a request with more is UNKNOWN to conditions, which would take too long."""
_GENERATES: Final = (
    Action.GENERATE_DATA_KEY,
    Action.GENERATE_DATA_KEY_WITHOUT_PLAINTEXT,
    Action.GENERATE_DATA_KEY_PAIR,
    Action.GENERATE_DATA_KEY_PAIR_WITHOUT_PLAINTEXT,
)
_PAIRS: Final = _GENERATES[2:]

# Action -> condition key -> member of the request, and what counts where it is left out.
FEEDS: Final[dict[Action, dict[str, tuple[str, str | None]]]] = {
    Action.ENCRYPT: {"kms:EncryptionAlgorithm": ("encryption_algorithm", None)},
    Action.DECRYPT: {"kms:EncryptionAlgorithm": ("encryption_algorithm", None)},
    Action.RE_ENCRYPT_FROM: {"kms:EncryptionAlgorithm": ("source_encryption_algorithm", None)},
    Action.RE_ENCRYPT_TO: {"kms:EncryptionAlgorithm": ("destination_encryption_algorithm", None)},
    **{action: {"kms:DataKeyPairSpec": ("key_pair_spec", None)} for action in _PAIRS},
    Action.SIGN: {
        "kms:SigningAlgorithm": ("signing_algorithm", None),
        "kms:MessageType": ("message_type", None),
    },
    Action.VERIFY: {
        "kms:SigningAlgorithm": ("signing_algorithm", None),
        "kms:MessageType": ("message_type", None),
    },
    Action.GENERATE_MAC: {"kms:MacAlgorithm": ("mac_algorithm", None)},
    Action.VERIFY_MAC: {"kms:MacAlgorithm": ("mac_algorithm", None)},
    Action.DERIVE_SHARED_SECRET: {"kms:KeyAgreementAlgorithm": ("key_agreement_algorithm", None)},
    Action.CREATE_GRANT: {
        "kms:GrantOperations": ("operations", None),
        "kms:GranteePrincipal": ("grantee_principal", None),
        "kms:RetiringPrincipal": ("retiring_principal", None),
        "kms:GranteeServicePrincipal": ("grantee_service_principal", None),
        "kms:RetiringServicePrincipal": ("retiring_service_principal", None),
    },
    Action.PUT_KEY_POLICY: {"kms:BypassPolicyLockoutSafetyCheck": ("bypass_policy_lockout_safety_check", None)},
    Action.ENABLE_KEY_ROTATION: {"kms:RotationPeriodInDays": ("rotation_period_in_days", "365")},
    Action.SCHEDULE_KEY_DELETION: {"kms:ScheduleKeyDeletionPendingWindowInDays": ("pending_window_in_days", "30")},
}
_CONTEXT: Final = frozenset(
    {Action.ENCRYPT, Action.DECRYPT, Action.RE_ENCRYPT_FROM, Action.RE_ENCRYPT_TO, *_GENERATES}
)
_GRANTS: Final = frozenset({Action.CREATE_GRANT, Action.RETIRE_GRANT})
_ALIASED: Final = _CONTEXT | {
    Action.SIGN,
    Action.VERIFY,
    Action.GENERATE_MAC,
    Action.VERIFY_MAC,
    Action.DERIVE_SHARED_SECRET,
    Action.GET_PUBLIC_KEY,
    Action.DESCRIBE_KEY,
}


def fed(action: Action, key: str) -> Take | None:
    """The taker of a condition key that a request member feeds; None where this action feeds it from nothing."""
    if key not in FEEDS.get(action, {}):
        return None
    member, default = FEEDS[action][key]
    principal = key.endswith("Principal")

    def take(question: Question) -> Value:
        request = question.facts.request
        if request is None:
            return UNKNOWN
        given = getattr(request, member)
        if isinstance(given, str):
            return canonical_principal(given) if principal else given
        if given is None:
            return default
        if isinstance(given, tuple):
            return tuple(str(item) for item in given) or None
        if isinstance(given, bool):
            return _truth(given)
        return str(given)

    return take


def data_key_algorithm(action: Action) -> Take | None:
    """GenerateDataKey and its kin: what their data key is encrypted with."""
    return (lambda _: "SYMMETRIC_DEFAULT") if action in _GENERATES else None


def _context_of(question: Question) -> Mapping[str, str] | None:
    """The encryption context of the request; for the two grant actions that of the grant's constraint. None: nobody said."""
    if question.action in _CONTEXT:
        return question.context
    constraint = _constraint(question)
    return None if constraint is None else constraint[1]


def context_value(name: str) -> Callable[[Action], Take | None]:
    """kms:EncryptionContext:<name>. Names without case, values with it."""
    folded = name.lower()

    def of_request(question: Question) -> Value:
        return _folded_pairs(question.context.items(), folded)

    def of_grant(question: Question) -> Value:
        context = _context_of(question)
        return UNKNOWN if context is None else _folded(context, folded)

    return lambda action: of_request if action in _CONTEXT else of_grant if action in _GRANTS else None


def context_keys(action: Action) -> Take | None:
    """kms:EncryptionContextKeys."""
    if action not in _CONTEXT and action not in _GRANTS:
        return None

    def take(question: Question) -> Value:
        context = _context_of(question)
        return UNKNOWN if context is None else tuple(context) or None

    return take


def constraint_type(action: Action) -> Take | None:
    """kms:GrantConstraintType."""
    if action not in _GRANTS:
        return None

    def take(question: Question) -> Value:
        constraint = _constraint(question)
        return UNKNOWN if constraint is None else constraint[0]

    return take


def constraint_source(action: Action) -> Take | None:
    """kms:GrantConstraintSourceArn: of the grant that is to be made."""
    if action is not Action.CREATE_GRANT:
        return None

    def take(question: Question) -> Value:
        request: Any = question.facts.request
        if request is None:
            return UNKNOWN
        return None if request.constraints is None else request.constraints.source_arn or None

    return take


def request_alias(action: Action) -> Take | None:
    """kms:RequestAlias."""
    return (lambda question: question.facts.alias or None) if action in _ALIASED else None


def on_same_key(action: Action) -> Take | None:
    """kms:ReEncryptOnSameKey."""
    if action not in (Action.RE_ENCRYPT_FROM, Action.RE_ENCRYPT_TO):
        return None

    def take(question: Question) -> Value:
        other = question.facts.other_key
        return None if other is None else _truth(other == question.key.key_id)

    return take


def for_resource(action: Action) -> Take | None:
    """kms:GrantIsForAWSResource: a service of ours asks on somebody's behalf."""
    if action not in (Action.CREATE_GRANT, Action.LIST_GRANTS, Action.REVOKE_GRANT):
        return None
    return lambda question: _truth(
        bool(question.facts.carried.via_service) or question.caller.kind is CallerKind.SERVICE
    )


def request_tag(name: str) -> Callable[[Action], Take | None]:
    """aws:RequestTag/<name>."""
    folded = name.lower()

    def source(action: Action) -> Take | None:
        if action is not Action.TAG_RESOURCE:
            return None
        return take

    def take(question: Question) -> Value:
        tags = _request_tags(question)
        return UNKNOWN if tags is None else _folded_pairs(tags, folded)

    return source


def tag_keys(action: Action) -> Take | None:
    """aws:TagKeys."""
    if action is Action.UNTAG_RESOURCE:
        return _untagged
    return _tagged if action is Action.TAG_RESOURCE else None


def _tagged(question: Question) -> Value:
    tags = _request_tags(question)
    return UNKNOWN if tags is None else tuple(key for key, _ in tags) or None


def _untagged(question: Question) -> Value:
    request: Any = question.facts.request
    return UNKNOWN if request is None else tuple(request.tag_keys) or None


def resource_tag(name: str) -> Callable[[Action], Take | None]:
    """aws:ResourceTag/<name>."""
    folded = name.lower()
    return lambda _: lambda question: _folded(question.key.tags, folded)


def source_ip(question: Question) -> Value:
    """aws:SourceIp."""
    return question.facts.carried.source_ip or None


def source_arn(question: Question) -> Value:
    """aws:SourceArn: the resource on whose behalf a service of ours asks."""
    return question.facts.carried.source_arn or None


def source_account(question: Question) -> Value:
    """aws:SourceAccount: the account of that resource."""
    arn = question.facts.carried.source_arn
    return account_in(arn) or None


def secure_transport(question: Question) -> Value:
    """aws:SecureTransport."""
    secure = question.facts.carried.secure
    return None if secure is None else _truth(secure)


def current_time(question: Question) -> Value:
    """aws:CurrentTime."""
    return format_time(question.now)


def epoch_time(question: Question) -> Value:
    """aws:EpochTime."""
    return str(int(question.now.timestamp()))


def resource_aliases(question: Question) -> Value:
    """kms:ResourceAliases."""
    return tuple(question.facts.aliases()) or None


def key_type(question: Question) -> Value:
    """kms:MultiRegionKeyType. There are no replicas in this version."""
    return "PRIMARY" if question.key.multi_region else None


def multi_region(question: Question) -> Value:
    """kms:MultiRegion."""
    return _truth(question.key.multi_region)


def _truth(holds: bool) -> str:
    return "true" if holds else "false"


def _request_tags(question: Question) -> list[tuple[str, str]] | None:
    request: Any = question.facts.request
    return None if request is None else [(tag.tag_key, tag.tag_value) for tag in request.tags]


def _folded(pairs: Mapping[str, str], wanted: str) -> Value:
    return _folded_pairs(pairs.items(), wanted)


def _folded_pairs(pairs: Collection[tuple[str, str]], wanted: str) -> Value:
    """The value under a name that is compared without case."""
    if len(pairs) > MOST_VALUES:
        return UNKNOWN
    found: str | None = None
    for key, value in pairs:
        if key.lower() == wanted:
            if found is not None:
                return AMBIGUOUS
            found = value
    return found


def _constraint(question: Question) -> tuple[str | None, Mapping[str, str]] | None:
    """Type and encryption context of the constraint of the grant that is made or retired. None: nobody said which that is."""
    grant: Any = question.facts.request if question.action is Action.CREATE_GRANT else question.facts.grant
    if grant is None:
        return None
    given = grant.constraints
    if given is None or given is UNSET:
        return None, {}
    for kind, member in (
        ("EncryptionContextEquals", "encryption_context_equals"),
        ("EncryptionContextSubset", "encryption_context_subset"),
    ):
        pairs = getattr(given, member)
        if pairs is not None and pairs is not UNSET:
            return kind, pairs
    # Constraints may be there and empty: then there is none, and the grant that is made has none.
    return (None if given.source_arn is None or given.source_arn is UNSET else "SourceArn"), {}
