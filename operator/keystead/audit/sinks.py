"""Sinks: a folder of files, and standard output. Each is called by one thread, and may block there. Port: ports.Sink.

    FileSink     durable: fdatasync of the file, and fsync of the folder where a file is new
    StdoutSink   durable: the kernel has taken it from us. What the reader does with it, and when, is the reader's

Files are 0600 in a folder of 0700. The live file of a process is locked (flock): whoever tidies the folder leaves it alone.
"""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import select
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from keystead.audit.lines import file_name

log = logging.getLogger(__name__)
FOLDER_MODE: Final = 0o700
_FILE_MODE: Final = 0o600
# Never through a link, and never waiting: to open a pipe for writing is to wait for its reader.
_OPEN: Final = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK


class FileSink:
    """One chain's files in a folder. `file_bytes`: a new file is begun rather than that one becomes larger than this."""

    name = "file"

    def __init__(self, folder: Path, chain: str, file_bytes: int) -> None:
        self._folder = folder
        self._chain = chain
        self._most = file_bytes
        self._number = 0
        self._file: int | None = None
        self._size = 0
        self._torn = False

    def write(self, data: bytes) -> None:
        """Appended, and on the disk. After a fault the file is cut back to what was acknowledged before anything else is written:
        a failed fdatasync may have dropped pages, so that only writing them again makes them durable.
        """
        if self._file is not None and self._size and self._size + len(data) > self._most:
            self._turn()
        file = self._open() if self._file is None else self._file
        if self._torn:
            self._cut_back(file)
        self._torn = True
        _write_all(file, data)
        os.fdatasync(file)
        self._torn = False
        self._size += len(data)
        self._look(file)

    def _look(self, file: int) -> None:
        """Whether what was written is in the folder. OSError: its file was taken away, so the data must be brought again, to the next one.

        Who shortened or lengthened it, and left it there, is found by verify; what comes goes into the next file.
        """
        facts = os.fstat(file)
        try:
            named = (self._folder / file_name(self._chain, self._number)).lstat()
            there = (named.st_dev, named.st_ino) == (facts.st_dev, facts.st_ino)
        except FileNotFoundError:
            there = False
        if not there:
            self._leave()
            raise OSError(errno.ESTALE, "the file was taken away")
        if facts.st_size != self._size:
            log.error("audit: somebody else wrote to %s", file_name(self._chain, self._number))
            self._leave()

    def _leave(self) -> None:
        """This file, as it is: it is another's work now."""
        assert self._file is not None
        os.close(self._file)
        self._file, self._number, self._torn = None, self._number + 1, False

    def _cut_back(self, file: int) -> None:
        """To what was acknowledged; never longer than it is, which would fill it up with zeros."""
        os.ftruncate(file, min(self._size, os.fstat(file).st_size))

    def _open(self) -> int:
        self._folder.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
        path = self._folder / file_name(self._chain, self._number)
        file = os.open(path, _OPEN, _FILE_MODE)
        try:
            _check_file(file)
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            sync_folder(self._folder)
        except OSError:
            os.close(file)
            raise
        self._file, self._size, self._torn = file, 0, True  # what is in it already is none that was acknowledged
        return file

    def _turn(self) -> None:
        """The next file. The old one is whole: it is cut back first where it is torn."""
        assert self._file is not None
        if self._torn:
            self._cut_back(self._file)
            os.fdatasync(self._file)
        os.close(self._file)
        self._file, self._number = None, self._number + 1

    def close(self) -> None:
        """The last file stays as it is: the next process reads its end."""
        if self._file is not None:
            if self._torn:
                self._cut_back(self._file)
            os.close(self._file)
            self._file = None


@dataclass(slots=True)
class LineEnd:
    """Whether the last line that went into a descriptor was cut by a fault: all who write to it, one at a time, share this."""

    broken: bool = False


class StdoutSink:
    """Whole lines into a descriptor that no other process writes records to (several of a Pod: press.py)."""

    name = "stdout"

    def __init__(self, descriptor: int = 1, end: LineEnd | None = None) -> None:
        self._out = descriptor
        self._end = LineEnd() if end is None else end
        self._done = 0

    def write(self, data: bytes) -> None:
        """Every line, whole. A line that a fault has cut is written again from its beginning, on a line of its own."""
        head = b"\n" if self._end.broken else b""
        rest = memoryview(head + data[self._done :])
        written = 0
        try:
            while written < len(rest):
                written += self._some(rest[written:])
        except OSError:
            if written >= len(head):  # else the line that was cut before has not even an end yet
                self._stumbled(data, written - len(head))
            raise
        self._done, self._end.broken = 0, False

    def _stumbled(self, data: bytes, written: int) -> None:
        done = data.rfind(b"\n", 0, self._done + written) + 1
        self._end.broken = self._done + written > done
        self._done = done

    def _some(self, rest: memoryview) -> int:
        try:
            return os.write(self._out, rest)
        except BlockingIOError:  # somebody who shares it made it so
            select.select([], [self._out], [])
            return 0

    def close(self) -> None:
        """The descriptor is not ours."""


def sync_folder(folder: Path) -> None:
    """A name in a folder is as durable as its file."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _check_file(file: int) -> None:
    if not stat.S_ISREG(os.fstat(file).st_mode):
        raise OSError(errno.EINVAL, "what has the name of the next file is no file")


def _write_all(file: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(file, rest) :]
