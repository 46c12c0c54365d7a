"""Conditions and their types (reasons: reasons.py).

Ready, Reconciling and Stalled follow kstatus: a waiting tool (Flux, Argo CD, `kubectl wait`) fails fast only at
Stalled=True. Ready=True means that what the spec says is carried out (a key that its spec disables is Ready and
Disabled, as a Deployment of 0 replicas is Available). Pure: the time is an argument.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType
from typing import Annotated, Any, Final

from msgspec import UNSET, UnsetType
from msgspec.structs import replace

from keystead.resources.model import Model, Time, doc
from keystead.resources.reasons import REASONS, Outlook, Reason


class ConditionStatus(StrEnum):
    """metav1.ConditionStatus."""

    TRUE = "True"
    FALSE = "False"
    UNKNOWN = "Unknown"


class ConditionType(StrEnum):
    """The conditions that Keystead sets: kstatus's three, then the domain's own."""

    READY = "Ready"
    RECONCILING = "Reconciling"
    STALLED = "Stalled"
    DELETION_SCHEDULED = "DeletionScheduled"
    ROTATION_SUCCEEDED = "RotationSucceeded"
    REWRAPPED = "Rewrapped"
    DEPENDENCIES_RESOLVED = "DependenciesResolved"


CONDITIONS: Final[Mapping[ConditionType, tuple[str, str]]] = MappingProxyType(
    {
        ConditionType.READY: ("all four kinds", "What the spec says is carried out. Unknown: paused by spec.suspend."),
        ConditionType.RECONCILING: ("all four kinds", "Not Ready, and Keystead goes on by itself."),
        ConditionType.STALLED: ("all four kinds", "Not Ready, and somebody must act: the reason's row says what to type."),
        ConditionType.DELETION_SCHEDULED: ("KmsKey", "The waiting window runs, or the object goes once nothing uses the key."),
        ConditionType.ROTATION_SUCCEEDED: ("KmsKey, KmsDataKey", "The last rotation that was due is done. Absent before the first."),
        ConditionType.REWRAPPED: ("KmsDataKey", "Every version is encrypted under the key's current material."),
        ConditionType.DEPENDENCIES_RESOLVED: ("KmsAlias, KmsGrant, KmsDataKey", "The key that it names was found and may be used."),
    }
)
"""Condition -> the kinds that have it, and what True means. The reference page is generated from it."""


class Condition(Model, frozen=True, kw_only=True):
    """metav1.Condition. Types and reasons of other controllers are kept as they are."""

    type: Annotated[str, doc("Type of the condition, CamelCase; one of each.", min_length=1, max_length=316)]
    status: Annotated[ConditionStatus, doc("True, False or Unknown.")]
    reason: Annotated[str, doc("Why, as one CamelCase word from the documented table.", min_length=1, max_length=1024)]
    message: Annotated[str, doc("Why, for a person.", max_length=32768)] = ""
    observed_generation: Annotated[int, doc("metadata.generation that this condition speaks of.", ge=0)] | UnsetType = (
        UNSET
    )
    last_transition_time: Annotated[Time, doc("When `status` last changed.")]


_KSTATUS: Final[Mapping[Outlook, tuple[ConditionStatus, ConditionStatus, ConditionStatus]]] = MappingProxyType(
    {
        Outlook.CURRENT: (ConditionStatus.TRUE, ConditionStatus.FALSE, ConditionStatus.FALSE),
        Outlook.IN_PROGRESS: (ConditionStatus.FALSE, ConditionStatus.TRUE, ConditionStatus.FALSE),
        Outlook.WAITING: (ConditionStatus.UNKNOWN, ConditionStatus.FALSE, ConditionStatus.FALSE),
        Outlook.FAILED: (ConditionStatus.FALSE, ConditionStatus.FALSE, ConditionStatus.TRUE),
    }
)
"""Outlook -> status of Ready, Reconciling, Stalled."""


def kstatus(reason: Reason, message: str, *, generation: int, now: datetime) -> tuple[Condition, Condition, Condition]:
    """Ready, Reconciling and Stalled for one reason. Pass them to `merge_conditions`, which keeps old times."""
    ready, reconciling, stalled = _KSTATUS[REASONS[reason].outlook]
    pairs = (
        (ConditionType.READY, ready),
        (ConditionType.RECONCILING, reconciling),
        (ConditionType.STALLED, stalled),
    )
    first, second, third = (
        Condition(
            type=kind,
            status=status,
            reason=reason,
            message=message,
            observed_generation=generation,
            last_transition_time=now,
        )
        for kind, status in pairs
    )
    return first, second, third


def merge_conditions(old: tuple[Condition, ...], new: tuple[Condition, ...]) -> tuple[Condition, ...]:
    """`old` with `new` over it by type, in order; lastTransitionTime moves only where the status changes."""
    before = {condition.type: condition for condition in old}
    merged = dict(before)
    for condition in new:
        previous = before.get(condition.type)
        kept = previous is not None and previous.status == condition.status
        merged[condition.type] = (
            replace(condition, last_transition_time=previous.last_transition_time) if previous and kept else condition
        )
    return tuple(merged.values())


def find_condition(conditions: tuple[Condition, ...], kind: str) -> Condition | None:
    """The condition of that type, or None."""
    return next((condition for condition in conditions if condition.type == kind), None)

def stalled_of(body: Mapping[str, Any]) -> tuple[str, str] | None:
    """Reason and message of an object's condition Stalled, where it is True and speaks of the spec as it is now. `body`: as JSON."""
    for condition in (body.get("status") or {}).get("conditions", ()):
        if (condition["type"], condition["status"]) == (ConditionType.STALLED, ConditionStatus.TRUE):
            now = condition.get("observedGeneration") == body["metadata"]["generation"]
            return (condition["reason"], condition.get("message", "")) if now else None
    return None
