"""Counts of calls in ConfigMaps of a real API server: every call is in one of them, once, whoever takes over from whom."""

from __future__ import annotations

import base64
import random
import uuid
from datetime import timedelta
from typing import Any

import pytest
from tests.store.test_uses import Place, place

from keystead.errors import StoreUnavailableError
from keystead.operations.counts import Counts, Row, added
from keystead.operations.usetable import UseTable
from keystead.operations.world import LastUse
from keystead.store.kube import Kube
from keystead.store.uses import PREFIX, KubeUses, counts_in

pytestmark = pytest.mark.cluster
__all__ = ["place"]
ROW = Row("2026-11", "team-a", "k", "requests")


def counted(calls: int) -> UseTable:
    return UseTable(counts={ROW: calls})


def held(place: Place) -> dict[str, int]:
    """Calls by holder, from the objects as `kubectl kms usage` reads them."""
    return {body["data"]["holder"]: (counts_in(body) or {}).get(ROW, 0) for body in place.maps().values()}


def total(place: Place) -> int:
    return sum(held(place).values())


def lose_answers(kube: Kube, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Methods that are put in it are done, but their answer is lost, once each."""
    lost: list[str] = []
    real = kube.request

    async def request(method: str, *rest: Any, **more: Any) -> Any:
        answer = await real(method, *rest, **more)
        if method in lost:
            lost.remove(method)
            raise StoreUnavailableError("the answer was lost")
        return answer

    monkeypatch.setattr(kube, "request", request)
    return lost


async def test_replicas_write_their_own_and_a_successor_goes_on_from_what_it_finds(place: Place) -> None:
    async with place.kube() as kube:
        a, b = KubeUses(kube, place.namespace, "a"), KubeUses(kube, place.namespace, "b")
        for calls in (1, 2, 5):
            await a.save(counted(calls), last=False)
        await b.save(counted(10), last=False)
        assert held(place) == {"a": 5, "b": 10}
        await a.save(counted(6), last=True)
        c = KubeUses(kube, place.namespace, "c")
        for calls in (100, 200):
            await c.save(counted(calls), last=False)
        assert held(place) == {"c": 206, "b": 10}


async def test_a_container_that_starts_again_under_the_same_name_is_another_run(place: Place) -> None:
    async with place.kube() as kube:
        await KubeUses(kube, place.namespace, "pod-1").save(counted(5), last=False)
        again = KubeUses(kube, place.namespace, "pod-1")
        for calls in (1, 2):
            await again.save(counted(calls), last=False)
        assert held(place) == {"pod-1": 7}


async def test_one_that_was_taken_for_dead_brings_only_what_came_after(place: Place) -> None:
    async with place.kube() as kube:
        await KubeUses(kube, place.namespace, "old").save(counted(1000), last=True)
        a, b = KubeUses(kube, place.namespace, "a"), KubeUses(kube, place.namespace, "b")
        await a.save(counted(5), last=False)
        place.age(f"{PREFIX}0", timedelta(minutes=16), kube.clock.now())
        await b.save(counted(100), last=False)
        assert held(place) == {"b": 1105}
        for calls in (7, 8):
            await a.save(counted(calls), last=False)
        assert held(place) == {"b": 1105, "a": 3}


async def test_a_write_whose_answer_was_lost_counts_once(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    async with place.kube() as kube:
        a = KubeUses(kube, place.namespace, "a")
        lost = lose_answers(kube, monkeypatch)
        await a.save(counted(5), last=False)
        lost.append("PUT")
        with pytest.raises(StoreUnavailableError):
            await a.save(counted(6), last=False)
        await a.save(counted(9), last=False)
        assert held(place) == {"a": 9}


@pytest.mark.parametrize("method", ["POST", "PUT"])
async def test_a_claim_whose_answer_was_lost_counts_once(place: Place, monkeypatch: pytest.MonkeyPatch, method: str) -> None:
    async with place.kube() as kube:
        if method == "PUT":
            await KubeUses(kube, place.namespace, "old").save(counted(3), last=True)
        before = total(place)
        a = KubeUses(kube, place.namespace, "a")
        lost = lose_answers(kube, monkeypatch)
        lost.append(method)
        with pytest.raises(StoreUnavailableError):
            await a.save(counted(5), last=False)
        await a.save(counted(6), last=False)
        assert held(place) == {"a": before + 6}


async def test_a_lost_answer_and_a_successor_together_count_once(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """The successor found the write of which the other one does not know whether it was made."""
    async with place.kube() as kube:
        a, b = KubeUses(kube, place.namespace, "a"), KubeUses(kube, place.namespace, "b")
        lost = lose_answers(kube, monkeypatch)
        await a.save(counted(5), last=False)
        lost.append("PUT")
        with pytest.raises(StoreUnavailableError):
            await a.save(counted(6), last=False)
        place.age(f"{PREFIX}0", timedelta(minutes=16), kube.clock.now())
        await b.save(counted(100), last=False)
        await a.save(counted(9), last=False)
        assert held(place) == {"b": 106, "a": 3}


async def test_what_somebody_deleted_is_written_again(place: Place) -> None:
    async with place.kube() as kube:
        await KubeUses(kube, place.namespace, "old").save(counted(3), last=True)
        a = KubeUses(kube, place.namespace, "a")
        await a.save(counted(5), last=False)
        place.cluster.kubectl("delete", "configmap", f"{PREFIX}0", "-n", place.namespace)
        for calls in (6, 7):
            await a.save(counted(calls), last=False)
        assert held(place) == {"a": 10}


def put_without_counts(place: Place, holder: str) -> None:
    """As a version before the counts takes a ConfigMap over: it writes its own members and no others."""
    body = place.maps()[f"{PREFIX}0"]
    metadata = {member: body["metadata"][member] for member in ("name", "namespace", "labels")}
    data = {member: body["data"][member] for member in ("written", "trackingSince") if member in body["data"]} | {"holder": holder}
    packed = {"uses.json.zlib": body["binaryData"]["uses.json.zlib"]}
    place.cluster.kubectl("delete", "configmap", f"{PREFIX}0", "-n", place.namespace)
    place.cluster.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data, "binaryData": packed})


async def test_a_configmap_of_an_earlier_version_is_read_and_taken_over(place: Place) -> None:
    async with place.kube() as kube:
        now = kube.clock.now()
        use = LastUse("Encrypt", now, "e", "r")
        await KubeUses(kube, place.namespace, "old").save(UseTable({"k": use}, now), last=True)
        put_without_counts(place, "")
        assert counts_in(place.maps()[f"{PREFIX}0"]) is None
        a = KubeUses(kube, place.namespace, "a")
        await a.save(counted(5), last=False)
        assert held(place) == {"a": 5}
        assert (await a.load()).uses == {"k": use}
        assert place.maps()[f"{PREFIX}0"]["data"]["countsSince"]


async def test_what_an_earlier_version_dropped_is_written_again_by_the_one_that_counted_it(place: Place) -> None:
    async with place.kube() as kube:
        a = KubeUses(kube, place.namespace, "a")
        await a.save(counted(5), last=False)
        put_without_counts(place, "old")
        await a.save(counted(7), last=False)
        assert held(place) == {"old": 0, "a": 7}


async def test_members_that_this_version_does_not_know_stay(place: Place) -> None:
    async with place.kube() as kube:
        await KubeUses(kube, place.namespace, "new").save(counted(3), last=True)
        more = base64.b64encode(b"of a later version").decode()
        place.cluster.kubectl(
            "patch", "configmap", f"{PREFIX}0", "-n", place.namespace, "--type=merge",
            "-p", f'{{"data": {{"later": "yes"}}, "binaryData": {{"later.zlib": "{more}"}}}}',
        )  # fmt: skip
        a = KubeUses(kube, place.namespace, "a")
        for calls in (1, 2):
            await a.save(counted(calls), last=False)
        body = place.maps()[f"{PREFIX}0"]
        assert (body["data"]["later"], body["binaryData"]["later.zlib"]) == ("yes", more)
        assert held(place) == {"a": 5}


async def test_what_somebody_else_wrote_for_counts_harms_nobody(place: Place) -> None:
    async with place.kube() as kube:
        await KubeUses(kube, place.namespace, "old").save(counted(3), last=True)
        junk = base64.b64encode(b"junk").decode()
        place.cluster.kubectl(
            "patch", "configmap", f"{PREFIX}0", "-n", place.namespace, "--type=merge",
            "-p", f'{{"binaryData": {{"counts.json.zlib": "{junk}"}}}}',
        )  # fmt: skip
        a = KubeUses(kube, place.namespace, "a")
        await a.save(counted(5), last=False)
        assert held(place) == {"a": 5}


async def test_last_uses_and_counts_of_a_large_cluster_fit_into_one_configmap(place: Place) -> None:
    chance = random.Random(5)
    async with place.kube() as kube:
        now = kube.clock.now()
        ids = [str(uuid.UUID(int=chance.getrandbits(128))) for _ in range(30_000)]
        uses = {
            key: LastUse("GenerateDataKey", now + timedelta(seconds=number), str(uuid.uuid4()), str(uuid.uuid4()))
            for number, key in enumerate(ids)
        }
        counts: Counts = {
            Row("2026-11", f"team-{number % 500}", key, "requests"): chance.randrange(1, 10**9) for number, key in enumerate(ids)
        }
        a = KubeUses(kube, place.namespace, "a")
        await a.save(UseTable(uses, now, counts=counts), last=False)
        body = place.maps()[f"{PREFIX}0"]
        sizes = {name: len(base64.b64decode(member)) for name, member in body["binaryData"].items()}
        assert 700_000 < sum(sizes.values()) <= 780_000, sizes
        assert len((await a.load()).uses) > 8_000
        found = counts_in(body)
        assert found is not None
        assert sum(found.values()) == sum(counts.values())
        assert set(added((found,))) & set(counts)
