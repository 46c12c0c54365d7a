"""The life of a KmsAlias in a cluster: what its plan needs, and how its steps are done."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from keystead.engine.births import new_alias_record
from keystead.engine.identifiers import RecordKind, record_name
from keystead.engine.plan.alias import AliasFacts, AliasPlan, AliasStep, ClaimAlias, DropAlias, WriteAlias, plan_alias
from keystead.engine.plan.common import NamespaceFacts, Obstacle
from keystead.engine.record import AliasRecord, KeyRecord
from keystead.engine.view.alias import alias_notices, alias_status
from keystead.engine.view.common import Notice
from keystead.reconciler.book import Held
from keystead.reconciler.context import Context
from keystead.reconciler.lookup import birth_under, key_by_name, key_of
from keystead.reconciler.objectpolicy import alias_denied
from keystead.reconciler.outcome import StoppedError
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
        context = self._context
        namespace, crd = await asyncio.gather(context.objects.namespace(ref.namespace), context.objects.crd(Kind.ALIAS))
        key = None if found is None else await key_by_name(context, ref.namespace, found.spec.key_ref.name)
        claims = await self._claims(ref)
        # A namespace that was made again has claims of its own beside the earlier one's.
        own = [each for each in claims if namespace is not None and each.record.namespace_uid == namespace.uid]
        held = await self._claim_on(found, key, own) if found is not None else next(iter([*own, *claims]), None)
        destroyed = None
        if found is not None and namespace is not None:
            named = ObjectRef(Kind.KEY, ref.namespace, found.spec.key_ref.name)
            destroyed = context.index.destroyed_at(named, namespace.uid)
        facts = AliasFacts(
            alias=found,
            record=held.record if held else None,
            opened=held.opened if held else None,
            left=() if found is None else _left(claims, own, held, key, namespace),
            namespace=namespace,
            crd=crd,
            key=key,
            target=None if held is None else await key_of(context, held.record.key_id, key),
            destroyed_at=destroyed,
            now=context.clock.now(),
            aliases=0 if key is None else context.index.count(Kind.ALIAS, key.key_id),
        )
        return Gathered(facts, held)

    async def _claims(self, ref: ObjectRef) -> list[Held[AliasRecord]]:
        """What objects of this name claimed. The index finds them; they are read and verified."""
        domain, names = self._context.engine().domain, self._context.index.names_of(ref)
        found = [await self._context.book.read(domain, name, AliasRecord) for name in names]
        return [held for held in found if held is not None]

    async def _claim_on(self, alias: KmsAlias, key: KeyRecord | None, own: list[Held[AliasRecord]]) -> Held[AliasRecord] | None:
        """What claims the name that the object says. Its own claim stands as long as no key, or one of another region, is named."""
        mine = next((each for each in own if each.record.alias_name == alias.spec.alias_name), None)
        if key is None or (mine is not None and mine.record.region != key.region):
            return mine
        name = record_name(RecordKind.ALIAS, key.account, key.region, alias.spec.alias_name)
        if mine is not None and mine.opened.name == name:
            return mine
        return await self._context.book.read(self._context.engine().domain, name, AliasRecord)

    def plan(self, gathered: Gathered) -> AliasPlan:
        """plan_alias."""
        return plan_alias(gathered.facts)

    async def apply(self, ref: ObjectRef, gathered: Gathered, step: AliasStep) -> Gathered:
        """One step."""
        context, domain = self._context, self._context.engine().domain
        facts, held = gathered.facts, gathered.held
        match step:
            case ClaimAlias(key):
                await self._ask(facts)
                held = await self._claim(gathered, key)
            case WriteAlias(wanted):
                assert held is not None
                if wanted.key_id != held.record.key_id:
                    await self._ask(facts)
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
        target = None if record is None else await key_of(context, record.key_id, facts.key)
        facts = replace(facts, record=record, opened=held.opened if held else None, target=target, now=context.clock.now())
        return Gathered(facts, held)

    async def _ask(self, facts: AliasFacts) -> None:
        """StoppedError where a policy denies it: the name stays free, or with the key that it has."""
        obstacle = await alias_denied(self._context, facts)
        if obstacle is not None:
            raise StoppedError(obstacle)

    async def _claim(self, gathered: Gathered, key: KeyRecord) -> Held[AliasRecord]:
        context, facts = self._context, gathered.facts
        assert facts.alias is not None
        assert facts.namespace is not None
        domain = context.engine().domain
        birth = birth_under(context, key, facts.namespace, facts.crd, facts.now)
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


def _left(
    claims: list[Held[AliasRecord]],
    own: list[Held[AliasRecord]],
    held: Held[AliasRecord] | None,
    key: KeyRecord | None,
    namespace: NamespaceFacts | None,
) -> tuple[str, ...]:
    """Claims of this object on other names than the one that it has or wants: it was made again, or its key's account changed.

    Of an earlier namespace's claims only those that name this very key: it was adopted, and would have a dependant for ever.
    """
    kept = None if held is None else held.opened.name
    adopted = key is not None and namespace is not None and key.namespace_uid == namespace.uid
    moved = [each for each in claims if each not in own and adopted and key is not None and each.record.key_id == key.key_id]
    return tuple(each.opened.name for each in [*own, *moved] if each.opened.name != kept)
