"""Workers for tests of the supervisor: `work` runs in each; the argument says how it behaves. And a supervisor as a process of its own:
`python -m tests.app.worker_child` prints the workers' process ids when they are ready.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path

from keystead.app.workers import METRICS, READY, STATE, Post, Supervisor, private_folder
from keystead.audit.press import Press, PressSink
from keystead.errors import InvalidSpecError
from keystead.server.siblings import Desk

METRIC = """# HELP keystead_server_requests_total Calls.
# TYPE keystead_server_requests_total counter
keystead_server_requests_total{{code="OK",operation="Encrypt"}} {}
# HELP keystead_server_records Records.
# TYPE keystead_server_records gauge
keystead_server_records {}
"""


def work(post: Post, argument: dict[str, str]) -> int:
    """`<n>` of the argument, or `all`: what worker n does."""
    how = argument.get(str(post.index), argument.get("all", ""))
    if how == "fails":
        return 3
    if how == "refuses":
        raise InvalidSpecError("--listen", "no such place")
    if how == "fails later" and not _first(post):
        return 3
    return asyncio.run(_serve(post, how))


def _first(post: Post) -> bool:
    mark = post.folder / f"{post.index}.mark"
    there = mark.exists()
    mark.touch()
    return not there


async def _serve(post: Post, how: str) -> int:
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    state = READY if how != "waits" else b"records: not listed yet"
    if how == "no token":
        state = b"hsm: the token refused the PIN"
    answers = {
        STATE: lambda: state,
        METRICS: lambda: METRIC.format(post.index + 1, 10 * post.index).encode(),
        "pid": lambda: str(os.getpid()).encode(),
    }
    desk = Desk(post.own, answers)
    if post.press is not None:
        await asyncio.to_thread(PressSink(post.press).write, f"worker {post.index} is {os.getpid()}\n".encode())
    await desk.open()
    await stop.wait()
    while how == "never ends":
        await asyncio.sleep(60)
    await desk.close()
    return 0


def supervisor(
    folder: Path, count: int, grace: float = 5.0, *, stagger: bool = False, press: Press | None = None, **how: str
) -> Supervisor:
    posts = tuple(Post(index, count, folder, 0) for index in range(count))
    return Supervisor(work, how, posts, grace, stagger, press)


async def _main() -> int:
    with private_folder() as folder:
        keeps = supervisor(folder, 2)
        running = asyncio.create_task(keeps.run(asyncio.Event()))
        await keeps.all_ready.wait()
        print(*keeps.pids, folder, flush=True)
        return await running


if __name__ == "__main__":
    sys.exit(asyncio.run(_main()))
