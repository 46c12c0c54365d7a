"""plan_key: a KmsKey and its record -> what to do. Pure (ARCHITECTURE 3, One writer).

    absent record             -> CreateKey
    present record            -> WriteKey with the record as it must become, or RotateKey, or nothing
    object gone               -> WriteKey with bound = false (an orphan)
    anything that stands against it -> an Obstacle, and no step

At most one step a pass: after a write the next pass plans anew from what was written.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from msgspec import UNSET, UnsetType
from msgspec.structs import replace

from keystead.engine.clock import format_time
from keystead.engine.plan.common import (
    CrdFacts,
    NamespaceFacts,
    Obstacle,
    Opened,
    gone_obstacle,
    integrity_obstacle,
    namespace_obstacle,
)
from keystead.engine.plan.key_settings import KeySettings, given, settings_of, without_default
from keystead.engine.record.key import Hold, KeyRecord
from keystead.engine.rotation import MAX_ON_DEMAND, next_rotation
from keystead.errors import InvalidSpecError
from keystead.resources import names
from keystead.resources.kms_key import KmsKey, KmsKeySpec
from keystead.resources.reasons import Reason
from keystead.resources.vocabulary import KeySpec, KeyState, Protection


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyFacts:
    """All that a plan for one key depends on. `protection`: what the store can do with the spec; None: unsupported."""

    key: KmsKey | None
    record: KeyRecord | None
    opened: Opened | None
    namespace: NamespaceFacts | None
    crd: CrdFacts | None
    now: datetime
    region: str
    protection: Protection | None = None


@dataclass(frozen=True, slots=True)
class CreateKey:
    """Generate material and create the record, create-only. The members that need the outside are filled in there."""

    draft: KeySettings
    protection: Protection


@dataclass(frozen=True, slots=True)
class WriteKey:
    """Replace the record by this one (seq, prev and transition are the writer's)."""

    record: KeyRecord


@dataclass(frozen=True, slots=True)
class RotateKey:
    """Generate the next version, then replace the record. `record` carries the changes that come with it.

    `request`: the value of rotate-requested-at that this rotation answers; None: it is due by schedule.
    """

    record: KeyRecord
    request: str | None = None


KeyStep = CreateKey | WriteKey | RotateKey


@dataclass(frozen=True, slots=True)
class KeyPlan:
    """One step at most, or an obstacle; with both the step is done and the obstacle shown.

    `note` is for the log: why an absent object changes nothing.
    """

    step: KeyStep | None = None
    obstacle: Obstacle | None = None
    note: str = ""


def plan_key(facts: KeyFacts) -> KeyPlan:
    """What to do about one key."""
    if facts.key is None:
        return _plan_absent(facts)
    obstacle = find_obstacle(facts)
    if obstacle is not None:
        return KeyPlan(_latch(facts, facts.key, obstacle), obstacle)
    if facts.record is None:
        return _plan_birth(facts, facts.key)
    try:
        wanted = _wanted(facts, facts.key, facts.record)
    except InvalidSpecError as error:
        obstacle = Obstacle(Reason.INVALID_SPEC, str(error))
        return KeyPlan(_latch(facts, facts.key, obstacle), obstacle)
    # Decided by the record as it becomes: who disables, holds or stops the rotation of a key that is due gets no rotation.
    due, request = _rotation_due(facts, facts.key, wanted)
    if due:
        return KeyPlan(RotateKey(wanted, request))
    return KeyPlan(WriteKey(wanted)) if wanted != facts.record else KeyPlan()


def _latch(facts: KeyFacts, key: KmsKey, obstacle: Obstacle) -> WriteKey | None:
    """A hold wins over spec: neither spec.suspend nor a spec that cannot be carried out keeps a responder from stopping the key."""
    record = facts.record
    if record is None or obstacle.reason not in (Reason.SUSPENDED, Reason.INVALID_SPEC) or record.hold is not UNSET:
        return None
    hold = _hold(facts, key, record)
    return None if hold is UNSET else WriteKey(replace(record, hold=hold))


def _plan_absent(facts: KeyFacts) -> KeyPlan:
    record = facts.record
    if record is None or not record.bound or record.state is KeyState.DESTROYED:
        return KeyPlan()
    reason = gone_obstacle(record.crd_uid, record.namespace_uid, facts.crd, facts.namespace)
    if reason is not None:
        return KeyPlan(note=f"{record.namespace}/{record.name} has no object, but {reason}")
    return KeyPlan(WriteKey(replace(record, bound=False)))


def _plan_birth(facts: KeyFacts, key: KmsKey) -> KeyPlan:
    if facts.protection is None:
        return KeyPlan(obstacle=unsupported(key.spec.key_spec))
    try:
        return KeyPlan(CreateKey(settings_of(key.spec, None), facts.protection))
    except InvalidSpecError as error:
        return KeyPlan(obstacle=Obstacle(Reason.INVALID_SPEC, str(error)))


def unsupported(spec: KeySpec) -> Obstacle:
    """The key store can do nothing with this spec."""
    return Obstacle(
        Reason.KEY_SPEC_UNSUPPORTED,
        f"the key store cannot generate, wrap and unwrap {spec} keys, and softwareProtection is not Allowed",
    )


def find_obstacle(facts: KeyFacts) -> Obstacle | None:
    """The first thing that stands against any work, in this order (tested): first whether the record is this object's at all."""
    assert facts.key is not None
    return (
        integrity_obstacle(facts.key.status, facts.opened, facts.key.status.key_id is not UNSET)
        or namespace_obstacle(facts.record, facts.namespace)
        or _suspended(facts.key)
        or _terminating(facts)
        or _other_key(facts.key, facts.record)
        or _destroyed(facts.record)
        or _immutable_changed(facts.key.spec, facts.record)
    )


def _suspended(key: KmsKey) -> Obstacle | None:
    return Obstacle(Reason.SUSPENDED, "spec.suspend is true; nothing is changed") if key.spec.suspend else None


def _terminating(facts: KeyFacts) -> Obstacle | None:
    if facts.record is None and (facts.namespace is None or facts.namespace.terminating):
        return Obstacle(Reason.CREATING, "the namespace is being deleted; no key is made in it")
    return None


def _other_key(key: KmsKey, record: KeyRecord | None) -> Obstacle | None:
    """A forged or foreign status.keyId hurts only its own object."""
    named = key.status.key_id
    if record is not None and named is not UNSET and named != record.key_id:
        return Obstacle(
            Reason.RECORD_INTEGRITY,
            "status names another key than the sealed record of this name; find out who wrote status.keyId, then clear it",
        )
    return None


def _destroyed(record: KeyRecord | None) -> Obstacle | None:
    if record is not None and record.state is KeyState.DESTROYED:
        return Obstacle(Reason.KEY_DESTROYED, "the key of this name was destroyed; its material is gone")
    return None


def _immutable_changed(spec: KmsKeySpec, record: KeyRecord | None) -> Obstacle | None:
    """A manifest re-applied with another identity than the key that bears its name."""
    if record is None:
        return None
    pairs = (
        ("spec.keySpec", spec.key_spec, record.spec),
        ("spec.keyUsage", spec.key_usage, record.usage),
        ("spec.origin", spec.origin, record.origin),
        ("spec.region", record.region if spec.region is UNSET else spec.region, record.region),
    )
    for field, wanted, has in pairs:
        if wanted != has:
            message = f"{field}: the key of this name is {has}, not {wanted}; use another name for another key"
            return Obstacle(Reason.INVALID_SPEC, message)
    return None


def _wanted(facts: KeyFacts, key: KmsKey, record: KeyRecord) -> KeyRecord:
    """The record as spec, annotations and the world want it."""
    settings = settings_of(key.spec, record)
    changed = replace(
        record,
        description=settings.description,
        tags=settings.tags,
        policy=without_default(settings.policy, record.account),
        enabled=settings.enabled,
        rotation=settings.rotation,
        deletion_policy=settings.deletion_policy,
        pending_window_in_days=settings.pending_window_in_days,
        hold=_hold(facts, key, record),
        bound=True,
        object_uid=key.metadata.uid,
        crd_uid=facts.crd.uid if facts.crd else record.crd_uid,
    )
    return _with_state(facts, key, changed)


def _hold(facts: KeyFacts, key: KmsKey, record: KeyRecord) -> Hold | UnsetType:
    """A latch: set by the annotation, lifted by the value `released` only; removing the annotation changes nothing."""
    value = key.metadata.annotations.get(names.HOLD)
    if value == names.HOLD_RELEASED:
        return UNSET
    if value is not None and record.hold is UNSET:
        return Hold(since=format_time(facts.now), by=value[:256])
    return record.hold


def _with_state(facts: KeyFacts, key: KmsKey, record: KeyRecord) -> KeyRecord:
    """State from intent: scheduledDeletion stops use; taking it away ends in Disabled unless the spec says enabled: true."""
    scheduled = key.spec.scheduled_deletion
    if scheduled is not UNSET:
        if record.state is KeyState.PENDING_DELETION:
            return record
        days = given(scheduled.pending_window_in_days, record.pending_window_in_days)
        end = format_time(facts.now + timedelta(days=days))
        return replace(record, state=KeyState.PENDING_DELETION, deletion_date=end)
    enabled = record.enabled
    if record.state is KeyState.PENDING_DELETION and key.spec.enabled is not True:
        enabled = False
    state = KeyState.ENABLED if enabled else KeyState.DISABLED
    return replace(record, enabled=enabled, state=state, deletion_date=UNSET)


def _rotation_due(facts: KeyFacts, key: KmsKey, record: KeyRecord) -> tuple[bool, str | None]:
    """(whether to rotate now, the request that it answers)."""
    if not _may_rotate(record):
        return False, None
    request = rotate_request(key, record)
    if request is not None and record.on_demand_rotations < MAX_ON_DEMAND:
        return True, request
    due = next_rotation(record)
    return due is not None and due <= facts.now, None


def _may_rotate(record: KeyRecord) -> bool:
    return record.spec is KeySpec.SYMMETRIC_DEFAULT and record.state is KeyState.ENABLED and record.hold is UNSET


def next_change(key: KmsKey | None, record: KeyRecord | None, now: datetime) -> datetime | None:
    """When the plan changes by time alone: the next scheduled rotation of a key that may rotate. Never a moment past."""
    if key is None or record is None or not _may_rotate(record):
        return None
    due = next_rotation(record)
    return due if due is not None and due > now else None


def rotate_request(key: KmsKey, record: KeyRecord) -> str | None:
    """A value of rotate-requested-at that the record has not answered yet.

    The record remembers the answered value: a kill between the record's write and the status' must not rotate twice.
    """
    value = key.metadata.annotations.get(names.ROTATE_REQUESTED_AT)
    if value is None or value[:256] == record.last_rotate_request:
        return None
    return value[:256]
