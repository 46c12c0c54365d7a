"""What the plans of all kinds share: facts about the world around an object, and the obstacles that come before any work."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Generic, TypeVar

from msgspec import UNSET

from keystead.engine.freshness import Seen, check_against
from keystead.engine.record.common import RecordBase
from keystead.engine.record.datakey import DataKeyRecord
from keystead.engine.record.key import KeyRecord
from keystead.errors import RecordIntegrityError
from keystead.resources import names
from keystead.resources.model import ObjectMeta
from keystead.resources.reasons import Reason
from keystead.resources.status import CommonStatus

Step = TypeVar("Step")


@dataclass(frozen=True, slots=True)
class NamespaceFacts:
    """The live namespace: its uid, and whether it is being deleted."""

    uid: str
    terminating: bool = False


@dataclass(frozen=True, slots=True)
class CrdFacts:
    """The live CRD of a kind."""

    uid: str
    terminating: bool = False


@dataclass(frozen=True, slots=True)
class Obstacle:
    """Why an object cannot go on: a reason of the table and words for a person."""

    reason: Reason
    message: str


@dataclass(frozen=True)
class Plan(Generic[Step]):
    """One step at most, or an obstacle; with both the step is done and the obstacle shown.

    `note` is for the log: why an absent object changes nothing.
    """

    step: Step | None = None
    obstacle: Obstacle | None = None
    note: str = ""


@dataclass(frozen=True, slots=True)
class Dependants:
    """Names of the objects that are bound to a key, by kind; those of other namespaces are counted only."""

    aliases: tuple[str, ...] = ()
    grants: tuple[str, ...] = ()
    data_keys: tuple[str, ...] = ()
    foreign: int = 0

    def __bool__(self) -> bool:
        return bool(self.aliases or self.grants or self.data_keys or self.foreign)

    def __str__(self) -> str:
        parts = (("KmsAlias", self.aliases), ("KmsGrant", self.grants), ("KmsDataKey", self.data_keys))
        told = [f"{kind} {', '.join(found[:8])}{' ...' if len(found) > 8 else ''}" for kind, found in parts if found]
        return "; ".join([*told, f"{self.foreign} in other namespaces"] if self.foreign else told)


NOTHING_DEPENDS: Final = Dependants()


@dataclass(frozen=True, slots=True)
class DeleteObject:
    """Delete the object: the API made it, and its key is destroyed (RECORDS, Identity)."""


def ends_with_its_key(metadata: ObjectMeta) -> bool:
    """Whether the operator deletes this object after its key was destroyed; others stay, and say KeyDestroyed."""
    return metadata.labels.get(names.CREATED_BY) == names.CREATED_BY_API and not metadata.terminating


@dataclass(frozen=True, slots=True)
class Opened:
    """A record that was verified, with the digest of its bytes."""

    name: str
    seq: int
    digest: str


def integrity_obstacle(status: CommonStatus, opened: Opened | None, names_something: bool) -> Obstacle | None:
    """A status that names a record which is absent, older or another one (HSM.md, Freshness). Nothing may be generated then."""
    if opened is None:
        if names_something or status.record_seq is not UNSET:
            return Obstacle(
                Reason.RECORD_INTEGRITY,
                "status names a record that does not exist; nothing was generated. Restore keystead-records from a backup",
            )
        return None
    if status.record_seq is UNSET or status.record_digest is UNSET:
        return None
    try:
        check_against(opened.name, Seen(status.record_seq, status.record_digest), Seen(opened.seq, opened.digest), "status")
    except RecordIntegrityError as error:
        return Obstacle(Reason.RECORD_INTEGRITY, str(error))
    return None


def suspended_obstacle(suspend: bool) -> Obstacle | None:
    """spec.suspend stops every change."""
    return Obstacle(Reason.SUSPENDED, "spec.suspend is true; nothing is changed") if suspend else None


def ending_obstacle(namespace: NamespaceFacts | None) -> Obstacle | None:
    """In a namespace that goes nothing begins."""
    if namespace is None or namespace.terminating:
        return Obstacle(Reason.CREATING, "the namespace is being deleted")
    return None


def bound_obstacle(there: int, most: int, what: str) -> Obstacle | None:
    """One more than may be is not made. What is there stays, and it is made once there is room."""
    return None if there < most else Obstacle(Reason.QUOTA_EXCEEDED, f"{what}: there are {there}, and {most} may be")


def adopting(metadata: ObjectMeta) -> bool:
    """Whether an administrator lets this object take the record of an earlier namespace of its name."""
    return metadata.annotations.get(names.ADOPT) == names.ADOPT_TRUE


def adopting_as_new(metadata: ObjectMeta) -> bool:
    """Whether an administrator lets this object have the name, and the earlier record be set aside."""
    return metadata.annotations.get(names.ADOPT) == names.ADOPT_AS_NEW


def adopting_either(metadata: ObjectMeta) -> bool:
    """For records that are no one's data: taking over and beginning anew are the same."""
    return adopting(metadata) or adopting_as_new(metadata)


def namespace_obstacle(record: RecordBase | None, namespace: NamespaceFacts | None) -> Obstacle | None:
    """A record of an earlier namespace of this name. The words tell a new tenant only that the name is taken."""
    if record is not None and namespace is not None and record.namespace_uid != namespace.uid:
        return Obstacle(
            Reason.ADOPTION_REQUIRED,
            "the name is taken by a record of an earlier namespace of this name; an administrator must adopt it (keystead records adopt)",
        )
    return None


def gone_obstacle(
    record_crd_uid: str, record_namespace_uid: str, crd: CrdFacts | None, namespace: NamespaceFacts | None
) -> str | None:
    """Why an absent object is not Gone (RECORDS: Gone means), None where it is."""
    if crd is None or crd.terminating:
        return "its CRD is absent or terminating"
    if crd.uid != record_crd_uid:
        return "its CRD was made again and the object was not seen since"
    if namespace is None or namespace.terminating:
        return "its namespace is absent or terminating"
    if namespace.uid != record_namespace_uid:
        return "its namespace was made again and the object was not seen since"
    return None


def rotate_request(metadata: ObjectMeta, record: KeyRecord | DataKeyRecord | None) -> str | None:
    """A value of rotate-requested-at that the record has not answered yet.

    The record remembers the answered value: a kill between the record's write and the status' must not rotate twice.
    """
    value = metadata.annotations.get(names.ROTATE_REQUESTED_AT)
    if value is None or (record is not None and value[:256] == record.last_rotate_request):
        return None
    return value[:256]
