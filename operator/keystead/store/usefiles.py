"""Last uses between the processes of a Pod: each worker writes a file of its own, the supervisor writes the one for all.

    <folder>/<n>.uses     what worker n saw since it started; also after it has ended, until the next worker n has taken it up
    <folder>/<n>.counts   the calls that it counted since then, and those of the workers n before it
    <folder>/all.uses     what is known everywhere, for the workers

Files in the supervisor's private folder, because they outlive a worker that is killed and nobody waits for anybody.
"""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Final

from keystead.errors import StoreUnavailableError
from keystead.operations import counts
from keystead.operations.usetable import UseTable, merged, pack, unpack

_ALL: Final = "all"
# Larger than what goes into a ConfigMap: nothing is left out on this way.
_MAX_BYTES: Final = 64_000_000


class WorkerUses:
    """Implements `server.usage.UseStore` for worker `index`."""

    def __init__(self, folder: Path, index: int) -> None:
        self._folder = folder
        self._name = str(index)
        self._earlier = UseTable()
        # What an earlier worker of this number saw must not be lost by the first save of this one.
        with suppress(StoreUnavailableError):
            self._earlier = replace(_read(folder, self._name), counts=_read_counts(folder, self._name))

    async def save(self, table: UseTable, *, last: bool) -> None:
        """Write the own files."""
        whole = merged((self._earlier, table))
        _put(self._folder, f"{self._name}.uses", pack(whole, _MAX_BYTES))
        _put(self._folder, f"{self._name}.counts", counts.pack(whole.counts, _MAX_BYTES))

    async def load(self) -> UseTable:
        """Read the one for all."""
        return _read(self._folder, _ALL)


class PodUses:
    """The supervisor's side."""

    def __init__(self, folder: Path, count: int) -> None:
        self._folder = folder
        self._count = count

    def collect(self) -> UseTable:
        """What all workers saw."""
        names = [str(index) for index in range(self._count)]
        return merged(replace(_read(self._folder, name), counts=_read_counts(self._folder, name)) for name in names)

    def publish(self, table: UseTable) -> None:
        """What all workers shall know."""
        _put(self._folder, f"{_ALL}.uses", pack(table, _MAX_BYTES))


def _read(folder: Path, name: str) -> UseTable:
    try:
        return unpack((folder / f"{name}.uses").read_bytes())
    except FileNotFoundError:
        return UseTable()
    except (OSError, ValueError) as error:
        raise StoreUnavailableError(f"the file of last uses cannot be read: {error}") from None


def _read_counts(folder: Path, name: str) -> counts.Counts:
    try:
        return counts.unpack((folder / f"{name}.counts").read_bytes())
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise StoreUnavailableError(f"the file of counts cannot be read: {error}") from None


def _put(folder: Path, name: str, data: bytes) -> None:
    draft = folder / f"{name}.tmp"
    try:
        draft.write_bytes(data)
        os.replace(draft, folder / name)  # noqa: PTH105 - a rename that replaces
    except OSError as error:
        raise StoreUnavailableError(f"the file of last uses cannot be written: {error.strerror}") from None
