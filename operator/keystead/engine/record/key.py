"""The key record: a KMS key's identity, facts, state and every version of its material. Kept when the KmsKey object is gone."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from keystead.engine.identifiers import KeyIdForm, key_id_form
from keystead.engine.record.common import (
    Account,
    Count,
    Hex64,
    KeyIdText,
    KubeName,
    RecordBase,
    Region,
    Timestamp,
    Uid,
    check_dense,
    check_times,
)
from keystead.resources.vocabulary import DeletionPolicy, KeySpec, KeyState, KeyUsage, Origin, Protection

VersionNumber = Annotated[int, Meta(ge=1, le=2**31 - 1)]


class Wrap(StrEnum):
    """Format of wrapped material: RFC 5649 under DK_g, or suite 1 under DM_g (SOFTWARE keys)."""

    KWP = "kwp"
    SUITE1 = "suite1"


class Hold(Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """A latched hold: since when, and what the annotation said (by whom, why: the author's own words)."""

    since: Timestamp
    by: Annotated[str, Meta(max_length=256)]


class RotationWindow(Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """When a due rotation may happen: five cron fields in a timezone, open for `duration` (like 2h or 90m)."""

    cron: Annotated[str, Meta(max_length=128)]
    timezone: Annotated[str, Meta(max_length=64)] = "UTC"
    duration: Annotated[str, Meta(max_length=16)]


class Rotation(Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """Scheduled rotation: period in days. Due time is computed from here and the current version, never from status."""

    enabled: bool
    period: Annotated[int, Meta(ge=90, le=2560)]
    windows: list[RotationWindow] = msgspec.field(default_factory=list)


class KeyVersion(Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """One version of key material. `wrapped` and `plain_len` are absent once it is destroyed; `spki` is the DER public key."""

    n: VersionNumber
    material_id: Hex64
    created: Timestamp
    origin: Origin
    protection: Protection
    wrap: Wrap
    wrapped: bytes | UnsetType = UNSET
    plain_len: Annotated[int, Meta(ge=1, le=65535)] | UnsetType = UNSET
    spki: bytes | UnsetType = UNSET
    import_check: Hex64 | UnsetType = UNSET

    def __post_init__(self) -> None:
        check_times(self.created)
        if (self.wrapped is UNSET) != (self.plain_len is UNSET):
            raise ValueError("wrapped and plainLen come and go together")


class KeyRecord(RecordBase, frozen=True, kw_only=True, tag_field="kind", tag="key"):
    """Members: docs/reference/format.md. `bound`: a live KmsKey holds it (false: an orphan)."""

    store_name: KubeName
    key_id: KeyIdText
    key_id_form: KeyIdForm
    region: Region
    account: Account
    namespace: KubeName
    name: KubeName
    object_uid: Uid
    crd_uid: Uid
    bound: bool
    spec: KeySpec
    usage: KeyUsage
    origin: Origin
    multi_region: bool
    protection: Protection
    description: Annotated[str, Meta(max_length=8192)]
    tags: dict[str, str]
    policy: bytes | UnsetType = UNSET
    enabled: bool
    hold: Hold | UnsetType = UNSET
    state: KeyState
    created: Timestamp
    deletion_date: Timestamp | UnsetType = UNSET
    pending_window_in_days: Annotated[int, Meta(ge=7, le=30)]
    deletion_policy: DeletionPolicy
    rotation: Rotation | UnsetType = UNSET
    on_demand_rotations: Count
    last_rotate_request: Annotated[str, Meta(max_length=256)] | UnsetType = UNSET
    versions: list[KeyVersion]
    current: VersionNumber
    n_versions: VersionNumber

    def __post_init__(self) -> None:
        super().__post_init__()
        if key_id_form(self.key_id) is not self.key_id_form:
            raise ValueError("keyIdForm is not the form of keyId")
        check_times(self.created, self.deletion_date)
        check_dense([version.n for version in self.versions], 1, self.n_versions, self.current)
        destroyed = self.state is KeyState.DESTROYED
        if any((version.wrapped is UNSET) != destroyed for version in self.versions):
            raise ValueError("material is absent exactly in a tombstone")
        if (self.state is KeyState.PENDING_DELETION) != (self.deletion_date is not UNSET):
            raise ValueError("deletionDate goes with PendingDeletion")

    @property
    def current_version(self) -> KeyVersion:
        """The version that encrypts and signs."""
        return self.versions[self.current - 1]
