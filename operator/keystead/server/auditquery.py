"""What is asked of the route /audit (auditroute.py), read from a request; and the same question as one replica puts it to another.

A replica that asks its siblings marks its question by the header SHARE: answer your own records only, one of so many parts of an answer.
Whoever else sends it gets less than without it, never more. What may never enter: the token, or anything by which an address is chosen.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final
from urllib.parse import parse_qs, urlencode

from keystead.engine.clock import format_time, read_time
from keystead.errors import ValidationError
from keystead.server.message import Asked

PATH: Final = b"/audit"
SHARE: Final = b"x-keystead-audit-share"
MOST_RECORDS: Final = 1000
MOST_SIBLINGS: Final = 32
"""Of one answer; those beyond it are named as not asked."""
_USUAL: Final = 100
_PARAMETERS: Final = frozenset({"key", "since", "limit", "marker"})
_LONGEST_KEY: Final = 2048
_TOO_LONG: Final = 10_240
"""A marker has a place for each replica, 200 bytes for most; the head of a request ends at 16 KiB."""


@dataclass(frozen=True, slots=True)
class Wish:
    """limit: records at most. share: 0, a client asks for the records of all replicas; n: a sibling asks for ours, one of n parts."""

    key: str
    since: datetime | None
    limit: int
    marker: str
    share: int = 0

    @property
    def target(self) -> bytes:
        """The same question to a sibling: path and query."""
        query = {"key": self.key, "limit": str(self.limit)}
        if self.since is not None:
            query["since"] = format_time(self.since)
        if self.marker:
            query["marker"] = self.marker
        return PATH + b"?" + urlencode(query).encode("ascii")


def read_wish(asked: Asked) -> Wish:
    """ValidationError names the parameter."""
    query = asked.target.partition(b"?")[2]
    if len(query) > _TOO_LONG:
        raise ValidationError("the query is too long")
    try:
        sent = parse_qs(query.decode("ascii"), keep_blank_values=True, strict_parsing=bool(query), errors="strict", max_num_fields=8)
    except ValueError:
        raise ValidationError("the query cannot be read") from None
    if not sent.keys() <= _PARAMETERS or any(len(values) > 1 for values in sent.values()):
        raise ValidationError("give key, since, limit and marker, each once, and nothing else")
    one = {name: values[0] for name, values in sent.items()}
    if not 0 < len(one.get("key", "")) <= _LONGEST_KEY:
        raise ValidationError("key: give the name of a KmsKey, a key id or an ARN")
    return Wish(one["key"], _since(one.get("since")), _limit(one.get("limit")), one.get("marker", ""), _share(asked))


def _share(asked: Asked) -> int:
    sent = [value for name, value in asked.headers if name == SHARE]
    if not sent:
        return 0
    if len(sent) > 1 or not sent[0].isdigit() or len(sent[0]) > 2 or not 1 <= int(sent[0]) <= MOST_SIBLINGS + 1:
        raise ValidationError(f"{SHARE.decode()}: 1 to {MOST_SIBLINGS + 1}")
    return int(sent[0])


def _since(text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        return read_time(text)
    except (ValueError, OverflowError):
        raise ValidationError("since: give a time such as 2026-11-26T08:00:00Z") from None


def _limit(text: str | None) -> int:
    if text is None:
        return _USUAL
    if not (text.isascii() and text.isdigit() and 1 <= int(text[:5]) <= MOST_RECORDS and len(text) <= 4):
        raise ValidationError(f"limit: 1 to {MOST_RECORDS}")
    return int(text)
