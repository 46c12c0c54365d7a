"""`keystead audit summary`: who used which key how often, what was denied and why, keys that nobody used, calls a day. And who calls a
key at all (`callers`, for `kubectl kms impact`).

One stream; the memory is that of the answer. A call of another account's key has a record in both accounts: it counts once.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import msgspec

from keystead.audit.reading.files import Unread
from keystead.audit.reading.records import Query, Record, reaches_back, record_of, records_in
from keystead.engine.identifiers import RECORDS_NAMESPACE
from keystead.engine.managed import DATA_KEYS_SERVICE
from keystead.errors import FormatError

FORMAT: Final = "keystead.io/audit-summary/v1"
_ASKED: Final = ("keyId", "sourceKeyId", "destinationKeyId")
_MOST_ASKED: Final = 1000
"""Names that callers made up, told one by one: whoever sends a new one each time must not fill memory and page."""
_OTHERS: Final = "(others)"


@dataclass(frozen=True, slots=True)
class KnownKey:
    """A KmsKey object, as `kubectl get kmskeys -A -o json` lists it."""

    namespace: str
    name: str
    key_id: str


@dataclass(slots=True)
class Tally:
    """How often, and when last."""

    count: int = 0
    last: str = ""

    def add(self, time: str) -> None:
        """One more."""
        self.count += 1
        self.last = max(self.last, time)


@dataclass(slots=True)
class Summary:
    """Counts. uses: (key id, principal, action); denials: the same and the reason; days: allowed and denied calls by date.

    used: ids of keys that a caller or a data key used; what the operator does to a key by itself (CreateKey, RotateKey) is no use of it
    """

    uses: dict[tuple[str, str, str], Tally] = field(default_factory=lambda: defaultdict(Tally))
    denials: dict[tuple[str, str, str, str], Tally] = field(default_factory=lambda: defaultdict(Tally))
    used: set[str] = field(default_factory=set)
    failures: Counter[tuple[str, str]] = field(default_factory=Counter)
    days: dict[str, list[int]] = field(default_factory=lambda: defaultdict(lambda: [0, 0]))
    reaches: str = ""
    asked: set[str] = field(default_factory=set)
    never: list[KnownKey] | None = None
    unread: Unread = field(default_factory=Unread)

    def add(self, record: Record) -> None:
        """One record."""
        if record.second:
            return
        keys = list(dict.fromkeys(arn.rpartition("/")[2] for arn in record.key_arns))
        if record.denied and not keys:
            keys = self._as_asked(record)
        for key in keys or [""]:
            if record.denied:
                why = record.reason or record.error_code
                self.denials[key, record.principal, record.event_name, why].add(record.event_time)
            elif not record.error_code:
                self.uses[key, record.principal, record.event_name].add(record.event_time)
                if record.keystead_type == "call" or record.principal == DATA_KEYS_SERVICE:
                    self.used.add(key)
        if record.error_code and not record.denied:
            self.failures[record.event_name, record.error_code] += 1
        if record.keystead_type == "call":
            self.days[record.event_time[:10]][record.denied] += 1

    def _as_asked(self, record: Record) -> list[str]:
        """What a refused call named a key by that is none of its account, or none at all."""
        asked = list(dict.fromkeys(map(str, record.parameters(_ASKED))))
        if len(self.asked) < _MOST_ASKED:
            self.asked.update(asked)
        return [name if name in self.asked else _OTHERS for name in asked]

    def as_json(self) -> dict[str, Any]:
        """For -o json, and for the tables."""
        told: dict[str, Any] = {
            "format": FORMAT,
            "recordsReachBackTo": self.reaches,
            "unread": list(self.unread.told),
            "uses": [
                {"key": key, "principal": principal, "action": action, "count": tally.count, "last": tally.last}
                for (key, principal, action), tally in _most(self.uses)
            ],
            "denied": [
                {"key": key, "principal": who, "action": action, "count": tally.count, "last": tally.last, "reason": reason}
                for (key, who, action, reason), tally in _most(self.denials)
            ],
            "failed": [{"action": action, "error": code, "count": count} for (action, code), count in self.failures.most_common()],
            "days": [{"day": day, "calls": allowed + denied, "denied": denied} for day, (allowed, denied) in sorted(self.days.items())],
        }
        if self.never is not None:
            told["neverUsed"] = [{"namespace": key.namespace, "name": key.name, "key": key.key_id} for key in self.never]
        return told


def _most(tallies: Mapping[Any, Tally]) -> Iterable[tuple[Any, Tally]]:
    return sorted(tallies.items(), key=lambda item: (-item[1].count, item[0]))


def summarise(folders: Sequence[Path], query: Query, keys: Sequence[KnownKey] | None) -> Summary:
    """All of it. keys None: nothing can be said of keys that were never used."""
    found = Summary(reaches=reaches_back(folders))
    for record, _ in records_in(folders, query, found.unread):
        found.add(record)
    if keys is not None:
        unused = (key for key in keys if key.key_id not in found.used)
        idle = (key for key in unused if key.namespace != RECORDS_NAMESPACE)  # its own keys no caller may use
        found.never = sorted(idle, key=lambda key: (key.namespace, key.name))
    return found


def known_keys(listed: Any) -> list[KnownKey]:  # noqa: ANN401 - JSON of kubectl
    """Keys of a list of KmsKey objects; those that have no key yet are left out."""
    items = listed.get("items", []) if isinstance(listed, dict) else []
    return [
        KnownKey(item["metadata"]["namespace"], item["metadata"]["name"], item["status"]["keyId"])
        for item in items
        if (item.get("status") or {}).get("keyId")
    ]


@dataclass(slots=True)
class KeyCaller:
    """One principal that called a key. actions: how often each; denied: calls that were refused, in none of them."""

    principal: str
    namespace: str
    actions: Counter[str] = field(default_factory=Counter)
    denied: int = 0
    last: str = ""

    @property
    def count(self) -> int:
        """Calls that were allowed."""
        return self.actions.total()


@dataclass(frozen=True, slots=True)
class Callers:
    """Who called a key. reaches_back: from when there are records at all, "" where there are none: before it nothing is known.

    unread: what could not be read, which may hold others
    """

    rows: tuple[KeyCaller, ...]
    reaches_back: str
    unread: tuple[str, ...] = ()


def callers(folders: Sequence[Path], key_id: str, since: datetime | None) -> Callers:
    """Who called the key of this id or ARN, most calls first."""
    unread = Unread()
    found = (record for record, _ in records_in(folders, Query(keys=(key_id,), since=since), unread))
    rows = _callers(record for record in found if record.keystead_type == "call" and not record.second)
    return Callers(rows, reaches_back(folders), unread.told)


def callers_told(records: Iterable[Mapping[str, Any]]) -> tuple[KeyCaller, ...]:
    """The same of what a server tells about a key (tenant.py): records of its own account only, and no copies. FormatError."""
    try:
        calls = [record_of(record) for record in records if record.get("eventType") == "AwsApiCall"]
    except msgspec.MsgspecError:
        raise FormatError("audit records as they were told") from None
    return _callers(calls)


def _callers(records: Iterable[Record]) -> tuple[KeyCaller, ...]:
    found: dict[str, KeyCaller] = {}
    for record in records:
        row = found.setdefault(record.principal, KeyCaller(record.principal, record.additional_event_data.namespace))
        if record.denied:
            row.denied += 1
        else:
            row.actions[record.event_name] += 1
        row.last = max(row.last, record.event_time)
    return tuple(sorted(found.values(), key=lambda row: (-row.count, row.principal)))
