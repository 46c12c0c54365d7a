"""What all record kinds share: member types with their bounds, and the members that every record has.

Values are strings, integers, true/false, arrays and objects; no null, no floats; an absent member is left out (UNSET);
bytes are padded standard base64, ids and digests lower-case hex. Within one `v` the members are fixed; `ext` is kept unread.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from keystead.engine.clock import parse_time

Hex32 = Annotated[str, Meta(pattern=r"^[0-9a-f]{32}\Z")]
Hex64 = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z")]
Timestamp = Annotated[str, Meta(pattern=r"^[0-9]{4}(-[0-9]{2}){2}T[0-9]{2}(:[0-9]{2}){2}Z\Z")]
Account = Annotated[str, Meta(pattern=r"^[1-9][0-9]{11}\Z")]
Uid = Annotated[str, Meta(min_length=1, max_length=64)]
KubeName = Annotated[str, Meta(min_length=1, max_length=253)]
Region = Annotated[str, Meta(min_length=1, max_length=63)]
KeyIdText = Annotated[str, Meta(pattern=r"^([0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|mrk-[0-9a-f]{32})\Z")]
Seq = Annotated[int, Meta(ge=1, le=2**63 - 1)]
Count = Annotated[int, Meta(ge=0, le=2**63 - 1)]


class RecordBase(Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True, omit_defaults=False):
    """Members of every kind.

    v                   format version of this kind, 1
    domain_generation   g of the domain whose DM sealed it; equals the seal's
    domain_fingerprint  64 hex; a domain of another fingerprint refuses the record
    namespace_uid       uid of the namespace that it belongs to: a namespace made again does not inherit
    transition          the writing leader's Lease transition; never decreases
    seq, prev           +1 each write; SHA-256 of the record before, absent at seq 1
    ext                 for later; kept unread
    """

    v: Literal[1] = 1
    domain_generation: Annotated[int, Meta(ge=1, le=2**32 - 1)]
    domain_fingerprint: Hex64
    namespace_uid: Uid
    transition: Count
    seq: Seq
    prev: Hex64 | UnsetType = UNSET
    ext: dict[str, Any] = msgspec.field(default_factory=dict)

    def __post_init__(self) -> None:
        """Rules over several members. ValueError becomes RecordFormatError in the codec."""
        if (self.seq == 1) != (self.prev is UNSET):
            raise ValueError("prev is absent at seq 1 and present after it")
        check_plain(self.ext)


def check_plain(value: object, depth: int = 8) -> None:
    """ValueError for null, floats, or nesting deeper than 8 anywhere inside."""
    if depth == 0:
        raise ValueError("ext is nested too deep")
    if isinstance(value, dict):
        for item in value.values():
            check_plain(item, depth - 1)
    elif isinstance(value, list):
        for item in value:
            check_plain(item, depth - 1)
    elif not isinstance(value, str | int):
        raise ValueError("only strings, integers, true/false, arrays and objects")  # noqa: TRY004 - the codec maps ValueError


def check_times(*texts: str | UnsetType) -> None:
    """ValueError unless each text that is set is a real moment."""
    for text in texts:
        if isinstance(text, str):
            parse_time(text)


def check_dense(numbers: list[int], first: int, total: int, current: int) -> None:
    """ValueError unless `numbers` are first..total without a gap and current is the newest one."""
    if numbers != list(range(first, total + 1)):
        raise ValueError("versions are not dense")
    if current != total:
        raise ValueError("current is not the newest version")
