"""`keystead crypt`: records from the cluster, the token from this machine, RBAC from the API server.

Where KEYSTEAD_AUDIT_FOLDER is set, each command is a chain of its own in that folder, and prints nothing before its record is durable.
Its records are never on standard output: there stands the answer.
"""

from __future__ import annotations

import os
import pwd
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Final

from keystead import __version__
from keystead.app.auditing import StoredKeySigner, Trail, kept
from keystead.app.openengine import OpenEngine
from keystead.cli.services import CryptCall
from keystead.engine.identifiers import GrantId
from keystead.errors import AuditUnavailableError, InvalidSpecError, KeysteadError
from keystead.hsm.backend import Hsm
from keystead.operations import OPERATIONS
from keystead.operations.effects import drive_async
from keystead.operations.faults import public_error
from keystead.operations.trail import Actor, Audit, CallEvent, NoAudit
from keystead.operations.world import World
from keystead.policy import Caller, SubjectAccessReview, caller_of
from keystead.policy.caller import account_of
from keystead.server.door import new_id
from keystead.settings import AuditMode, AuditSettings, Settings
from keystead.store.kube import Kube
from keystead.store.records import KubeRecords
from keystead.store.reviews import review
from keystead.store.snapshot import Snapshot, take

_REPLICA: Final = "crypt"
_SOURCE: Final = "keystead-crypt"


async def crypt(settings: Settings, kube: Kube, hsm: Hsm, call: CryptCall) -> object:
    """Run one operation as a principal."""
    snapshot = await take(kube, settings.cluster.records_namespace, hsm.domain)
    world = World(
        domain=hsm.domain,
        fast=hsm.fast,
        capabilities=hsm.capabilities,
        keys=snapshot,
        region=settings.cluster.region,
        now=kube.clock.now(),
        entropy=os.urandom,
    )
    caller = _caller(snapshot, call)
    async with recording(settings, kube, hsm) as audit:
        running = OPERATIONS[call.operation].function(world, caller, call.request)
        try:
            answer = await drive_async(running, _reviewer(kube), hsm.slow_async)
        except KeysteadError as error:
            public = public_error(error)
            await _recorded(audit, world, caller, call, code=public.code, message=str(public))
            raise
        await _recorded(audit, world, caller, call, answer)
    return answer


@asynccontextmanager
async def recording(settings: Settings, kube: Kube, hsm: Hsm) -> AsyncIterator[Audit]:
    """The audit trail of this command. AuditUnavailableError at its end: not all is kept, so nothing may be shown."""
    audit = settings.audit
    if audit.folder is None or audit.mode is AuditMode.OFF:
        yield NoAudit()
        return
    trail = _trail(audit, KubeRecords(kube, settings.cluster.records_namespace), kube, hsm)
    async with kept(trail, lambda: AuditUnavailableError(f"Nothing is done without a record of it: {trail.missing}.")) as running:
        yield trail.audit
    if running.cancelled() or running.exception() is not None:
        raise AuditUnavailableError(f"It is not on record, so its answer is not shown: {trail.missing}.")


def _trail(audit: AuditSettings, records: KubeRecords, kube: Kube, hsm: Hsm) -> Trail:
    engine = OpenEngine(hsm, lambda _operation, _result: None)
    signer = StoredKeySigner(records, lambda: engine, kube.clock.now)
    return Trail(replace(audit, stdout=False, mode=AuditMode.SYNC), _REPLICA, kube.clock.now, signer)


async def _recorded(
    audit: Audit, world: World, caller: Caller, call: CryptCall, answer: object = None, *, code: str = "", message: str = ""
) -> None:
    """The user agent says who sat there: `--as` says whose rights were used."""
    agent = f"{_SOURCE}/{__version__} {_person()}@{socket.gethostname()}"
    event = CallEvent(
        world.now,
        new_id(),
        new_id(),
        call.operation,
        Actor(caller),
        world.region,
        _SOURCE,
        None,
        call.request,
        answer,
        code,
        message,
        world.trail,
        {b"user-agent": agent.encode()},
    )
    recorded = audit.call(event)
    if recorded is not None:
        await recorded


def _person() -> str:
    """As the system knows who runs this, not as the environment says."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return f"uid-{os.getuid()}"


def _reviewer(kube: Kube) -> Callable[[SubjectAccessReview], Awaitable[bool]]:
    async def ask(question: SubjectAccessReview) -> bool:
        return await review(kube, question)

    return ask


def _caller(snapshot: Snapshot, call: CryptCall) -> Caller:
    account = snapshot.account(account_of(call.principal))
    if account is None or snapshot.namespace_uid(account.namespace) != account.namespace_uid:
        raise InvalidSpecError("--as", "no live namespace has that account; `keystead records list` shows the accounts")
    grant = None if call.grant is None else GrantId(call.grant)
    return caller_of(call.principal, account.namespace, only_grant=grant)
