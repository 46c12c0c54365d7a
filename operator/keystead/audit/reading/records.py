"""Records of calls and of Keystead's own actions, as far as people ask for them, from many chains in the order of time.

A record is read twice: first the members that a question can be about, then, if it is wanted, its text. A question about one key lets
whole blocks go by unparsed: its id stands in every record about it. A line that does not look like a record may have been one, and is told.
"""

from __future__ import annotations

import heapq
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Raw

from keystead.audit.reading.files import Chain, Part, Unread, blocks_of, find_chains, first_line
from keystead.audit.reading.lines import LineError, sound, sound_block
from keystead.engine.clock import format_time
from keystead.errors import FormatError

SLACK: Final = timedelta(minutes=5)
"""A record stands where its call ended, and has the time when it began: records of a chain are out of order by no more than that."""
_CALLS: Final = ("call", "service")
_PLAIN: Final = re.compile(r"[A-Za-z0-9:/_-]+", re.ASCII)
_LAST: Final = re.compile("[/:]")
_KEY_MEMBERS: Final = ("keyId", "sourceKeyId", "destinationKeyId", "targetKeyId", "aliasName")
_CONTEXT_MEMBERS: Final = ("encryptionContext", "sourceEncryptionContext", "destinationEncryptionContext")


class _Issuer(msgspec.Struct, frozen=True):
    arn: str = ""


class _Session(msgspec.Struct, frozen=True, rename="camel"):
    session_issuer: _Issuer = _Issuer()


class _Who(msgspec.Struct, frozen=True, rename="camel"):
    arn: str = ""
    account_id: str = ""
    invoked_by: str = ""
    user_name: str = ""
    session_context: _Session = _Session()


class _Resource(msgspec.Struct, frozen=True):
    arn: str = msgspec.field(name="ARN", default="")
    account_id: str = msgspec.field(name="accountId", default="")


class _Decision(msgspec.Struct, frozen=True):
    reason: str = ""


class _More(msgspec.Struct, frozen=True, rename="camel"):
    namespace: str = ""
    decision: _Decision = _Decision()


class _Hidden(msgspec.Struct, frozen=True):
    resources: list[_Resource] = []
    decisions: list[_Decision] = []


class Record(msgspec.Struct, frozen=True, rename="camel"):
    """What questions are about. `key_arns` and `reason` also look at what only the operator of the install may know."""

    keystead_type: str = ""
    event_time: str = ""
    event_name: str = ""
    event_id: str = msgspec.field(name="eventID", default="")
    request_id: str = msgspec.field(name="requestID", default="")
    error_code: str = ""
    recipient_account_id: str = ""
    user_identity: _Who = _Who()
    resources: list[_Resource] = []
    additional_event_data: _More = _More()
    operator_only: _Hidden = _Hidden()
    request_parameters: Raw = Raw(b"null")

    @property
    def key_arns(self) -> list[str]:
        """Keys that it is about."""
        return [item.arn for item in (*self.resources, *self.operator_only.resources) if ":key/" in item.arn]

    @property
    def principal(self) -> str:
        """Who called, in the form that policies have: a role, not its session; or the service of ours; or whose token it was."""
        who = self.user_identity
        return who.session_context.session_issuer.arn or who.arn or who.invoked_by or who.user_name

    @property
    def denied(self) -> bool:
        """Refused by policy, grants or RBAC."""
        return self.error_code.startswith("AccessDenied")

    @property
    def reason(self) -> str:
        """Why it was decided so."""
        hidden = self.operator_only.decisions
        return hidden[-1].reason if hidden else self.additional_event_data.decision.reason

    @property
    def second(self) -> bool:
        """The copy of what another account's record is about already."""
        caller = self.user_identity.account_id
        return bool(caller) and caller != self.recipient_account_id

    def parameters(self, names: Sequence[str]) -> list[object]:
        """Those of these members of requestParameters that are there."""
        found = msgspec.json.decode(self.request_parameters)
        return [found[name] for name in names if name in found] if isinstance(found, dict) else []


_RECORD: Final = msgspec.json.Decoder(Record)


def record_of(told: Mapping[str, object]) -> Record:
    """Of a record that was read already. MsgspecError where it is none."""
    return _RECORD.decode(msgspec.json.encode(told))


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """What is asked for; what is empty is not asked. `*` in key, principal, action and namespace stands for anything.

    keys        key ids, key ARNs, aliases (as sent by the caller)
    principals  ARNs (role or session), or names of ServiceAccounts, users and services
    """

    keys: Sequence[str] = ()
    principals: Sequence[str] = ()
    actions: Sequence[str] = ()
    namespaces: Sequence[str] = ()
    since: datetime | None = None
    until: datetime | None = None
    context: Mapping[str, str] | None = None
    denied: bool = False

    @property
    def needles(self) -> tuple[bytes, ...]:
        """One of these stands in every record that is asked for; none: nothing can be said."""
        plain = [key.rpartition("/")[2] if ":key/" in key else key for key in self.keys]
        return tuple(key.encode() for key in plain) if all(_PLAIN.fullmatch(key) for key in plain) else ()

    def wants(self, record: Record) -> bool:
        """Whether it is asked for."""
        return (
            _within(record.event_time, self.since, self.until)
            and (not self.denied or record.denied)
            and _any([action.removeprefix("kms:").lower() for action in self.actions], (record.event_name.lower(),))
            and _any(self.namespaces, (record.additional_event_data.namespace,))
            and (not self.principals or _any(self.principals, _names_of(record)))
            and (not self.keys or _any(self.keys, _key_names_of(record)))
            and (not self.context or _has_context(record, self.context))
        )


def records_in(folders: Sequence[Path], query: Query, unread: Unread | None = None) -> Iterator[tuple[Record, bytes]]:
    """Records that are asked for, in the order of time, and their lines. What could not be read is noted in `unread`, once all is read."""
    missed = Unread() if unread is None else unread
    chains = find_chains(folders)
    missed.empty = not chains
    waiting = sorted(((_begin(chain), chain.id, chain) for chain in chains), key=lambda item: item[:2], reverse=True)
    active: list[tuple[str, int, Record, bytes, Iterator[tuple[Record, bytes]]]] = []
    number = 0

    def push(source: Iterator[tuple[Record, bytes]]) -> None:
        nonlocal number
        found = next(source, None)
        if found is not None:
            number += 1
            heapq.heappush(active, (found[0].event_time, number, *found, source))

    while active or waiting:
        while waiting and (not active or waiting[-1][0] <= active[0][0]):
            push(_of_chain(waiting.pop()[2], query, missed))
        if active:
            _, _, record, data, source = heapq.heappop(active)
            yield record, data
            push(source)


def reaches_back(folders: Sequence[Path]) -> str:
    """From when there are records; "" where there are none."""
    return min((begin for chain in find_chains(folders) if (begin := _begin(chain))), default="")


def _begin(chain: Chain) -> str:
    return next((begin for part in chain.parts if (begin := time_of(first_line(part)))), "")


class _Timed(msgspec.Struct, frozen=True, rename="camel"):
    event_time: str = ""
    time: str = ""


_TIMED: Final = msgspec.json.Decoder(_Timed)


def time_of(data: bytes | None) -> str:
    """When a line of any type was written; "" where it does not say."""
    try:
        found = None if data is None else _TIMED.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return ""
    return "" if found is None else found.event_time or found.time


def parts_since(parts: Sequence[Part], since: datetime | None) -> Sequence[Part]:
    """Without those that end before: the next one begins before it already."""
    if since is None:
        return parts
    bound, first = _text(since, -SLACK), 0
    for number, part in enumerate(parts[1:], 1):
        begin = time_of(first_line(part))
        if not begin or begin >= bound:
            break
        first = number
    return parts[first:]


def _of_chain(chain: Chain, query: Query, unread: Unread) -> Iterator[tuple[Record, bytes]]:
    end = None if query.until is None else _text(query.until, SLACK)
    for part in parts_since(chain.parts, query.since):
        if end is not None and time_of(first_line(part)) > end:
            return
        yield from _of_part(part, query, unread, closed=part is not chain.parts[-1])


def _of_part(part: Part, query: Query, unread: Unread, *, closed: bool) -> Iterator[tuple[Record, bytes]]:
    needles = query.needles
    try:
        for offset, block in blocks_of(part, unread=unread, closed=closed):
            whole = sound_block(block)
            if not whole:
                for place in _unsound(block):
                    unread.note(part.name, f"the line at byte {offset + place} is no record, and was passed over")
            for data in lines_with(block, needles):
                if not whole and not sound(data):
                    continue
                try:
                    record = read_record(data)
                except LineError:
                    unread.note(part.name, f"the line at byte {offset + block.find(data)} is no record, and was passed over")
                    continue
                if record is not None and query.wants(record):
                    yield record, data
    except FormatError:
        return


def _unsound(block: bytes) -> Iterator[int]:
    """Where the lines begin that do not look like records."""
    place = 0
    for data in block.split(b"\n")[:-1]:
        if not sound(data):
            yield place
        place += len(data) + 1


def lines_with(block: bytes, needles: Sequence[bytes]) -> Iterator[bytes]:
    """The lines of a block in which one of these stands; all where there is none."""
    if needles and not any(needle in block for needle in needles):
        return
    if len(needles) == 1:
        (needle,) = needles
        yield from (data for data in block.split(b"\n") if needle in data)
        return
    for data in block.split(b"\n"):
        if data and (not needles or any(needle in data for needle in needles)):
            yield data


def read_record(data: bytes) -> Record | None:
    """A record of a call or a service; None for a line of another type. LineError for what is none of ours."""
    try:
        record = _RECORD.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise LineError("no record") from None
    return record if record.keystead_type in _CALLS else None


def _text(moment: datetime, more: timedelta) -> str:
    return format_time(moment.astimezone(UTC) + more)


def _within(time: str, since: datetime | None, until: datetime | None) -> bool:
    """Texts of whole seconds in UTC: they are in the order of time."""
    return (since is None or time >= format_time(since)) and (until is None or time < format_time(until))


def _any(patterns: Sequence[str], names: Sequence[str]) -> bool:
    return not patterns or any(name and fnmatchcase(name, pattern) for pattern in patterns for name in names)


def _names_of(record: Record) -> tuple[str, ...]:
    who, principal = record.user_identity, record.principal
    name = _LAST.split(principal)[-1]
    return (principal, who.arn, name, f"{record.additional_event_data.namespace}/{name}")


def _key_names_of(record: Record) -> list[str]:
    arns = record.key_arns
    sent = [name for name in record.parameters(_KEY_MEMBERS) if isinstance(name, str)]
    return [*arns, *(arn.rpartition("/")[2] for arn in arns), *sent]


def _has_context(record: Record, wanted: Mapping[str, str]) -> bool:
    found = [context for context in record.parameters(_CONTEXT_MEMBERS) if isinstance(context, dict)]
    return any(all(context.get(name) == value for name, value in wanted.items()) for context in found)
