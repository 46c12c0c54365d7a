"""The one guard before destruction: the end of a waiting window is seen twice, ten minutes apart by two clocks."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.builders import NOW

from keystead.reconciler.windows import APART, EVERY, Windows

END = NOW + timedelta(days=7)
SECOND = timedelta(seconds=1)


@dataclass
class Clocks:
    """The API server's time and this process's own."""

    date: datetime = NOW
    own: float = 1000.0
    windows: Windows = field(init=False)

    def __post_init__(self) -> None:
        self.windows = Windows(lambda: self.own)

    def pass_by(self, time: timedelta) -> None:
        self.date += time
        self.own += time.total_seconds()

    def look(self, end: datetime = END) -> bool:
        return self.windows.over("k", end, self.date)

    def next_look(self) -> datetime | None:
        return self.windows.next_look("k", END, self.date)


@pytest.fixture
def clocks() -> Clocks:
    """At the end of the window, seen once."""
    made = Clocks()
    made.pass_by(END - NOW)
    assert not made.look()
    return made


def test_the_end_must_be_seen_twice_ten_minutes_apart(clocks: Clocks) -> None:
    clocks.pass_by(APART - SECOND)
    assert not clocks.look()
    clocks.pass_by(SECOND)
    assert clocks.look()


def test_before_the_end_nothing_is_seen() -> None:
    clocks = Clocks()
    clocks.pass_by(END - NOW - SECOND)
    assert not clocks.look()
    clocks.pass_by(APART)
    assert not clocks.look()  # the first look after the end


def test_the_api_servers_time_alone_is_not_enough(clocks: Clocks) -> None:
    clocks.date += timedelta(days=30)
    assert not clocks.look()


def test_the_own_clock_alone_is_not_enough(clocks: Clocks) -> None:
    clocks.own += 3600
    assert not clocks.look()


def test_a_clock_that_jumps_a_month_and_back_ends_nothing() -> None:
    clocks = Clocks()
    clocks.date += timedelta(days=30)
    assert not clocks.look()
    clocks.pass_by(timedelta(minutes=1))
    clocks.date -= timedelta(days=30)
    assert not clocks.look()
    clocks.pass_by(timedelta(minutes=20))
    assert not clocks.look()


def test_two_jumps_are_not_taken_for_one_that_lasts() -> None:
    """Whoever follows next_look sees the true time in between."""
    clocks = Clocks()
    clocks.date += timedelta(days=30)
    assert not clocks.look()
    soon = clocks.next_look()
    assert soon is not None
    assert soon - clocks.date <= EVERY
    clocks.pass_by(soon - clocks.date)
    clocks.date -= timedelta(days=30)
    assert not clocks.look()
    clocks.pass_by(timedelta(minutes=10))
    clocks.date += timedelta(days=30)
    assert not clocks.look()


def test_a_step_back_behind_the_end_begins_again(clocks: Clocks) -> None:
    clocks.pass_by(timedelta(minutes=9))
    clocks.date -= timedelta(minutes=9, seconds=-1)
    clocks.date -= timedelta(seconds=1)
    assert not clocks.look()
    clocks.date -= SECOND
    assert not clocks.look()
    clocks.pass_by(APART)
    assert not clocks.look()


def test_another_end_begins_again(clocks: Clocks) -> None:
    clocks.pass_by(APART)
    assert not clocks.look(END + SECOND)


def test_a_new_process_begins_again(clocks: Clocks) -> None:
    clocks.pass_by(APART)
    clocks.windows = Windows(lambda: clocks.own)
    assert not clocks.look()


def test_what_was_cancelled_begins_again(clocks: Clocks) -> None:
    clocks.pass_by(APART)
    clocks.windows.forget("k")
    assert not clocks.look()


def test_the_next_look_is_at_the_end_then_every_minute_then_never() -> None:
    clocks = Clocks()
    assert clocks.next_look() == END
    clocks.pass_by(END - NOW)
    assert not clocks.look()
    looks = 0
    while (at := clocks.next_look()) is not None:
        assert SECOND <= at - clocks.date <= EVERY
        clocks.pass_by(at - clocks.date)
        looks += 1
        done = clocks.look()
    assert (looks, done) == (10, True)


STEPS = st.lists(st.tuples(st.integers(0, 1200), st.integers(-3000, 3000)), max_size=30)


@given(steps=STEPS)
def test_no_history_ends_a_window_without_two_looks_ten_minutes_apart(steps: list[tuple[int, int]]) -> None:
    """Steps: seconds that pass, and seconds by which the API server's clock jumps. The window ends at NOW + 20 minutes."""
    clocks, end = Clocks(), NOW + timedelta(minutes=20)
    seen: list[tuple[float, datetime]] = []
    for passed, jump in steps:
        clocks.pass_by(timedelta(seconds=passed))
        clocks.date += timedelta(seconds=jump)
        over = clocks.look(end)
        if clocks.date < end:
            seen.clear()
        else:
            seen.append((clocks.own, clocks.date))
        if over:
            assert any(clocks.own - own >= 600 and clocks.date - date >= APART for own, date in seen)
