"""What the status of all kinds and their events share. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final, TypeVar

from msgspec import UNSET
from msgspec.structs import replace

from keystead.engine.plan.common import Obstacle
from keystead.resources import names
from keystead.resources.conditions import (
    Condition,
    ConditionStatus,
    ConditionType,
    find_condition,
    kstatus,
    merge_conditions,
)
from keystead.resources.events import Event, is_warning
from keystead.resources.model import ObjectMeta
from keystead.resources.reasons import REASONS, Outlook, Reason
from keystead.resources.status import CommonStatus

Status = TypeVar("Status", bound=CommonStatus)


@dataclass(frozen=True, slots=True)
class Notice:
    """An event to emit. `once` makes it the same event when it is emitted again."""

    reason: Event | Reason
    message: str
    once: str

    @property
    def warning(self) -> bool:
        """Whether its type is Warning."""
        return is_warning(self.reason)


# With these a record is not this object's: it does not verify, or it is an earlier tenant's, of whom status and events say nothing.
_NOT_BELIEVED: Final = frozenset({Reason.RECORD_INTEGRITY, Reason.ADOPTION_REQUIRED, Reason.ALIAS_TAKEN})


def believes(obstacle: Obstacle | None) -> bool:
    """Whether an object shows what its record says."""
    return obstacle is None or obstacle.reason not in _NOT_BELIEVED


def condition(kind: ConditionType, holds: bool, said: Obstacle, generation: int, now: datetime) -> Condition:
    """One condition of the domain's own."""
    return Condition(
        type=kind,
        status=ConditionStatus.TRUE if holds else ConditionStatus.FALSE,
        reason=said.reason,
        message=said.message,
        observed_generation=generation,
        last_transition_time=now,
    )


def with_conditions(
    base: Status, old: CommonStatus, metadata: ObjectMeta, said: Obstacle, own: list[Condition], now: datetime
) -> Status:
    """`base` with kstatus for what is said, the domain's conditions, the generation, and the answer to reconcile-requested-at."""
    generation = metadata.generation
    conditions = (*kstatus(said.reason, said.message, generation=generation, now=now), *own)
    asked = metadata.annotations.get(names.RECONCILE_REQUESTED_AT)
    return replace(
        base,
        observed_generation=generation,
        conditions=merge_conditions(old.conditions, conditions),
        last_handled_reconcile_at=UNSET if asked is None else asked[:256],
    )


def held_again(metadata: ObjectMeta) -> Event:
    """The event of an object that took up a record which was there: its own name's, or an earlier namespace's by adoption."""
    return Event.ADOPTED if metadata.annotations.get(names.ADOPT) is not None else Event.REATTACHED


def obstacle_notices(status: CommonStatus, generation: int, obstacle: Obstacle | None) -> list[Notice]:
    """The Warning for a reason that comes to stall an object."""
    if obstacle is None or REASONS[obstacle.reason].outlook is not Outlook.FAILED or _shown(status) == obstacle.reason:
        return []
    return [Notice(obstacle.reason, obstacle.message, f"{generation}")]


def _shown(status: CommonStatus) -> str | None:
    ready = find_condition(status.conditions, ConditionType.READY)
    return None if ready is None else ready.reason


def shows(status: CommonStatus, kind: ConditionType) -> bool:
    """Whether a condition of this type is True in a status."""
    return any(c.type == kind and c.status is ConditionStatus.TRUE for c in status.conditions)
