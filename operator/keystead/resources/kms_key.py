"""KmsKey: one AWS KMS key. Parsed here, planned by the engine; status is a view of the sealed record, never a fact.

Fields that the AWS API may change (description, enabled, policy, tags, rotation) have no default, neither here nor
in the schema: absent (UNSET) means "as the record has it", and at birth the documented value.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from msgspec import UNSET, UnsetType

from keystead.resources.model import Arn, DnsName, Duration, Id, Model, Resource, Spec, Time, doc, parse
from keystead.resources.status import CommonStatus
from keystead.resources.vocabulary import DeletionPolicy, KeySpec, KeyState, KeyUsage, Origin, Protection

KIND = "KmsKey"
RECORD_AT_BIRTH = "Absent: as the record has it; at birth"


class Tag(Spec, frozen=True, kw_only=True):
    """AWS Tag."""

    key: Annotated[str, doc("Tag key, 1 to 128 characters, never beginning `aws:`.", min_length=1, max_length=128)]
    value: Annotated[str, doc("Tag value, 0 to 256 characters. Default: empty.", max_length=256)] = ""


class RotationWindow(Spec, frozen=True, kw_only=True):
    """A time in which a due rotation may run."""

    cron: Annotated[
        str,
        doc(
            "When the window opens: five cron fields (minute hour day month weekday), blanks between.",
            min_length=9,
            max_length=100,
            pattern=r"^[0-9A-Za-z*/,#? -]+\Z",
        ),
    ]
    timezone: Annotated[
        str,
        doc(
            "IANA time zone of `cron`, such as Europe/Berlin. Default: UTC.",
            min_length=1,
            max_length=64,
            pattern=r"^[A-Za-z0-9_+/-]+\Z",
            schema_default="UTC",  # a key of the list must have a value; whoever writes the entry owns it anyway
        ),
    ] = "UTC"
    duration: Annotated[
        Duration, doc("How long it stays open, such as `4h` or `1h30m` (units h, m, s): 15 minutes to 168 hours.")
    ]


class KeyRotation(Spec, frozen=True, kw_only=True):
    """Automatic rotation, for SYMMETRIC_DEFAULT keys of origin AWS_KMS."""

    enabled: (
        Annotated[bool, doc(f"Whether the key rotates on schedule. {RECORD_AT_BIRTH} false. Mutable.")] | UnsetType
    ) = UNSET
    period_in_days: (
        Annotated[
            int,
            doc(f"Days from one rotation to the next, 90 to 2560. {RECORD_AT_BIRTH} 365. Mutable.", ge=90, le=2560),
        ]
        | UnsetType
    ) = UNSET
    windows: (
        Annotated[
            tuple[RotationWindow, ...],
            doc(
                f"""Times in which a due rotation may run, 16 at most, one of each cron and timezone; a rotation waits
                for the next one. {RECORD_AT_BIRTH} none, which means any time. Mutable.""",
                max_length=16,
                x_kubernetes_list_type="map",
                x_kubernetes_list_map_keys=["cron", "timezone"],
            ),
        ]
        | UnsetType
    ) = UNSET


class KeyStoreRef(Spec, frozen=True, kw_only=True):
    """A KmsKeyStore."""

    name: Annotated[DnsName, doc("metadata.name of the KmsKeyStore.")]


class ScheduledDeletion(Spec, frozen=True, kw_only=True):
    """AWS ScheduleKeyDeletion, as a field."""

    pending_window_in_days: (
        Annotated[
            int,
            doc("Days until the material is destroyed, 7 to 30. Default: spec.pendingWindowInDays.", ge=7, le=30),
        ]
        | UnsetType
    ) = UNSET


class KmsKeySpec(Spec, frozen=True, kw_only=True):
    """What the key shall be."""

    region: (
        Annotated[
            str,
            doc(
                "Region of the key's ARN. Default: the install's region. Immutable.",
                min_length=1,
                max_length=32,
                pattern=r"^[a-z]([a-z0-9-]*[a-z0-9])?\Z",
            ),
        ]
        | UnsetType
    ) = UNSET
    description: (
        Annotated[str, doc(f"Text of up to 8192 characters. {RECORD_AT_BIRTH} empty. Mutable.", max_length=8192)]
        | UnsetType
    ) = UNSET
    key_spec: Annotated[
        KeySpec,
        doc(
            "Type of the key material, AWS KeySpec. Default: SYMMETRIC_DEFAULT. Immutable.",
            schema_default="SYMMETRIC_DEFAULT",
        ),
    ] = KeySpec.SYMMETRIC_DEFAULT
    key_usage: Annotated[
        KeyUsage,
        doc(
            """Operations that the key serves, AWS KeyUsage; it must fit keySpec. Default: ENCRYPT_DECRYPT.
            Immutable.""",
            schema_default="ENCRYPT_DECRYPT",
        ),
    ] = KeyUsage.ENCRYPT_DECRYPT
    origin: Annotated[
        Origin,
        doc(
            """Source of the key material, AWS Origin. Default: AWS_KMS (generated in the HSM). The others are not
            available in this version. Immutable.""",
            schema_default="AWS_KMS",
        ),
    ] = Origin.AWS_KMS
    enabled: (
        Annotated[bool, doc(f"false: every cryptographic operation is refused. {RECORD_AT_BIRTH} true. Mutable.")]
        | UnsetType
    ) = UNSET
    policy: (
        Annotated[
            Mapping[str, Any],
            doc(
                f"""Key policy: an IAM policy document (Version, Id, Statement), at most 32 KB as JSON. One value: it
                is replaced whole, never merged. {RECORD_AT_BIRTH} the default policy. Mutable.""",
                max_length=16,
                x_kubernetes_map_type="atomic",
            ),
        ]
        | UnsetType
    ) = UNSET
    tags: (
        Annotated[
            tuple[Tag, ...],
            doc(
                f"AWS tags, 50 at most, one of each key. {RECORD_AT_BIRTH} none. Mutable.",
                max_length=50,
                x_kubernetes_list_type="map",
                x_kubernetes_list_map_keys=["key"],
            ),
        ]
        | UnsetType
    ) = UNSET
    multi_region: (
        Annotated[
            bool,
            doc("true: a multi-Region key (`mrk-`). Default: false. Not available in this version. Immutable."),
        ]
        | UnsetType
    ) = UNSET
    key_store_ref: (
        Annotated[
            KeyStoreRef,
            doc("Key store that holds the key. Default: the install's. Not available in this version. Immutable."),
        ]
        | UnsetType
    ) = UNSET
    rotation: Annotated[KeyRotation, doc("Automatic rotation. Mutable.")] | UnsetType = UNSET
    deletion_policy: Annotated[
        DeletionPolicy,
        doc(
            """What deleting this object does. Retain (default): the key goes on decrypting and verifying, and the
            same manifest takes it up again. ScheduleDeletion: once nothing depends on it, use stops and the waiting
            window begins, at whose end the material is destroyed. Mutable.""",
            schema_default="Retain",
        ),
    ] = DeletionPolicy.RETAIN
    pending_window_in_days: Annotated[
        int,
        doc("Length of the waiting window, 7 to 30 days. Default: 30. Mutable.", ge=7, le=30, schema_default=30),
    ] = 30
    scheduled_deletion: (
        Annotated[
            ScheduledDeletion,
            doc(
                """Present: use stops at once and the waiting window runs (ScheduleKeyDeletion writes it). Removed
                before the end: the deletion is cancelled. Default: absent. Mutable."""
            ),
        ]
        | UnsetType
    ) = UNSET
    deletion_protection: Annotated[
        bool,
        doc(
            """true: deleting this object is refused, except with its namespace or with the annotation
            kms.keystead.io/allow-deletion. Default: false. Mutable."""
        ),
    ] = False
    adopt_key_id: (
        Annotated[
            str,
            doc(
                """Id of a retained key record of this namespace to take up under this name. Default: the record of
                this name. Not available in this version.""",
                min_length=1,
                max_length=64,
                pattern=r"^[0-9a-z-]+\Z",
            ),
        ]
        | UnsetType
    ) = UNSET
    suspend: Annotated[
        bool, doc("true: Keystead changes nothing for this object until it is false. Default: false. Mutable.")
    ] = False


class KeyMaterial(Model, frozen=True, kw_only=True):
    """One version of the key's material."""

    key_material_id: Annotated[Id, doc("Id of the material, AWS KeyMaterialId: 64 hex digits.")]
    creation_time: Annotated[Time, doc("When the material was made.")] | UnsetType = UNSET
    origin: Annotated[Origin, doc("Source of the material.")] | UnsetType = UNSET
    protection_level: Annotated[Protection, doc("Where the material is used.")] | UnsetType = UNSET


class Dependents(Model, frozen=True, kw_only=True):
    """What depends on the key, counted; foreign namespaces are counted, never named."""

    aliases: Annotated[int, doc("Number of KmsAlias objects that point at the key.", ge=0)] = 0
    grants: Annotated[int, doc("Number of KmsGrant objects on the key.", ge=0)] = 0
    data_keys: Annotated[int, doc("Number of KmsDataKey objects under the key.", ge=0)] = 0


class KmsKeyStatus(CommonStatus, frozen=True, kw_only=True):
    """A view of the key record."""

    last_handled_rotate_at: (
        Annotated[str, doc("Value of the annotation rotate-requested-at that was last answered.", max_length=256)]
        | UnsetType
    ) = UNSET
    key_id: Annotated[Id, doc("Key id: a UUID.")] | UnsetType = UNSET
    key_arn: Annotated[Arn, doc("ARN of the key.")] | UnsetType = UNSET
    key_state: Annotated[KeyState, doc("AWS KeyState, or Destroyed.")] | UnsetType = UNSET
    protection_level: (
        Annotated[Protection, doc("Where the current material is used: HSM, TOKEN or SOFTWARE.")] | UnsetType
    ) = UNSET
    current_key_material_id: Annotated[Id, doc("Material under which the key encrypts now.")] | UnsetType = UNSET
    key_materials: (
        Annotated[
            tuple[KeyMaterial, ...],
            doc(
                "The newest versions of the material, newest first, 16 at most; the record holds all.",
                max_length=16,
                x_kubernetes_list_type="map",
                x_kubernetes_list_map_keys=["keyMaterialId"],
            ),
        ]
        | UnsetType
    ) = UNSET
    public_key: (
        Annotated[str, doc("Public key of an asymmetric key, PEM (SubjectPublicKeyInfo).", max_length=4096)] | UnsetType
    ) = UNSET
    creation_time: Annotated[Time, doc("When the key was made.")] | UnsetType = UNSET
    last_rotation_time: Annotated[Time, doc("When the current material was made by a rotation.")] | UnsetType = UNSET
    next_rotation_time: (
        Annotated[Time, doc("When the next rotation is due, computed from the record; never read back.")] | UnsetType
    ) = UNSET
    deletion_time: Annotated[Time, doc("When the waiting window ends.")] | UnsetType = UNSET
    last_used_time: Annotated[Time, doc("When the key was last used, where that is known.")] | UnsetType = UNSET
    dependents: Annotated[Dependents, doc("What depends on the key, counted.")] | UnsetType = UNSET
    policy: (
        Annotated[
            Mapping[str, Any],
            doc(
                """Key policy that the key is served by, where spec does not say it: spec.policy is absent and another than the
                default policy is recorded, or spec.policy cannot be used. Absent: it is that of spec, or the default policy.""",
                max_length=16,
                x_kubernetes_map_type="atomic",
            ),
        ]
        | UnsetType
    ) = UNSET


class KmsKey(Resource, frozen=True, kw_only=True):
    """A KMS key."""

    spec: Annotated[KmsKeySpec, doc("What the key shall be.")]
    status: Annotated[
        KmsKeyStatus, doc("A view of the sealed record; authorises nothing.", schema_default={"observedGeneration": -1})
    ] = KmsKeyStatus()


def parse_key(body: Mapping[str, Any]) -> KmsKey:
    """A KmsKey as the API server gives it. Raises InvalidSpecError."""
    return parse(KmsKey, KIND, body)
