"""Reconcile one KmsDataKey: gather, plan, apply. The record comes first; the Secret is a copy of it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace

from msgspec import UNSET
from msgspec.structs import replace as replace_record

from keystead.engine.births import Birth, archived, data_key_version, issued_again, new_data_key_record, rewrapped
from keystead.engine.identifiers import RecordKind, archive_name, record_name
from keystead.engine.plan.common import Obstacle
from keystead.engine.plan.data_key import (
    Archive,
    DataKeyFacts,
    Deliver,
    Issue,
    Rewrap,
    WriteDataKey,
    next_change,
    plan_data_key,
    rotate_request,
    spec_name,
)
from keystead.engine.plan.secret import DesiredSecret, SecretFacts
from keystead.engine.record import DataKeyRecord, KeyRecord
from keystead.engine.view.data_key import data_key_notices, data_key_status
from keystead.errors import (
    ConflictError,
    ForbiddenError,
    InvalidSpecError,
    KeysteadError,
    RecordIntegrityError,
    RefusedError,
)
from keystead.reconciler import pipeline
from keystead.reconciler.book import Held
from keystead.reconciler.context import Context
from keystead.reconciler.outcome import Outcome, obstacle_of, spread
from keystead.reconciler.ports import EventType, Kind, ObjectRef
from keystead.resources.kms_data_key import KmsDataKey, parse_data_key
from keystead.resources.model import to_wire
from keystead.resources.reasons import Reason

# A pass makes one step: issue, deliver, remember the Secret, and a few re-wraps.
_PASSES = 8


@dataclass(frozen=True, slots=True)
class _Gathered:
    facts: DataKeyFacts
    held: Held[DataKeyRecord] | None


class DataKeyReconciler:
    """`reconcile` is what workers call for a KmsDataKey."""

    def __init__(self, context: Context) -> None:
        self._context = context

    async def reconcile(self, ref: ObjectRef) -> Outcome:
        """One object to what its spec says. StoreError and FencedError pass through; everything else becomes a condition."""
        body = await self._context.objects.get(ref)
        try:
            data_key = None if body is None else parse_data_key(body)
        except InvalidSpecError as error:
            await self._context.show_invalid(ref, body or {}, error)
            return Outcome(spread(ref, self._context.refresh_period))
        try:
            gathered = await self._gather(ref, data_key)
            gathered, obstacle, more = await self._work(ref, gathered)
        except KeysteadError as error:
            return await self._stopped(ref, data_key, error)
        if data_key is not None:
            await self._show(ref, data_key, gathered, obstacle)
        return Outcome(0.0 if more else self._again(ref, data_key, gathered))

    async def _gather(self, ref: ObjectRef, data_key: KmsDataKey | None) -> _Gathered:
        context, domain = self._context, self._context.engine().domain
        name = record_name(RecordKind.DATAKEY, ref.namespace, ref.name)
        held, namespace, crd, key, secret = await asyncio.gather(
            context.book.read(domain, name, DataKeyRecord),
            context.objects.namespace(ref.namespace),
            context.objects.crd(Kind.DATA_KEY),
            self._key(ref, data_key),
            self._secret(ref, data_key),
        )
        facts = DataKeyFacts(
            data_key=data_key,
            record=held.record if held else None,
            opened=held.opened if held else None,
            namespace=namespace,
            crd=crd,
            key=key,
            secret=secret,
            now=context.clock.now(),
        )
        return _Gathered(facts, held)

    async def _key(self, ref: ObjectRef, data_key: KmsDataKey | None) -> KeyRecord | None:
        """The record of the key in this namespace that spec.keyRef names. A reference abroad reads nothing."""
        if data_key is None or data_key.spec.key_ref is UNSET:
            return None
        if data_key.spec.key_ref.namespace not in (UNSET, ref.namespace):
            return None
        name = record_name(RecordKind.KEY, ref.namespace, data_key.spec.key_ref.name)
        held = await self._context.book.read(self._context.engine().domain, name, KeyRecord)
        return held.record if held else None

    async def _secret(self, ref: ObjectRef, data_key: KmsDataKey | None) -> SecretFacts | None:
        if data_key is None:
            return None
        return await self._context.secrets.get(ref.namespace, data_key.spec.target.secret_name)

    async def _work(self, ref: ObjectRef, gathered: _Gathered) -> tuple[_Gathered, Obstacle | None, bool]:
        """(what is now, obstacle, whether more work waits)."""
        delivered = False
        for _ in range(_PASSES):
            plan = plan_data_key(gathered.facts)
            match plan.step:
                case None:
                    return gathered, plan.obstacle, False
                case Deliver(desired):
                    if delivered:
                        conflict = Obstacle(Reason.TARGET_CONFLICT, f"another manager puts back what is in Secret {desired.name}")
                        return gathered, conflict, False
                    delivered = True
                    gathered, obstacle = await self._deliver(gathered, desired)
                    if obstacle is not None:
                        return gathered, obstacle, False
                case step:
                    held = await self._write(ref, gathered, step)
                    facts = replace(gathered.facts, record=held.record, opened=held.opened, now=self._context.clock.now())
                    gathered = _Gathered(facts, held)
        return gathered, None, True

    async def _write(
        self, ref: ObjectRef, gathered: _Gathered, step: Archive | Issue | Rewrap | WriteDataKey
    ) -> Held[DataKeyRecord]:
        domain, held = self._context.engine().domain, gathered.held
        match step:
            case Issue(number):
                return await self._issue(ref, gathered, number)
            case Archive(count):
                record = await self._archive(gathered, count)
            case Rewrap(number):
                record = await self._rewrap(gathered, number)
            case WriteDataKey(record):
                pass
        assert held is not None
        return await self._context.book.replace(domain, RecordKind.DATAKEY, held, record)

    async def _issue(self, ref: ObjectRef, gathered: _Gathered, number: int) -> Held[DataKeyRecord]:
        """Generate and record a version: create-only for the first, by resourceVersion for the next. Then it exists."""
        context, engine, facts = self._context, self._context.engine(), gathered.facts
        data_key, key = facts.data_key, facts.key
        assert data_key is not None
        assert key is not None
        assert facts.namespace is not None
        spec = data_key.spec
        name, length = spec_name(spec), spec.number_of_bytes
        encryption_context = {} if spec.encryption_context is UNSET else dict(spec.encryption_context)
        content = (None if name is UNSET else name, None if length is UNSET else length)
        issued = await pipeline.issue(context, engine, self._live(gathered), content, encryption_context)
        version = data_key_version(number, issued, encryption_context, facts.now)
        if gathered.held is not None:
            following = issued_again(gathered.held.record, version, rotate_request(data_key, gathered.held.record))
            return await context.book.replace(engine.domain, RecordKind.DATAKEY, gathered.held, following)
        birth = Birth(
            domain=engine.domain,
            namespace_uid=facts.namespace.uid,
            crd_uid=facts.crd.uid if facts.crd else "",
            account=key.account,
            region=key.region,
            transition=context.leadership.transition,
            now=facts.now,
        )
        names = (ref.namespace, ref.name, data_key.metadata.uid)
        record = new_data_key_record(birth, key.key_id, names, (name, length), spec.target.secret_name, version)
        request = rotate_request(data_key, None)
        if request is not None:
            record = replace_record(record, last_rotate_request=request)
        record_id = record_name(RecordKind.DATAKEY, ref.namespace, ref.name)
        return await context.book.create(engine.domain, RecordKind.DATAKEY, record_id, record)

    def _live(self, gathered: _Gathered) -> pipeline.OneKey:
        """The gathered key with the live namespace's uid: the pipeline refuses a key of an earlier namespace of this name."""
        assert gathered.facts.key is not None
        assert gathered.facts.namespace is not None
        return pipeline.OneKey(gathered.facts.key, gathered.facts.namespace.uid)

    async def _archive(self, gathered: _Gathered, count: int) -> DataKeyRecord:
        """Create the archive first, then let go of its versions. A kill in between finds the archive there, and goes on."""
        context, domain, held = self._context, self._context.engine().domain, gathered.held
        assert held is not None
        archive, kept = archived(held.record, count, context.leadership.transition)
        name = archive_name(held.opened.name, archive.part)
        try:
            await context.book.create(domain, RecordKind.DATAKEY, name, archive)
        except ConflictError:
            found = await context.book.read(domain, name, DataKeyRecord)
            if found is None or [v.n for v in found.record.versions] != [v.n for v in archive.versions]:
                raise RecordIntegrityError(f"record {name} holds other versions than are to be archived") from None
        return kept

    async def _rewrap(self, gathered: _Gathered, number: int) -> DataKeyRecord:
        record, key = gathered.facts.record, gathered.facts.key
        assert record is not None
        assert key is not None
        version = next(v for v in record.versions if v.n == number)
        engine = self._context.engine()
        answer = await pipeline.rewrap(
            self._context, engine, self._live(gathered), version.blob, version.encryption_context
        )
        return rewrapped(record, number, answer.ciphertext_blob, answer.key_id, key.current_version.material_id)

    async def _deliver(self, gathered: _Gathered, desired: DesiredSecret) -> tuple[_Gathered, Obstacle | None]:
        """Create our own Secret, or apply our fields with uid and resourceVersion. A refusal is a condition, never an overwrite."""
        context, found = self._context, gathered.facts.secret
        context.leadership.check()
        try:
            made = await (context.secrets.create(desired) if found is None else context.secrets.apply(desired, found))
        except ForbiddenError as error:
            return gathered, Obstacle(Reason.TARGET_FORBIDDEN, str(error))
        except RefusedError as error:
            return gathered, Obstacle(_refusal(error, found), str(error))
        except ConflictError as error:
            fresh = await context.secrets.get(desired.namespace, desired.name)
            if found is None or fresh is None or fresh.resource_version != found.resource_version:
                raise
            return gathered, Obstacle(Reason.TARGET_CONFLICT, str(error))
        return _Gathered(replace(gathered.facts, secret=made), gathered.held), None

    async def _show(
        self, ref: ObjectRef, data_key: KmsDataKey, gathered: _Gathered, obstacle: Obstacle | None
    ) -> None:
        facts = gathered.facts
        now = self._context.clock.now().replace(microsecond=0)
        status = data_key_status(data_key, facts.record, facts.opened, facts.key, obstacle, now)
        for notice in data_key_notices(data_key, facts.record, obstacle):
            kind = EventType.WARNING if notice.warning else EventType.NORMAL
            uid = data_key.metadata.uid
            await self._context.objects.event(ref, uid, notice.reason, notice.message, kind, notice.once)
        if status != data_key.status:
            await self._context.write_status(ref, data_key.metadata.uid, to_wire(status))

    async def _stopped(self, ref: ObjectRef, data_key: KmsDataKey | None, error: KeysteadError) -> Outcome:
        found = obstacle_of(error)
        if found is None:
            raise error
        obstacle, soon = found
        if data_key is not None:
            facts = DataKeyFacts(
                data_key=data_key,
                record=None,
                opened=None,
                namespace=None,
                crd=None,
                key=None,
                secret=None,
                now=self._context.clock.now(),
            )
            await self._show(ref, data_key, _Gathered(facts, None), obstacle)
        return Outcome(spread(ref, self._context.refresh_period), failed=soon)

    def _again(self, ref: ObjectRef, data_key: KmsDataKey | None, gathered: _Gathered) -> float | None:
        record, delay = gathered.facts.record, spread(ref, self._context.refresh_period)
        if data_key is None and (record is None or not record.bound):
            return None
        if data_key is None or record is None:
            return delay
        now = self._context.clock.now()
        change = next_change(data_key, record, now)
        return delay if change is None else min(delay, (change - now).total_seconds() + 0.05)


def _refusal(error: RefusedError, found: SecretFacts | None) -> Reason:
    """Why a Secret's content was refused: 422 with the API server's words, 413 for a request that is too large to be read."""
    if found is not None and found.immutable:
        return Reason.TARGET_IMMUTABLE
    return Reason.TARGET_TOO_LARGE if any(word in str(error) for word in ("1048576 bytes", ": 413 ")) else Reason.INVALID_SPEC
