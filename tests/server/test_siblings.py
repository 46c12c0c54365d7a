"""A narrowing change is answered when every sibling has seen it, or is none any more; otherwise it is not confirmed. Real Unix sockets."""

from __future__ import annotations

import asyncio
import shutil
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from keystead.server.siblings import Desk, PodSiblings, ask, socket_of

SOON = 0.05
LONG = 5.0
VERY_LONG = 60.0
LISTENS = """
import socket, sys
listener = socket.socket(socket.AF_UNIX)
listener.bind(sys.argv[1])
listener.listen()
print(flush=True)
sys.stdin.read()
"""


@pytest.fixture
def folder() -> Iterator[Path]:
    """With a short name: the path of a Unix socket has 107 bytes."""
    made = Path(tempfile.mkdtemp(prefix="ks-"))
    yield made
    shutil.rmtree(made)


@asynccontextmanager
async def desk(folder: Path, index: int, *, version: int = 0, serves: bool = True) -> AsyncIterator[Desk]:
    made = Desk(socket_of(folder, index), {"state": lambda: b"ready"})
    await made.open()
    made.saw(version)
    if serves:
        await made.caught_up()
    try:
        yield made
    finally:
        await made.close()


def siblings(folder: Path, *others: int, ahead: int = 7) -> PodSiblings:
    return PodSiblings(tuple(socket_of(folder, index) for index in others), lambda: ahead)


@asynccontextmanager
async def impostor(folder: Path, index: int, behave: Callable[[asyncio.StreamWriter], Awaitable[None]]) -> AsyncIterator[asyncio.Server]:
    """Something that listens and is no Desk."""

    async def answer(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await behave(writer)
        finally:
            writer.close()

    server = await asyncio.start_unix_server(answer, str(socket_of(folder, index)))
    try:
        yield server
    finally:
        server.close()


async def test_what_all_have_seen_is_confirmed(folder: Path) -> None:
    async with desk(folder, 1, version=7), desk(folder, 2, version=9):
        assert await siblings(folder, 1, 2).confirm(LONG)


async def test_one_worker_has_nobody_to_ask(folder: Path) -> None:
    assert await siblings(folder).confirm(LONG)


async def test_it_waits_until_the_last_one_has_seen_it(folder: Path) -> None:
    async with desk(folder, 1, version=7), desk(folder, 2, version=5) as late:
        asked = asyncio.create_task(siblings(folder, 1, 2).confirm(LONG))
        await asyncio.sleep(SOON)
        late.saw(6)
        await asyncio.sleep(SOON)
        assert not asked.done()
        late.saw(7)
        assert await asked


async def test_what_one_has_not_seen_in_time_is_not_confirmed(folder: Path) -> None:
    async with desk(folder, 1, version=7), desk(folder, 2, version=6):
        assert not await siblings(folder, 1, 2).confirm(SOON)


async def test_nobody_waits_for_a_worker_that_was_never_there(folder: Path) -> None:
    assert await siblings(folder, 1).confirm(LONG)


async def test_nobody_waits_for_a_worker_that_was_killed(folder: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        LISTENS,
        str(socket_of(folder, 1)),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    await process.stdout.readline()
    asked = asyncio.create_task(siblings(folder, 1).confirm(LONG))
    await asyncio.sleep(SOON)
    assert not asked.done(), "it lives and does not answer"
    process.kill()
    await process.wait()
    assert socket_of(folder, 1).exists(), "its socket is still in the folder"
    assert await asked


async def test_nobody_waits_for_a_worker_that_ends_in_order(folder: Path) -> None:
    async with desk(folder, 1, version=5) as other:
        asked = asyncio.create_task(siblings(folder, 1).confirm(LONG))
        await asyncio.sleep(SOON)
        await other.close()
        assert await asked


async def test_a_worker_that_listens_and_never_answers_confirms_nothing(folder: Path) -> None:
    async def silent(_: asyncio.StreamWriter) -> None:
        await asyncio.sleep(SOON * 3)

    async with impostor(folder, 1, silent):
        assert not await siblings(folder, 1).confirm(SOON)


async def test_a_wrong_answer_confirms_nothing(folder: Path) -> None:
    async def wrong(writer: asyncio.StreamWriter) -> None:
        writer.write(b"okay")

    async with impostor(folder, 1, wrong):
        assert not await siblings(folder, 1).confirm(SOON)


async def test_a_worker_that_does_not_serve_yet_answers_and_then_serves_only_what_it_promised(folder: Path) -> None:
    async with desk(folder, 1, version=3, serves=False) as new:
        assert await siblings(folder, 1, ahead=7).confirm(LONG)
        serving = asyncio.create_task(new.caught_up())
        new.saw(6)
        await asyncio.sleep(SOON)
        assert not serving.done()
        new.saw(8)
        await asyncio.wait_for(serving, LONG)


async def test_of_several_promises_the_newest_counts(folder: Path) -> None:
    async with desk(folder, 1, serves=False) as new:
        for ahead in (7, 9, 8):
            assert await siblings(folder, 1, ahead=ahead).confirm(LONG)
        new.saw(8)
        serving = asyncio.create_task(new.caught_up())
        await asyncio.sleep(SOON)
        assert not serving.done()
        new.saw(9)
        await asyncio.wait_for(serving, LONG)


async def test_a_promise_that_comes_while_it_catches_up_counts(folder: Path) -> None:
    async with desk(folder, 1, version=1, serves=False) as new:
        assert await siblings(folder, 1, ahead=5).confirm(LONG)
        serving = asyncio.create_task(new.caught_up())
        await asyncio.sleep(SOON)
        assert await siblings(folder, 1, ahead=6).confirm(LONG)
        new.saw(5)
        await asyncio.sleep(SOON)
        assert not serving.done()
        new.saw(6)
        await asyncio.wait_for(serving, LONG)


async def test_a_new_worker_takes_the_place_of_a_dead_ones_socket(folder: Path) -> None:
    socket_of(folder, 1).touch()
    async with desk(folder, 1, version=7):
        assert await siblings(folder, 1).confirm(LONG)


async def test_versions_never_fall(folder: Path) -> None:
    async with desk(folder, 1, version=7) as other:
        other.saw(3)
        assert await siblings(folder, 1).confirm(LONG)


@pytest.mark.parametrize("question", ["", "seen", "seen x", "seen 1 2", "seen -", "what", "x" * 1000, "seen \N{SUPERSCRIPT TWO}"])
async def test_what_is_no_question_gets_no_answer_and_harms_nobody(folder: Path, question: str) -> None:
    async with desk(folder, 1, version=7):
        with suppress(ConnectionError):
            assert await ask(socket_of(folder, 1), question) == b""
        assert await ask(socket_of(folder, 1), "state") == b"ready"


async def test_many_ask_at_once(folder: Path) -> None:
    async with desk(folder, 1) as other:
        asked = [asyncio.create_task(siblings(folder, 1, ahead=n).confirm(VERY_LONG)) for n in range(200)]
        await asked[0]
        other.saw(99)
        assert all(await asyncio.gather(*asked[:100]))
        assert not any(task.done() for task in asked[100:])
        other.saw(199)
        assert all(await asyncio.gather(*asked))
