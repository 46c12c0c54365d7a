"""The TABLE of condition operators: which types of keys an operator compares, and how (IAM, 'Condition operators').

An operator is prepared once with all the values that the document gives it, which are alternatives; what comes out says of one value of
a request whether any of them fits: True, False, or None where the value is not of the operator's type at all (a tag that is no number).
A negated operator is the same comparison, turned round afterwards (conditions.py).
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from ipaddress import IPv6Address, IPv6Network, ip_address, ip_network
from typing import Any, Final, NamedTuple, TypeAlias

from keystead.policy.conditionkeys import Type
from keystead.policy.malformed import malformed, shown
from keystead.policy.wildcards import literal, matcher

Match: TypeAlias = Callable[[str], bool | None]
Number: TypeAlias = int | float
_NUMBER: Final = re.compile(r"-?\d{1,18}(?:\.\d{1,18})?\Z", re.ASCII)
_DATE: Final = re.compile(
    r"\d{4}(?:-\d\d(?:-\d\d(?:T\d\d:\d\d(?::\d\d(?:\.\d{1,6})?)?(?:Z|[+-]\d\d:\d\d))?)?)?\Z", re.ASCII
)
_CIDR: Final = re.compile(r"[0-9A-Fa-f.:]{2,45}(?:/\d{1,3})?\Z", re.ASCII)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_ARN_PARTS: Final = 6
_WHOLE_YEAR, _WHOLE_MONTH = 4, 7


class Values(NamedTuple):
    """What the document gives an operator. `escapes`: the document's version has policy variables."""

    texts: Sequence[str]
    place: str
    escapes: bool

    def parsed(self, parse: Callable[[str], Any], kind: str) -> list[Any]:
        """Each of them as the operator's type."""
        found = []
        for text in self.texts:
            parsed = parse(text)
            if parsed is None:
                raise malformed(self.place, f"{shown(text)} is not {kind}")
            found.append(parsed)
        return found


class Operator(NamedTuple):
    """One operator. `wild`: its values are patterns."""

    name: str
    types: frozenset[Type]
    prepare: Callable[[Values], Match]
    negated: bool = False
    wild: bool = False


def _string_equals(values: Values) -> Match:
    return frozenset(literal(text) if values.escapes else text for text in values.texts).__contains__


def _string_equals_ignore_case(values: Values) -> Match:
    wanted = frozenset((literal(text) if values.escapes else text).casefold() for text in values.texts)
    return lambda text: text.casefold() in wanted


def _string_like(values: Values) -> Match:
    return _any_of([matcher(text, escapes=values.escapes) for text in values.texts])


def _arn_like(values: Values) -> Match:
    """Each of the six parts of an ARN by itself: a `*` does not reach over a colon."""
    wanted = [_arn_parts(text, values) for text in values.texts]

    def matches(text: str) -> bool:
        given = text.split(":", _ARN_PARTS - 1)
        if len(given) != _ARN_PARTS:
            return False
        given.reverse()
        for parts in wanted:
            for fits, part in zip(parts, given, strict=True):
                if not fits(part):
                    break
            else:
                return True
        return False

    return matches


def _arn_parts(pattern: str, values: Values) -> list[Callable[[str], bool]]:
    """The last one first: it says most."""
    parts = pattern.split(":", _ARN_PARTS - 1)
    if len(parts) != _ARN_PARTS or not pattern.startswith("arn:"):
        raise malformed(values.place, f"{shown(pattern)} is not an ARN of six parts, each of which may have wildcards")
    return [matcher(part, escapes=values.escapes) for part in reversed(parts)]


def _any_of(matchers: list[Callable[[str], bool]]) -> Match:
    if len(matchers) == 1:
        return matchers[0]
    return lambda text: any(matches(text) for matches in matchers)


def number(text: str) -> Number | None:
    """A decimal number, None for any other text."""
    if not _NUMBER.match(text):
        return None
    return float(text) if "." in text else int(text)


def moment(text: str) -> float | None:
    """Seconds since 1970 of a date in ISO 8601 (with its zone, where it has a time) or of such a number; None for any other text."""
    if not _DATE.match(text):
        return number(text)
    whole = {_WHOLE_YEAR: "-01-01", _WHOLE_MONTH: "-01"}.get(len(text), "")
    try:
        date = datetime.fromisoformat(text + whole)
        return ((date if date.tzinfo else date.replace(tzinfo=UTC)) - _EPOCH).total_seconds()
    except (ValueError, OverflowError):
        return None


def _compared(parse: Callable[[str], Number | None], kind: str, holds: Callable[[Any, Any], bool]) -> Callable[[Values], Match]:
    def prepare(values: Values) -> Match:
        wanted = values.parsed(parse, kind)

        def match(text: str) -> bool | None:
            given = parse(text)
            return None if given is None else any(holds(given, one) for one in wanted)

        return match

    return prepare


def truth(text: str) -> str | None:
    """`true` or `false`, however it is written; None for any other text."""
    folded = text.lower()
    return folded if folded in ("true", "false") else None


def _bool(values: Values) -> Match:
    wanted = frozenset(values.parsed(truth, "true or false"))

    def match(text: str) -> bool | None:
        given = truth(text)
        return None if given is None else given in wanted

    return match


class _Network(NamedTuple):
    version: int
    prefix: int
    shift: int


def _network(text: str) -> _Network | None:
    """An address or a range. One of IPv4 that is written as IPv6 (::ffff:10.0.0.0/104) is the IPv4 one."""
    if not _CIDR.match(text):
        return None
    try:
        network = ip_network(text, strict=False)
    except ValueError:
        return None
    first, size, version = int(network.network_address), network.prefixlen, network.version
    if isinstance(network, IPv6Network) and network.network_address.ipv4_mapped is not None and size >= 96:
        first, size, version = int(network.network_address.ipv4_mapped), size - 96, 4
    shift = (32 if version == 4 else 128) - size
    return _Network(version, first >> shift, shift)


@lru_cache(maxsize=1024)
def _address(text: str) -> tuple[int, int] | None:
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return (4, int(mapped)) if mapped is not None else (address.version, int(address))


def _ip_address(values: Values) -> Match:
    networks: list[_Network] = values.parsed(_network, "an IP address or a range like 203.0.113.0/24")

    def match(text: str) -> bool | None:
        address = _address(text)
        if address is None:
            return None
        version, bits = address
        return any(net.version == version and bits >> net.shift == net.prefix for net in networks)

    return match


_ALL: Final = frozenset(Type)
_TEXTS: Final = frozenset({Type.STRING, Type.TEXT})
_NUMERIC: Final = frozenset({Type.NUMERIC, Type.EPOCH, Type.TEXT})
_DATES: Final = frozenset({Type.DATE, Type.EPOCH, Type.TEXT})
_ORDER: Final = {
    "LessThan": operator.lt,
    "LessThanEquals": operator.le,
    "GreaterThan": operator.gt,
    "GreaterThanEquals": operator.ge,
}


def _family(
    name: str, types: frozenset[Type], parse: Callable[[str], Number | None], kind: str
) -> tuple[Operator, ...]:
    equal = _compared(parse, kind, operator.eq)
    return (
        Operator(f"{name}Equals", types, equal),
        Operator(f"{name}NotEquals", types, equal, negated=True),
        *(Operator(f"{name}{words}", types, _compared(parse, kind, holds)) for words, holds in _ORDER.items()),
    )


_ROWS: Final = (
    Operator("StringEquals", _ALL, _string_equals),
    Operator("StringNotEquals", _ALL, _string_equals, negated=True),
    Operator("StringEqualsIgnoreCase", _ALL, _string_equals_ignore_case),
    Operator("StringNotEqualsIgnoreCase", _ALL, _string_equals_ignore_case, negated=True),
    Operator("StringLike", _ALL, _string_like, wild=True),
    Operator("StringNotLike", _ALL, _string_like, negated=True, wild=True),
    *_family("Numeric", _NUMERIC, number, "a number"),
    *_family("Date", _DATES, moment, "a date like 2026-11-26T08:00:00Z"),
    Operator("Bool", frozenset({Type.BOOL, Type.TEXT}), _bool),
    Operator("IpAddress", frozenset({Type.IP, Type.TEXT}), _ip_address),
    Operator("NotIpAddress", frozenset({Type.IP, Type.TEXT}), _ip_address, negated=True),
    Operator("ArnEquals", _TEXTS, _arn_like, wild=True),
    Operator("ArnLike", _TEXTS, _arn_like, wild=True),
    Operator("ArnNotEquals", _TEXTS, _arn_like, negated=True, wild=True),
    Operator("ArnNotLike", _TEXTS, _arn_like, negated=True, wild=True),
)
OPERATORS: Final[dict[str, Operator]] = {row.name: row for row in _ROWS}
"""`Null` is none of them: it compares nothing (conditions.py). BinaryEquals is AWS's too, for binary keys, of which there are none."""
