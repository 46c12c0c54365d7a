"""Facts of the API server: how long they live, who asks, and what happens when nobody answers."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest

from keystead.errors import (
    ForbiddenError,
    IdentityTokenError,
    IdentityTokenExpiredError,
    KmsInternalError,
    StoreUnavailableError,
    ThrottlingError,
)
from keystead.policy import SubjectAccessReview
from keystead.policy.bearer import Bearer, NotBearer
from keystead.server import facts
from keystead.server.facts import Facts

APP = Bearer("system:serviceaccount:team-a:app", "sa-1", (), "team-a", "app", "pod", "pod-1")


def a_review(verb: str = "decrypt") -> SubjectAccessReview:
    return SubjectAccessReview("system:serviceaccount:team-a:app", "sa-1", ("system:authenticated",), verb, "team-a", "key-1")


class Answers:
    """`ClusterFacts` that answer what they are told, and count. `gate`: while it is shut, nobody is answered."""

    def __init__(self) -> None:
        self.asked: Counter[str] = Counter()
        self.allowed: Any = True
        self.uid: str | None = "uid-1"
        self.who: Bearer | NotBearer = APP
        self.error: Exception | None = None
        self.gate = asyncio.Event()
        self.gate.set()

    async def _answer(self, what: str, value: Any) -> Any:
        self.asked[what] += 1
        await self.gate.wait()
        if self.error is not None:
            raise self.error
        return value

    async def review(self, question: SubjectAccessReview) -> bool:
        return await self._answer(question.verb, self.allowed)

    async def namespace_uid(self, namespace: str) -> str | None:
        return await self._answer(namespace, self.uid)

    async def service_account_uid(self, namespace: str, name: str) -> str | None:
        return await self._answer(f"{namespace}/{name}", self.uid)

    async def token_review(self, token: str) -> Bearer | NotBearer:
        return await self._answer(token, self.who)


class Bench:
    """Facts, what they ask, and their clock."""

    def __init__(self, most: int = 50_000, stretch: float = 0.0) -> None:
        self.now = 100.0
        self.cluster = Answers()
        self.facts = Facts(self.cluster, lambda namespace, uid: f"account of {namespace} {uid}", lambda: self.now, most, stretch)


@pytest.fixture
async def bench(monkeypatch: pytest.MonkeyPatch) -> Bench:
    """Nobody's turn is over because the machine is busy."""
    monkeypatch.setattr(facts, "_TURN_SECONDS", 60.0)
    return Bench()


async def test_junk_from_somebody_who_is_nobody_leaves_room_for_other_questions(bench: Bench) -> None:
    """A Bearer token costs its sender nothing, and the client of the API server has 100 connections."""
    async with shut(bench):
        junk = [asyncio.ensure_future(bench.facts.bearer(f"junk-{n}")) for n in range(500)]
        asking = asyncio.ensure_future(bench.facts.ask(a_review()))
        await settled()
        assert bench.cluster.asked["decrypt"] == 1
        assert 0 < bench.cluster.asked.total() - 1 <= 32
    assert await asking is True
    assert [who.user for who in await asyncio.gather(*junk)] == [APP.user] * 500


async def test_a_namespace_that_asks_for_hundreds_of_rights_leaves_room_for_the_others(bench: Bench) -> None:
    async with shut(bench):
        many = [asyncio.ensure_future(bench.facts.ask(a_review(f"verb-{n}"))) for n in range(500)]
        await settled()
        assert bench.cluster.asked.total() == 16
        others = [replace(a_review("decrypt"), namespace=f"team-{n}") for n in range(40)]
        asking = [asyncio.ensure_future(bench.facts.ask(review)) for review in others]
        await settled()
        assert bench.cluster.asked["decrypt"] >= 35  # few of them share a place with the one
    assert all(await asyncio.gather(*many, *asking))


async def test_who_fills_its_own_turns_is_throttled_and_makes_no_right_live_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    """An API server that cannot be asked lets an old yes count (`stretch`): nobody may bring that about for himself."""
    monkeypatch.setattr(facts, "_TURN_SECONDS", 0.01)
    bench = Bench(stretch=60.0)
    assert await bench.facts.ask(a_review()) is True
    bench.now += 11
    async with shut(bench):
        many = [asyncio.ensure_future(bench.facts.ask(a_review(f"verb-{n}"))) for n in range(40)]
        tokens = [asyncio.ensure_future(bench.facts.bearer(f"junk-{n}")) for n in range(40)]
        done, _ = await asyncio.wait([*many[16:], *tokens[32:]], timeout=60)
        assert len(done) == 24 + 8 and all(isinstance(each.exception(), ThrottlingError) for each in done)
        assert bench.facts.known(a_review()) is None
    await asyncio.gather(*many[:16], *tokens[:32])


@asynccontextmanager
async def shut(bench: Bench) -> AsyncIterator[None]:
    bench.cluster.gate.clear()
    yield
    bench.cluster.gate.set()


async def settled() -> None:
    """Until what runs in the background has run."""
    for _ in range(5):
        await asyncio.sleep(0)


async def test_a_fact_is_asked_for_once_and_known_then(bench: Bench) -> None:
    assert bench.facts.known(a_review()) is None
    assert await bench.facts.ask(a_review()) is True
    assert bench.facts.known(a_review()) is await bench.facts.ask(a_review()) is True
    assert bench.cluster.asked == {"decrypt": 1}


async def test_a_no_is_known_as_a_no(bench: Bench) -> None:
    bench.cluster.allowed = False
    assert await bench.facts.ask(a_review()) is False
    assert bench.facts.known(a_review()) is False


@pytest.mark.parametrize(("allowed", "life"), [(True, 10.0), (False, 2.0)])
async def test_a_yes_lives_ten_seconds_and_a_no_two(bench: Bench, allowed: bool, life: float) -> None:
    bench.cluster.allowed = allowed
    await bench.facts.ask(a_review())
    bench.cluster.error = StoreUnavailableError("away")
    bench.now += life - 0.01
    assert bench.facts.known(a_review()) is allowed
    bench.now += 0.01
    assert bench.facts.known(a_review()) is None
    await settled()


async def test_a_fact_is_as_old_as_its_question(bench: Bench) -> None:
    async with shut(bench):
        asking = asyncio.create_task(bench.facts.ask(a_review()))
        await settled()
        bench.now += 3
    assert await asking is True
    bench.now += 7
    assert bench.facts.known(a_review()) is None


async def test_questions_that_come_at_once_are_one(bench: Bench) -> None:
    async with shut(bench):
        asking = [asyncio.create_task(bench.facts.ask(a_review())) for _ in range(20)]
        await settled()
        asking[0].cancel()  # whoever asked first may leave
        await settled()
    assert await asyncio.gather(*asking[1:]) == [True] * 19
    assert bench.cluster.asked == {"decrypt": 1}


async def test_what_is_used_is_asked_for_again_before_it_ends(bench: Bench) -> None:
    """So that a busy caller never waits; and a right that was taken away ends in time."""
    await bench.facts.ask(a_review())
    bench.now += 6.9
    assert bench.facts.known(a_review()) is True
    await settled()
    assert bench.cluster.asked == {"decrypt": 1}
    bench.now += 0.1
    bench.cluster.allowed = False
    assert [bench.facts.known(a_review()) for _ in range(9)] == [True] * 9
    await settled()
    assert bench.cluster.asked == {"decrypt": 2}
    assert bench.facts.known(a_review()) is False


async def test_what_is_not_used_is_not_asked_for_again(bench: Bench) -> None:
    await bench.facts.ask(a_review())
    bench.now += 9.9
    await settled()
    assert bench.cluster.asked == {"decrypt": 1}


@pytest.mark.parametrize("error", [StoreUnavailableError("away"), ForbiddenError("the right to ask is missing")])
async def test_an_api_server_that_cannot_answer_is_a_fault_and_neither_yes_nor_no(bench: Bench, error: Exception) -> None:
    bench.cluster.error = error
    for _ in range(2):
        with pytest.raises(KmsInternalError):
            await bench.facts.ask(a_review())
        assert bench.facts.known(a_review()) is None
    assert bench.cluster.asked == {"decrypt": 2}


async def test_a_question_without_an_answer_ends(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("keystead.server.factcache.DEADLINE_SECONDS", 0.01)
    async with shut(bench):
        with pytest.raises(KmsInternalError):
            await bench.facts.ask(a_review())
    assert await bench.facts.ask(a_review()) is True


async def test_a_refresh_that_fails_takes_nothing_away_and_adds_no_time(bench: Bench) -> None:
    await bench.facts.ask(a_review())
    bench.cluster.error = StoreUnavailableError("away")
    bench.now += 8
    assert bench.facts.known(a_review()) is True
    await settled()
    assert bench.facts.known(a_review()) is True
    await settled()
    bench.now += 2
    assert bench.facts.known(a_review()) is None


async def test_the_oldest_facts_go_first_and_noes_push_out_no_yes() -> None:
    bench = Bench(most=10)
    for n in range(12):
        await bench.facts.ask(a_review(f"verb-{n}"))
    bench.cluster.allowed = False
    for n in range(100, 130):
        await bench.facts.ask(a_review(f"verb-{n}"))
    known = [bench.facts.known(a_review(f"verb-{n}")) for n in range(12)]
    assert known == [None, None, *[True] * 10]
    assert len(bench.facts._reviews) == 20


async def test_what_has_run_out_is_not_kept(bench: Bench) -> None:
    for n in range(100):
        await bench.facts.ask(a_review(f"verb-{n}"))
    bench.now += 11
    for n in range(100):
        await bench.facts.ask(a_review(f"again-{n}"))
    assert len(bench.facts._reviews) == 100


async def test_uids_of_namespaces_and_service_accounts_are_facts(bench: Bench) -> None:
    assert bench.facts.known_namespace("team-a") is bench.facts.known_service_account("team-a", "app") is None
    assert await bench.facts.namespace("team-a") == await bench.facts.service_account("team-a", "app") == "uid-1"
    assert bench.facts.known_namespace("team-a") == bench.facts.known_service_account("team-a", "app") == "uid-1"
    bench.cluster.uid = None
    assert await bench.facts.namespace("gone") is None
    assert bench.facts.known_namespace("gone") is None
    assert await bench.facts.namespace("gone") is None
    assert bench.cluster.asked == {"team-a": 1, "team-a/app": 1, "gone": 1}


async def test_a_token_names_its_service_account_and_pod(bench: Bench) -> None:
    found = await bench.facts.token("t1")
    assert (found.namespace, found.service_account, found.uid) == ("team-a", "app", "sa-1")
    assert (found.pod_name, found.pod_uid) == ("pod", "pod-1")
    assert (found.namespace_uid, found.account) == ("uid-1", "account of team-a uid-1")
    await bench.facts.token("t1")
    assert bench.cluster.asked["t1"] == 1


async def test_a_token_is_not_kept(bench: Bench) -> None:
    await bench.facts.token("a-secret-token")
    assert "a-secret-token" not in repr(bench.facts._tokens._yes)


@pytest.mark.parametrize(("who", "error"), [(NotBearer(), IdentityTokenError), (NotBearer(expired=True), IdentityTokenExpiredError)])
async def test_a_token_of_nobody_is_refused(bench: Bench, who: NotBearer, error: type[Exception]) -> None:
    bench.cluster.who = who
    for _ in range(2):
        with pytest.raises(error) as refused:
            await bench.facts.token("t1")
        assert "t1" not in str(refused.value)
    assert bench.cluster.asked["t1"] == 1


async def test_a_persons_token_is_no_web_identity(bench: Bench) -> None:
    bench.cluster.who = Bearer("anna@example.org", "", ("people",))
    assert (await bench.facts.bearer("t1")).user == "anna@example.org"
    with pytest.raises(IdentityTokenError):
        await bench.facts.token("t1")


async def test_a_token_of_a_namespace_that_has_gone_is_refused(bench: Bench) -> None:
    bench.cluster.uid = None
    with pytest.raises(IdentityTokenError):
        await bench.facts.token("t1")


async def test_while_the_api_server_is_away_a_yes_goes_on_as_long_as_the_records_do() -> None:
    bench = Bench(stretch=60.0)
    assert await bench.facts.ask(a_review()) is True
    bench.cluster.error = StoreUnavailableError("away")
    bench.now += 11
    assert await bench.facts.ask(a_review()) is True
    bench.now += 48.5
    assert bench.facts.known(a_review()) is True
    await settled()
    bench.now += 1
    assert bench.facts.known(a_review()) is None
    with pytest.raises(KmsInternalError):
        await bench.facts.ask(a_review())


async def test_what_was_never_allowed_is_not_allowed_while_the_api_server_is_away() -> None:
    bench = Bench(stretch=60.0)
    bench.cluster.allowed = False
    assert await bench.facts.ask(a_review()) is False
    bench.cluster.error = StoreUnavailableError("away")
    bench.now += 3
    with pytest.raises(KmsInternalError):
        await bench.facts.ask(a_review())


async def test_a_yes_is_stretched_only_while_nobody_answers() -> None:
    bench = Bench(stretch=60.0)
    assert await bench.facts.ask(a_review()) is True
    bench.cluster.error = StoreUnavailableError("away")
    bench.now += 11
    assert await bench.facts.ask(a_review()) is True
    bench.cluster.error, bench.cluster.allowed = None, False
    bench.now += 1
    assert bench.facts.known(a_review()) is True  # and asks again, in the background
    await settled()
    assert bench.facts.known(a_review()) is False


async def test_a_right_of_ours_that_is_missing_stretches_nothing() -> None:
    bench = Bench(stretch=60.0)
    assert await bench.facts.ask(a_review()) is True
    bench.cluster.error = ForbiddenError("we may not ask")
    bench.now += 11
    with pytest.raises(KmsInternalError):
        await bench.facts.ask(a_review())
