"""What a KmsGrant grants, in the form that its record holds: canonical principals, sorted operations, an absolute end. Pure."""

from __future__ import annotations

from datetime import datetime

from msgspec import UNSET, Struct, UnsetType

from keystead.engine.clock import format_time
from keystead.engine.identifiers import canonical_principal, role_arn
from keystead.engine.record.grant import GrantConstraints
from keystead.engine.rotation import parse_duration
from keystead.resources.kms_grant import GrantConstraints as SpecConstraints
from keystead.resources.kms_grant import KmsGrantSpec
from keystead.resources.vocabulary import GrantOperation


class GrantTerms(Struct, frozen=True, kw_only=True):
    """Members of a grant record that follow its spec."""

    grantee_principal: str | UnsetType
    grantee_service_principal: str | UnsetType
    retiring_principal: str | UnsetType
    retiring_service_principal: str | UnsetType
    operations: list[GrantOperation]
    constraints: GrantConstraints | UnsetType
    expires_at: str | UnsetType


def terms_of(spec: KmsGrantSpec, account: str, created: datetime) -> GrantTerms:
    """The terms of a spec, for a key of `account`; `created` is the record's, from which ttl counts."""
    grantee: str | UnsetType = UNSET
    if spec.service_account_ref is not UNSET:
        grantee = role_arn(account, spec.service_account_ref.name)
    elif spec.grantee_principal is not UNSET:
        grantee = canonical_principal(spec.grantee_principal)
    retiring = spec.retiring_principal
    return GrantTerms(
        grantee_principal=grantee,
        grantee_service_principal=spec.grantee_service_principal,
        retiring_principal=UNSET if retiring is UNSET else canonical_principal(retiring),
        retiring_service_principal=spec.retiring_service_principal,
        operations=sorted(set(spec.operations)),
        constraints=_constraints(spec.constraints),
        expires_at=_end(spec, created),
    )


def _constraints(given: SpecConstraints | UnsetType) -> GrantConstraints | UnsetType:
    if given is UNSET:
        return UNSET
    equals, subset = given.encryption_context_equals, given.encryption_context_subset
    return GrantConstraints(
        encryption_context_equals=UNSET if equals is UNSET else dict(equals),
        encryption_context_subset=UNSET if subset is UNSET else dict(subset),
        source_arn=given.source_arn,
    )


def _end(spec: KmsGrantSpec, created: datetime) -> str | UnsetType:
    if spec.expires_at is not UNSET:
        return format_time(spec.expires_at)
    return UNSET if spec.ttl is UNSET else format_time(created + parse_duration(spec.ttl))
