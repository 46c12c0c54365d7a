"""The status of a KmsDataKey, and the events that a change of its record calls for. No blob ever enters a status."""

from __future__ import annotations

from datetime import datetime

from msgspec import UNSET
from msgspec.structs import replace

from keystead.engine.clock import parse_time
from keystead.engine.plan.common import Obstacle, Opened
from keystead.engine.plan.data_key import next_data_key_rotation, visible_versions
from keystead.engine.plan.secret import pem
from keystead.engine.record.datakey import DataKeyRecord
from keystead.engine.record.key import KeyRecord
from keystead.engine.view.key import Notice, believes
from keystead.resources import names
from keystead.resources.conditions import Condition, ConditionStatus, ConditionType, kstatus, merge_conditions
from keystead.resources.kms_data_key import KmsDataKey, KmsDataKeyStatus, Rewrap
from keystead.resources.reasons import REASONS, Outlook, Reason


def data_key_status(
    data_key: KmsDataKey,
    record: DataKeyRecord | None,
    opened: Opened | None,
    key: KeyRecord | None,
    obstacle: Obstacle | None,
    now: datetime,
) -> KmsDataKeyStatus:
    """The whole status."""
    generation = data_key.metadata.generation
    believed = record if believes(obstacle) else None
    said = obstacle
    if said is None:
        said = (
            Obstacle(Reason.CREATING, "the data key is being made")
            if believed is None
            else Obstacle(Reason.AVAILABLE, f"version {believed.current} is in Secret {believed.target.secret_name}")
        )
    conditions = [*kstatus(said.reason, said.message, generation=generation, now=now)]
    if believed is not None and key is not None:
        conditions.append(_rewrapped(believed, key, generation, now))
    base = data_key.status if believed is None else _view(data_key, believed, opened, key, now)
    asked = data_key.metadata.annotations.get(names.RECONCILE_REQUESTED_AT)
    return replace(
        base,
        observed_generation=generation,
        conditions=merge_conditions(data_key.status.conditions, tuple(conditions)),
        last_handled_reconcile_at=UNSET if asked is None else asked[:256],
    )


def _rewrapped(record: DataKeyRecord, key: KeyRecord, generation: int, now: datetime) -> Condition:
    progress = _progress(record, key)
    done = progress.done == progress.total
    return Condition(
        type=ConditionType.REWRAPPED,
        status=ConditionStatus.TRUE if done else ConditionStatus.FALSE,
        reason=Reason.REWRAPPED if done else Reason.REWRAPPING,
        message=f"{progress.done} of {progress.total} versions are under the key's current material",
        observed_generation=generation,
        last_transition_time=now,
    )


def _progress(record: DataKeyRecord, key: KeyRecord) -> Rewrap:
    material = key.current_version.material_id
    done = sum(version.key_material_id == material for version in record.versions)
    return Rewrap(key_material_id=material, total=len(record.versions), done=done)


def _view(
    data_key: KmsDataKey, record: DataKeyRecord, opened: Opened | None, key: KeyRecord | None, now: datetime
) -> KmsDataKeyStatus:
    current = record.current_version
    due = next_data_key_rotation(data_key, record)
    return KmsDataKeyStatus(
        record_seq=opened.seq if opened else UNSET,
        record_digest=opened.digest if opened else UNSET,
        last_handled_rotate_at=record.last_rotate_request,
        secret_name=record.target.secret_name,
        key_name=key.name if key is not None else data_key.status.key_name,
        key_arn=current.key_arn,
        key_material_id=current.key_material_id,
        version=record.current,
        versions=visible_versions(data_key, record, now)[:64],
        public_key=pem(current.public_key).decode() if current.public_key is not UNSET else UNSET,
        creation_time=parse_time(record.created),
        last_rotation_time=parse_time(current.created) if record.current > 1 else UNSET,
        next_rotation_time=UNSET if due is None else due,
        rewrap=UNSET if key is None else _progress(record, key),
    )


def data_key_notices(data_key: KmsDataKey, record: DataKeyRecord | None, obstacle: Obstacle | None) -> list[Notice]:
    """Events for what the record has and the status does not show yet."""
    notices: list[Notice] = []
    shown = data_key.status
    if record is not None and believes(obstacle):
        if shown.version is UNSET:
            reason, words = ("Created", "was made") if record.seq <= 2 else ("Reattached", "is held by this object again")
            notices.append(Notice(reason, f"the data key {words}", f"{record.current}"))
        elif shown.version != record.current:
            notices.append(Notice("Rotated", f"version {record.current} is current", f"{record.current}"))
        elif shown.key_material_id not in (UNSET, record.current_version.key_material_id):
            material = record.current_version.key_material_id[:16]
            notices.append(Notice("Rewrapped", f"under key material {material}", record.current_version.key_material_id))
    ready = next((c for c in shown.conditions if c.type == ConditionType.READY), None)
    stalled = obstacle is not None and REASONS[obstacle.reason].outlook is Outlook.FAILED
    if obstacle is not None and stalled and (ready is None or ready.reason != obstacle.reason):
        once = f"{data_key.metadata.generation}"
        notices.append(Notice(obstacle.reason.value, obstacle.message, once, warning=True))
    return notices
