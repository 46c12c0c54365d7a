"""The status of a KmsGrant, and the events that a change of its record calls for. The grant token never enters a status."""

from __future__ import annotations

from datetime import datetime

from msgspec import UNSET

from keystead.engine.clock import parse_time
from keystead.engine.identifiers import key_arn
from keystead.engine.plan.common import Obstacle, Opened
from keystead.engine.record.grant import GrantRecord
from keystead.engine.view.common import Notice, believes, held_again, obstacle_notices, with_conditions
from keystead.resources.events import Event
from keystead.resources.kms_grant import KmsGrant, KmsGrantStatus
from keystead.resources.reasons import Reason


def grant_status(
    grant: KmsGrant, record: GrantRecord | None, opened: Opened | None, obstacle: Obstacle | None, now: datetime
) -> KmsGrantStatus:
    """The whole status."""
    believed = record if believes(obstacle) else None
    said = obstacle
    if said is None:
        said = (
            Obstacle(Reason.CREATING, "the grant is being made")
            if believed is None
            else Obstacle(Reason.AVAILABLE, f"{len(believed.operations)} operation(s) are granted on key {believed.key_id}")
        )
    kept = grant.status if obstacle is not None and obstacle.reason is Reason.RECORD_INTEGRITY else KmsGrantStatus()
    base = kept if believed is None else _view(believed, opened)
    return with_conditions(base, grant.status, grant.metadata, said, [], now)


def _view(record: GrantRecord, opened: Opened | None) -> KmsGrantStatus:
    return KmsGrantStatus(
        record_seq=opened.seq if opened else UNSET,
        record_digest=opened.digest if opened else UNSET,
        grant_id=record.grant_id,
        key_id=record.key_id,
        key_arn=key_arn(record.region, record.account, record.key_id),
        grantee_principal=record.grantee_principal,
        creation_time=parse_time(record.created),
        expiration_time=UNSET if record.expires_at is UNSET else parse_time(record.expires_at),
    )


def grant_notices(grant: KmsGrant, record: GrantRecord | None, obstacle: Obstacle | None) -> list[Notice]:
    """Events for what the record has and the status does not show yet. The end of a grant is told once, as Expired."""
    expired = obstacle is not None and obstacle.reason is Reason.GRANT_EXPIRED
    notices = [] if expired else obstacle_notices(grant.status, grant.metadata.generation, obstacle)
    if expired and obstacle is not None and obstacle_notices(grant.status, 0, obstacle):
        notices = [Notice(Event.EXPIRED, obstacle.message, "expired")]
    if record is None or not believes(obstacle) or grant.status.grant_id is not UNSET or record.object_uid != grant.metadata.uid:
        return notices
    made = record.seq == 1
    event = Event.CREATED if made else held_again(grant.metadata)
    words = f"grant {record.grant_id[:16]} {'was made' if made else 'is bound to this object again'}"
    return [Notice(event, words, f"{record.seq}"), *notices]
