"""The versions of a data key: under which key, which of them stand in the Secret, and when the next one is due. Pure.

Called by plan_data_key (data_key.py), by the view and by the reconciler, which asks when to look again.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from msgspec import UNSET

from keystead.engine.clock import parse_time
from keystead.engine.record.datakey import DataKeyRecord, DataKeyVersion
from keystead.engine.record.key import KeyRecord
from keystead.engine.rotation import parse_duration
from keystead.resources.kms_data_key import DEFAULT_KEEP_VERSIONS, DEFAULT_OVERLAP, KmsDataKey


def versions_of(record: DataKeyRecord, key: KeyRecord) -> list[DataKeyVersion]:
    """The versions that are under this key. Those of before an alias moved stay under theirs."""
    return [version for version in record.versions if version.key_arn.endswith(f":key/{key.key_id}")]


def visible_versions(data_key: KmsDataKey, record: DataKeyRecord, now: datetime) -> tuple[int, ...]:
    """Versions that stand in the Secret now, newest first: the newest keepVersions, and every one whose overlap is not over."""
    spec = data_key.spec.rotation
    keep = DEFAULT_KEEP_VERSIONS if spec is UNSET or spec.keep_versions is UNSET else spec.keep_versions
    replaced = {version.n - 1: parse_time(version.created) for version in record.versions}
    return tuple(
        version.n
        for version in reversed(record.versions)
        if version.n > record.n_versions - keep or now < replaced[version.n] + overlap_of(data_key)
    )


def overlap_of(data_key: KmsDataKey) -> timedelta:
    """How long an old version stands beside the new one."""
    spec = data_key.spec.rotation
    return parse_duration(DEFAULT_OVERLAP if spec is UNSET or spec.overlap is UNSET else spec.overlap)


def next_data_key_rotation(data_key: KmsDataKey, record: DataKeyRecord) -> datetime | None:
    """Creation of the current version + spec.rotation.periodInDays; None without rotation."""
    if data_key.spec.rotation is UNSET or data_key.spec.target.immutable:
        return None
    return parse_time(record.current_version.created) + timedelta(days=data_key.spec.rotation.period_in_days)


def next_change(data_key: KmsDataKey, record: DataKeyRecord, now: datetime) -> datetime | None:
    """When the plan changes by time alone: the next rotation, or the end of an overlap."""
    moments = [parse_time(version.created) + overlap_of(data_key) for version in record.versions[1:]]
    due = next_data_key_rotation(data_key, record)
    moments += [due] if due is not None else []
    later = [moment for moment in moments if moment > now]
    return min(later) if later else None
