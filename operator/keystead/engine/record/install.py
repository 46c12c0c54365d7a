"""The install record: the install id from which account ids derive. Written once by `keystead hsm init`, beside the backup."""

from __future__ import annotations

from keystead.engine.record.common import Hex32, RecordBase, Timestamp, check_times


class InstallRecord(RecordBase, frozen=True, kw_only=True, tag_field="kind", tag="install"):
    """`install_id`: 16 random bytes, also inside the domain backup. namespaceUid is keystead-records' own, not compared."""

    install_id: Hex32
    created: Timestamp

    def __post_init__(self) -> None:
        super().__post_init__()
        check_times(self.created)
