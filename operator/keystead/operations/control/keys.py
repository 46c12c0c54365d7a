"""CreateKey, ListKeys, UpdateKeyDescription. CreateKey refuses all that the operator could not make, before anything is written."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from keystead.engine.identifiers import key_arn
from keystead.engine.record import KeyRecord
from keystead.errors import UnsupportedOperationError, ValidationError
from keystead.operations import refusals
from keystead.operations.control.common import (
    Listing,
    admit_change,
    check_paging,
    create_name,
    current,
    page,
    set_fields,
)
from keystead.operations.control.policies import bypass_of, check_lockout, parse_policy
from keystead.operations.control.tags import Tag, check_lengths, tag_map
from keystead.operations.control.unborn import KEY_ID, unborn
from keystead.operations.describe import KeyManager, KeyMetadata, manager_of, metadata_of
from keystead.operations.effects import Change, Probe, Running
from keystead.operations.faults import operation
from keystead.operations.pipeline import admit_keyless, arn_of
from keystead.operations.validate import failed
from keystead.operations.world import ControlWorld
from keystead.operations.writes import CreateObject
from keystead.policy import Action, Caller, Question, compile_policy
from keystead.policy.compiled import Policy
from keystead.policy.question import RequestFacts
from keystead.resources.vocabulary import USAGES, KeySpec, KeyUsage, ObjectKind, Origin

_DESCRIPTION: Final = 8192
_USAGE_MISSING: Final = "You must specify a KeyUsage value for all KMS keys except for symmetric encryption keys."
_SELF: Final = "SELF"


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateKeyRequest:
    """AWS CreateKeyRequest."""

    policy: str | None = None
    description: str | None = None
    key_usage: KeyUsage | None = None
    customer_master_key_spec: KeySpec | None = None
    key_spec: KeySpec | None = None
    origin: Origin | None = None
    custom_key_store_id: str | None = None
    bypass_policy_lockout_safety_check: bool | None = None
    tags: tuple[Tag, ...] = ()
    multi_region: bool | None = None
    xks_key_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateKeyResponse:
    """AWS CreateKeyResponse."""

    key_metadata: KeyMetadata


@dataclass(frozen=True, slots=True, kw_only=True)
class ListKeysRequest:
    """AWS ListKeysRequest. `resource_owners`: SELF where it is empty."""

    limit: int | None = None
    marker: str | None = None
    resource_owners: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyListEntry:
    """AWS KeyListEntry."""

    key_id: str
    key_arn: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ListKeysResponse:
    """AWS ListKeysResponse."""

    keys: tuple[KeyListEntry, ...]
    next_marker: str | None
    truncated: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdateKeyDescriptionRequest:
    """AWS UpdateKeyDescriptionRequest."""

    key_id: str
    description: str


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdateKeyDescriptionResponse:
    """Nothing."""


@operation
def create_key(world: ControlWorld, caller: Caller, request: CreateKeyRequest) -> Running[CreateKeyResponse]:
    """AWS CreateKey. A retry of the SDK finds the key that the first attempt began."""
    check_lengths(request.tags)
    if request.description is not None:
        _check_description(request.description)
    yield from admit_keyless(world, caller, Action.CREATE_KEY)
    spec = yield from _spec_of(world, caller, request)
    name = create_name(world, caller, "CreateKey", "key")

    def done() -> KeyRecord | None:
        found = world.keys.key_named(caller.namespace, name)
        return found if found is not None and found.bound and _is_callers(world, caller, found) else None

    if done() is None:
        _check_count(world, caller)
    annotations = {} if request.policy is None else bypass_of(_compiled(world, caller, request.policy), caller.account)
    record: KeyRecord = yield Change(CreateObject(ObjectKind.KEY, caller.namespace, name, spec, annotations), done)
    return CreateKeyResponse(key_metadata=metadata_of(record))


@operation
def list_keys(world: ControlWorld, caller: Caller, request: ListKeysRequest) -> Running[ListKeysResponse]:
    """AWS ListKeys: those of the caller's account, orphans and keys pending deletion too. Nobody shares a key by RAM here."""
    check_paging(request.limit, request.marker)
    yield from admit_keyless(world, caller, Action.LIST_KEYS)
    own = not request.resource_owners or _SELF in request.resource_owners
    found = world.keys.keys_of(caller.account, world.region) if own else ()
    keys = [record for record in found if _is_callers(world, caller, record)]
    chosen = page(world, Listing("ListKeys", caller.account), keys, _id_of, request.limit, request.marker)
    return ListKeysResponse(
        keys=tuple(KeyListEntry(key_id=record.key_id, key_arn=arn_of(record)) for record in chosen.items),
        next_marker=chosen.next_marker,
        truncated=chosen.truncated,
    )


@operation
def update_key_description(
    world: ControlWorld, caller: Caller, request: UpdateKeyDescriptionRequest
) -> Running[UpdateKeyDescriptionResponse]:
    """AWS UpdateKeyDescription."""
    _check_description(request.description)
    record = yield from admit_change(world, caller, Action.UPDATE_KEY_DESCRIPTION, request.key_id, request)

    def done() -> KeyRecord | None:
        now = current(world, record)
        return now if now is not None and now.description == request.description else None

    if done() is None:
        yield Change(set_fields(world, record, {"description": request.description}), done)
    return UpdateKeyDescriptionResponse()


def _id_of(record: KeyRecord) -> str:
    return record.key_id


def _is_callers(world: ControlWorld, caller: Caller, record: KeyRecord) -> bool:
    # An earlier namespace of this name had keys that are not the new tenant's.
    live = world.keys.namespace_uid(caller.namespace)
    return record.account == caller.account and record.namespace == caller.namespace and record.namespace_uid == live


def _check_count(world: ControlWorld, caller: Caller) -> None:
    """All of the account's keys count, whatever their state, as the operator counts them; Keystead's own do not."""
    keys = world.keys.keys_of(caller.account, world.region)
    most = world.keys_per_namespace
    if len(keys) >= most and sum(manager_of(record) is KeyManager.CUSTOMER for record in keys) >= most:
        raise refusals.too_many("keys", most, f"The account {caller.account}")


def _check_description(text: str) -> None:
    if len(text) > _DESCRIPTION:
        raise failed("description", f"have length less than or equal to {_DESCRIPTION}", text)


def _spec_of(world: ControlWorld, caller: Caller, request: CreateKeyRequest) -> Running[Mapping[str, Any]]:
    """The spec of the KmsKey. A region is always said: the endpoint's may be another than the operator's own."""
    _refuse_elsewhere(request)
    key_spec, key_usage = _kind_of(request)
    spec: dict[str, Any] = {"region": world.region, "keySpec": key_spec.value, "keyUsage": key_usage.value}
    if request.description:
        spec["description"] = request.description
    tags = tag_map(request.tags)
    if tags:
        spec["tags"] = [{"key": key, "value": value} for key, value in tags.items()]
    if request.policy is not None:
        spec["policy"] = parse_policy(request.policy)
        compiled = _compiled(world, caller, request.policy)
        if not request.bypass_policy_lockout_safety_check:
            key = unborn(world, caller, key_spec, key_usage, tags)
            facts = RequestFacts(request, world.carried, aliases=lambda: ())
            check_lockout(compiled, caller, caller.account, Question(caller, Action.PUT_KEY_POLICY, key, (), {}, world.now, facts))
    # At the end: the first answer for a spec takes a probe of the token.
    if (yield Probe(key_spec)) is None:
        raise UnsupportedOperationError(f"The key store cannot do keys of KeySpec {key_spec.value}.")
    return spec


def _compiled(world: ControlWorld, caller: Caller, policy: str) -> Policy:
    """The key has no id yet: a Resource that covers it is one that covers any key of the account."""
    return compile_policy(policy, key_arn(world.region, caller.account, KEY_ID))


def _refuse_elsewhere(request: CreateKeyRequest) -> None:
    """Keys whose material would be made or lie elsewhere."""
    if request.origin not in (None, Origin.AWS_KMS):
        raise UnsupportedOperationError(f"Origin {request.origin} is not supported in this version.")
    if request.custom_key_store_id is not None:
        raise UnsupportedOperationError("Custom key stores are not supported in this version.")
    if request.xks_key_id is not None:
        raise UnsupportedOperationError("External key stores are not supported in this version.")
    if request.multi_region:
        raise UnsupportedOperationError("Multi-Region keys are not supported in this version.")


def _kind_of(request: CreateKeyRequest) -> tuple[KeySpec, KeyUsage]:
    if request.key_spec and request.customer_master_key_spec:
        raise ValidationError("You cannot specify KeySpec and CustomerMasterKeySpec in the same request.")
    spec = request.key_spec or request.customer_master_key_spec or KeySpec.SYMMETRIC_DEFAULT
    usage = request.key_usage
    if usage is None:
        if spec is not KeySpec.SYMMETRIC_DEFAULT:
            raise ValidationError(_USAGE_MISSING)
        return spec, KeyUsage.ENCRYPT_DECRYPT
    if usage not in USAGES[spec]:
        raise ValidationError(f"KeyUsage {usage.value} is not compatible with KeySpec {spec.value}")
    return spec, usage
