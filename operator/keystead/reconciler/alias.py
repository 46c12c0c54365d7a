"""The life of a KmsAlias in a cluster: what its plan needs, and how its steps are done."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from keystead.engine.births import Birth, new_alias_record
from keystead.engine.identifiers import RecordKind, record_name
from keystead.engine.plan.alias import AliasFacts, AliasPlan, AliasStep, ClaimAlias, DropAlias, WriteAlias, plan_alias
from keystead.engine.plan.common import NamespaceFacts, Obstacle
from keystead.engine.record import AliasRecord, KeyRecord
from keystead.engine.view.alias import alias_notices, alias_status
from keystead.engine.view.common import Notice
from keystead.reconciler.book import Held
from keystead.reconciler.context import Context
from keystead.reconciler.lookup import key_by_id, key_by_name
from keystead.reconciler.ports import Kind, ObjectRef
from keystead.resources.kms_alias import KmsAlias, KmsAliasStatus, parse_alias


@dataclass(frozen=True, slots=True)
class Gathered:
    """The facts of a pass, and the record with what is needed to replace it."""

    facts: AliasFacts
    held: Held[AliasRecord] | None = None


class AliasLife:
    """`driver.Life` of KmsAlias."""

    kind = Kind.ALIAS

    def __init__(self, context: Context) -> None:
        self._context = context

    def parse(self, body: Mapping[str, Any]) -> KmsAlias:
        """A KmsAlias."""
        return parse_alias(body)

    def nothing(self, found: KmsAlias) -> Gathered:
        """No facts."""
        return Gathered(
            AliasFacts(
                alias=found,
                record=None,
                opened=None,
                namespace=None,
                crd=None,
                key=None,
                target=None,
                destroyed_at=None,
                now=self._context.clock.now(),
            )
        )

    async def gather(self, ref: ObjectRef, found: KmsAlias | None) -> Gathered:
        """The key, the claim on the name, what else this object claimed, namespace and CRD."""
        context, domain = self._context, self._context.engine().domain
        namespace, crd = await asyncio.gather(context.objects.namespace(ref.namespace), context.objects.crd(Kind.ALIAS))
        key = None if found is None else await key_by_name(context, ref.namespace, found.spec.key_ref.name)
        claimed = context.index.names_of(ref)
        wanted = _record_of(found, key) if found is not None else await self._claim_here(claimed, namespace)
        if wanted is None and claimed:
            wanted = claimed[0]
        held = None if wanted is None else await context.book.read(domain, wanted, AliasRecord)
        destroyed = None
        if found is not None:
            destroyed = context.index.destroyed_at(ObjectRef(Kind.KEY, ref.namespace, found.spec.key_ref.name))
        facts = AliasFacts(
            alias=found,
            record=held.record if held else None,
            opened=held.opened if held else None,
            left=await self._left(found, claimed, wanted, namespace.uid if namespace else ""),
            namespace=namespace,
            crd=crd,
            key=key,
            target=None if held is None else await key_by_id(context, held.record.key_id),
            destroyed_at=destroyed,
            now=context.clock.now(),
        )
        return Gathered(facts, held)

    async def _claim_here(self, claimed: tuple[str, ...], namespace: NamespaceFacts | None) -> str | None:
        """The first claim of this very namespace: a made-again one has claims of its own beside the earlier one's."""
        for name in claimed:
            held = await self._context.book.read(self._context.engine().domain, name, AliasRecord)
            if held is not None and namespace is not None and held.record.namespace_uid == namespace.uid:
                return name
        return None

    async def _left(self, found: KmsAlias | None, claimed: tuple[str, ...], wanted: str | None, uid: str) -> tuple[str, ...]:
        """Claims of this very object, or of one that bore its name in this namespace, on other names than the one it says now."""
        if found is None:
            return ()
        left = []
        for name in claimed:
            if name == wanted:
                continue
            held = await self._context.book.read(self._context.engine().domain, name, AliasRecord)
            another = held is not None and held.record.alias_name != found.spec.alias_name
            moved = held is not None and wanted is not None
            if held is not None and held.record.namespace_uid == uid and (another or moved):
                left.append(name)
        return tuple(left)

    def plan(self, gathered: Gathered) -> AliasPlan:
        """plan_alias."""
        return plan_alias(gathered.facts)

    async def apply(self, ref: ObjectRef, gathered: Gathered, step: AliasStep) -> Gathered:
        """One step."""
        context, domain = self._context, self._context.engine().domain
        facts, held = gathered.facts, gathered.held
        match step:
            case ClaimAlias(key):
                held = await self._claim(gathered, key)
            case WriteAlias(wanted):
                assert held is not None
                held = await context.book.replace(domain, RecordKind.ALIAS, held, wanted)
            case DropAlias(""):
                assert held is not None
                await context.book.delete(held)
                if facts.alias is None:
                    return await self.gather(ref, None)
                held = None
            case DropAlias(name):
                other = await context.book.read(domain, name, AliasRecord)
                if other is not None:
                    await context.book.delete(other)
                facts = replace(facts, left=tuple(each for each in facts.left if each != name))
        record = held.record if held else None
        target = None if record is None else await key_by_id(context, record.key_id)
        facts = replace(facts, record=record, opened=held.opened if held else None, target=target, now=context.clock.now())
        return Gathered(facts, held)

    async def _claim(self, gathered: Gathered, key: KeyRecord) -> Held[AliasRecord]:
        context, facts = self._context, gathered.facts
        assert facts.alias is not None
        assert facts.namespace is not None
        domain = context.engine().domain
        birth = Birth(
            domain=domain,
            namespace_uid=facts.namespace.uid,
            crd_uid=facts.crd.uid if facts.crd else "",
            account=key.account,
            region=key.region,
            transition=context.leadership.transition,
            now=facts.now,
        )
        record = new_alias_record(birth, facts.alias, key.key_id)
        name = record_name(RecordKind.ALIAS, key.account, key.region, facts.alias.spec.alias_name)
        return await context.book.create(domain, RecordKind.ALIAS, name, record)

    def status(self, found: KmsAlias, gathered: Gathered, obstacle: Obstacle | None, now: datetime) -> KmsAliasStatus:
        """alias_status."""
        return alias_status(found, gathered.facts.record, gathered.facts.opened, obstacle, now)

    def notices(self, found: KmsAlias, gathered: Gathered, obstacle: Obstacle | None) -> list[Notice]:
        """alias_notices."""
        return alias_notices(found, gathered.facts.record, obstacle)

    def waits(self, found: KmsAlias | None, gathered: Gathered) -> bool:
        """Without an object while its record is there: the object may be seen again, or its CRD."""
        return found is not None or gathered.facts.record is not None

    def next_change(self, found: KmsAlias | None, gathered: Gathered, now: datetime) -> datetime | None:
        """Time alone changes nothing."""
        return None


def _record_of(alias: KmsAlias | None, key: KeyRecord | None) -> str | None:
    if alias is None or key is None:
        return None
    return record_name(RecordKind.ALIAS, key.account, key.region, alias.spec.alias_name)
