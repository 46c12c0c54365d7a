"""The data key record: every encrypted version ever issued. It outlives the Secret, which is a copy of it, and the KmsDataKey."""

from __future__ import annotations

from typing import Annotated

from msgspec import UNSET, Meta, Struct, UnsetType

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

VersionNumber = Annotated[int, Meta(ge=1, le=2**31 - 1)]


class DataKeyVersion(Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """One issued data key. A re-wrap replaces `blob`, `key_arn` and `key_material_id` and nothing else."""

    n: VersionNumber
    blob: bytes
    encryption_context: dict[str, str]
    key_arn: Annotated[str, Meta(max_length=2048)]
    key_material_id: Hex64
    created: Timestamp
    public_key: bytes | UnsetType = UNSET

    def __post_init__(self) -> None:
        check_times(self.created)


class DataKeyTarget(Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """Where the copy lies. `injected`: into a Secret that is not ours, behind `kms.keystead.io.<name>.`."""

    secret_name: KubeName
    injected: bool
    secret_uid: Uid | UnsetType = UNSET


class DataKeyRecord(RecordBase, frozen=True, kw_only=True, tag_field="kind", tag="datakey"):
    """The newest versions, `first_version`..`current`; older ones lie in `archives` Secrets `<name>-<k>`.

    In an archive `part` is its k, `current` its newest version and `archives` 0; a main record has part 0.
    """

    key_id: KeyIdText
    region: Region
    account: Account
    namespace: KubeName
    name: KubeName
    object_uid: Uid
    crd_uid: Uid
    bound: bool
    data_key_spec: Annotated[str, Meta(max_length=32)] | UnsetType = UNSET
    number_of_bytes: Annotated[int, Meta(ge=1, le=1024)] | UnsetType = UNSET
    target: DataKeyTarget
    created: Timestamp
    last_rotate_request: Annotated[str, Meta(max_length=256)] | UnsetType = UNSET
    part: Count
    archives: Count
    versions: list[DataKeyVersion]
    first_version: VersionNumber
    current: VersionNumber
    n_versions: VersionNumber

    def __post_init__(self) -> None:
        super().__post_init__()
        check_times(self.created)
        if (self.data_key_spec is UNSET) == (self.number_of_bytes is UNSET):
            raise ValueError("exactly one of dataKeySpec and numberOfBytes")
        if self.part and self.archives:
            raise ValueError("an archive has no archives")
        if not self.part and (self.first_version > 1) != (self.archives > 0):
            raise ValueError("archives hold the versions before firstVersion")
        numbers = [version.n for version in self.versions]
        check_dense(numbers, self.first_version, self.n_versions, self.current)

    @property
    def current_version(self) -> DataKeyVersion:
        """The version whose blob is the Secret's `ciphertext`."""
        return self.versions[-1]
