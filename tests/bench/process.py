"""What an operator process costs: memory of it and its children, and processor time, from /proc."""

from __future__ import annotations

import os
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

MEGABYTE = 1_000_000
PROC = Path("/proc")


def tree(pid: int) -> list[int]:
    """A process and all that it started."""
    parents: dict[int, list[int]] = {}
    for entry in PROC.iterdir():
        if entry.name.isdigit() and (fields := _stat(int(entry.name))):
            parents.setdefault(int(fields[1]), []).append(int(entry.name))
    found, waiting = [], [pid]
    while waiting:
        each = waiting.pop()
        found.append(each)
        waiting += parents.get(each, [])
    return found


def children(pid: int) -> list[int]:
    """The processes that a process itself started."""
    return [each for each in tree(pid) if (fields := _stat(each)) and int(fields[1]) == pid]


def memory(pid: int) -> int:
    """Bytes that a process and its children really hold: proportional set size, so that what they share counts once."""
    total = 0
    for each in tree(pid):
        try:
            text = (PROC / str(each) / "smaps_rollup").read_text()
        except OSError:  # it ended meanwhile
            continue
        total += next(int(line.split()[1]) * 1024 for line in text.splitlines() if line.startswith("Pss:"))
    return total


def cpu_seconds(pid: int) -> float:
    """Processor time so far of a process and its children."""
    ticks = sum(int(fields[11]) + int(fields[12]) for each in tree(pid) if (fields := _stat(each)))
    return ticks / os.sysconf("SC_CLK_TCK")


def _stat(pid: int) -> list[str]:
    """The fields of /proc/PID/stat behind the name: state, parent, ..."""
    try:
        return (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


@dataclass
class MemorySampler:
    """Looks once a second, in a thread. A context manager; `points` are (seconds since its start, MB)."""

    pid: int
    points: list[tuple[float, float]] = field(default_factory=list)
    _end: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    @property
    def peak(self) -> float:
        """MB."""
        return max((size for _, size in self.points), default=0.0)

    def __enter__(self) -> MemorySampler:
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        start = time.monotonic()
        while not self._end.is_set():
            self.points.append((time.monotonic() - start, memory(self.pid) / MEGABYTE))
            self._end.wait(1.0)
