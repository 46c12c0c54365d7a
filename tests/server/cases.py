"""Requests made from botocore's own model (never from our reading of it): valid ones, and every way to break a constraint.

A `Place` is a member of a request, however deep. `texts` is AWS's wording, worked out here a second time.
"""

from __future__ import annotations

import base64
import dataclasses
import re
from collections.abc import Iterator
from datetime import datetime
from functools import cache
from typing import Any, NamedTuple

from tests.server.make_model import source

from keystead.operations import OPERATIONS
from keystead.operations.control.registry import CONTROL
from keystead.operations.registry import OperationRow
from keystead.server.constraints import SHOWN

RAW = source()
SHAPES = RAW["shapes"]
SERVED: dict[str, OperationRow] = OPERATIONS | CONTROL
ARN = "arn:aws:kms:eu-west-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"

# A text for each pattern of the model.
SAMPLES = {
    "AccountIdType": "111122223333",
    "AliasNameType": "alias/name",
    "ArnType": ARN,
    "BackingKeyIdResponseType": "a" * 64,
    "BackingKeyIdType": "a" * 64,
    "CloudHsmClusterIdType": "cluster-2234567abcd",
    "GrantConstraintSourceArnType": "arn:aws:s3:eu-west-1:111122223333:bucket/x",
    "GrantNameType": "name",
    "KeyMaterialDescriptionType": "text",
    "KeyStorePasswordType": "password",
    "MarkerType": "marker",
    "PolicyNameType": "default",
    "PolicyType": "{}",
    "PrincipalIdType": "arn:aws:iam::111122223333:role/x",
    "RegionType": "eu-west-1",
    "ServicePrincipalType": "service.amazonaws.com",
    "XksKeyIdType": "id",
    "XksProxyAuthenticationAccessKeyIdType": "A" * 20,
    "XksProxyAuthenticationRawSecretAccessKeyType": "a" * 43,
    "XksProxyUriEndpointType": "https://example.com",
    "XksProxyUriPathType": "/kms/xks/v1",
    "XksProxyVpcEndpointServiceNameType": "com.amazonaws.vpce.eu-west-1.vpce-svc-0a",
}
WRONG = {
    "string": (1, 1.5, True, [], {}, ["x"], {"x": "y"}),
    "integer": ("32", 1.5, 32.0, True, [], {}, 2**31, 2**64, -(2**31) - 1),
    "boolean": ("true", 0, 1, 1.0, [], {}),
    "blob": (1, True, [], {}, [1, 2]),
    "timestamp": ("2026-11-26T00:00:00Z", True, [], {}, 10**15, -(10**15)),
    "list": ("x", 1, True, {}, {"0": "x"}),
    "map": ("x", 1, True, [], [["a", "b"]], {"a": 1}, {"a": None}, {"a": ["b"]}),
    "structure": ("x", 1, True, [], [{}]),
}


class Place(NamedTuple):
    """`path`: member names, and 0 for the first of a list. `at`: AWS's name for it. `structure`: the shape that holds it."""

    path: tuple[str | int, ...]
    shape: str
    at: str
    required: bool


def kind(shape: str) -> str:
    return SHAPES[shape]["type"]


def is_scalar(shape: str) -> bool:
    return kind(shape) not in ("structure", "list", "map")


def sample(name: str) -> Any:
    """A valid JSON value."""
    shape = SHAPES[name]
    match shape["type"]:
        case "structure":
            return {member: sample(shape["members"][member]["shape"]) for member in shape.get("required", ())}
        case "list":
            return [sample(shape["member"]["shape"])]
        case "map":
            return {"key": "value"}
        case "string":
            return shape["enum"][0] if "enum" in shape else SAMPLES.get(name, "a" * max(1, shape.get("min", 1)))
        case "integer":
            return shape.get("min", 1)
        case "boolean":
            return True
        case "timestamp":
            return 1795651200.125
    return base64.b64encode(b"\x00\xff" * shape.get("min", 1)).decode()


def input_of(operation: str) -> str:
    return RAW["operations"][operation]["input"]["shape"]


@cache
def places(operation: str) -> tuple[Place, ...]:
    """Every member of the operation's request."""
    return tuple(_places(input_of(operation), (), ""))


def _places(name: str, path: tuple[str | int, ...], at: str) -> Iterator[Place]:
    shape = SHAPES[name]
    if shape["type"] == "structure":
        for member, target in shape["members"].items():
            lower = f"{at}{'.' if at else ''}{member[0].lower()}{member[1:]}"
            yield Place((*path, member), target["shape"], lower, member in shape.get("required", ()))
            yield from _places(target["shape"], (*path, member), lower)
    elif shape["type"] == "list":
        item = shape["member"]["shape"]
        inner = at if is_scalar(item) else f"{at}.1.member"
        yield Place((*path, 0), item, inner, False)
        if not is_scalar(item):
            yield from _places(item, (*path, 0), inner)


def base(operation: str, row: OperationRow | None = None) -> dict[str, Any]:
    """The least valid request: what the model requires, and what our dataclass does (Decrypt's blob)."""
    body = sample(input_of(operation))
    for member, target in SHAPES[input_of(operation)]["members"].items():
        if row is not None and member.lower() in needed(row.request):
            body.setdefault(member, sample(target["shape"]))
    return body


def needed(request: type) -> set[str]:
    missing = dataclasses.MISSING
    fields = [f for f in dataclasses.fields(request) if f.default is missing and f.default_factory is missing]
    return {field.name.replace("_", "") for field in fields}


def known(place: Place, request: type) -> bool:
    """Whether our dataclass has the member at the top of the path."""
    return str(place.path[0]).lower() in {field.name.replace("_", "") for field in dataclasses.fields(request)}


def with_value(body: dict[str, Any], place: Place, value: Any, operation: str) -> dict[str, Any]:
    """The body with this value at this place, and valid ones on the way to it."""
    node: Any = body
    name = input_of(operation)
    for step, following in zip(place.path, (*place.path[1:], None), strict=True):
        shape = SHAPES[name]
        name = shape["member"]["shape"] if step == 0 else shape["members"][step]["shape"]
        if following is None:
            node[step] = value
        else:
            if step != 0 and step not in node:
                node[step] = sample(name)
            node = node[step]
    return body


def wire(name: str, value: Any) -> Any:
    """A value as JSON has it: blobs as base64."""
    return base64.b64encode(value).decode() if kind(name) == "blob" else value


def broken_values(name: str) -> Iterator[Any]:
    """Values that break a constraint of the shape: bytes for a blob."""
    shape = SHAPES[name]
    if "enum" in shape:
        yield from ("NOT_A_VALUE", "", shape["enum"][0].swapcase())
    if shape["type"] == "integer":
        yield from [shape["min"] - 1] if "min" in shape else []
        yield from [shape["max"] + 1] if "max" in shape else []
    for length in [shape["max"] + 1] if "max" in shape else []:
        yield from _of_length(name, length)
    for length in [shape["min"] - 1] if shape.get("min", 0) > 0 else []:
        yield from _of_length(name, length)
    if "pattern" in shape:
        yield "\x00" * max(1, shape.get("min", 1))


def edge_values(name: str) -> Iterator[Any]:
    """The last values that break nothing."""
    shape = SHAPES[name]
    for bound in [shape[side] for side in ("min", "max") if side in shape]:
        if shape["type"] == "integer":
            yield bound
        elif "pattern" not in shape:
            yield from _of_length(name, bound)


def _of_length(name: str, length: int) -> Iterator[Any]:
    match kind(name):
        case "string":
            yield "a" * length
        case "blob":
            yield b"\xff" * length
        case "list":
            yield [sample(SHAPES[name]["member"]["shape"])] * length


def broken(name: str, value: Any) -> list[str]:
    """The constraints that a value breaks."""
    shape = SHAPES[name]
    if "enum" in shape:
        return [] if value in shape["enum"] else [f"Member must satisfy enum value set: [{', '.join(shape['enum'])}]"]
    size, word = (value, "value") if shape["type"] == "integer" else (len(value), "length")
    found = []
    if "max" in shape and size > shape["max"]:
        found.append(f"Member must have {word} less than or equal to {shape['max']}")
    if "min" in shape and size < shape["min"]:
        found.append(f"Member must have {word} greater than or equal to {shape['min']}")
    if "pattern" in shape and not re.fullmatch(shape["pattern"], value, re.ASCII):
        found.append(f"Member must satisfy regular expression pattern: {shape['pattern']}")
    return found


def all_constraints(name: str) -> str:
    """What AWS says of the elements of a list."""
    shape = SHAPES[name]
    if "enum" in shape:
        return f"[Member must satisfy enum value set: [{', '.join(shape['enum'])}]]"
    found = [f"Member must have length less than or equal to {shape['max']}"] if "max" in shape else []
    found += [f"Member must have length greater than or equal to {shape['min']}"] if shape.get("min") else []
    return f"[{', '.join(found)}]"


def texts(place: Place, value: Any) -> list[str]:
    """AWS's words for a value at a place."""
    is_element = place.path[-1] == 0 and is_scalar(place.shape)
    musts = broken(place.shape, value)
    if is_element and musts:
        musts, value = [f"Member must satisfy constraint: {all_constraints(place.shape)}"], [value]
    shape = SHAPES[place.shape]
    if shape["type"] == "blob" or shape.get("sensitive") or "GrantToken" in place.shape:
        shown = "Value"
    else:
        text = f"[{', '.join(map(str, value))}]" if isinstance(value, list) else str(value)
        shown = f"Value '{text if len(text) <= SHOWN else text[:SHOWN] + '...'}'"
    return [f"{shown} at '{place.at}' failed to satisfy constraint: {must}" for must in musts]


def message(found: list[str]) -> str:
    return f"{len(found)} validation error{'s' if len(found) > 1 else ''} detected: {'; '.join(found)}"


@cache
def made_class(name: str, suffix: str = "") -> type:
    """A dataclass of a shape, so that operations without ours yet are tested too: every member optional, enums as text."""
    members = SHAPES[name]["members"]
    return dataclasses.make_dataclass(
        name + suffix,
        [(snake(member), made_hint(target["shape"]), None) for member, target in members.items()],
        frozen=True,
        slots=True,
        kw_only=True,
    )


def made_hint(name: str) -> Any:
    match kind(name):
        case "structure":
            return made_class(name) | None
        case "list":
            return tuple[made_hint(SHAPES[name]["member"]["shape"]), ...]
        case "map":
            return dict[str, str]
    return {"string": str, "integer": int, "boolean": bool, "blob": bytes, "timestamp": datetime}[kind(name)]


def snake(member: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", member).lower()


def made_row(operation: str) -> OperationRow:
    """A row of the table of operations, from the model alone."""
    output = RAW["operations"][operation].get("output")
    response = made_class(output["shape"]) if output else made_class(input_of(operation))
    return OperationRow(None, made_class(input_of(operation)), response, ())  # type: ignore[arg-type]


ROWS: dict[str, OperationRow] = {name: SERVED.get(name) or made_row(name) for name in RAW["operations"]}
