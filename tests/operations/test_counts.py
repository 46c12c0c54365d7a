"""Counts of calls: added, taken off, made coarser; a namespace's sum of a class in a month stays whatever has no room."""

from __future__ import annotations

import random
import uuid
import zlib

import pytest

from keystead.operations.counts import MAX_BYTES, MONTHS, NO_KEY, OTHER, Row, added, aged, pack, unpack, without


def row(month: str = "2026-11", namespace: str = "a", key: str = "k", price: str = "requests") -> Row:
    return Row(month, namespace, key, price)


def sums(counts: dict[Row, int]) -> dict[tuple[str, str, str], int]:
    """By month, namespace and class."""
    found: dict[tuple[str, str, str], int] = {}
    for each, calls in counts.items():
        place = (each.month, each.namespace, each.price)
        found[place] = found.get(place, 0) + calls
    return found


def large(keys: int, namespaces: int, months: tuple[str, ...]) -> dict[Row, int]:
    chance = random.Random(7)
    ids = [str(uuid.UUID(int=chance.getrandbits(128))) for _ in range(keys)]
    return {
        row(month, f"team-{number % namespaces}", key): chance.randrange(1, 1_000_000)
        for month in months
        for number, key in enumerate(ids)
    }


def test_what_is_packed_is_unpacked() -> None:
    counts = {row(): 1, row(key="l", price="asymmetric"): 2, row("2026-10", "b", NO_KEY): 3, row("2026-10", "b", OTHER): 4}
    assert unpack(pack(counts)) == counts
    assert unpack(pack({})) == {}


def test_counts_are_added() -> None:
    assert added(({row(): 1, row(key="l"): 2}, {row(): 3}, {})) == {row(): 4, row(key="l"): 2}


def test_what_is_taken_off_leaves_what_came_after() -> None:
    earlier = {row(): 3, row(key="l"): 2}
    later = added((earlier, {row(): 4, row(key="m"): 1}))
    assert without(later, earlier) == {row(): 4, row(key="m"): 1}
    assert without(earlier, earlier) == {}


def test_what_has_become_coarser_is_taken_off_the_coarser_row() -> None:
    earlier = {row("2026-09"): 3}
    assert without(aged({row("2026-09"): 5, row("2026-11"): 1}), earlier) == {row("2026-09", key=OTHER): 2, row("2026-11"): 1}


def test_two_months_are_kept_by_key_and_thirteen_in_all() -> None:
    months = [f"{2025 + number // 12}-{number % 12 + 1:02}" for number in range(8, 23)]
    counts = aged({row(month, key=key): 1 for month in months for key in ("k", "l", NO_KEY)})
    assert sorted({each.month for each in counts}) == months[-MONTHS:]
    assert {each.month for each in counts if each.key_id in ("k", "l")} == set(months[-2:])
    assert counts[row(months[-3], key=OTHER)] == 2
    assert counts[row(months[-3], key=NO_KEY)] == 1


def test_the_months_around_new_year_are_neighbours() -> None:
    assert aged({row("2026-12"): 1, row("2027-01"): 2}) == {row("2026-12"): 1, row("2027-01"): 2}


def test_2_500_keys_of_two_months_have_room() -> None:
    counts = large(2_500, 100, ("2026-10", "2026-11"))
    data = pack(counts)
    assert len(data) <= MAX_BYTES
    assert unpack(data) == counts


def test_what_has_no_room_is_other_and_no_call_is_lost() -> None:
    counts = large(20_000, 100, ("2026-10", "2026-11"))
    data = pack(counts)
    kept = unpack(data)
    assert MAX_BYTES / 3 < len(data) <= MAX_BYTES
    assert sums(kept) == sums(counts)
    named = {each: calls for each, calls in kept.items() if each.key_id != OTHER}
    assert {each.month for each in named} == {"2026-11"}, "the older month goes first"
    gone = [calls for each, calls in counts.items() if each.month == "2026-11" and each not in kept]
    assert max(gone) <= min(named.values()), "the keys with most calls stay"


def test_more_namespaces_than_have_room_are_one_without_a_name() -> None:
    counts = {row(key=NO_KEY, namespace=str(uuid.UUID(int=number * 7**40 % 2**128))): number + 1 for number in range(20_000)}
    data = pack(counts)
    kept = unpack(data)
    assert len(data) <= MAX_BYTES
    assert sum(kept.values()) == sum(counts.values())
    assert kept[row(namespace="", key=NO_KEY)] > 0


def test_with_very_many_namespaces_the_oldest_months_go_and_two_stay() -> None:
    months = [f"2026-{number:02}" for number in range(1, 12)]
    chance = random.Random(3)
    names = [str(uuid.UUID(int=chance.getrandbits(128))) for _ in range(3_000)]
    kept = unpack(pack({row(month, name, NO_KEY): 1 for month in months for name in names}))
    months_kept = sorted({each.month for each in kept})
    assert 2 <= len(months_kept) < 11
    assert months_kept == months[-len(months_kept):]
    assert sum(calls for each, calls in kept.items() if each.month == "2026-11") == 3_000


@pytest.mark.parametrize(
    "text",
    [b"junk", b"[]", b'{"2026-11":{"a":{"k":{"requests":-1}}}}', b'{"2026-13":{}}', b'{"soon":{}}', b'{"2026-11":{"a":{"k":7}}}'],
)
def test_what_was_not_packed_is_refused(text: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        unpack(zlib.compress(text))
    with pytest.raises(ValueError, match=r"."):
        unpack(text)
