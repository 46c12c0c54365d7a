"""EnableKeyRotation, DisableKeyRotation, GetKeyRotationStatus, RotateKeyOnDemand, ListKeyRotations.

All of them are for SYMMETRIC_DEFAULT keys; AWS's refusal for others has no text.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from msgspec import UNSET

from keystead.engine.births import on_demand_versions
from keystead.engine.clock import parse_time
from keystead.engine.plan.key_life import may_rotate
from keystead.engine.plan.key_settings import DEFAULT_PERIOD
from keystead.engine.record import KeyRecord, KeyVersion, Rotation
from keystead.engine.rotation import MAX_ON_DEMAND, next_rotation
from keystead.errors import UnsupportedOperationError
from keystead.operations import refusals
from keystead.operations.control.common import (
    Listing,
    admit_change,
    admit_key,
    check_paging,
    create_name,
    current,
    page,
    set_fields,
    target_of,
)
from keystead.operations.effects import Change, Running
from keystead.operations.faults import operation
from keystead.operations.pipeline import arn_of
from keystead.operations.validate import failed
from keystead.operations.world import ControlWorld
from keystead.operations.writes import Annotate
from keystead.policy import Action, Caller
from keystead.resources import names
from keystead.resources.vocabulary import KeySpec, KeyState

_SHORTEST: Final = 90
_LONGEST: Final = 2560
_SOON: Final = timedelta(minutes=20)
"""AWS: no rotation on demand while an automatic one is in progress or begins within 20 minutes (ConflictException)."""


class RotationType(StrEnum):
    """AWS RotationType."""

    AUTOMATIC = "AUTOMATIC"
    ON_DEMAND = "ON_DEMAND"


class KeyMaterialState(StrEnum):
    """AWS KeyMaterialState, of keys of origin AWS_KMS."""

    CURRENT = "CURRENT"
    NON_CURRENT = "NON_CURRENT"


class IncludeKeyMaterial(StrEnum):
    """AWS IncludeKeyMaterial."""

    ALL_KEY_MATERIAL = "ALL_KEY_MATERIAL"
    ROTATIONS_ONLY = "ROTATIONS_ONLY"


@dataclass(frozen=True, slots=True, kw_only=True)
class EnableKeyRotationRequest:
    """AWS EnableKeyRotationRequest."""

    key_id: str
    rotation_period_in_days: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EnableKeyRotationResponse:
    """Nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DisableKeyRotationRequest:
    """AWS DisableKeyRotationRequest."""

    key_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DisableKeyRotationResponse:
    """Nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GetKeyRotationStatusRequest:
    """AWS GetKeyRotationStatusRequest."""

    key_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class GetKeyRotationStatusResponse:
    """AWS GetKeyRotationStatusResponse; `key_id` is the bare id. RotateKeyOnDemand answers when it is done: none is ever in progress."""

    key_rotation_enabled: bool
    key_id: str
    rotation_period_in_days: int | None
    next_rotation_date: datetime | None
    on_demand_rotation_start_date: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RotateKeyOnDemandRequest:
    """AWS RotateKeyOnDemandRequest."""

    key_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RotateKeyOnDemandResponse:
    """AWS RotateKeyOnDemandResponse; `key_id` is the key ARN."""

    key_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ListKeyRotationsRequest:
    """AWS ListKeyRotationsRequest."""

    key_id: str
    include_key_material: IncludeKeyMaterial | None = None
    limit: int | None = None
    marker: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RotationsListEntry:
    """AWS RotationsListEntry of a key of origin AWS_KMS. The first material has neither date nor type."""

    key_id: str
    key_material_id: str
    key_material_state: KeyMaterialState
    rotation_date: datetime | None
    rotation_type: RotationType | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ListKeyRotationsResponse:
    """AWS ListKeyRotationsResponse, oldest first."""

    rotations: tuple[RotationsListEntry, ...]
    next_marker: str | None
    truncated: bool


@operation
def enable_key_rotation(
    world: ControlWorld, caller: Caller, request: EnableKeyRotationRequest
) -> Running[EnableKeyRotationResponse]:
    """AWS EnableKeyRotation."""
    days = DEFAULT_PERIOD if request.rotation_period_in_days is None else request.rotation_period_in_days
    if days < _SHORTEST:
        raise failed("rotationPeriodInDays", f"have value greater than or equal to {_SHORTEST}", days)
    if days > _LONGEST:
        raise failed("rotationPeriodInDays", f"have value less than or equal to {_LONGEST}", days)
    record = yield from admit_change(world, caller, Action.ENABLE_KEY_ROTATION, request.key_id, request)
    _refuse_others(record)
    shown = _when(world, record, lambda now: now.enabled and now.period == days)
    if shown() is None:
        fields = {"rotation": {"enabled": True, "periodInDays": days}}
        yield Change(set_fields(world, record, fields), shown)
    return EnableKeyRotationResponse()


@operation
def disable_key_rotation(
    world: ControlWorld, caller: Caller, request: DisableKeyRotationRequest
) -> Running[DisableKeyRotationResponse]:
    """AWS DisableKeyRotation. Period and windows stay in the record."""
    record = yield from admit_change(world, caller, Action.DISABLE_KEY_ROTATION, request.key_id, request)
    _refuse_others(record)
    shown = _when(world, record, lambda now: not now.enabled)
    if shown() is None:
        yield Change(set_fields(world, record, {"rotation": {"enabled": False}}), shown)
    return DisableKeyRotationResponse()


@operation
def get_key_rotation_status(
    world: ControlWorld, caller: Caller, request: GetKeyRotationStatusRequest
) -> Running[GetKeyRotationStatusResponse]:
    """AWS GetKeyRotationStatus. A key that is pending deletion does not rotate; a disabled one keeps its status and has no date."""
    record = yield from admit_key(world, caller, Action.GET_KEY_ROTATION_STATUS, request.key_id, request)
    _refuse_others(record)
    rotation = record.rotation
    enabled = rotation is not UNSET and rotation.enabled and record.state is not KeyState.PENDING_DELETION
    due = next_rotation(record, world.now) if enabled and may_rotate(record) else None
    return GetKeyRotationStatusResponse(
        key_rotation_enabled=enabled,
        key_id=record.key_id,
        rotation_period_in_days=rotation.period if rotation is not UNSET and enabled else None,
        next_rotation_date=due,
        on_demand_rotation_start_date=None,
    )


@operation
def rotate_key_on_demand(
    world: ControlWorld, caller: Caller, request: RotateKeyOnDemandRequest
) -> Running[RotateKeyOnDemandResponse]:
    """AWS RotateKeyOnDemand. A retry of the SDK asks with the same value, and the key rotates once."""
    record = yield from admit_change(world, caller, Action.ROTATE_KEY_ON_DEMAND, request.key_id, request)
    _refuse_others(record)
    value = create_name(world, caller, f"RotateKeyOnDemand {record.key_id}", "api")

    def done() -> KeyRecord | None:
        now = current(world, record)
        return now if now is not None and now.last_rotate_request == value else None

    if done() is None:
        _refuse_more(world, record)
        yield Change(Annotate(target_of(record), {names.ROTATE_REQUESTED_AT: value}), done)
    return RotateKeyOnDemandResponse(key_id=arn_of(record))


@operation
def list_key_rotations(
    world: ControlWorld, caller: Caller, request: ListKeyRotationsRequest
) -> Running[ListKeyRotationsResponse]:
    """AWS ListKeyRotations."""
    check_paging(request.limit, request.marker)
    record = yield from admit_key(world, caller, Action.LIST_KEY_ROTATIONS, request.key_id, request)
    _refuse_others(record)
    everything = request.include_key_material is IncludeKeyMaterial.ALL_KEY_MATERIAL
    versions = record.versions if everything else record.versions[1:]
    listing = Listing("ListKeyRotations", caller.account, record.key_id)
    found = page(world, listing, versions, lambda version: f"{version.n:010}", request.limit, request.marker)
    asked_for = on_demand_versions(record)
    return ListKeyRotationsResponse(
        rotations=tuple(_entry(record, version, asked_for) for version in found.items),
        next_marker=found.next_marker,
        truncated=found.truncated,
    )


def _entry(record: KeyRecord, version: KeyVersion, asked_for: frozenset[int]) -> RotationsListEntry:
    first = version.n == 1
    kind = RotationType.ON_DEMAND if version.n in asked_for else RotationType.AUTOMATIC
    return RotationsListEntry(
        key_id=record.key_id,
        key_material_id=version.material_id,
        key_material_state=KeyMaterialState.CURRENT if version.n == record.current else KeyMaterialState.NON_CURRENT,
        rotation_date=None if first else parse_time(version.created),
        rotation_type=None if first else kind,
    )


def _refuse_others(record: KeyRecord) -> None:
    if record.spec is not KeySpec.SYMMETRIC_DEFAULT:
        raise UnsupportedOperationError


def _refuse_more(world: ControlWorld, record: KeyRecord) -> None:
    if record.on_demand_rotations >= MAX_ON_DEMAND:
        raise refusals.no_more_rotations(arn_of(record))
    due = next_rotation(record, world.now)
    if due is not None and due <= world.now + _SOON:
        raise refusals.rotation_is_due(arn_of(record))


def _when(world: ControlWorld, record: KeyRecord, holds: Callable[[Rotation], bool]) -> Callable[[], KeyRecord | None]:
    """The record as soon as this holds of its rotation. None said is one that is off."""

    def done() -> KeyRecord | None:
        now = current(world, record)
        if now is None:
            return None
        rotation = Rotation(enabled=False, period=DEFAULT_PERIOD) if now.rotation is UNSET else now.rotation
        return now if holds(rotation) else None

    return done
