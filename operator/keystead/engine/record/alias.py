"""The alias record: create-only claim of one alias name in one account and region. It names the KEY ID, never a key's name."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from keystead.engine.record.common import (
    Account,
    KeyIdText,
    KubeName,
    RecordBase,
    Region,
    Timestamp,
    Uid,
    check_times,
)


class AliasRecord(RecordBase, frozen=True, kw_only=True, tag_field="kind", tag="alias"):
    """`alias_name` with its `alias/`; namespace, name and uid are the claimant's."""

    region: Region
    account: Account
    alias_name: Annotated[str, Meta(pattern=r"^alias/[a-zA-Z0-9:/_-]{1,250}\Z")]
    key_id: KeyIdText
    namespace: KubeName
    name: KubeName
    object_uid: Uid
    crd_uid: Uid
    bound: bool
    created: Timestamp
    updated: Timestamp

    def __post_init__(self) -> None:
        super().__post_init__()
        check_times(self.created, self.updated)
