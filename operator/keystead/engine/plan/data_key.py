"""plan_data_key: a KmsDataKey, its record, its key and its Secret -> what to do. Pure.

    no key is named, and the namespace has no AWS managed key yet -> MakeManagedKey
    no record, key usable     -> Issue version 1
    due, or asked for         -> Issue the next version
    blob under older material -> Rewrap that version
    Secret not as the record  -> Deliver (the SAME blobs; nothing is generated for a Secret)
    object gone               -> WriteDataKey with bound = false

One step a pass. The record comes before the Secret: a version exists once it is recorded.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from dataclasses import field as member
from datetime import datetime

from msgspec import UNSET, UnsetType
from msgspec.structs import replace

from keystead.engine.managed import MANAGED_ALIAS, MANAGED_KEY, serves_data_keys
from keystead.engine.plan.common import (
    CrdFacts,
    NamespaceFacts,
    Obstacle,
    Opened,
    Plan,
    adopting,
    ending_obstacle,
    gone_obstacle,
    integrity_obstacle,
    namespace_obstacle,
    rotate_request,
    suspended_obstacle,
)
from keystead.engine.plan.data_key_versions import next_data_key_rotation, versions_of, visible_versions
from keystead.engine.plan.secret import DesiredSecret, SecretFacts, desired_secret, secret_obstacle
from keystead.engine.record.codec import encode
from keystead.engine.record.datakey import DataKeyRecord
from keystead.engine.record.key import KeyRecord
from keystead.resources.kms_data_key import KmsDataKey, KmsDataKeySpec
from keystead.resources.reasons import Reason
from keystead.resources.vocabulary import AnyDataKeySpec, KeySpec, KeyState

# A version of a key pair takes up to 5 KiB: this leaves room for more than ten beside the bound of 256 KiB.
ARCHIVE_ABOVE = 192 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class DataKeyFacts:
    """All that a plan for one data key depends on.

    key      the record of the key under which the newest version is: of the record's key id, before there is one of `target`
    target   the record of the key that spec names now; by aliasRef it is looked at for a new version only
    home     the live namespace of a key abroad
    granted  the key abroad consents: nothing is said of one that does not, not even that it is there
    awaits   KmsKey aws-keystead is there: looked at where spec names no key and `target` does not serve
    refused  steps that were tried in this pass, and that the key's policy does not allow
    """

    data_key: KmsDataKey | None
    record: DataKeyRecord | None
    opened: Opened | None
    namespace: NamespaceFacts | None
    crd: CrdFacts | None
    key: KeyRecord | None
    target: KeyRecord | None
    secret: SecretFacts | None
    now: datetime
    home: NamespaceFacts | None = None
    granted: bool = False
    awaits: bool = False
    refused: Mapping[type, Obstacle] = member(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Issue:
    """Generate the next version (1 where there is no record) and write the record."""

    number: int


@dataclass(frozen=True, slots=True)
class MakeManagedKey:
    """Create the KmsKey of alias/aws/keystead in this namespace."""


@dataclass(frozen=True, slots=True)
class Rewrap:
    """Re-encrypt the blob of one version under the key's current material, and write the record."""

    number: int


@dataclass(frozen=True, slots=True)
class WriteDataKey:
    """Replace the record by this one."""

    record: DataKeyRecord


@dataclass(frozen=True, slots=True)
class Deliver:
    """Make the Secret what the record says."""

    desired: DesiredSecret


@dataclass(frozen=True, slots=True)
class Archive:
    """Move the oldest versions into a sealed record of their own: the next one would not fit into 256 KiB."""

    count: int


DataKeyStep = MakeManagedKey | Archive | Issue | Rewrap | WriteDataKey | Deliver


DataKeyPlan = Plan[DataKeyStep]


def plan_data_key(facts: DataKeyFacts) -> DataKeyPlan:
    """What to do about one data key."""
    if facts.data_key is None:
        return _plan_absent(facts)
    obstacle = find_obstacle(facts)
    if obstacle is not None:
        return DataKeyPlan(obstacle=obstacle)
    if _wants_managed_key(facts, facts.data_key):
        return DataKeyPlan(MakeManagedKey())
    record = facts.record
    if record is None:
        blocked = _stuck(facts, facts.target, Issue)
        return DataKeyPlan(obstacle=blocked) if blocked else DataKeyPlan(Issue(1))
    bound = _bound(facts, facts.data_key, record)
    if bound != record:
        return DataKeyPlan(WriteDataKey(bound))
    step, blocked = _work(facts, facts.data_key, record)
    return _deliver(facts, facts.data_key, record, blocked) if step is None else DataKeyPlan(step, blocked)


def _plan_absent(facts: DataKeyFacts) -> DataKeyPlan:
    record = facts.record
    if record is None or not record.bound:
        return DataKeyPlan()
    reason = gone_obstacle(record.crd_uid, record.namespace_uid, facts.crd, facts.namespace)
    if reason is not None:
        return DataKeyPlan(note=f"{record.namespace}/{record.name} has no object, but {reason}")
    return DataKeyPlan(WriteDataKey(replace(record, bound=False)))


def find_obstacle(facts: DataKeyFacts) -> Obstacle | None:
    """The first thing that stands against any work, in this order (tested): first whether the record is this object's at all."""
    data_key = facts.data_key
    assert data_key is not None
    return (
        integrity_obstacle(data_key.status, facts.opened, data_key.status.version is not UNSET)
        or _earlier_tenant(facts, data_key)
        or suspended_obstacle(data_key.spec.suspend)
        or (_withheld(facts) if facts.record is None else None)
        or ending_obstacle(facts.namespace)
        or _secret_without_record(facts, data_key)
        or (_key_of_record(facts) if _withheld(facts) is None else None)
        or _immutable_changed(data_key.spec, facts.record)
    )


def _earlier_tenant(facts: DataKeyFacts, data_key: KmsDataKey) -> Obstacle | None:
    return None if adopting(data_key.metadata) else namespace_obstacle(facts.record, facts.namespace)


def abroad(data_key: KmsDataKey) -> str | None:
    """The other namespace whose key is named; None where the key is this namespace's."""
    ref = data_key.spec.key_ref
    if ref is UNSET or ref.namespace is UNSET or ref.namespace == data_key.metadata.namespace:
        return None
    return ref.namespace


def not_granted(namespace: str) -> Obstacle:
    """All that is said of a key abroad without its consent: the same whether or not it exists."""
    return Obstacle(Reason.REFERENCE_NOT_GRANTED, f"namespace {namespace!r} does not let this namespace use the key")


def _withheld(facts: DataKeyFacts) -> Obstacle | None:
    """A key abroad does not consent (any more). A data key that was made keeps its record and Secret."""
    namespace = None if facts.data_key is None else abroad(facts.data_key)
    return None if namespace is None or facts.granted else not_granted(namespace)


def _stuck(facts: DataKeyFacts, key: KeyRecord | None, step: type) -> Obstacle | None:
    """Why a key cannot be used for a step now."""
    assert facts.data_key is not None
    home = facts.namespace if abroad(facts.data_key) is None else facts.home
    return _withheld(facts) or key_obstacle(key, home, facts.data_key) or facts.refused.get(step)


def names_no_key(spec: KmsDataKeySpec) -> bool:
    """Whether the data key is under the AWS managed key of its namespace."""
    return spec.key_ref is UNSET and spec.alias_ref is UNSET


def _wants_managed_key(facts: DataKeyFacts, data_key: KmsDataKey) -> bool:
    """On first use; and again where its object was taken away by force: the record is bound to the new one."""
    return names_no_key(data_key.spec) and not facts.awaits and lacks_object(facts.target, facts.namespace)


def lacks_object(target: KeyRecord | None, namespace: NamespaceFacts | None) -> bool:
    """Whether the managed key has no object in this very namespace, as far as its record tells."""
    return target is None or not target.bound or namespace_obstacle(target, namespace) is not None


def _secret_without_record(facts: DataKeyFacts, data_key: KmsDataKey) -> Obstacle | None:
    """A Secret that carries this data key while the record is gone: generating would strand what it encrypted."""
    if facts.record is None and facts.secret is not None and facts.secret.names_data_key(data_key.metadata.name):
        return Obstacle(
            Reason.RECORD_INTEGRITY,
            f"Secret {data_key.spec.target.secret_name} carries this data key, but its record does not exist; "
            "nothing was generated. Restore keystead-records from a backup, or remove the data key from the Secret",
        )
    return None


def _key_of_record(facts: DataKeyFacts) -> Obstacle | None:
    """The key of the record must be there; and by keyRef it must be the one that spec names. An alias may have moved."""
    record, data_key = facts.record, facts.data_key
    if record is None or data_key is None:
        return None
    if facts.key is None:
        return Obstacle(
            Reason.RECORD_INTEGRITY, "the record of the key that encrypted this data key does not exist; nothing was generated"
        )
    if data_key.spec.alias_ref is not UNSET:
        return None
    if facts.key.state is KeyState.DESTROYED:
        return Obstacle(
            Reason.KEY_DESTROYED,
            f"the key {facts.key.key_id} that encrypted this data key was destroyed: its versions open no more; use another name",
        )
    if facts.target is not None and facts.target.key_id == record.key_id:
        return None
    what = f"{MANAGED_ALIAS} is" if names_no_key(data_key.spec) else "spec.keyRef names"
    return Obstacle(Reason.INVALID_SPEC, f"{what} another key than the one that encrypted the data key of this name; use another name")


def _immutable_changed(spec: KmsDataKeySpec, record: DataKeyRecord | None) -> Obstacle | None:
    """A manifest re-applied with other content than the data key that bears its name."""
    if record is None:
        return None
    context = {} if spec.encryption_context is UNSET else dict(spec.encryption_context)
    pairs: tuple[tuple[str, object, object], ...] = (
        ("spec.dataKeySpec", spec_name(spec), record.data_key_spec),
        ("spec.numberOfBytes", spec.number_of_bytes, record.number_of_bytes),
        ("spec.target.secretName", spec.target.secret_name, record.target.secret_name),
        ("spec.encryptionContext", context, record.current_version.encryption_context),
    )
    for field, wanted, has in pairs:
        if wanted != has:
            return Obstacle(
                Reason.INVALID_SPEC, f"{field} differs from the data key of this name; use another name for another data key"
            )
    return None


def _missing(data_key: KmsDataKey) -> str:
    """By the name that its author gave it, in this namespace. Of a key abroad nothing is said here (not_granted)."""
    spec, namespace = data_key.spec, data_key.metadata.namespace
    if spec.alias_ref is not UNSET:
        return f"spec.aliasRef: KmsAlias {namespace}/{spec.alias_ref.name} does not exist, or names no key yet"
    named = "the KmsKey" if spec.key_ref is UNSET or abroad(data_key) is not None else f"KmsKey {namespace}/{spec.key_ref.name}"
    return f"spec.keyRef: {named} does not exist"


def key_obstacle(key: KeyRecord | None, namespace: NamespaceFacts | None, data_key: KmsDataKey) -> Obstacle | None:
    """Why the key cannot generate or re-wrap now. What is in the Secret stays as it is."""
    spec = data_key.spec
    by_alias = spec.alias_ref is not UNSET
    if names_no_key(spec) and (key is None or not (key.bound or namespace_obstacle(key, namespace))):
        return Obstacle(Reason.DEPENDENCY_NOT_READY, f"{MANAGED_ALIAS}: KmsKey {MANAGED_KEY} is being made")
    if key is None:
        return Obstacle(Reason.DEPENDENCY_NOT_FOUND, _missing(data_key))
    if namespace_obstacle(key, namespace) is not None:
        return Obstacle(Reason.DEPENDENCY_NOT_READY, "the name of the KmsKey is taken by an earlier namespace's key")
    if names_no_key(spec) and not serves_data_keys(key):
        what = "not the one that Keystead makes: its policy is another one; find out who made it, or name a key in spec.keyRef"
        return Obstacle(Reason.DEPENDENCY_NOT_READY, f"{MANAGED_ALIAS}: KmsKey {MANAGED_KEY} is {what}")
    if key.spec is not KeySpec.SYMMETRIC_DEFAULT:
        field = "spec.aliasRef" if by_alias else "spec.keyRef"
        return Obstacle(Reason.INVALID_SPEC, f"{field}: a data key needs a SYMMETRIC_DEFAULT key, this is {key.spec}")
    if not key.bound:
        return Obstacle(Reason.DEPENDENCY_NOT_FOUND, "the KmsKey was deleted; apply it again")
    if key.hold is not UNSET:
        return Obstacle(Reason.DEPENDENCY_NOT_READY, "the key is held")
    if key.state is not KeyState.ENABLED:
        return Obstacle(Reason.DEPENDENCY_NOT_READY, f"the key is {key.state}")
    return None


def spec_name(spec: KmsDataKeySpec) -> str | UnsetType:
    """dataKeySpec as the record holds it: AES_256 where neither field is set."""
    if spec.data_key_spec is not UNSET:
        return spec.data_key_spec.value
    return AnyDataKeySpec.AES_256.value if spec.number_of_bytes is UNSET else UNSET


def _bound(facts: DataKeyFacts, data_key: KmsDataKey, record: DataKeyRecord) -> DataKeyRecord:
    assert facts.namespace is not None
    return replace(
        record,
        bound=True,
        object_uid=data_key.metadata.uid,
        crd_uid=facts.crd.uid if facts.crd else record.crd_uid,
        namespace_uid=facts.namespace.uid,
    )


def _issue_due(facts: DataKeyFacts, data_key: KmsDataKey, record: DataKeyRecord) -> bool:
    """Whether the next version is due or asked for."""
    if data_key.spec.target.immutable:
        return False
    due = next_data_key_rotation(data_key, record)
    return rotate_request(data_key.metadata, record) is not None or (due is not None and due <= facts.now)


def _work(
    facts: DataKeyFacts, data_key: KmsDataKey, record: DataKeyRecord
) -> tuple[Archive | Issue | Rewrap | None, Obstacle | None]:
    """(the next step, what stands against a version that is due, or against re-wraps). An alias that leads nowhere stops no re-wrap."""
    blocked = None
    if _issue_due(facts, data_key, record):
        blocked = _stuck(facts, facts.target, Issue)
        if blocked is None:
            return _room_for_one(facts, data_key, record) or Issue(record.n_versions + 1), None
    stuck = _stuck(facts, facts.key, Rewrap)
    step = _rewrap(facts.key, data_key, record) if stuck is None and facts.key is not None else None
    return step, blocked or stuck


def _rewrap(key: KeyRecord, data_key: KmsDataKey, record: DataKeyRecord) -> Rewrap | None:
    if data_key.spec.target.immutable:
        # The Secret cannot follow a re-wrap, and must not differ from its record: both keep the blob, which opens for ever.
        return None
    material = key.current_version.material_id
    stale = [version.n for version in versions_of(record, key) if version.key_material_id != material]
    return Rewrap(max(stale)) if stale else None


def _room_for_one(facts: DataKeyFacts, data_key: KmsDataKey, record: DataKeyRecord) -> Archive | None:
    """Archive up to half of the versions when the record grows too large, but none that stands in the Secret now."""
    if len(encode(record)) <= ARCHIVE_ABOVE:
        return None
    oldest_shown = min(visible_versions(data_key, record, facts.now))
    count = min(len(record.versions) // 2, oldest_shown - record.first_version)
    return Archive(count) if count > 0 else None


def _deliver(
    facts: DataKeyFacts, data_key: KmsDataKey, record: DataKeyRecord, blocked: Obstacle | None
) -> DataKeyPlan:
    obstacle = secret_obstacle(data_key, record, facts.secret)
    if obstacle is not None:
        return DataKeyPlan(obstacle=obstacle)
    desired = desired_secret(data_key, record, visible_versions(data_key, record, facts.now), facts.secret)
    if facts.secret is None or not desired.satisfied_by(facts.secret):
        return DataKeyPlan(Deliver(desired), blocked)
    if record.target.secret_uid != facts.secret.uid or record.target.injected != desired.injected:
        target = replace(record.target, secret_uid=facts.secret.uid, injected=desired.injected)
        return DataKeyPlan(WriteDataKey(replace(record, target=target)), blocked)
    return DataKeyPlan(obstacle=blocked)
