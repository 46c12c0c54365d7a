"""The one stream on a real API server, behind a proxy that goes wrong: stalls, outages, and what may be served meanwhile.

The worker here has the server's rights and no more: list and watch Secrets in the records' namespace, update the one named heartbeat.
"""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest
from msgspec.structs import replace
from tests.builders import a_key
from tests.cluster.cluster import Cluster
from tests.hsm.fake import FakeHsm
from tests.operator.chaos import ChaosProxy, Request, answer, drop_request, stall_watch

from keystead.engine.identifiers import RecordKind, key_id_bytes, record_name
from keystead.engine.record import KeyRecord, SealedRecord, seal_record
from keystead.policy import SubjectAccessReview
from keystead.policy.bearer import Bearer, NotBearer
from keystead.store.kube import Kube, connect
from keystead.store.model import RecordModel
from keystead.store.pulse import State
from keystead.store.records import KubeRecords
from keystead.store.reviews import KubeFacts
from keystead.store.stream import Stream

pytestmark = pytest.mark.cluster
LATER = {"seq": 2, "prev": "ab" * 32}


def rights(namespace: str) -> list[dict[str, object]]:
    """ServiceAccount `server` with the rights of RECORDS, Rights; what only facts need is a ClusterRole."""
    subject = {"kind": "ServiceAccount", "name": "server", "namespace": namespace}
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "server"}
    return [
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"namespace": namespace, "name": "server"}},
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "Role",
            "metadata": {"namespace": namespace, "name": "server"},
            "rules": [
                {"apiGroups": [""], "resources": ["secrets"], "verbs": ["list", "watch"]},
                {"apiGroups": [""], "resources": ["secrets"], "verbs": ["update"], "resourceNames": ["heartbeat"]},
            ],
        },
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "RoleBinding",
            "metadata": {"namespace": namespace, "name": "server"},
            "roleRef": role,
            "subjects": [subject],
        },
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {
                "namespace": namespace,
                "name": "heartbeat",
                "labels": {"kms.keystead.io/record": "heartbeat", "of": "the-chart"},
                "annotations": {"helm.sh/resource-policy": "keep"},
            },
            "type": "kms.keystead.io/heartbeat",
        },
    ]


@dataclass
class Place:
    """A namespace of records, its domain, and a proxy before the API server."""

    cluster: Cluster
    proxy: ChaosProxy
    namespace: str
    hsm: FakeHsm = field(default_factory=FakeHsm)

    def sealed(self, key: KeyRecord) -> SealedRecord:
        return seal_record(self.hsm, record_name(RecordKind.KEY, key.namespace, key.name), key)

    async def put(self, key: KeyRecord) -> None:
        """Write a record as an administrator, past the proxy."""
        async with client(self.cluster) as kube:
            records = KubeRecords(kube, self.namespace)
            found = await records.get(self.sealed(key).name)
            if found is None:
                await records.create(RecordKind.KEY, self.sealed(key))
            else:
                await records.replace(RecordKind.KEY, self.sealed(key), found.resource_version)


@asynccontextmanager
async def client(cluster: Cluster) -> AsyncIterator[Kube]:
    kube = await connect(cluster.kubeconfig)
    try:
        yield kube
    finally:
        await kube.close()


@pytest.fixture
def place(cluster: Cluster) -> Iterator[Place]:
    namespace = f"stream-{uuid.uuid4().hex[:8]}"
    cluster.kubectl("create", "namespace", namespace)
    cluster.apply(*rights(namespace))
    with ChaosProxy(cluster) as proxy:
        yield Place(cluster, proxy, namespace)
    cluster.kubectl("delete", "namespace", namespace, "--wait=false")


@dataclass
class Worker:
    """A stream that runs."""

    stream: Stream
    model: RecordModel
    history: list[tuple[float, State]] = field(default_factory=list)

    @property
    def state(self) -> State:
        return self.stream.state(time.monotonic())

    async def until(self, wanted: Callable[[], bool], seconds: float) -> float:
        """Seconds until it holds; every state on the way is noted."""
        began = time.monotonic()
        while not wanted():
            if not self.history or self.history[-1][1] is not self.state:
                self.history.append((time.monotonic() - began, self.state))
            assert time.monotonic() < began + seconds, (self.state, self.history)
            await asyncio.sleep(0.01)
        return time.monotonic() - began

    def holds(self, key: KeyRecord) -> bool:
        return self.model.by_id(key_id_bytes(key.key_id)) == key


@asynccontextmanager
async def a_worker(place: Place, **settings: float) -> AsyncIterator[Worker]:
    """A worker behind the proxy, once it is fresh."""
    kubeconfig = place.cluster.service_account_kubeconfig(place.namespace, "server", place.proxy.url)
    kube = await connect(kubeconfig)
    model = RecordModel()
    worker = Worker(Stream(kube, place.namespace, model, identity="w", **settings), model)
    task = asyncio.create_task(worker.stream.run(lambda: place.hsm))
    try:
        await worker.until(lambda: worker.state is State.FRESH or task.done(), 20)
        yield worker
        assert not task.done(), task.result()
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await kube.close()


def every(request: Request) -> bool:
    return True


def watches(request: Request) -> bool:
    return request.watch


async def test_a_record_that_is_written_is_in_the_model_at_once(place: Place) -> None:
    key = a_key(place.hsm)
    await place.put(key)
    async with a_worker(place) as worker:
        assert worker.stream.missing is None
        assert worker.holds(key)
        later = replace(key, description="é", **LATER)
        await place.put(later)
        assert await worker.until(lambda: worker.holds(later), 5) < 1.0
        await worker.until(lambda: worker.stream.pulse.age(time.monotonic()) < 0.1, 3)  # its heartbeat goes on
        assert worker.state is State.FRESH


async def test_a_heartbeat_keeps_what_the_chart_wrote_and_is_about_one_a_second(place: Place) -> None:
    async with a_worker(place) as first, a_worker(place) as second:
        place.proxy.clear()
        end = time.monotonic() + 5
        await asyncio.gather(*(worker.until(lambda: time.monotonic() > end, 9) for worker in (first, second)))
        writes = place.proxy.writes(lambda write: write.status is not None)  # one may be on its way
        assert first.state is second.state is State.FRESH
    assert 4 <= len(writes) <= 14
    assert {(write.method, write.path.rpartition("/")[2], write.status) for write in writes} == {("PUT", "heartbeat", 200)}
    found = place.cluster.get("secret", "heartbeat", "-n", place.namespace)
    assert found["metadata"]["labels"] == {"kms.keystead.io/record": "heartbeat", "of": "the-chart"}
    assert found["metadata"]["annotations"] == {"helm.sh/resource-policy": "keep"}
    assert list(found["data"]) == ["beat"]


async def test_one_stalled_watch_is_replaced_before_anybody_is_refused(place: Place) -> None:
    key = a_key(place.hsm)
    await place.put(key)
    async with a_worker(place) as worker:
        rule = place.proxy.rule(watches, stall_watch(), times=1)
        await worker.until(lambda: rule.hits == 1, 3)
        later = replace(key, description="written into the silence", **LATER)
        await place.put(later)
        assert await worker.until(lambda: worker.holds(later), 5) < 3.0
        assert [state for _, state in worker.history if state is State.SILENT] == []


async def test_watches_that_stay_silent_make_it_unready_within_three_seconds_and_it_heals(place: Place) -> None:
    async with a_worker(place) as worker:
        rule = place.proxy.rule(watches, stall_watch(), times=None)
        assert await worker.until(lambda: rule.hits > 0, 3) < 1.5
        assert await worker.until(lambda: worker.state is State.SILENT, 5) < 3.1
        assert worker.stream.missing == "records: the stream is silent"
        place.proxy.clear()
        assert await worker.until(lambda: worker.state is State.FRESH, 8) < 4.0


async def test_without_the_api_server_it_serves_for_max_stale_then_refuses_then_heals(
    place: Place, caplog: pytest.LogCaptureFixture
) -> None:
    key = a_key(place.hsm)
    await place.put(key)
    with caplog.at_level(logging.WARNING):
        async with a_worker(place, max_stale=6.0) as worker:
            place.proxy.rule(every, drop_request(), times=None)
            stopped = await worker.until(lambda: worker.state is State.STALE, 12)
            states = [state for _, state in worker.history]
            assert states[-2:] == [State.FRESH, State.CUT_OFF]
            assert State.SILENT not in states
            assert 4.5 < stopped < 7.5
            assert worker.holds(key)
            later = replace(key, description="meanwhile", **LATER)
            await place.put(later)
            place.proxy.clear()
            await worker.until(lambda: worker.state is State.FRESH, 8)
            assert worker.holds(later)
    assert "the stream of records is cut-off" in caplog.text


async def test_strict_refuses_three_seconds_after_the_api_server_went(place: Place) -> None:
    async with a_worker(place, max_stale=0.0) as worker:
        place.proxy.rule(every, drop_request(), times=None)
        assert await worker.until(lambda: worker.state is State.STALE, 8) < 3.2
        assert worker.stream.missing is not None


async def test_a_watch_that_is_too_old_is_listed_anew(place: Place) -> None:
    key = a_key(place.hsm)
    await place.put(key)
    async with a_worker(place) as worker:
        rule = place.proxy.rule(watches, answer(410), times=1)
        await worker.until(lambda: rule.hits == 1, 3)
        later = replace(key, description="new", **LATER)
        await place.put(later)
        await worker.until(lambda: worker.holds(later), 5)
        await worker.until(lambda: worker.state is State.FRESH, 5)


async def test_a_heartbeat_that_cannot_be_written_is_not_ready_and_said(place: Place, caplog: pytest.LogCaptureFixture) -> None:
    place.cluster.kubectl("delete", "secret", "heartbeat", "-n", place.namespace)
    with caplog.at_level(logging.ERROR):
        kubeconfig = place.cluster.service_account_kubeconfig(place.namespace, "server", place.proxy.url)
        kube = await connect(kubeconfig)
        worker = Worker(Stream(kube, place.namespace, RecordModel()), RecordModel())
        task = asyncio.create_task(worker.stream.run(lambda: place.hsm))
        await worker.until(lambda: worker.state is State.SILENT, 10)
        place.cluster.apply(rights(place.namespace)[-1])
        await worker.until(lambda: worker.state is State.FRESH, 10)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await kube.close()
    assert caplog.text.count("helm upgrade") == 1


async def test_the_api_server_says_whose_token_it_is_and_what_it_may(place: Place, cluster: Cluster) -> None:
    """With the audience keystead only: a Pod's own token is worth nothing here."""
    kubectl, namespace = cluster.kubectl, place.namespace
    ours = kubectl("create", "token", "server", "-n", namespace, "--audience", "keystead").strip()
    plain = kubectl("create", "token", "server", "-n", namespace).strip()
    uid = cluster.get("serviceaccount", "server", "-n", namespace)["metadata"]["uid"]
    async with client(cluster) as kube:
        facts = KubeFacts(kube)
        found = await facts.token_review(ours)
        assert isinstance(found, Bearer)
        assert (found.namespace, found.name, found.uid, found.pod_name) == (namespace, "server", uid, "")
        assert f"system:serviceaccounts:{namespace}" in found.groups
        for bad in (plain, ours[:-8] + "AAAAAAAA", "", "x", "\n"):
            assert isinstance(await facts.token_review(bad), NotBearer)
        assert await facts.service_account_uid(namespace, "server") == uid
        assert await facts.service_account_uid(namespace, "nobody") is None
        assert await facts.service_account_uid(namespace, "../server") is None
        live = cluster.get("namespace", namespace)["metadata"]["uid"]
        assert (await facts.namespace_uid(namespace), await facts.namespace_uid("nowhere")) == (live, None)

        def may(verb: str) -> SubjectAccessReview:
            return SubjectAccessReview(found.user, found.uid, found.groups, verb, namespace, "", group="", resource="secrets")

        assert (await facts.review(may("watch")), await facts.review(may("delete"))) == (True, False)
