"""GetKeyLastUsage: when a key was last used for cryptography, merged over all replicas (AWS.md, Last use: 5 minutes' accuracy)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from keystead.engine.clock import parse_time
from keystead.operations.control.common import admit_key
from keystead.operations.effects import Running
from keystead.operations.faults import operation
from keystead.operations.pipeline import arn_of
from keystead.operations.world import ControlWorld
from keystead.policy import Action, Caller


@dataclass(frozen=True, slots=True, kw_only=True)
class GetKeyLastUsageRequest:
    """AWS GetKeyLastUsageRequest."""

    key_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyLastUsageData:
    """AWS KeyLastUsageData. Of a key that was not used: an object without members."""

    operation: str | None = None
    timestamp: datetime | None = None
    cloud_trail_event_id: str | None = None
    kms_request_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class GetKeyLastUsageResponse:
    """AWS GetKeyLastUsageResponse; `key_id` is the key ARN. No `tracking_start_date`: this front door counts no uses."""

    key_id: str
    key_last_usage: KeyLastUsageData
    tracking_start_date: datetime | None
    key_creation_date: datetime


@operation
def get_key_last_usage(
    world: ControlWorld, caller: Caller, request: GetKeyLastUsageRequest
) -> Running[GetKeyLastUsageResponse]:
    """AWS GetKeyLastUsage."""
    key = yield from admit_key(world, caller, Action.GET_KEY_LAST_USAGE, request.key_id, request)
    created = parse_time(key.created)
    use = world.keys.last_use(key.key_id)
    return GetKeyLastUsageResponse(
        key_id=arn_of(key),
        key_last_usage=KeyLastUsageData()
        if use is None
        else KeyLastUsageData(
            operation=use.operation, timestamp=use.time, cloud_trail_event_id=use.event_id, kms_request_id=use.request_id
        ),
        tracking_start_date=None if world.tracking_since is None else max(world.tracking_since, created),
        key_creation_date=created,
    )
