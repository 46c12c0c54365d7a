"""The API server's clock: what its Date header may say, and what is not believed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from msgspec.structs import replace
from tests.builders import a_key
from tests.hsm.fake import FakeHsm

from keystead.engine.clock import format_time, parse_time
from keystead.engine.record import Rotation
from keystead.engine.rotation import next_rotation
from keystead.errors import StoreUnavailableError
from keystead.store import kube
from keystead.store.kube import EARLIEST, LATEST, ServerClock

LONGEST = 2560  # days, of spec.rotation.periodInDays
TRUE = datetime(2026, 11, 26, 8, 0, 0, tzinfo=UTC)


class Monotonic:
    """The process's own clock, in the test's hands."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        monkeypatch.setattr(kube.time, "monotonic", lambda: self.now)


@pytest.fixture
def monotonic(monkeypatch: pytest.MonkeyPatch) -> Monotonic:
    return Monotonic(monkeypatch)


def header(moment: datetime) -> str:
    return format_datetime(moment, usegmt=True)


@pytest.fixture
def clock(monotonic: Monotonic) -> ServerClock:
    """One that has heard the true time, ten seconds ago."""
    made = ServerClock()
    made.observe(header(TRUE))
    monotonic.now += 10
    return made


def test_time_goes_on_between_answers(clock: ServerClock, monotonic: Monotonic) -> None:
    assert clock.now() == TRUE + timedelta(seconds=10)
    monotonic.now += 3600
    assert clock.now() == TRUE + timedelta(seconds=3610)


UNBELIEVED = {
    "missing": None,
    "empty": "",
    "words": "yesterday",
    "no-day": "Thu, 32 Nov 2026 08:00:00 GMT",
    "1969": "Wed, 31 Dec 1969 23:59:59 GMT",
    "1970": "Thu, 01 Jan 1970 00:00:00 GMT",
    "9999": "Fri, 31 Dec 9999 23:59:59 GMT",
    "beyond-the-calendar": "Fri, 31 Dec 9999 23:59:59 -1200",
    "before-the-calendar": "Mon, 01 Jan 0001 00:00:00 +1200",
    "one-too-early": header(EARLIEST - timedelta(seconds=1)),
    "one-too-late": header(LATEST),
}


@pytest.mark.parametrize("said", UNBELIEVED.values(), ids=UNBELIEVED)
def test_a_date_that_cannot_be_is_not_believed_and_time_goes_on(
    clock: ServerClock, monotonic: Monotonic, said: str | None
) -> None:
    clock.observe(said)
    assert clock.now() == TRUE + timedelta(seconds=10)
    monotonic.now += 5
    clock.observe(header(TRUE + timedelta(seconds=16)))
    assert clock.now() == TRUE + timedelta(seconds=16)


@pytest.mark.parametrize("said", UNBELIEVED.values(), ids=UNBELIEVED)
def test_before_the_first_believable_date_there_is_no_time(monotonic: Monotonic, said: str | None) -> None:
    """An error that is tried again, and no invented time: nothing is planned, written or destroyed meanwhile."""
    clock = ServerClock()
    clock.observe(said)
    with pytest.raises(StoreUnavailableError, match="time is not known yet"):
        clock.now()
    clock.observe(header(TRUE))
    assert clock.now() == TRUE


@pytest.mark.parametrize("moment", [datetime(2038, 1, 19, 3, 14, 8, tzinfo=UTC), TRUE - timedelta(hours=2), EARLIEST])
def test_a_step_within_the_believable_is_taken(clock: ServerClock, moment: datetime) -> None:
    clock.observe(header(moment))
    assert clock.now() == moment


def test_no_time_that_is_believed_breaks_the_arithmetic_of_a_record() -> None:
    """At the last second, with the longest period, there is still a next rotation; and a time that a record can hold."""
    last = LATEST - timedelta(seconds=1)
    assert parse_time(format_time(last)) == last
    hsm = FakeHsm()
    record = a_key(hsm, rotation=Rotation(enabled=True, period=LONGEST, windows=[]))
    version = replace(record.current_version, created=format_time(last))
    due = next_rotation(replace(record, versions=[version]))
    assert due is not None
    assert due - last >= timedelta(days=LONGEST)
