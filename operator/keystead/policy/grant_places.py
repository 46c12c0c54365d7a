"""Where a grant is looked for: so that a call looks at a handful of a grantee's grants, however many it has on the key.

A place is an operation and what the encryption context must have: None (nothing), a frozenset of all its pairs (EncryptionContextEquals),
or one pair of those it must contain (EncryptionContextSubset). Keys of contexts are folded as policy.grants compares them. Every grant
that allows an action lies in one of the places that are looked at for it (tested against policy.grants); which of those that lie there
allow it, policy.grants says. Used by the read model (store/grant_shelf.py). Pure.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

from msgspec import UNSET, UnsetType

from keystead.engine.record import GrantConstraints, GrantRecord
from keystead.policy.actions import ACTIONS, Constraint
from keystead.policy.grants import fold
from keystead.resources.vocabulary import GrantOperation

Pair: TypeAlias = tuple[str, str]
Needs: TypeAlias = frozenset[Pair] | Pair | None
Place: TypeAlias = tuple[GrantOperation, Needs]

_ACTION = {row.grantable: action for action, row in ACTIONS.items() if row.grantable is not None}


def places_of(grant: GrantRecord) -> list[list[Place]]:
    """For each operation of a grant the places that it may lie in: in one of them it must. Empty: nothing finds it there."""
    return [[(operation, needs) for needs in _needs(operation, grant.constraints)] for operation in grant.operations]


def asks_for(grant: GrantRecord) -> tuple[bool, bool]:
    """Whether some of its places are for requests with a certain encryption context; and for such as have a certain pair in it."""
    constraints = grant.constraints
    if isinstance(constraints, UnsetType) or _is_free(constraints):
        return False, False
    whole = constraints.encryption_context_equals is not UNSET
    return whole, not whole


def _is_free(constraints: GrantConstraints) -> bool:
    return constraints.encryption_context_equals is UNSET and constraints.encryption_context_subset is UNSET


def _needs(operation: GrantOperation, constraints: GrantConstraints | UnsetType) -> Sequence[Needs]:
    if isinstance(constraints, UnsetType) or _is_free(constraints):
        return (None,)
    kind = ACTIONS[_ACTION[operation]].constraint
    # CreateGrant has no context of its own: it is measured by the grant that it makes (operations.control.child_grants).
    if kind is Constraint.IGNORED or operation is GrantOperation.CREATE_GRANT:
        return (None,)
    if kind is Constraint.REFUSED:
        return ()
    equals, subset = constraints.encryption_context_equals, constraints.encryption_context_subset
    if not isinstance(equals, UnsetType):
        folded = fold(equals)
        return (frozenset(folded.items()),) if folded else ()
    folded = None if isinstance(subset, UnsetType) else fold(subset)
    return tuple(folded.items()) if folded else ()
