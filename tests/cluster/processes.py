"""Child processes by pid: start with a log and a pid file, ask, stop, wait until gone. Linux only (/proc, prctl).

Called by controlplane.py. A pid file holds the pid and the process's start time, so that a pid that the kernel gave
to someone else meanwhile is never signalled.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

LAUNCHER = Path(__file__).with_name("launch.py")
POLL = 0.05  # seconds between two looks at a condition
_spawners: list[concurrent.futures.ThreadPoolExecutor] = []


class DeadlineError(Exception):
    """A condition did not come true in time."""


def wait_until(condition: Callable[[], bool], seconds: float, what: str) -> None:
    """Polls `condition` until it is true; raises DeadlineError naming `what` after `seconds`."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise DeadlineError(f"{what}: not after {seconds:g} s")
        time.sleep(POLL)


@dataclass(frozen=True, slots=True)
class Process:
    """A process that this rig started, now or in an earlier run. `born`: field 22 of /proc/PID/stat, in clock ticks."""

    pid: int
    born: int

    def alive(self) -> bool:
        """False once it ended; a child of ours that ended is reaped."""
        state, born = _stat(self.pid)
        if born != self.born:
            return False
        if state in "ZX":
            with contextlib.suppress(ChildProcessError):
                os.waitpid(self.pid, os.WNOHANG)
            return False
        return True

    def signal(self, number: signal.Signals) -> None:
        """Sends a signal, or nothing where the process is gone."""
        if self.alive():
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def stop(self, patience: float) -> None:
        """SIGTERM, `patience` seconds to leave, then SIGKILL; returns when it is gone."""
        self.signal(signal.SIGTERM)
        try:
            wait_until(lambda: not self.alive(), patience, f"end of process {self.pid}")
        except DeadlineError:
            self.kill()

    def kill(self) -> None:
        """SIGKILL; returns when it is gone."""
        self.signal(signal.SIGKILL)
        wait_until(lambda: not self.alive(), 10, f"end of process {self.pid} after SIGKILL")


def _stat(pid: int) -> tuple[str, int]:
    """State letter and start time of a process; ("X", -1) where there is none."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return "X", -1
    fields = text.rpartition(")")[2].split()  # the name before it may hold anything
    return fields[0], int(fields[19])


def spawn(name: str, command: list[str], folder: Path, *, detached: bool) -> Process:
    """Starts `command` with folder/NAME.log and folder/NAME.pid. Not detached: it is killed when this process dies."""
    starter = "detached" if detached else str(os.getpid())
    line = [sys.executable, "-I", "-S", str(LAUNCHER), starter, *command]
    pid = _spawn_from_lasting_thread(line, folder / f"{name}.log")
    process = Process(pid, _stat(pid)[1])
    (folder / f"{name}.pid").write_text(f"{process.pid} {process.born}\n", encoding="utf-8")
    return process


def _spawn_from_lasting_thread(line: list[str], log: Path) -> int:
    """PDEATHSIG comes when the *thread* that forked ends: a worker thread of a test must not be that one."""
    if threading.current_thread() is threading.main_thread():
        return _spawn(line, log)
    if not _spawners:
        _spawners.append(concurrent.futures.ThreadPoolExecutor(max_workers=1, thread_name_prefix="spawner"))
    return _spawners[0].submit(_spawn, line, log).result()


def _spawn(line: list[str], log: Path) -> int:
    """The bare start. The environment is small on purpose: no proxy, no KUBECONFIG of the caller reaches a server."""
    environment = {name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR") if name in os.environ}
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    actions = [
        (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
        (os.POSIX_SPAWN_OPEN, 1, str(log), flags, 0o600),
        (os.POSIX_SPAWN_DUP2, 1, 2),
    ]
    return os.posix_spawn(line[0], line, environment, file_actions=actions)


def recall(name: str, folder: Path) -> Process | None:
    """The process of a pid file, if it still runs."""
    try:
        pid, born = (folder / f"{name}.pid").read_text(encoding="utf-8").split()
    except (FileNotFoundError, ValueError):
        return None
    process = Process(int(pid), int(born))
    return process if process.alive() else None


def forget(name: str, folder: Path) -> None:
    """Removes the pid file of a process that ended."""
    (folder / f"{name}.pid").unlink(missing_ok=True)


def log_tail(name: str, folder: Path, lines: int = 15) -> str:
    """The last lines of a program's log, for an error message."""
    try:
        return "\n".join((folder / f"{name}.log").read_text(errors="replace").splitlines()[-lines:])
    except FileNotFoundError:
        return ""
