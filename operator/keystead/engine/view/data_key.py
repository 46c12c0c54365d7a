"""The status of a KmsDataKey, and the events that a change of its record calls for. No blob ever enters a status."""

from __future__ import annotations

from datetime import datetime

from msgspec import UNSET

from keystead.engine.clock import parse_time
from keystead.engine.plan.common import Obstacle, Opened
from keystead.engine.plan.data_key_versions import next_data_key_rotation, versions_of, visible_versions
from keystead.engine.plan.secret import pem
from keystead.engine.record.datakey import DataKeyRecord
from keystead.engine.record.key import KeyRecord
from keystead.engine.view.common import Notice, believes, condition, held_again, obstacle_notices, with_conditions
from keystead.resources.conditions import Condition, ConditionType
from keystead.resources.events import Event
from keystead.resources.kms_data_key import KEY_ARNS_SHOWN, KmsDataKey, KmsDataKeyStatus, Rewrap
from keystead.resources.reasons import Reason


def data_key_status(
    data_key: KmsDataKey,
    record: DataKeyRecord | None,
    opened: Opened | None,
    key: KeyRecord | None,
    obstacle: Obstacle | None,
    now: datetime,
) -> KmsDataKeyStatus:
    """The whole status."""
    believed = record if believes(obstacle) else None
    said = obstacle
    if said is None:
        said = (
            Obstacle(Reason.CREATING, "the data key is being made")
            if believed is None
            else Obstacle(Reason.AVAILABLE, f"version {believed.current} is in Secret {believed.target.secret_name}")
        )
    own = [_rewrapped(believed, key, data_key.metadata.generation, now)] if believed is not None and key is not None else []
    base = data_key.status if believed is None else _view(data_key, believed, opened, key, now)
    return with_conditions(base, data_key.status, data_key.metadata, said, own, now)


def _rewrapped(record: DataKeyRecord, key: KeyRecord, generation: int, now: datetime) -> Condition:
    progress = _progress(record, key)
    done = progress.done == progress.total
    words = f"{progress.done} of {progress.total} versions are under the key's current material"
    said = Obstacle(Reason.REWRAPPED if done else Reason.REWRAPPING, words)
    return condition(ConditionType.REWRAPPED, done, said, generation, now)


def _progress(record: DataKeyRecord, key: KeyRecord) -> Rewrap:
    material, versions = key.current_version.material_id, versions_of(record, key)
    done = sum(version.key_material_id == material for version in versions)
    return Rewrap(key_material_id=material, total=len(versions), done=done)


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
        key_arns=_key_arns(record),
        key_material_id=current.key_material_id,
        version=record.current,
        versions=visible_versions(data_key, record, now)[:64],
        public_key=pem(current.public_key).decode() if current.public_key is not UNSET else UNSET,
        creation_time=parse_time(record.created),
        last_rotation_time=parse_time(current.created) if record.current > 1 else UNSET,
        next_rotation_time=UNSET if due is None else due,
        rewrap=UNSET if key is None else _progress(record, key),
    )


def _key_arns(record: DataKeyRecord) -> tuple[str, ...]:
    """Of every version, as the index counts what depends on a key: what left the Secret is still wanted by who has data under it."""
    newest_first = dict.fromkeys(version.key_arn for version in reversed(record.versions))
    return tuple(sorted(list(newest_first)[:KEY_ARNS_SHOWN]))


def data_key_notices(data_key: KmsDataKey, record: DataKeyRecord | None, obstacle: Obstacle | None) -> list[Notice]:
    """Events for what the record has and the status does not show yet."""
    told = obstacle_notices(data_key.status, data_key.metadata.generation, obstacle)
    shown = data_key.status
    if record is None or not believes(obstacle) or record.object_uid != data_key.metadata.uid:
        return told
    material = record.current_version.key_material_id
    if shown.version is UNSET:
        event, words = (Event.CREATED, "was made") if record.seq <= 2 else (held_again(data_key.metadata), "is bound to this object again")
        return [Notice(event, f"the data key {words}", f"{record.current}"), *told]
    if shown.version != record.current:
        return [Notice(Event.ROTATED, f"version {record.current} is current", f"{record.current}"), *told]
    if shown.key_material_id not in (UNSET, material):
        return [Notice(Event.REWRAPPED, f"under key material {material[:16]}", material), *told]
    return told
