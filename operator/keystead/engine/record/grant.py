"""The grant record: made once, dies with the grant. Principals are stored in their canonical form."""

from __future__ import annotations

from typing import Annotated

from msgspec import UNSET, Meta, Struct, UnsetType

from keystead.engine.record.common import (
    Account,
    Hex64,
    KeyIdText,
    KubeName,
    RecordBase,
    Region,
    Timestamp,
    Uid,
    check_times,
)
from keystead.resources.vocabulary import GrantOperation

Principal = Annotated[str, Meta(min_length=1, max_length=256)]


class GrantConstraints(Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """At most one of the two contexts. Keys compare without case, values with (KMS.md): not the AAD's equality."""

    encryption_context_equals: dict[str, str] | UnsetType = UNSET
    encryption_context_subset: dict[str, str] | UnsetType = UNSET
    source_arn: Annotated[str, Meta(max_length=512)] | UnsetType = UNSET

    def __post_init__(self) -> None:
        if self.encryption_context_equals is not UNSET and self.encryption_context_subset is not UNSET:
            raise ValueError("at most one of encryptionContextEquals and encryptionContextSubset")


class GrantRecord(RecordBase, frozen=True, kw_only=True, tag_field="kind", tag="grant"):
    """`grant_id`: 32 random bytes in hex. Exactly one of the two grantees. `operations` sorted, each once."""

    grant_id: Hex64
    grant_name: Annotated[str, Meta(min_length=1, max_length=256)] | UnsetType = UNSET
    key_id: KeyIdText
    region: Region
    account: Account
    namespace: KubeName
    name: KubeName
    object_uid: Uid
    crd_uid: Uid
    bound: bool
    grantee_principal: Principal | UnsetType = UNSET
    grantee_service_principal: Principal | UnsetType = UNSET
    retiring_principal: Principal | UnsetType = UNSET
    retiring_service_principal: Principal | UnsetType = UNSET
    operations: list[GrantOperation]
    constraints: GrantConstraints | UnsetType = UNSET
    created: Timestamp
    expires_at: Timestamp | UnsetType = UNSET

    def __post_init__(self) -> None:
        super().__post_init__()
        check_times(self.created, self.expires_at)
        if (self.grantee_principal is UNSET) == (self.grantee_service_principal is UNSET):
            raise ValueError("exactly one grantee")
        if not self.operations or list(self.operations) != sorted(set(self.operations)):
            raise ValueError("operations are a sorted set with at least one member")


def grantee_of(grant: GrantRecord) -> str:
    """The grantee: a principal in canonical form, or a service principal."""
    found = grant.grantee_service_principal if isinstance(grant.grantee_principal, UnsetType) else grant.grantee_principal
    assert not isinstance(found, UnsetType)
    return found
