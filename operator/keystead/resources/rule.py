"""What a rule is, and the forms that several rules share. The table is in rules.py."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any, Final, NamedTuple

from msgspec import UNSET

Holds = Callable[[Any, Any], bool]
"""(new object, old object or None) -> whether the rule holds."""

INVALID: Final = "FieldValueInvalid"
FORBIDDEN: Final = "FieldValueForbidden"
DUPLICATE: Final = "FieldValueDuplicate"

NOT_AVAILABLE: Final = "is not available in this version"


class Rule(NamedTuple):
    """One row. `at` is the schema node that carries it ("" the object, `spec`, `spec.rotation.windows[]`)."""

    kind: str
    name: str
    at: str
    field: str
    """Path below `at` that the error names, such as `.keySpec`; empty: `at` itself."""
    cel: str
    message: str
    holds: Holds
    reason: str = INVALID
    message_expression: str = ""
    """CEL that gives the message; `message` is what `describe` and the fallback say."""
    describe: Callable[[Any], str] | None = None
    """The Python twin of message_expression."""
    transition: bool = False

    @property
    def path(self) -> str:
        """The path that an error names, from the object's root."""
        return f"{self.at}{self.field}".lstrip(".")


class Violation(NamedTuple):
    """One rule that an object breaks."""

    rule: str
    field: str
    message: str
    reason: str


def snake(name: str) -> str:
    """keySpec -> key_spec."""
    return re.sub(r"[A-Z]", lambda match: "_" + match[0].lower(), name)


def immutable(kind: str, field: str, *, at: str = "spec", remedy: str = "") -> Rule:
    """The value of `at`.`field` never changes, and neither does whether there is one."""
    attributes = [snake(part) for part in (*at.split("."), field)]

    def holds(new: Any, old: Any) -> bool:  # noqa: ANN401 - any kind
        return bool(_get(new, attributes) == _get(old, attributes))

    return Rule(
        kind=kind,
        name=f"{field}-immutable",
        at=at,
        field=f".{field}",
        cel=f"has(self.{field}) == has(oldSelf.{field}) && (!has(self.{field}) || self.{field} == oldSelf.{field})",
        message=f"{field} is immutable{remedy}",
        holds=holds,
        transition=True,
    )


def at_most_one(kind: str, fields: tuple[str, ...], *, at: str = "spec", exactly: bool = False) -> Rule:
    """At most (or exactly) one of `fields` below `at` is set."""
    parent = [snake(part) for part in at.split(".")]
    count = " + ".join(f"(has(self.{field}) ? 1 : 0)" for field in fields)
    words = f"{', '.join(fields[:-1])} and {fields[-1]}"

    def holds(new: Any, _old: Any) -> bool:  # noqa: ANN401 - any kind
        node = _get(new, parent)
        given = 0 if node is UNSET else sum(getattr(node, snake(field)) is not UNSET for field in fields)
        return given == 1 or (given == 0 and not (exactly and node is not UNSET))

    return Rule(
        kind=kind,
        name=f"one-of-{'-'.join(fields)}",
        at=at,
        field="" if exactly else f".{fields[-1]}",
        cel=f"{count} {'==' if exactly else '<='} 1",
        message=f"{'exactly' if exactly else 'at most'} one of {words} may be set",
        holds=holds,
    )


def not_available(kind: str, field: str, cel: str, holds: Holds, what: str = "") -> Rule:
    """An option of a later version."""
    return Rule(
        kind=kind,
        name=f"{field}-not-available",
        at="spec",
        field=f".{field}",
        cel=cel,
        message=f"{what or field} {NOT_AVAILABLE}",
        holds=holds,
        reason=FORBIDDEN,
    )


def duration_between(
    kind: str, at: str, field: str, *, low: str, high: str, values: Callable[[Any], list[str]]
) -> Rule:
    """Every duration that `values` finds lies between `low` and `high` (as the models write durations)."""
    least, most = seconds(low), seconds(high)

    def holds(new: Any, _old: Any) -> bool:  # noqa: ANN401 - any kind
        return all(least <= seconds(value) <= most for value in values(new))

    guard = "" if at.endswith("[]") else f"!has(self.{field}) || "
    span = f"duration(self.{field}) >= duration('{low}') && duration(self.{field}) <= duration('{high}')"
    return Rule(
        kind=kind,
        name=f"{field}-bounds",
        at=at,
        field=f".{field}",
        cel=f"{guard}({span})" if guard else span,
        message=f"{field} must be between {low} and {high}",
        holds=holds,
    )


_DURATION: Final = re.compile(r"(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?")


def seconds(text: str) -> float:
    """Seconds of a duration as the models write it (`1h30m`); the pattern of the field was checked before."""
    match = _DURATION.fullmatch(text)
    hours, minutes, secs = (int(part or 0) for part in match.groups()) if match else (0, 0, 0)
    return timedelta(hours=hours, minutes=minutes, seconds=secs).total_seconds()


def _get(node: Any, attributes: list[str]) -> Any:  # noqa: ANN401 - any kind
    for attribute in attributes:
        if node is UNSET:
            return UNSET
        node = getattr(node, attribute)
    return node
