"""Reconcile one KmsKey: gather, plan, apply. Level-based: it looks at what is, not at what happened."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace

from keystead.engine.births import Birth, new_key_record, rotated
from keystead.engine.identifiers import RecordKind, key_id_bytes, new_key_id, record_name
from keystead.engine.plan.common import Obstacle
from keystead.engine.plan.key import (
    CreateKey,
    KeyFacts,
    KeyStep,
    RotateKey,
    WriteKey,
    next_change,
    plan_key,
)
from keystead.engine.ports import Generate, GeneratedMaterial
from keystead.engine.record import KeyRecord
from keystead.engine.view.key import key_notices, key_status
from keystead.errors import InvalidSpecError, KeysteadError
from keystead.reconciler.accounts import Accounts
from keystead.reconciler.book import Held
from keystead.reconciler.context import Context
from keystead.reconciler.outcome import Outcome, obstacle_of, spread
from keystead.reconciler.ports import EventType, Kind, ObjectRef
from keystead.resources.kms_key import KmsKey, KmsKeyStatus, parse_key
from keystead.resources.model import to_wire
from keystead.resources.reasons import Reason

# Passes of one reconcile: a plan makes one step, and the step after the last one is none.
_PASSES = 4


@dataclass(frozen=True, slots=True)
class _Gathered:
    facts: KeyFacts
    held: Held[KeyRecord] | None


class KeyReconciler:
    """`reconcile` is what workers call for a KmsKey."""

    def __init__(self, context: Context, accounts: Accounts) -> None:
        self._context = context
        self._accounts = accounts

    async def reconcile(self, ref: ObjectRef) -> Outcome:
        """One object to what its spec says. StoreError and FencedError pass through; everything else becomes a condition."""
        body = await self._context.objects.get(ref)
        try:
            key = None if body is None else parse_key(body)
        except InvalidSpecError as error:
            await self._context.show_invalid(ref, body or {}, error)
            return Outcome(spread(ref, self._context.refresh_period))
        try:
            gathered = await self._gather(ref, key)
            gathered, obstacle = await self._work(ref, gathered)
        except KeysteadError as error:
            return await self._stopped(ref, key, error)
        if key is not None:
            await self._show(ref, key, gathered, obstacle)
        return Outcome(self._again(ref, gathered))

    async def _gather(self, ref: ObjectRef, key: KmsKey | None) -> _Gathered:
        context, engine = self._context, self._context.engine()
        name = record_name(RecordKind.KEY, ref.namespace, ref.name)
        held, namespace, crd = await asyncio.gather(
            context.book.read(engine.domain, name, KeyRecord),
            context.objects.namespace(ref.namespace),
            context.objects.crd(Kind.KEY),
        )
        protection = None
        if key is not None and held is None:
            protection = await engine.protection(key.spec.key_spec)
        facts = KeyFacts(
            key=key,
            record=held.record if held else None,
            opened=held.opened if held else None,
            namespace=namespace,
            crd=crd,
            now=context.clock.now(),
            region=context.region,
            protection=protection,
        )
        return _Gathered(facts, held)

    async def _work(self, ref: ObjectRef, gathered: _Gathered) -> tuple[_Gathered, Obstacle | None]:
        for _ in range(_PASSES):
            plan = plan_key(gathered.facts)
            if plan.step is None:
                return gathered, plan.obstacle
            held = await self._apply(ref, gathered, plan.step)
            facts = replace(gathered.facts, record=held.record, opened=held.opened, now=self._context.clock.now())
            gathered = _Gathered(facts, held)
        return gathered, None

    async def _apply(self, ref: ObjectRef, gathered: _Gathered, step: KeyStep) -> Held[KeyRecord]:
        engine, held = self._context.engine(), gathered.held
        match step:
            case CreateKey():
                return await self._create(ref, gathered, step)
            case WriteKey(record):
                assert held is not None
                return await self._context.book.replace(engine.domain, RecordKind.KEY, held, record)
            case RotateKey(record, request):
                assert held is not None
                call = Generate(key_id_bytes(record.key_id), record.spec, record.protection, record.usage)
                made = await engine.slow(call)
                assert isinstance(made, GeneratedMaterial)
                following = rotated(record, made, gathered.facts.now, request)
                return await self._context.book.replace(engine.domain, RecordKind.KEY, held, following)

    async def _create(self, ref: ObjectRef, gathered: _Gathered, step: CreateKey) -> Held[KeyRecord]:
        """One atomic create: the material dies with the process if it does not happen."""
        context, engine, facts = self._context, self._context.engine(), gathered.facts
        assert facts.key is not None
        assert facts.namespace is not None
        if facts.crd is None:
            raise KeysteadError("the CRD of KmsKey is absent")
        transition = context.leadership.transition
        account = await self._accounts.claim(
            engine.domain, ref.namespace, facts.namespace.uid, transition, facts.now
        )
        key_id = new_key_id(context.entropy(16))
        birth = Birth(
            domain=engine.domain,
            namespace_uid=facts.namespace.uid,
            crd_uid=facts.crd.uid,
            account=account,
            region=facts.region,
            transition=transition,
            now=facts.now,
        )
        spec = facts.key.spec
        call = Generate(key_id_bytes(key_id), spec.key_spec, step.protection, spec.key_usage)
        made = await engine.slow(call)
        assert isinstance(made, GeneratedMaterial)
        record = new_key_record(birth, facts.key, key_id, step.draft, step.protection, made)
        name = record_name(RecordKind.KEY, ref.namespace, ref.name)
        return await context.book.create(engine.domain, RecordKind.KEY, name, record)

    async def _show(
        self, ref: ObjectRef, key: KmsKey, gathered: _Gathered, obstacle: Obstacle | None
    ) -> None:
        """Events first, then status: a kill in between emits the same event again, and the API server knows it."""
        record, opened = gathered.facts.record, gathered.facts.opened
        status = key_status(key, record, opened, obstacle, self._context.clock.now().replace(microsecond=0))
        for notice in key_notices(key, record, obstacle):
            kind = EventType.WARNING if notice.warning else EventType.NORMAL
            await self._context.objects.event(ref, key.metadata.uid, notice.reason, notice.message, kind, notice.once)
        await self._write_status(ref, key, status)

    async def _write_status(self, ref: ObjectRef, key: KmsKey, status: KmsKeyStatus) -> None:
        if status != key.status:
            await self._context.write_status(ref, key.metadata.uid, to_wire(status))

    async def _stopped(self, ref: ObjectRef, key: KmsKey | None, error: KeysteadError) -> Outcome:
        found = obstacle_of(error)
        if found is None:
            raise error
        obstacle, soon = found
        if obstacle.reason is Reason.TARGET_FORBIDDEN:
            # A key has no target Secret: what is forbidden here are its records.
            obstacle = Obstacle(Reason.ENGINE_UNAVAILABLE, obstacle.message)
        if key is not None:
            gathered = _Gathered(_no_facts(key, self._context), None)
            await self._show(ref, key, gathered, obstacle)
        return Outcome(spread(ref, self._context.refresh_period), failed=soon)

    def _again(self, ref: ObjectRef, gathered: _Gathered) -> float | None:
        facts, delay = gathered.facts, spread(ref, self._context.refresh_period)
        if facts.key is None and (facts.record is None or not facts.record.bound):
            return None
        now = self._context.clock.now()
        change = next_change(facts.key, facts.record, now)
        return delay if change is None else min(delay, (change - now).total_seconds() + 0.05)


def _no_facts(key: KmsKey, context: Context) -> KeyFacts:
    return KeyFacts(
        key=key, record=None, opened=None, namespace=None, crd=None, now=context.clock.now(), region=context.region
    )
