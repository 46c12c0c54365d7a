"""CreateGrant: a KmsGrant, made once for a retry, and the token that makes its grant usable before another replica has it.

When a grant allows something: policy.grants. What it may say: engine.plan.grant_terms, which the operator asks again. Ends and lists:
grant_ends, grant_lists. A grant token leaves by CreateGrant's answer only: it never enters a record, a list or a repr.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, Final

import msgspec
from msgspec import UNSET

from keystead.engine.bounds import GRANTS_PER_KEY
from keystead.engine.identifiers import canonical_principal, key_id_bytes
from keystead.engine.plan.grant_terms import (
    SERVICES,
    GrantTerms,
    check_terms,
    contextless,
    is_principal,
    stranger,
    terms_of,
    twofold,
)
from keystead.engine.record import GrantRecord, KeyRecord
from keystead.errors import InvalidArnError, InvalidSpecError, ValidationError
from keystead.operations import refusals
from keystead.operations.control.child_grants import parents_of
from keystead.operations.control.common import create_name, object_name
from keystead.operations.describe import KeyManager, manager_of
from keystead.operations.effects import Change, Running
from keystead.operations.faults import operation
from keystead.operations.grant_tokens import make_token
from keystead.operations.pipeline import Asked, admit, arn_of
from keystead.operations.rules import RULES
from keystead.operations.validate import check_grant_tokens, check_key_id, failed
from keystead.operations.world import ControlWorld
from keystead.operations.writes import CreateObject
from keystead.policy import Action, Caller
from keystead.policy.grant_needs import Wanted
from keystead.resources.kms_grant import KmsGrantSpec
from keystead.resources.model import KeyRef, to_wire
from keystead.resources.rules_grant import CONTEXT_KEY_MAX
from keystead.resources.vocabulary import GrantOperation, ObjectKind

_PAIRS: Final = 8
_VALUE_MAX: Final = 384
_WORDS: Final = frozenset(GrantOperation)


@dataclass(frozen=True, slots=True, kw_only=True)
class GrantConstraints:
    """AWS GrantConstraints."""

    encryption_context_subset: Mapping[str, str] | None = None
    encryption_context_equals: Mapping[str, str] | None = None
    source_arn: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateGrantRequest:
    """AWS CreateGrantRequest. `operations` as words: the model knows some that no key here can do."""

    key_id: str
    operations: tuple[str, ...]
    grantee_principal: str | None = None
    retiring_principal: str | None = None
    constraints: GrantConstraints | None = None
    grant_tokens: tuple[str, ...] = field(default=(), repr=False)
    name: str | None = None
    dry_run: bool = False
    grantee_service_principal: str | None = None
    retiring_service_principal: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateGrantResponse:
    """AWS CreateGrantResponse."""

    grant_token: str = field(repr=False)
    grant_id: str


@operation
def create_grant(world: ControlWorld, caller: Caller, request: CreateGrantRequest) -> Running[CreateGrantResponse]:
    """AWS CreateGrant. With a Name the same parameters are the same grant, and every answer has a fresh token."""
    spec = _spec(request)
    terms = terms_of(spec, caller.account, world.now)
    key = yield from admit_grant(
        world,
        caller,
        Action.CREATE_GRANT,
        request.key_id,
        Asked(
            request,
            tokens=request.grant_tokens,
            usable=lambda grants: parents_of(grants, terms.operations, terms.constraints),
            wanted=Wanted(terms.operations, terms.constraints),
        ),
    )
    _check_key(caller, key, terms)
    name = _object_name(world, caller, key, terms)
    _check_count(world, key, name)
    if request.dry_run:
        raise refusals.dry_run()
    spec = msgspec.structs.replace(spec, key_ref=KeyRef(name=key.name))
    grant = yield Change(
        CreateObject(ObjectKind.GRANT, key.namespace, name, to_wire(spec)), lambda: _made(world, key, name)
    )
    return CreateGrantResponse(grant_token=make_token(world.domain, grant.grant_id, world.now), grant_id=grant.grant_id)


def admit_grant(
    world: ControlWorld, caller: Caller, action: Action, key_id: str, asked: Asked
) -> Running[KeyRecord]:
    """The key that a key id or key ARN names, where `asked.usable` says which of its grants may allow the action."""
    check_key_id(key_id)
    check_grant_tokens(asked.tokens)
    if key_id.startswith("alias/") or ":alias/" in key_id:
        raise refusals.malformed_key_id(key_id)
    return (yield from admit(world, caller, RULES[action], key_id, asked))


def is_of_key(grant: GrantRecord, key: KeyRecord) -> bool:
    """The uid too: a namespace that was made again does not inherit the grants of the old one."""
    return grant.key_id == key.key_id and grant.namespace_uid == key.namespace_uid


def principal_of(arn: str) -> str:
    """The canonical form of a principal that is asked for. InvalidArnException for a text that is no ARN of one.

    More than a new grant may name: records from before `stranger` was asked are listed too.
    """
    principal = canonical_principal(arn)
    if not is_principal(principal):
        raise InvalidArnError(f"Invalid ARN of a principal: {arn}")
    return principal


def _party(arn: str) -> str:
    """The same of one that is to be granted, or to retire."""
    principal = principal_of(arn)
    wrong = stranger(principal)
    if wrong:
        raise InvalidArnError(f"Invalid ARN of a principal: {arn}: {wrong}")
    return principal


def _check_key(caller: Caller, key: KeyRecord, terms: GrantTerms) -> None:
    if manager_of(key) is KeyManager.AWS:
        raise refusals.denied(caller, Action.CREATE_GRANT, arn_of(key))
    try:
        check_terms(terms, key.spec, key.usage)
    except InvalidSpecError as error:
        raise ValidationError(f"Operations: {error.message}.") from error


def _check_count(world: ControlWorld, key: KeyRecord, name: str) -> None:
    if _made(world, key, name) is None and len(world.keys.grants_of(key_id_bytes(key.key_id))) >= GRANTS_PER_KEY:
        raise refusals.too_many("grants", GRANTS_PER_KEY, arn_of(key))


def _object_name(world: ControlWorld, caller: Caller, key: KeyRecord, terms: GrantTerms) -> str:
    if terms.grant_name is UNSET:
        return create_name(world, caller, "CreateGrant", "grant")
    canonical = msgspec.json.encode(terms, order="sorted")
    return object_name(world, "grant", key.key_id.encode(), str(terms.grant_name).encode(), sha256(canonical).digest())


def _made(world: ControlWorld, key: KeyRecord, name: str) -> GrantRecord | None:
    grant = world.keys.grant_named(key.namespace, name)
    return grant if grant is not None and is_of_key(grant, key) else None


def _spec(request: CreateGrantRequest) -> KmsGrantSpec:
    """What the request asks for, as a KmsGrant says it, of a key that is put in later."""
    _check_parties(request)
    operations = _operations(request)
    members: dict[str, Any] = {
        "keyRef": {"name": "later"},
        "operations": operations,
        "granteePrincipal": None if request.grantee_principal is None else _party(request.grantee_principal),
        "retiringPrincipal": None if request.retiring_principal is None else _party(request.retiring_principal),
        "granteeServicePrincipal": request.grantee_service_principal,
        "retiringServicePrincipal": request.retiring_service_principal,
        "grantName": request.name,
        "constraints": _constraints(request.constraints, operations),
    }
    try:
        return msgspec.convert({name: value for name, value in members.items() if value is not None}, KmsGrantSpec)
    except msgspec.ValidationError as error:
        raise ValidationError(f"1 validation error detected: {error}") from error


def _check_parties(request: CreateGrantRequest) -> None:
    if (request.grantee_principal is None) == (request.grantee_service_principal is None):
        raise ValidationError("You must specify either GranteePrincipal or GranteeServicePrincipal, but not both.")
    if request.retiring_principal is not None and request.retiring_service_principal is not None:
        raise ValidationError("You can specify either RetiringPrincipal or RetiringServicePrincipal, but not both.")
    for member, service in (
        ("granteeServicePrincipal", request.grantee_service_principal),
        ("retiringServicePrincipal", request.retiring_service_principal),
    ):
        if service is not None and service not in SERVICES:
            raise ValidationError(f"{member}: there is no service principal {service} here.")
    if request.grantee_service_principal is None:
        return
    if request.constraints is None or request.constraints.source_arn is None:
        raise ValidationError("With a GranteeServicePrincipal you must also specify a SourceArn grant constraint.")
    if request.retiring_principal is None and request.retiring_service_principal is None:
        raise ValidationError("With a GranteeServicePrincipal you must also specify who may retire the grant.")


def _operations(request: CreateGrantRequest) -> list[str]:
    if not request.operations:
        raise failed("operations", "have length greater than or equal to 1")
    unknown = sorted(set(request.operations) - _WORDS)
    if unknown:
        raise ValidationError(f"Operations: {', '.join(unknown)}: no key here can do that.")
    return sorted(set(request.operations))


def _constraints(given: GrantConstraints | None, operations: list[str]) -> dict[str, Any] | None:
    if given is None:
        return None
    context = given.encryption_context_equals, given.encryption_context_subset
    if None not in context:
        raise ValidationError("Constraints: specify either EncryptionContextEquals or EncryptionContextSubset, but not both.")
    for pairs in context:
        if pairs is not None:
            _check_pairs(pairs, operations)
    members = {
        "encryptionContextEquals": given.encryption_context_equals,
        "encryptionContextSubset": given.encryption_context_subset,
        "sourceArn": given.source_arn,
    }
    return {name: value for name, value in members.items() if value is not None} or None


def _check_pairs(pairs: Mapping[str, str], operations: list[str]) -> None:
    # A constraint that constrains nothing would allow nothing (policy.grants), which nobody means.
    if not 1 <= len(pairs) <= _PAIRS:
        raise ValidationError(f"Constraints: an encryption context constraint has 1 to {_PAIRS} pairs.")
    if any(not 1 <= len(key) <= CONTEXT_KEY_MAX or len(value) > _VALUE_MAX for key, value in pairs.items()):
        raise ValidationError(f"Constraints: keys have 1 to {CONTEXT_KEY_MAX} characters, values at most {_VALUE_MAX}.")
    wrong = contextless(map(GrantOperation, operations)) or twofold(pairs)
    if wrong:
        raise ValidationError(f"Constraints: {wrong}.")
