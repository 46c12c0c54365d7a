"""What the model says of a value, and AWS's words for a value that breaks it. Called by decode.

    Value 'v' at 'keyId' failed to satisfy constraint: Member must have length greater than or equal to 1

Several in one message, joined with "; " behind their number. Blobs, sensitive shapes and grant tokens show no value (a grant token
is a credential, though the model does not say so); long values are cut, and after MOST failures no more are looked for: messages reach
the audit log, and a megabyte of small faults must not become many.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple

from keystead.errors import ValidationError
from keystead.server.model import Shape

SHOWN: Final = 2048
"""Most characters of a value in a message."""

MOST: Final = 32
"""So many failures are enough."""

HIDDEN: Final = frozenset({"GrantTokenType", "GrantTokenList"})
NOT_NULL: Final = "Member must not be null"
_LENGTH: Final = frozenset({"string", "blob", "list", "map"})


class Constraint(NamedTuple):
    """One constraint. `holds` is given the value as decoded (bytes for a blob)."""

    holds: Callable[[Any], bool]
    must: str


def constraints_of(shape: Shape) -> tuple[Constraint, ...]:
    """Every constraint of a shape, in the order in which AWS lists them."""
    if shape.enum:
        return (_enum(shape.enum),)
    found = []
    measure, word = (len, "length") if shape.type in _LENGTH else (int, "value")
    if shape.high is not None:
        found.append(_at_most(measure, word, shape.high))
    if shape.low:
        found.append(_at_least(measure, word, shape.low))
    if shape.pattern is not None:
        found.append(_pattern(shape.pattern))
    return tuple(found)


def failure(shape: Shape, value: object, at: str, must: str) -> str:
    """AWS's words for one value."""
    if shape.type == "blob" or shape.sensitive or shape.name in HIDDEN:
        return f"Value at '{at}' failed to satisfy constraint: {must}"
    text = f"[{', '.join(map(str, value))}]" if isinstance(value, list) else str(value)
    if len(text) > SHOWN:
        text = text[:SHOWN] + "..."
    return f"Value '{text}' at '{at}' failed to satisfy constraint: {must}"


def missing(at: str) -> str:
    """AWS's words for a required member that is not there."""
    return f"Value null at '{at}' failed to satisfy constraint: {NOT_NULL}"


def element(inner: Sequence[Constraint]) -> str:
    """What a list of simple values must satisfy: AWS names every constraint of an element, whichever was broken."""
    return f"Member must satisfy constraint: [{', '.join(one.must for one in inner)}]"


def validation_error(failures: Sequence[str]) -> ValidationError:
    """One exception for all that is wrong."""
    noun = "error" if len(failures) == 1 else "errors"
    return ValidationError(f"{len(failures)} validation {noun} detected: {'; '.join(failures)}")


def _enum(values: tuple[str, ...]) -> Constraint:
    return Constraint(frozenset(values).__contains__, f"Member must satisfy enum value set: [{', '.join(values)}]")


def _at_most(measure: Callable[[Any], int], word: str, bound: int) -> Constraint:
    return Constraint(lambda value: measure(value) <= bound, f"Member must have {word} less than or equal to {bound}")


def _at_least(measure: Callable[[Any], int], word: str, bound: int) -> Constraint:
    must = f"Member must have {word} greater than or equal to {bound}"
    return Constraint(lambda value: measure(value) >= bound, must)


def _pattern(pattern: str) -> Constraint:
    # AWS matches the whole value, anchors or not, and its \w and \d are ASCII.
    matches = re.compile(pattern, re.ASCII).fullmatch
    return Constraint(lambda value: matches(value) is not None, f"Member must satisfy regular expression pattern: {pattern}")
