"""The key that another kind's object names: reading it, and what a first record takes from it."""

from __future__ import annotations

from datetime import datetime

from keystead.engine.births import Birth
from keystead.engine.identifiers import RecordKind, record_name
from keystead.engine.plan.common import CrdFacts, NamespaceFacts
from keystead.engine.record import AliasRecord, KeyRecord
from keystead.reconciler.context import Context
from keystead.reconciler.index import asks_aliases
from keystead.reconciler.ports import Kind, ObjectRef


async def key_by_name(context: Context, namespace: str, name: str) -> KeyRecord | None:
    """The record of the KmsKey of this name."""
    held = await context.book.read(context.engine().domain, record_name(RecordKind.KEY, namespace, name), KeyRecord)
    return held.record if held else None


async def key_by_id(context: Context, key_id: str) -> KeyRecord | None:
    """The record of the key with this id, wherever it lies. The index finds it; the record is read and verified."""
    name = context.index.record_of(key_id)
    if name is None:
        return None
    held = await context.book.read(context.engine().domain, name, KeyRecord)
    return held.record if held is not None and held.record.key_id == key_id else None


async def key_of(context: Context, key_id: str, named: KeyRecord | None) -> KeyRecord | None:
    """The record of the key that an alias or a grant names: the one that was read already, where spec names the same."""
    return named if named is not None and named.key_id == key_id else await key_by_id(context, key_id)


async def key_by_alias(context: Context, namespace: str, name: str, namespace_uid: str) -> KeyRecord | None:
    """The key that the KmsAlias object of this name names now; None where it has no claim of this very namespace."""
    for record in context.index.names_of(ObjectRef(Kind.ALIAS, namespace, name)):
        held = await context.book.read(context.engine().domain, record, AliasRecord)
        if held is not None and held.record.bound and held.record.namespace_uid == namespace_uid:
            return await key_by_id(context, held.record.key_id)
    return None


async def aliases_of(context: Context, key: KeyRecord) -> list[AliasRecord]:
    """The records of a key's aliases, each read and verified; none where the key's policy does not look at them."""
    if not asks_aliases(key):
        return []
    domain = context.engine().domain
    read = [await context.book.read(domain, name, AliasRecord) for name in context.index.aliases_of(key.key_id)]
    return [held.record for held in read if held is not None and held.record.namespace_uid == key.namespace_uid]


async def alias_names(context: Context, key: KeyRecord) -> tuple[str, ...]:
    """The names of a key's aliases, for the condition key kms:ResourceAliases."""
    return tuple(sorted(record.alias_name for record in await aliases_of(context, key)))


def birth_under(context: Context, key: KeyRecord, namespace: NamespaceFacts, crd: CrdFacts | None, now: datetime) -> Birth:
    """What the first record of an object that names a key takes from the world: account and region are the key's."""
    return Birth(
        domain=context.engine().domain,
        namespace_uid=namespace.uid,
        crd_uid=crd.uid if crd else "",
        account=key.account,
        region=key.region,
        transition=context.leadership.transition,
        now=now,
    )
