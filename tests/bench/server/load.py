"""One round of load on one server, and its figures: processor time of a request from /proc, requests a second, latencies.

Called by measure.py and rights.py.
"""

from __future__ import annotations

import json
import pickle
import statistics
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.bench.process import cpu_seconds
from tests.bench.server.servers import Server
from tests.clients.build import ROOT


@dataclass
class Sizes:
    """`connections`: kept busy by the client at the same time."""

    rounds: int = 5
    seconds: float = 2.0
    connections: int = 32
    peer_rounds: int = 3


@dataclass
class Figures:
    """Of one server and one operation, a number a round."""

    cpu: list[float] = field(default_factory=list)
    rate: list[float] = field(default_factory=list)
    p50: list[float] = field(default_factory=list)
    p99: list[float] = field(default_factory=list)

    def middle(self, name: str) -> float:
        """The median."""
        return statistics.median(getattr(self, name))


Table = dict[tuple[str, str], Figures]


def one_load(server: Server, operation: str, sizes: Sizes, folder: Path) -> dict[str, Any]:
    """The client in a process of its own, with requests that were signed now."""
    requests = folder / "requests"
    requests.write_bytes(pickle.dumps(server.load[operation]()))
    host = "localhost" if server.authority else "127.0.0.1"
    command = [sys.executable, "-m", "tests.bench.http_load", f"{host}:{server.port}", "--requests", str(requests)]
    command += ["--seconds", str(sizes.seconds), "--connections", str(sizes.connections)]
    if server.authority:
        command += ["--authority", str(server.authority)]
    result: dict[str, Any] = json.loads(subprocess.check_output(command, cwd=ROOT))
    if set(result["statuses"]) != {"200"}:
        raise RuntimeError(f"{server.name}, {operation}: {result}")
    return result


def take(table: Table, server: Server, operation: str, sizes: Sizes, folder: Path) -> None:
    """One round of one operation."""
    before = cpu_seconds(server.pid)
    result = one_load(server, operation, sizes, folder)
    figures = table.setdefault((server.name, operation), Figures())
    figures.cpu.append((cpu_seconds(server.pid) - before) / result["count"] * 1e6)
    figures.rate.append(result["count"] / result["seconds"])
    figures.p50.append(result["p50"])
    figures.p99.append(result["p99"])
