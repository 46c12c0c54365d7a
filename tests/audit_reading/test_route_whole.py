"""The route /audit over several replicas: one answer of all records, who could not be asked, markers, and what a forged question gives."""

from __future__ import annotations

import asyncio
import base64
import json
from pathlib import Path
from typing import Any

import pytest
from tests.audit_reading.chains import AChain, arn_of, at
from tests.audit_reading.houses import HSM, KEY, House, Street, events, mine

from keystead.engine.identifiers import KeyId
from keystead.errors import ValidationError
from keystead.server import auditwhole
from keystead.server.auditmarker import Marker, Seals, Spot
from keystead.server.auditpeers import Address
from keystead.server.auditquery import MOST_SIBLINGS, SHARE, read_wish
from keystead.server.message import Asked

A, B, C = (Address(f"10.0.0.{number}", 8443) for number in (1, 2, 3))


def a_house(folder: Path, name: str, *numbers: int) -> House:
    """A replica that has these records."""
    chain = AChain(name).start()
    for number in numbers:
        chain.add(mine(number))
    (folder / name).mkdir()
    chain.write(folder / name)
    return House(folder / name)


@pytest.fixture
def street(tmp_path: Path) -> Street:
    found = Street()
    for number, records in enumerate(([0, 3, 6, 9], [1, 4, 7], [2, 5, 8]), 1):
        found.add(number, a_house(tmp_path, f"c{number}", *records))
    return found


def names(told: dict[str, Any]) -> list[str]:
    return [item["replica"] for item in told["replicas"]]


async def pages(house: House, **query: Any) -> list[dict[str, Any]]:
    """All answers to a question, each page asked of the same replica."""
    found = [await house.read(key="orders", **query)]
    while found[-1]["nextMarker"]:
        assert len(found) < 40
        found.append(await house.read(key="orders", marker=found[-1]["nextMarker"], **query))
    return found


@pytest.mark.parametrize("asked", [A, B, C])
async def test_any_replica_tells_the_records_of_all_in_the_order_of_time(street: Street, asked: Address) -> None:
    told = await street.houses[asked].read(key="orders")
    assert events(told) == [f"event-{n}" for n in range(10)]
    assert sorted((item["replica"], item["from"], item["more"]) for item in told["replicas"]) == [
        (f"server-{n}", at(0), False) for n in (1, 2, 3)
    ]
    assert {item["address"] for item in told["replicas"]} == {str(A), str(B), str(C)}
    assert (told["notAsked"], told["nextMarker"], told["askedSiblings"]) == ([], None, True)


@pytest.mark.parametrize("asked", [A, B, C])
async def test_a_replica_whose_files_are_damaged_says_so_whoever_is_asked(street: Street, asked: Address, tmp_path: Path) -> None:
    assert not any("damaged" in item for item in (await street.houses[asked].read(key="orders"))["replicas"])
    (path,) = (tmp_path / "c2").iterdir()
    lines = path.read_bytes().split(b"\n")
    path.write_bytes(b"\n".join([lines[0], b"garbage", *lines[2:]]))
    told = await street.houses[asked].read(key="orders")
    assert events(told) == [f"event-{n}" for n in range(10) if n != 1]
    assert {item["replica"]: item.get("damaged") for item in told["replicas"]} == {"server-1": None, "server-2": True, "server-3": None}


async def test_each_sibling_decides_and_records_for_itself_with_the_callers_own_token(street: Street) -> None:
    street.houses[B].rbac.allowed.clear()
    told = await street.houses[A].read(key="orders")
    assert told["notAsked"] == [{"replica": None, "address": str(B), "reason": "it does not let the caller read this key"}]
    assert events(told) == [f"event-{n}" for n in (0, 2, 3, 5, 6, 8, 9)]
    assert [(name, auth) for name, _, auth, _ in street.asked] == [(B, b"Bearer good"), (C, b"Bearer good")]
    assert [house.kept.events[0].code for house in street.houses.values()] == ["", "AccessDeniedException", ""]
    assert all(len(house.rbac.asked) == 1 for house in street.houses.values())


async def test_who_is_refused_makes_no_replica_ask_another(street: Street) -> None:
    house = street.houses[A]
    for query in ({"key": "users"}, {"key": "none"}, {"key": "orders", "token": "bad"}, {"key": "orders", "marker": "AAAA"}):
        assert (await house.get(**query)).status in (400, 401, 403)
    assert street.asked == []
    alone = House(Path("none"))
    assert (await house.get(key="none")).body == (await alone.get(key="none")).body


@pytest.mark.parametrize(
    ("share", "status"), [(b"1", 200), (b"33", 200), (b"0", 400), (b"34", 400), (b"x", 400), (b"-1", 400), (b"100", 400)]
)
async def test_a_question_marked_as_a_siblings_is_never_sent_on_and_gives_no_more(street: Street, share: bytes, status: int) -> None:
    house = street.houses[A]
    reply = await house.get(key="orders", share=share)
    assert (reply.status, street.asked) == (status, [])
    if status == 200:
        told = json.loads(reply.body)
        assert set(told) == {"records", "nextMarker", "from", "replica", "id"}
        assert set(events(told)) <= {"event-0", "event-3", "event-6", "event-9"}
    street.houses[A].rbac.allowed.clear()
    assert (await house.get(key="orders", share=b"1")).status == 403
    assert (await house.get(key="orders", share=b"1", token="")).status == 401


async def test_a_forged_share_beside_a_second_one_is_refused(street: Street) -> None:
    headers = [(SHARE, b"1"), (SHARE, b"2")]
    with pytest.raises(ValidationError):
        read_wish(Asked(b"GET", b"/audit?key=k", headers, b""))


@pytest.mark.parametrize("limit", ["1", "3", "4", "7"])
async def test_pages_of_all_replicas_end_and_hold_each_record_once(street: Street, limit: str) -> None:
    told = await pages(street.houses[A], limit=limit)
    assert sorted(number for page in told for number in events(page)) == [f"event-{n}" for n in range(10)]
    assert all(len(page["records"]) <= max(int(limit), 3) for page in told)
    assert all(events(page) == sorted(events(page)) for page in told)


async def test_another_replica_goes_on_by_the_marker_of_the_first(street: Street) -> None:
    first = await street.houses[A].read(key="orders", limit="3")
    found, marker, turn = events(first), first["nextMarker"], 0
    while marker:
        turn += 1
        told = await street.houses[(B, C, A)[turn % 3]].read(key="orders", limit="3", marker=marker)
        found, marker = found + events(told), told["nextMarker"]
    assert sorted(found) == [f"event-{n}" for n in range(10)]


async def test_who_has_told_everything_is_asked_no_more(street: Street) -> None:
    told = await pages(street.houses[A], limit="12")  # 4 of each: only the first may have more
    assert [sorted(names(page)) for page in told] == [["server-1", "server-2", "server-3"], ["server-1"]]
    assert [len(house.kept.events) for house in street.houses.values()] == [2, 1, 1]
    assert len(street.asked) == 2


async def test_a_replica_that_could_not_be_asked_is_named_and_told_of_when_it_is_back(street: Street) -> None:
    street.down.add(B)
    first = await street.houses[A].read(key="orders", limit="3")
    assert first["notAsked"] == [{"replica": None, "address": str(B), "reason": "nobody listens there"}]
    street.down.clear()
    found, marker = events(first), first["nextMarker"]
    while marker:
        told = await street.houses[A].read(key="orders", limit="30", marker=marker)
        found, marker = found + events(told), told["nextMarker"]
        assert told["notAsked"] == []
    assert sorted(found) == [f"event-{n}" for n in range(10)]


async def test_one_that_goes_away_between_pages_is_named_by_its_name_and_the_pages_end(street: Street) -> None:
    first = await street.houses[A].read(key="orders", limit="3")
    street.down.add(B)
    second = await street.houses[A].read(key="orders", limit="3", marker=first["nextMarker"])
    assert second["notAsked"] == [{"replica": "server-2", "address": str(B), "reason": "nobody listens there"}]
    del street.houses[B]
    marker, last = second["nextMarker"], second
    while marker:
        last = await street.houses[A].read(key="orders", limit="30", marker=marker)
        marker = last["nextMarker"]
    assert last["notAsked"] == [{"replica": "server-2", "address": str(B), "reason": "it is gone"}]


async def test_one_that_is_gone_after_it_told_everything_is_missed_by_nobody(street: Street) -> None:
    first = await street.houses[A].read(key="orders", limit="12")
    street.down |= {B, C}
    last = await street.houses[A].read(key="orders", limit="12", marker=first["nextMarker"])
    assert (last["notAsked"], names(last), len(events(first))) == ([], ["server-1"], 10)


async def test_a_record_that_two_replicas_have_stands_once(street: Street, tmp_path: Path) -> None:
    """One volume for all, or one replica under two addresses."""
    street.add(4, a_house(tmp_path, "again", 0, 4))
    street.houses[Address("fd00::2", 8443)] = street.houses[B]
    told = await street.houses[A].read(key="orders")
    assert events(told) == [f"event-{n}" for n in range(10)]
    assert sorted(names(told)) == ["server-1", "server-2", "server-3", "server-4"]


OTHERS = json.dumps({"records": [], "nextMarker": "AAAA", "from": "", "replica": "x", "id": "y"}).encode()
STRAY = {"records": [], "nextMarker": Seals(HSM.domain, arn_of(KEY.key_id)).seal(Marker("", {"z": Spot("", "", b"")})), "from": "",
         "replica": "x", "id": "y"}  # fmt: skip


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ((404, b""), "it keeps no files of records"),
        ((401, b""), "it does not know the caller"),
        ((400, b""), "it does not take the question: it may be of another version"),
        ((302, b""), "it answered with status 302"),
        ((500, b""), "it answered with status 500"),
        ((200, b"not json"), "its answer cannot be read: it may be of another version"),
        ((200, b'{"records":[]}'), "its answer cannot be read: it may be of another version"),
        ((200, OTHERS), "its answer cannot be read: it may be of another version"),
        ((200, json.dumps(STRAY).encode()), "its answer cannot be read: it may be of another version"),
    ],
)
async def test_whatever_comes_from_a_sibling_it_is_told_or_named(street: Street, answer: tuple[int, bytes], reason: str) -> None:
    street.instead[B] = answer
    told = await street.houses[A].read(key="orders")
    assert told["notAsked"] == [{"replica": None, "address": str(B), "reason": reason}]
    assert len(events(told)) == 7


async def test_a_busy_sibling_is_asked_again_within_its_time(street: Street, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(auditwhole, "_PAUSE", 0.01)
    monkeypatch.setattr(auditwhole, "EACH_SECONDS", 0.2)
    street.instead[B] = (429, b"")
    told = await street.houses[A].read(key="orders")
    assert told["notAsked"] == [{"replica": None, "address": str(B), "reason": "it is busy"}]
    assert len([1 for address, *_ in street.asked if address == B]) > 2
    reading = asyncio.create_task(street.houses[A].read(key="orders"))
    await asyncio.sleep(0)
    street.instead.clear()
    assert len(events(await reading)) == 10


async def test_one_that_hangs_is_waited_for_no_longer_than_its_time(street: Street, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(auditwhole, "EACH_SECONDS", 0.05)

    class Hung(House):
        def route(self) -> Any:
            async def never(_asked: object) -> Any:
                await asyncio.Event().wait()

            return never

    street.houses[B] = Hung(Path("none"))
    told = await street.houses[A].read(key="orders")
    assert told["notAsked"] == [{"replica": None, "address": str(B), "reason": "it did not answer in time"}]
    assert len(events(told)) == 7


async def test_no_more_siblings_are_asked_than_the_bound_and_the_others_are_named(street: Street) -> None:
    for number in range(10, 10 + MOST_SIBLINGS):
        street.houses[Address(f"10.1.0.{number}", 8443)] = street.houses[B]
    street.unresolved = ("peers:8443",)
    told = await street.houses[A].read(key="orders")
    assert len(street.asked) == MOST_SIBLINGS
    reasons = [item["reason"] for item in told["notAsked"]]
    assert sorted(reasons) == ["its name leads nowhere now", *[f"there are more than {MOST_SIBLINGS}"] * 2]


async def test_a_marker_of_all_replicas_is_sealed_and_fits_its_own_key_only(street: Street) -> None:
    marker = (await street.houses[A].read(key="orders", limit="3"))["nextMarker"]
    assert b"server-" not in base64.urlsafe_b64decode(marker)
    other = Seals(HSM.domain, arn_of(KeyId("0" * 36))).seal(Seals(HSM.domain, arn_of(KEY.key_id)).open(marker))
    for bad in (marker[:-4] + "AAAA", other):
        assert (await street.houses[B].get(key="orders", marker=bad)).status == 400
    assert len(street.asked) == 2


async def test_four_whole_answers_of_an_account_are_made_at_once_and_the_fifth_is_told_to_wait(street: Street) -> None:
    gate = asyncio.Event()
    house = street.houses[A]

    class Slow:
        async def find(self) -> Any:
            await gate.wait()
            return await street_door.find()

        async def ask(self, *question: Any) -> Any:
            return await street_door.ask(*question)

    assert house.peers is not None
    street_door, house.peers = house.peers, Slow()
    route = house.route()
    house.route = lambda: route  # type: ignore[method-assign]
    waiting = [asyncio.create_task(house.get(key="orders")) for _ in range(4)]
    for _ in range(5):
        await asyncio.sleep(0)
    assert (await house.get(key="orders")).status == 429
    gate.set()
    statuses = [reply.status for reply in await asyncio.gather(*waiting)]
    assert set(statuses) <= {200, 429} and 200 in statuses
