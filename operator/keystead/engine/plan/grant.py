"""plan_grant: a KmsGrant, its record and its key -> what to do. Pure.

    no record                 -> MakeGrant: the grant id is made with the record
    object gone               -> DropGrant: the record dies with the grant
    object made again         -> DropGrant, then a new grant; after the CRD was made again the same grant, if it says the same
    key destroyed             -> DropGrant, and KeyDestroyed until the object is made again
    expired                   -> the record stays until the object goes (it allows nothing), GrantExpired

A grant is immutable: CEL refuses a change of its spec.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from msgspec import UNSET
from msgspec.structs import asdict, replace

from keystead.engine.bounds import GRANTS_PER_KEY
from keystead.engine.clock import parse_time
from keystead.engine.identifiers import key_arn
from keystead.engine.keystate import state_error
from keystead.engine.plan.common import (
    CrdFacts,
    DeleteObject,
    NamespaceFacts,
    Obstacle,
    Opened,
    Plan,
    adopting,
    adopting_as_new,
    adopting_either,
    bound_obstacle,
    ending_obstacle,
    ends_with_its_key,
    gone_obstacle,
    integrity_obstacle,
    namespace_obstacle,
)
from keystead.engine.plan.grant_terms import GrantTerms, check_terms, terms_of
from keystead.engine.plan.reference import key_of_object, key_reference_obstacle, older_than_destruction, outlived_key
from keystead.engine.record.grant import GrantRecord
from keystead.engine.record.key import KeyRecord
from keystead.errors import InvalidSpecError
from keystead.resources.kms_grant import KmsGrant
from keystead.resources.reasons import Reason
from keystead.resources.vocabulary import KeyState


@dataclass(frozen=True, slots=True, kw_only=True)
class GrantFacts:
    """All that a plan for one grant depends on. `key`: the record of the KmsKey in spec.keyRef; `target`: of the record's key.

    `destroyed_at`: when a key of the name in spec.keyRef was destroyed last. `grants`: how many records are of the key in spec.keyRef.
    """

    grant: KmsGrant | None
    record: GrantRecord | None
    opened: Opened | None
    namespace: NamespaceFacts | None
    crd: CrdFacts | None
    key: KeyRecord | None
    target: KeyRecord | None
    destroyed_at: datetime | None
    now: datetime
    grants: int = 0


@dataclass(frozen=True, slots=True)
class MakeGrant:
    """Create the record with these terms for this key."""

    key: KeyRecord
    terms: GrantTerms


@dataclass(frozen=True, slots=True)
class WriteGrant:
    """Replace the record by this one: bound to this object."""

    record: GrantRecord


@dataclass(frozen=True, slots=True)
class DropGrant:
    """Delete the record."""


GrantStep = MakeGrant | WriteGrant | DropGrant
GrantPlan = Plan[GrantStep | DeleteObject]


def plan_grant(facts: GrantFacts) -> GrantPlan:
    """What to do about one grant."""
    if facts.grant is None:
        return _plan_absent(facts)
    record = facts.record
    if record is not None and _of_another_object(facts, facts.grant, record):
        return GrantPlan(DropGrant())
    obstacle = find_obstacle(facts)
    if obstacle is not None:
        return GrantPlan(_end(facts.grant, record) if obstacle.reason is Reason.KEY_DESTROYED else None, obstacle)
    assert facts.key is not None
    try:
        terms = terms_of(facts.grant.spec, facts.key.account, facts.now if record is None else parse_time(record.created))
        if record is None:
            check_terms(terms, facts.key.spec, facts.key.usage)
    except InvalidSpecError as error:
        return GrantPlan(obstacle=Obstacle(Reason.INVALID_SPEC, str(error)))
    if record is None:
        over = _expired_at_birth(facts, terms)
        return GrantPlan(obstacle=over) if over else GrantPlan(MakeGrant(facts.key, terms))
    return _plan_bound(facts, facts.grant, record, terms)


def _end(grant: KmsGrant, record: GrantRecord | None) -> DropGrant | DeleteObject | None:
    """With its key the record ends, and then the object that the API made."""
    if record is not None:
        return DropGrant()
    return DeleteObject() if ends_with_its_key(grant.metadata) else None


def _plan_bound(facts: GrantFacts, grant: KmsGrant, record: GrantRecord, terms: GrantTerms) -> GrantPlan:
    assert facts.key is not None
    assert facts.namespace is not None
    says = replace(record, **asdict(terms))
    if says != record and not adopting(grant.metadata):
        # The object of another life of the CRD says something else: it is another grant.
        return GrantPlan(DropGrant()) if record.crd_uid != (facts.crd.uid if facts.crd else "") else GrantPlan(obstacle=_differs())
    wanted = replace(
        says,
        bound=True,
        object_uid=grant.metadata.uid,
        crd_uid=facts.crd.uid if facts.crd else record.crd_uid,
        namespace_uid=facts.namespace.uid,
        account=facts.key.account,
    )
    expired = expiry_obstacle(record, facts.now)
    return GrantPlan(WriteGrant(wanted), expired) if wanted != record else GrantPlan(obstacle=expired)


def _differs() -> Obstacle:
    return Obstacle(Reason.RECORD_INTEGRITY, "the sealed grant differs from spec, which cannot change; delete this object and make another")


def _of_another_object(facts: GrantFacts, grant: KmsGrant, record: GrantRecord) -> bool:
    """The grant that the record holds was deleted, under this very CRD and namespace, and this object was made after it."""
    if record.object_uid == grant.metadata.uid or facts.namespace is None or facts.namespace.terminating:
        return False
    if record.namespace_uid != facts.namespace.uid:
        return adopting_as_new(grant.metadata)
    return facts.crd is not None and record.crd_uid == facts.crd.uid


def _plan_absent(facts: GrantFacts) -> GrantPlan:
    record = facts.record
    if record is None:
        return GrantPlan()
    reason = gone_obstacle(record.crd_uid, record.namespace_uid, facts.crd, facts.namespace)
    if reason is not None:
        return GrantPlan(note=f"{record.namespace}/{record.name} has no object, but {reason}")
    return GrantPlan(DropGrant())


def find_obstacle(facts: GrantFacts) -> Obstacle | None:
    """The first thing that stands against any work, in this order (tested)."""
    grant = facts.grant
    assert grant is not None
    return (
        _earlier_tenant(facts, grant)
        or _outlived(facts, grant)
        or integrity_obstacle(grant.status, facts.opened, grant.status.grant_id is not UNSET)
        or ending_obstacle(facts.namespace)
        or key_reference_obstacle(facts.key, facts.namespace, f"{grant.metadata.namespace}/{grant.spec.key_ref.name}")
        or _other_key(facts)
        or _state(facts)
        or _bound(facts)
    )


def _outlived(facts: GrantFacts, grant: KmsGrant) -> Obstacle | None:
    """The key of the record was destroyed; or there is no record, and the object is older than the destruction of its key."""
    if facts.record is not None:
        destroyed = facts.target is not None and facts.target.state is KeyState.DESTROYED
        return outlived_key(facts.record.key_id) if destroyed else None
    return older_than_destruction(grant.metadata, facts.key, facts.namespace, facts.destroyed_at)


def _earlier_tenant(facts: GrantFacts, grant: KmsGrant) -> Obstacle | None:
    return None if adopting_either(grant.metadata) else namespace_obstacle(facts.record, facts.namespace)


def _other_key(facts: GrantFacts) -> Obstacle | None:
    if facts.record is None or key_of_object(facts.key) == facts.record.key_id:
        return None
    return Obstacle(Reason.DEPENDENCY_NOT_FOUND, "spec.keyRef names another key now than the one that was granted")


def _state(facts: GrantFacts) -> Obstacle | None:
    """AWS's table: CreateGrant in the key's state. A grant that was made stays, whatever the state."""
    key = facts.key
    assert key is not None
    if facts.record is not None:
        return None
    if not key.bound:
        return Obstacle(Reason.DEPENDENCY_NOT_FOUND, "the KmsKey in spec.keyRef was deleted; apply it again")
    if key.hold is not UNSET:
        return Obstacle(Reason.DEPENDENCY_NOT_READY, "the key is held")
    error = state_error("CreateGrant", key.state, key_arn(key.region, key.account, key.key_id))
    return None if error is None else Obstacle(Reason.DEPENDENCY_NOT_READY, f"spec.keyRef: {error}")


def _bound(facts: GrantFacts) -> Obstacle | None:
    return bound_obstacle(facts.grants, GRANTS_PER_KEY, "spec.keyRef: grants of the key") if facts.record is None else None


def _expired_at_birth(facts: GrantFacts, terms: GrantTerms) -> Obstacle | None:
    if terms.expires_at is UNSET or parse_time(terms.expires_at) > facts.now:
        return None
    return Obstacle(Reason.GRANT_EXPIRED, f"spec.expiresAt {terms.expires_at} was over before the grant was made; nothing is granted")


def expiry_obstacle(record: GrantRecord, now: datetime) -> Obstacle | None:
    """The grant's time is over. The policy asks the same of the record at each call; this only says so."""
    if record.expires_at is UNSET or parse_time(record.expires_at) > now:
        return None
    return Obstacle(Reason.GRANT_EXPIRED, f"the grant ended at {record.expires_at}; it allows nothing")


def next_change(record: GrantRecord | None, now: datetime) -> datetime | None:
    """When the plan changes by time alone: the end of the grant."""
    if record is None or record.expires_at is UNSET:
        return None
    end = parse_time(record.expires_at)
    return end if end > now else None
