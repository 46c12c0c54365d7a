"""The files of an audit folder: which chains lie in it, and their lines, as a stream. Called by everything that reads records.

    audit-<chain id>-<n, 6 digits>.jsonl        a chain is the life of one process; its files follow each other by n
    audit-<chain id>-<n, 6 digits>.jsonl.gz     one that is closed

Never holds more than one block of a file: folders have gigabytes. What may never enter: a file of another name, or a line without a bound.
"""

from __future__ import annotations

import gzip
import re
import stat
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Final, NamedTuple, cast

from keystead.errors import FormatError, InvalidSpecError

_NAME: Final = re.compile(r"audit-([A-Za-z0-9_][A-Za-z0-9._-]{0,127})-(\d{6,12})\.jsonl(\.gz)?", re.ASCII)
MAX_LINE: Final = 1 << 20
"""Bytes. The longest record, of a PutKeyPolicy, has some 40 KB."""
BLOCK: Final = 1 << 16
"""What a core's own cache holds: each is looked through several times."""
MOST_PASSED: Final = 1 << 26
"""Bytes of one line that are passed over; beyond, the file is at its end: a small compressed one may be made to hold gigabytes."""


NO_FILES: Final = "there is no audit file: a folder that was emptied looks like that, too"


class DamagedFileError(FormatError):
    """A file that cannot be read to its end."""


class LongLineError(Exception):
    """A line that does not end."""


class VanishedFileError(FormatError):
    """A file that was there a moment ago: retention took it while it was read."""


@dataclass(slots=True)
class Unread:
    """What could not be read of a trail, noted by who reads it: of each file the first place, or where it ends, and how many more.

    empty: there is no file at all
    """

    empty: bool = False
    first: dict[str, str] = field(default_factory=dict)
    count: Counter[str] = field(default_factory=Counter)

    def note(self, file: str, text: str, *, ends: bool = False) -> None:
        """One place. text: where in the file, and what it is. ends: nothing behind it was read."""
        if ends or file not in self.first:
            self.first[file] = text
        self.count[file] += 1

    @property
    def told(self) -> tuple[str, ...]:
        """A text for each file."""
        if self.empty:
            return (NO_FILES,)
        return tuple(
            f"{file}: {text}" + (f"; and {self.count[file] - 1} places more" if self.count[file] > 1 else "")
            for file, text in self.first.items()
        )


@dataclass(frozen=True, slots=True)
class Part:
    """One file of a chain, under its uncompressed name."""

    folder: Path
    name: str
    number: int


@dataclass(frozen=True, slots=True)
class Chain:
    """One chain of one folder, its files in order."""

    folder: Path
    id: str
    parts: tuple[Part, ...]


class Line(NamedTuple):
    """One line. `whole`: its newline is there. offset: of its first byte in the uncompressed file; end: of the byte behind its newline."""

    data: bytes
    whole: bool
    number: int
    offset: int
    end: int


def chain_of(name: str) -> str | None:
    """The chain that a file's name speaks of."""
    match = _NAME.fullmatch(name)
    return None if match is None else match[1]


def find_chains(folders: Iterable[Path]) -> list[Chain]:
    """All chains of the folders, by folder and id. InvalidSpecError where a folder cannot be read."""
    return [chain for folder in folders for chain in _chains_in(folder)]


def _chains_in(folder: Path) -> Iterator[Chain]:
    found: dict[str, dict[int, Part]] = {}
    try:
        names = sorted(item.name for item in folder.iterdir())
    except OSError as error:
        raise InvalidSpecError("DIR", f"{folder}: {error.strerror or type(error).__name__}") from None
    for name in names:
        match = _NAME.fullmatch(name)
        if match is not None:  # a file and its compressed copy are one: who compressed it was stopped before it took the first away
            _check(folder / name)
            found.setdefault(match[1], {})[int(match[2])] = Part(folder, name.removesuffix(".gz"), int(match[2]))
    for chain_id, parts in sorted(found.items()):
        yield Chain(folder, chain_id, tuple(part for _, part in sorted(parts.items())))


def _check(path: Path) -> None:
    """InvalidSpecError for what is no file: a pipe would hold up whoever opens it, for ever."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise InvalidSpecError("DIR", f"{path}: it is no file")
    except FileNotFoundError:
        return  # retention took it meanwhile
    except OSError as error:
        raise InvalidSpecError("DIR", f"{path}: {error.strerror}") from None


def open_part(part: Part) -> IO[bytes]:
    """The file, decompressed; the uncompressed one where both are there. VanishedFileError where neither is; InvalidSpecError: no right."""
    path = part.folder / part.name
    try:
        with suppress(FileNotFoundError):
            return path.open("rb")
        return cast("IO[bytes]", gzip.open(path.with_name(f"{part.name}.gz"), "rb"))
    except FileNotFoundError:
        raise VanishedFileError(f"{part.name} is gone") from None
    except OSError as error:
        raise InvalidSpecError("DIR", f"{path}: {error.strerror}") from None


def lines_of(part: Part) -> Iterator[Line]:
    """Every line of a file. DamagedFileError, VanishedFileError."""
    offset = number = 0
    with open_part(part) as file:
        while True:
            data = _read_line(part, file)
            if not data:
                return
            number += 1
            end = offset + len(data)
            whole = data.endswith(b"\n")
            yield Line(data[:-1] if whole else data, whole, number, offset, end)
            offset = end


def _read_line(part: Part, file: IO[bytes]) -> bytes:
    try:
        data = file.readline(MAX_LINE + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise DamagedFileError(f"{part.name} cannot be read: {type(error).__name__}") from None
    if len(data) > MAX_LINE:
        raise DamagedFileError(f"{part.name} has a line of more than {MAX_LINE} bytes")
    return data


def first_line(part: Part) -> bytes | None:
    """The first whole line of a file; None where there is none to read."""
    try:
        line = next(lines_of(part), None)
    except FormatError:
        return None
    return line.data if line is not None and line.whole else None


def blocks_of(part: Part, start: int = 0, unread: Unread | None = None, *, closed: bool = False) -> Iterator[tuple[int, bytes]]:
    """Whole lines in blocks, with the offset of each block: for who looks for a few bytes in much. The unfinished last line is left out;
    of a file that is `closed` (a next one follows) it is noted.

    A line without a bound is passed over. DamagedFileError, VanishedFileError; what was passed over or not reached stands in `unread`, too.
    """
    note = (unread or Unread()).note
    rest, offset = b"", start
    with open_part(part) as file:
        try:
            file.seek(start)
            while block := file.read(BLOCK):
                data = rest + block
                while True:
                    cut = data.rfind(b"\n") + 1
                    if cut:
                        yield offset, data[:cut]
                    offset, rest = offset + cut, data[cut:]
                    if len(rest) <= MAX_LINE:
                        break
                    passed, data = _behind_the_line(file, len(rest))
                    note(part.name, f"the line at byte {offset} has more than {MAX_LINE} bytes, and was passed over")
                    offset += passed
            if closed and rest:
                note(part.name, f"the line at byte {offset} has no end, and was passed over")
        except (OSError, EOFError, zlib.error, LongLineError) as error:
            note(part.name, f"it was read up to byte {offset}, and no further ({type(error).__name__})", ends=True)
            raise DamagedFileError(f"{part.name} cannot be read behind byte {offset}: {type(error).__name__}") from None


def _behind_the_line(file: IO[bytes], passed: int) -> tuple[int, bytes]:
    """The bytes of a line of which so many were read, and what was read behind its newline."""
    while passed <= MOST_PASSED:
        block = file.read(BLOCK)
        end = block.find(b"\n") + 1
        if end or not block:
            return passed + end, block[end:]
        passed += len(block)
    raise LongLineError


def bounded_lines(file: IO[bytes], most: int) -> Iterator[bytes]:
    """The lines of a file of others, with their newlines; one of more than `most` bytes is passed over."""
    begins = True
    while data := file.readline(most):
        ends = data.endswith(b"\n")
        if begins and (ends or len(data) < most):
            yield data
        begins = ends
