"""Last uses in ConfigMaps of a real API server: one a replica, merged by all; what a dead replica left is taken over, not lost."""

from __future__ import annotations

import base64
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import pytest
from tests.cluster.cluster import Cluster

from keystead.engine.clock import format_time
from keystead.operations.usetable import UseTable
from keystead.operations.world import LastUse
from keystead.store.kube import Kube, connect
from keystead.store.uses import PREFIX, KubeUses

pytestmark = pytest.mark.cluster


class Place:
    """A namespace, and an administrator in it."""

    def __init__(self, cluster: Cluster, namespace: str) -> None:
        self.cluster = cluster
        self.namespace = namespace

    def maps(self) -> dict[str, Any]:
        found = self.cluster.get("configmaps", "-n", self.namespace)["items"]
        return {body["metadata"]["name"]: body for body in found if body["metadata"]["name"].startswith(PREFIX)}

    def holders(self) -> list[str]:
        return [body["data"]["holder"] for _, body in sorted(self.maps().items())]

    def age(self, name: str, by: timedelta, now: Any) -> None:
        self.cluster.kubectl(
            "patch", "configmap", name, "-n", self.namespace, "--type=merge",
            "-p", f'{{"data": {{"written": "{format_time(now - by)}"}}}}',
        )

    @asynccontextmanager
    async def kube(self) -> AsyncIterator[Kube]:
        kube = await connect(self.cluster.kubeconfig)
        await kube.request("GET", "/version")
        try:
            yield kube
        finally:
            await kube.close()


@pytest.fixture
def place(cluster: Cluster) -> Iterator[Place]:
    namespace = f"uses-{uuid.uuid4().hex[:8]}"
    cluster.kubectl("create", "namespace", namespace)
    yield Place(cluster, namespace)
    cluster.kubectl("delete", "namespace", namespace, "--wait=false")


def table(kube: Kube, **uses: int) -> UseTable:
    """The API server's Date has whole seconds: two looks at it may be out of order."""
    now = kube.clock.now().replace(minute=0, second=0, microsecond=0)
    return UseTable({key: LastUse("Encrypt", now + timedelta(seconds=at), "e", f"r{at}") for key, at in uses.items()}, now)


async def test_two_replicas_have_one_each_and_both_read_both(place: Place) -> None:
    async with place.kube() as kube:
        a, b = KubeUses(kube, place.namespace, "a"), KubeUses(kube, place.namespace, "b")
        first, second = table(kube, k=1, a=2), table(kube, k=3, b=4)
        await a.save(first, last=False)
        await b.save(second, last=False)
        assert place.holders() == ["a", "b"]
        for store in (a, b):
            found = await store.load()
            assert found.uses == {**first.uses, **second.uses}
            assert found.since == first.since


async def test_a_replica_that_ended_in_order_is_succeeded_at_once_and_one_that_lives_is_not(place: Place) -> None:
    async with place.kube() as kube:
        a, b = KubeUses(kube, place.namespace, "a"), KubeUses(kube, place.namespace, "b")
        old = table(kube, k=1)
        await a.save(old, last=False)
        await b.save(table(kube, b=1), last=False)
        await a.save(old, last=True)
        assert place.holders() == ["", "b"]
        c = KubeUses(kube, place.namespace, "c")
        await c.save(table(kube, c=2), last=False)
        await c.save(table(kube, c=3), last=False)
        assert place.holders() == ["c", "b"]
        assert set((await c.load()).uses) == {"k", "b", "c"}
        assert (await c.load()).since == old.since


async def test_a_replica_that_was_killed_is_succeeded_when_it_has_been_silent_for_long(place: Place) -> None:
    async with place.kube() as kube:
        a, b = KubeUses(kube, place.namespace, "a"), KubeUses(kube, place.namespace, "b")
        await a.save(table(kube, k=1), last=False)
        place.age(f"{PREFIX}0", timedelta(minutes=16), kube.clock.now())
        await b.save(table(kube, b=1), last=False)
        assert place.holders() == ["b"]
        assert set((await b.load()).uses) == {"k", "b"}
        # It was not dead after all: it finds another one, and brings with it what it saw.
        await a.save(table(kube, k=5), last=False)
        assert place.holders() == ["b", "a"]
        assert (await b.load()).uses["k"].request_id == "r5"


async def test_without_news_nothing_is_written_until_it_must_show_that_it_lives(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with place.kube() as kube:
        a, same = KubeUses(kube, place.namespace, "a"), table(kube, k=1)
        await a.save(same, last=False)
        version = place.maps()[f"{PREFIX}0"]["metadata"]["resourceVersion"]
        await a.save(same, last=False)
        assert place.maps()[f"{PREFIX}0"]["metadata"]["resourceVersion"] == version
        later = kube.clock.now() + timedelta(minutes=6)
        monkeypatch.setattr(type(kube.clock), "now", lambda _: later)
        await a.save(same, last=False)
        assert place.maps()[f"{PREFIX}0"]["metadata"]["resourceVersion"] != version


async def test_one_that_somebody_deleted_is_made_again_with_all_that_was_in_it(place: Place) -> None:
    async with place.kube() as kube:
        a = KubeUses(kube, place.namespace, "a")
        await a.save(table(kube, k=1), last=False)
        place.cluster.kubectl("delete", "configmap", f"{PREFIX}0", "-n", place.namespace)
        await a.save(table(kube, k=1, l=2), last=False)
        assert set((await a.load()).uses) == {"k", "l"}


async def test_what_somebody_else_wrote_into_one_harms_nobody(place: Place) -> None:
    async with place.kube() as kube:
        a = KubeUses(kube, place.namespace, "a")
        await a.save(table(kube, k=1), last=False)
        junk = base64.b64encode(b"junk").decode()
        for name, body in ((f"{PREFIX}1", {"binaryData": {"uses.json.zlib": junk}, "data": {"written": "soon"}}), (f"{PREFIX}x", {})):
            labels = {"app.kubernetes.io/component": "usage", "app.kubernetes.io/managed-by": "keystead"}
            metadata = {"name": name, "namespace": place.namespace, "labels": labels}
            place.cluster.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, **body})
        assert set((await a.load()).uses) == {"k"}
        b = KubeUses(kube, place.namespace, "b")
        await b.save(table(kube, b=1), last=False)
        assert set((await a.load()).uses) == {"k", "b"}
        assert len(place.maps()) == 3


async def test_the_table_of_a_large_cluster_fits(place: Place) -> None:
    async with place.kube() as kube:
        now = kube.clock.now()
        uses = {
            str(uuid.uuid4()): LastUse("GenerateDataKey", now + timedelta(seconds=n), str(uuid.uuid4()), str(uuid.uuid4()))
            for n in range(15_000)
        }
        a = KubeUses(kube, place.namespace, "a")
        await a.save(UseTable(uses, now), last=False)
        found = await a.load()
        assert len(found.uses) > 9_000
        assert found.tracking_since == found.dropped
