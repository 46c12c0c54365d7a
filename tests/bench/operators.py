"""An installed Keystead for the benchmark, what its metrics say, and how long a new key takes beside other work."""

from __future__ import annotations

import asyncio
import contextlib
import re
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from tests.bench.api import GROUP, Api, ReadyWatch
from tests.cluster.cluster import Cluster
from tests.operator.harness import Installation, OperatorProcess, install, key

_COUNT = re.compile(r"^keystead_reconcile_duration_seconds_count\{([^}]*)\} (\S+)$", re.MULTILINE)
_DEPTH = re.compile(r'^keystead_queue_depth\{class="(\w+)"\} (\S+)$', re.MULTILINE)


@contextlib.contextmanager
def installed(cluster: Cluster, namespaces: tuple[str, ...]) -> Iterator[Installation]:
    """Chart and ceremony; the folder is gone afterwards, though its token is read-only."""
    with tempfile.TemporaryDirectory() as folder:
        made = install(cluster, Path(folder) / "install", namespaces)
        try:
            yield made
        finally:
            for path in made.token.rglob("*"):
                path.chmod(0o700)
            made.token.chmod(0o700)


def reconciles(operator: OperatorProcess) -> float:
    """Reconciles so far, of all kinds and results."""
    return sum(float(value) for _, value in _COUNT.findall(operator.get("/metrics")[1]))


def waiting(operator: OperatorProcess) -> dict[str, float]:
    """Objects that wait for a worker, by class (new, refresh)."""
    return {name: float(value) for name, value in _DEPTH.findall(operator.get("/metrics")[1])}


async def new_keys(api: Api, namespace: str, prefix: str, count: int) -> list[float]:
    """Seconds from sending the POST of a key to seeing its Ready=True in a watch, one key after another."""
    times = []
    path = f"{GROUP}/namespaces/{namespace}/kmskeys"
    async with ReadyWatch(api, "kmskeys") as ready:
        for number in range(count):
            name = f"{prefix}-{number}"
            start = time.perf_counter()
            await api.request("POST", path, key(namespace, name))
            times.append(await ready.ready(namespace, name) - start)
    return times


async def quiet(operator: OperatorProcess, seconds: float, still: float = 2.0) -> None:
    """Until nothing has waited for a worker, and nothing was reconciled, for `still` seconds in a row."""
    end, since, last = time.monotonic() + seconds, time.monotonic(), -1.0
    while time.monotonic() < end:
        now, depth = await asyncio.to_thread(lambda: (reconciles(operator), waiting(operator)))
        if now != last or any(depth.values()):
            since, last = time.monotonic(), now
        elif time.monotonic() - since >= still:
            return
        await asyncio.sleep(0.25)
    raise TimeoutError(f"the operator was never quiet in {seconds:g} s")
