"""`keystead dev`: token, store, controller and door of one process. Plan, engine, records and server are those of a cluster.

    Estate     what outlives a reset: folder, token, database
    Household  what stands on it: controller, read model, door. A reset makes a new one.
"""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import shutil
import signal
from collections.abc import Awaitable, Coroutine
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

from keystead.app.addresses import check_address
from keystead.app.controller import Controller, Ports
from keystead.app.dev import token as devtoken
from keystead.app.dev.auditing import audit_of, publish_key, recording
from keystead.app.dev.house import Premises, make_house, serve_on, take_records
from keystead.app.dev.memory import memory_folder
from keystead.app.dev.ports import Alone, NoSecrets, Silent
from keystead.app.dev.seeds import load_seeds, plant
from keystead.app.dev.workers import supervise
from keystead.app.frontdoor import make_door
from keystead.app.openengine import OpenEngine
from keystead.app.process import raise_file_limit
from keystead.app.quota import read_limits
from keystead.cli.services import AccessKey, DevRequest
from keystead.dev.exposure import RESET_PATH, address, export_lines, may_reset
from keystead.dev.seeds import DEFAULT_NAMESPACE, Seeds
from keystead.engine.births import new_install_record
from keystead.engine.identifiers import RECORDS_NAMESPACE, AccountId, RecordKind, record_name
from keystead.engine.record import InstallRecord, open_sealed, seal_record
from keystead.errors import InvalidSpecError, KeysteadError, RecordIntegrityError
from keystead.hsm.backend import Hsm, open_hsm
from keystead.operations.trail import Audit
from keystead.reconciler.workers import Workers
from keystead.server.door import AwsDoor
from keystead.server.http import run as run_loop
from keystead.server.message import Asked, Reply
from keystead.server.tls import Certificates, Tls
from keystead.server.usage import PERIOD_SECONDS, UseKeeper, Uses
from keystead.settings import AuditSettings, Settings
from keystead.store.model import RecordModel
from keystead.store.sqlite.changes import Changes, ObjectChange
from keystead.store.sqlite.store import SqliteStore

log = logging.getLogger(__name__)
DEFAULT_REGION: Final = "us-east-1"
_INSTALL: Final = record_name(RecordKind.INSTALL)
_WORKERS: Final = 16
_REFRESH_SECONDS: Final = 300.0
_AGAIN_SECONDS: Final = 0.5


def state_folder(request: DevRequest) -> Path:
    """--state, or the user's own folder (XDG)."""
    if request.state is not None:
        return request.state.absolute()
    home = os.environ.get("XDG_STATE_HOME") or str(Path.home() / ".local/state")
    return Path(home).absolute() / "keystead"


class Estate:
    """The folder with token and database."""

    def __init__(self, request: DevRequest, stack: ExitStack) -> None:
        if request.memory:
            self.folder = memory_folder(stack)
        else:
            self.folder = state_folder(request)
        self.store = SqliteStore(None if request.memory else self.folder)
        stack.callback(self.store.close)
        self.store.lead.acquire()
        if not devtoken.has_token(self.folder) and any(item.sealed.name == _INSTALL for item in self.store.records.list_all()):
            raise RecordIntegrityError(f"the records in {self.folder} are there and their token is not; hint: put its folder hsm back")
        devtoken.ensure_token(self.folder)
        settings = devtoken.open_copy(self.folder, "leader", lanes=1)
        stack.callback(lambda: shutil.rmtree(settings.pin_file.parent, ignore_errors=True))
        self.hsm = open_hsm(settings, devtoken.marker(settings))
        stack.callback(self.hsm.close)

    async def check_install(self) -> None:
        """Token and records belong together, or the records are new."""
        stored = await self.store.records.get(_INSTALL)
        if stored is None:
            await self._create_install(self.hsm)
            return
        try:
            open_sealed(self.hsm.domain, stored.sealed, InstallRecord)
        except RecordIntegrityError:
            raise RecordIntegrityError(
                f"the token and the records in {self.folder} do not belong together; "
                "hint: give another --state, or put the folder back whole"
            ) from None

    async def _create_install(self, hsm: Hsm) -> None:
        uid = await self.store.objects.ensure_namespace(RECORDS_NAMESPACE)
        record = new_install_record(hsm.domain, devtoken.install_id(self.folder), uid, self.store.clock.now())
        await self.store.records.create(RecordKind.INSTALL, seal_record(hsm.domain, _INSTALL, record))


class Household:
    """One life between two resets."""

    def __init__(self, estate: Estate, premises: Premises, seeds: Seeds, audit: Audit) -> None:
        self._estate = estate
        self._premises = premises
        self._seeds = seeds
        self._audit = audit
        self._uses = Uses()
        self.keeper = UseKeeper(self._uses.own, self._uses.learn, estate.store.uses, PERIOD_SECONDS)
        self._engine = OpenEngine(estate.hsm, lambda _operation, _result: None)
        self.model = RecordModel()
        self.controller = Controller(_WORKERS, (), lambda _ref: None)
        self.workers: Workers | None = None
        self.door: AwsDoor | None = None

    async def open(self, reset: Reset) -> AwsDoor:
        """Namespaces, models, door."""
        store = self._estate.store
        for namespace in self._premises.accounts:
            await store.objects.ensure_namespace(namespace)
        store.changes.subscribe(self._changed)
        ports = Ports(
            records=store.records,
            objects=store.objects,
            secrets=NoSecrets(),
            leadership=store.lead,
            clock=store.clock,
            engine=lambda: self._engine,
            region=DEFAULT_REGION,
            refresh_period=_REFRESH_SECONDS,
            accounts={namespace: AccountId(account) for namespace, account in self._premises.accounts.items()},
            seeds=self._seeds.of,
            audit=self._audit,
        )
        self.workers = self.controller.workers(ports, Silent())
        routes = {RESET_PATH: reset} if self._premises.request.allow_reset else {}
        house = make_house(self._premises, store, self.model, self._engine, self._uses, Alone(), self._audit, routes)
        self.door = make_door(house)
        return self.door

    async def own_key(self) -> None:
        """The key that signs the audit trail, and its public half beside the records. For ever."""
        own = self.controller.own_keys
        assert own is not None
        while not await own.ensure():
            await asyncio.sleep(_AGAIN_SECONDS)
        while not await publish_key(self._premises.audit, self._estate.hsm, self._estate.store):
            await asyncio.sleep(_AGAIN_SECONDS)
        await asyncio.Event().wait()

    async def plant(self) -> None:
        """The seeds, while the workers run."""
        await plant(self._seeds, self._estate.store, self.model)

    def _changed(self, changes: Changes) -> None:
        """What the store tells: records into both models, objects into the queue."""
        domain, index = self._estate.hsm.domain, self.controller.index
        take_records(self.model, domain, changes)
        if changes.whole:
            index.keep({change.name for change in changes.changes if not isinstance(change, ObjectChange)})
        for change in changes.changes:
            if isinstance(change, ObjectChange):
                body = change.body or _gone_body(change)
                self.controller.feed.seen(change.ref.kind, None if change.body else "DELETED", body)
                continue
            indexed = change.name != _INSTALL and not change.name.startswith("account-")
            try:
                if change.stored is None:
                    index.gone(change.name)
                elif indexed:
                    index.take(domain, change.stored)
            except KeysteadError as error:
                log.error("%s", error)

    def close(self) -> None:
        """Nothing more is told to it."""
        self._estate.store.changes.unsubscribe(self._changed)
        self.controller.queue.close()


def _gone_body(change: ObjectChange) -> dict[str, Any]:
    return {"metadata": {"namespace": change.ref.namespace, "name": change.ref.name, "uid": change.uid}}


class Reset:
    """The route of --allow-reset. One at a time; calls that are under way end as they can."""

    def __init__(self, dev: Dev) -> None:
        self._dev = dev
        self._turn = asyncio.Lock()

    async def __call__(self, asked: Asked) -> Reply:
        """Empty everything."""
        if asked.method != b"POST":
            return Reply(405, b"POST only\n", b"text/plain", ((b"allow", b"POST"),))
        if not may_reset(asked.headers, self._dev.request.host):
            return Reply(403, b"reset needs the header X-Keystead-Reset: yes, and a Host that is this machine\n", b"text/plain")
        async with self._turn:
            await self._dev.start_over()
        return Reply(200, b"empty\n", b"text/plain")


class Dev:
    """The process. Implements `message.Door` by the household's."""

    def __init__(self, estate: Estate, premises: Premises, seeds: Seeds, audit: Audit) -> None:
        self._audit = audit
        self.request = premises.request
        self._premises = premises
        self._seeds = seeds
        self._estate = estate
        self._reset = Reset(self)
        self._household: Household | None = None
        self._door: AwsDoor | None = None
        self._work: tuple[asyncio.Task[None], ...] = ()
        self.failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def handle(self, asked: Asked) -> Reply | Awaitable[Reply]:
        """The door that is there now."""
        assert self._door is not None
        return self._door.handle(asked)

    async def start(self) -> None:
        """Open the door, with the seeds in it."""
        self._household = Household(self._estate, self._premises, self._seeds, self._audit)
        self._door = await self._household.open(self._reset)
        assert self._household.workers is not None
        works = [self._household.workers.run(_WORKERS), self._household.keeper.run()]
        if self.request.workers > 1:
            works.append(self._estate.store.changes.poll())
        if self.request.audit is not None:
            works.append(self._household.own_key())
        self._work = tuple(asyncio.create_task(work) for work in works)
        for task in self._work:
            task.add_done_callback(self._ended)
        try:
            await self._household.plant()
        except BaseException:
            await self.stop()
            raise

    def _ended(self, work: asyncio.Task[None]) -> None:
        if not work.cancelled() and not self.failed.done():
            error = work.exception() or RuntimeError("the workers ended")
            self.failed.set_exception(error)

    async def start_over(self) -> None:
        """A reset."""
        await self.stop()
        try:
            self._estate.store.empty()
            await self.start()
        except KeysteadError as error:  # there is nothing to go back to
            if not self.failed.done():
                self.failed.set_exception(error)
            raise

    async def stop(self) -> None:
        """Nothing is worked on any more."""
        if self._household is not None:
            self._household.close()
        for task in self._work:
            task.cancel()
        await asyncio.gather(*self._work, return_exceptions=True)
        if self._household is not None:
            await self._household.keeper.close()


def accounts_of(account: str, keys: tuple[AccessKey, ...]) -> dict[str, str]:
    """Namespace -> account id that was given (RECORDS, dev)."""
    others = {key.account for key in keys} - {account}
    return {DEFAULT_NAMESPACE: account} | {f"account-{other}": other for other in sorted(others)}


def access_keys(request: DevRequest) -> tuple[AccessKey, ...]:
    """Those that were given, or a random one."""
    if not request.access_keys:
        made = AccessKey("AKIA" + secrets.token_hex(8).upper(), secrets.token_urlsafe(30))
        return (AccessKey(made.id, made.secret, request.account),)
    return tuple(AccessKey(key.id, key.secret, key.account or request.account) for key in request.access_keys)


def read_tls(request: DevRequest) -> Tls | None:
    """The certificate that was given. InvalidSpecError for one that cannot be used, before anything is made."""
    if request.certificate is None or request.private_key is None:
        return None
    tls = Tls(certificate=request.certificate, key=request.private_key)
    try:
        Certificates(tls)
    except OSError as error:  # SSLError is one
        raise InvalidSpecError("--tls-cert", f"it and --tls-key are no certificate chain and its key: {error.strerror or error}") from None
    return tls


async def _main(request: DevRequest, audit: AuditSettings) -> int:
    check_address(request.host, request.port, "--listen")
    read_limits(request.quota, "--quota")
    keys, seeds, tls = access_keys(request), load_seeds(request.seeds), read_tls(request)
    stop, loop = asyncio.Event(), asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):  # before there is anything that must not stay behind
        loop.add_signal_handler(number, stop.set)
    with ExitStack() as stack:
        estate = Estate(request, stack)
        await estate.check_install()
        premises = Premises(request, estate.folder, keys, accounts_of(request.account, keys), tls, audit)
        async with recording(audit, estate.hsm, estate.store) as trail:
            return await _serve(Dev(estate, premises, seeds, trail), premises, stop)


async def _serve(dev: Dev, premises: Premises, stop: asyncio.Event) -> int:
    request, key = premises.request, premises.access_keys[0]
    await dev.start()

    def ready(port: int) -> None:
        url = address(request.host, port, tls=request.certificate is not None)
        secret = None if request.access_keys else key.secret
        for line in export_lines(url, key.id, secret, DEFAULT_REGION):
            request.tell(line)

    work: Coroutine[Any, Any, int]
    work = supervise(premises, stop, ready) if request.workers > 1 else serve_on(dev, premises, request.port, stop, ready)
    serving = asyncio.create_task(work)
    both: set[asyncio.Future[Any]] = {serving, dev.failed}
    try:
        await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        if dev.failed.done():
            stop.set()
        code = await serving
        if dev.failed.done():
            await dev.failed
    finally:
        await dev.stop()
    return code


def run_dev(settings: Settings, request: DevRequest) -> int:
    """The command."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    raise_file_limit()
    return run_loop(_main(request, audit_of(settings.audit, request)))
