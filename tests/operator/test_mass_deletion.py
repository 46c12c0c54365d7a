"""Much at once, on a cluster of its own: examples/ in one command, a namespace with 1,000 keys, and CRDs that go and come back."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from tests.cluster import kinds
from tests.operator.desk import ALIAS, GRANT, KEY
from tests.operator.direct import Direct, decoded, path_of
from tests.operator.harness import ROOT, Installation, OperatorProcess, condition, install, key, wait_for
from tests.operator.replicas import released

from keystead.engine.record import AliasRecord, DataKeyRecord, GrantRecord, KeyRecord
from keystead.resources import names
from keystead.resources.vocabulary import KeyState

pytestmark = pytest.mark.cluster
SLOWLY = 3 if os.environ.get("CI") == "true" else 1
KEYS = int(os.environ.get("MASS_DELETION_KEYS", "1000"))
EVERY = 25
SCHEDULED = {"deletionPolicy": "ScheduleDeletion", "pendingWindowInDays": 7}
CRDS = ROOT / "crds"
AnyRecord = KeyRecord | AliasRecord | GrantRecord | DataKeyRecord


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """Keystead on a cluster of its own: here the CRDs go."""
    with kinds.built() as cluster:
        yield install(cluster, Path(tmp_path_factory.mktemp("mass")) / "install", ("orders", "crowd", "in-use", "crds"))


@pytest.fixture(scope="module")
def direct(installation: Installation) -> Direct:
    return Direct(installation.cluster)


@pytest.fixture
def operator(installation: Installation, direct: Direct, request: pytest.FixtureRequest) -> Iterator[OperatorProcess]:
    released(direct)
    with installation.operator(request.node.name[:60], retry_period="0.5") as process:
        process.wait_leading()
        yield process


def ours(kind: str, namespace: str, name: str, *, api: bool = False, **spec: Any) -> dict[str, Any]:
    labels = {"labels": {names.CREATED_BY: names.CREATED_BY_API}} if api else {}
    metadata = {"namespace": namespace, "name": name, **labels}
    return {"apiVersion": names.API_VERSION, "kind": kind, "metadata": metadata, "spec": spec}


def users(namespace: str, name: str, *, api: bool = False) -> list[dict[str, Any]]:
    """An alias and a grant of the key of this name."""
    of = {"keyRef": {"name": name}}
    grant = {**of, "serviceAccountRef": {"name": "app"}, "operations": ["Decrypt"]}
    return [ours(ALIAS, namespace, name, api=api, aliasName=f"alias/{name}", **of), ours(GRANT, namespace, name, api=api, **grant)]


def create(direct: Direct, bodies: list[dict[str, Any]]) -> None:
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(direct.create, bodies))


def ready(direct: Direct, bodies: list[dict[str, Any]]) -> None:
    """Wait until all are Available."""
    places = {path_of(body["kind"], body["metadata"]["namespace"]) for body in bodies}

    def waiting() -> list[str]:
        items = [item for place in places for item in direct.get(place)["items"]]
        return [item["metadata"]["name"] for item in items if (condition(item) or {}).get("reason") != "Available"]

    wait_for(f"{len(bodies)} objects are Ready", lambda: not waiting(), 180)


def records(direct: Direct, namespace: str) -> dict[str, AnyRecord]:
    """Name -> record, of all kinds that are of this namespace."""
    found = {secret["metadata"]["name"]: decoded(secret) for secret in direct.records()}
    return {name: record for name, record in found.items() if isinstance(record, AnyRecord) and record.namespace == namespace}


def within(seconds: float, what: str, check: Callable[[], object]) -> float:
    began = time.monotonic()
    wait_for(what, lambda: check() or None, seconds * SLOWLY)
    return time.monotonic() - began


def is_gone(direct: Direct, namespace: str) -> bool:
    return direct.object("Namespace", "", namespace) is None


def test_the_examples_are_deleted_in_one_command_within_30_seconds(
    installation: Installation, direct: Direct, operator: OperatorProcess
) -> None:
    cluster = installation.cluster
    cluster.kubectl("apply", "-f", str(ROOT / "examples"))
    for kind in ("kmskey", "kmsalias", "kmsgrant", "kmsdatakey"):
        cluster.kubectl("wait", "--for=condition=Ready", kind, "--all", "-n", "orders", "--timeout=90s")
    scheduled = [body for body in direct.get(path_of(KEY, "orders"))["items"] if body["spec"]["deletionPolicy"] == "ScheduleDeletion"]
    assert scheduled, "no example has a key with ScheduleDeletion"
    held = lambda: all(names.IN_USE in direct.object(KEY, "orders", b["metadata"]["name"])["metadata"]["finalizers"] for b in scheduled)  # noqa: E731
    operator.wait("the examples' finalizer", held)
    before = records(direct, "orders")
    began = time.monotonic()
    cluster.kubectl("delete", "-f", str(ROOT / "examples"), f"--timeout={30 * SLOWLY}s")
    assert time.monotonic() - began < 30 * SLOWLY
    assert is_gone(direct, "orders")
    assert {name for name in before if name.startswith("key-")} <= set(records(direct, "orders"))


def test_a_namespace_of_many_keys_goes_without_an_operator_and_one_in_use_soon_after_its_return(
    installation: Installation, direct: Direct, operator: OperatorProcess
) -> None:
    """60 s for 1,000 Retain keys with the operator stopped; 30 s from its return for keys that the finalizer holds."""
    crowd = [key("crowd", f"key-{n:04}") for n in range(KEYS)]
    crowd += [body for n in range(0, KEYS, EVERY) for body in users("crowd", f"key-{n:04}")]
    used = [key("in-use", f"key-{n}", **SCHEDULED) for n in range(10)] + [body for n in range(10) for body in users("in-use", f"key-{n}")]
    for bodies in (used, crowd):
        create(direct, bodies)
    for bodies in (used, crowd):
        ready(direct, bodies)
    finalized = lambda: all(names.IN_USE in k["metadata"].get("finalizers", []) for k in direct.get(path_of(KEY, "in-use"))["items"])  # noqa: E731
    operator.wait("the finalizers", finalized)
    before = {namespace: records(direct, namespace) for namespace in ("crowd", "in-use")}
    operator.stop()
    for namespace in before:
        direct.call("DELETE", path_of("Namespace", "", namespace))
    gone = within(60, "the crowd is gone", lambda: is_gone(direct, "crowd"))
    assert not is_gone(direct, "in-use")
    released(direct)
    with installation.operator("returned", retry_period="0.5") as back:
        back.wait_leading()
        back_gone = within(30, "the namespace of keys in use is gone", lambda: is_gone(direct, "in-use"))
        print(f"{KEYS} keys: {gone:.1f} s without an operator; keys in use: {back_gone:.1f} s after its return")
        for namespace, had in before.items():
            assert records(direct, namespace) == had  # nothing is gone in a namespace that is: no window, no orphan


def test_crds_that_are_deleted_and_applied_again_lose_nothing_and_start_no_window(
    installation: Installation, direct: Direct, operator: OperatorProcess
) -> None:
    bodies = [key("crds", "plain"), key("crds", "in-use", **SCHEDULED), *users("crds", "plain", api=True), *users("crds", "in-use")]
    create(direct, bodies)
    ready(direct, bodies)
    operator.wait("the finalizer", lambda: names.IN_USE in direct.object(KEY, "crds", "in-use")["metadata"].get("finalizers", []))
    before = records(direct, "crds")
    assert len(before) == len(bodies)
    cluster = installation.cluster
    cluster.kubectl("delete", "-f", str(CRDS), "--timeout=60s")
    wait_for("the operator ends with its kinds", lambda: operator.child.poll() is not None, 120)
    assert operator.child.returncode not in (0, None)
    assert records(direct, "crds") == before
    released(direct)
    with installation.operator("without-crds", retry_period="0.5") as back:
        back.wait("it says what it waits for", lambda: "waiting for the CRDs" in back.text)
        for kind in ("KmsKey", "KmsAlias", "KmsGrant", "KmsDataKey"):
            back.wait(f"the metric of {kind}", lambda kind=kind: f'keystead_crd_absent{{kind="{kind}"}} 1.0' in back.get("/metrics")[1])  # type: ignore[misc]
        assert records(direct, "crds") == before
        cluster.kubectl("apply", "--server-side", "-f", str(CRDS))
        back.wait_leading()
        # Nobody has applied the objects yet, and an operator looks at the records: nothing is gone.
        back.wait("the metric", lambda: 'keystead_crd_absent{kind="KmsKey"} 0.0' in back.get("/metrics")[1])
        assert records(direct, "crds") == before
        create(direct, bodies)
        ready(direct, bodies)
        after = records(direct, "crds")
    assert _identities(after) == _identities(before)
    states = {record.name: record.state for record in after.values() if isinstance(record, KeyRecord)}
    assert states == {"plain": KeyState.ENABLED, "in-use": KeyState.ENABLED}


def _identities(found: dict[str, AnyRecord]) -> dict[str, tuple[str, str]]:
    """Record -> the key id that it names, and its own id."""
    return {name: (record.key_id, record.grant_id if isinstance(record, GrantRecord) else "") for name, record in found.items()}
