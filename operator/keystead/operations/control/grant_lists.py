"""ListGrants and ListRetirableGrants. Grant tokens are in no list: a record has none."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, TypeVar

from msgspec import UnsetType

from keystead.engine.clock import parse_time
from keystead.engine.identifiers import account_in, key_arn, key_id_bytes, root_arn
from keystead.engine.record import GrantRecord, KeyRecord
from keystead.errors import ValidationError
from keystead.operations import refusals
from keystead.operations.control.common import Listing, Page, admit_key, after, check_paging, cut
from keystead.operations.control.grant_ends import check_grant_id
from keystead.operations.control.grants import GrantConstraints, is_of_key, principal_of
from keystead.operations.effects import Home, Running
from keystead.operations.faults import operation
from keystead.operations.pipeline import admit_keyless
from keystead.operations.world import ControlWorld
from keystead.policy import Action, Caller, CallerKind
from keystead.resources.vocabulary import GrantOperation

Value = TypeVar("Value")
PAGE: Final = 50
"""AWS ListGrants: "If you do not include a value, it defaults to 50"."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ListGrantsRequest:
    """AWS ListGrantsRequest."""

    key_id: str
    limit: int | None = None
    marker: str | None = None
    grant_id: str | None = None
    grantee_principal: str | None = None
    grantee_service_principal: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ListRetirableGrantsRequest:
    """AWS ListRetirableGrantsRequest."""

    retiring_principal: str | None = None
    retiring_service_principal: str | None = None
    limit: int | None = None
    marker: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class GrantListEntry:
    """AWS GrantListEntry; `key_id` is the key ARN, `issuing_account` the root of the key's account."""

    key_id: str
    grant_id: str
    name: str | None
    creation_date: datetime
    grantee_principal: str | None
    retiring_principal: str | None
    issuing_account: str
    operations: tuple[GrantOperation, ...]
    constraints: GrantConstraints | None
    grantee_service_principal: str | None
    retiring_service_principal: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ListGrantsResponse:
    """AWS ListGrantsResponse, which ListRetirableGrants answers too."""

    grants: tuple[GrantListEntry, ...]
    next_marker: str | None
    truncated: bool


@operation
def list_grants(world: ControlWorld, caller: Caller, request: ListGrantsRequest) -> Running[ListGrantsResponse]:
    """AWS ListGrants: of one key, in the order of their ids; an expired one too, for as long as its object is there."""
    check_paging(request.limit, request.marker)
    if request.grant_id is not None:
        check_grant_id(request.grant_id)
    if request.grantee_principal is not None and request.grantee_service_principal is not None:
        raise ValidationError("You can specify either GranteePrincipal or GranteeServicePrincipal, but not both.")
    grantee = None if request.grantee_principal is None else principal_of(request.grantee_principal)
    key = yield from admit_key(world, caller, Action.LIST_GRANTS, request.key_id, request)
    service = request.grantee_service_principal
    scope = "|".join((key.key_id, request.grant_id or "", grantee or "", service or ""))
    listing = Listing("ListGrants", key.account, scope, PAGE)
    found = (
        grant
        for grant in after(world, listing, _named(world, key, request.grant_id, grantee or service), _position, request.marker)
        if is_of_key(grant, key)
        and grantee in (None, grant.grantee_principal)
        and service in (None, grant.grantee_service_principal)
    )
    return _answer(cut(world, listing, found, _position, request.limit))


def _named(world: ControlWorld, key: KeyRecord, grant_id: str | None, grantee: str | None) -> Sequence[GrantRecord]:
    """Those that may be in the list: a key has up to 50,000 grants, of which a page looks at no more than it must."""
    if grant_id is not None:
        found = world.keys.grant(grant_id)
        return () if found is None else (found,)
    return world.keys.grants_of(key_id_bytes(key.key_id)) if grantee is None else world.keys.grants_held(key, grantee)


@operation
def list_retirable_grants(
    world: ControlWorld, caller: Caller, request: ListRetirableGrantsRequest
) -> Running[ListGrantsResponse]:
    """AWS ListRetirableGrants: by the principal itself, or by who has the right in its account. Keys of other accounts are among them:
    "This can include grants on KMS keys owned by other Amazon Web Services accounts".
    """
    check_paging(request.limit, request.marker)
    if (request.retiring_principal is None) == (request.retiring_service_principal is None):
        raise ValidationError("You must specify either RetiringPrincipal or RetiringServicePrincipal, but not both.")
    principal = _retiring(caller, request)
    if principal != caller.principal or caller.only_grant is not None:
        yield from admit_keyless(world, caller, Action.LIST_RETIRABLE_GRANTS)
    claimed = world.keys.has_account(caller.namespace, caller.account)
    listing = Listing("ListRetirableGrants", caller.account, principal, PAGE)
    named = after(world, listing, world.keys.grants_retirable_by(principal), _position, request.marker)
    shown = (grant for grant in named if grant.region == world.region and (claimed or grant.account == caller.account))
    found = yield from _live(world, shown, (listing.default if request.limit is None else request.limit) + 1)
    return _answer(cut(world, listing, found, _position, request.limit))


def _retiring(caller: Caller, request: ListRetirableGrantsRequest) -> str:
    """Who retires the grants that are asked for: a principal of the caller's account, or the service that asks itself."""
    if request.retiring_principal is not None:
        principal = principal_of(request.retiring_principal)
        if account_in(principal) == caller.account:
            return principal
    # "This filter is only usable by callers in a service principal".
    elif caller.kind is CallerKind.SERVICE and request.retiring_service_principal == caller.principal:
        return caller.principal
    raise refusals.keyless(caller, Action.LIST_RETIRABLE_GRANTS)


def _live(world: ControlWorld, named: Iterable[GrantRecord], most: int) -> Running[list[GrantRecord]]:
    """The first of those whose namespace still is the one that made them; each one is asked about once."""
    uids: dict[str, str | None] = {}
    found: list[GrantRecord] = []
    for grant in named:
        if grant.namespace not in uids:
            known = world.keys.namespace_uid(grant.namespace)
            uids[grant.namespace] = (yield Home(grant.namespace)) if known is None else known
        if uids[grant.namespace] == grant.namespace_uid:
            found.append(grant)
        if len(found) == most:
            break
    return found


def _position(grant: GrantRecord) -> str:
    return grant.grant_id


def _answer(part: Page[GrantRecord]) -> ListGrantsResponse:
    entries = tuple(_entry(grant) for grant in part.items)
    return ListGrantsResponse(grants=entries, next_marker=part.next_marker, truncated=part.truncated)


def _entry(grant: GrantRecord) -> GrantListEntry:
    return GrantListEntry(
        key_id=key_arn(grant.region, grant.account, grant.key_id),
        grant_id=grant.grant_id,
        name=_given(grant.grant_name),
        creation_date=parse_time(grant.created),
        grantee_principal=_given(grant.grantee_principal),
        retiring_principal=_given(grant.retiring_principal),
        issuing_account=root_arn(grant.account),
        operations=tuple(grant.operations),
        constraints=_constraints(grant),
        grantee_service_principal=_given(grant.grantee_service_principal),
        retiring_service_principal=_given(grant.retiring_service_principal),
    )


def _constraints(grant: GrantRecord) -> GrantConstraints | None:
    if isinstance(grant.constraints, UnsetType):
        return None
    return GrantConstraints(
        encryption_context_subset=_given(grant.constraints.encryption_context_subset),
        encryption_context_equals=_given(grant.constraints.encryption_context_equals),
        source_arn=_given(grant.constraints.source_arn),
    )


def _given(value: Value | UnsetType) -> Value | None:
    return None if isinstance(value, UnsetType) else value
