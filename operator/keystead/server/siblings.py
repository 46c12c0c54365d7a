"""The workers of one Pod: a narrowing change is answered when all of them have seen it (AWS.md, Read your writes (3)).

Each worker has a Desk: a Unix socket <folder>/<n>.sock in the supervisor's private folder, open before it reads its first record and until
its last call is answered. One question a connection, one line; the answer ends with the connection.

    seen <version>   "ok" as soon as this worker's read model holds everything up to this resourceVersion
    <anything else>  what app gave for it (state and metrics, for the supervisor)

Who need not confirm, and why that is safe:

    nobody listens          the worker has ended, or has not begun to read: what it will list is newer than the question
    it does not serve yet   it answers at once, and does not begin to serve before it has seen that version (`caught_up`)

A worker that is stopped, stuck or cut off listens and does not answer: then the change is not confirmed, DependencyTimeoutException. What
may never enter: anything of a request. Only the user of the processes can reach the folder.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

log = logging.getLogger(__name__)
_OK: Final = b"ok"
_MAX_LINE: Final = 256
# Longer than anybody asks for: what is asked and never answered does not stay.
_ANSWER_SECONDS: Final = 10.0
# A sibling that ended while it was asked is asked again: it is gone, or is a new one.
_AGAIN_SECONDS: Final = 0.02
_GONE: Final = (FileNotFoundError, ConnectionRefusedError)


def socket_of(folder: Path, index: int) -> Path:
    """Where worker `index` listens."""
    return folder / f"{index}.sock"


class Desk:
    """What a worker answers to the other processes of its Pod. `answers`: question -> bytes."""

    def __init__(self, path: Path, answers: Mapping[str, Callable[[], bytes]]) -> None:
        self._path = path
        self._answers = answers
        self._server: asyncio.Server | None = None
        self._moved = asyncio.Event()
        self._floor = 0
        self._serves = self._ended = False
        self.version = 0

    def saw(self, version: int) -> None:
        """The read model holds everything up to this version."""
        if version > self.version:
            self.version = version
            self._moved.set()
            self._moved = asyncio.Event()

    async def caught_up(self) -> None:
        """From the return on this worker serves: it has seen what siblings were told that it would have seen."""
        await self._until(lambda: self._floor)
        self._serves = True

    async def open(self) -> None:
        """Listen. Before the first record is read."""
        self._path.unlink(missing_ok=True)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        listener.bind(str(self._path))
        self._server = await asyncio.start_unix_server(self._answer, sock=listener, limit=_MAX_LINE)

    async def close(self) -> None:
        """This worker serves no more. Doing it again changes nothing."""
        self._ended = True
        self._moved.set()
        if self._server is not None:
            self._server.close()
            self._path.unlink(missing_ok=True)

    async def _until(self, version: Callable[[], int]) -> None:
        while self.version < version() and not self._ended:
            await self._moved.wait()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(_ANSWER_SECONDS):
                question = (await reader.readuntil(b"\n")).decode().split()
                writer.write(await self._of(question))
                await writer.drain()
        except (OSError, ValueError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass  # the connection ends without an answer, which confirms nothing
        finally:
            writer.close()

    async def _of(self, question: list[str]) -> bytes:
        match question:
            case ["seen", version]:
                wanted = int(version)
                if self._serves:
                    await self._until(lambda: wanted)
                else:
                    self._floor = max(self._floor, wanted)
                return _OK
            case [word] if word in self._answers:
                return self._answers[word]()
        raise ValueError("no such question")


class PodSiblings:
    """Implements `server.driver.Siblings`. `ahead`: nothing later than this version is in this worker's read model."""

    def __init__(self, others: tuple[Path, ...], ahead: Callable[[], int]) -> None:
        self._others = others
        self._ahead = ahead

    async def confirm(self, seconds: float) -> bool:
        """Whether all of them have seen what this worker has seen, in time."""
        question = f"seen {self._ahead()}"
        try:
            async with asyncio.timeout(seconds):
                await asyncio.gather(*(_confirmed(path, question) for path in self._others))
        except TimeoutError:
            log.warning("a narrowing change was not confirmed by all workers within %g s", seconds)
            return False
        return True


async def _confirmed(path: Path, question: str) -> None:
    while True:
        try:
            if await ask(path, question) == _OK:
                return
        except _GONE:
            return
        except OSError:
            pass
        await asyncio.sleep(_AGAIN_SECONDS)


async def ask(path: Path, question: str) -> bytes:
    """The whole answer; empty where none came. OSError where nobody listens, or the line broke."""
    reader, writer = await asyncio.open_unix_connection(str(path))
    try:
        writer.write(question.encode() + b"\n")
        return await reader.read()
    finally:
        writer.close()
