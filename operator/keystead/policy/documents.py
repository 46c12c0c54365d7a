"""Key policy documents: JSON in, frozen typed values out, or MalformedPolicyDocumentError with the place of what is wrong.

Grammar: IAM, 'Grammar of the IAM JSON policy language'; AWS KMS, 'Key policies'. Stricter than AWS in what nobody means and what would
open a key silently: unknown members, actions, operators and keys are refused by name; so are a statement without Resource or with one that
does not cover its key (AWS takes them, without effect), empty lists of values, and NotPrincipal with Allow. No I/O, no clock.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from enum import StrEnum
from functools import lru_cache
from typing import Any, Final

from keystead.policy.actions import KNOWN, Action
from keystead.policy.conditionkeys import Type
from keystead.policy.conditions import Condition, parse_condition
from keystead.policy.malformed import malformed, shown
from keystead.policy.principals import Principals, parse_principals
from keystead.policy.wildcards import matcher

MAX_BYTES: Final = 32 * 1024
_MAX_SINGLES: Final = 64
"""Question marks in the conditions of a document: each costs a step for each character of a request. No policy needs them."""
_MAX_LONG: Final = 64
"""Patterns on what a caller says at length, up to 8 KiB (contexts, tags): each looks at all of it."""
_MAX_LONG_SINGLES: Final = 16
VERSION: Final = "2012-10-17"
_OLD: Final = "2008-10-17"
"""What a document without Version is: one without policy variables."""
_ACTION: Final = re.compile(r"kms:[A-Za-z0-9*?]{1,128}\Z", re.ASCII | re.IGNORECASE)
_DOCUMENT: Final = frozenset({"Version", "Id", "Statement"})
_STATEMENT: Final = frozenset(
    {"Sid", "Effect", "Principal", "NotPrincipal", "Action", "NotAction", "Resource", "Condition"}
)


class Effect(StrEnum):
    """What a statement does."""

    ALLOW = "Allow"
    DENY = "Deny"


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement. `except_principals`: it is about all others (NotPrincipal); `actions`: those of NotAction left out already."""

    index: int
    sid: str
    effect: Effect
    principals: Principals
    except_principals: bool
    actions: frozenset[Action]
    resources: tuple[str, ...]
    conditions: tuple[Condition, ...]

    @property
    def label(self) -> str:
        """What it is called: its Sid, else its place."""
        return shown(self.sid) if self.sid else f"Statement[{self.index}]"


@dataclass(frozen=True, slots=True)
class Document:
    """A whole document."""

    version: str
    id: str
    statements: tuple[Statement, ...]


def parse(text: str | bytes) -> Document:
    """The document. `text`: as sent, or the bytes of a record."""
    given = read(text)
    _members(given, _DOCUMENT, "")
    version = _text(given.get("Version", _OLD), "Version")
    if version not in (VERSION, _OLD):
        raise malformed("Version", f"{shown(version)} is neither {VERSION} nor {_OLD}")
    statements = tuple(_statements(given.get("Statement"), version == VERSION))
    _check_sids(statements)
    _check_effort(statements)
    return Document(version, _text(given.get("Id", ""), "Id"), statements)


def check_covers(document: Document, arn: str) -> None:
    """Every statement's Resource covers the key of this ARN: `*`, or a pattern of ARNs that has it."""
    for statement in document.statements:
        if not any(text == "*" or matcher(text)(arn) for text in statement.resources):
            raise malformed(f"Statement[{statement.index}].Resource", f"{shown(statement.resources[0])} does not cover this key: say *")


def _statements(given: Any, escapes: bool) -> Iterator[Statement]:  # noqa: ANN401 - JSON enters here
    if isinstance(given, Mapping):
        given = [given]
    if not isinstance(given, list) or not given:
        raise malformed("Statement", "a statement, or a list of some")
    for n, statement in enumerate(given):
        place = f"Statement[{n}]"
        if not isinstance(statement, Mapping):
            raise malformed(place, "not an object")
        _members(statement, _STATEMENT, place)
        yield _statement(statement, n, place, escapes)


def _statement(given: Mapping[str, Any], index: int, place: str, escapes: bool) -> Statement:
    effect = given.get("Effect")
    if effect not in (Effect.ALLOW.value, Effect.DENY.value):
        raise malformed(f"{place}.Effect", "Allow or Deny")
    principal = _one_of(given, "Principal", "NotPrincipal", place)
    if principal == "NotPrincipal" and effect == Effect.ALLOW.value:
        raise malformed(f"{place}.NotPrincipal", "goes with the Effect Deny only: with Allow it would name everybody else")
    action = _one_of(given, "Action", "NotAction", place)
    named = _actions(given[action], f"{place}.{action}")
    if "Resource" not in given:
        raise malformed(f"{place}.Resource", "missing; in a key policy it is *, which is the key")
    resources = _texts(given["Resource"], f"{place}.Resource")
    return Statement(
        index=index,
        sid=_text(given.get("Sid", ""), f"{place}.Sid"),
        effect=Effect(effect),
        principals=parse_principals(given[principal], f"{place}.{principal}"),
        except_principals=principal == "NotPrincipal",
        actions=_shared(named if action == "Action" else _ALL - named),
        resources=resources,
        conditions=tuple(_conditions(given.get("Condition", {}), f"{place}.Condition", escapes)),
    )


def _actions(given: Any, place: str) -> frozenset[Action]:  # noqa: ANN401
    """The actions that the patterns name, of those that are served. One that names none of AWS's own is a slip, which would open a key."""
    found: set[Action] = set()
    for pattern in _texts(given, place):
        if pattern == "*":
            return _ALL
        if not _ACTION.match(pattern):
            raise malformed(place, f"{shown(pattern)} is no action of kms")
        names = _named(pattern[4:].lower())
        if not names:
            raise malformed(place, f"there is no action {shown(pattern)}{_meant(pattern[4:])}")
        found.update(_SERVED[name] for name in names if name in _SERVED)
    return frozenset(found)


def _meant(name: str) -> str:
    """The action that a slip was probably meant to be, for a person to decide."""
    if name.lower() == "reencrypt":
        return "; did you mean kms:ReEncrypt*"
    if "*" in name or "?" in name:
        return ""
    known = {each.lower(): each for each in KNOWN}
    near = get_close_matches(name.lower(), known, n=1, cutoff=0.75)
    return f"; did you mean kms:{known[near[0]]}" if near else ""


_ALL: Final = frozenset(Action)
_SERVED: Final = {action.value: action for action in Action}


@lru_cache(maxsize=512)
def _shared(actions: frozenset[Action]) -> frozenset[Action]:
    """The one that was there first: hundreds of statements of thousands of policies have the same few."""
    return actions


@lru_cache(maxsize=512)
def _named(pattern: str) -> tuple[str, ...]:
    matches = matcher(pattern)
    return tuple(name for name in KNOWN if matches(name.lower()))


def _conditions(given: Any, place: str, escapes: bool) -> Iterator[Condition]:  # noqa: ANN401
    if not isinstance(given, Mapping):
        raise malformed(place, "not an object")
    for operator, keys in given.items():
        where = f"{place}.{shown(operator)}"
        if not isinstance(keys, Mapping) or not keys:
            raise malformed(where, "an object of condition keys and their values")
        _check_twice(keys, where)
        for key, values in keys.items():
            yield parse_condition(operator, key, _values(values, f"{where}.{shown(key)}"), where, escapes)


def _check_twice(keys: Mapping[str, Any], place: str) -> None:
    # Names of keys are compared without case: two spellings of one would be two conditions of which a reader sees one.
    if len({key.lower() for key in keys}) != len(keys):
        raise malformed(place, "a condition key twice")


def _values(given: Any, place: str) -> tuple[str, ...]:  # noqa: ANN401
    """JSON's own booleans and numbers are texts here, as by AWS ({"Bool": {"kms:MultiRegion": true}})."""
    values = given if isinstance(given, list) else [given]
    if not values:
        raise malformed(place, "no values")
    return tuple(_value(value, place) for value in values)


def _value(given: Any, place: str) -> str:  # noqa: ANN401
    if isinstance(given, bool):
        return "true" if given else "false"
    if isinstance(given, int | float):
        return str(given)
    return _text(given, place)


def _texts(given: Any, place: str) -> tuple[str, ...]:  # noqa: ANN401
    texts = [given] if isinstance(given, str) else given
    if not isinstance(texts, list) or not texts:
        raise malformed(place, "a text, or a list of some")
    return tuple(_text(text, f"{place}[{n}]" if isinstance(given, list) else place) for n, text in enumerate(texts))


def _text(given: Any, place: str) -> str:  # noqa: ANN401
    if not isinstance(given, str):
        raise malformed(place, "not a text")
    return given


def _one_of(given: Mapping[str, Any], name: str, other: str, place: str) -> str:
    if (name in given) == (other in given):
        raise malformed(place, f"needs exactly one of {name} and {other}")
    return name if name in given else other


def _members(given: Mapping[str, Any], known: frozenset[str], place: str) -> None:
    for name in given:
        if name not in known:
            raise malformed(f"{place}.{shown(name)}" if place else shown(name), "there is no such member of a key policy")


def _check_sids(statements: tuple[Statement, ...]) -> None:
    seen: dict[str, int] = {}
    for statement in statements:
        before = seen.setdefault(statement.sid, statement.index)
        if statement.sid and before != statement.index:
            raise malformed(f"Statement[{statement.index}].Sid", f"is that of Statement[{before}] too; statement ids are unique")


def _check_effort(statements: tuple[Statement, ...]) -> None:
    """What a call may cost: a worker answers everybody, and a policy is written by one of them."""
    wild = [one for statement in statements for one in statement.conditions if one.operator is not None and one.operator.wild]
    long = [one for one in wild if one.key.multi or one.key.type is Type.TEXT]
    for count, most, what in (
        (_singles(wild), _MAX_SINGLES, "question marks in conditions"),
        (_singles(long), _MAX_LONG_SINGLES, "question marks in conditions on contexts and tags"),
        (sum(len(one.values) for one in long), _MAX_LONG, "patterns in conditions on contexts and tags"),
    ):
        if count > most:
            raise malformed("Statement", f"{count} {what}; the most are {most}")


def _singles(conditions: Iterable[Condition]) -> int:
    return sum(value.count("?") for one in conditions for value in one.values)


def read(text: str | bytes) -> dict[str, Any]:
    """The JSON object, its members as they are. A document of which two readers could read different things is malformed."""
    try:
        data = text.encode() if isinstance(text, str) else text
        if len(data) > MAX_BYTES:
            raise malformed("", f"The policy document must not be longer than {MAX_BYTES} bytes.")
        given = json.loads(data.decode(), object_pairs_hook=_pairs, parse_int=_integer, parse_float=_float, parse_constant=_constant)
        # A text with half a character of UTF-16 has no bytes: it could not be compared with what arrives, nor logged.
        json.dumps(given, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as error:
        raise malformed("", "The policy document is not valid JSON.") from error
    if not isinstance(given, dict):
        raise malformed("", "The policy document must be a JSON object.")
    return given


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    # Of two members of one name, readers disagree on which one counts.
    if len({name for name, _ in pairs}) != len(pairs):
        raise ValueError("a member twice")
    return dict(pairs)


def _integer(text: str) -> int:
    if len(text) > 18:
        raise ValueError("a number that does not survive JSON")
    return int(text)


def _float(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError("a number that does not survive JSON")
    return number


def _constant(text: str) -> None:
    raise ValueError(f"{text} is not JSON")
