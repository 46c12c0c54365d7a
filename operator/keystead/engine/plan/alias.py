"""plan_alias: a KmsAlias, the record that claims its name, and the key that it names -> what to do. Pure.

    no record                 -> ClaimAlias, create-only: the first one has the name
    another key id            -> WriteAlias: a retarget; the old key serves until that write, the new one after it
    object gone               -> DropAlias: the name is free
    key destroyed             -> DropAlias, and KeyDestroyed until the object is made again

The record of an alias is its claim (RECORDS, Identity): it names the KEY ID, never a key's name.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from msgspec.structs import replace

from keystead.engine.bounds import ALIASES_PER_KEY
from keystead.engine.clock import format_time
from keystead.engine.identifiers import alias_arn, key_arn
from keystead.engine.keyspec import row
from keystead.engine.keystate import state_error
from keystead.engine.plan.common import (
    CrdFacts,
    DeleteObject,
    NamespaceFacts,
    Obstacle,
    Opened,
    Plan,
    adopting_either,
    bound_obstacle,
    ending_obstacle,
    ends_with_its_key,
    gone_obstacle,
    integrity_obstacle,
    namespace_obstacle,
    suspended_obstacle,
)
from keystead.engine.plan.reference import key_of_object, key_reference_obstacle, older_than_destruction, outlived_key
from keystead.engine.record.alias import AliasRecord
from keystead.engine.record.key import KeyRecord
from keystead.resources.kms_alias import KmsAlias
from keystead.resources.reasons import Reason
from keystead.resources.vocabulary import KeyState


@dataclass(frozen=True, slots=True, kw_only=True)
class AliasFacts:
    """All that a plan for one alias depends on.

    record         what claims the name now, whoever holds it; for an absent object: what it held
    left           names of records of this object under other names (its account changed, or it was made again): to be dropped
    key            the record of the KmsKey in spec.keyRef
    target         the record of the key that `record` names
    destroyed_at   when a key of the name in spec.keyRef was destroyed last
    aliases        how many records name the key in spec.keyRef
    """

    alias: KmsAlias | None
    record: AliasRecord | None
    opened: Opened | None
    left: tuple[str, ...] = ()
    namespace: NamespaceFacts | None
    crd: CrdFacts | None
    key: KeyRecord | None
    target: KeyRecord | None
    destroyed_at: datetime | None
    now: datetime
    aliases: int = 0


@dataclass(frozen=True, slots=True)
class ClaimAlias:
    """Create the record for this key."""

    key: KeyRecord


@dataclass(frozen=True, slots=True)
class WriteAlias:
    """Replace the record by this one."""

    record: AliasRecord


@dataclass(frozen=True, slots=True)
class DropAlias:
    """Delete the record. `name`: of another record than the one gathered."""

    name: str = ""


AliasStep = ClaimAlias | WriteAlias | DropAlias
AliasPlan = Plan[AliasStep | DeleteObject]


def plan_alias(facts: AliasFacts) -> AliasPlan:
    """What to do about one alias."""
    if facts.alias is None:
        return _plan_absent(facts)
    if facts.left and not facts.alias.spec.suspend:
        return AliasPlan(DropAlias(facts.left[0]))
    obstacle = find_obstacle(facts)
    record = facts.record
    ended = obstacle is not None and obstacle.reason is Reason.KEY_DESTROYED
    if ended and record is not None and _ours(facts.alias, record):
        return AliasPlan(DropAlias(), obstacle)
    if obstacle is not None:
        return AliasPlan(DeleteObject() if ended and ends_with_its_key(facts.alias.metadata) else None, obstacle)
    assert facts.key is not None
    if record is None:
        return AliasPlan(ClaimAlias(facts.key))
    wanted = _wanted(facts, facts.alias, record, facts.key)
    return AliasPlan(WriteAlias(wanted)) if wanted != record else AliasPlan()


def _ours(alias: KmsAlias, record: AliasRecord) -> bool:
    return (record.namespace, record.name) == (alias.metadata.namespace, alias.metadata.name)


def _plan_absent(facts: AliasFacts) -> AliasPlan:
    record = facts.record
    if record is None:
        return AliasPlan()
    reason = gone_obstacle(record.crd_uid, record.namespace_uid, facts.crd, facts.namespace)
    if reason is not None:
        return AliasPlan(note=f"{record.namespace}/{record.name} has no object, but {reason}")
    return AliasPlan(DropAlias())


def find_obstacle(facts: AliasFacts) -> Obstacle | None:
    """The first thing that stands against any work, in this order (tested)."""
    alias = facts.alias
    assert alias is not None
    return (
        _earlier_tenant(facts, alias)
        or _taken(alias, facts.record)
        or _outlived(facts, alias)
        or _integrity(facts, alias)
        or suspended_obstacle(alias.spec.suspend)
        or ending_obstacle(facts.namespace)
        or key_reference_obstacle(facts.key, facts.namespace, f"{alias.metadata.namespace}/{alias.spec.key_ref.name}")
        or _region(facts)
        or _other_type(facts)
        or _state(facts)
        or _bound(facts)
    )


def _taken(alias: KmsAlias, record: AliasRecord | None) -> Obstacle | None:
    if record is None or _ours(alias, record):
        return None
    return Obstacle(
        Reason.ALIAS_TAKEN, f"spec.aliasName: KmsAlias {record.name} of this namespace holds {alias.spec.alias_name}; delete it first"
    )


def _outlived(facts: AliasFacts, alias: KmsAlias) -> Obstacle | None:
    """The key of the record was destroyed; or there is no record, and the object is older than the destruction of its key."""
    if facts.record is not None:
        if facts.target is None or facts.target.state is not KeyState.DESTROYED or key_of_object(facts.key) != facts.target.key_id:
            return None
        return outlived_key(facts.target.key_id)
    return older_than_destruction(alias.metadata, facts.key, facts.namespace, facts.destroyed_at)


def _integrity(facts: AliasFacts, alias: KmsAlias) -> Obstacle | None:
    """A status of the same claim that names an absent or older record. Of another account's claim it says nothing."""
    key = facts.key
    if key is not None and alias.status.alias_arn != alias_arn(key.region, key.account, alias.spec.alias_name):
        return None
    return integrity_obstacle(alias.status, facts.opened, names_something=False)


def _earlier_tenant(facts: AliasFacts, alias: KmsAlias) -> Obstacle | None:
    return None if adopting_either(alias.metadata) else namespace_obstacle(facts.record, facts.namespace)


def _region(facts: AliasFacts) -> Obstacle | None:
    record, key = facts.record, facts.key
    if record is None or key is None or record.region == key.region:
        return None
    return Obstacle(
        Reason.INVALID_SPEC, f"spec.keyRef: the alias is of region {record.region} and cannot name a key of region {key.region}"
    )


def _other_type(facts: AliasFacts) -> Obstacle | None:
    """AWS UpdateAlias: the new key must be of the type and the usage of the one before."""
    key, before = facts.key, facts.target
    if key is None or before is None or facts.record is None or key.key_id == before.key_id or before.state is KeyState.DESTROYED:
        return None
    if (row(key.spec).secret_length > 0, key.usage) == (row(before.spec).secret_length > 0, before.usage):
        return None
    return Obstacle(
        Reason.INVALID_SPEC,
        f"spec.keyRef: an alias of a {before.spec} key for {before.usage} cannot name a {key.spec} key for {key.usage}; make another alias",
    )


def _state(facts: AliasFacts) -> Obstacle | None:
    """AWS's table: CreateAlias or UpdateAlias in the key's state. An alias that names the key already stays."""
    record, key = facts.record, facts.key
    assert key is not None
    if record is not None and record.key_id == key.key_id:
        return None
    if key.state is KeyState.DESTROYED:
        return Obstacle(Reason.DEPENDENCY_NOT_FOUND, "the KmsKey in spec.keyRef was destroyed; the alias names its old key still")
    if not key.bound:
        return Obstacle(Reason.DEPENDENCY_NOT_FOUND, "the KmsKey in spec.keyRef was deleted; apply it again")
    error = state_error("CreateAlias", key.state, key_arn(key.region, key.account, key.key_id))
    return None if error is None else Obstacle(Reason.DEPENDENCY_NOT_READY, f"spec.keyRef: {error}")


def _bound(facts: AliasFacts) -> Obstacle | None:
    record, key = facts.record, facts.key
    if record is not None and key is not None and record.key_id == key.key_id:
        return None
    return bound_obstacle(facts.aliases, ALIASES_PER_KEY, "spec.keyRef: aliases of the key")


def _wanted(facts: AliasFacts, alias: KmsAlias, record: AliasRecord, key: KeyRecord) -> AliasRecord:
    assert facts.namespace is not None
    bound = replace(
        record,
        bound=True,
        object_uid=alias.metadata.uid,
        crd_uid=facts.crd.uid if facts.crd else record.crd_uid,
        namespace_uid=facts.namespace.uid,
    )
    if bound.key_id == key.key_id:
        return bound
    return replace(bound, key_id=key.key_id, updated=format_time(facts.now))
