"""Times as records and resources write them: RFC 3339, UTC, whole seconds (`2026-11-26T08:00:00Z`). `now` is always a parameter."""

from __future__ import annotations

from datetime import UTC, datetime

_LENGTH = len("2026-11-26T08:00:00")


def format_time(moment: datetime) -> str:
    """Text of an aware datetime; fractions of a second are cut."""
    return moment.astimezone(UTC).isoformat()[:_LENGTH] + "Z"


def parse_time(text: str) -> datetime:
    """The aware datetime of such a text. ValueError for any other form."""
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None or format_time(moment) != text:
        raise ValueError("not a time of the form 2026-11-26T08:00:00Z")
    return moment


def read_time(text: str) -> datetime:
    """The moment, in UTC, that a person gives: a date or a time of ISO 8601; without a zone it is UTC. ValueError, OverflowError."""
    moment = datetime.fromisoformat(text)
    return (moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)).astimezone(UTC)
