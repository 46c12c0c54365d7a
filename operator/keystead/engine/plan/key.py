"""plan_key: a KmsKey and its record -> what to do. Pure (ARCHITECTURE 3, One writer).

    absent record             -> CreateKey
    present record            -> WriteKey with the record as it must become, or RotateKey, or nothing
    object gone               -> WriteKey with bound = false: an orphan, or under ScheduleDeletion the waiting window
    window over, twice seen   -> DestroyKey: the record becomes a tombstone
    an earlier tenant's       -> AdoptKey, or CreateKey that sets the old record aside, where an administrator says so
    anything that stands against it -> an Obstacle, and no step

At most one step a pass: after a write the next pass plans anew from what was written. What a state, a deletion and an adoption mean is in
key_life.py; what a spec says in key_settings.py.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from msgspec import UNSET
from msgspec.structs import replace

from keystead.engine.bounds import KEYS_PER_NAMESPACE
from keystead.engine.plan.common import (
    NOTHING_DEPENDS,
    CrdFacts,
    DeleteObject,
    Dependants,
    NamespaceFacts,
    Obstacle,
    Opened,
    Plan,
    adopting,
    adopting_as_new,
    bound_obstacle,
    ends_with_its_key,
    gone_obstacle,
    integrity_obstacle,
    namespace_obstacle,
    rotate_request,
    suspended_obstacle,
)
from keystead.engine.plan.key_life import after_deletion, hold_of, may_rotate, remade_after_destruction, with_state
from keystead.engine.plan.key_settings import KeySettings, settings_of, without_default
from keystead.engine.record.key import KeyRecord
from keystead.engine.rotation import MAX_ON_DEMAND, next_rotation
from keystead.errors import InvalidSpecError
from keystead.resources import names
from keystead.resources.kms_key import KmsKey, KmsKeySpec
from keystead.resources.reasons import Reason
from keystead.resources.rules_key import AWS_PREFIX
from keystead.resources.vocabulary import DeletionPolicy, KeySpec, KeyState, Protection


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyFacts:
    """All that a plan for one key depends on.

    protection   what the store can do with the spec; None: unsupported
    dependants   what is bound to the key
    window_over  the end of the waiting window was seen twice, as destruction asks (reconciler/windows.py)
    policy_fault what is wrong with the key's policy (reconciler/keypolicy.py), "" where nothing is
    keys         how many keys the namespace has, and may have
    """

    key: KmsKey | None
    record: KeyRecord | None
    opened: Opened | None
    namespace: NamespaceFacts | None
    crd: CrdFacts | None
    now: datetime
    region: str
    protection: Protection | None = None
    dependants: Dependants = NOTHING_DEPENDS
    window_over: bool = False
    policy_fault: str = ""
    keys: tuple[int, int] = (0, KEYS_PER_NAMESPACE)


@dataclass(frozen=True, slots=True)
class CreateKey:
    """Generate material and create the record, create-only. The members that need the outside are filled in there.

    `aside`: the name holds a record that is first moved to `orphan-<id>`.
    """

    draft: KeySettings
    protection: Protection
    aside: bool = False


@dataclass(frozen=True, slots=True)
class WriteKey:
    """Replace the record by this one (seq, prev and transition are the writer's)."""

    record: KeyRecord


@dataclass(frozen=True, slots=True)
class RotateKey:
    """Generate the next version, then replace the record. `record` carries the changes that come with it.

    `request`: the value of rotate-requested-at that this rotation answers; None: it is due by schedule.
    """

    record: KeyRecord
    request: str | None = None


@dataclass(frozen=True, slots=True)
class AdoptKey:
    """Bind an earlier namespace's record to this one: namespaceUid, and the account where this namespace has one already."""

    uid: str


@dataclass(frozen=True, slots=True)
class DestroyKey:
    """Replace the record by its tombstone, which holds no material, and forget what is in memory."""


@dataclass(frozen=True, slots=True)
class SetFinalizer:
    """Put the finalizer in-use on the object, or take it away."""

    present: bool


KeyStep = CreateKey | WriteKey | RotateKey | AdoptKey | DestroyKey | SetFinalizer
KeyPlan = Plan[KeyStep | DeleteObject]


def plan_key(facts: KeyFacts) -> KeyPlan:
    """What to do about one key."""
    if facts.key is None:
        return _plan_absent(facts)
    if _held_for_nothing(facts, facts.key):
        return KeyPlan(SetFinalizer(present=False))
    obstacle = find_obstacle(facts)
    if obstacle is not None:
        return KeyPlan(_despite(facts, facts.key, obstacle), obstacle)
    if facts.record is None:
        return _plan_birth(facts, facts.key)
    if namespace_obstacle(facts.record, facts.namespace) is not None:
        assert facts.namespace is not None
        return KeyPlan(AdoptKey(facts.namespace.uid)) if adopting(facts.key.metadata) else _plan_birth(facts, facts.key)
    if facts.record.state is KeyState.DESTROYED:
        return _plan_birth(facts, facts.key)
    try:
        return _with_fault(_plan_bound(facts, facts.key, facts.record), facts)
    except InvalidSpecError as error:
        obstacle = Obstacle(Reason.INVALID_SPEC, str(error))
        return KeyPlan(_despite(facts, facts.key, obstacle), obstacle)


def _with_fault(plan: KeyPlan, facts: KeyFacts) -> KeyPlan:
    """A policy that cannot be used stops nothing else: the key is disabled, held or ended all the same, under the policy that it has."""
    return KeyPlan(plan.step, Obstacle(Reason.INVALID_SPEC, facts.policy_fault)) if facts.policy_fault else plan


def _plan_bound(facts: KeyFacts, key: KmsKey, record: KeyRecord) -> KeyPlan:
    wanted = _wanted(facts, key, record)
    if wanted == record and record.state is KeyState.PENDING_DELETION and facts.window_over:
        return KeyPlan(DestroyKey())
    # Decided by the record as it becomes: who disables, holds or stops the rotation of a key that is due gets no rotation.
    due, request = _rotation_due(facts, key, wanted)
    if due:
        return KeyPlan(RotateKey(wanted, request))
    if wanted != record:
        return KeyPlan(WriteKey(wanted))
    if _holds(facts, record) and names.IN_USE not in key.metadata.finalizers and not key.metadata.terminating:
        return KeyPlan(SetFinalizer(present=True))
    return KeyPlan()


def _holds(facts: KeyFacts, record: KeyRecord) -> bool:
    """Whether the finalizer is wanted: something depends on a key whose object's deletion would start the window."""
    held_up = record.deletion_policy is DeletionPolicy.SCHEDULE_DELETION and bool(facts.dependants)
    return held_up and not nothing_is_held(facts.namespace, facts.crd)


def nothing_is_held(namespace: NamespaceFacts | None, crd: CrdFacts | None) -> bool:
    """In a namespace that goes, or under a CRD that goes, no finalizer of ours stands in the way."""
    return namespace is None or namespace.terminating or crd is None or crd.terminating


def _held_for_nothing(facts: KeyFacts, key: KmsKey) -> bool:
    if names.IN_USE not in key.metadata.finalizers:
        return False
    if nothing_is_held(facts.namespace, facts.crd):
        return True
    record = facts.record
    if record is None or facts.opened is None:
        return False
    if namespace_obstacle(record, facts.namespace) is not None:
        return True  # brought along by a backup: it is an earlier namespace's key that it would wait for, and tell of
    return record.state is KeyState.DESTROYED or not _holds(facts, record)


def _despite(facts: KeyFacts, key: KmsKey, obstacle: Obstacle) -> WriteKey | DeleteObject | None:
    """What is done in spite of an obstacle. A hold wins over spec: neither spec.suspend nor a spec that cannot be carried out keeps
    a responder from stopping the key. An object of the API goes with its key."""
    record = facts.record
    if record is None:
        return None
    if obstacle.reason is Reason.KEY_DESTROYED:
        return DeleteObject() if ends_with_its_key(key.metadata) else None
    if obstacle.reason not in (Reason.SUSPENDED, Reason.INVALID_SPEC) or record.hold is not UNSET:
        return None
    hold = hold_of(key, record, facts.now)
    return None if hold is UNSET else WriteKey(replace(record, hold=hold))


def _plan_absent(facts: KeyFacts) -> KeyPlan:
    record = facts.record
    if record is None:
        return KeyPlan()
    reason = gone_obstacle(record.crd_uid, record.namespace_uid, facts.crd, facts.namespace)
    if record.state is KeyState.DESTROYED:
        return KeyPlan(WriteKey(replace(record, bound=False))) if record.bound and reason is None else KeyPlan()
    if not record.bound and record.state is KeyState.PENDING_DELETION:
        # The window runs since the object went, or the key was taken over from nobody. Without its CRD nobody could take it back.
        ends = facts.window_over and facts.crd is not None and not facts.crd.terminating
        return KeyPlan(DestroyKey()) if ends else KeyPlan()
    if reason is not None:
        return KeyPlan(note=f"{record.namespace}/{record.name} has no object, but {reason}")
    wanted = after_deletion(record, bool(facts.dependants), facts.now)
    return KeyPlan(WriteKey(wanted)) if wanted != record else KeyPlan()


def _plan_birth(facts: KeyFacts, key: KmsKey) -> KeyPlan:
    if facts.protection is None:
        return KeyPlan(obstacle=unsupported(key.spec.key_spec))
    if facts.policy_fault:
        return KeyPlan(obstacle=Obstacle(Reason.INVALID_SPEC, facts.policy_fault))
    full = bound_obstacle(*facts.keys, "keys of the namespace")
    if full is not None and not key.metadata.name.startswith(AWS_PREFIX):
        return KeyPlan(obstacle=full)
    try:
        return KeyPlan(CreateKey(settings_of(key.spec, None), facts.protection, aside=facts.record is not None))
    except InvalidSpecError as error:
        return KeyPlan(obstacle=Obstacle(Reason.INVALID_SPEC, str(error)))


def unsupported(spec: KeySpec) -> Obstacle:
    """The key store can do nothing with this spec."""
    return Obstacle(
        Reason.KEY_SPEC_UNSUPPORTED,
        f"the key store cannot generate, wrap and unwrap {spec} keys, and softwareProtection is not Allowed",
    )


def find_obstacle(facts: KeyFacts) -> Obstacle | None:
    """The first thing that stands against any work, in this order (tested): first whether the record is this object's at all."""
    key, record = facts.key, facts.record
    assert key is not None
    return (
        integrity_obstacle(key.status, facts.opened, key.status.key_id is not UNSET)
        or _earlier_tenant(facts, key)
        or suspended_obstacle(key.spec.suspend)
        or _terminating(facts, key)
        or _other_key(key, record)
        or _destroyed(facts, key)
        or _immutable_changed(facts, key)
    )


def _earlier_tenant(facts: KeyFacts, key: KmsKey) -> Obstacle | None:
    if adopting(key.metadata) or adopting_as_new(key.metadata):
        return None
    return namespace_obstacle(facts.record, facts.namespace)


def _terminating(facts: KeyFacts, key: KmsKey) -> Obstacle | None:
    if facts.record is None and (facts.namespace is None or facts.namespace.terminating):
        return Obstacle(Reason.CREATING, "the namespace is being deleted; no key is made in it")
    if facts.record is None and key.metadata.terminating:
        return Obstacle(Reason.CREATING, "the object is being deleted; no key is made for it")
    return None


def _other_key(key: KmsKey, record: KeyRecord | None) -> Obstacle | None:
    """A forged or foreign status.keyId hurts only its own object."""
    named = key.status.key_id
    if record is None or named is UNSET or named == record.key_id or remade_after_destruction(key, named):
        return None
    return Obstacle(
        Reason.RECORD_INTEGRITY,
        "status names another key than the sealed record of this name; find out who wrote status.keyId, then clear it",
    )


def _destroyed(facts: KeyFacts, key: KmsKey) -> Obstacle | None:
    record = facts.record
    if record is None or record.state is not KeyState.DESTROYED or remade_after_destruction(key, record.key_id):
        return None
    if adopting_as_new(key.metadata) and namespace_obstacle(record, facts.namespace) is not None:
        return None  # a tombstone of an earlier namespace is set aside like any record
    return Obstacle(
        Reason.KEY_DESTROYED,
        f"the key of this name, {record.key_id}, was destroyed; its material is gone. A new key under this name needs the "
        f"annotation {names.NEW_KEY_AFTER_DESTRUCTION}={record.key_id}",
    )


def _immutable_changed(facts: KeyFacts, key: KmsKey) -> Obstacle | None:
    """A manifest re-applied with another identity than the key that bears its name. A new key under the name may differ."""
    record, spec = facts.record, key.spec
    if record is None or record.state is KeyState.DESTROYED:
        return None
    if namespace_obstacle(record, facts.namespace) is not None and adopting_as_new(key.metadata):
        return None
    return _identity_differs(spec, record)


def _identity_differs(spec: KmsKeySpec, record: KeyRecord) -> Obstacle | None:
    pairs = (
        ("spec.keySpec", spec.key_spec, record.spec),
        ("spec.keyUsage", spec.key_usage, record.usage),
        ("spec.origin", spec.origin, record.origin),
        ("spec.region", record.region if spec.region is UNSET else spec.region, record.region),
    )
    for field, wanted, has in pairs:
        if wanted != has:
            message = f"{field}: the key of this name is {has}, not {wanted}; use another name for another key"
            return Obstacle(Reason.INVALID_SPEC, message)
    return None


def _wanted(facts: KeyFacts, key: KmsKey, record: KeyRecord) -> KeyRecord:
    """The record as spec, annotations and the world want it."""
    spec = replace(key.spec, policy=UNSET) if facts.policy_fault else key.spec
    settings = settings_of(spec, record)
    changed = replace(
        record,
        description=settings.description,
        tags=settings.tags,
        policy=without_default(settings.policy, record.account),
        enabled=settings.enabled,
        rotation=settings.rotation,
        deletion_policy=settings.deletion_policy,
        pending_window_in_days=settings.pending_window_in_days,
        hold=hold_of(key, record, facts.now),
        bound=True,
        object_uid=key.metadata.uid,
        crd_uid=facts.crd.uid if facts.crd else record.crd_uid,
    )
    return with_state(changed, record.state, key, facts.now)


def _rotation_due(facts: KeyFacts, key: KmsKey, record: KeyRecord) -> tuple[bool, str | None]:
    """(whether to rotate now, the request that it answers)."""
    if not may_rotate(record):
        return False, None
    request = rotate_request(key.metadata, record)
    if request is not None and record.on_demand_rotations < MAX_ON_DEMAND:
        return True, request
    due = next_rotation(record, facts.now)
    return due is not None and due <= facts.now, None


def next_change(key: KmsKey | None, record: KeyRecord | None, now: datetime) -> datetime | None:
    """When the plan changes by time alone: the next scheduled rotation of a key that may rotate. Never a moment past."""
    if key is None or record is None or not may_rotate(record):
        return None
    due = next_rotation(record, now)
    return due if due is not None and due > now else None
