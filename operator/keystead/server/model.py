"""botocore's service model of KMS as values: what decode, encode and the tests look up. `kms_model.json` is its only source.

The file is generated (`make model`) from botocore's kms/2014-11-01/service-2.json, whose text and examples stay out; a test makes
it again. Nothing here knows our dataclasses, and botocore itself never enters: it is a test dependency.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.resources import files
from typing import Any, Final

import msgspec


@dataclass(frozen=True, slots=True)
class Shape:
    """A shape. `low`, `high`: its length or value. `members`: of a structure, in the model's order, by name of the shape.

    item: of a list; key, value: of a map; sensitive: no value of it is ever shown; fault: an exception with a 5xx status
    """

    name: str
    type: str
    low: int | None = None
    high: int | None = None
    pattern: str | None = None
    enum: tuple[str, ...] = ()
    sensitive: bool = False
    required: frozenset[str] = frozenset()
    members: Mapping[str, str] = field(default_factory=dict)
    item: str = ""
    key: str = ""
    value: str = ""
    exception: bool = False
    fault: bool = False


@dataclass(frozen=True, slots=True)
class Operation:
    """An operation of the model. `output` None: it answers with an empty body."""

    name: str
    input: str
    output: str | None
    errors: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Model:
    """The whole model."""

    operations: Mapping[str, Operation]
    shapes: Mapping[str, Shape]


def parse(text: bytes) -> Model:
    """The model of a kms_model.json."""
    raw: dict[str, Any] = msgspec.json.decode(text)
    operations = {
        name: Operation(name, row["input"], row.get("output"), tuple(row["errors"]))
        for name, row in raw["operations"].items()
    }
    return Model(operations, {name: _shape(name, row) for name, row in raw["shapes"].items()})


def _shape(name: str, row: Mapping[str, Any]) -> Shape:
    return Shape(
        name,
        row["type"],
        low=row.get("min"),
        high=row.get("max"),
        pattern=row.get("pattern"),
        enum=tuple(row.get("enum", ())),
        sensitive=row.get("sensitive", False),
        required=frozenset(row.get("required", ())),
        members=row.get("members", {}),
        item=row.get("member", ""),
        key=row.get("key", ""),
        value=row.get("value", ""),
        exception=row.get("exception", False),
        fault=row.get("fault", False),
    )


MODEL: Final = parse(files("keystead.server").joinpath("kms_model.json").read_bytes())
