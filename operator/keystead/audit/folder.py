"""The folder of the files of one replica: what chains lie in it, which files are closed, what retention takes. Blocking: for threads.

Several processes may have their chains in one folder, and each of them tidies it: what one took, another one does not find. Closed is a
file that is not the newest of its chain, or that nobody holds locked (its process is gone).
"""

from __future__ import annotations

import fcntl
import gzip
import os
import shutil
import stat
import time
import zlib
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final

from keystead.audit import reserve
from keystead.audit.lines import FILE, Place, place_of
from keystead.audit.ports import Removed
from keystead.audit.sinks import sync_folder

MAX_LINE: Final = 1 << 20
_TAIL: Final = MAX_LINE + 1
_BLOCK: Final = 1 << 20
# Chains that a `start` names: the newest ones.
_NAMED: Final = 1000
# Each process has a file, however short it lived: a thousand crashes must not make every look at the folder slow. More than so many files
# go, and one more for each megabyte that may be kept.
_MOST_FILES: Final = 5000
_LEAST_MEAN: Final = 1_000_000
_STALE_SECONDS: Final = 3600.0
_UNPACKED: Final = 256 * 1024 * 1024
# Of gzip: BadGzipFile is an OSError, the others are none.
_DAMAGED: Final = (gzip.BadGzipFile, EOFError, zlib.error)


@dataclass(frozen=True, slots=True)
class Found:
    """One file of a chain."""

    path: Path
    chain: str
    number: int
    size: int
    changed: float

    @property
    def zipped(self) -> bool:
        """Whether it is compressed."""
        return self.path.suffix == ".gz"


def files_in(folder: Path) -> list[Found]:
    """All files of all chains, the oldest first. A folder that is not there has none."""
    found = []
    with suppress(FileNotFoundError):
        for path in folder.iterdir():
            match = FILE.match(path.name)
            if match is not None:
                with suppress(FileNotFoundError):  # another process tidies too
                    facts = path.lstat()
                    if stat.S_ISREG(facts.st_mode):  # a pipe would hold up whoever opens it, and a link leads elsewhere
                        found.append(Found(path, match["chain"], int(match["n"]), facts.st_size, facts.st_mtime))
    return sorted(found, key=lambda file: (file.changed, file.chain, file.number))


@dataclass(slots=True)
class _Allowance:
    """Bytes that may still be unpacked: a small file may be made to hold gigabytes, and somebody waits."""

    left: int

    def allows(self, size: int) -> bool:
        self.left -= size
        return self.left >= 0


def previous_chains(folder: Path, file_bytes: int = 0) -> list[dict[str, Any]]:
    """For the `start` line: id, lastSeq, lastHash, ended of every chain that is there, the newest _NAMED of them. file_bytes: as FileSink.

    What is compressed is read only where a chain's newest file has no whole line, and all of it together only as far as one file may need.
    """
    allowance = _Allowance(max(_UNPACKED, 2 * file_bytes))
    chains: dict[str, list[Found]] = {}
    for file in files_in(folder):
        chains.setdefault(file.chain, []).append(file)
    told = []
    for chain, files in list(chains.items())[-_NAMED:]:
        last = _last_of(files, allowance)
        if last is not None:
            told.append({"id": chain, "lastSeq": last.seq, "lastHash": last.hash, "ended": last.kind == "end"})
    return told


def _last_of(files: list[Found], allowance: _Allowance) -> Place | None:
    """The last whole line of a chain. A process that was killed may have left a newest file without any."""
    for file in sorted(files, key=lambda each: -each.number):
        with suppress(FileNotFoundError):
            place = last_place(file.path, allowance)
            if place is not None:
                return place
    return None


def last_place(path: Path, allowance: _Allowance | None = None) -> Place | None:
    """Of the last whole line of a file; None where there is none, where it is damaged, or unpacks to more than is allowed."""
    try:
        return _last_place(path, allowance)
    except _DAMAGED:
        return None


def _last_place(path: Path, allowance: _Allowance | None) -> Place | None:
    packed = path.suffix == ".gz"
    with open_file(path) as file:
        if not packed:
            file.seek(max(0, os.fstat(file.fileno()).st_size - 2 * _TAIL))
        blocks: deque[bytes] = deque(maxlen=4)  # of which the last one only may be short
        while block := file.read(_BLOCK):
            blocks.append(block)
            if packed and allowance is not None and not allowance.allows(len(block)):
                return None
    tail = b"".join(blocks)
    whole = tail[: tail.rfind(b"\n") + 1].splitlines()
    return place_of(whole[-1]) if whole else None


def first_place(path: Path) -> Place | None:
    """Of the first line of a file; None where there is none, or where it is damaged."""
    try:
        with open_file(path) as file:
            line = file.readline(_TAIL)
    except _DAMAGED:
        return None
    return place_of(line[:-1]) if line.endswith(b"\n") else None


def open_file(path: Path) -> IO[bytes]:
    """To read it, uncompressed."""
    return gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb")  # type: ignore[return-value]  # GzipFile


class FolderKeeper:
    """`ports.Keeper` of a folder. own: the chain of this process; `retain_bytes`: of all files together, compressed ones as they are.

    The files of processes that lived for a moment are small: there is a bound of their number, too. `held`: bytes of the reserve.
    """

    def __init__(
        self, folder: Path, own: str, retain_bytes: int, wall: Callable[[], float] = time.time, held: int = reserve.RESERVE
    ) -> None:
        self._folder = folder
        self._own = own
        self._retain = retain_bytes
        self._wall = wall
        self._held = held

    def tidy(self) -> Sequence[Removed]:
        """Compress the closed files of the own chain; then: what must go, the oldest first."""
        files = files_in(self._folder)
        newest = max((file.number for file in files if file.chain == self._own), default=0)
        fault: OSError | None = None
        for file in files:
            if file.chain == self._own and file.number < newest and not file.zipped:
                fault = _compressed(file.path) or fault
        self._drop_parts()
        doomed = list(self._doomed())  # also where a disk is too full to compress anything: this is what makes room
        if fault is not None and not doomed:
            raise fault
        return doomed

    def _doomed(self) -> Iterator[Removed]:
        files = files_in(self._folder)
        newest: dict[str, int] = {}
        for file in files:
            newest[file.chain] = max(file.number, newest.get(file.chain, 0))
        over, many = sum(file.size for file in files) - self._retain, len(files) - _MOST_FILES - self._retain // _LEAST_MEAN
        for file in files:
            if over <= 0 and many <= 0:
                return
            if file.number == newest[file.chain] and (file.chain == self._own or _is_held(file.path)):
                continue
            first = first_place(file.path)
            last = None if first is None else last_place(file.path)
            over, many = over - file.size, many - 1
            if first is None or last is None:  # nothing whole is in it: nothing is lost with it
                file.path.unlink(missing_ok=True)
                continue
            yield Removed(file.path.name.removesuffix(".gz"), first.seq, last.seq, last.hash)

    def remove(self, removed: Removed) -> None:
        """Both forms: who compressed it may have been stopped in between."""
        for name in (removed.name, f"{removed.name}.gz"):
            (self._folder / name).unlink(missing_ok=True)
        sync_folder(self._folder)

    def hold_room(self) -> bool:
        """As ports.Keeper."""
        return reserve.hold(self._folder, self._held)

    def give_room(self) -> None:
        """As ports.Keeper."""
        reserve.give(self._folder)

    def _drop_parts(self) -> None:
        """What a process left that was killed while it compressed."""
        for path in self._folder.glob(".audit-*.part"):
            with suppress(FileNotFoundError):
                if self._wall() - path.stat().st_mtime > _STALE_SECONDS:
                    path.unlink()


def _compressed(path: Path) -> OSError | None:
    try:
        compress(path)
    except OSError as error:
        return error
    return None


def compress(path: Path) -> None:
    """In the place of the file, its compressed form. OSError: it stays as it is."""
    part, done = path.with_name(f".{path.name}.gz.part"), path.with_name(f"{path.name}.gz")
    try:
        new = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        with path.open("rb") as source, os.fdopen(new, "wb") as raw:
            with gzip.GzipFile("", "wb", compresslevel=1, fileobj=raw, mtime=0) as out:
                shutil.copyfileobj(source, out, _BLOCK)
            raw.flush()
            os.fsync(raw.fileno())
        changed = path.stat().st_mtime
        os.utime(part, (changed, changed))  # retention goes by age
        part.rename(done)
    except OSError:
        part.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)
    path.unlink(missing_ok=True)


def _is_held(path: Path) -> bool:
    """Whether a process writes it."""
    try:
        with path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            fcntl.flock(file, fcntl.LOCK_UN)
    except FileNotFoundError:
        return False
    except OSError:
        return True
    return False
