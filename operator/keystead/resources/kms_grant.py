"""KmsGrant: what one principal may do with a key. Immutable; its grant token is never in status."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from msgspec import UNSET, UnsetType

from keystead.resources.model import (
    Arn,
    Duration,
    Id,
    KeyRef,
    Principal,
    Resource,
    ServiceAccountRef,
    ServicePrincipal,
    Spec,
    Time,
    doc,
    parse,
)
from keystead.resources.status import CommonStatus
from keystead.resources.vocabulary import GrantOperation

KIND = "KmsGrant"

# AWS: at most 8 pairs in a grant constraint, and 384 characters in a value.
ConstraintValue = Annotated[str, doc("Value, 384 characters at most.", max_length=384)]


class GrantConstraints(Spec, frozen=True, kw_only=True):
    """AWS GrantConstraints: at most one of the two encryption context constraints."""

    encryption_context_equals: (
        Annotated[
            Mapping[str, ConstraintValue],
            doc(
                "The request's encryption context must be exactly these pairs, 1 to 8.",
                min_length=1,
                max_length=8,
                x_kubernetes_map_type="atomic",
            ),
        ]
        | UnsetType
    ) = UNSET
    encryption_context_subset: (
        Annotated[
            Mapping[str, ConstraintValue],
            doc(
                "The request's encryption context must contain these pairs, 1 to 8.",
                min_length=1,
                max_length=8,
                x_kubernetes_map_type="atomic",
            ),
        ]
        | UnsetType
    ) = UNSET
    source_arn: (
        Annotated[str, doc("aws:SourceArn of the request must be this ARN. Default: any.", min_length=1, max_length=512)] | UnsetType
    ) = UNSET


class KmsGrantSpec(Spec, frozen=True, kw_only=True):
    """What is granted. Immutable as a whole."""

    key_ref: Annotated[KeyRef, doc("The key. Required. Immutable.")]
    grantee_principal: (
        Annotated[
            Principal,
            doc("ARN of the principal that is granted. One of the three grantee fields is required. Immutable."),
        ]
        | UnsetType
    ) = UNSET
    service_account_ref: (
        Annotated[ServiceAccountRef, doc("ServiceAccount of this namespace that is granted. Immutable.")] | UnsetType
    ) = UNSET
    grantee_service_principal: (
        Annotated[ServicePrincipal, doc("Service principal that is granted. Immutable.")] | UnsetType
    ) = UNSET
    operations: Annotated[
        tuple[GrantOperation, ...],
        doc(
            "AWS GrantOperations that are allowed, at least one. Required. Immutable.",
            min_length=1,
            max_length=32,
            x_kubernetes_list_type="set",
        ),
    ]
    constraints: (
        Annotated[GrantConstraints, doc("Conditions on the request. Default: none. Immutable.")] | UnsetType
    ) = UNSET
    grant_name: (
        Annotated[
            str,
            doc(
                """AWS Name of the grant, which lists show and CreateGrant compares: letters, digits, `:`, `/`, `_`, `-`; 256 characters
                at most. It is not metadata.name. Default: none. Immutable.""",
                min_length=1,
                max_length=256,
                pattern=r"^[a-zA-Z0-9:/_-]+\Z",
            ),
        ]
        | UnsetType
    ) = UNSET
    retiring_principal: (
        Annotated[Principal, doc("ARN of a principal that may retire the grant. Default: none. Immutable.")] | UnsetType
    ) = UNSET
    retiring_service_principal: (
        Annotated[ServicePrincipal, doc("Service principal that may retire it. Default: none. Immutable.")] | UnsetType
    ) = UNSET
    expires_at: (
        Annotated[Time, doc("When the grant ends, RFC 3339. Default: never. Excludes ttl. Immutable.")] | UnsetType
    ) = UNSET
    ttl: (
        Annotated[
            Duration,
            doc(
                """How long the grant lives from its record's creation, such as `8h` (units h, m, s): 1 minute to
                87600 hours. Default: for ever. Excludes expiresAt. Immutable."""
            ),
        ]
        | UnsetType
    ) = UNSET


class KmsGrantStatus(CommonStatus, frozen=True, kw_only=True):
    """A view of the grant record, without its token."""

    grant_id: Annotated[Id, doc("Grant id: 64 hex digits.")] | UnsetType = UNSET
    key_id: Annotated[Id, doc("Id of the key.")] | UnsetType = UNSET
    key_arn: Annotated[Arn, doc("ARN of the key.")] | UnsetType = UNSET
    grantee_principal: Annotated[Arn, doc("The grantee in its canonical form.")] | UnsetType = UNSET
    creation_time: Annotated[Time, doc("When the grant was made.")] | UnsetType = UNSET
    expiration_time: Annotated[Time, doc("When the grant ends.")] | UnsetType = UNSET


class KmsGrant(Resource, frozen=True, kw_only=True):
    """A grant on a KMS key."""

    spec: Annotated[KmsGrantSpec, doc("What is granted. Immutable: delete the grant and make another.")]
    status: Annotated[
        KmsGrantStatus,
        doc("A view of the sealed record; authorises nothing.", schema_default={"observedGeneration": -1}),
    ] = KmsGrantStatus()


def parse_grant(body: Mapping[str, Any]) -> KmsGrant:
    """A KmsGrant as the API server gives it. Raises InvalidSpecError."""
    return parse(KmsGrant, KIND, body)
