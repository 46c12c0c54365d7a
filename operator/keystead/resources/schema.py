"""Structural OpenAPI v3 schemas from the models: types and bounds by introspection, descriptions from their Meta.

Only what the API server allows in a structural schema comes out: no $ref, no null, no additionalProperties beside
properties. Defaults come only from `doc(schema_default=...)`, never from the Python default: a defaulted field gets
an owner, and the AWS API could not change it any more (KUBERNETES.md).
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Mapping
from types import MappingProxyType
from typing import Any, Final

import msgspec
from msgspec import inspect

Schema = dict[str, Any]


def schema_of(model: type[msgspec.Struct], members: Container[str]) -> Schema:
    """The schema of `members` of a struct, with everything below them inlined."""
    kind = inspect.type_info(model)
    if not isinstance(kind, inspect.StructType):
        raise TypeError(f"{model} is not a struct")
    return _object([field for field in kind.fields if field.encode_name in members])


def _schema(kind: inspect.Type) -> Schema:
    if isinstance(kind, inspect.Metadata):
        extra = dict(kind.extra_json_schema or {})
        return _ordered({**_schema(kind.type), **extra})
    for known, build in _BUILDERS.items():
        if isinstance(kind, known):
            return build(kind)
    raise TypeError(f"no structural schema for {kind}")


def _struct(kind: inspect.StructType) -> Schema:
    return _object(kind.fields)


def _object(fields: Iterable[inspect.Field]) -> Schema:
    fields = tuple(fields)
    properties = {field.encode_name: _schema(field.type) for field in fields}
    required = [field.encode_name for field in fields if field.required]
    return {"type": "object", "properties": properties, **({"required": required} if required else {})}


def _string(kind: inspect.StrType) -> Schema:
    pattern = kind.pattern.replace(r"\Z", "$") if kind.pattern else None
    return _bounds("string", minLength=kind.min_length, maxLength=kind.max_length, pattern=pattern)


def _integer(kind: inspect.IntType) -> Schema:
    return _bounds("integer", format="int64", minimum=kind.ge, maximum=kind.le)


def _enum(kind: inspect.EnumType) -> Schema:
    return {"type": "string", "enum": [member.value for member in kind.cls]}


def _list(kind: inspect.VarTupleType) -> Schema:
    schema = _bounds("array", minItems=kind.min_length, maxItems=kind.max_length)
    return {**schema, "items": _schema(kind.item_type)}


def _map(kind: inspect.DictType) -> Schema:
    schema = _bounds("object", minProperties=kind.min_length, maxProperties=kind.max_length)
    if isinstance(kind.value_type, inspect.AnyType):
        return {**schema, "x-kubernetes-preserve-unknown-fields": True}
    return {**schema, "additionalProperties": _schema(kind.value_type)}


def _bounds(kind: str, **bounds: Any) -> Schema:  # noqa: ANN401 - JSON schema values
    return {"type": kind, **{name: value for name, value in bounds.items() if value is not None}}


_BUILDERS: Final[Mapping[type[inspect.Type], Callable[[Any], Schema]]] = MappingProxyType(
    {
        inspect.StructType: _struct,
        inspect.StrType: _string,
        inspect.IntType: _integer,
        inspect.BoolType: lambda _kind: {"type": "boolean"},
        inspect.DateTimeType: lambda _kind: {"type": "string", "format": "date-time"},
        inspect.EnumType: _enum,
        inspect.VarTupleType: _list,
        inspect.DictType: _map,
    }
)


def _ordered(schema: Schema) -> Schema:
    first: Schema = {name: schema[name] for name in ("description", "type") if name in schema}
    return first | schema


def node_at(schema: Schema, path: str) -> Schema:
    """The node at a path such as `spec.rotation.windows[]`; the empty path is the schema itself."""
    node = schema
    for part in filter(None, path.split(".")):
        node = node["properties"][part.removesuffix("[]")]
        if part.endswith("[]"):
            node = node["items"]
    return node
