"""When a key rotates next: computed from the sealed record and nothing else (RECORDS, Where the facts are).

Due = creation of the current version + period. Without windows the rotation runs at `due` + jitter; with windows, in the window that is
open at `due`, else when the next one opens, + jitter within it. A window that was missed (nobody led) is not made up for outside of one:
the rotation waits for the next. Jitter comes from a hash of the key id, so that keys of one age do not rotate in one second, and a
restart changes nothing.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError
from msgspec import UNSET

from keystead.engine.clock import parse_time
from keystead.engine.record.key import KeyRecord, RotationWindow
from keystead.errors import InvalidSpecError

MAX_JITTER: Final = timedelta(hours=1)
# AWS: at most 25 rotations on demand per key (KMS.md, Limits).
MAX_ON_DEMAND: Final = 25
_DURATION = re.compile(r"(?:([0-9]{1,5})h)?(?:([0-9]{1,5})m)?(?:([0-9]{1,6})s)?\Z")


def parse_duration(text: str) -> timedelta:
    """A timedelta of text like 4h, 90m or 1h30m. ValueError for anything else, and for nothing."""
    match = _DURATION.match(text)
    if not text or match is None:
        raise ValueError(f"{text!r} is not a duration such as 4h or 1h30m")
    hours, minutes, seconds = (int(part or 0) for part in match.groups())
    return timedelta(hours=hours, minutes=minutes, seconds=seconds)


def next_rotation(record: KeyRecord, now: datetime | None = None) -> datetime | None:
    """The moment from which the next scheduled rotation may run, None where the key does not rotate on schedule.

    A moment past means: at once. With windows that is so only while one is open at `now`.
    """
    if record.rotation is UNSET or not record.rotation.enabled or not record.bound:
        return None
    due = parse_time(record.current_version.created) + timedelta(days=record.rotation.period)
    if not record.rotation.windows:
        return due + _jitter(record.key_id, MAX_JITTER)
    return min(_in_window(window, due, due if now is None else max(due, now), record.key_id) for window in record.rotation.windows)


def _in_window(window: RotationWindow, due: datetime, after: datetime, key_id: str) -> datetime:
    """The moment of a rotation that is due at `due`, in the first opening of the window that is not over at `after`."""
    length = parse_duration(window.duration)
    for opening in _openings(window, after - length):
        if opening + length <= after:
            continue
        if opening <= due:
            return due + min(_jitter(key_id, MAX_JITTER), (opening + length - due) / 2)
        return opening + min(_jitter(key_id, MAX_JITTER), length / 2)
    raise InvalidSpecError("spec.rotation.windows", f"{window.cron!r} never opens")


def _openings(window: RotationWindow, after: datetime) -> Iterable[datetime]:
    local = after.astimezone(ZoneInfo(window.timezone)) - timedelta(minutes=1)
    for moment in CronSim(window.cron, local):
        yield moment.astimezone(UTC)


def check_window(window: RotationWindow) -> None:
    """InvalidSpecError where cron, timezone or duration cannot be used."""
    try:
        ZoneInfo(window.timezone)
    except (KeyError, ValueError):
        raise InvalidSpecError("spec.rotation.windows", f"timezone {window.timezone!r} is unknown") from None
    try:
        opening = next(CronSim(window.cron, datetime(2026, 1, 1, tzinfo=UTC)), None)
        parse_duration(window.duration)
    except (CronSimError, ValueError) as error:
        raise InvalidSpecError("spec.rotation.windows", f"{window.cron!r} {window.duration!r}: {error}") from None
    if opening is None:
        raise InvalidSpecError("spec.rotation.windows", f"{window.cron!r} never opens")


def _jitter(key_id: str, span: timedelta) -> timedelta:
    part = int.from_bytes(hashlib.sha256(b"keystead rotation jitter\0" + key_id.encode()).digest()[:4], "big")
    return span * (part / 2**32)
