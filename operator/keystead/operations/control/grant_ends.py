"""RevokeGrant and RetireGrant: a grant ends with its KmsGrant, in whatever state its key is.

Revoking is a right on the key. Retiring is in the grant itself: its retiring principal may, and its grantee where RetireGrant is one of the
grant's operations; besides them who has the right on the key, as the account's root or by RBAC. No grant ever retires another one.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final

from msgspec import UNSET
from msgspec.structs import replace

from keystead.engine.identifiers import key_arn
from keystead.engine.record import GrantRecord, KeyRecord
from keystead.engine.record.grant import grantee_of
from keystead.errors import InvalidGrantIdError, NotFoundException, ValidationError
from keystead.operations import refusals
from keystead.operations.control.common import admit_key
from keystead.operations.control.grants import admit_grant, is_of_key
from keystead.operations.effects import Await, Change, Running
from keystead.operations.faults import operation
from keystead.operations.grant_tokens import read_token
from keystead.operations.pipeline import Asked
from keystead.operations.validate import GRANT_TOKEN, failed
from keystead.operations.world import ControlWorld
from keystead.operations.writes import DeleteObject, Target
from keystead.policy import Action, Caller, CallerKind
from keystead.resources.vocabulary import GrantOperation, ObjectKind

_ID_MAX: Final = 128
_ID: Final = re.compile(r"[0-9a-f]{64}\Z")


@dataclass(frozen=True, slots=True, kw_only=True)
class RevokeGrantRequest:
    """AWS RevokeGrantRequest."""

    key_id: str
    grant_id: str
    dry_run: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class RevokeGrantResponse:
    """AWS answers RevokeGrant with nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RetireGrantRequest:
    """AWS RetireGrantRequest: a grant token, or both key and grant id."""

    grant_token: str | None = field(default=None, repr=False)
    key_id: str | None = None
    grant_id: str | None = None
    dry_run: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class RetireGrantResponse:
    """AWS answers RetireGrant with nothing. grant_id: for the audit record, where the request has a token."""

    grant_id: str = ""


@operation
def revoke_grant(world: ControlWorld, caller: Caller, request: RevokeGrantRequest) -> Running[RevokeGrantResponse]:
    """AWS RevokeGrant."""
    check_grant_id(request.grant_id)
    key = yield from admit_key(world, caller, Action.REVOKE_GRANT, request.key_id, request)
    yield from _await_grant(world, caller, request.grant_id)
    yield from _end(world, _grant_of(world, key, request.grant_id), request.dry_run)
    return RevokeGrantResponse()


@operation
def retire_grant(world: ControlWorld, caller: Caller, request: RetireGrantRequest) -> Running[RetireGrantResponse]:
    """AWS RetireGrant."""
    grant_id, key_id = yield from _named(world, caller, request)
    key = yield from admit_grant(
        world,
        caller,
        Action.RETIRE_GRANT,
        key_id,
        Asked(
            request,
            usable=lambda _: _as_it_retires(world.keys.grant(grant_id), caller),
            grant=world.keys.grant(grant_id),
        ),
    )
    yield from _end(world, _grant_of(world, key, grant_id), request.dry_run)
    return RetireGrantResponse(grant_id=grant_id)


def check_grant_id(grant_id: str) -> None:
    """1 to 128 characters."""
    if not grant_id:
        raise failed("grantId", "have length greater than or equal to 1", grant_id)
    if len(grant_id) > _ID_MAX:
        raise failed("grantId", f"have length less than or equal to {_ID_MAX}", grant_id)


def _named(world: ControlWorld, caller: Caller, request: RetireGrantRequest) -> Running[tuple[str, str]]:
    """Grant id and KeyId that a request names, once the grant is in the read model or was waited for."""
    if request.grant_token is None:
        if request.key_id is None or request.grant_id is None:
            raise ValidationError("You must specify a GrantToken, or both KeyId and GrantId.")
        check_grant_id(request.grant_id)
        yield from _await_grant(world, caller, request.grant_id, named=True)
        return request.grant_id, request.key_id
    if request.key_id is not None or request.grant_id is not None:
        raise ValidationError("You must specify a GrantToken, or both KeyId and GrantId, but not all of them.")
    return (yield from _of_token(world, caller, request.grant_token))


def _of_token(world: ControlWorld, caller: Caller, token: str) -> Running[tuple[str, str]]:
    if not 1 <= len(token) <= GRANT_TOKEN:
        raise failed("grantToken", f"have length between 1 and {GRANT_TOKEN}, inclusive")
    named = read_token(world.domain, token)
    if not named.is_fresh(world.now):
        raise refusals.grant_token()
    yield from _await_grant(world, caller, named.grant_id)
    grant = world.keys.grant(named.grant_id)
    if grant is None:
        raise refusals.grant_token()
    return grant.grant_id, key_arn(grant.region, grant.account, grant.key_id)


def _await_grant(world: ControlWorld, caller: Caller, grant_id: str, *, named: bool = False) -> Running[None]:
    """named: by its id alone, which shows nothing: what does not concern the caller is waited for like one that does not exist."""

    def is_there() -> bool:
        grant = world.keys.grant(grant_id)
        return grant is not None and (not named or _concerns(grant, caller))

    if not is_there() and _ID.match(grant_id):
        yield Await(is_there, caller.principal)


def _concerns(grant: GrantRecord, caller: Caller) -> bool:
    named = (grant.retiring_principal, grant.retiring_service_principal, grantee_of(grant))
    return grant.account == caller.account or caller.principal in named


def _as_it_retires(grant: GrantRecord | None, caller: Caller) -> list[GrantRecord]:
    """The one grant that is to end, as what it says about that: who is named to retire it may do it, whoever the grantee, however late."""
    if grant is None:
        return []
    retiring = grant.retiring_service_principal if caller.kind is CallerKind.SERVICE else grant.retiring_principal
    return [_to_retire(grant, caller) if retiring == caller.principal else grant]


def _to_retire(grant: GrantRecord, caller: Caller) -> GrantRecord:
    service = caller.kind is CallerKind.SERVICE
    return replace(
        grant,
        grantee_principal=UNSET if service else caller.principal,
        grantee_service_principal=caller.principal if service else UNSET,
        operations=[GrantOperation.RETIRE_GRANT],
        expires_at=UNSET,
    )


def _grant_of(world: ControlWorld, key: KeyRecord, grant_id: str) -> GrantRecord:
    grant = world.keys.grant(grant_id)
    if grant is None or not is_of_key(grant, key):
        if _ID.match(grant_id):
            # Clients take this code, and no other, for a grant that has ended already (Terraform's aws_kms_grant).
            raise NotFoundException(f"Grant ID {grant_id} not found")
        raise InvalidGrantIdError(f"The grant ID {grant_id} is not valid.")
    return grant


def _end(world: ControlWorld, grant: GrantRecord, dry_run: bool) -> Running[None]:
    if dry_run:
        raise refusals.dry_run()
    target = Target(ObjectKind.GRANT, grant.namespace, grant.name, grant.object_uid)
    yield Change(
        DeleteObject(target), lambda: True if world.keys.grant(grant.grant_id) is None else None, narrows=True
    )
