"""The status of a KmsAlias, and the events that a change of its record calls for."""

from __future__ import annotations

from datetime import datetime

from msgspec import UNSET

from keystead.engine.clock import parse_time
from keystead.engine.identifiers import alias_arn
from keystead.engine.plan.common import Obstacle, Opened
from keystead.engine.record.alias import AliasRecord
from keystead.engine.view.common import Notice, believes, held_again, obstacle_notices, with_conditions
from keystead.resources.events import Event
from keystead.resources.kms_alias import KmsAlias, KmsAliasStatus
from keystead.resources.reasons import Reason


def alias_status(
    alias: KmsAlias, record: AliasRecord | None, opened: Opened | None, obstacle: Obstacle | None, now: datetime
) -> KmsAliasStatus:
    """The whole status. An alias that has no record shows none of its members: the name may be somebody else's."""
    believed = record if believes(obstacle) else None
    said = obstacle
    if said is None:
        said = (
            Obstacle(Reason.CREATING, "the alias is being claimed")
            if believed is None
            else Obstacle(Reason.AVAILABLE, f"{believed.alias_name} names key {believed.key_id}")
        )
    kept = alias.status if obstacle is not None and obstacle.reason is Reason.RECORD_INTEGRITY else KmsAliasStatus()
    base = kept if believed is None else _view(believed, opened)
    return with_conditions(base, alias.status, alias.metadata, said, [], now)


def _view(record: AliasRecord, opened: Opened | None) -> KmsAliasStatus:
    return KmsAliasStatus(
        record_seq=opened.seq if opened else UNSET,
        record_digest=opened.digest if opened else UNSET,
        alias_arn=alias_arn(record.region, record.account, record.alias_name),
        target_key_id=record.key_id,
        creation_time=parse_time(record.created),
        last_updated_time=parse_time(record.updated),
    )


def alias_notices(alias: KmsAlias, record: AliasRecord | None, obstacle: Obstacle | None) -> list[Notice]:
    """Events for what the record has and the status does not show yet."""
    notices = obstacle_notices(alias.status, alias.metadata.generation, obstacle)
    if record is None or not believes(obstacle):
        return notices
    shown = alias.status.target_key_id
    if record.object_uid != alias.metadata.uid:
        return notices
    if shown is UNSET:
        made = record.seq == 1
        words = f"{record.alias_name} {'names' if made else 'is bound to this object again and names'} key {record.key_id}"
        return [Notice(Event.CREATED if made else held_again(alias.metadata), words, f"{record.seq}"), *notices]
    if shown != record.key_id:
        return [Notice(Event.RETARGETED, f"{record.alias_name} names key {record.key_id} now", f"{record.seq}"), *notices]
    return notices
