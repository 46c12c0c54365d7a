"""`keystead crypt`: records from the cluster, the token from this machine, RBAC from the API server."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable

from keystead.cli.services import CryptCall
from keystead.engine.identifiers import GrantId
from keystead.errors import InvalidSpecError
from keystead.hsm.backend import Hsm
from keystead.operations import OPERATIONS
from keystead.operations.effects import drive_async
from keystead.operations.world import World
from keystead.policy import Caller, SubjectAccessReview, caller_of
from keystead.policy.caller import account_of
from keystead.settings import Settings
from keystead.store.kube import Kube
from keystead.store.reviews import review
from keystead.store.snapshot import Snapshot, take


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
    running = OPERATIONS[call.operation].function(world, _caller(snapshot, call), call.request)
    return await drive_async(running, _reviewer(kube), hsm.slow_async)


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
