"""KmsAlias: a second name of a key, `alias/...`, unique per account and region (the alias record is the claim)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from msgspec import UNSET, UnsetType

from keystead.resources.model import Arn, Id, KeyRef, Resource, Spec, Time, doc, parse
from keystead.resources.status import CommonStatus

KIND = "KmsAlias"


class KmsAliasSpec(Spec, frozen=True, kw_only=True):
    """What the alias shall be."""

    alias_name: Annotated[
        str,
        doc(
            """Name of the alias: `alias/` and letters, digits, `/`, `_`, `-`; 256 characters at most; never
            `alias/aws/...`. Required. Immutable.""",
            min_length=7,
            max_length=256,
            pattern=r"^alias/[a-zA-Z0-9/_-]+\Z",
        ),
    ]
    key_ref: Annotated[KeyRef, doc("The key that it names. Required. Mutable: changing it is a retarget.")]
    suspend: Annotated[
        bool, doc("true: Keystead changes nothing for this object until it is false. Default: false. Mutable.")
    ] = False


class KmsAliasStatus(CommonStatus, frozen=True, kw_only=True):
    """A view of the alias record."""

    alias_arn: Annotated[Arn, doc("ARN of the alias.")] | UnsetType = UNSET
    target_key_id: Annotated[Id, doc("Id of the key that the alias names now.")] | UnsetType = UNSET
    creation_time: Annotated[Time, doc("When the alias was claimed.")] | UnsetType = UNSET
    last_updated_time: Annotated[Time, doc("When the alias last moved.")] | UnsetType = UNSET


class KmsAlias(Resource, frozen=True, kw_only=True):
    """An alias of a KMS key."""

    spec: Annotated[KmsAliasSpec, doc("What the alias shall be.")]
    status: Annotated[
        KmsAliasStatus,
        doc("A view of the sealed record; authorises nothing.", schema_default={"observedGeneration": -1}),
    ] = KmsAliasStatus()


def parse_alias(body: Mapping[str, Any]) -> KmsAlias:
    """A KmsAlias as the API server gives it. Raises InvalidSpecError."""
    return parse(KmsAlias, KIND, body)
