"""New records and new versions of records: what a write adds to what a plan decided. Pure; ids, time and material are arguments."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from msgspec import UNSET, UnsetType
from msgspec.structs import replace

from keystead.engine.clock import format_time
from keystead.engine.identifiers import KeyIdForm
from keystead.engine.plan.grant_terms import GrantTerms
from keystead.engine.plan.key_life import hold_of, with_state
from keystead.engine.plan.key_settings import KeySettings, without_default
from keystead.engine.ports import Domain, GeneratedMaterial
from keystead.engine.record.alias import AliasRecord
from keystead.engine.record.codec import Record
from keystead.engine.record.datakey import DataKeyRecord, DataKeyTarget, DataKeyVersion
from keystead.engine.record.grant import GrantRecord
from keystead.engine.record.install import InstallRecord
from keystead.engine.record.key import KeyRecord, KeyVersion, Wrap
from keystead.resources import names
from keystead.resources.kms_alias import KmsAlias
from keystead.resources.kms_grant import KmsGrant
from keystead.resources.kms_key import KmsKey
from keystead.resources.vocabulary import KeyState, Origin, Protection

_ON_DEMAND: Final = "onDemand"
"""Member of `ext`: the numbers of the versions that were made on demand."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Birth:
    """What a first record takes from the world. `transition` is the leader's."""

    domain: Domain
    namespace_uid: str
    crd_uid: str
    account: str
    region: str
    transition: int
    now: datetime


def new_install_record(domain: Domain, install_id: bytes, namespace_uid: str, now: datetime) -> InstallRecord:
    """The first record of an install, seq 1. `namespace_uid`: of the records' namespace."""
    return InstallRecord(
        domain_generation=domain.generation,
        domain_fingerprint=domain.fingerprint,
        namespace_uid=namespace_uid,
        transition=0,
        seq=1,
        install_id=install_id.hex(),
        created=format_time(now),
    )


def key_version(n: int, made: GeneratedMaterial, protection: Protection, now: datetime) -> KeyVersion:
    """A version of new material."""
    return KeyVersion(
        n=n,
        material_id=made.material_id.hex(),
        created=format_time(now),
        origin=Origin.AWS_KMS,
        protection=protection,
        wrap=Wrap.SUITE1 if protection is Protection.SOFTWARE else Wrap.KWP,
        wrapped=made.wrapped,
        plain_len=made.plain_len,
        spki=UNSET if made.spki is None else made.spki,
    )


def new_key_record(
    birth: Birth, key: KmsKey, key_id: str, settings: KeySettings, protection: Protection, made: GeneratedMaterial
) -> KeyRecord:
    """The first record of a key, seq 1. A request to rotate that is there already is answered by the birth.

    A hold, or a deletion that the object asks for from its beginning, is in it: the key is not open for a moment.
    """
    now = format_time(birth.now)
    asked = key.metadata.annotations.get(names.ROTATE_REQUESTED_AT)
    record = KeyRecord(
        domain_generation=birth.domain.generation,
        domain_fingerprint=birth.domain.fingerprint,
        namespace_uid=birth.namespace_uid,
        transition=birth.transition,
        seq=1,
        store_name="default",
        key_id=key_id,
        key_id_form=KeyIdForm.UUID,
        region=birth.region if key.spec.region is UNSET else key.spec.region,
        account=birth.account,
        namespace=key.metadata.namespace,
        name=key.metadata.name,
        object_uid=key.metadata.uid,
        crd_uid=birth.crd_uid,
        bound=True,
        spec=key.spec.key_spec,
        usage=key.spec.key_usage,
        origin=Origin.AWS_KMS,
        multi_region=False,
        protection=protection,
        description=settings.description,
        tags=settings.tags,
        policy=without_default(settings.policy, birth.account),
        enabled=settings.enabled,
        state=KeyState.ENABLED if settings.enabled else KeyState.DISABLED,
        created=now,
        pending_window_in_days=settings.pending_window_in_days,
        deletion_policy=settings.deletion_policy,
        rotation=settings.rotation,
        on_demand_rotations=0,
        last_rotate_request=UNSET if asked is None else asked[:256],
        versions=[key_version(1, made, protection, birth.now)],
        current=1,
        n_versions=1,
    )
    record = replace(record, hold=hold_of(key, record, birth.now))
    return with_state(record, record.state, key, birth.now)


def rotated(record: KeyRecord, made: GeneratedMaterial, now: datetime, request: str | None) -> KeyRecord:
    """The record with one more version; `request` is the on-demand request that this answers."""
    n = record.n_versions + 1
    version = key_version(n, made, record.protection, now)
    changed = replace(record, versions=[*record.versions, version], current=n, n_versions=n)
    if request is None:
        return changed
    ext = {**record.ext, _ON_DEMAND: [*sorted(on_demand_versions(record)), n]}
    return replace(changed, last_rotate_request=request, on_demand_rotations=record.on_demand_rotations + 1, ext=ext)


def on_demand_versions(record: KeyRecord) -> frozenset[int]:
    """The versions that were made on demand, for ListKeyRotations. A record from before this was noted tells only where all were."""
    told = record.ext.get(_ON_DEMAND)
    if isinstance(told, list):
        return frozenset(told)
    if record.on_demand_rotations == record.n_versions - 1:
        return frozenset(range(2, record.n_versions + 1))
    return frozenset()


def successor(record: Record, before: Record, before_digest: str, transition: int) -> Record:
    """`record` as the one after `before`: seq + 1, prev, and the writing leader's transition."""
    return replace(record, seq=before.seq + 1, prev=before_digest, transition=transition)


def new_alias_record(birth: Birth, alias: KmsAlias, key_id: str) -> AliasRecord:
    """The claim of an alias name."""
    now = format_time(birth.now)
    return AliasRecord(
        domain_generation=birth.domain.generation,
        domain_fingerprint=birth.domain.fingerprint,
        namespace_uid=birth.namespace_uid,
        transition=birth.transition,
        seq=1,
        region=birth.region,
        account=birth.account,
        alias_name=alias.spec.alias_name,
        key_id=key_id,
        namespace=alias.metadata.namespace,
        name=alias.metadata.name,
        object_uid=alias.metadata.uid,
        crd_uid=birth.crd_uid,
        bound=True,
        created=now,
        updated=now,
    )


def new_grant_record(birth: Birth, grant: KmsGrant, key_id: str, terms: GrantTerms, random32: bytes) -> GrantRecord:
    """A grant; its id is 32 random bytes."""
    return GrantRecord(
        domain_generation=birth.domain.generation,
        domain_fingerprint=birth.domain.fingerprint,
        namespace_uid=birth.namespace_uid,
        transition=birth.transition,
        seq=1,
        grant_id=random32.hex(),
        key_id=key_id,
        region=birth.region,
        account=birth.account,
        namespace=grant.metadata.namespace,
        name=grant.metadata.name,
        object_uid=grant.metadata.uid,
        crd_uid=birth.crd_uid,
        bound=True,
        grant_name=terms.grant_name,
        grantee_principal=terms.grantee_principal,
        grantee_service_principal=terms.grantee_service_principal,
        retiring_principal=terms.retiring_principal,
        retiring_service_principal=terms.retiring_service_principal,
        operations=terms.operations,
        constraints=terms.constraints,
        created=format_time(birth.now),
        expires_at=terms.expires_at,
    )


@dataclass(frozen=True, slots=True)
class IssuedDataKey:
    """What GenerateDataKeyWithoutPlaintext (or the pair's) answered."""

    blob: bytes
    key_arn: str
    key_material_id: str
    public_key: bytes | None


def data_key_version(n: int, issued: IssuedDataKey, context: dict[str, str], now: datetime) -> DataKeyVersion:
    """A version of a new data key."""
    return DataKeyVersion(
        n=n,
        blob=issued.blob,
        encryption_context=context,
        key_arn=issued.key_arn,
        key_material_id=issued.key_material_id,
        created=format_time(now),
        public_key=UNSET if issued.public_key is None else issued.public_key,
    )


def new_data_key_record(
    birth: Birth,
    key_id: str,
    called: tuple[str, str, str],
    content: tuple[str | UnsetType, int | UnsetType],
    secret_name: str,
    version: DataKeyVersion,
) -> DataKeyRecord:
    """The first record of a data key. `called`: namespace, name, object uid; `content`: dataKeySpec, numberOfBytes."""
    namespace, name, uid = called
    return DataKeyRecord(
        domain_generation=birth.domain.generation,
        domain_fingerprint=birth.domain.fingerprint,
        namespace_uid=birth.namespace_uid,
        transition=birth.transition,
        seq=1,
        key_id=key_id,
        region=birth.region,
        account=birth.account,
        namespace=namespace,
        name=name,
        object_uid=uid,
        crd_uid=birth.crd_uid,
        bound=True,
        data_key_spec=content[0],
        number_of_bytes=content[1],
        target=DataKeyTarget(secret_name=secret_name, injected=False),
        created=version.created,
        part=0,
        archives=0,
        versions=[version],
        first_version=1,
        current=1,
        n_versions=1,
    )


def issued_again(record: DataKeyRecord, version: DataKeyVersion, key: KeyRecord, request: str | None) -> DataKeyRecord:
    """The record with one more version, under `key`: another one than before where an alias moved."""
    changed = replace(
        record,
        versions=[*record.versions, version],
        current=version.n,
        n_versions=version.n,
        key_id=key.key_id,
        region=key.region,
        account=key.account,
    )
    return changed if request is None else replace(changed, last_rotate_request=request)


def rewrapped(record: DataKeyRecord, n: int, blob: bytes, key_arn: str, key_material_id: str) -> DataKeyRecord:
    """The record with the blob of one version replaced."""
    versions = [
        replace(version, blob=blob, key_arn=key_arn, key_material_id=key_material_id) if version.n == n else version
        for version in record.versions
    ]
    return replace(record, versions=versions)


def archived(record: DataKeyRecord, count: int, transition: int) -> tuple[DataKeyRecord, DataKeyRecord]:
    """(the archive of the oldest `count` versions, the record without them). Nothing of a version is changed."""
    moved, kept = record.versions[:count], record.versions[count:]
    k = record.archives + 1
    archive = replace(
        record,
        seq=1,
        prev=UNSET,
        transition=transition,
        part=k,
        archives=0,
        versions=moved,
        first_version=moved[0].n,
        current=moved[-1].n,
        n_versions=moved[-1].n,
    )
    return archive, replace(record, archives=k, versions=kept, first_version=kept[0].n)
