"""The life of a KmsKey in a cluster: what its plan needs, and how its steps are done."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from msgspec import UNSET
from msgspec.structs import replace as changed

from keystead.engine.births import Birth, new_key_record, rotated
from keystead.engine.clock import parse_time
from keystead.engine.identifiers import RecordKind, key_id_bytes, new_key_id, orphan_name, record_name
from keystead.engine.plan.common import Dependants, NamespaceFacts, Obstacle, namespace_obstacle
from keystead.engine.plan.key import (
    AdoptKey,
    CreateKey,
    DestroyKey,
    KeyFacts,
    KeyPlan,
    KeyStep,
    RotateKey,
    SetFinalizer,
    WriteKey,
    next_change,
    nothing_is_held,
    plan_key,
)
from keystead.engine.plan.key_life import set_aside, tombstone, waits_for
from keystead.engine.plan.key_settings import policy_bytes, strict_policy
from keystead.engine.ports import Generate, GeneratedMaterial, Import
from keystead.engine.record import KeyRecord
from keystead.engine.view.common import Notice
from keystead.engine.view.key import key_notices, key_status
from keystead.errors import ConflictError, KeysteadError, RecordIntegrityError
from keystead.reconciler.accounts import Accounts
from keystead.reconciler.aside import end_copy
from keystead.reconciler.book import Held
from keystead.reconciler.context import Context
from keystead.reconciler.keypolicy import fault_at_birth, fault_of, remark_on, speaks_of_people
from keystead.reconciler.ports import Kind, ObjectRef, Seed
from keystead.resources import names
from keystead.resources.kms_key import KmsKey, KmsKeyStatus, parse_key
from keystead.resources.vocabulary import KeyState, Protection


@dataclass(frozen=True, slots=True)
class Gathered:
    """The facts of a pass, and the record with what is needed to replace it. born_fault: what is wrong with the policy of a new key.

    people: the account that people are of, where the policy speaks of some
    """

    facts: KeyFacts
    held: Held[KeyRecord] | None = None
    born_fault: str = ""
    people: str = ""


class KeyLife:
    """`driver.Life` of KmsKey."""

    kind = Kind.KEY

    def __init__(self, context: Context, accounts: Accounts) -> None:
        self._context = context
        self._accounts = accounts

    def parse(self, body: Mapping[str, Any]) -> KmsKey:
        """A KmsKey."""
        return parse_key(body)

    def nothing(self, found: KmsKey) -> Gathered:
        """No facts."""
        facts = KeyFacts(
            key=found,
            record=None,
            opened=None,
            namespace=None,
            crd=None,
            now=self._context.clock.now(),
            region=self._context.region,
        )
        return Gathered(facts)

    async def gather(self, ref: ObjectRef, found: KmsKey | None) -> Gathered:
        """Record, namespace, CRD, dependants, and whether a window is over."""
        try:
            return await self._gather(ref, found)
        except KeysteadError:
            await self._release(ref, found)
            raise

    async def _release(self, ref: ObjectRef, found: KmsKey | None) -> None:
        """A token that is away, or a record that does not verify, must not hold a namespace that ends."""
        if found is None or not found.metadata.terminating or names.IN_USE not in found.metadata.finalizers:
            return
        objects = self._context.objects
        if nothing_is_held(await objects.namespace(ref.namespace), await objects.crd(Kind.KEY)):
            await self._set_finalizer(ref, self.nothing(found), present=False)

    async def _gather(self, ref: ObjectRef, found: KmsKey | None) -> Gathered:
        context, engine = self._context, self._context.engine()
        # An object that shows no record and for which none was listed is a new one: its create is the read.
        fresh = found is not None and found.status.record_seq is UNSET and found.status.key_id is UNSET
        read = context.book.read_unless_absent if fresh else context.book.read
        held, namespace, crd = await asyncio.gather(
            read(engine.domain, record_name(RecordKind.KEY, ref.namespace, ref.name), KeyRecord),
            context.objects.namespace(ref.namespace),
            context.objects.crd(Kind.KEY),
        )
        may_be_born = found is not None and (held is None or _may_be_remade(found))
        facts = KeyFacts(
            key=found,
            record=held.record if held else None,
            opened=held.opened if held else None,
            namespace=namespace,
            crd=crd,
            now=context.clock.now(),
            region=context.region,
            protection=await engine.protection(found.spec.key_spec) if found is not None and may_be_born else None,
            keys=(0 if namespace is None else context.index.count(Kind.KEY, namespace.uid), context.keys_per_namespace),
        )
        fault = await self._fault_at_birth(found, namespace) if found is not None and may_be_born else ""
        return self._with_world(Gathered(facts, held, fault, await self._people(found, facts.record)))

    async def _people(self, found: KmsKey | None, record: KeyRecord | None) -> str:
        """Without an install record nobody knows: that is told by who needs it to make something."""
        if not speaks_of_people(found, record):
            return ""
        try:
            return await self._accounts.of_people(self._context.engine().domain)
        except RecordIntegrityError:
            return ""

    async def _fault_at_birth(self, found: KmsKey, namespace: NamespaceFacts | None) -> str:
        if found.spec.policy is UNSET or namespace is None or namespace.terminating:
            return ""
        context = self._context
        account = await self._accounts.foreseen(context.engine().domain, found.metadata.namespace, namespace.uid)
        return fault_at_birth(found, context.region, account)

    def _with_world(self, gathered: Gathered) -> Gathered:
        """What is remembered of other records, and of time, about the record as it is now."""
        context, record, now = self._context, gathered.facts.record, self._context.clock.now()
        dependants, over = Dependants(), False
        if record is not None:
            dependants = context.index.dependants(record.key_id, record.namespace)
            if record.deletion_date is not UNSET:
                over = context.windows.over(record.key_id, parse_time(record.deletion_date), now)
            else:
                context.windows.forget(record.key_id)
        facts = replace(gathered.facts, now=now, dependants=dependants, window_over=over, policy_fault=_fault(gathered))
        return replace(gathered, facts=facts)

    def plan(self, gathered: Gathered) -> KeyPlan:
        """plan_key."""
        return plan_key(gathered.facts)

    async def apply(self, ref: ObjectRef, gathered: Gathered, step: KeyStep) -> Gathered:
        """One step."""
        match step:
            case SetFinalizer(present):
                return await self._set_finalizer(ref, gathered, present=present)
            case _:
                held = await self._write(ref, gathered, step)
        facts = replace(gathered.facts, record=held.record, opened=held.opened)
        return self._with_world(replace(gathered, facts=facts, held=held))

    async def _write(
        self, ref: ObjectRef, gathered: Gathered, step: CreateKey | WriteKey | RotateKey | AdoptKey | DestroyKey
    ) -> Held[KeyRecord]:
        context, engine, held = self._context, self._context.engine(), gathered.held
        if isinstance(step, CreateKey):
            return await self._create(ref, gathered, step)
        assert held is not None
        match step:
            case WriteKey(record):
                pass
            case RotateKey(record, request):
                call = Generate(key_id_bytes(record.key_id), record.spec, record.protection, record.usage)
                made = await engine.slow(call)
                assert isinstance(made, GeneratedMaterial)
                record = rotated(record, made, gathered.facts.now, request)
            case AdoptKey(uid):
                account = await self._accounts.adopt(
                    engine.domain, ref.namespace, uid, held.record.account, context.leadership.transition
                )
                record = changed(held.record, namespace_uid=uid, account=account)
            case DestroyKey():
                await end_copy(context, held.record.key_id)
                record = tombstone(held.record, gathered.facts.now)
        written = await context.book.replace(engine.domain, RecordKind.KEY, held, record)
        if isinstance(step, DestroyKey):
            # Order: tombstone, then material (RECORDS). Its wrapped form is gone with the record; this is its unwrapped one.
            engine.forget(key_id_bytes(record.key_id))
            context.windows.forget(record.key_id)
        return written

    async def _create(self, ref: ObjectRef, gathered: Gathered, step: CreateKey) -> Held[KeyRecord]:
        """One atomic create, or the replacement of a record that was set aside: the material dies with the process if it fails."""
        context, engine, facts = self._context, self._context.engine(), gathered.facts
        assert facts.key is not None
        assert facts.namespace is not None
        if facts.crd is None:
            raise KeysteadError("the CRD of KmsKey is absent")
        if step.aside:
            await self._set_aside(gathered)
        account = await self._accounts.claim(
            engine.domain, ref.namespace, facts.namespace.uid, context.leadership.transition, facts.now
        )
        # A seed is of the first key of a name: one that takes the place of another must not have its id.
        seed = None if step.aside else context.seeds(ref)
        key_id = seed.key_id if seed and seed.key_id else new_key_id(context.entropy(16))
        birth = Birth(
            domain=engine.domain,
            namespace_uid=facts.namespace.uid,
            crd_uid=facts.crd.uid,
            account=account,
            region=facts.region,
            transition=context.leadership.transition,
            now=facts.now,
        )
        made = await engine.slow(_birth_call(facts.key, key_id, step.protection, seed))
        assert isinstance(made, GeneratedMaterial)
        draft = step.draft
        if context.strict_policies and draft.policy is UNSET:
            # Written out: who changes the setting later opens and closes no key that is there.
            draft = replace(draft, policy=policy_bytes(strict_policy(account)))
        record = new_key_record(birth, facts.key, key_id, draft, step.protection, made)
        if step.aside:
            assert gathered.held is not None
            return await context.book.replace(engine.domain, RecordKind.KEY, gathered.held, record)
        return await context.book.create(engine.domain, RecordKind.KEY, record_name(RecordKind.KEY, ref.namespace, ref.name), record)

    async def _set_aside(self, gathered: Gathered) -> None:
        """Write the record under `orphan-<id>` and read it back, before its place is taken. A kill in between finds it there."""
        context, domain, held = self._context, self._context.engine().domain, gathered.held
        assert held is not None
        name, record = orphan_name(held.record.key_id), set_aside(held.record)
        moved = changed(record, seq=held.record.seq + 1, prev=held.opened.digest, transition=context.leadership.transition)
        try:
            await context.book.create(domain, RecordKind.KEY, name, moved)
        except ConflictError:
            # Of a move that was broken off. The record may have changed since.
            copy = await context.book.read(domain, name, KeyRecord)
            if copy is not None and not _says(copy.record, record):
                await context.book.replace(domain, RecordKind.KEY, copy, record)
        found = await context.book.read(domain, name, KeyRecord)
        if found is None or not _says(found.record, record):
            raise RecordIntegrityError(f"record {name} is not the one that was to be set aside")

    async def _set_finalizer(self, ref: ObjectRef, gathered: Gathered, *, present: bool) -> Gathered:
        key = gathered.facts.key
        assert key is not None
        kept = tuple(name for name in key.metadata.finalizers if name != names.IN_USE)
        after = (*kept, names.IN_USE) if present else kept
        self._context.leadership.check()
        await self._context.objects.set_finalizers(ref, key.metadata.uid, key.metadata.resource_version, after)
        facts = replace(gathered.facts, key=changed(key, metadata=changed(key.metadata, finalizers=after)))
        return replace(gathered, facts=facts)

    def status(self, found: KmsKey, gathered: Gathered, obstacle: Obstacle | None, now: datetime) -> KmsKeyStatus:
        """key_status, of the object with the finalizers that it has now. One that this pass deleted, or let go, has none any more."""
        facts = gathered.facts
        if facts.key is not None and _let_go(found, facts.key):
            return found.status
        remark = remark_on(facts.record, gathered.people)
        return key_status(facts.key or found, facts.record, facts.opened, obstacle, now, facts.dependants, remark)

    def notices(self, found: KmsKey, gathered: Gathered, obstacle: Obstacle | None) -> list[Notice]:
        """key_notices."""
        record = gathered.facts.record
        return key_notices(found, record, obstacle, remark_on(record, gathered.people))

    def waits(self, found: KmsKey | None, gathered: Gathered) -> bool:
        """A record without an object waits while it is bound (its object may be seen again) or a window may begin or end."""
        record = gathered.facts.record
        if found is not None or record is None:
            return found is not None
        return waits_for(record) or (record.bound and record.state is not KeyState.DESTROYED)

    def next_change(self, found: KmsKey | None, gathered: Gathered, now: datetime) -> datetime | None:
        """The next rotation, or the next look at a window."""
        record = gathered.facts.record
        if record is not None and record.deletion_date is not UNSET:
            return self._context.windows.next_look(record.key_id, parse_time(record.deletion_date), now)
        return next_change(found, record, now)


def _birth_call(key: KmsKey, key_id: str, protection: Protection, seed: Seed | None) -> Generate | Import:
    spec = key.spec
    if seed is None or seed.material is None:
        return Generate(key_id_bytes(key_id), spec.key_spec, protection, spec.key_usage)
    return Import(key_id_bytes(key_id), spec.key_spec, protection, spec.key_usage, seed.material)


def _fault(gathered: Gathered) -> str:
    """Of the key that the object has, or of the new one that takes the place of an ended or an earlier namespace's."""
    facts = gathered.facts
    if facts.key is None:
        return ""
    record = facts.record
    if record is None or record.state is KeyState.DESTROYED or namespace_obstacle(record, facts.namespace) is not None:
        return gathered.born_fault
    return fault_of(facts.key, record)


def _may_be_remade(key: KmsKey) -> bool:
    asked = key.metadata.annotations
    return names.ADOPT in asked or names.NEW_KEY_AFTER_DESTRUCTION in asked


def _let_go(found: KmsKey, now: KmsKey) -> bool:
    """Whether the object went by what this pass did."""
    if not now.metadata.terminating or now.metadata.finalizers:
        return False
    return not found.metadata.terminating or bool(found.metadata.finalizers)


def _says(copy: KeyRecord, record: KeyRecord) -> bool:
    """Whether a copy says what the record says, but for its own chain."""
    return changed(copy, seq=record.seq, prev=record.prev, transition=record.transition) == record
