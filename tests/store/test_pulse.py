"""The heartbeat's rules by the clock: who writes when, and what a worker may still say of its records."""

from __future__ import annotations

import random

import pytest

from keystead.store.pulse import FRESH_FOR, OWN_AFTER, WRITE_AFTER, Pulse, State


def a_pulse(max_stale: float = 60.0, seen: float = 0.0) -> Pulse:
    """One that wrote and saw version 10 at this moment."""
    pulse = Pulse(max_stale)
    pulse.saw(seen, 10, 0.5)
    pulse.wrote(seen, 10, 0.5)
    return pulse


def test_before_the_first_sign_of_life_nothing_is_served() -> None:
    pulse = Pulse(60.0)
    assert pulse.state(0.0) is State.STALE
    assert not State.STALE.serves
    assert pulse.due(0.0)


def test_a_write_that_is_seen_keeps_it_fresh() -> None:
    pulse = a_pulse()
    for second in range(1, 100):
        assert pulse.due(float(second))
        pulse.wrote(float(second), 10 + second, 0.5)
        pulse.saw(second + 0.1, 10 + second, 0.5)
        assert not pulse.due(second + 0.2)
        assert pulse.state(second + 0.9) is State.FRESH


@pytest.mark.parametrize("spread", [0.0, 0.3, 1.0])
def test_a_stalled_stream_is_silent_within_three_seconds(spread: float) -> None:
    """Whenever it stalled, and however late this worker writes."""
    pulse = Pulse(60.0)
    pulse.saw(0.0, 10, spread)
    pulse.wrote(0.0, 10, spread)
    moments = [n / 100 for n in range(1, 301)]
    started = next(now for now in moments if pulse.due(now))
    assert WRITE_AFTER[0] <= started <= 1.0
    pulse.wrote(started, 11, spread)
    assert pulse.state(started + 1.99) is State.FRESH
    assert pulse.state(started + 2.0) is State.SILENT
    assert not State.SILENT.serves


def test_a_stream_that_is_late_is_silent_though_it_shows_what_others_wrote() -> None:
    pulse = a_pulse()
    now, version = 0.0, 10
    while not pulse.due(now):  # others write each half second, so that this one writes for itself only
        now, version = now + 0.5, version + 1
        pulse.saw(now, version, 0.5)
        assert now <= OWN_AFTER[1]
    pulse.wrote(now, 1000, 0.5)
    for step in range(1, 4):
        pulse.saw(now + step / 2, version + step, 0.5)
    assert pulse.state(now + 2.0) is State.SILENT
    pulse.saw(now + 2.5, 1000, 0.5)
    assert pulse.state(now + 2.5) is State.FRESH


def test_a_write_that_is_seen_before_it_is_answered_is_seen() -> None:
    pulse = a_pulse()
    pulse.saw(1.1, 11, 0.5)
    pulse.wrote(1.0, 11, 0.5)
    assert pulse.state(1.1 + FRESH_FOR - 0.01) is State.FRESH


def test_cut_off_is_served_for_max_stale_and_no_longer() -> None:
    pulse = a_pulse(max_stale=60.0)
    for second in range(1, 80):
        pulse.failed(float(second), 0.5)
    assert [pulse.state(now) for now in (2.9, 3.0, 59.9, 60.0)] == [State.FRESH, State.CUT_OFF, State.CUT_OFF, State.STALE]
    assert State.CUT_OFF.serves


def test_strict_serves_nothing_once_the_api_server_is_gone() -> None:
    pulse = a_pulse(max_stale=0.0)
    pulse.failed(1.0, 0.5)
    assert [pulse.state(now) for now in (2.9, 3.0)] == [State.FRESH, State.STALE]


def test_what_was_silent_is_not_served_again_because_the_api_server_went_too() -> None:
    pulse = a_pulse()
    pulse.wrote(1.0, 11, 0.5)
    pulse.failed(4.0, 0.5)
    assert pulse.state(4.0) is pulse.state(20.0) is State.SILENT
    pulse.saw(21.0, 12, 0.5)
    assert pulse.state(21.0) is State.FRESH


def test_an_api_server_that_went_right_after_a_write_is_cut_off() -> None:
    pulse = a_pulse()
    pulse.wrote(1.0, 11, 0.5)
    pulse.failed(2.0, 0.5)
    assert pulse.state(5.0) is State.CUT_OFF


def test_back_from_cut_off_the_stream_has_its_time() -> None:
    pulse = a_pulse()
    pulse.failed(1.0, 0.5)
    pulse.wrote(20.0, 15, 0.5)
    assert pulse.state(21.9) is State.CUT_OFF
    pulse.saw(21.9, 15, 0.5)
    assert pulse.state(22.1) is State.FRESH


def test_a_list_is_a_sign_of_life_of_the_moment_it_began() -> None:
    pulse = Pulse(60.0)
    pulse.listed(10.0, 14.0, 10, 0.5)
    assert pulse.state(12.9) is State.FRESH
    assert pulse.state(14.0) is State.CUT_OFF
    assert pulse.due(14.0)


def test_a_list_does_not_heal_a_silent_stream() -> None:
    pulse = a_pulse()
    pulse.wrote(1.0, 11, 0.5)
    pulse.listed(4.0, 4.1, 11, 0.5)
    assert pulse.state(4.2) is State.SILENT
    pulse.saw(4.3, 12, 0.5)
    assert pulse.state(4.3) is State.FRESH


def test_a_heartbeat_that_may_not_be_written_is_silence() -> None:
    """The chart's Secret or right is missing: how late the stream is cannot be known."""
    pulse = a_pulse()
    pulse.wrote(1.0, None, 0.5)
    assert pulse.state(3.0) is State.SILENT
    pulse.saw(4.0, 11, 0.5)  # another worker can
    assert pulse.state(4.0) is State.FRESH


def test_of_ten_workers_few_write() -> None:
    """Each sees the others' writes 20 ms later. About one write a second, and each worker's own every five."""
    chance = random.Random(5)
    pulses, version, writes = [a_pulse() for _ in range(10)], 10, 0
    shows: list[tuple[float, int]] = []
    for tick in range(1, 6000):
        now = tick / 100
        for due in [item for item in shows if item[0] <= now]:
            shows.remove(due)
            for pulse in pulses:
                pulse.saw(now, due[1], chance.random())
        for pulse in pulses:
            if pulse.due(now):
                version, writes = version + 1, writes + 1
                pulse.wrote(now, version, chance.random())
                shows.append((now + 0.02, version))
        assert all(pulse.state(now) is State.FRESH for pulse in pulses)
    assert writes / 60 < 3.5
