"""A process with a journal over real sinks, for tests that kill it, fill its disk, or stop who reads it.

`python -m tests.audit.child FOLDER [stdout] [keep] [seconds]`. keep: small files, compressed, and soon taken by retention.

8 callers make durable calls without end (or for so long). Every answer is a byte on descriptor 3, `+` recorded, `-` refused, written after
the answer and not before. SIGTERM ends the chain.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from contextlib import suppress
from pathlib import Path

from tests.audit.events import NOW, a_call

from keystead.audit import keeping
from keystead.audit.folder import FolderKeeper, previous_chains
from keystead.audit.journal import Journal, Rules
from keystead.audit.lines import Chain, chain_id
from keystead.audit.ports import Sink
from keystead.audit.sinks import FileSink, StdoutSink
from keystead.errors import AuditUnavailableError

CALLERS = 8


async def _calls(journal: Journal, stop: asyncio.Event) -> None:
    while not stop.is_set():
        try:
            recorded = journal.call(a_call("Decrypt"))
            assert recorded is not None
            await recorded
            os.write(3, b"+")
        except AuditUnavailableError:
            os.write(3, b"-")
            await asyncio.sleep(0.02)


async def _main(folder: Path, stdout: bool, keep: bool, seconds: float) -> None:
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    chain = Chain(chain_id("child", NOW, os.urandom(4)))
    sinks: list[Sink] = [StdoutSink(1, folder.parent / "lock")] if stdout else [FileSink(folder, chain.id, 1 << 16 if keep else 1 << 20)]
    keepers = [FolderKeeper(folder, chain.id, 200_000)] if keep else []
    keeping._EVERY = 0.01  # type: ignore[misc]  # so that it is under way when the process is killed
    start = {"version": "0", "replica": "child", "previous": previous_chains(folder)}
    journal = Journal(chain, sinks, start, lambda: NOW, rules=Rules(), keepers=keepers)
    running = asyncio.create_task(journal.run())
    await journal.started()
    callers = [asyncio.create_task(_calls(journal, stop)) for _ in range(CALLERS)]
    with suppress(TimeoutError):
        await asyncio.wait_for(stop.wait(), seconds)
    stop.set()
    await asyncio.gather(*callers)
    await journal.close(running)


if __name__ == "__main__":
    last = sys.argv[-1]
    asyncio.run(_main(Path(sys.argv[1]), "stdout" in sys.argv, "keep" in sys.argv, float(last) if last[0].isdigit() else 60.0))
