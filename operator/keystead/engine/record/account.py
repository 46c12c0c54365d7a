"""The account record: claims an account id for a namespace, create-only. Never freed (RECORDS, Identity)."""

from __future__ import annotations

from keystead.engine.record.common import Account, Count, KubeName, RecordBase, Timestamp, check_times


class AccountRecord(RecordBase, frozen=True, kw_only=True, tag_field="kind", tag="account"):
    """`n` is the derivation's counter: a made-again namespace, or a second claimant of an id, gets the next one."""

    account_id: Account
    n: Count
    namespace: KubeName
    created: Timestamp

    def __post_init__(self) -> None:
        super().__post_init__()
        check_times(self.created)
