"""CreateAlias, UpdateAlias, DeleteAlias: second names of keys, each a KmsAlias and the sealed record that claims its name.

A caller needs the right on the alias AND on every key that it names or named (AWS, 'Controlling access to aliases'): RBAC is asked for
`kmsaliases` (by the KmsAlias's name; at a create without one) and for `kmskeys`. The alias comes first, so that somebody without a right on
it learns nothing of a key.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, replace
from functools import partial
from typing import Final

from keystead.engine.bounds import ALIASES_PER_KEY
from keystead.engine.identifiers import alias_arn, key_id_bytes
from keystead.engine.keyspec import row
from keystead.engine.keystate import state_error
from keystead.engine.plan.key_life import shown_state
from keystead.engine.record import AliasRecord, KeyRecord
from keystead.errors import (
    AccessDeniedError,
    AlreadyExistsError,
    ConflictError,
    KmsError,
    NotFoundError,
    ValidationError,
)
from keystead.operations import refusals
from keystead.operations.control.common import admit_change
from keystead.operations.effects import Await, Change, Need, Running
from keystead.operations.faults import operation
from keystead.operations.pipeline import Asked, admit, alias_names, arn_of
from keystead.operations.rules import RULES
from keystead.operations.validate import check_key_id, failed
from keystead.operations.world import ControlWorld, Judged
from keystead.operations.writes import CreateObject, DeleteObject, SetFields, Target
from keystead.policy import Action, Caller, CallerKind
from keystead.policy.evaluate import review_of
from keystead.policy.rootdeny import root_deny
from keystead.resources.vocabulary import KeyState, ObjectKind

_MAX_NAME: Final = 256
_PREFIX: Final = "alias/"
_RESERVED: Final = "alias/aws/"
_NAME: Final = re.compile(r"[a-zA-Z0-9:/_-]+\Z")
_GUIDE: Final = "https://docs.aws.amazon.com/kms/latest/developerguide/kms-alias.html"


class NotAuthorizedError(KmsError):
    """An alias name that only AWS's own services may take. Not in botocore's model, but what AWS answers; without a message."""

    code = "NotAuthorizedException"


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateAliasRequest:
    """AWS CreateAliasRequest."""

    alias_name: str
    target_key_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateAliasResponse:
    """AWS answers CreateAlias with nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdateAliasRequest:
    """AWS UpdateAliasRequest."""

    alias_name: str
    target_key_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdateAliasResponse:
    """AWS answers UpdateAlias with nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeleteAliasRequest:
    """AWS DeleteAliasRequest."""

    alias_name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DeleteAliasResponse:
    """AWS answers DeleteAlias with nothing."""


@operation
def create_alias(world: ControlWorld, caller: Caller, request: CreateAliasRequest) -> Running[CreateAliasResponse]:
    """AWS CreateAlias: the first object that claims the name has it."""
    name = request.alias_name
    _check_name(name)
    _check_target(request.target_key_id)
    yield from _admit_alias(world, caller, Action.CREATE_ALIAS, name, "")
    key = yield from admit_change(world, caller, Action.CREATE_ALIAS, request.target_key_id, request)
    if world.keys.alias(key.account, world.region, name) is not None:
        raise _exists(key, name)
    _check_count(world, key)
    spec = {"aliasName": name, "keyRef": {"name": key.name}}
    write = CreateObject(ObjectKind.ALIAS, key.namespace, alias_object_name(world.region, name), spec)
    try:
        claimed = yield Change(write, lambda: world.keys.alias(key.account, world.region, name))
    except ConflictError as error:
        raise _exists(key, name) from error
    # Somebody else's object may have been first with the name, or this object's spec with another key.
    if (claimed.name, claimed.key_id) != (write.name, key.key_id):
        raise _exists(key, name)
    return CreateAliasResponse()


@operation
def update_alias(world: ControlWorld, caller: Caller, request: UpdateAliasRequest) -> Running[UpdateAliasResponse]:
    """AWS UpdateAlias: the name goes over to another key of the same type and usage. Needs the right on both keys."""
    name = request.alias_name
    _check_name(name)
    _check_target(request.target_key_id)
    alias, before = yield from _admit_existing(world, caller, Action.UPDATE_ALIAS, name, request)
    key = yield from admit_change(world, caller, Action.UPDATE_ALIAS, request.target_key_id, request)
    _check_destination(key)
    _check_same_type(alias, before, key)
    if key.key_id != alias.key_id:
        _check_count(world, key)
        _check_move(world, caller, alias, (before, key), request)

    def moved() -> AliasRecord | None:
        now = world.keys.alias(alias.account, world.region, name)
        return now if now is not None and now.key_id == key.key_id else None

    try:
        yield Change(SetFields(_target(alias), {"keyRef": {"name": key.name}}), moved)
    except NotFoundError as error:
        raise refusals.unknown_alias(world.region, alias.account, name) from error
    return UpdateAliasResponse()


@operation
def delete_alias(world: ControlWorld, caller: Caller, request: DeleteAliasRequest) -> Running[DeleteAliasResponse]:
    """AWS DeleteAlias: the name is free, in whatever state its key is."""
    name = request.alias_name
    _check_name(name)
    alias, _ = yield from _admit_existing(world, caller, Action.DELETE_ALIAS, name, request)

    def gone() -> bool | None:
        now = world.keys.alias(alias.account, world.region, name)
        return True if now is None or now.object_uid != alias.object_uid else None

    yield Change(DeleteObject(_target(alias)), gone, narrows=True)
    return DeleteAliasResponse()


def alias_object_name(region: str, name: str) -> str:
    """metadata.name of the KmsAlias that the API makes for an alias name (RECORDS, Identity)."""
    return f"alias-{hashlib.sha256(f'{region}{chr(0)}{name}'.encode()).hexdigest()[:20]}"


def _admit_existing(
    world: ControlWorld, caller: Caller, action: Action, name: str, request: object
) -> Running[tuple[AliasRecord, KeyRecord]]:
    """The alias of this name and its key, where the caller has the right on both."""
    account = caller.account
    if _find(world, account, name) is None:
        yield Await(lambda: _find(world, account, name) is not None, caller.principal)
    alias = _find(world, account, name)
    if alias is None:
        raise refusals.unknown_alias(world.region, account, name)
    yield from _admit_alias(world, caller, action, name, alias.name)
    # A name may be taken from an orphan.
    return alias, (yield from admit(world, caller, RULES[action]._replace(orphan=True), alias.key_id, Asked(request)))


def _find(world: ControlWorld, account: str, name: str) -> AliasRecord | None:
    """An alias whose namespace and key are there: with either of them its record is on its way out."""
    alias = world.keys.alias(account, world.region, name)
    if alias is None or not is_live(world, alias):
        return None
    key = world.keys.by_id(key_id_bytes(alias.key_id))
    return alias if key is not None and key.account == account and key.state is not KeyState.DESTROYED else None


def _admit_alias(world: ControlWorld, caller: Caller, action: Action, name: str, object_name: str) -> Running[None]:
    """The right on the alias itself. `object_name`: of the KmsAlias, "" where it is to be made."""
    if caller.only_grant is None:
        if caller.kind is CallerKind.ROOT:
            return
        if caller.kind is CallerKind.SERVICE_ACCOUNT:
            review = replace(review_of(caller, action, caller.namespace, object_name), resource=ObjectKind.ALIAS.plural)
            if (yield Need(review)) is True:
                return
    arn = alias_arn(world.region, caller.account, name)
    error = AccessDeniedError(
        f"User: {caller.arn} is not authorized to perform: kms:{action.value} on resource: {arn} "
        f"because no identity-based policy allows the kms:{action.value} action"
    )
    error.add_note(f"{caller.principal} does not have the verb {action.value.lower()} on kmsaliases {object_name}".rstrip())
    raise error


def _check_name(name: str) -> None:
    if not name:
        raise failed("aliasName", "have length greater than or equal to 1", name)
    if len(name) > _MAX_NAME:
        raise failed("aliasName", f"have length less than or equal to {_MAX_NAME}", name)
    if _NAME.match(name) is None:
        raise failed("aliasName", "satisfy regular expression pattern: ^[a-zA-Z0-9:/_-]+$", name)
    if not name.startswith(_PREFIX) or name == _PREFIX:
        raise ValidationError(f'Alias must start with the prefix "{_PREFIX}". Please see {_GUIDE}')
    if name.startswith(_RESERVED):
        raise NotAuthorizedError
    if ":" in name:  # the model's pattern has it, AWS does not take it
        raise ValidationError(f"{name} contains invalid characters for an alias")


def _check_target(key_id: str) -> None:
    check_key_id(key_id, "targetKeyId")
    if is_alias(key_id):
        raise ValidationError("Aliases must refer to keys. Not aliases")


def is_alias(key_id: str) -> bool:
    """Whether a KeyId is an alias, by name or ARN."""
    return key_id.startswith(_PREFIX) or f":{_PREFIX}" in key_id


def _check_destination(key: KeyRecord) -> None:
    """AWS's note 10: UpdateAlias fails where CreateAlias would for the destination."""
    error = state_error("CreateAlias", shown_state(key), arn_of(key))
    if error is not None:
        raise error


def _check_same_type(alias: AliasRecord, before: KeyRecord, key: KeyRecord) -> None:
    if (row(key.spec).secret_length > 0, key.usage) != (row(before.spec).secret_length > 0, before.usage):
        raise ValidationError(
            f"Alias {alias_arn(alias.region, alias.account, alias.alias_name)} cannot be changed from a {before.spec.value} key for "
            f"{before.usage.value} to a {key.spec.value} key for {key.usage.value}."
        )


def _check_move(
    world: ControlWorld, caller: Caller, alias: AliasRecord, keys: tuple[KeyRecord, KeyRecord], request: UpdateAliasRequest
) -> None:
    """The operator asks both policies for the root where somebody else made the object (reconciler/objectpolicy.py): so does this call.

    Without it the call would be written, and the alias stay where it is. Records do not have the label; objects of the API have its name.
    """
    if alias.name == alias_object_name(alias.region, alias.alias_name):
        return
    for key in keys:
        found = root_deny(key, Action.UPDATE_ALIAS, request, partial(alias_names, world, key), world.now)
        if found is not None:
            reason = f"KmsAlias {alias.name} was not made by the API: {found.reason}"
            world.trail.append(Judged(key, Action.UPDATE_ALIAS, replace(found, reason=reason)))
            error = refusals.denied(caller, Action.UPDATE_ALIAS, arn_of(key), explicit=True)
            error.add_note(reason)
            raise error


def _check_count(world: ControlWorld, key: KeyRecord) -> None:
    held = sum(alias.key_id == key.key_id for alias in world.keys.aliases_of(key.account, world.region))
    if held >= ALIASES_PER_KEY:
        raise refusals.too_many("aliases", ALIASES_PER_KEY, arn_of(key))


def _exists(key: KeyRecord, name: str) -> AlreadyExistsError:
    return AlreadyExistsError(f"An alias with the name {alias_arn(key.region, key.account, name)} already exists")


def is_live(world: ControlWorld, alias: AliasRecord | KeyRecord) -> bool:
    """An alias of a namespace that was made again is not the new tenant's."""
    return world.keys.namespace_uid(alias.namespace) == alias.namespace_uid


def _target(alias: AliasRecord) -> Target:
    return Target(ObjectKind.ALIAS, alias.namespace, alias.name, alias.object_uid)
