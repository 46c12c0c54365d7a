"""Does a grant allow this? An ordered list of small checks; all of them must hold (AWS, 'Grants in AWS KMS').

Constraints compare the KEYS of encryption contexts without case and their values with it (KMS.md): a different function
from the equality of the AAD, so a constraint that holds says nothing about whether a blob opens.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from msgspec import UNSET, UnsetType

from keystead.engine.record import GrantConstraints, GrantRecord, KeyRecord
from keystead.engine.values import per_call
from keystead.policy.actions import ACTIONS, Action, Constraint
from keystead.policy.caller import Caller, CallerKind
from keystead.policy.question import Carried


@per_call
class GrantQuestion:
    """`context` is the request's encryption context, empty where there is none; `now` as records write times.

    carried: on behalf of which resource a service of ours asks
    """

    caller: Caller
    action: Action
    key: KeyRecord
    context: Mapping[str, str]
    now: str
    carried: Carried = Carried()


Check = Callable[[GrantRecord, GrantQuestion], bool]


def _is_for_caller(grant: GrantRecord, question: GrantQuestion) -> bool:
    service = grant.grantee_service_principal
    if isinstance(service, UnsetType):
        return grant.grantee_principal == question.caller.principal
    return question.caller.kind is CallerKind.SERVICE and service == question.caller.principal


def _is_the_one_asked_for(grant: GrantRecord, question: GrantQuestion) -> bool:
    only = question.caller.only_grant
    return only is None or grant.grant_id == only


def _is_of_key(grant: GrantRecord, question: GrantQuestion) -> bool:
    # The uid too: a namespace that was made again does not inherit the grants of the old one.
    return grant.key_id == question.key.key_id and grant.namespace_uid == question.key.namespace_uid


def _has_operation(grant: GrantRecord, question: GrantQuestion) -> bool:
    operation = ACTIONS[question.action].grantable
    return operation is not None and operation in grant.operations


def _is_in_time(grant: GrantRecord, question: GrantQuestion) -> bool:
    # Times of records have one fixed width (engine.clock): they compare as text.
    return isinstance(grant.expires_at, UnsetType) or question.now < grant.expires_at


def _constraints_hold(grant: GrantRecord, question: GrantQuestion) -> bool:
    constraints = grant.constraints
    if isinstance(constraints, UnsetType):
        return _is_from_source(grant, UNSET, question)
    return _is_from_source(grant, constraints.source_arn, question) and _context_holds(constraints, question)


def _is_from_source(grant: GrantRecord, wanted: str | UnsetType, question: GrantQuestion) -> bool:
    """Exactly: a `*` in it is no wildcard, "a specific resource" is meant. It does not apply to RetireGrant (AWS, CreateGrant)."""
    if question.action is Action.RETIRE_GRANT:
        return True
    if isinstance(wanted, UnsetType):
        # A service acts for everybody: without a source nobody could tell for whom it may here (AWS, CreateGrant).
        return isinstance(grant.grantee_service_principal, UnsetType)
    return wanted == question.carried.source_arn


def _context_holds(constraints: GrantConstraints, question: GrantQuestion) -> bool:
    if constraints.encryption_context_equals is UNSET and constraints.encryption_context_subset is UNSET:
        # A constraint that constrains nothing is not an allowance.
        return constraints.source_arn is not UNSET
    match ACTIONS[question.action].constraint:
        case Constraint.IGNORED:
            return True
        case Constraint.REFUSED:
            return False
        case Constraint.COMPARED:
            return _context_fits(constraints, question.context)


# In this order: the principal rules out most grants of a key at the price of one comparison.
CHECKS: tuple[Check, ...] = (
    _is_for_caller,
    _is_the_one_asked_for,
    _is_of_key,
    _has_operation,
    _is_in_time,
    _constraints_hold,
)


def allows(grant: GrantRecord, question: GrantQuestion) -> bool:
    """Whether this grant alone allows the action."""
    for check in CHECKS:  # noqa: SIM110 - a generator would cost more than most checks, and a key has up to 50,000 grants
        if not check(grant, question):
            return False
    return True


def _context_fits(constraints: GrantConstraints, context: Mapping[str, str]) -> bool:
    given = fold(context)
    if given is None:
        return False
    if not isinstance(constraints.encryption_context_equals, UnsetType):
        wanted = fold(constraints.encryption_context_equals)
        return bool(wanted) and given == wanted
    if not isinstance(constraints.encryption_context_subset, UnsetType):
        wanted = fold(constraints.encryption_context_subset)
        return bool(wanted) and wanted is not None and wanted.items() <= given.items()
    return False


def fold(context: Mapping[str, str]) -> dict[str, str] | None:
    """Keys in lower case. None where two become one: then it is not clear which value is meant, and nothing matches."""
    folded = {key.lower(): value for key, value in context.items()}
    return folded if len(folded) == len(context) else None
