"""The house of a process that serves in `keystead dev`: the only one, or a worker of several.

Made by app/dev/main.py and app/dev/workers.py.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from keystead.app.dev.ports import AlwaysFresh, LocalAlive, NoReviews
from keystead.app.frontdoor import House
from keystead.app.openengine import OpenEngine
from keystead.app.quota import make_quota, read_limits
from keystead.app.server.whois import Accounts
from keystead.cli.services import AccessKey, DevRequest
from keystead.dev.webidentity import WebIdentity
from keystead.engine.ports import Domain
from keystead.errors import IdentityTokenError, InvalidSpecError, KeysteadError
from keystead.operations.trail import Audit
from keystead.policy.bearer import AUDIENCE
from keystead.server.credentials import TokenIdentity
from keystead.server.driver import Siblings
from keystead.server.http import Listen, serve
from keystead.server.identity import Identify, StaticKey
from keystead.server.message import Asked, Door, Reply
from keystead.server.tls import Tls
from keystead.server.usage import Uses
from keystead.settings import AuditMode, AuditSettings
from keystead.store.model import RecordModel
from keystead.store.sqlite.changes import Changes, RecordChange
from keystead.store.sqlite.store import SqliteStore

log = logging.getLogger(__name__)
GRACE_SECONDS: Final = 5.0


@dataclass(frozen=True, slots=True)
class Premises:
    """What all processes of one `keystead dev` have in common; travels to workers by a pipe. `accounts`: namespace -> account id."""

    request: DevRequest = field(repr=False)
    folder: Path
    access_keys: tuple[AccessKey, ...] = field(repr=False)
    accounts: Mapping[str, str]
    tls: Tls | None
    audit: AuditSettings = field(default_factory=lambda: AuditSettings(mode=AuditMode.OFF))


def make_house(
    premises: Premises,
    store: SqliteStore,
    model: RecordModel,
    engine: OpenEngine,
    uses: Uses,
    siblings: Siblings,
    audit: Audit,
    routes: Mapping[bytes, Callable[[Asked], Awaitable[Reply]]] | None = None,
) -> House:
    """The namespaces of the accounts are there already."""
    uids = store.objects.namespaces()
    namespaces = {account: namespace for namespace, account in premises.accounts.items()}
    static = {
        key.id: StaticKey(key.secret, key.account, namespaces[key.account], uids[namespaces[key.account]])
        for key in premises.access_keys
    }
    return House(
        region=None,
        model=model,
        engine=lambda: engine,
        facts=NoReviews(store.objects.namespaces),
        writer=store.writer,
        siblings=siblings,
        stream=AlwaysFresh(),
        alive=LocalAlive(),
        identify=_identify(premises, store, model),
        recognise=None,
        now=store.clock.now,
        uses=uses,
        audit=audit,
        static=static,
        quota=make_quota(read_limits(premises.request.quota, "--quota"), premises.request.workers),
        routes=routes or {},
    )


def _identify(premises: Premises, store: SqliteStore, model: RecordModel) -> Identify:
    """Web identity, where the keys of an issuer were given."""
    if premises.request.jwks is None:
        return _no_web_identity

    accounts = Accounts(model)

    def place(namespace: str) -> tuple[str, str]:
        uid = store.objects.namespaces().get(namespace)
        if uid is None:
            raise IdentityTokenError("no such namespace: a seed with a KmsKey in it makes it")
        return uid, premises.accounts.get(namespace) or accounts.account_of(namespace, uid)

    return WebIdentity(premises.request.jwks, AUDIENCE, place, store.clock.now).identify


async def serve_on(
    door: Door, premises: Premises, port: int, stop: asyncio.Event, ready: Callable[[int], object], *, share: bool = False
) -> int:
    """Until `stop`. InvalidSpecError where it cannot listen. `share`: other processes listen there too."""
    host = premises.request.host
    listen = Listen(host=host, port=port, tls=premises.tls, grace=GRACE_SECONDS, quiet=0.0, reuse_port=share)
    try:
        await serve(door, listen, stop, ready)
    except OSError as error:
        raise InvalidSpecError("--listen", f"{host} port {port}: {error.strerror or error}") from None
    return 0


async def _no_web_identity(_token: str) -> TokenIdentity:
    raise IdentityTokenError("web identity needs --jwks FILE")


def take_records(model: RecordModel, domain: Domain, changes: Changes) -> None:
    """What the store tells, into a read model."""
    records = [change for change in changes.changes if isinstance(change, RecordChange)]
    if changes.whole:
        model.keep({change.name for change in records})
    for change in records:
        try:
            if change.stored is None:
                model.gone(change.name)
            else:
                model.take(domain, change.stored)
        except KeysteadError as error:
            log.error("%s", error)
