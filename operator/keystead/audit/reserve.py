"""Room on the disk that is held back in the folder of the trail, for the one case that cannot do without: retention on a full disk.

What retention takes is on record first, and a process that begins writes its `start` before anything else: a disk without a byte left
would let neither happen, and lowering `retain_bytes` would free nothing. So a file of no meaning is kept, and taken away when a removal
waits for its record (keeping.py). Calls do not live on it: until it is held again, nothing is answered.

One for all processes that share the folder. Called by folder.FolderKeeper. What may never enter: a record.
"""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from pathlib import Path
from typing import Final

RESERVE: Final = 4 * 1024 * 1024
"""Bytes. What waits on a busy server, and a `start` that names a thousand chains, are below a tenth of it."""
NAME: Final = ".audit-reserve"
_NEW: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW


def hold(folder: Path, size: int) -> bool:
    """Make it, where it is not there: so many bytes, or down to half of it on a narrow disk. Whether it is there."""
    path = folder / NAME
    with suppress(OSError):
        if _is_there(path, size // 2):
            return True
        path.unlink(missing_ok=True)
        room = os.statvfs(folder)
        size, least = min(size, room.f_bavail * room.f_frsize * 4 // 5), size // 2
        if size >= least:
            _make(path, size)
            return True
    return False


def give(folder: Path) -> None:
    """Take it away. OSError."""
    (folder / NAME).unlink(missing_ok=True)


def _is_there(path: Path, least: int) -> bool:
    """Whether nobody was stopped while it was made."""
    try:
        facts = path.lstat()
    except FileNotFoundError:
        return False
    return stat.S_ISREG(facts.st_mode) and facts.st_size >= least


def _make(path: Path, size: int) -> None:
    file = os.open(path, _NEW, 0o600)
    try:
        with os.fdopen(file, "wb") as out:
            out.write(os.urandom(size))  # a disk that compresses holds nothing back for zeros
            out.flush()
            os.fsync(out.fileno())
    except OSError:
        path.unlink(missing_ok=True)
        raise
