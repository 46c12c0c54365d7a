"""The status of a KmsKey, and the events that a change of its record calls for."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from msgspec import UNSET, UnsetType
from msgspec.structs import replace

from keystead.engine.clock import parse_time
from keystead.engine.identifiers import key_arn
from keystead.engine.plan.common import Obstacle, Opened
from keystead.engine.plan.secret import pem
from keystead.engine.record.key import KeyRecord
from keystead.engine.rotation import next_rotation
from keystead.resources import names
from keystead.resources.conditions import Condition, ConditionStatus, ConditionType, kstatus, merge_conditions
from keystead.resources.kms_key import KeyMaterial, KmsKey, KmsKeyStatus
from keystead.resources.reasons import REASONS, Outlook, Reason
from keystead.resources.vocabulary import KeyState

_SHOWN_MATERIALS: Final = 16


@dataclass(frozen=True, slots=True)
class Notice:
    """An event to emit. `once` makes it the same event when it is emitted again."""

    reason: str
    message: str
    once: str
    warning: bool = False


# With these a record is not this object's: it does not verify, or it is an earlier tenant's, of whom status and events say nothing.
_NOT_BELIEVED: Final = frozenset({Reason.RECORD_INTEGRITY, Reason.ADOPTION_REQUIRED})


def believes(obstacle: Obstacle | None) -> bool:
    """Whether an object shows what its record says."""
    return obstacle is None or obstacle.reason not in _NOT_BELIEVED


def key_status(
    key: KmsKey, record: KeyRecord | None, opened: Opened | None, obstacle: Obstacle | None, now: datetime
) -> KmsKeyStatus:
    """The whole status. With an obstacle that denies the record's credit, the record's members are those shown before."""
    generation = key.metadata.generation
    believed = record if believes(obstacle) else None
    said = obstacle or state_of(believed)
    conditions = [*kstatus(said.reason, said.message, generation=generation, now=now)]
    conditions += _own_conditions(key, believed, generation, now)
    merged = merge_conditions(key.status.conditions, tuple(conditions))
    base = _view(key, believed, opened) if believed is not None else key.status
    return _with(base, key, generation, merged)


def _with(base: KmsKeyStatus, key: KmsKey, generation: int, conditions: tuple[Condition, ...]) -> KmsKeyStatus:
    asked = key.metadata.annotations.get(names.RECONCILE_REQUESTED_AT)
    return replace(
        base,
        observed_generation=generation,
        conditions=conditions,
        last_handled_reconcile_at=UNSET if asked is None else asked[:256],
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
    if record.policy is not UNSET:
        return Obstacle(
            Reason.POLICY_NOT_ENFORCED,
            "spec.policy is stored, but not enforced yet: the key serves nobody; remove spec.policy to use it",
        )
    if record.state is KeyState.DISABLED:
        return Obstacle(Reason.DISABLED, "spec.enabled is false; every cryptographic operation is refused")
    return Obstacle(Reason.AVAILABLE, "the key can be used")


def _own_conditions(key: KmsKey, record: KeyRecord | None, generation: int, now: datetime) -> list[Condition]:
    if record is None:
        return []
    found: list[Condition] = []

    def add(kind: ConditionType, holds: bool, reason: Reason, message: str) -> None:
        found.append(
            Condition(
                type=kind,
                status=ConditionStatus.TRUE if holds else ConditionStatus.FALSE,
                reason=reason,
                message=message,
                observed_generation=generation,
                last_transition_time=now,
            )
        )

    enforced = record.policy is UNSET
    add(
        ConditionType.POLICY_ENFORCED,
        enforced,
        Reason.AVAILABLE if enforced else Reason.POLICY_NOT_ENFORCED,
        "the default policy" if enforced else "this version enforces the default policy only",
    )
    if record.n_versions > 1:
        add(ConditionType.ROTATION_SUCCEEDED, True, Reason.ROTATED, f"{record.n_versions - 1} rotation(s) so far")
    return found


def _view(key: KmsKey, record: KeyRecord, opened: Opened | None) -> KmsKeyStatus:
    current = record.current_version
    due = next_rotation(record) if record.state is KeyState.ENABLED else None
    return KmsKeyStatus(
        record_seq=opened.seq if opened else UNSET,
        record_digest=opened.digest if opened else UNSET,
        last_handled_rotate_at=record.last_rotate_request,
        key_id=record.key_id,
        key_arn=key_arn(record.region, record.account, record.key_id),
        key_state=KeyState.DISABLED if record.hold is not UNSET else record.state,
        protection_level=record.protection,
        current_key_material_id=current.material_id,
        key_materials=_materials(record),
        public_key=pem(current.spki).decode() if current.spki is not UNSET else UNSET,
        creation_time=parse_time(record.created),
        last_rotation_time=parse_time(current.created) if record.n_versions > 1 else UNSET,
        next_rotation_time=UNSET if due is None else due.replace(microsecond=0),
        deletion_time=_time(record.deletion_date),
        last_used_time=key.status.last_used_time,
        dependents=key.status.dependents,
    )


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


def key_notices(key: KmsKey, record: KeyRecord | None, obstacle: Obstacle | None) -> list[Notice]:
    """Events for what the record has and the status does not show yet. Emitted before the status is written."""
    notices: list[Notice] = []
    if record is not None and believes(obstacle):
        notices += _record_notices(key, record)
    if obstacle is not None and REASONS[obstacle.reason].outlook is Outlook.FAILED and _is_new(key, obstacle):
        once = f"{key.metadata.generation}"
        notices.append(Notice(obstacle.reason.value, obstacle.message, once, warning=True))
    return notices


def _record_notices(key: KmsKey, record: KeyRecord) -> list[Notice]:
    shown = key.status
    if shown.key_id is UNSET:
        if record.seq == 1:
            return [Notice("Created", f"key {record.key_id} was made", "1")]
        return [Notice("Reattached", f"key {record.key_id} is held by this object again", f"{record.seq}")]
    if shown.current_key_material_id not in (UNSET, record.current_version.material_id):
        return [
            Notice("Rotated", f"version {record.current} is current; older ones decrypt for ever", f"{record.current}")
        ]
    return []


def _is_new(key: KmsKey, obstacle: Obstacle) -> bool:
    ready = next((c for c in key.status.conditions if c.type == ConditionType.READY), None)
    return ready is None or ready.reason != obstacle.reason
