"""A process with a journal over real sinks, for tests that kill it, fill its disk, or stop who reads it.

`python -m tests.audit.child FOLDER [stdout] [press=FD] [keep[=BYTES]] [seconds]`. press: standard output by way of the process at the
other end of this descriptor. keep: small files, compressed, and soon taken by retention; so many bytes of them stay.

8 callers make durable calls without end (or for so long). Every answer is a byte on descriptor 3, `+` recorded, `-` refused, written after
the answer and not before. SIGTERM ends the chain.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path

from tests.audit.events import NOW, a_call

from keystead.audit import keeping
from keystead.audit.folder import FolderKeeper, previous_chains
from keystead.audit.journal import Journal
from keystead.audit.lines import Chain, chain_id
from keystead.audit.ports import Sink
from keystead.audit.press import PressSink
from keystead.audit.rules import Rules
from keystead.audit.sinks import FileSink, StdoutSink
from keystead.errors import AuditUnavailableError

CALLERS = 8
HELD = 64 * 1024
"""The reserve that `keep` holds back."""


async def _calls(journal: Journal, stop: asyncio.Event, polite: bool) -> None:
    """polite: as the server, which begins nothing that cannot be recorded."""
    while not stop.is_set():
        if polite and journal.stopped:
            os.write(3, b"-")
            await asyncio.sleep(0.02)
            continue
        try:
            recorded = journal.call(a_call("Decrypt"))
            assert recorded is not None
            await recorded
            os.write(3, b"+")
        except AuditUnavailableError:
            os.write(3, b"-")
            await asyncio.sleep(0.02)


def _kept(arguments: list[str]) -> int:
    """Bytes; 0 without `keep`."""
    return next((int(each.partition("=")[2] or 200_000) for each in arguments if each.startswith("keep")), 0)


def _sink(folder: Path, chain: str, arguments: list[str]) -> Sink:
    press = next((int(each.removeprefix("press=")) for each in arguments if each.startswith("press=")), None)
    if press is not None:
        return PressSink(Connection(press))
    return StdoutSink(1) if "stdout" in arguments else FileSink(folder, chain, 1 << 16 if _kept(arguments) else 1 << 20)


async def _main(folder: Path, arguments: list[str], seconds: float) -> None:
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    chain = Chain(chain_id("child", NOW, os.urandom(4)))
    sinks = [_sink(folder, chain.id, arguments)]
    retain = _kept(arguments)
    keepers = [FolderKeeper(folder, chain.id, retain, held=HELD)] if retain else []
    keeping._EVERY, keeping._PATIENCE = 0.01, 0.2  # so that it is under way when the process is killed
    start = {"version": "0", "replica": "child", "previous": previous_chains(folder)}
    journal = Journal(chain, sinks, start, lambda: NOW, rules=Rules(), keepers=keepers)
    running = asyncio.create_task(journal.run())
    await journal.started()
    callers = [asyncio.create_task(_calls(journal, stop, retain > 0)) for _ in range(CALLERS)]
    with suppress(TimeoutError):
        await asyncio.wait_for(stop.wait(), seconds)
    stop.set()
    await asyncio.gather(*callers)
    await journal.close(running)


if __name__ == "__main__":
    last = sys.argv[-1]
    asyncio.run(_main(Path(sys.argv[1]), sys.argv[2:], float(last) if last[0].isdigit() else 60.0))
