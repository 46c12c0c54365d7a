"""`keystead crypt` and `keystead records`: records from the cluster, the token from this machine, RBAC from the API server."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable

from msgspec import UNSET

from keystead.cli.services import CryptCall
from keystead.engine.identifiers import GrantId, RecordKind, key_arn, record_name
from keystead.engine.record import KeyRecord, open_sealed
from keystead.engine.rotation import next_rotation
from keystead.errors import InvalidSpecError, NotFoundError
from keystead.hsm.backend import Hsm
from keystead.operations import OPERATIONS
from keystead.operations.effects import drive_async
from keystead.operations.world import World
from keystead.policy import Caller, SubjectAccessReview, caller_of
from keystead.policy.caller import account_of
from keystead.settings import Settings
from keystead.store.kube import Kube
from keystead.store.records import KubeRecords
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
    account = snapshot.accounts.get(account_of(call.principal))
    if account is None or snapshot.namespace_uid(account.namespace) != account.namespace_uid:
        raise InvalidSpecError("--as", "no live namespace has that account; `keystead records list` shows the accounts")
    grant = None if call.grant is None else GrantId(call.grant)
    return caller_of(call.principal, account.namespace, only_grant=grant)


async def list_records(settings: Settings, kube: Kube, hsm: Hsm) -> tuple[list[dict[str, str]], list[str]]:
    """A row a key record, by namespace and name; and what was refused."""
    snapshot = await take(kube, settings.cluster.records_namespace, hsm.domain)
    ordered = sorted(snapshot.keys.values(), key=lambda record: (record.namespace, record.name))
    return [_row(record) for record in ordered], snapshot.refused


def _row(record: KeyRecord) -> dict[str, str]:
    return {
        "namespace": record.namespace,
        "name": record.name,
        "keyId": record.key_id,
        "account": record.account,
        "state": "Held" if record.hold is not UNSET else record.state.value,
        "spec": record.spec.value,
        "versions": str(record.n_versions),
        "object": "yes" if record.bound else "none",
        "seq": str(record.seq),
    }


async def show_record(settings: Settings, kube: Kube, hsm: Hsm, namespace: str, name: str) -> dict[str, str | int]:
    """The members of one record that are for people."""
    stored = await KubeRecords(kube, settings.cluster.records_namespace).get(
        record_name(RecordKind.KEY, namespace, name)
    )
    if stored is None:
        raise NotFoundError(f"there is no key record for {namespace}/{name}")
    record = open_sealed(hsm.domain, stored.sealed, KeyRecord)
    due = next_rotation(record)
    facts: dict[str, str | int] = {
        **_row(record),
        "arn": key_arn(record.region, record.account, record.key_id),
        "usage": record.usage.value,
        "protection": record.protection.value,
        "created": record.created,
        "currentKeyMaterialId": record.current_version.material_id,
        "nextRotation": due.isoformat() if due else "none",
        "deletionDate": "none" if record.deletion_date is UNSET else record.deletion_date,
        "digest": stored.sealed.digest,
        "secret": stored.sealed.name,
    }
    return facts
