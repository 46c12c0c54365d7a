"""Keeps what a process holds in memory out of core files and swap: PIN, message keys, data keys, SOFTWARE keys (docs/security.md).

`protect` is called first thing by every `keystead` command and by every slow lane. Linux; elsewhere the limit alone is set.

    no core     RLIMIT_CORE 0, which child processes inherit; and not dumpable (prctl(2)), which also stops a core_pattern that
                pipes (RLIMIT_CORE does not), and ptrace and /proc/PID/mem for everybody but a tracer with CAP_SYS_PTRACE
    no swap     mlockall(2), where no limit stands against it. Pages are locked as they are touched (MCL_ONFAULT): nothing grows

Not dumpable means that /proc/PID belongs to root: a process still reads its own maps, fd and status. An exec starts anew, so each
lane protects itself.
"""

from __future__ import annotations

import ctypes
import resource
from dataclasses import dataclass
from pathlib import Path
from typing import Final

# <linux/prctl.h>, <linux/capability.h>, <asm-generic/mman.h>
_PR_GET_DUMPABLE: Final = 3
_PR_SET_DUMPABLE: Final = 4
_CAP_IPC_LOCK: Final = 14
_MCL_CURRENT: Final = 1
_MCL_FUTURE: Final = 2
_MCL_ONFAULT: Final = 4
_CGROUPS: Final = Path("/sys/fs/cgroup")


@dataclass(frozen=True, slots=True)
class Memory:
    """How this process stands. `locked`: in RAM by mlockall. `swapless`: no swap that it could go to, now."""

    core: bool
    locked: bool
    swapless: bool

    @property
    def safe(self) -> bool:
        """Neither a core nor swap can hold what is in memory."""
        return not self.core and (self.locked or self.swapless)

    def __str__(self) -> str:
        core = "a core may be written" if self.core else "no core"
        if self.locked:
            return f"{core}; locked in RAM"
        if self.swapless:
            return f"{core}; not locked, and there is no swap"
        return f"{core}; MAY BE SWAPPED: not locked (no CAP_IPC_LOCK, RLIMIT_MEMLOCK is limited), and there is swap"


def protect() -> Memory:
    """No core, no swap as far as the machine allows it; answers what came of it. Doing it again changes nothing."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _undumpable()
    libc = ctypes.CDLL(None)
    # Under a limit mlockall must not even be tried: with MCL_FUTURE it may hold now, and a later allocation fails instead.
    if _lockable() and hasattr(libc, "mlockall"):
        libc.mlockall(_MCL_CURRENT | _MCL_FUTURE | _MCL_ONFAULT)
    return look()


def look() -> Memory:
    """What the kernel says of this process. The limit is not asked: a core_pattern that pipes does not obey it."""
    libc = ctypes.CDLL(None)
    dumpable = libc.prctl(_PR_GET_DUMPABLE, 0, 0, 0, 0) if hasattr(libc, "prctl") else 1
    status = _status()
    # The module may lock a few pages of its own: only nearly all of the address space is `locked`.
    locked = 2 * _kilobytes(status, "VmLck") > _kilobytes(status, "VmSize") > 0
    return Memory(bool(dumpable), locked, _swapless())


def _undumpable() -> None:
    libc = ctypes.CDLL(None)
    if hasattr(libc, "prctl"):
        libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)


def _lockable() -> bool:
    held = int(_status().get("CapEff", "0"), 16) >> _CAP_IPC_LOCK & 1
    return bool(held) or resource.getrlimit(resource.RLIMIT_MEMLOCK)[0] == resource.RLIM_INFINITY


def _status() -> dict[str, str]:
    lines = _text(Path("/proc/self/status")).splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def _kilobytes(status: dict[str, str], name: str) -> int:
    return int(status.get(name, "0 kB").removesuffix("kB"))


def _swapless() -> bool:
    """The machine has no swap, or a cgroup (v2) above this process gets none: what kubelet's NoSwap does for a Pod."""
    swaps = _text(Path("/proc/swaps")).splitlines()
    if len(swaps) == 1:  # the heading alone; an unreadable file tells nothing
        return True
    own = next((line[3:] for line in _text(Path("/proc/self/cgroup")).splitlines() if line.startswith("0::")), "/")
    place = _CGROUPS / own.strip("/")
    above = [place, *(parent for parent in place.parents if parent.is_relative_to(_CGROUPS))]
    return any(_text(folder / "memory.swap.max").strip() == "0" for folder in above)


def _text(file: Path) -> str:
    try:
        return file.read_text()
    except OSError:
        return ""
