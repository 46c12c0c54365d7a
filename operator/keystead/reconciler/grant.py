"""The life of a KmsGrant in a cluster: what its plan needs, and how its steps are done."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from keystead.engine.births import new_grant_record
from keystead.engine.identifiers import RecordKind, record_name
from keystead.engine.plan.common import Obstacle
from keystead.engine.plan.grant import (
    DropGrant,
    GrantFacts,
    GrantPlan,
    GrantStep,
    MakeGrant,
    WriteGrant,
    next_change,
    plan_grant,
)
from keystead.engine.record import GrantRecord
from keystead.engine.view.common import Notice
from keystead.engine.view.grant import grant_notices, grant_status
from keystead.reconciler.book import Held
from keystead.reconciler.context import Context
from keystead.reconciler.lookup import birth_under, key_by_name, key_of
from keystead.reconciler.objectpolicy import grant_denied
from keystead.reconciler.outcome import StoppedError
from keystead.reconciler.ports import Kind, ObjectRef
from keystead.resources.kms_grant import KmsGrant, KmsGrantStatus, parse_grant


@dataclass(frozen=True, slots=True)
class Gathered:
    """The facts of a pass, and the record with what is needed to replace it."""

    facts: GrantFacts
    held: Held[GrantRecord] | None = None


class GrantLife:
    """`driver.Life` of KmsGrant."""

    kind = Kind.GRANT

    def __init__(self, context: Context) -> None:
        self._context = context

    def parse(self, body: Mapping[str, Any]) -> KmsGrant:
        """A KmsGrant."""
        return parse_grant(body)

    def nothing(self, found: KmsGrant) -> Gathered:
        """No facts."""
        return Gathered(
            GrantFacts(
                grant=found,
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

    async def gather(self, ref: ObjectRef, found: KmsGrant | None) -> Gathered:
        """Record, key, namespace and CRD."""
        context, domain = self._context, self._context.engine().domain
        held, namespace, crd = await asyncio.gather(
            context.book.read(domain, record_name(RecordKind.GRANT, ref.namespace, ref.name), GrantRecord),
            context.objects.namespace(ref.namespace),
            context.objects.crd(Kind.GRANT),
        )
        key, destroyed = None, None
        if found is not None:
            named = ObjectRef(Kind.KEY, ref.namespace, found.spec.key_ref.name)
            key = await key_by_name(context, named.namespace, named.name)
            destroyed = context.index.destroyed_at(named, namespace.uid) if namespace is not None else None
        facts = GrantFacts(
            grant=found,
            record=held.record if held else None,
            opened=held.opened if held else None,
            namespace=namespace,
            crd=crd,
            key=key,
            target=None if held is None else await key_of(context, held.record.key_id, key),
            destroyed_at=destroyed,
            now=context.clock.now(),
            grants=0 if key is None else context.index.count(Kind.GRANT, key.key_id),
        )
        return Gathered(facts, held)

    def plan(self, gathered: Gathered) -> GrantPlan:
        """plan_grant."""
        return plan_grant(gathered.facts)

    async def apply(self, ref: ObjectRef, gathered: Gathered, step: GrantStep) -> Gathered:
        """One step."""
        context, held = self._context, gathered.held
        match step:
            case MakeGrant():
                held = await self._make(ref, gathered, step)
            case WriteGrant(wanted):
                assert held is not None
                held = await context.book.replace(context.engine().domain, RecordKind.GRANT, held, wanted)
            case DropGrant():
                assert held is not None
                await context.book.delete(held)
                held = None
        record = None if held is None else held.record
        target = None if record is None else await key_of(context, record.key_id, gathered.facts.key)
        opened = None if held is None else held.opened
        facts = replace(gathered.facts, record=record, opened=opened, target=target, now=context.clock.now())
        return Gathered(facts, held)

    async def _make(self, ref: ObjectRef, gathered: Gathered, step: MakeGrant) -> Held[GrantRecord]:
        context, facts = self._context, gathered.facts
        assert facts.grant is not None
        assert facts.namespace is not None
        obstacle = await grant_denied(context, step.key, facts.grant, step.terms, facts.now)
        if obstacle is not None:
            raise StoppedError(obstacle)
        domain = context.engine().domain
        birth = birth_under(context, step.key, facts.namespace, facts.crd, facts.now)
        record = new_grant_record(birth, facts.grant, step.key.key_id, step.terms, context.entropy(32))
        return await context.book.create(domain, RecordKind.GRANT, record_name(RecordKind.GRANT, ref.namespace, ref.name), record)

    def status(self, found: KmsGrant, gathered: Gathered, obstacle: Obstacle | None, now: datetime) -> KmsGrantStatus:
        """grant_status."""
        return grant_status(found, gathered.facts.record, gathered.facts.opened, obstacle, now)

    def notices(self, found: KmsGrant, gathered: Gathered, obstacle: Obstacle | None) -> list[Notice]:
        """grant_notices."""
        return grant_notices(found, gathered.facts.record, obstacle)

    def waits(self, found: KmsGrant | None, gathered: Gathered) -> bool:
        """Without an object while its record is there: the object may be seen again, or its CRD."""
        return found is not None or gathered.facts.record is not None

    def next_change(self, found: KmsGrant | None, gathered: Gathered, now: datetime) -> datetime | None:
        """The end of the grant."""
        return next_change(gathered.facts.record, now)
