"""The life of a KmsDataKey in a cluster: what its plan needs, and how its steps are done. The record comes first; the Secret is a copy."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from msgspec import UNSET
from msgspec.structs import replace as replace_record

from keystead.engine.births import archived, data_key_version, issued_again, new_data_key_record, rewrapped
from keystead.engine.identifiers import RecordKind, archive_name, record_name
from keystead.engine.managed import MANAGED_KEY, managed_key
from keystead.engine.plan.common import NamespaceFacts, Obstacle, rotate_request
from keystead.engine.plan.data_key import (
    Archive,
    DataKeyFacts,
    DataKeyPlan,
    DataKeyStep,
    Deliver,
    Issue,
    MakeManagedKey,
    Rewrap,
    WriteDataKey,
    abroad,
    lacks_object,
    names_no_key,
    plan_data_key,
    spec_name,
)
from keystead.engine.plan.data_key_versions import next_change
from keystead.engine.plan.secret import DesiredSecret, SecretFacts
from keystead.engine.record import DataKeyRecord, KeyRecord
from keystead.engine.view.common import Notice
from keystead.engine.view.data_key import data_key_notices, data_key_status
from keystead.errors import ConflictError, ForbiddenError, RecordIntegrityError, RefusedError
from keystead.operations.world import Judged
from keystead.reconciler import pipeline
from keystead.reconciler.abroad import asker_of, content_of, context_of, look_abroad
from keystead.reconciler.accounts import Accounts
from keystead.reconciler.book import Held
from keystead.reconciler.chronicle import Deed
from keystead.reconciler.context import Context
from keystead.reconciler.data_key_trail import Refusals, deed_of
from keystead.reconciler.lookup import birth_under, key_by_alias, key_by_id, key_by_name
from keystead.reconciler.outcome import TARGET_FORBIDDEN_HINT, StoppedError
from keystead.reconciler.ports import Kind, ObjectRef
from keystead.resources.kms_data_key import KmsDataKey, KmsDataKeyStatus, parse_data_key
from keystead.resources.reasons import Reason


@dataclass(frozen=True, slots=True)
class Gathered:
    """The facts of a pass, the record with what is needed to replace it, and whether the Secret was written in this pass."""

    facts: DataKeyFacts
    held: Held[DataKeyRecord] | None = None
    delivered: bool = False


class DataKeyLife:
    """`driver.Life` of KmsDataKey."""

    kind = Kind.DATA_KEY

    def __init__(self, context: Context, accounts: Accounts) -> None:
        self._context = context
        self._accounts = accounts
        self._refusals = Refusals(context)

    def parse(self, body: Mapping[str, Any]) -> KmsDataKey:
        """A KmsDataKey."""
        return parse_data_key(body)

    def nothing(self, found: KmsDataKey) -> Gathered:
        """No facts."""
        return Gathered(
            DataKeyFacts(
                data_key=found,
                record=None,
                opened=None,
                namespace=None,
                crd=None,
                key=None,
                target=None,
                secret=None,
                now=self._context.clock.now(),
            )
        )

    async def gather(self, ref: ObjectRef, found: KmsDataKey | None) -> Gathered:
        """Record, keys, Secret, namespace and CRD."""
        context, domain = self._context, self._context.engine().domain
        name = record_name(RecordKind.DATAKEY, ref.namespace, ref.name)
        held, namespace, crd, secret = await asyncio.gather(
            context.book.read(domain, name, DataKeyRecord),
            context.objects.namespace(ref.namespace),
            context.objects.crd(Kind.DATA_KEY),
            self._secret(ref, found),
        )
        record = held.record if held else None
        far = None if found is None else await look_abroad(context, self._accounts, found, record, namespace)
        target = far.target if far is not None else None if found is None else await self._target(ref, found, namespace)
        key = target
        if held is not None and (target is None or target.key_id != held.record.key_id):
            key = await key_by_id(context, held.record.key_id)
        facts = DataKeyFacts(
            data_key=found,
            record=record,
            opened=held.opened if held else None,
            namespace=namespace,
            crd=crd,
            key=key,
            target=target,
            secret=secret,
            now=context.clock.now(),
            home=far.home if far is not None else None,
            granted=far is not None and far.granted,
            awaits=found is not None and await self._awaits(ref, found, target, namespace),
        )
        await self._refusals.looked(ref, facts, far)
        return Gathered(facts, held)

    async def _awaits(
        self, ref: ObjectRef, data_key: KmsDataKey, target: KeyRecord | None, namespace: NamespaceFacts | None
    ) -> bool:
        """Whether KmsKey aws-keystead is there, asked only where its record does not say that all is well."""
        if not names_no_key(data_key.spec) or not lacks_object(target, namespace):
            return False
        return await self._context.objects.get(ObjectRef(Kind.KEY, ref.namespace, MANAGED_KEY)) is not None

    async def _target(self, ref: ObjectRef, data_key: KmsDataKey, namespace: NamespaceFacts | None) -> KeyRecord | None:
        """The record of the key in this namespace that spec names."""
        spec = data_key.spec
        if spec.alias_ref is not UNSET:
            return await key_by_alias(self._context, ref.namespace, spec.alias_ref.name, namespace.uid if namespace else "")
        if names_no_key(spec):
            return await key_by_name(self._context, ref.namespace, MANAGED_KEY)
        assert spec.key_ref is not UNSET
        return await key_by_name(self._context, ref.namespace, spec.key_ref.name)

    async def _secret(self, ref: ObjectRef, data_key: KmsDataKey | None) -> SecretFacts | None:
        if data_key is None:
            return None
        return await self._context.secrets.get(ref.namespace, data_key.spec.target.secret_name)

    def plan(self, gathered: Gathered) -> DataKeyPlan:
        """plan_data_key."""
        return plan_data_key(gathered.facts)

    async def apply(self, ref: ObjectRef, gathered: Gathered, step: DataKeyStep) -> Gathered:
        """One step."""
        if isinstance(step, Deliver):
            return await self._deliver(ref, gathered, step.desired)
        if isinstance(step, MakeManagedKey):
            return await self._make_managed_key(ref, gathered)
        try:
            held = await self._write(ref, gathered, step)
        except pipeline.DeniedError as denied:
            # The plan goes on with it: the Secret is delivered all the same, and old blobs stay as they are.
            if isinstance(step, Issue | Rewrap):
                await self._refusals.denied(ref, gathered.facts, step, denied)
            refused = {**gathered.facts.refused, type(step): denied.obstacle}
            return replace(gathered, facts=replace(gathered.facts, refused=refused))
        self._refusals.forget(ref, type(step))
        facts = replace(gathered.facts, record=held.record, opened=held.opened, now=self._context.clock.now())
        if isinstance(step, Issue):
            facts = replace(facts, key=facts.target)
        return replace(gathered, facts=facts, held=held)

    async def _make_managed_key(self, ref: ObjectRef, gathered: Gathered) -> Gathered:
        """Create-only: of many at once one makes it, and the others find it. Its policy names the account, which is claimed first."""
        context, facts = self._context, gathered.facts
        assert facts.namespace is not None
        account = await self._accounts.claim(
            context.engine().domain, ref.namespace, facts.namespace.uid, context.leadership.transition, facts.now
        )
        context.leadership.check()
        with suppress(ConflictError):
            await context.objects.create(ObjectRef(Kind.KEY, ref.namespace, MANAGED_KEY), managed_key(ref.namespace, account))
        return replace(gathered, facts=replace(facts, awaits=True))

    async def _write(
        self, ref: ObjectRef, gathered: Gathered, step: Archive | Issue | Rewrap | WriteDataKey
    ) -> Held[DataKeyRecord]:
        domain, held = self._context.engine().domain, gathered.held
        trail: Sequence[Judged] = ()
        match step:
            case Issue(number):
                return await self._issue(ref, gathered, number)
            case Archive(count):
                record = await self._archive(gathered, count)
            case Rewrap(number):
                record, trail = await self._rewrap(gathered, number)
            case WriteDataKey(record):
                pass
        assert held is not None
        deed = await self._deed(ref, gathered.facts, gathered.facts.key, trail)
        return await self._context.book.replace(domain, RecordKind.DATAKEY, held, record, deed)

    async def _deed(self, ref: ObjectRef, facts: DataKeyFacts, key: KeyRecord | None, trail: Sequence[Judged] = ()) -> Deed:
        return await deed_of(self._context, self._accounts, ref, facts, key, trail)

    async def _issue(self, ref: ObjectRef, gathered: Gathered, number: int) -> Held[DataKeyRecord]:
        """Generate and record a version: create-only for the first, by resourceVersion for the next. Then it exists."""
        context, engine, facts = self._context, self._context.engine(), gathered.facts
        data_key, key = facts.data_key, facts.target
        assert data_key is not None
        assert key is not None
        assert facts.namespace is not None
        spec = data_key.spec
        name, length, encryption_context = spec_name(spec), spec.number_of_bytes, context_of(spec)
        issued, trail = await pipeline.issue(context, engine, await self._live(gathered, key), content_of(spec), encryption_context)
        version = data_key_version(number, issued, encryption_context, facts.now)
        deed = await self._deed(ref, facts, key, trail)
        if gathered.held is not None:
            following = issued_again(gathered.held.record, version, key, rotate_request(data_key.metadata, gathered.held.record))
            return await context.book.replace(engine.domain, RecordKind.DATAKEY, gathered.held, following, deed)
        birth = birth_under(context, key, facts.namespace, facts.crd, facts.now)
        names = (ref.namespace, ref.name, data_key.metadata.uid)
        record = new_data_key_record(birth, key.key_id, names, (name, length), spec.target.secret_name, version)
        request = rotate_request(data_key.metadata, None)
        if request is not None:
            record = replace_record(record, last_rotate_request=request)
        record_id = record_name(RecordKind.DATAKEY, ref.namespace, ref.name)
        return await context.book.create(engine.domain, RecordKind.DATAKEY, record_id, record, deed)

    async def _live(self, gathered: Gathered, key: KeyRecord) -> pipeline.OneKey:
        """The key with the live namespace's uid: the pipeline refuses a key of an earlier namespace of this name."""
        facts = gathered.facts
        assert facts.namespace is not None
        assert facts.data_key is not None
        asker = await asker_of(self._context, self._accounts, facts.data_key, facts.namespace, key)
        home = facts.namespace if asker is None else facts.home
        return await pipeline.one_key(self._context, key, home.uid if home else "", facts.data_key.metadata.name, asker)

    async def _archive(self, gathered: Gathered, count: int) -> DataKeyRecord:
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

    async def _rewrap(self, gathered: Gathered, number: int) -> tuple[DataKeyRecord, Sequence[Judged]]:
        record, key = gathered.facts.record, gathered.facts.key
        assert record is not None
        assert key is not None
        version = next(v for v in record.versions if v.n == number)
        engine = self._context.engine()
        answer, trail = await pipeline.rewrap(
            self._context, engine, await self._live(gathered, key), version.blob, version.encryption_context
        )
        return rewrapped(record, number, answer.ciphertext_blob, answer.key_id, key.current_version.material_id), trail

    async def _deliver(self, ref: ObjectRef, gathered: Gathered, desired: DesiredSecret) -> Gathered:
        """Create our own Secret, or apply our fields with uid and resourceVersion. A refusal is a condition, never an overwrite."""
        context, found = self._context, gathered.facts.secret
        if gathered.delivered:
            words = f"another manager puts back what is in Secret {desired.name}"
            raise StoppedError(Obstacle(Reason.TARGET_CONFLICT, words))
        context.book.chronicle.check()
        context.leadership.check()
        try:
            made = await (context.secrets.create(desired) if found is None else context.secrets.apply(desired, found))
        except ForbiddenError as error:
            raise StoppedError(Obstacle(Reason.TARGET_FORBIDDEN, f"{error}{TARGET_FORBIDDEN_HINT}")) from None
        except RefusedError as error:
            raise StoppedError(Obstacle(_refusal(error, found), str(error))) from None
        except ConflictError as error:
            fresh = await context.secrets.get(desired.namespace, desired.name)
            if found is None or fresh is None or fresh.resource_version != found.resource_version:
                raise
            raise StoppedError(Obstacle(Reason.TARGET_CONFLICT, str(error))) from None
        if gathered.held is not None:
            deed = await self._deed(ref, gathered.facts, gathered.facts.key)
            await context.book.chronicle.delivered(gathered.held.record, desired.name, deed)
        return replace(gathered, facts=replace(gathered.facts, secret=made), delivered=True)

    def status(self, found: KmsDataKey, gathered: Gathered, obstacle: Obstacle | None, now: datetime) -> KmsDataKeyStatus:
        """data_key_status."""
        facts = gathered.facts
        # Of a key abroad that does not consent (any more) nothing is shown that is not in the data key's own record.
        key = facts.key if facts.granted or abroad(found) is None else None
        return data_key_status(found, facts.record, facts.opened, key, obstacle, now)

    def notices(self, found: KmsDataKey, gathered: Gathered, obstacle: Obstacle | None) -> list[Notice]:
        """data_key_notices."""
        return data_key_notices(found, gathered.facts.record, obstacle)

    def waits(self, found: KmsDataKey | None, gathered: Gathered) -> bool:
        """Without an object while its record is bound: the object may be seen again, or its CRD."""
        return found is not None or (gathered.facts.record is not None and gathered.facts.record.bound)

    def next_change(self, found: KmsDataKey | None, gathered: Gathered, now: datetime) -> datetime | None:
        """The next rotation, or the end of an overlap."""
        record = gathered.facts.record
        return None if found is None or record is None else next_change(found, record, now)


def _refusal(error: RefusedError, found: SecretFacts | None) -> Reason:
    """Why a Secret's content was refused: 422 with the API server's words, 413 for a request that is too large to be read."""
    if found is not None and found.immutable:
        return Reason.TARGET_IMMUTABLE
    return Reason.TARGET_TOO_LARGE if any(word in str(error) for word in ("1048576 bytes", ": 413 ")) else Reason.INVALID_SPEC
