"""When a key rotates: computed from the sealed record alone; windows, time zones, daylight saving, jitter, requests."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import UNSET
from tests.builders import NOW, a_key
from tests.hsm.fake import FakeHsm
from tests.plan.facts import a_kms_key, a_settled_key, at, key_facts

from keystead.engine.clock import format_time
from keystead.engine.plan.key import RotateKey, WriteKey, next_change, plan_key
from keystead.engine.record import KeyRecord, Rotation, RotationWindow
from keystead.engine.rotation import MAX_JITTER, MAX_ON_DEMAND, check_window, next_rotation, parse_duration
from keystead.errors import InvalidSpecError
from keystead.resources import names
from keystead.resources.vocabulary import KeyState

CREATED = at("2026-11-01T00:00:00Z")  # tests.builders.CREATED
DUE = CREATED + timedelta(days=90)  # 2027-01-30T00:00:00Z, a Saturday
ASKED = {names.ROTATE_REQUESTED_AT: "now"}


def rotating(hsm: FakeHsm, *windows: tuple[str, str, str], enabled: bool = True, **changes: Any) -> KeyRecord:
    """A key with a period of 90 days; windows: cron, timezone, duration."""
    opened = [RotationWindow(cron=cron, timezone=zone, duration=length) for cron, zone, length in windows]
    return a_settled_key(hsm, rotation=Rotation(enabled=enabled, period=90, windows=opened), **changes)


def when(record: KeyRecord) -> datetime:
    found = next_rotation(record)
    assert found is not None
    return found


# The moment


def test_without_windows_it_runs_within_an_hour_after_it_is_due(hsm: FakeHsm) -> None:
    moments = {when(rotating(hsm, n=n)) for n in range(1, 30)}
    assert len(moments) == 29  # keys of one age do not rotate in one second
    assert all(DUE <= moment < DUE + MAX_JITTER for moment in moments)


def test_the_moment_is_the_same_at_every_computation(hsm: FakeHsm) -> None:
    record = rotating(hsm, ("0 3 * * *", "UTC", "2h"))
    again = rotating(FakeHsm(), ("0 3 * * *", "UTC", "2h"), key_id=record.key_id)
    assert when(record) == when(again)


@pytest.mark.parametrize("changes", [{"enabled": False}, {"bound": False}])
def test_a_key_without_a_schedule_has_no_moment(hsm: FakeHsm, changes: dict[str, Any]) -> None:
    assert next_rotation(rotating(hsm, **changes)) is None
    assert next_rotation(a_key(hsm)) is None  # no rotation at all


def test_a_due_rotation_waits_for_the_next_window(hsm: FakeHsm) -> None:
    moment = when(rotating(hsm, ("0 3 * * *", "UTC", "2h")))
    assert at("2027-01-30T03:00:00Z") <= moment < at("2027-01-30T04:00:00Z")


def test_a_window_that_is_open_when_it_is_due_is_used(hsm: FakeHsm) -> None:
    moment = when(rotating(hsm, ("30 23 * * *", "UTC", "2h")))  # 23:30 to 01:30
    assert DUE <= moment < at("2027-01-30T01:30:00Z")


def test_a_window_that_just_closed_is_not_used(hsm: FakeHsm) -> None:
    moment = when(rotating(hsm, ("0 22 * * *", "UTC", "2h")))  # 22:00 to 00:00: shut at the very moment
    assert moment >= at("2027-01-30T22:00:00Z")


def test_the_earliest_of_several_windows_is_used(hsm: FakeHsm) -> None:
    moment = when(rotating(hsm, ("0 12 * * MON", "UTC", "1h"), ("0 6 * * SUN", "UTC", "1h")))
    assert moment.strftime("%a %H") == "Sun 06"


def test_a_window_opens_in_its_own_time_zone(hsm: FakeHsm) -> None:
    berlin = when(rotating(hsm, ("0 3 * * *", "Europe/Berlin", "2h")))
    assert at("2027-01-30T02:00:00Z") <= berlin < at("2027-01-30T03:00:00Z")
    calcutta = when(rotating(hsm, ("0 9 * * *", "Asia/Kolkata", "2h")))
    assert at("2027-01-30T03:30:00Z") <= calcutta < at("2027-01-30T04:30:00Z")


@pytest.mark.parametrize(
    ("created", "utc"),
    [
        ("2026-12-26T12:00:00Z", "2027-03-27T02:00:00Z"),  # due 2027-03-26 12:00: the last night of winter time
        ("2026-12-28T12:00:00Z", "2027-03-29T01:00:00Z"),  # due 2027-03-28 12:00: the first night of summer time
        ("2027-08-01T12:00:00Z", "2027-10-31T02:00:00Z"),  # due 2027-10-30 12:00: the night the clock goes back
    ],
)
def test_a_window_follows_daylight_saving(hsm: FakeHsm, created: str, utc: str) -> None:
    moment = when(_born(rotating(hsm, ("0 3 * * *", "Europe/Berlin", "2h")), created))
    assert at(utc) <= moment < at(utc) + timedelta(hours=1)


def test_a_window_in_the_hour_that_does_not_exist_opens_all_the_same(hsm: FakeHsm) -> None:
    """2027-03-28 02:30 is skipped in Berlin: cron opens it as the clock jumps, never a day later."""
    moment = when(_born(rotating(hsm, ("30 2 * * *", "Europe/Berlin", "2h")), "2026-12-27T12:00:00Z"))
    assert at("2027-03-28T00:59:00Z") <= moment < at("2027-03-28T03:00:00Z")


# A window that was missed


def missed(record: KeyRecord, now: str) -> datetime:
    found = next_rotation(record, at(now))
    assert found is not None
    return found


def test_a_rotation_that_is_due_in_an_open_window_waits_for_no_other(hsm: FakeHsm) -> None:
    record = rotating(hsm, ("0 3 * * *", "UTC", "2h"))
    assert missed(record, "2027-01-30T04:59:59Z") == when(record) < at("2027-01-30T04:59:59Z")


@pytest.mark.parametrize("now", ["2027-01-30T05:00:00Z", "2027-01-30T12:00:00Z", "2027-01-31T02:59:59Z"])
def test_a_window_that_was_missed_is_not_made_up_for_before_the_next_one(hsm: FakeHsm, now: str) -> None:
    """Nobody led while it was open."""
    record = rotating(hsm, ("0 3 * * *", "UTC", "2h"))
    moment = missed(record, now)
    assert at("2027-01-31T03:00:00Z") <= moment < at("2027-01-31T04:00:00Z")
    facts = key_facts(hsm, record=record, key=a_kms_key(), now=at(now))
    assert plan_key(facts).step is None
    assert next_change(a_kms_key(), record, at(now)) == moment
    assert isinstance(plan_key(key_facts(hsm, record=record, now=moment)).step, RotateKey)


def test_keys_that_missed_their_window_do_not_all_rotate_as_the_next_one_opens(hsm: FakeHsm) -> None:
    opens = at("2027-02-06T03:00:00Z")
    moments = {missed(rotating(hsm, ("0 3 * * SAT", "UTC", "4h"), n=n), "2027-02-06T03:00:01Z") for n in range(1, 30)}
    assert len(moments) == 29
    assert all(opens <= moment < opens + MAX_JITTER for moment in moments)


def test_the_first_of_several_windows_that_opens_again_is_used(hsm: FakeHsm) -> None:
    record = rotating(hsm, ("0 3 * * SAT", "UTC", "1h"), ("0 12 * * WED", "UTC", "1h"))
    assert missed(record, "2027-01-31T00:00:00Z").strftime("%a %H") == "Wed 12"


def test_a_missed_night_is_made_up_for_in_the_next_one_over_daylight_saving(hsm: FakeHsm) -> None:
    record = _born(rotating(hsm, ("0 3 * * *", "Europe/Berlin", "1h")), "2026-12-26T12:00:00Z")  # due 2027-03-26 12:00
    for now, utc in (("2027-03-27T12:00:00Z", "2027-03-28T01:00:00Z"), ("2027-10-30T12:00:00Z", "2027-10-31T02:00:00Z")):
        assert at(utc) <= missed(record, now) <= at(utc) + timedelta(minutes=30)


CRONS = st.sampled_from(["0 3 * * *", "*/20 * * * *", "15 1 * * SUN", "0 0 1 * *", "30 2 L * *", "59 23 * 2,10 *"])
ZONES = st.sampled_from(["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu", "Pacific/Apia"])


@given(cron=CRONS, zone=ZONES, length=st.sampled_from(["15m", "1h30m", "24h", "168h"]), hours=st.integers(0, 24 * 900), n=st.integers(1, 9))
def test_it_never_runs_before_it_is_due_and_always_inside_a_window(cron: str, zone: str, length: str, hours: int, n: int) -> None:
    created = CREATED + timedelta(hours=hours)
    record = _born(rotating(_HSM, (cron, zone, length), n=n), format_time(created))
    due, moment = created + timedelta(days=90), when(record)
    assert moment >= due
    check = RotationWindow(cron=cron, timezone=zone, duration=length)
    assert any(start <= moment < start + parse_duration(length) for start in _openings_around(check, moment))


@given(cron=CRONS, zone=ZONES, length=st.sampled_from(["15m", "24h", "168h"]), late=st.integers(0, 24 * 400), n=st.integers(1, 9))
def test_however_late_it_runs_inside_a_window(cron: str, zone: str, length: str, late: int, n: int) -> None:
    record = rotating(_HSM, (cron, zone, length), n=n)
    now = DUE + timedelta(hours=late)
    moment = next_rotation(record, now)
    assert moment is not None
    check = RotationWindow(cron=cron, timezone=zone, duration=length)
    runs = max(moment, now)
    assert any(start <= runs < start + parse_duration(length) for start in _openings_around(check, runs))


_HSM = FakeHsm()


def _openings_around(window: RotationWindow, moment: datetime) -> list[datetime]:
    from cronsim import CronSim

    before = moment - parse_duration(window.duration) - timedelta(days=1)
    found = []
    for opening in CronSim(window.cron, before.astimezone(ZoneInfo(window.timezone))):
        if opening.astimezone(UTC) > moment:
            return found
        found.append(opening.astimezone(UTC))
    return found


def _born(record: KeyRecord, created: str) -> KeyRecord:
    from msgspec.structs import replace

    return replace(record, versions=[replace(record.versions[0], created=created)])


@pytest.mark.parametrize(("text", "seconds"), [("4h", 14400), ("90m", 5400), ("1h30m", 5400), ("45s", 45), ("1h0m1s", 3601)])
def test_a_duration_is_read(text: str, seconds: int) -> None:
    assert parse_duration(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize("text", ["", "4", "h", "4d", "1m1h", "-1h", "4h\n", "1.5h"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a duration"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("cron", "zone", "length"),
    [
        ("0 3 30 2 *", "UTC", "1h"),  # never opens
        ("0 25 * * *", "UTC", "1h"),
        ("0 3 * *", "UTC", "1h"),
        ("0 3 * * *", "Europe/Nowhere", "1h"),
        ("0 3 * * *", "../etc/passwd", "1h"),
        ("0 3 * * *", "UTC", "1d"),
    ],
)
def test_a_window_that_cannot_be_used_is_refused_with_the_fields_name(cron: str, zone: str, length: str) -> None:
    with pytest.raises(InvalidSpecError, match=r"spec\.rotation\.windows"):
        check_window(RotationWindow(cron=cron, timezone=zone, duration=length))


# The plan


def due(hsm: FakeHsm, key: dict[str, Any] | None = None, **changes: Any) -> Any:
    """The step of a key that is overdue since a year."""
    record = rotating(hsm, **changes)
    return plan_key(key_facts(hsm, record=record, key=a_kms_key(**(key or {})), now=NOW + timedelta(days=500))).step


def test_a_key_rotates_at_its_moment_and_not_before(hsm: FakeHsm) -> None:
    record = rotating(hsm)
    moment = when(record)
    before = plan_key(key_facts(hsm, record=record, now=moment - timedelta(seconds=1)))
    assert before.step is None
    assert plan_key(key_facts(hsm, record=record, now=moment)).step == RotateKey(record, None)


def test_a_rotation_carries_the_other_changes_with_it(hsm: FakeHsm) -> None:
    step = due(hsm, {"description": "new"})
    assert isinstance(step, RotateKey)
    assert step.record.description == "new"


@pytest.mark.parametrize(
    "key",
    [
        {"enabled": False},
        {"annotations": {names.HOLD: "incident"}},
        {"scheduledDeletion": {}},
        {"rotation": {"enabled": False}},
    ],
)
def test_a_key_that_is_stopped_in_the_same_pass_does_not_rotate(hsm: FakeHsm, key: dict[str, Any]) -> None:
    assert isinstance(due(hsm, key), WriteKey)


def test_a_longer_period_counts_at_once(hsm: FakeHsm) -> None:
    assert isinstance(due(hsm, {"rotation": {"periodInDays": 2560}}), WriteKey)


@pytest.mark.parametrize("changes", [{"state": KeyState.DISABLED}, {"held": True}])
def test_a_stopped_key_is_not_looked_at_for_its_rotation(hsm: FakeHsm, changes: dict[str, Any]) -> None:
    record = rotating(hsm, **changes)
    assert due(hsm, **changes) is None
    assert next_change(a_kms_key(), record, NOW) is None


def test_the_next_look_is_at_the_next_moment_and_never_at_one_past(hsm: FakeHsm) -> None:
    record = rotating(hsm)
    assert next_change(a_kms_key(), record, NOW) == when(record)
    assert next_change(a_kms_key(), record, when(record)) is None
    assert next_change(None, record, NOW) is None


# On demand


def test_a_request_rotates_once(hsm: FakeHsm) -> None:
    record = a_settled_key(hsm)
    step = plan_key(key_facts(hsm, key=a_kms_key(annotations=ASKED))).step
    assert step == RotateKey(record, "now")
    answered = a_settled_key(hsm, last_rotate_request="now", on_demand_rotations=1)
    assert plan_key(key_facts(hsm, record=answered, key=a_kms_key(annotations=ASKED))).step is None


def test_a_request_is_remembered_cut_to_256_characters(hsm: FakeHsm) -> None:
    asked = {names.ROTATE_REQUESTED_AT: "x" * 300}
    step = plan_key(key_facts(hsm, key=a_kms_key(annotations=asked))).step
    assert isinstance(step, RotateKey)
    assert step.request == "x" * 256
    answered = a_settled_key(hsm, last_rotate_request="x" * 256)
    assert plan_key(key_facts(hsm, record=answered, key=a_kms_key(annotations=asked))).step is None


@pytest.mark.parametrize("changes", [{"state": KeyState.DISABLED}, {"held": True}])
def test_a_stopped_key_answers_no_request(hsm: FakeHsm, changes: dict[str, Any]) -> None:
    record = a_settled_key(hsm, **changes)
    assert plan_key(key_facts(hsm, record=record, key=a_kms_key(annotations=ASKED))).step is None


def test_keys_of_other_specs_answer_no_request(hsm: FakeHsm) -> None:
    from keystead.resources.vocabulary import KeySpec

    record = a_settled_key(hsm, spec=KeySpec.HMAC_256, rotation=UNSET)
    key = a_kms_key(keySpec="HMAC_256", keyUsage="GENERATE_VERIFY_MAC", annotations=ASKED)
    assert plan_key(key_facts(hsm, record=record, key=key)).step is None


def test_after_25_requests_no_more_are_answered(hsm: FakeHsm) -> None:
    last = a_settled_key(hsm, on_demand_rotations=MAX_ON_DEMAND - 1)
    assert plan_key(key_facts(hsm, record=last, key=a_kms_key(annotations=ASKED))).step == RotateKey(last, "now")
    full = a_settled_key(hsm, on_demand_rotations=MAX_ON_DEMAND)
    assert plan_key(key_facts(hsm, record=full, key=a_kms_key(annotations=ASKED))).step is None


def test_the_schedule_goes_on_after_25_requests(hsm: FakeHsm) -> None:
    full = rotating(hsm, on_demand_rotations=MAX_ON_DEMAND)
    step = due(hsm, {"annotations": ASKED}, on_demand_rotations=MAX_ON_DEMAND)
    assert step == RotateKey(full, None)
