"""Create to Ready on an idle cluster, and the writes of a new key, counted at the API server's door."""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path

from kubernetes import client, config, watch
from tests.bench.rows import Row, percentile
from tests.cluster import kinds
from tests.cluster.cluster import Cluster
from tests.cluster.flags import Options
from tests.operator.chaos import ChaosProxy
from tests.operator.harness import install, key, wait_reason

KEYS = 50


def measure_cluster() -> list[Row]:
    """All rows of the cluster."""
    with tempfile.TemporaryDirectory() as folder, kinds.built(Options()) as cluster:
        made = install(cluster, Path(folder) / "install", ("bench",))
        try:
            with made.operator() as operator:
                operator.wait_ready()
                operator.wait_leading()
                times = _create_to_ready(cluster)
            with ChaosProxy(cluster) as proxy, made.operator(name="counted", server=proxy.url) as operator:
                operator.wait_ready()
                operator.wait_leading()
                writes = _writes(cluster, proxy)
        finally:
            for path in made.token.rglob("*"):
                path.chmod(0o700)
            made.token.chmod(0o700)
    p50, p99 = statistics.median(times) * 1000, percentile(times, 0.99) * 1000
    return [
        Row(f"create to Ready, idle cluster, {KEYS} keys", f"p50 {p50:.0f} ms, p99 {p99:.0f} ms", "p50 < 50 ms", p50 < 50),
        Row("writes for a new key (not the namespace's first)", str(writes), "<= 3", writes <= 3),
    ]


def _create_to_ready(cluster: Cluster) -> list[float]:
    """Seconds from sending the POST to seeing Ready=True in a watch, one key after another."""
    config.load_kube_config(str(cluster.kubeconfig))
    api = client.CustomObjectsApi()
    where = ("kms.keystead.io", "v1alpha1", "bench", "kmskeys")
    version = api.list_namespaced_custom_object(*where)["metadata"]["resourceVersion"]
    times = []
    for number in range(KEYS + 1):
        name = f"key-{number}"
        start = time.perf_counter()
        api.create_namespaced_custom_object(*where, key("bench", name))
        stream = watch.Watch()
        for event in stream.stream(api.list_namespaced_custom_object, *where, resource_version=version, timeout_seconds=30):
            version = event["object"]["metadata"]["resourceVersion"]
            if event["object"]["metadata"]["name"] == name and _is_ready(event["object"]):
                times.append(time.perf_counter() - start)
                break
        stream.stop()
    return times[1:]


def _is_ready(body: dict[str, object]) -> bool:
    conditions = (body.get("status") or {}).get("conditions", [])  # type: ignore[attr-defined]
    return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)


def _writes(cluster: Cluster, proxy: ChaosProxy) -> int:
    """Writes that one new key costs, Lease renewals left out."""
    cluster.apply(key("bench", "first"))
    wait_reason(cluster, "kmskey", "bench", "first", "Available")
    proxy.clear()
    cluster.apply(key("bench", "second"))
    wait_reason(cluster, "kmskey", "bench", "second", "Available")
    return len([write for write in proxy.writes() if "/leases" not in write.path])
