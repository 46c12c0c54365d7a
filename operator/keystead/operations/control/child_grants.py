"""Which grant may be made by a grant: nobody gives on more than they were given (AWS, 'Grants in AWS KMS', CreateGrant permission).

A grant whose operations have CreateGrant lets its grantee make grants of the same key whose operations it has itself, under a constraint
that is as strict or stricter. Ours may end: one with an end makes no others, which would outlive it. Rights by RBAC, or as the account's
root, have no such bound. Called by CreateGrant only. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from msgspec import UNSET, UnsetType
from msgspec.structs import replace

from keystead.engine.record import GrantConstraints, GrantRecord
from keystead.resources.vocabulary import GrantOperation

Context = Mapping[str, str] | UnsetType


def parents_of(
    grants: Sequence[GrantRecord], operations: Sequence[GrantOperation], constraints: GrantConstraints | UnsetType
) -> list[GrantRecord]:
    """The grants that the wanted one would not widen, without the context that it was measured by: they allow CreateGrant itself.

    Their SourceArn stays: it is a constraint on who asks for the grant, too.
    """
    return [_without_context(grant) for grant in grants if covers(grant, operations, constraints)]


def covers(
    parent: GrantRecord, operations: Sequence[GrantOperation], constraints: GrantConstraints | UnsetType
) -> bool:
    """Whether everything that the wanted grant would allow, `parent` allows too, and for as long."""
    if parent.expires_at is not UNSET or not set(operations) <= set(parent.operations):
        return False
    return isinstance(parent.constraints, UnsetType) or _as_strict(parent.constraints, constraints)


def _without_context(grant: GrantRecord) -> GrantRecord:
    if isinstance(grant.constraints, UnsetType):
        return grant
    source = grant.constraints.source_arn
    return replace(grant, constraints=UNSET if source is UNSET else GrantConstraints(source_arn=source))


def _as_strict(parent: GrantConstraints, child: GrantConstraints | UnsetType) -> bool:
    if isinstance(child, UnsetType):
        return False
    if parent.source_arn is not UNSET and parent.source_arn != child.source_arn:
        return False
    if parent.encryption_context_equals is not UNSET:
        held, wanted = _fold(parent.encryption_context_equals), _fold(child.encryption_context_equals)
        return held is not None and held == wanted
    if parent.encryption_context_subset is not UNSET:
        held = _fold(parent.encryption_context_subset)
        given = child.encryption_context_equals
        wanted = _fold(child.encryption_context_subset if given is UNSET else given)
        return held is not None and wanted is not None and held.items() <= wanted.items()
    # A constraint that constrains nothing allows nothing (policy.grants): it is no measure.
    return parent.source_arn is not UNSET


def _fold(context: Context) -> dict[str, str] | None:
    """Keys in lower case, as constraints compare them; None where two become one, or where there is no context."""
    if isinstance(context, UnsetType):
        return None
    folded = {key.lower(): value for key, value in context.items()}
    return folded if len(folded) == len(context) else None
