"""The status of a KmsKey, and the events that a change of its record calls for."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from msgspec import UNSET, UnsetType
from msgspec.structs import replace

from keystead.engine.clock import parse_time
from keystead.engine.identifiers import key_arn
from keystead.engine.plan.common import NOTHING_DEPENDS, Dependants, Obstacle, Opened, rotate_request
from keystead.engine.plan.key_life import deletion_wanted, may_rotate, shown_state
from keystead.engine.plan.key_settings import shown_policy
from keystead.engine.plan.secret import pem
from keystead.engine.record.key import KeyRecord
from keystead.engine.rotation import MAX_ON_DEMAND, next_rotation
from keystead.engine.view.common import Notice, believes, condition, obstacle_notices, shows, with_conditions
from keystead.resources import names
from keystead.resources.conditions import Condition, ConditionType, find_condition
from keystead.resources.events import Event
from keystead.resources.kms_key import Dependents, KeyMaterial, KmsKey, KmsKeyStatus
from keystead.resources.reasons import Reason
from keystead.resources.vocabulary import KeySpec, KeyState

_SHOWN_MATERIALS: Final = 16
_ENDED: Final = "PolicyEnforced"


def key_status(
    key: KmsKey,
    record: KeyRecord | None,
    opened: Opened | None,
    obstacle: Obstacle | None,
    now: datetime,
    dependants: Dependants = NOTHING_DEPENDS,
    remark: str = "",
) -> KmsKeyStatus:
    """The whole status. remark: on the policy in force (reconciler/keypolicy.py).

    With an obstacle that denies the record's credit, the record's members are those shown before.
    """
    believed = record if believes(obstacle) else None
    if obstacle is not None and obstacle.reason is Reason.SUSPENDED and believed is not None and believed.hold is not UNSET:
        obstacle = state_of(believed)  # a hold wins over spec, suspend included
    said = obstacle or _in_use(key, believed, dependants) or state_of(believed)
    if remark and said.reason is Reason.AVAILABLE:
        said = Obstacle(said.reason, f"{said.message}; {remark}")
    own = [] if believed is None else _own_conditions(key, believed, now)
    base = key.status if believed is None else _view(key, believed, opened, dependants, now)
    return with_conditions(base, _without_ended(key.status), key.metadata, said, own, now)


def _without_ended(shown: KmsKeyStatus) -> KmsKeyStatus:
    """The status without a condition that an earlier version set and this one knows nothing of: it would stay for ever."""
    return replace(shown, conditions=tuple(each for each in shown.conditions if each.type != _ENDED))


def _in_use(key: KmsKey, record: KeyRecord | None, dependants: Dependants) -> Obstacle | None:
    """A deletion that waits for dependants. The key works on; Kubernetes cannot take the deletion back."""
    if record is None or not key.metadata.terminating or names.IN_USE not in key.metadata.finalizers:
        return None
    return Obstacle(
        Reason.IN_USE,
        f"the object is being deleted, which cannot be taken back; the key stays as it is until nothing depends on it: {dependants}",
    )


def state_of(record: KeyRecord | None) -> Obstacle:
    """What the record's state says in words of the reason table."""
    if record is None:
        return Obstacle(Reason.CREATING, "the key is being made")
    if record.hold is not UNSET:
        return Obstacle(Reason.HELD, f"held since {record.hold.since}; only the annotation value 'released' lifts it")
    if record.state is KeyState.PENDING_DELETION:
        return Obstacle(
            Reason.PENDING_DELETION, f"use has stopped; the material is destroyed at {record.deletion_date}"
        )
    if record.state is KeyState.DISABLED:
        return Obstacle(Reason.DISABLED, "every cryptographic operation is refused; spec.enabled: true enables the key")
    return Obstacle(Reason.AVAILABLE, "the key can be used")


def _own_conditions(key: KmsKey, record: KeyRecord, now: datetime) -> list[Condition]:
    generation = key.metadata.generation
    found: list[Condition] = []
    rotation = _rotation_said(key, record)
    if rotation is not None:
        found.append(condition(ConditionType.ROTATION_SUCCEEDED, rotation.reason is Reason.ROTATED, rotation, generation, now))
    ends = _deletion_said(key, record)
    if ends is not None:
        scheduled = record.state is KeyState.PENDING_DELETION
        found.append(condition(ConditionType.DELETION_SCHEDULED, scheduled, ends, generation, now))
    return found


def _rotation_said(key: KmsKey, record: KeyRecord) -> Obstacle | None:
    """A request that cannot be carried out is told, and so is what was done."""
    open_request = rotate_request(key.metadata, record) is not None
    if open_request and record.on_demand_rotations >= MAX_ON_DEMAND:
        words = f"{MAX_ON_DEMAND} rotations on demand are the most that a key may have"
        return Obstacle(Reason.ROTATION_FAILED, f"rotate-requested-at: {words}")
    if open_request and not may_rotate(record):
        if record.spec is KeySpec.SYMMETRIC_DEFAULT:
            words = "waits until the key is enabled and no hold is on it; removing the annotation withdraws the request"
        else:
            words = "only SYMMETRIC_DEFAULT keys rotate; make a new KmsKey and move the alias, and remove the annotation"
        return Obstacle(Reason.ROTATION_FAILED, f"rotate-requested-at: {words}")
    if record.n_versions > 1:
        return Obstacle(Reason.ROTATED, f"{record.n_versions - 1} rotation(s) so far")
    return None


def _deletion_said(key: KmsKey, record: KeyRecord) -> Obstacle | None:
    """Told while a window runs, and from then on; and where a wish to delete is not carried out."""
    if record.state is KeyState.PENDING_DELETION:
        return Obstacle(Reason.PENDING_DELETION, f"the material is destroyed at {record.deletion_date}")
    if record.state is KeyState.DESTROYED:
        return Obstacle(Reason.KEY_DESTROYED, "the material is destroyed")
    reason = state_of(record).reason
    if key.spec.scheduled_deletion is not UNSET and not deletion_wanted(key):
        words = f"the annotation {names.CANCEL_DELETION} takes spec.scheduledDeletion back; remove both"
        return Obstacle(reason, words)
    told = any(c.type == ConditionType.DELETION_SCHEDULED for c in key.status.conditions)
    return Obstacle(reason, "no deletion is scheduled") if told else None


def _view(key: KmsKey, record: KeyRecord, opened: Opened | None, dependants: Dependants, now: datetime) -> KmsKeyStatus:
    current = record.current_version
    due = next_rotation(record, now) if may_rotate(record) else None
    return KmsKeyStatus(
        record_seq=opened.seq if opened else UNSET,
        record_digest=opened.digest if opened else UNSET,
        last_handled_rotate_at=record.last_rotate_request,
        key_id=record.key_id,
        key_arn=key_arn(record.region, record.account, record.key_id),
        key_state=shown_state(record),
        protection_level=record.protection,
        current_key_material_id=current.material_id,
        key_materials=_materials(record),
        public_key=pem(current.spki).decode() if current.spki is not UNSET else UNSET,
        creation_time=parse_time(record.created),
        last_rotation_time=parse_time(current.created) if record.n_versions > 1 else UNSET,
        next_rotation_time=UNSET if due is None else due.replace(microsecond=0),
        deletion_time=_time(record.deletion_date),
        dependents=_counts(dependants),
        policy=shown_policy(key.spec, record.policy, record.account),
    )


def _counts(dependants: Dependants) -> Dependents | UnsetType:
    if not dependants:
        return UNSET
    counts = len(dependants.aliases), len(dependants.grants), len(dependants.data_keys) + dependants.foreign
    return Dependents(aliases=counts[0], grants=counts[1], data_keys=counts[2])


def _time(text: str | UnsetType) -> datetime | UnsetType:
    return UNSET if isinstance(text, UnsetType) else parse_time(text)


def _materials(record: KeyRecord) -> tuple[KeyMaterial, ...]:
    newest = list(reversed(record.versions))[:_SHOWN_MATERIALS]
    return tuple(
        KeyMaterial(
            key_material_id=version.material_id,
            creation_time=parse_time(version.created),
            origin=version.origin,
            protection_level=version.protection,
        )
        for version in newest
    )


def key_notices(key: KmsKey, record: KeyRecord | None, obstacle: Obstacle | None, remark: str = "") -> list[Notice]:
    """Events for what the record has and the status does not show yet. Emitted before the status is written."""
    told = obstacle_notices(key.status, key.metadata.generation, obstacle)
    if record is None or not believes(obstacle) or record.object_uid != key.metadata.uid:
        return told
    if record.state is KeyState.DESTROYED:
        shown = key.status.key_state
        ended = shown is not UNSET and shown is not KeyState.DESTROYED
        return [Notice(Event.DESTROYED, f"the material of key {record.key_id} is destroyed", record.key_id)] if ended else told
    return [*_record_notices(key, record), *_state_notices(key, record), *_remarked(key, record, remark if obstacle is None else ""), *told]


def _remarked(key: KmsKey, record: KeyRecord, remark: str) -> list[Notice]:
    """Once for each policy of a key that is in use: the message of Ready shows it from then on."""
    ready = find_condition(key.status.conditions, ConditionType.READY)
    shown = ready is not None and remark in ready.message
    told = bool(remark) and not shown and not key.metadata.terminating and state_of(record).reason is Reason.AVAILABLE
    return [] if not told else [Notice(Event.NOBODY_NAMED, remark, f"{key.metadata.generation}")]


def _record_notices(key: KmsKey, record: KeyRecord) -> list[Notice]:
    shown = key.status
    if shown.key_id is UNSET or shown.key_id != record.key_id:
        return [_first_notice(key, record)]
    if shown.current_key_material_id not in (UNSET, record.current_version.material_id):
        return [Notice(Event.ROTATED, f"version {record.current} is current; older ones decrypt for ever", f"{record.current}")]
    return []


def _first_notice(key: KmsKey, record: KeyRecord) -> Notice:
    """An object that shows no key yet, or another one: it made one, took one over, or holds again what it had."""
    asked = key.metadata.annotations.get(names.ADOPT)
    replaced = key.status.key_id is not UNSET or asked == names.ADOPT_AS_NEW
    if record.seq == 1 or (replaced and record.n_versions == 1):
        return Notice(Event.CREATED, f"key {record.key_id} was made", f"{record.key_id}")
    if asked == names.ADOPT_TRUE:
        return Notice(Event.ADOPTED, f"key {record.key_id} of an earlier namespace of this name is this object's now", f"{record.seq}")
    return Notice(Event.REATTACHED, f"key {record.key_id} is bound to this object again", f"{record.seq}")


def _state_notices(key: KmsKey, record: KeyRecord) -> list[Notice]:
    """Holds and deletions, told once each: `once` is when they began, or which record ended them."""
    notices: list[Notice] = []
    ready = find_condition(key.status.conditions, ConditionType.READY)
    held = ready if ready is not None and ready.reason == Reason.HELD else None
    if record.hold is not UNSET and held is None:
        notices.append(Notice(Event.HELD, f"held since {record.hold.since}: every use is refused", record.hold.since))
    if record.hold is UNSET and held is not None:
        notices.append(Notice(Event.RELEASED, "the hold was lifted", f"{record.seq}"))
    scheduled = shows(key.status, ConditionType.DELETION_SCHEDULED)
    if record.state is KeyState.PENDING_DELETION and not scheduled:
        words = f"use has stopped; the material is destroyed at {record.deletion_date}"
        notices.append(Notice(Event.DELETION_SCHEDULED, words, f"{record.deletion_date}"))
    if record.state is not KeyState.PENDING_DELETION and scheduled:
        notices.append(Notice(Event.DELETION_CANCELLED, f"the key is {record.state} again", f"{record.seq}"))
    return notices
