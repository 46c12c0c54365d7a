"""KmsDataKey: an encrypted data key in a Secret, rotated on schedule. Its record holds every version ever issued."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from msgspec import UNSET, UnsetType

from keystead.resources.model import (
    AliasRef,
    Arn,
    DnsName,
    Duration,
    Id,
    Model,
    NamespacedKeyRef,
    Resource,
    Spec,
    Time,
    doc,
    parse,
)
from keystead.resources.status import CommonStatus
from keystead.resources.vocabulary import AnyDataKeySpec, SecretDeletionPolicy, WorkloadKind

KIND = "KmsDataKey"
DEFAULT_KEEP_VERSIONS = 1
DEFAULT_OVERLAP = "24h"
KEY_ARNS_SHOWN = 64
"""Keys in status.keyArns at most, those of the newest versions: a list of so many may be short of some."""

ContextValue = Annotated[str, doc("Value, 1024 characters at most.", max_length=1024)]
LabelValue = Annotated[str, doc("Value of a label.", max_length=63)]
AnnotationValue = Annotated[str, doc("Value of an annotation.", max_length=4096)]


class TemplateMetadata(Spec, frozen=True, kw_only=True):
    """Labels and annotations of a Secret that Keystead makes; nothing else is copied to it."""

    labels: (
        Annotated[
            Mapping[str, LabelValue],
            doc("Labels, 16 at most. Default: none. Mutable.", max_length=16, x_kubernetes_map_type="atomic"),
        ]
        | UnsetType
    ) = UNSET
    annotations: (
        Annotated[
            Mapping[str, AnnotationValue],
            doc("Annotations, 16 at most. Default: none. Mutable.", max_length=16, x_kubernetes_map_type="atomic"),
        ]
        | UnsetType
    ) = UNSET


class SecretTemplate(Spec, frozen=True, kw_only=True):
    """Form of a Secret that Keystead makes."""

    metadata: (
        Annotated[
            TemplateMetadata,
            doc("Labels and annotations; prefixes of Kubernetes, GitOps tools and Keystead are refused."),
        ]
        | UnsetType
    ) = UNSET


class DataKeyTarget(Spec, frozen=True, kw_only=True):
    """The Secret that carries the data key."""

    secret_name: Annotated[
        DnsName,
        doc(
            """Name of the Secret, in this namespace. One that exists is added to, never overwritten; else it is
            made. Required. Immutable."""
        ),
    ]
    template: (
        Annotated[SecretTemplate, doc("Form of a Secret that Keystead makes. Default: none. Mutable.")] | UnsetType
    ) = UNSET
    immutable: Annotated[
        bool, doc("true: the Secret that Keystead makes is immutable; excludes rotation. Default: false. Mutable.")
    ] = False
    deletion_policy: Annotated[
        SecretDeletionPolicy,
        doc(
            """What deleting this object does to a Secret that Keystead made: Retain (default) leaves it, Delete
            removes it. The record stays in both cases. Mutable.""",
            schema_default="Retain",
        ),
    ] = SecretDeletionPolicy.RETAIN


class DataKeyRotation(Spec, frozen=True, kw_only=True):
    """Rotation of the data key itself."""

    period_in_days: Annotated[
        int, doc("Days from one version to the next, 1 to 2560. Required. Mutable.", ge=1, le=2560)
    ]
    keep_versions: (
        Annotated[
            int,
            doc(
                """Versions that stay in the Secret after the overlap, 1 to 16, the current one included; one within
                its overlap stays in any case. The record keeps all. Default: 1. Mutable.""",
                ge=1,
                le=16,
            ),
        ]
        | UnsetType
    ) = UNSET
    overlap: (
        Annotated[
            Duration,
            doc(
                """How long an old version stays in the Secret beside the new one, such as `24h` (units h, m, s), at
                most 8760 hours. Default: 24h. Mutable."""
            ),
        ]
        | UnsetType
    ) = UNSET


class RolloutRestartTarget(Spec, frozen=True, kw_only=True):
    """A workload of this namespace that is restarted when the data key's Secret changes."""

    kind: Annotated[WorkloadKind, doc("Deployment, StatefulSet or DaemonSet. Required.")]
    name: Annotated[DnsName, doc("metadata.name of the workload. Required.")]


class KmsDataKeySpec(Spec, frozen=True, kw_only=True):
    """What the data key shall be."""

    key_ref: (
        Annotated[
            NamespacedKeyRef,
            doc(
                """The key that encrypts the data key. At most one of keyRef and aliasRef; with neither, the key of
                `alias/aws/keystead` of this namespace. Immutable."""
            ),
        ]
        | UnsetType
    ) = UNSET
    alias_ref: (
        Annotated[
            AliasRef,
            doc("The alias whose key encrypts the data key; looked up again only at a rotation. Immutable."),
        ]
        | UnsetType
    ) = UNSET
    data_key_spec: (
        Annotated[
            AnyDataKeySpec,
            doc(
                """AWS DataKeySpec (AES_256, AES_128) or DataKeyPairSpec (RSA_..., ECC_...). At most one of
                dataKeySpec and numberOfBytes. Default: AES_256. Immutable."""
            ),
        ]
        | UnsetType
    ) = UNSET
    number_of_bytes: (
        Annotated[
            int, doc("Length of the data key in bytes, 1 to 1024. Excludes dataKeySpec. Immutable.", ge=1, le=1024)
        ]
        | UnsetType
    ) = UNSET
    encryption_context: (
        Annotated[
            Mapping[str, ContextValue],
            doc(
                """Encryption context, exactly as Decrypt must give it; nothing is added. 32 pairs at most. Not
                secret. Default: none. Immutable.""",
                max_length=32,
                x_kubernetes_map_type="atomic",
            ),
        ]
        | UnsetType
    ) = UNSET
    target: Annotated[DataKeyTarget, doc("The Secret that carries the data key. Required.")]
    rotation: Annotated[DataKeyRotation, doc("Rotation of the data key. Default: none. Mutable.")] | UnsetType = UNSET
    rollout_restart_targets: (
        Annotated[
            tuple[RolloutRestartTarget, ...],
            doc(
                """Workloads to restart when the Secret changes, 16 at most. This version restarts nothing:
                reloaders see the annotation kms.keystead.io/data-key-version-hash. Default: none. Mutable.""",
                max_length=16,
                x_kubernetes_list_type="map",
                x_kubernetes_list_map_keys=["kind", "name"],
            ),
        ]
        | UnsetType
    ) = UNSET
    suspend: Annotated[
        bool, doc("true: Keystead changes nothing for this object until it is false. Default: false. Mutable.")
    ] = False


class Rewrap(Model, frozen=True, kw_only=True):
    """Progress of encrypting all versions anew under the key's current material."""

    key_material_id: Annotated[Id, doc("Material to which the versions are moved.")] | UnsetType = UNSET
    total: Annotated[int, doc("Number of versions in the record.", ge=0)] = 0
    done: Annotated[int, doc("Number of versions that are under that material.", ge=0)] = 0


class KmsDataKeyStatus(CommonStatus, frozen=True, kw_only=True):
    """A view of the data key's record, without a blob."""

    last_handled_rotate_at: (
        Annotated[str, doc("Value of the annotation rotate-requested-at that was last answered.", max_length=256)]
        | UnsetType
    ) = UNSET
    secret_name: Annotated[DnsName, doc("Name of the Secret that carries the data key.")] | UnsetType = UNSET
    key_name: Annotated[DnsName, doc("Name of the KmsKey that encrypts the current version.")] | UnsetType = UNSET
    key_arn: Annotated[Arn, doc("ARN of the key that encrypts the current version.")] | UnsetType = UNSET
    key_arns: (
        Annotated[
            tuple[Arn, ...],
            doc(
                """ARNs of all keys that encrypt a version in the record, in the Secret or not, in order; 64 at most. More than
                one where an alias moved. A key that stands here must not be deleted as long as its versions are wanted.""",
                max_length=KEY_ARNS_SHOWN,
                x_kubernetes_list_type="set",
            ),
        ]
        | UnsetType
    ) = UNSET
    key_material_id: Annotated[Id, doc("Material that encrypts the current version.")] | UnsetType = UNSET
    version: Annotated[int, doc("Number of the current version, from 1.", ge=1)] | UnsetType = UNSET
    versions: (
        Annotated[
            tuple[int, ...],
            doc("Versions in the Secret now, 64 at most.", max_length=64, x_kubernetes_list_type="set"),
        ]
        | UnsetType
    ) = UNSET
    public_key: Annotated[str, doc("Public key of a data key pair, PEM.", max_length=4096)] | UnsetType = UNSET
    creation_time: Annotated[Time, doc("When the first version was made.")] | UnsetType = UNSET
    last_rotation_time: Annotated[Time, doc("When the current version was made by a rotation.")] | UnsetType = UNSET
    next_rotation_time: Annotated[Time, doc("When the next rotation is due; never read back.")] | UnsetType = UNSET
    rewrap: Annotated[Rewrap, doc("Progress of the re-wrap after a rotation of the key.")] | UnsetType = UNSET


class KmsDataKey(Resource, frozen=True, kw_only=True):
    """An encrypted data key in a Secret."""

    spec: Annotated[KmsDataKeySpec, doc("What the data key shall be.")]
    status: Annotated[
        KmsDataKeyStatus,
        doc("A view of the sealed record; authorises nothing.", schema_default={"observedGeneration": -1}),
    ] = KmsDataKeyStatus()


def parse_data_key(body: Mapping[str, Any]) -> KmsDataKey:
    """A KmsDataKey as the API server gives it. Raises InvalidSpecError."""
    return parse(KmsDataKey, KIND, body)
