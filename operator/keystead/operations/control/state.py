"""EnableKey, DisableKey, ScheduleKeyDeletion, CancelKeyDeletion.

The last three work on an orphan too: they write a KmsKey under the record's own name (RECORDS, Life of a key). Those that narrow are always
written, also where this replica's record shows the wish already: another replica may have widened a moment ago.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from msgspec import UNSET, UnsetType

from keystead.engine.clock import parse_time
from keystead.engine.record import KeyRecord
from keystead.errors import KmsInternalError
from keystead.operations import refusals
from keystead.operations.control.common import admit_change, current, set_fields
from keystead.operations.effects import Change, Running
from keystead.operations.faults import operation
from keystead.operations.pipeline import arn_of
from keystead.operations.validate import failed
from keystead.operations.world import ControlWorld
from keystead.policy import Action, Caller
from keystead.resources.vocabulary import KeyState

_SHORTEST: Final = 7
_LONGEST: Final = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class EnableKeyRequest:
    """AWS EnableKeyRequest."""

    key_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EnableKeyResponse:
    """Nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DisableKeyRequest:
    """AWS DisableKeyRequest."""

    key_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DisableKeyResponse:
    """Nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleKeyDeletionRequest:
    """AWS ScheduleKeyDeletionRequest."""

    key_id: str
    pending_window_in_days: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleKeyDeletionResponse:
    """AWS ScheduleKeyDeletionResponse; `key_id` is the key ARN."""

    key_id: str
    deletion_date: datetime
    key_state: KeyState
    pending_window_in_days: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CancelKeyDeletionRequest:
    """AWS CancelKeyDeletionRequest."""

    key_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CancelKeyDeletionResponse:
    """AWS CancelKeyDeletionResponse; `key_id` is the key ARN."""

    key_id: str


@operation
def enable_key(world: ControlWorld, caller: Caller, request: EnableKeyRequest) -> Running[EnableKeyResponse]:
    """AWS EnableKey. A hold is not lifted by it, and says so."""
    record = yield from admit_change(world, caller, Action.ENABLE_KEY, request.key_id, request)
    if not isinstance(record.hold, UnsetType):
        raise refusals.held(arn_of(record), record.hold.since, record.hold.by)
    if record.state is not KeyState.ENABLED:
        enabled = _when(world, record, lambda now: now.state is KeyState.ENABLED)
        yield Change(set_fields(world, record, {"enabled": True}), enabled)
    return EnableKeyResponse()


@operation
def disable_key(world: ControlWorld, caller: Caller, request: DisableKeyRequest) -> Running[DisableKeyResponse]:
    """AWS DisableKey."""
    record = yield from admit_change(world, caller, Action.DISABLE_KEY, request.key_id, request)
    if record.bound or record.enabled:
        disabled = _when(world, record, lambda now: not now.enabled)
        yield Change(set_fields(world, record, {"enabled": False}), disabled, narrows=True)
    return DisableKeyResponse()


@operation
def schedule_key_deletion(
    world: ControlWorld, caller: Caller, request: ScheduleKeyDeletionRequest
) -> Running[ScheduleKeyDeletionResponse]:
    """AWS ScheduleKeyDeletion. Use stops at once, whatever depends on the key."""
    days = _LONGEST if request.pending_window_in_days is None else request.pending_window_in_days
    if days < _SHORTEST:
        raise failed("pendingWindowInDays", f"have value greater than or equal to {_SHORTEST}", days)
    if days > _LONGEST:
        raise failed("pendingWindowInDays", f"have value less than or equal to {_LONGEST}", days)
    record = yield from admit_change(world, caller, Action.SCHEDULE_KEY_DELETION, request.key_id, request)
    fields = {"scheduledDeletion": {"pendingWindowInDays": days}}
    pending = _when(world, record, lambda now: now.state is KeyState.PENDING_DELETION)
    shown: KeyRecord = yield Change(set_fields(world, record, fields), pending, narrows=True)
    if shown.deletion_date is UNSET:
        raise KmsInternalError
    return ScheduleKeyDeletionResponse(
        key_id=arn_of(shown),
        deletion_date=parse_time(shown.deletion_date),
        key_state=shown.state,
        pending_window_in_days=days,
    )


@operation
def cancel_key_deletion(
    world: ControlWorld, caller: Caller, request: CancelKeyDeletionRequest
) -> Running[CancelKeyDeletionResponse]:
    """AWS CancelKeyDeletion. The key is Disabled afterwards."""
    record = yield from admit_change(world, caller, Action.CANCEL_KEY_DELETION, request.key_id, request)
    cancelled = _when(world, record, lambda now: now.state is KeyState.DISABLED)
    yield Change(set_fields(world, record, {"scheduledDeletion": None, "enabled": False}), cancelled)
    return CancelKeyDeletionResponse(key_id=arn_of(record))


def _when(world: ControlWorld, record: KeyRecord, holds: Callable[[KeyRecord], bool]) -> Callable[[], KeyRecord | None]:
    """The record as soon as this holds of it; for a key whose object had gone, as soon as one holds it again too."""

    def done() -> KeyRecord | None:
        now = current(world, record)
        return now if now is not None and now.bound and holds(now) else None

    return done
