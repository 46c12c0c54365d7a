"""The route /audit on fakes of its ports and a real folder: whose records a tenant sees, and that every refusal is the same."""

from __future__ import annotations

import asyncio
import json
import threading
from pathlib import Path
from typing import Any

import pytest
from tests.audit_reading.chains import AChain, a_call, arn_of, at
from tests.audit_reading.houses import FOREIGN, HSM, KEY, OTHER_KEY, OWN, READER, House, events, mine
from tests.builders import (
    ACCOUNT,
    NAMESPACE,
    OTHER_ACCOUNT,
    OTHER_UID,
    a_key,
)

from keystead.audit import cloudtrail
from keystead.audit.reading.records import Query, record_of
from keystead.audit.reading.tenant import TenantRecords
from keystead.engine.identifiers import RECORDS_NAMESPACE
from keystead.operations.trail import ServiceEvent
from keystead.policy import service_account_caller
from keystead.server.auditroute import BURST, NAME, RATE
from keystead.server.message import Asked
from keystead.server.quota import OwnBuckets


@pytest.fixture
def house(tmp_path: Path) -> House:
    chain = AChain("a").start()
    chain.add(mine(0)).add(a_call(1, key=OTHER_KEY.key_id)).add(mine(2, code="AccessDeniedException"))
    hidden = {"resources": [{"ARN": arn_of(KEY.key_id)}], "decisions": [{"reason": "secret reason"}]}
    chain.add(mine(3, caller_account=OTHER_ACCOUNT))  # the caller's own record of its use of our key
    chain.add(mine(3, caller_account=OTHER_ACCOUNT, recipient=ACCOUNT))
    chain.add(mine(4, more={"operatorOnly": hidden}))
    chain.add(a_call(5, key=KEY.key_id, account=ACCOUNT, caller_account=OTHER_ACCOUNT, more={"operatorOnly": hidden, "resources": []}))
    chain.add(a_call(6, key=OTHER_KEY.key_id, context={"of": KEY.key_id, "arn": arn_of(KEY.key_id)}))  # speaks of it, is not about it
    chain.checkpoint().write(tmp_path, per_file=3, packed=True)
    return House(tmp_path)


@pytest.mark.parametrize("named", ["orders", KEY.key_id, arn_of(KEY.key_id)])
async def test_a_holder_of_the_verb_reads_the_records_of_its_key_and_no_others(house: House, named: str) -> None:
    told = await house.read(key=named)
    assert events(told) == ["event-0", "event-2", "event-3", "event-4"]
    assert {record["recipientAccountId"] for record in told["records"]} == {ACCOUNT}
    assert told["replicas"] == [{"replica": "server-0", "address": None, "from": at(0), "more": False}]
    assert (told["nextMarker"], told["notAsked"], told["askedSiblings"]) == (None, [], False)


async def test_nothing_of_the_chain_and_of_foreign_policies_is_told(house: House) -> None:
    body = (await house.get(key="orders")).body
    for word in (b"chain", b"operatorOnly", b"secret reason", b'"seq"', b'"prev"'):
        assert word not in body


async def test_rbac_is_asked_for_the_verb_audit_on_the_key_in_its_own_namespace(house: House) -> None:
    await house.read(key="orders")
    (review,) = house.rbac.asked
    assert (review.verb, review.resource, review.namespace, review.name) == ("audit", "kmskeys", NAMESPACE, "orders")
    assert (review.user, review.uid) == ("system:serviceaccount:team-a:auditor", "sa-1")


@pytest.mark.parametrize(
    "named",
    ["users", "none", OTHER_KEY.key_id, FOREIGN.key_id, arn_of(FOREIGN.key_id, OTHER_ACCOUNT), "alias/x", "0" * 36,
     arn_of(KEY.key_id, OTHER_ACCOUNT), OWN.key_id, arn_of(OWN.key_id), "x" * 1000],
)  # fmt: skip
async def test_every_refusal_is_the_same_and_asks_the_api_server_once(house: House, named: str) -> None:
    house.rbac.allowed.add((RECORDS_NAMESPACE, "audit-signing"))
    reply = await house.get(key=named)
    assert reply.status == 403
    assert reply.body == (await house.get(key="never-made")).body
    assert len(house.rbac.asked) == 2
    (first, _) = house.kept.events
    assert (first.code, first.account, first.key_arn) == ("AccessDeniedException", ACCOUNT, "")


async def test_that_answers_are_remembered_does_not_tell_by_the_time_whether_there_is_a_key(house: House) -> None:
    named = ["users", "never-made", "never-made-2", "0" * 36, FOREIGN.key_id, arn_of(KEY.key_id, OTHER_ACCOUNT), "x" * 1000]
    for _ in range(2):
        for name in named:
            assert (await house.get(key=name)).status == 403
    assert len(set(house.rbac.asked)) == len(named)
    assert max(len(review.name) for review in house.rbac.asked) == 253


async def test_a_right_in_another_namespace_lets_read_there(house: House) -> None:
    house.rbac.allowed.add(("team-b", FOREIGN.name))
    assert (await house.read(key=FOREIGN.key_id))["records"] == []
    house.rbac.uids["team-b"] = "made-again"
    assert (await house.get(key=FOREIGN.key_id)).status == 403
    assert FOREIGN.namespace_uid == OTHER_UID


async def test_a_key_whose_name_is_another_keys_now_is_not_read_by_the_right_on_that_name(house: House) -> None:
    old = a_key(HSM, n=7, name="orders")
    house.records.keys = {bytes(16): KEY, **house.records.keys}
    house.records.add(old)
    assert (await house.get(key=old.key_id)).status == 403


async def test_the_read_itself_is_recorded_for_the_key_before_it_is_answered(house: House) -> None:
    await house.read(key="orders")
    (event,) = house.kept.events
    assert (event.name, event.key_arn, event.account, event.code) == ("ReadAuditRecords", arn_of(KEY.key_id), ACCOUNT, "")
    assert event.details == {
        "principal": READER.principal, "readerNamespace": NAMESPACE, "key": "orders", "replica": "server-0", "records": "4",
        "podName": "pod-1",
    }  # fmt: skip
    assert recorded(event)["userIdentity"]["sessionContext"]["sessionIssuer"]["arn"] == READER.principal
    house.kept.fails = True
    assert (await house.get(key="orders")).status == 500
    assert (await house.get(key="users")).status == 500


def recorded(event: ServiceEvent) -> dict[str, Any]:
    return json.loads(cloudtrail.service(event))  # type: ignore[no-any-return]


@pytest.mark.parametrize("name", [READER.principal, "auditor", f"{NAMESPACE}/auditor"])
async def test_who_read_and_who_was_refused_is_found_by_its_name(house: House, name: str) -> None:
    await house.read(key="orders")
    await house.get(key="users")
    found = [record_of(recorded(event)) for event in house.kept.events]
    query = Query(principals=(name,), actions=("ReadAuditRecords",))
    assert [(query.wants(record), record.principal, record.error_code) for record in found] == [
        (True, READER.principal, ""), (True, READER.principal, "AccessDenied"),
    ]  # fmt: skip
    assert not Query(principals=("app",)).wants(found[0])


async def test_a_read_from_another_account_is_recorded_in_both_and_the_keys_learns_nothing_of_the_pod(house: House) -> None:
    house.rbac.allowed.add(("team-b", FOREIGN.name))
    await house.read(key=FOREIGN.key_id)
    theirs, own = map(recorded, house.kept.events)
    assert [record["recipientAccountId"] for record in (theirs, own)] == [OTHER_ACCOUNT, ACCOUNT]
    assert (theirs["userIdentity"]["type"], theirs["userIdentity"]["accountId"]) == ("AWSAccount", ACCOUNT)
    assert (own["userIdentity"]["type"], own["serviceEventDetails"]["podName"]) == ("AssumedRole", "pod-1")
    assert "pod-1" not in json.dumps(theirs)
    assert theirs["sharedEventID"] == own["sharedEventID"]
    assert theirs["eventID"] != own["eventID"]
    assert [record_of(record).second for record in (theirs, own)] == [True, False]


@pytest.mark.parametrize(("token", "secure", "status"), [("", True, 401), ("bad", True, 401), ("good", False, 401)])
async def test_only_a_bearer_token_over_tls_is_let_in(house: House, token: str, secure: bool, status: int) -> None:
    reply = await house.get(token=token, secure=secure, key="orders")
    assert reply.status == status
    assert not house.kept.events


async def test_pages_follow_each_other_over_files_and_miss_nothing(house: House) -> None:
    found, marker = [], ""
    for _ in range(20):
        told = await house.read(key="orders", limit="1", **({"marker": marker} if marker else {}))
        found += events(told)
        marker = told["nextMarker"]
        if not marker:
            break
    assert found == ["event-0", "event-2", "event-3", "event-4"]


async def test_a_marker_is_sealed_and_fits_its_own_key_only(house: House) -> None:
    house.rbac.allowed.add((NAMESPACE, "users"))
    marker = (await house.read(key="orders", limit="1"))["nextMarker"]
    for bad in ("x", "AAAA", marker[:-4] + "AAAA", "é"):
        assert (await house.get(key="orders", marker=bad)).status == 400
    assert (await house.get(key="users", marker=marker)).status == 400
    assert (await house.get(key="orders", marker=marker)).status == 200
    house.replica = "server-1"
    assert (await house.get(key="orders", marker=marker)).status == 400


@pytest.mark.parametrize("query", [{}, {"key": ""}, {"key": "k", "limit": "0"}, {"key": "k", "limit": "1001"}, {"key": "k", "limit": "x"},
                                   {"key": "k", "since": "yesterday"}, {"key": "k", "other": "1"}, {"key": "k" * 3000}])  # fmt: skip
async def test_a_bad_query_is_refused_by_its_parameter(house: House, query: dict[str, str]) -> None:
    assert (await house.get(**query)).status == 400


async def test_since_leaves_out_what_was_before(house: House) -> None:
    assert events(await house.read(key="orders", since=at(3))) == ["event-3", "event-4"]


async def test_the_next_pages_tell_nothing_that_was_recorded_after_the_first_one_was_asked(tmp_path: Path) -> None:
    chain = AChain("a").start()
    chain.add(mine(0)).add(mine(1)).add(mine(2, time="2026-11-26T09:00:01Z")).write(tmp_path)
    house = House(tmp_path)
    first = await house.read(key="orders", limit="1")
    rest = await house.read(key="orders", limit="10", marker=first["nextMarker"])
    assert (events(first), events(rest)) == (["event-0"], ["event-1"])
    assert events(await house.read(key="orders")) == ["event-0", "event-1", "event-2"]


async def test_a_principal_that_reads_too_often_is_throttled_before_anything_is_asked(house: House) -> None:
    clock = 10**12
    house.quota = OwnBuckets(NAME, RATE, BURST, lambda: clock)
    assert [(await house.get(key="users")).status for _ in range(BURST + 2)] == [403] * BURST + [429] * 2
    assert b"ThrottlingException" in (await house.get(key="orders")).body
    assert len(house.rbac.asked) == len(house.kept.events) == BURST
    clock += 10**9
    assert [(await house.get(key="orders")).status for _ in range(int(RATE) + 1)] == [200] * int(RATE) + [429]


async def test_another_method_is_refused(house: House) -> None:
    assert (await house.get(method=b"POST", key="orders")).status == 405


async def test_nothing_is_read_while_facts_records_or_audit_are_away(house: House) -> None:
    house.rbac.away = True
    assert (await house.get(key="orders")).status == 500
    house.rbac.away, house.stale = False, "no heartbeat"
    assert (await house.get(key="orders")).status == 500
    house.stale, house.kept.stopped = None, True
    assert (await house.get(key="orders")).status == 500


async def test_two_of_an_account_read_at_once_the_third_is_told_to_wait_and_another_account_is_not(house: House) -> None:
    begun, go_on = threading.Semaphore(0), threading.Event()
    real = house.trail

    class Slow:
        def page(self, *want: Any) -> Any:
            begun.release()
            assert go_on.wait(10)
            return real.page(*want)

    house.trail = Slow()
    route = house.route()
    asked = Asked(b"GET", b"/audit?key=" + KEY.key_id.encode(), [(b"authorization", b"Bearer good")], b"", "", True)
    first = [asyncio.create_task(route(asked)) for _ in range(2)]
    for _ in first:
        assert await asyncio.to_thread(begun.acquire, timeout=10)
    assert (await route(asked)).status == 429
    house.reader = service_account_caller(OTHER_ACCOUNT, "team-b", "auditor", uid="sa-2")
    first.append(asyncio.create_task(route(asked)))
    assert await asyncio.to_thread(begun.acquire, timeout=10)
    assert (await route(asked)).status == 429
    go_on.set()
    assert [reply.status for reply in await asyncio.gather(*first)] == [200] * 3
    assert (await route(asked)).status == 200


async def test_the_event_loop_goes_on_while_records_are_read(tmp_path: Path) -> None:
    chain = AChain("a").start()
    for number in range(200):
        chain.add(mine(number, account=OTHER_ACCOUNT, caller_account=OTHER_ACCOUNT, more={"pad": "x" * 500}))
    (path,) = chain.write(tmp_path)
    path.write_bytes(path.read_bytes() * 150)  # 30,000 lines that must be looked at, and none of them is for this tenant
    turns = 0
    reading = asyncio.create_task(asyncio.to_thread(TenantRecords(tmp_path).page, arn_of(KEY.key_id), ACCOUNT, None, 1000, None))
    while not reading.done():
        await asyncio.sleep(0.001)
        turns += 1
    assert (await reading).records == ()
    assert turns > 10


def test_a_page_ends_when_its_time_is_over_and_the_next_one_goes_on(tmp_path: Path) -> None:
    chain = AChain("a").start()
    for number in range(400):
        chain.add(a_call(number, more={"pad": "x" * 2000}))
    chain.add(mine(900)).write(tmp_path)
    moments = iter(range(0, 10_000, 3))
    records = TenantRecords(tmp_path, clock=lambda: float(next(moments)))
    found: list[bytes] = []
    place: bytes | None = None
    for pages in range(1, 50):  # noqa: B007 - counted
        page = records.page(arn_of(KEY.key_id), ACCOUNT, None, 10, place)
        found += page.records
        place = page.place
        if place is None:
            break
    assert len(found) == 1
    assert pages > 1


def test_a_page_has_no_more_bytes_than_its_bound(tmp_path: Path) -> None:
    chain = AChain("a").start()
    for number in range(30):
        chain.add(mine(number, more={"pad": "x" * 400_000}))
    chain.write(tmp_path, per_file=7, packed=True)
    records = TenantRecords(tmp_path)
    sizes, place = [], None
    while True:
        page = records.page(arn_of(KEY.key_id), ACCOUNT, None, 1000, place)
        sizes.append(sum(map(len, page.records)))
        place = page.place
        if place is None:
            break
    assert max(sizes) < 5_500_000
    assert sum(sizes) > 30 * 400_000


def test_a_page_goes_on_where_retention_took_its_file(tmp_path: Path) -> None:
    chain = AChain("a").start()
    for number in range(8):
        chain.add(mine(number))
    paths = chain.write(tmp_path, per_file=3)
    first = TenantRecords(tmp_path).page(arn_of(KEY.key_id), ACCOUNT, None, 1, None)
    paths[0].unlink()
    rest = TenantRecords(tmp_path).page(arn_of(KEY.key_id), ACCOUNT, None, 100, first.place)
    assert [json.loads(text)["eventID"] for text in rest.records] == [f"event-{n}" for n in range(2, 8)]
