"""Several workers in one Pod, or in one `keystead dev --workers N`: processes that share a port, and the supervisor that keeps them.

    supervisor   starts them (spawned, never forked: a PKCS#11 module does not survive a fork), starts one anew that died, ends all,
                 answers the probes for all; it serves no request
    worker       what `keystead server` is alone, at a Desk (server/siblings.py) of its own; ends at once when the supervisor dies

Called by app/server/worker.py and app/dev/workers.py. What a worker needs reaches it through a pipe: no secret is in an argument or in the
environment.
"""

from __future__ import annotations

import asyncio
import logging
import multiprocessing
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import Any, Final

from keystead.app.server.podmetrics import merged_page
from keystead.audit.press import Press
from keystead.errors import KeysteadError
from keystead.hsm.children import end_with_parent, heed, shielded
from keystead.hsm.memory import protect
from keystead.server.siblings import ask, socket_of

log = logging.getLogger(__name__)
_SPAWN: Final = multiprocessing.get_context("spawn")
READY: Final = b"ready"
HSM: Final = b"hsm:"
"""How a reason begins that the token is not open."""
STATE: Final = "state"
METRICS: Final = "metrics"
_ASK_SECONDS: Final = 2.0
_LOOK_SECONDS: Final = (0.1, 1.0)
"""Between two looks at a worker: while it is not ready, and then."""
_STUCK_SECONDS: Final = 20.0
"""A worker that answered once and then nothing for so long is killed: its event loop stands still."""
_BACKOFF: Final = (0.1, 10.0)
_STEADY_SECONDS: Final = 60.0
"""Who lived for so long is started anew without delay."""


@dataclass(frozen=True, slots=True)
class Post:
    """One worker's place: number `index` of `count`, the private folder of all, the port they share, and its way to standard output."""

    index: int
    count: int
    folder: Path
    port: int
    press: Connection | None = None

    @property
    def own(self) -> Path:
        """Where its Desk is."""
        return socket_of(self.folder, self.index)

    @property
    def others(self) -> tuple[Path, ...]:
        """Where its siblings' are."""
        return tuple(socket_of(self.folder, index) for index in range(self.count) if index != self.index)


@contextmanager
def private_folder() -> Iterator[Path]:
    """0700, for sockets; gone afterwards. A container's root may be read-only: /dev/shm is there in each."""
    try:
        folder = Path(tempfile.mkdtemp(prefix="keystead-workers-"))
    except OSError:
        folder = Path(tempfile.mkdtemp(prefix="keystead-workers-", dir="/dev/shm"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


Main = Callable[[Post, Any], int]


def _entry(main: Main, post: Post, argument: Any, report: Connection) -> None:  # noqa: ANN401 - what `main` takes
    """A worker process. Ctrl-C reaches it too: the supervisor's SIGTERM counts."""
    heed(signal.SIGTERM)
    end_with_parent()
    protect()
    logging.basicConfig(level=logging.INFO, format=f"%(asctime)s %(levelname)s [worker {post.index}] %(name)s %(message)s")
    try:
        code = main(post, argument)
    except KeysteadError as error:
        report.send(error)
        code = 1
    sys.exit(code)


@dataclass(slots=True)
class _Slot:
    """A post and the process in it. `missing`: what its readiness lacks."""

    post: Post
    process: SpawnProcess | None = None
    missing: str | None = "it is starting"
    was_ready: bool = False
    quick: int = 0
    error: KeysteadError | None = None


@dataclass(slots=True)
class Supervisor:
    """Keeps a worker at each post. `main(post, argument)` runs in the worker.

    grace     seconds that they have to end
    stagger   the first one opens the token alone: a wrong PIN must be tried once, not once a worker
    press     prints the audit records of all; None: they have none for standard output
    """

    main: Main
    argument: Any = field(repr=False)
    posts: tuple[Post, ...]
    grace: float
    stagger: bool = False
    press: Press | None = None
    all_ready: asyncio.Event = field(default_factory=asyncio.Event)
    _slots: list[_Slot] = field(default_factory=list)
    _opened: asyncio.Event = field(default_factory=asyncio.Event)
    _stopping: bool = False

    def __post_init__(self) -> None:
        self._slots.extend(_Slot(post) for post in self.posts)

    @property
    def missing(self) -> str | None:
        """What the readiness of all lacks."""
        if self._stopping:
            return "server: it is stopping"
        return next((f"worker {slot.post.index}: {slot.missing}" for slot in self._slots if slot.missing is not None), None)

    @property
    def pids(self) -> tuple[int | None, ...]:
        """Process ids, by post."""
        return tuple(None if slot.process is None else slot.process.pid for slot in self._slots)

    async def metrics(self) -> bytes:
        """The samples of all, each with the label `worker`."""
        texts = await asyncio.gather(*(_asked(slot.post, METRICS) for slot in self._slots))
        return merged_page({str(slot.post.index): text.decode() for slot, text in zip(self._slots, texts, strict=True)})

    async def run(self, stop: asyncio.Event) -> int:
        """Until `stop`; the exit code. Raises what kept a worker from being ready even once."""
        keepers = [asyncio.create_task(self._keep(slot)) for slot in self._slots]
        stopped = asyncio.create_task(stop.wait())
        try:
            done, _ = await asyncio.wait({stopped, *keepers}, return_when=asyncio.FIRST_COMPLETED)
            for task in done - {stopped}:
                task.result()
        except _CannotStartError as failure:
            if failure.error is not None:
                raise failure.error from None
            return 1
        finally:
            self._stopping = True
            for task in (stopped, *keepers):
                task.cancel()
            await asyncio.gather(stopped, *keepers, return_exceptions=True)
            await self._end()
        return 0

    async def _keep(self, slot: _Slot) -> None:
        """Worker after worker."""
        clock = asyncio.get_running_loop().time
        if self.stagger and slot.post.index > 0:
            await self._opened.wait()
        while True:
            began = clock()
            reports = self._start(slot)
            assert slot.process is not None
            looking = asyncio.create_task(self._look(slot, slot.process))
            try:
                await _ended(slot.process)
            finally:
                looking.cancel()
            slot.missing = "it ended and is started anew"
            self._judge(slot, reports)
            slot.quick = 0 if clock() - began > _STEADY_SECONDS else slot.quick + 1
            await asyncio.sleep(min(_BACKOFF[1], _BACKOFF[0] * 2 ** min(slot.quick - 1, 16)) if slot.quick else 0)

    def _start(self, slot: _Slot) -> Connection:
        reports, report = _SPAWN.Pipe(duplex=False)
        name, post, given = f"worker-{slot.post.index}", slot.post, [report]
        if self.press is not None:
            ours, theirs = _SPAWN.Pipe()
            self.press.attend(ours)
            post = replace(post, press=theirs)
            given.append(theirs)
        slot.process = _SPAWN.Process(target=_entry, args=(self.main, post, self.argument, report), name=name)
        with shielded():
            slot.process.start()
        for end in given:  # it alone has them: then its end is seen
            end.close()
        log.info("worker %d is process %s", slot.post.index, slot.process.pid)
        return reports

    def _judge(self, slot: _Slot, reports: Connection) -> None:
        """A worker ended by itself. _CannotStartError where no worker of this post has ever been ready, and it was not killed."""
        assert slot.process is not None
        code, error = slot.process.exitcode, _report(reports)
        if error is not None:
            log.error("worker %d: %s", slot.post.index, error)
        if not slot.was_ready and code is not None and code >= 0:
            raise _CannotStartError(error)
        log.error("worker %d ended with %s and is started anew", slot.post.index, code)

    async def _look(self, slot: _Slot, process: SpawnProcess) -> None:
        """What the worker says of itself, for as long as it lives."""
        clock = asyncio.get_running_loop().time
        answered: float | None = None
        while True:
            said = await _asked(slot.post, STATE)
            if said:
                answered = clock()
                if said == READY and slot.missing is not None:
                    log.info("worker %d is ready", slot.post.index)
                slot.missing = None if said == READY else said.decode()
                if not said.startswith(HSM):
                    self._opened.set()
                slot.was_ready = slot.was_ready or slot.missing is None
            elif answered is not None:
                slot.missing = "it does not answer"
                if clock() - answered > _STUCK_SECONDS:
                    log.error("worker %d has not answered for %g s and is killed", slot.post.index, _STUCK_SECONDS)
                    process.kill()
                    return
            if all(each.missing is None for each in self._slots):
                self.all_ready.set()
            await asyncio.sleep(_LOOK_SECONDS[slot.missing is None])

    async def _end(self) -> None:
        """SIGTERM for all; SIGKILL for who is still there after `grace`."""
        living = [slot.process for slot in self._slots if slot.process is not None and slot.process.is_alive()]
        for process in living:
            process.terminate()
        with suppress(TimeoutError):
            async with asyncio.timeout(self.grace):
                for process in living:
                    await _ended(process)
        for process in living:
            if process.is_alive():
                log.error("%s did not end within %g s and is killed", process.name, self.grace)
                process.kill()
            process.join()


class _CannotStartError(Exception):
    def __init__(self, error: KeysteadError | None) -> None:
        super().__init__("a worker cannot start")
        self.error = error


async def _ended(process: SpawnProcess) -> None:
    """Wait for its end, and reap it."""
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    loop.add_reader(process.sentinel, ended.set)
    try:
        await ended.wait()
    finally:
        loop.remove_reader(process.sentinel)
    process.join()


async def _asked(post: Post, question: str) -> bytes:
    """The worker's answer; empty where there is none."""
    try:
        async with asyncio.timeout(_ASK_SECONDS):
            return await ask(post.own, question)
    except (OSError, TimeoutError):
        return b""


def _report(reports: Connection) -> KeysteadError | None:
    """What the worker said at its end."""
    with reports, suppress(EOFError, OSError):
        if reports.poll():
            error: KeysteadError = reports.recv()
            return error
    return None
