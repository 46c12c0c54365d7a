"""The types that our request and response dataclasses give to the members of the model. Called by decode and encode, once a shape.

A field is the snake_case of botocore's member: `AWSAccountId` is `aws_account_id`. TypeError where a dataclass does not fit.
"""

from __future__ import annotations

import dataclasses
import types
from typing import Any, NamedTuple, NewType, Union, get_args, get_origin, get_type_hints

from keystead.server.model import Shape

Hint = Any


class Known(NamedTuple):
    """A member that a dataclass has. `required`: the dataclass cannot be made without it."""

    name: str
    hint: Hint
    required: bool


def fields_of(kind: Hint, shape: Shape) -> dict[str, Known]:
    """By the member's name. TypeError for what is no dataclass, and for a field that the shape does not have."""
    if not dataclasses.is_dataclass(kind) or not isinstance(kind, type):
        raise TypeError(f"{shape.name}: {kind} is no dataclass")
    wires = {wire.lower(): wire for wire in shape.members}
    hints = get_type_hints(kind)
    found = {}
    for field in dataclasses.fields(kind):
        wire = wires.get(field.name.replace("_", ""))
        if wire is None:
            raise TypeError(f"{shape.name} has no member for {kind.__name__}.{field.name}")
        required = field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
        found[wire] = Known(field.name, plain(hints[field.name]), required)
    return found


def plain(hint: Hint) -> Hint:
    """The type itself: without None, and what a NewType stands for."""
    while True:
        if isinstance(hint, NewType):
            hint = hint.__supertype__
        elif _is_union(hint):
            kinds = [one for one in get_args(hint) if one is not type(None)]
            if len(kinds) != 1:
                raise TypeError(f"{hint} is more than one type")
            hint = kinds[0]
        else:
            return hint


def _is_union(hint: Hint) -> bool:
    origin: object = get_origin(hint)
    return origin is Union or origin is types.UnionType


def item_hint(hint: Hint) -> Hint:
    """What a list holds: tuple[X, ...] -> X; object of object."""
    return object if hint is object else plain(get_args(hint)[0])
