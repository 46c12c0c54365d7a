"""A burst of new keys against the bare writes of the same API server, and one new key beside many refreshes."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

from tests.bench.api import GROUP, Api, ReadyWatch, connected, in_parallel
from tests.bench.operators import installed, new_keys, quiet, reconciles, waiting
from tests.bench.plot import Line, Plot, cumulative, shares
from tests.bench.rows import Part, Row, percentile
from tests.bench.yardstick import NAMESPACE as BARE
from tests.bench.yardstick import Bare, bare_writes, mean
from tests.cluster import kinds
from tests.cluster.cluster import Cluster
from tests.cluster.flags import Options
from tests.operator.harness import Installation, OperatorProcess, key, wait_for

SPACE = "bench"
WRITES = 3  # of a new key: record, event, status (counted at the API server's door by tests/bench/cluster.py)
LEAST = 0.45
MOST_SECONDS = 1.0


@dataclass(frozen=True)
class Sizes:
    """How much. The defaults are those of the page; small ones are for working on the benchmark."""

    burst: int = 1000
    rounds: int = 3
    refreshed: int = 1000
    new: int = 200
    bare: int = 500


def measure_burst(sizes: Sizes) -> Part:
    """Both figures, on a cluster of their own."""
    with kinds.built(Options()) as cluster, installed(cluster, (SPACE, BARE)) as made:
        # Only `bench` is served: what the yardstick writes in a namespace of its own is nothing to this operator.
        with made.operator(watch_namespaces=SPACE) as operator:
            operator.wait_ready()
            operator.wait_leading()
            rounds = asyncio.run(_rounds(cluster, operator, sizes))
        alone, beside, load = _beside_refreshes(cluster, made, sizes)
    return _part(sizes, rounds, alone, beside, load)


@dataclass(frozen=True)
class Round:
    """A burst, in seconds since its first POST, and the bare writes a second before and after it."""

    ready: list[float]
    bare: Bare

    @property
    def rate(self) -> float:
        """Keys a second, from the first POST to the last Ready."""
        return len(self.ready) / self.ready[-1]

    @property
    def share(self) -> float:
        """Of what the API server's bare writes would allow."""
        return self.rate / (self.bare.writes / WRITES)


async def _rounds(cluster: Cluster, operator: OperatorProcess, sizes: Sizes) -> list[Round]:
    async with connected(cluster) as api:
        await new_keys(api, SPACE, "warm", 3)  # the namespace's account, and every code path once
        found, before = [], await bare_writes(api, sizes.bare)
        for number in range(sizes.rounds):
            await quiet(operator, 60)
            ready = await _send(api, f"burst-{number}", sizes.burst)
            await quiet(operator, 60)
            after = await bare_writes(api, sizes.bare)
            found.append(Round(ready, mean(before, after)))
            before = after
        return found


async def _send(api: Api, prefix: str, count: int) -> list[float]:
    path, names = f"{GROUP}/namespaces/{SPACE}/kmskeys", [(SPACE, f"{prefix}-{number}") for number in range(count)]
    async with ReadyWatch(api, "kmskeys") as ready:
        start = time.perf_counter()
        await in_parallel(lambda name=name: api.request("POST", path, key(SPACE, name)) for _, name in names)
        await ready.all_ready(names, 60 + count / 5)
        return sorted(ready.times[each] - start for each in names)


def _beside_refreshes(cluster: Cluster, made: Installation, sizes: Sizes) -> tuple[list[float], list[float], float]:
    """Latencies of new keys alone and beside refreshes without end, and how many refreshes a second ran meanwhile."""

    async def measured(prefix: str) -> list[float]:
        async with connected(cluster) as api:
            return await new_keys(api, SPACE, prefix, sizes.new)

    asyncio.run(_fill(cluster, made, sizes))
    count = max(sizes.refreshed, sizes.burst * sizes.rounds)
    with made.operator(name="calm") as operator:
        operator.wait_ready()
        operator.wait_leading()
        asyncio.run(quiet(operator, 120 + sizes.burst * sizes.rounds / 10))
        alone = asyncio.run(measured("alone"))
    # Every object is due again after one second, sooner than all of them can be looked at: the queue of refreshes is never empty.
    with made.operator(name="pressed", refresh_period="1") as operator:
        operator.wait_ready()
        operator.wait_leading()
        # Its start, in which every object is listed and looked at once, is not what is measured.
        wait_for("every object looked at", lambda: reconciles(operator) >= count, 120)
        beside, load = pressed(operator, lambda: asyncio.run(measured("beside")))
    return alone, beside, load


def pressed(operator: OperatorProcess, measure: Callable[[], list[float]]) -> tuple[list[float], float]:
    """Measure while refreshes run; their number a second. AssertionError where there were none to speak of."""
    start, before = time.monotonic(), reconciles(operator)
    times = measure()
    done, seconds = reconciles(operator) - before, time.monotonic() - start
    assert waiting(operator)["refresh"] > 0, "no refresh waited: the figure would say nothing"
    return times, done / seconds


async def _fill(cluster: Cluster, made: Installation, sizes: Sizes) -> None:
    """As many keys as shall be refreshed: those of the bursts, and more if they were fewer."""
    missing = sizes.refreshed - sizes.burst * sizes.rounds
    if missing <= 0:
        return
    with made.operator(name="filling") as operator:
        await asyncio.to_thread(operator.wait_leading)
        async with connected(cluster) as api:
            await new_keys(api, SPACE, "fill", missing)


def _part(sizes: Sizes, rounds: list[Round], alone: list[float], beside: list[float], load: float) -> Part:
    middle = sorted(rounds, key=lambda each: each.share)[len(rounds) // 2]
    p99, refreshed = percentile(beside, 0.99), max(sizes.refreshed, sizes.burst * sizes.rounds)
    rows = [
        Row("bare writes of the API server, 16 in flight (yardstick)", f"{middle.bare.writes:,.0f}/s"),
        Row("bare creates of Secrets alone, 16 in flight", f"{middle.bare.creates:,.0f}/s"),
        Row(
            f"a burst of {sizes.burst:,} keys, from the first POST to the last Ready (median of {len(rounds)})",
            f"{middle.rate:,.0f} keys/s, {middle.share:.0%} of bare/{WRITES}",
            f">= {LEAST:.0%} of bare/{WRITES}",
            middle.share >= LEAST,
        ),
        Row("one new key, nothing else to do", times_text(alone)),
        Row(
            f"one new key beside {refreshed:,} objects that are refreshed without end ({load:,.0f} reconciles/s)",
            times_text(beside),
            "p99 < 1 s",
            p99 < MOST_SECONDS,
        ),
    ]
    return Part(rows, [_burst_plot(middle), latency_plot("new-key", {"alone": alone, "beside refreshes": beside})])


def times_text(values: list[float]) -> str:
    """The figure of latencies in seconds."""
    return f"p50 {statistics.median(values) * 1000:,.0f} ms, p99 {percentile(values, 0.99) * 1000:,.0f} ms"


def _burst_plot(found: Round) -> Plot:
    count, ideal = len(found.ready), found.bare.writes / WRITES
    return Plot(
        "burst",
        f"A burst of {count:,} keys",
        "seconds since the first POST",
        "keys that are Ready",
        (
            Line("Keystead", cumulative(found.ready)),
            Line(f"bare writes / {WRITES}", ((0.0, 0.0), (count / ideal, count)), dashed=True),
            Line(f"{LEAST:.0%} of that", ((0.0, 0.0), (count / ideal / LEAST, count)), dashed=True),
        ),
    )


def latency_plot(name: str, curves: dict[str, list[float]]) -> Plot:
    """How many of the new keys were Ready within which time."""
    lines = tuple(Line(title, shares([value * 1000 for value in values])) for title, values in curves.items())
    return Plot(name, "From sending a new key to seeing it Ready", "milliseconds", "percent of the keys", lines)
