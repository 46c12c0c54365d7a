"""Where `keystead dev --memory` has its token: a folder in memory that goes with the process. Called by app/dev/main.py.

After kill -9 the folder stays, and the next one of the same user takes it away: a lock says whether its process lives. Where there is no
lock, its age says it.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
import time
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Final

_PREFIX: Final = "keystead-dev-"
_LOCK: Final = "alive"
_UNLOCKED_SECONDS: Final = 86_400.0


def memory_folder(stack: ExitStack) -> Path:
    """A new folder, mode 0700, until the stack ends. In memory where the machine has such a place."""
    place = Path("/dev/shm" if os.access("/dev/shm", os.W_OK) else tempfile.gettempdir())  # noqa: S108 - a fresh folder is made in it
    for old in place.glob(f"{_PREFIX}*"):
        with suppress(OSError):
            _sweep(old)
    made = tempfile.TemporaryDirectory(prefix=f"{_PREFIX}{os.getpid()}-", dir=place, ignore_cleanup_errors=True)
    folder = Path(stack.enter_context(made))
    draft = folder / f"{_LOCK}.new"
    descriptor = os.open(draft, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o600)
    stack.callback(os.close, descriptor)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    draft.rename(folder / _LOCK)  # under this name it is locked from the first moment on
    return folder


def _sweep(folder: Path) -> None:
    """One that nobody holds. What has no lock is being made, unless it is a day old."""
    if folder.is_symlink() or folder.stat().st_uid != os.geteuid():
        return
    try:
        descriptor = os.open(folder / _LOCK, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        if time.time() - folder.stat().st_mtime > _UNLOCKED_SECONDS:
            shutil.rmtree(folder)
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(folder)
    finally:
        os.close(descriptor)
