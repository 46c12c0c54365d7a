"""The reconciler's ports in memory (reconciler/ports.py): a small API server, a leader, a clock, a token.

They keep the habits that rules depend on: create-only, resourceVersion on every write, a uid on every apply, fields owned by
managers, records that are bytes. `fail` makes the next call of a method raise.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from msgspec.structs import replace as changed
from tests.builders import NOW, UID
from tests.hsm.fake import FakeHsm

from keystead.engine.freshness import Memory
from keystead.engine.identifiers import RecordKind, record_name
from keystead.engine.plan.common import CrdFacts, NamespaceFacts
from keystead.engine.plan.secret import DesiredSecret, SecretFacts
from keystead.engine.ports import SlowCall, SlowResult
from keystead.engine.record import InstallRecord, KeyRecord, SealedRecord, open_sealed, seal_record
from keystead.engine.record.codec import Record
from keystead.errors import ConflictError, FencedError, HsmUnavailableError, KeysteadError, RefusedError
from keystead.reconciler.accounts import Accounts
from keystead.reconciler.alias import AliasLife
from keystead.reconciler.aside import KeysAndAside
from keystead.reconciler.book import RecordBook
from keystead.reconciler.context import Context
from keystead.reconciler.data_key import DataKeyLife
from keystead.reconciler.driver import Driver
from keystead.reconciler.grant import GrantLife
from keystead.reconciler.index import RecordIndex
from keystead.reconciler.key import KeyLife
from keystead.reconciler.outcome import Outcome
from keystead.reconciler.own import OwnKeys
from keystead.reconciler.ports import EventType, Kind, ObjectRef, Seed, StoredRecord
from keystead.reconciler.windows import Windows
from keystead.reconciler.workers import Reconciler
from keystead.resources import names
from keystead.resources.vocabulary import KeySpec, Protection

INSTALL_ID = "0f" * 16


class Faults:
    """Errors to raise, once each, by method name."""

    def __init__(self) -> None:
        self._next: dict[str, list[KeysteadError]] = {}

    def fail(self, method: str, *errors: KeysteadError) -> None:
        self._next.setdefault(method, []).extend(errors)

    def maybe(self, method: str) -> None:
        if self._next.get(method):
            raise self._next[method].pop(0)


class FakeRecords(Faults):
    """`reconciler.ports.Records`. `lose_reply`: the next write happens, and its answer does not arrive."""

    def __init__(self) -> None:
        super().__init__()
        self.stored: dict[str, StoredRecord] = {}
        self.writes: list[tuple[str, RecordKind]] = []
        self._versions = itertools.count(1)

    async def get(self, name: str) -> StoredRecord | None:
        self.maybe("get")
        return self.stored.get(name)

    async def create(self, kind: RecordKind, sealed: SealedRecord) -> StoredRecord:
        self.maybe("create")
        if sealed.name in self.stored:
            raise ConflictError("already exists")
        return self._put("create", kind, sealed)

    async def replace(self, kind: RecordKind, sealed: SealedRecord, resource_version: str) -> StoredRecord:
        self.maybe("replace")
        found = self.stored.get(sealed.name)
        if found is None or found.resource_version != resource_version:
            raise ConflictError("the object has been modified")
        return self._put("replace", kind, sealed)

    async def delete(self, name: str, resource_version: str) -> None:
        self.maybe("delete")
        found = self.stored.get(name)
        if found is None:
            return
        if found.resource_version != resource_version:
            raise ConflictError("the object has been modified")
        del self.stored[name]
        self.writes.append(("delete", RecordKind(name.split("-", maxsplit=1)[0])))

    def _put(self, verb: str, kind: RecordKind, sealed: SealedRecord) -> StoredRecord:
        stored = self.stored[sealed.name] = StoredRecord(sealed, str(next(self._versions)))
        self.writes.append((verb, kind))
        self.maybe("lose_reply")
        return stored


class FakeObjects(Faults):
    """`reconciler.ports.Objects`."""

    def __init__(self) -> None:
        super().__init__()
        self.bodies: dict[ObjectRef, dict[str, Any]] = {}
        self.namespaces = {"team-a": NamespaceFacts(UID)}
        self.crds = {kind: CrdFacts(f"crd-{kind}") for kind in Kind}
        self.statuses: list[tuple[ObjectRef, dict[str, Any]]] = []
        self.events: dict[tuple[str, str, str], str] = {}

    async def get(self, ref: ObjectRef) -> dict[str, Any] | None:
        self.maybe("get")
        return self.bodies.get(ref)

    async def apply_status(self, ref: ObjectRef, uid: str, status: dict[str, Any]) -> None:
        self.maybe("apply_status")
        body = self.bodies.get(ref)
        if body is None or body["metadata"]["uid"] != uid:
            raise ConflictError("uid mismatch")
        body["status"] = status
        self.statuses.append((ref, status))

    async def set_finalizers(self, ref: ObjectRef, uid: str, resource_version: str, finalizers: tuple[str, ...]) -> None:
        self.maybe("set_finalizers")
        body = self.bodies.get(ref)
        if body is None:
            return
        metadata = body["metadata"]
        if (metadata["uid"], metadata.get("resourceVersion", "")) != (uid, resource_version):
            raise ConflictError("the object changed")
        metadata["finalizers"] = list(finalizers)
        if not finalizers and "deletionTimestamp" in metadata:
            del self.bodies[ref]

    async def create(self, ref: ObjectRef, body: dict[str, Any]) -> None:
        self.maybe("create")
        if await FakeObjects.get(self, ref) is not None:
            raise ConflictError(f"{ref} already exists")
        metadata = {"generation": 1, "annotations": {}, "finalizers": [], **body["metadata"], "uid": f"made-{len(self.bodies)}"}
        self.bodies[ref] = {**body, "metadata": metadata, "status": {"observedGeneration": -1}}

    async def delete(self, ref: ObjectRef, uid: str) -> None:
        self.maybe("delete")
        body = self.bodies.get(ref)
        if body is not None and body["metadata"]["uid"] != uid:
            raise ConflictError("uid mismatch")
        self.remove(ref)

    def remove(self, ref: ObjectRef, now: datetime = NOW) -> None:
        """What a DELETE does: with finalizers the object stays, and is terminating."""
        body = self.bodies.get(ref)
        if body is not None and body["metadata"].get("finalizers"):
            body["metadata"]["deletionTimestamp"] = now.strftime("%Y-%m-%dT%H:%M:%SZ")
        else:
            self.bodies.pop(ref, None)

    async def namespace(self, name: str) -> NamespaceFacts | None:
        return self.namespaces.get(name)

    async def crd(self, kind: Kind) -> CrdFacts | None:
        return self.crds.get(kind)

    async def event(self, ref: ObjectRef, uid: str, reason: str, message: str, kind: EventType, once: str) -> None:
        self.maybe("event")
        self.events.setdefault((uid, reason, once), message)


class FakeSecrets(Faults):
    """`reconciler.ports.Secrets`, with an owner a field."""

    def __init__(self) -> None:
        super().__init__()
        self.secrets: dict[tuple[str, str], SecretFacts] = {}
        self.owners: dict[tuple[str, str, str], str] = {}
        self.writes: list[str] = []
        self._versions = itertools.count(1)

    async def get(self, namespace: str, name: str) -> SecretFacts | None:
        self.maybe("get")
        return self.secrets.get((namespace, name))

    async def create(self, desired: DesiredSecret) -> SecretFacts:
        self.maybe("create")
        if (desired.namespace, desired.name) in self.secrets:
            raise ConflictError("already exists")
        self.writes.append("create")
        return self._store(desired, f"secret-{next(self._versions)}", names.DATA_KEY_SECRET_TYPE, {})

    async def apply(self, desired: DesiredSecret, found: SecretFacts) -> SecretFacts:
        self.maybe("apply")
        live = self.secrets.get((desired.namespace, desired.name))
        if live is None or (live.uid, live.resource_version) != (found.uid, found.resource_version):
            raise ConflictError("the object has been modified")
        if live.immutable:
            raise RefusedError("field is immutable when `immutable` is set")
        for key, value in desired.data.items():
            owner = self.owners.get((desired.namespace, desired.name, key), desired.manager)
            if desired.injected and owner != desired.manager and live.data.get(key) != value:
                raise ConflictError(f'conflict with "{owner}"')
        self.writes.append("apply")
        here = [desired.namespace, desired.name]
        mine = {key for (*where, key), owner in self.owners.items() if owner == desired.manager and where == here}
        gone = (mine - set(desired.data)) | set(desired.stale(live))
        kept = {key: value for key, value in live.data.items() if key not in gone}
        return self._store(desired, live.uid, live.type, kept)

    def _store(self, desired: DesiredSecret, uid: str, kind: str, kept: Mapping[str, bytes]) -> SecretFacts:
        for key in desired.data:
            self.owners[desired.namespace, desired.name, key] = desired.manager
        made = SecretFacts(
            uid=uid,
            resource_version=str(next(self._versions)),
            type=kind,
            immutable=desired.immutable,
            data={**kept, **desired.data},
            labels=dict(desired.labels),
            annotations=dict(desired.annotations),
            owners=() if desired.owner is None else (desired.owner,),
        )
        self.secrets[desired.namespace, desired.name] = made
        return made

    def edit(self, name: str, *, manager: str = "kubectl-edit", namespace: str = "team-a", **data: bytes | None) -> None:
        """Somebody else's hand: set keys (dots written as `__`), or take them away with None."""
        live = self.secrets[namespace, name]
        content = dict(live.data)
        for raw, value in data.items():
            key = raw.replace("__", ".")
            content.pop(key, None)
            self.owners.pop((namespace, name, key), None)
            if value is not None:
                content[key] = value
                self.owners[namespace, name, key] = manager
        self.secrets[namespace, name] = replace(live, data=content, resource_version=str(next(self._versions)))


@dataclass
class FakeLeadership:
    """`reconciler.ports.Leadership`."""

    transition: int = 1
    leading: bool = True

    def check(self) -> None:
        if not self.leading:
            raise FencedError("not leading")


@dataclass
class FakeClock:
    """`reconciler.ports.Clock`, and the monotonic clock beside it: `advance` moves both, `step` the API server's only."""

    moment: datetime = NOW
    monotonic: datetime = NOW

    def now(self) -> datetime:
        return self.moment

    @property
    def seconds(self) -> float:
        return (self.monotonic - NOW).total_seconds()

    def advance(self, **delta: float) -> None:
        self.moment += timedelta(**delta)
        self.monotonic += timedelta(**delta)

    def step(self, **delta: float) -> None:
        self.moment += timedelta(**delta)


@dataclass
class FakeEngine(Faults):
    """`reconciler.ports.Engine` on the fake HSM. `generated`: how many keys were made."""

    hsm: FakeHsm = field(default_factory=FakeHsm)
    generated: int = 0
    forgotten: list[bytes] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()

    @property
    def domain(self) -> FakeHsm:
        return self.hsm

    @property
    def fast(self) -> FakeHsm:
        return self.hsm

    async def protection(self, spec: KeySpec) -> Protection | None:
        return self.hsm.protection(spec)

    async def slow(self, call: SlowCall) -> SlowResult:
        self.maybe("slow")
        self.generated += 1
        return self.hsm.slow(call)

    def forget(self, key_id: bytes) -> None:
        self.forgotten.append(key_id)


class World:
    """A cluster in memory, and one process that reconciles it."""

    def __init__(self, engine: FakeEngine | None = None) -> None:
        self.leadership, self.clock, self.secrets = FakeLeadership(), FakeClock(), FakeSecrets()
        self.records, self.objects = self.store()
        self.engine = engine or FakeEngine()
        self.engine_error: KeysteadError | None = None
        self.announced: list[ObjectRef] = []
        self.seeds: dict[ObjectRef, Seed] = {}
        self.strict_policies = False
        self.memory = Memory()
        self._uids = itertools.count(1)
        self.restart()
        self._claim_install()

    def store(self) -> tuple[FakeRecords, FakeObjects]:
        """Where records and objects lie (sqlite_world.py has another one)."""
        return FakeRecords(), FakeObjects()

    def restart(self) -> None:
        """A new process over the same cluster: it remembers nothing."""
        self.memory = Memory()
        self.index = self._index(self.memory)
        self.book = RecordBook(self.records, self.leadership, self.memory, self.index)
        context = Context(
            book=self.book,
            index=self.index,
            windows=Windows(lambda: self.clock.seconds),
            objects=self.objects,
            secrets=self.secrets,
            leadership=self.leadership,
            clock=self.clock,
            engine=self._engine,
            entropy=self.engine.hsm.entropy,
            announce=lambda ref, _: self.announced.append(ref),
            region="cluster-1",
            seeds=self.seeds.get,
            refresh_period=100.0,
            strict_policies=self.strict_policies,
        )
        self.accounts = Accounts(self.book)
        self.own_keys = OwnKeys(context, self.accounts)
        self._reconcilers: dict[Kind, Reconciler] = {
            Kind.KEY: KeysAndAside(context, Driver(context, KeyLife(context, self.accounts))),
            Kind.ALIAS: Driver(context, AliasLife(context)),
            Kind.GRANT: Driver(context, GrantLife(context)),
            Kind.DATA_KEY: Driver(context, DataKeyLife(context, self.accounts)),
        }

    def _index(self, memory: Memory) -> RecordIndex:
        """What a list of the records gives."""
        index = RecordIndex(memory, lambda _entry: None)
        index.keep(set(self.records.stored))
        for name, stored in self.records.stored.items():
            if name != record_name(RecordKind.INSTALL) and not name.startswith("account-"):
                index.take(self.engine.hsm, stored)
        return index

    def _engine(self) -> FakeEngine:
        if self.engine_error is not None:
            raise self.engine_error
        return self.engine

    def _claim_install(self) -> None:
        record = InstallRecord(
            domain_generation=self.engine.hsm.generation,
            domain_fingerprint=self.engine.hsm.fingerprint,
            namespace_uid="records",
            transition=0,
            seq=1,
            install_id=INSTALL_ID,
            created="2026-11-01T00:00:00Z",
        )
        name = record_name(RecordKind.INSTALL)
        self.records.stored[name] = StoredRecord(seal_record(self.engine.hsm, name, record), "0")

    def apply(self, ref: ObjectRef, *, annotations: Mapping[str, str] | None = None, uid: str | None = None, **spec: Any) -> None:
        """kubectl apply: a new object, or the next generation of this one."""
        before = self.objects.bodies.get(ref)
        old = before["metadata"] if before else {"uid": uid or f"uid-{next(self._uids)}-{ref.name}", "generation": 0}
        metadata = {"namespace": ref.namespace, "name": ref.name, "uid": old["uid"], "generation": old["generation"] + 1}
        metadata["creationTimestamp"] = old.get("creationTimestamp", self.clock.moment.strftime("%Y-%m-%dT%H:%M:%SZ"))
        metadata["finalizers"] = old.get("finalizers", [])
        metadata["annotations"] = dict(annotations or {})
        status = before["status"] if before else {"observedGeneration": -1}
        self.objects.bodies[ref] = {
            "apiVersion": names.API_VERSION,
            "kind": ref.kind.value,
            "metadata": metadata,
            "spec": spec,
            "status": status,
        }

    def delete(self, ref: ObjectRef) -> None:
        """kubectl delete."""
        self.objects.remove(ref, self.clock.moment)

    async def reconcile(self, ref: ObjectRef) -> Outcome:
        """One pass."""
        return await self._reconcilers[ref.kind].reconcile(ref)

    def record(self, ref: ObjectRef, kind: type[Record]) -> Record:
        """The opened record of an object."""
        (name,) = self._index(Memory()).names_of(ref)
        return open_sealed(self.engine.hsm, self.records.stored[name].sealed, kind)

    async def rewrite(self, ref: ObjectRef, **members: Any) -> None:
        """The record of a key as an earlier version may have left it."""
        (name,) = self.index.names_of(ref)
        held = await self.book.read(self.engine.hsm, name, KeyRecord)
        assert held is not None
        await self.book.replace(self.engine.hsm, RecordKind.KEY, held, changed(held.record, **members))

    def has_record(self, ref: ObjectRef) -> bool:
        """Whether a record claims to be of an object of this name."""
        return bool(self._index(Memory()).names_of(ref))

    def status(self, ref: ObjectRef) -> dict[str, Any]:
        found: dict[str, Any] = self.objects.bodies[ref]["status"]
        return found

    def ready(self, ref: ObjectRef) -> str:
        """The reason of the condition Ready."""
        return next(str(c["reason"]) for c in self.status(ref)["conditions"] if c["type"] == "Ready")


def away() -> HsmUnavailableError:
    return HsmUnavailableError("the token is away")
