"""Files that must survive a power cut, and must never overwrite another: new, fsynced, their folder fsynced."""

from __future__ import annotations

import os
from pathlib import Path

from keystead.errors import HsmSetupError


def write_new(path: Path, data: bytes, mode: int) -> None:
    """Create `path` with `data`, durably. HsmSetupError where it exists already, or cannot be written."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, mode)
    except FileExistsError:
        raise HsmSetupError(f"{path} exists already; hint: nothing is overwritten: name another file") from None
    except OSError as error:
        raise HsmSetupError(f"{path} cannot be written: {error.strerror}") from None
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:  # a full disk: half a file is worse than none
        path.unlink()
        raise HsmSetupError(f"{path} cannot be written: {error.strerror}") from None
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """fsync a folder, so that the names in it survive."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
