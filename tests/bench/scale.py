"""`make bench-scale`: very many objects. Start-up, memory, requests while idle, bytes of an object, and still a new key within a second.

On request only: with its default numbers it takes most of an hour on two cores.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

from tests.bench.api import connected
from tests.bench.burst import MOST_SECONDS, latency_plot, pressed, times_text
from tests.bench.idle import AuditTail, Idle, audit_arguments
from tests.bench.operators import installed, new_keys, quiet, reconciles
from tests.bench.plot import Line, Plot, cumulative
from tests.bench.population import KINDS, NAMESPACES, Weight, populate, weights
from tests.bench.process import MemorySampler, cpu_seconds
from tests.bench.rows import Part, Row, percentile
from tests.cluster import kinds
from tests.cluster.cluster import Cluster
from tests.cluster.flags import Options
from tests.operator.harness import Installation, OperatorProcess

MOST_MEMORY = 300.0  # MB
MOST_START = 60.0  # seconds
DEFAULT_REFRESH = 300.0


@dataclass(frozen=True)
class Sizes:
    """How much. The defaults are those of the page. `refresh`: the period while idle; the stretch is as long as one period."""

    keys: int = 10_000
    aliases: int = 5_000
    grants: int = 5_000
    data_keys: int = 2_000
    new: int = 200
    refresh: float = DEFAULT_REFRESH

    @property
    def all(self) -> int:
        return self.keys + self.aliases + self.grants + self.data_keys


@dataclass
class Found:
    """What the three operators of a run showed, one after another."""

    made: dict[str, list[float]] = field(default_factory=dict)
    memory: dict[str, list[tuple[float, float]]] = field(default_factory=dict)
    start: float = 0.0
    looked: float = 0.0
    idle: Idle | None = None
    beside: list[float] = field(default_factory=list)
    load: float = 0.0
    weights: list[Weight] = field(default_factory=list)

    @property
    def peak(self) -> float:
        """MB, over all phases."""
        return max(size for points in self.memory.values() for _, size in points)


def measure_scale(sizes: Sizes) -> Part:
    """All figures, on a cluster of their own."""
    found = Found()
    with tempfile.TemporaryDirectory(prefix="keystead-bench-") as folder:
        audit = Path(folder)
        options = Options(api_arguments=audit_arguments(audit))
        with kinds.built(options) as cluster, installed(cluster, NAMESPACES) as made:
            _fill(cluster, made, sizes, found)
            _start_and_idle(made, sizes, found, AuditTail(audit / "audit.log"))
            _press(cluster, made, sizes, found)
            found.weights = asyncio.run(_weigh(cluster))
    return _part(sizes, found)


def _say(text: str) -> None:
    print(f"    {time.strftime('%H:%M:%S')} {text}", flush=True)


def _fill(cluster: Cluster, made: Installation, sizes: Sizes, found: Found) -> None:
    """The operator itself makes all objects Ready; its memory meanwhile counts too."""
    with made.operator(name="filling") as operator, MemorySampler(operator.child.pid) as sampler:
        operator.wait_ready()
        operator.wait_leading()
        for name, kind in KINDS.items():
            count = getattr(sizes, name)
            if count:
                found.made[name] = asyncio.run(_populate(cluster, name, count))
                _say(f"{count:,} {kind.plural} in {max(found.made[name]):.0f} s; memory {sampler.peak:.0f} MB")
        found.memory["while they are made"] = sampler.points


async def _populate(cluster: Cluster, name: str, count: int) -> list[float]:
    async with connected(cluster) as api:
        return await populate(api, KINDS[name], count)


def _start_and_idle(made: Installation, sizes: Sizes, found: Found, audit: AuditTail) -> None:
    """A restart with all objects there, then nothing to do for one refresh period after another."""
    begun = time.monotonic()
    with (
        made.operator(name="idle", refresh_period=str(sizes.refresh)) as operator,
        MemorySampler(operator.child.pid) as sampler,
    ):
        operator.wait("readyz", lambda: operator.get("/readyz")[0] == 200, 300)
        operator.wait("leading", lambda: "leading as" in operator.text, 300)
        found.start = time.monotonic() - begun
        asyncio.run(quiet(operator, 60 + sizes.all / 10, still=0.5))
        found.looked = time.monotonic() - begun
        _say(f"ready and leading after {found.start:.1f} s, all objects looked at after {found.looked:.0f} s")
        # The first look came all at once: after the longest period (1.2 of it) each object is due at a moment of its own.
        time.sleep(1.2 * sizes.refresh)
        found.idle = _idle(operator, audit, sizes.refresh)
        _say(f"idle: {found.idle.an_hour:,.0f} requests an hour")
        found.memory["after a restart, idle"] = sampler.points


def _idle(operator: OperatorProcess, audit: AuditTail, seconds: float) -> Idle:
    """One stretch; nobody but the operator does anything in it."""
    audit.start()
    cpu, begun = cpu_seconds(operator.child.pid), time.monotonic()
    time.sleep(seconds)
    lasted = time.monotonic() - begun
    return Idle(lasted, audit.requests(), (cpu_seconds(operator.child.pid) - cpu) / lasted)


def _press(cluster: Cluster, made: Installation, sizes: Sizes, found: Found) -> None:
    """New keys while every object is due for a refresh all the time."""
    with made.operator(name="pressed", refresh_period="1") as operator, MemorySampler(operator.child.pid) as sampler:
        operator.wait("leading", lambda: "leading as" in operator.text, 300)
        every = sizes.keys + sizes.aliases + sizes.grants + sizes.data_keys
        operator.wait("every object looked at", lambda: reconciles(operator) >= every, 600)
        found.beside, found.load = pressed(operator, lambda: asyncio.run(_new(cluster, sizes.new)))
        found.memory["refreshing without end"] = sampler.points


async def _new(cluster: Cluster, count: int) -> list[float]:
    async with connected(cluster) as api:
        return await new_keys(api, NAMESPACES[0], "new", count)


async def _weigh(cluster: Cluster) -> list[Weight]:
    async with connected(cluster) as api:
        return await weights(api, cluster)


def _part(sizes: Sizes, found: Found) -> Part:
    assert found.idle is not None
    p99 = percentile(found.beside, 0.99)
    how = f"{sizes.keys:,} keys, {sizes.aliases:,} aliases, {sizes.grants:,} grants, {sizes.data_keys:,} data keys"
    rows = [
        Row("objects in the cluster", how),
        *(_made_row(name, times) for name, times in found.made.items()),
        Row("start-up with all of them: ready and leading", f"{found.start:.1f} s", "< 60 s", found.start < MOST_START),
        Row("until each of them was looked at once", f"{found.looked:.0f} s"),
        Row(
            "memory of the operator and its children, peak",
            f"{found.peak:.0f} MB",
            "< 300 MB",
            found.peak < MOST_MEMORY,
        ),
        *(
            Row(f"memory, {phase}, peak", f"{max(size for _, size in points):.0f} MB")
            for phase, points in found.memory.items()
        ),
        Row(
            f"one new key beside refreshes without end ({found.load:,.0f} reconciles/s)",
            times_text(found.beside),
            "p99 < 1 s",
            p99 < MOST_SECONDS,
        ),
        Row(
            "API requests of an idle hour", f"{found.idle.an_hour:,.0f}, {found.idle.an_hour / sizes.all:.1f} an object"
        ),
        Row("processor while idle", f"{found.idle.core:.0%} of one core"),
    ]
    return Part(rows, _plots(found), _notes(sizes, found.idle, found.weights))


def _made_row(name: str, times: list[float]) -> Row:
    return Row(f"made by the operator: {name.replace('_', ' ')}", f"{len(times) / max(times):,.0f}/s")


def _plots(found: Found) -> list[Plot]:
    memory = [Line(phase, points) for phase, points in found.memory.items()]
    last = max(points[-1][0] for points in found.memory.values())
    bound = Line("300 MB", ((0.0, MOST_MEMORY), (last, MOST_MEMORY)), dashed=True)
    made = tuple(Line(name.replace("_", " "), cumulative(times)) for name, times in found.made.items())
    return [
        Plot("scale-memory", "Memory of the operator", "seconds since its start", "MB", (*memory, bound)),
        Plot(
            "scale-made",
            "Objects made by the operator",
            "seconds since the first was sent",
            "objects that are Ready",
            made,
        ),
        latency_plot("scale-new-key", {"beside refreshes of all objects": found.beside}),
    ]


def _notes(sizes: Sizes, idle: Idle, heavy: list[Weight]) -> str:
    table = ["| one | bytes in the API (JSON) | bytes in etcd, with its name | of so many |", "|---|---|---|---|"]
    table += [f"| {each.what} | {each.json:,.0f} | {each.etcd:,.0f} | {each.count:,} |" for each in heavy]
    how = (
        f"Requests of an idle hour: the operator's requests in the API server's audit log, in {idle.seconds:.0f} s that began when all was"
        f" quiet and {1.2 * sizes.refresh:.0f} s had passed, multiplied up to an hour. The refresh period was {sizes.refresh:.0f} s"
        f" (default {DEFAULT_REFRESH:.0f}); they fall in proportion when it grows."
    )
    return "\n".join([*table, "", how, "", idle.table()])
