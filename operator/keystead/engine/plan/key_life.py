"""The life of a key, as its record tells it: holds, states, deletion and its cancelling, the tombstone (RECORDS, Life of a key). Pure.

    Enabled <-> Disabled        spec.enabled
    any      -> PendingDeletion  spec.scheduledDeletion, at once; or a ScheduleDeletion key's object goes and nothing depends on it
    Pending  -> Disabled         scheduledDeletion removed, cancel-deletion, or applied again (Enabled where the spec says enabled: true)
    Pending  -> Destroyed        the window is over: the tombstone
    a hold                       beside all of these; only `released` lifts it
"""

from __future__ import annotations

from datetime import datetime, timedelta

from msgspec import UNSET, UnsetType
from msgspec.structs import replace

from keystead.engine.clock import format_time, parse_time
from keystead.engine.plan.key_settings import given
from keystead.engine.record.key import Hold, KeyRecord
from keystead.resources import names
from keystead.resources.kms_key import KmsKey
from keystead.resources.vocabulary import DeletionPolicy, KeySpec, KeyState

_DESTROYED_AT = "destroyedAt"
"""Member of `ext` in a tombstone: when the material was destroyed. Objects older than it belong to the destroyed key."""


def hold_of(key: KmsKey, record: KeyRecord, now: datetime) -> Hold | UnsetType:
    """A latch: set by the annotation, lifted by the value `released` only; removing the annotation changes nothing."""
    value = key.metadata.annotations.get(names.HOLD)
    if value == names.HOLD_RELEASED:
        return UNSET
    if value is not None and record.hold is UNSET:
        return Hold(since=format_time(now), by=value[:256])
    return record.hold


def deletion_wanted(key: KmsKey) -> bool:
    """spec.scheduledDeletion, unless the annotation cancel-deletion takes it back."""
    return key.spec.scheduled_deletion is not UNSET and key.metadata.annotations.get(names.CANCEL_DELETION) != "true"


def with_state(record: KeyRecord, before: KeyState, key: KmsKey, now: datetime) -> KeyRecord:
    """The record with the state that a live object wants. Cancelling ends in Disabled unless the spec says enabled: true."""
    if deletion_wanted(key):
        if before is KeyState.PENDING_DELETION:
            return record
        days = record.pending_window_in_days
        if key.spec.scheduled_deletion is not UNSET:
            days = given(key.spec.scheduled_deletion.pending_window_in_days, days)
        return pending(record, days, now)
    cancelled = before is KeyState.PENDING_DELETION and key.spec.enabled is not True
    enabled = record.enabled and not cancelled
    state = KeyState.ENABLED if enabled else KeyState.DISABLED
    return replace(record, enabled=enabled, state=state, deletion_date=UNSET)


def pending(record: KeyRecord, days: int, now: datetime) -> KeyRecord:
    """The record with its waiting window begun."""
    return replace(record, state=KeyState.PENDING_DELETION, deletion_date=format_time(now + timedelta(days=days)))


def after_deletion(record: KeyRecord, in_use: bool, now: datetime) -> KeyRecord:
    """The record of a key whose object is gone. Nothing is made shorter: a window that runs keeps its end.

    With dependants (somebody took the finalizer away by hand) the window begins when the last one goes.
    """
    orphan = replace(record, bound=False)
    waits = record.state is KeyState.PENDING_DELETION or in_use
    if record.deletion_policy is DeletionPolicy.RETAIN or waits:
        return orphan
    return pending(orphan, record.pending_window_in_days, now)


def shown_state(record: KeyRecord) -> KeyState:
    """What KeyState shows: a hold makes it Disabled, unless the key is on its way out already."""
    if record.hold is UNSET or record.state in (KeyState.PENDING_DELETION, KeyState.DESTROYED):
        return record.state
    return KeyState.DISABLED


def may_rotate(record: KeyRecord) -> bool:
    """Whether a rotation, due or asked for, is done at all."""
    return record.spec is KeySpec.SYMMETRIC_DEFAULT and record.state is KeyState.ENABLED and record.hold is UNSET


def tombstone(record: KeyRecord, now: datetime) -> KeyRecord:
    """What stays of a destroyed key for ever: everything but its material."""
    versions = [replace(version, wrapped=UNSET, plain_len=UNSET) for version in record.versions]
    return replace(
        record,
        state=KeyState.DESTROYED,
        enabled=False,
        deletion_date=UNSET,
        versions=versions,
        ext={**record.ext, _DESTROYED_AT: format_time(now)},
    )


def destroyed_at(record: KeyRecord) -> datetime | None:
    """When a tombstone's material was destroyed."""
    told = record.ext.get(_DESTROYED_AT)
    return parse_time(told) if record.state is KeyState.DESTROYED and isinstance(told, str) else None


def remade_after_destruction(key: KmsKey, key_id: str) -> bool:
    """Whether an administrator lets the object have a new key after the destroyed one with this id."""
    return key.metadata.annotations.get(names.NEW_KEY_AFTER_DESTRUCTION) == key_id


def set_aside(record: KeyRecord) -> KeyRecord:
    """The record as it lies under `orphan-<id>`: nobody's."""
    return replace(record, bound=False)


def waits_for(record: KeyRecord) -> bool:
    """Whether time or the last dependant changes a record that has no object."""
    if record.state is KeyState.DESTROYED:
        return False
    return record.state is KeyState.PENDING_DELETION or record.deletion_policy is DeletionPolicy.SCHEDULE_DELETION
