"""The one table of events: what Keystead tells of an object with `kubectl get events`, each once.

The views (engine/view) take their names and types from here, and the reference page is generated from it. Besides these, a reason
that stalls an object is emitted as a Warning under its own name (`WARNINGS`). No message holds a blob, a plaintext or a PIN.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Final, NamedTuple

from keystead.resources import kms_alias, kms_data_key, kms_grant, kms_key
from keystead.resources.reasons import REASONS, Outlook, Reason


class Event(StrEnum):
    """`reason` of a core/v1 Event. Every member has a row in EVENTS (a test holds it total)."""

    CREATED = "Created"
    REATTACHED = "Reattached"
    ADOPTED = "Adopted"
    ROTATED = "Rotated"
    REWRAPPED = "Rewrapped"
    RETARGETED = "Retargeted"
    EXPIRED = "Expired"
    HELD = "Held"
    RELEASED = "Released"
    DELETION_SCHEDULED = "DeletionScheduled"
    DELETION_CANCELLED = "DeletionCancelled"
    DESTROYED = "Destroyed"
    NOBODY_NAMED = "NobodyNamed"


class EventRow(NamedTuple):
    """One row: whether its type is Warning (else Normal), the kinds that it is emitted for, and when."""

    warning: bool
    kinds: tuple[str, ...]
    when: str


_KEY: Final = (kms_key.KIND,)
_ALL: Final = (kms_key.KIND, kms_alias.KIND, kms_grant.KIND, kms_data_key.KIND)

EVENTS: Final[Mapping[Event, EventRow]] = MappingProxyType(
    {
        Event.CREATED: EventRow(False, _ALL, "The record was made: a new key, alias, grant or data key."),
        Event.REATTACHED: EventRow(
            False, _ALL, "An object took up the record that its name already had; a window that ran is cancelled with it."
        ),
        Event.ADOPTED: EventRow(False, _ALL, "The record of an earlier namespace of this name was taken over."),
        Event.ROTATED: EventRow(
            False, (kms_key.KIND, kms_data_key.KIND), "A new version of the key material or of the data key is current."
        ),
        Event.REWRAPPED: EventRow(
            False, (kms_data_key.KIND,), "The current version was encrypted anew under its key's current material."
        ),
        Event.RETARGETED: EventRow(False, (kms_alias.KIND,), "The alias points at another key."),
        Event.EXPIRED: EventRow(False, (kms_grant.KIND,), "The grant's time is over; it allows nothing any more."),
        Event.HELD: EventRow(True, _KEY, "A hold was latched: the key refuses every use."),
        Event.RELEASED: EventRow(False, _KEY, "The hold was lifted."),
        Event.DELETION_SCHEDULED: EventRow(
            True, _KEY, "Use has stopped and the waiting window runs. Told of an object that is there; of a deleted one its record tells."
        ),
        Event.DELETION_CANCELLED: EventRow(False, _KEY, "The deletion was cancelled before the window's end."),
        Event.DESTROYED: EventRow(True, _KEY, "The window ended: the key material is destroyed."),
        Event.NOBODY_NAMED: EventRow(
            True,
            _KEY,
            "A statement of the policy names somebody in vain: whom nobody can be, such as a user of an account that people are not of; or "
            "in NotPrincipal, without the account.",
        ),
    }
)
"""Event -> type, kinds, when. The reference page is generated from it."""

TYPICAL: Final = (Event.CREATED, Event.ROTATED, Event.REWRAPPED)
"""All that a key with a data key emits when it is made, looked at for as long as you like, and rotated once (tested)."""

_OWN_EVENT: Final = (Reason.HELD, Reason.GRANT_EXPIRED)
"""Reasons whose coming has an event of its own: Held, Expired."""

WARNINGS: Final = tuple(
    reason for reason, row in REASONS.items() if row.outlook is Outlook.FAILED and reason not in _OWN_EVENT
)
"""Reasons that are also Warning events, when one comes to stall an object, once a generation. `Held` has a row of its own above."""


def is_warning(name: Event | Reason) -> bool:
    """The type of an event of this name."""
    return EVENTS[name].warning if isinstance(name, Event) else REASONS[name].outlook is Outlook.FAILED
