"""What the reconciler needs from a store: the API server in a cluster, SQLite in `keystead dev`, a fake in tests."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Protocol

from keystead.engine.identifiers import KeyId, RecordKind
from keystead.engine.plan.common import CrdFacts, Dependants, NamespaceFacts
from keystead.engine.plan.secret import DesiredSecret, SecretFacts
from keystead.engine.ports import Domain, FastLane, SlowCall, SlowResult
from keystead.engine.record import SealedRecord
from keystead.engine.record.common import RecordBase
from keystead.operations.writes import Write
from keystead.resources.vocabulary import KeySpec, ObjectKind, Protection

Kind = ObjectKind
"""The kinds that are reconciled."""


@dataclass(frozen=True, slots=True)
class ObjectRef:
    """One object by its name. What the queue holds."""

    kind: Kind
    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind} {self.namespace}/{self.name}"


@dataclass(frozen=True, slots=True)
class Seed:
    """What is given of a key before it is made (`keystead dev --seed`). None: as for every other key.

    material   as engine.ports.Import takes it
    """

    key_id: KeyId | None = None
    material: bytes | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class StoredRecord:
    """A sealed record as it lies in the store, and the version to replace it by."""

    sealed: SealedRecord
    resource_version: str


class EventType(StrEnum):
    """core/v1 Event types."""

    NORMAL = "Normal"
    WARNING = "Warning"


class Records(Protocol):
    """The sealed records. ConflictError: somebody else wrote first."""

    async def get(self, name: str) -> StoredRecord | None: ...
    async def create(self, kind: RecordKind, sealed: SealedRecord) -> StoredRecord: ...
    async def replace(self, kind: RecordKind, sealed: SealedRecord, resource_version: str) -> StoredRecord: ...
    async def delete(self, name: str, resource_version: str) -> None:
        """Delete this very version. Nothing happens where it is gone. Only alias and grant records are ever deleted."""


class Index(Protocol):
    """What is remembered of all records. It finds records and counts; it authorises nothing and replaces no read before a write."""

    def learn(self, name: str, record: RecordBase, digest: str) -> None:
        """A record that this process wrote: the watch will tell the same later."""

    def drop(self, name: str) -> None:
        """A record that this process deleted."""

    def absent(self, name: str) -> bool:
        """Whether there is surely no record of this name: who believes it must create, which finds what is there after all."""

    def doubt(self, name: str) -> None:
        """A record of this name may be there."""

    def names_of(self, ref: ObjectRef) -> tuple[str, ...]:
        """Names of the records that an object of this name claims; of an alias there can be several."""

    def record_of(self, key_id: str) -> str | None:
        """Name of the key record with this id; of two, the one with the higher seq."""

    def dependants(self, key_id: str, namespace: str) -> Dependants:
        """What is bound to a key; those outside `namespace` are counted."""

    def aliases_of(self, key_id: str) -> tuple[str, ...]:
        """Names of the alias records of a key."""

    def grants_to(self, key_id: str, grantee: str) -> tuple[str, ...]:
        """Names of the records of a key's grants to this principal: its canonical ARN, or a service's name."""

    def count(self, kind: Kind, of: str) -> int:
        """Aliases or grants of the key with this id; keys of the namespace with this uid, tombstones and AWS managed keys left out."""

    def destroyed_at(self, ref: ObjectRef, namespace_uid: str) -> datetime | None:
        """When a key that bore this name, in the namespace of this uid, was destroyed last."""


class Objects(Protocol):
    """The custom resources and what stands around them."""

    async def get(self, ref: ObjectRef) -> dict[str, Any] | None: ...
    async def apply_status(self, ref: ObjectRef, uid: str, status: dict[str, Any]) -> None: ...
    async def set_finalizers(self, ref: ObjectRef, uid: str, resource_version: str, finalizers: tuple[str, ...]) -> None:
        """Replace the finalizers of this very version of the object. ConflictError where it changed."""

    async def create(self, ref: ObjectRef, body: dict[str, Any]) -> None:
        """Make the object. ConflictError where there is one of its name."""

    async def delete(self, ref: ObjectRef, uid: str) -> None:
        """Delete the object with this uid."""

    async def namespace(self, name: str) -> NamespaceFacts | None: ...
    async def crd(self, kind: Kind) -> CrdFacts | None: ...
    async def event(self, ref: ObjectRef, uid: str, reason: str, message: str, kind: EventType, once: str) -> None: ...


class Writer(Protocol):
    """What control-plane operations ask to be written, carried out on custom resources: by the server, never by the reconciler."""

    async def write(self, write: Write) -> None:
        """Carry it out. RefusedError names the field; ForeignOwnerError the manager; ConflictError, NotFoundError: nothing was written."""

    async def stalled(self, kind: Kind, namespace: str, name: str) -> tuple[str, str] | None:
        """Reason and message of the condition Stalled, where it is True and speaks of the object's current generation."""


class Secrets(Protocol):
    """Target Secrets of data keys."""

    async def get(self, namespace: str, name: str) -> SecretFacts | None: ...
    async def create(self, desired: DesiredSecret) -> SecretFacts: ...
    async def apply(self, desired: DesiredSecret, found: SecretFacts) -> SecretFacts: ...


class Leadership(Protocol):
    """Whether this process may write, and under which number."""

    @property
    def transition(self) -> int:
        """The Lease's transition count while leading."""

    def check(self) -> None:
        """FencedError unless the Lease is held, by the monotonic clock, right now."""


class Engine(Protocol):
    """The token, while it is open."""

    @property
    def domain(self) -> Domain: ...
    @property
    def fast(self) -> FastLane: ...
    async def protection(self, spec: KeySpec) -> Protection | None:
        """What the store can do with a spec; None: unsupported."""

    async def slow(self, call: SlowCall) -> SlowResult:
        """Run a slow call without holding the event loop."""

    def forget(self, key_id: bytes) -> None:
        """Drop what is in memory of a key's material: it is destroyed."""


class Clock(Protocol):
    """The API server's time."""

    def now(self) -> datetime: ...
