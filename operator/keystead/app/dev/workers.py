"""`keystead dev --workers N`: the first process holds the folder and reconciles, N workers serve from the same SQLite file.

    first process   the lead, the controller, seeds; its supervisor keeps the workers. It serves no request
    worker          a copy of the token and a read model of its own; writes objects, never records; looks for what others wrote

Between the two and among themselves there is the file, and the Desks (server/siblings.py). An acknowledged write is on the disk, whoever
is killed.
"""

from __future__ import annotations

import asyncio
import shutil
import signal
from collections.abc import Callable
from contextlib import ExitStack

from keystead.app.addresses import reserved
from keystead.app.auditing import Trail
from keystead.app.auditkey import AuditSigner
from keystead.app.dev import token as devtoken
from keystead.app.dev.house import GRACE_SECONDS, Premises, make_house, serve_on, take_records
from keystead.app.frontdoor import make_door
from keystead.app.openengine import OpenEngine
from keystead.app.process import raise_file_limit
from keystead.app.workers import READY, STATE, Post, Supervisor, private_folder
from keystead.hsm.backend import open_hsm
from keystead.server.http import run as run_loop
from keystead.server.siblings import Desk, PodSiblings
from keystead.server.usage import PERIOD_SECONDS, UseKeeper, Uses
from keystead.store.model import RecordModel
from keystead.store.sqlite.changes import Changes
from keystead.store.sqlite.store import SqliteStore


async def supervise(premises: Premises, stop: asyncio.Event, ready: Callable[[int], None]) -> int:
    """The workers, until `stop`. `ready` is told the port once all of them serve."""
    request = premises.request
    with private_folder() as folder, reserved(request.host, request.port, "--listen") as port:
        posts = tuple(Post(index, request.workers, folder, port) for index in range(request.workers))
        supervisor = Supervisor(run_worker, premises, posts, GRACE_SECONDS + 5.0)

        async def tell() -> None:
            await supervisor.all_ready.wait()
            ready(port)

        telling = asyncio.create_task(tell())
        try:
            return await supervisor.run(stop)
        finally:
            telling.cancel()


def run_worker(post: Post, premises: Premises) -> int:
    """A worker process."""
    raise_file_limit()
    return run_loop(_work(post, premises))


async def _work(post: Post, premises: Premises) -> int:
    stop, serving = asyncio.Event(), asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    desk = Desk(post.own, {STATE: lambda: READY if serving.is_set() else b"it is starting"})
    with ExitStack() as stack:
        settings = devtoken.open_copy(premises.folder, f"worker-{post.index}", lanes=1)
        stack.callback(lambda: shutil.rmtree(settings.pin_file.parent, ignore_errors=True))
        hsm = open_hsm(settings, devtoken.marker(settings))
        stack.callback(hsm.close)
        store = SqliteStore(premises.folder)
        stack.callback(store.close)
        model, uses = RecordModel(), Uses()
        engine = OpenEngine(hsm, lambda _operation, _result: None)
        signer = AuditSigner(model, lambda: engine, store.clock.now)
        trail = Trail(premises.audit, f"dev-worker-{post.index}", store.clock.now, signer)

        def changed(changes: Changes) -> None:
            take_records(model, hsm.domain, changes)
            desk.saw(changes.rv)

        await desk.open()
        store.changes.subscribe(changed)
        keeper = UseKeeper(uses.own, uses.learn, store.uses, PERIOD_SECONDS)
        recording = asyncio.create_task(trail.run())
        tasks = [asyncio.create_task(store.changes.poll()), asyncio.create_task(keeper.run())]
        siblings = PodSiblings(post.others, lambda: desk.version)
        await trail.opened()
        door = make_door(make_house(premises, store, model, engine, uses, siblings, trail.audit))
        try:
            await desk.caught_up()
            listening = asyncio.create_task(serve_on(door, premises, post.port, stop, lambda _: serving.set(), share=True))
            await asyncio.wait({listening, *tasks}, return_when=asyncio.FIRST_COMPLETED)
            stop.set()  # where a task has ended: without the others' changes nobody is served
            await listening
            await desk.close()
            for task in tasks:
                if task.done():
                    task.result()
            await keeper.close()
        finally:
            await desk.close()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await trail.close(recording)
    return 0
