"""What a grant needs of a call besides the time, and what a call meets: so that the grant for it is found without looking at the others.

A need is a pair of the encryption context (EncryptionContextSubset), all of its pairs at once (EncryptionContextEquals), a SourceArn, a
service as caller, or, of CreateGrant, an operation that the new grant leaves out because the old one lacks it. A grant allows an action if
and only if it is for the caller, of the key as it lives now and in time, and the call meets every need (tested against policy.grants and
operations.control.child_grants, which decide; what is found wrongly here allows nothing there). Used by the read model
(store/grant_shelf.py) and by CreateGrant, which says what it wants. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple, TypeAlias

from msgspec import UNSET, UnsetType

from keystead.engine.record import GrantConstraints, GrantRecord
from keystead.policy.actions import ACTIONS, Action, Constraint
from keystead.policy.caller import Caller, CallerKind
from keystead.policy.grants import fold
from keystead.resources.vocabulary import GrantOperation

Pair: TypeAlias = tuple[str, str]
# Told apart by their shape, since contexts hold any text: pairs are the only ones of two members.
Need: TypeAlias = Pair | frozenset[Pair] | tuple[str, str, str] | str
Needs: TypeAlias = frozenset[Need]
NOTHING: Final[Needs] = frozenset()
_SERVICE: Final = "service"
_CONTEXT: Final = "context"
_NO_SOURCE: Final = ("source", "", "")
_CREATE_GRANT: Final = Action.CREATE_GRANT
_OF_SERVICES: Final = CallerKind.SERVICE
_ACTION: Final = {row.grantable: action for action, row in ACTIONS.items() if row.grantable is not None}
_LATER_FIRST: Final = str.maketrans("0123456789", "9876543210")


class Wanted(NamedTuple):
    """The grant that a CreateGrant is to make: the grants that it is measured by must be as wide."""

    operations: Sequence[GrantOperation] = ()
    constraints: GrantConstraints | UnsetType = UNSET


def needs_of(grant: GrantRecord) -> dict[GrantOperation, Needs]:
    """By operation. One that the grant has and that is not here, it allows to nobody."""
    found: dict[GrantOperation, Needs] = {}
    same: dict[Needs, Needs] = {}
    for operation in grant.operations:
        needs = _needs(operation, grant)
        if needs is not None:
            made = frozenset(needs)
            found[operation] = same.setdefault(made, made)
    return found


def met_by(
    caller: Caller, action: Action, context: Mapping[str, str], source: str, wanted: Wanted | None
) -> set[Need]:
    """All needs that a call meets. source: the resource on whose behalf it is made, "" where there is none."""
    met: set[Need]
    if action is _CREATE_GRANT:
        met = _met_by_new(wanted or Wanted(), source)
    else:
        folded = fold(context) if context else None
        from_where = _source(source) if source else _NO_SOURCE
        if folded:
            whole = frozenset(folded.items())
            met = {from_where, whole, *whole}
        else:
            met = {from_where}
    if caller.kind is _OF_SERVICES:
        met.add(_SERVICE)
    return met


def rank_of(grant: GrantRecord, needs: Needs) -> str:
    """Of grants whose needs are met the one with the least of these is the reason: the one that ends last, since all others are over when
    it is; then one that needs nothing, no encryption context, all of it, a part of it; then the least grant id.
    """
    end = "0" if isinstance(grant.expires_at, UnsetType) else "1" + grant.expires_at.translate(_LATER_FIRST)
    return f"{end} {_kind(needs)} {grant.grant_id} {grant.namespace}/{grant.name}"


def _kind(needs: Needs) -> int:
    if not needs:
        return 0
    if any(isinstance(need, frozenset) for need in needs):
        return 2
    return 3 if any(isinstance(need, tuple) and len(need) == 2 for need in needs) else 1


def _source(arn: str) -> Need:
    return ("source", arn, "")


def _needs(operation: GrantOperation, grant: GrantRecord) -> set[Need] | None:
    constraints = grant.constraints
    if isinstance(constraints, UnsetType):
        source: str | UnsetType = UNSET
        constraints = GrantConstraints()
    else:
        source = constraints.source_arn
        if source is UNSET and not _has_context(constraints):
            return None
    service = not isinstance(grant.grantee_service_principal, UnsetType)
    needs: set[Need] = {_SERVICE} if service else set()
    if operation is not GrantOperation.RETIRE_GRANT:
        if not isinstance(source, UnsetType):
            needs.add(_source(source))
        elif service:
            return None
    if operation is GrantOperation.CREATE_GRANT:
        context = _of_parent(grant, constraints)
    else:
        context = _of_context(operation, constraints) if _has_context(constraints) else set()
    return None if context is None else needs | context


def _has_context(constraints: GrantConstraints) -> bool:
    return constraints.encryption_context_equals is not UNSET or constraints.encryption_context_subset is not UNSET


def _of_context(operation: GrantOperation, constraints: GrantConstraints) -> set[Need] | None:
    match ACTIONS[_ACTION[operation]].constraint:
        case Constraint.IGNORED:
            return set()
        case Constraint.REFUSED:
            return None
        case Constraint.COMPARED:
            return _of_pairs(constraints) or None


def _of_pairs(constraints: GrantConstraints) -> set[Need] | None:
    """Of its pairs; empty where it has none, None where two keys of it are one."""
    equals, subset = constraints.encryption_context_equals, constraints.encryption_context_subset
    if not isinstance(equals, UnsetType):
        folded = fold(equals)
        return None if folded is None else {frozenset(folded.items())} if folded else set()
    folded = fold(subset) if not isinstance(subset, UnsetType) else None
    return None if folded is None else set(folded.items())


def _of_parent(grant: GrantRecord, constraints: GrantConstraints) -> set[Need] | None:
    """What makes it cover a new grant (child_grants.covers). One with an end covers none."""
    if grant.expires_at is not UNSET:
        return None
    lacks: set[Need] = {_left_out(operation) for operation in GrantOperation if operation not in grant.operations}
    if not _has_context(constraints):
        return lacks
    pairs = _of_pairs(constraints)
    if pairs is None:
        return None
    if pairs:
        return lacks | pairs
    # Of records from before the CRD refused an empty one: it covers what has a context, or what has an empty one.
    return lacks | {_CONTEXT if constraints.encryption_context_equals is UNSET else frozenset()}


def _met_by_new(wanted: Wanted, source: str) -> set[Need]:
    met: set[Need] = {_left_out(operation) for operation in GrantOperation if operation not in wanted.operations}
    constraints = wanted.constraints
    if isinstance(constraints, UnsetType):
        return met
    if constraints.source_arn == source:
        met.add(_source(source))
    equals = constraints.encryption_context_equals
    given = constraints.encryption_context_subset if isinstance(equals, UnsetType) else equals
    folded = None if isinstance(given, UnsetType) else fold(given)
    if folded is not None:
        met.add(_CONTEXT)
        met.update(folded.items())
        if equals is not UNSET:
            met.add(frozenset(folded.items()))
    return met


def _left_out(operation: GrantOperation) -> Need:
    return ("left out", operation.value, "")
