"""Markers, pages, names of new objects."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.builders import a_control_world, an_app
from tests.hsm.fake import FakeHsm

from keystead.errors import InvalidMarkerError, ValidationError
from keystead.operations.control.common import Listing, check_paging, create_name, object_name, page
from keystead.operations.control.keys import ListKeysRequest
from keystead.operations.world import Call
from keystead.policy import root_caller

HSM = FakeHsm()
WORLD = a_control_world(HSM)
LISTING = Listing("ListKeys", "111122223333", "scope")
ITEMS = [f"item-{n:03}" for n in range(250)]


def pages(items, limit, listing=LISTING, world=WORLD):
    found, marker = [], None
    while True:
        one = page(world, listing, items, str, limit, marker)
        found.append(one.items)
        assert one.truncated is (one.next_marker is not None)
        if not one.truncated:
            return found
        marker = one.next_marker


@given(st.sets(st.text(min_size=1, max_size=8), max_size=30), st.integers(1, 12))
def test_pages_have_every_item_once_and_in_order(texts, limit):
    items = sorted(texts)
    found = pages(items, limit)
    assert [item for one in found for item in one] == items
    assert all(len(one) == limit for one in found[:-1])


@given(st.sets(st.integers(0, 60), min_size=2), st.sets(st.integers(0, 60)), st.integers(1, 5))
def test_what_comes_and_goes_between_pages_moves_nothing_that_stays(before, after, limit):
    first = page(WORLD, LISTING, sorted(f"{n:02}" for n in before), str, limit, None)
    if first.next_marker is None:
        return
    rest = page(WORLD, LISTING, sorted(f"{n:02}" for n in after), str, 1000, first.next_marker)
    stays = {f"{n:02}" for n in before & after}
    seen = [*first.items, *rest.items]
    assert stays <= set(seen)
    assert len(seen) == len(set(seen))


def test_a_page_has_100_items_when_nothing_is_said():
    assert [len(one) for one in pages(ITEMS, None)] == [100, 100, 50]
    assert [len(one) for one in pages(ITEMS, None, replace(LISTING, default=50))] == [50] * 5


def test_an_empty_list_is_one_page():
    assert pages([], 5) == [()]


def test_the_last_page_may_be_full_and_says_that_it_is_the_last():
    assert [len(one) for one in pages(ITEMS[:4], 2)] == [2, 2]


@pytest.mark.parametrize(
    "listing",
    [
        replace(LISTING, account="444455556666"),
        replace(LISTING, operation="ListAliases"),
        replace(LISTING, scope="other"),
        replace(LISTING, scope=""),
    ],
)
def test_a_marker_of_another_account_or_list_is_refused(listing):
    marker = page(WORLD, LISTING, ITEMS, str, 10, None).next_marker
    assert page(WORLD, LISTING, ITEMS, str, 10, marker).items[0] == ITEMS[10]
    with pytest.raises(InvalidMarkerError):
        page(WORLD, listing, ITEMS, str, 10, marker)


def test_a_marker_of_another_region_or_domain_is_refused():
    marker = page(WORLD, LISTING, ITEMS, str, 10, None).next_marker
    for world in (replace(WORLD, region="elsewhere"), a_control_world(FakeHsm(b"another"))):
        with pytest.raises(InvalidMarkerError):
            page(world, LISTING, ITEMS, str, 10, marker)


def test_a_marker_with_any_character_changed_is_refused():
    marker = page(WORLD, LISTING, ITEMS, str, 10, None).next_marker
    for at, was in enumerate(marker[:-1]):
        changed = marker[:at] + ("A" if was != "A" else "B") + marker[at + 1 :]
        with pytest.raises(InvalidMarkerError):
            page(WORLD, LISTING, ITEMS, str, 10, changed)


@pytest.mark.parametrize("marker", ["x", "item-010", "=", "\u00e9", "A" * 22, "A" * 1024, "a b", "AA\n"])
def test_a_text_that_is_no_marker_is_refused(marker):
    with pytest.raises(InvalidMarkerError):
        page(WORLD, LISTING, ITEMS, str, 10, marker)


def test_a_marker_tells_nothing_that_the_list_did_not_and_fits_aws_pattern():
    longest = "alias/" + "x" * 250
    marker = page(WORLD, LISTING, [longest, longest + "y"], str, 1, None).next_marker
    assert len(marker) <= 1024
    assert re.fullmatch(r"[\u0020-\u00FF]*", marker)


@pytest.mark.parametrize(
    ("limit", "marker", "message"),
    [
        (0, None, "Value '0' at 'limit' failed to satisfy constraint: Member must have value greater than or equal to 1"),
        (1001, None, "Value '1001' at 'limit' failed to satisfy constraint: Member must have value less than or equal to 1000"),
        (1, "", "Value '' at 'marker' failed to satisfy constraint: Member must have length greater than or equal to 1"),
    ],
)
def test_limit_and_marker_are_bounded(limit, marker, message):
    with pytest.raises(ValidationError) as caught:
        check_paging(limit, marker)
    assert caught.value.message == f"1 validation error detected: {message}"
    check_paging(None, None)
    check_paging(1000, "x" * 1024)


def test_a_marker_that_is_refused_is_an_answer_of_the_api(desk):
    with pytest.raises(InvalidMarkerError):
        desk.call(ListKeysRequest(marker="nonsense"))


# Names


def name(caller=None, operation="CreateKey", body=b"body", invocation="i", hsm=HSM):
    world = a_control_world(hsm, call=Call(body, invocation))
    return create_name(world, caller or an_app(), operation, "key")


def test_a_name_is_the_same_for_the_same_call():
    assert name() == name()
    assert re.fullmatch(r"key-[0-9a-f]{20}", name())


def test_a_name_differs_with_everything_that_makes_the_call():
    names = {
        name(),
        name(caller=root_caller("111122223333", "team-a")),
        name(operation="CreateGrant"),
        name(body=b"bod"),
        name(invocation="y"),
        name(body=b"bodyi", invocation=""),
        name(hsm=FakeHsm(b"another")),
    }
    assert len(names) == 7


def test_the_session_of_a_retry_may_be_another_one():
    assert name(caller=an_app(session="s-1")) == name(caller=an_app(session="s-2"))


def test_without_an_invocation_id_a_name_is_never_the_same():
    world = a_control_world(HSM)
    assert len({create_name(world, an_app(), "CreateKey", "key") for _ in range(50)}) == 50


def test_parts_of_a_name_do_not_run_into_each_other():
    assert object_name(WORLD, "grant", b"ab", b"c") != object_name(WORLD, "grant", b"a", b"bc")
