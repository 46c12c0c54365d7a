"""What the API server does for x-kubernetes-list-type `set` and `map`: no value, and no map key, twice."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cache
from typing import Any

from keystead.resources.model import Resource, to_wire
from keystead.resources.schema import Schema, schema_of


def duplicates(resource: Resource) -> Iterator[tuple[str, str]]:
    """(path, value) of each entry under spec that an earlier one of its list excludes."""
    yield from _walk(_spec_schema(type(resource)), to_wire(resource), "")


@cache
def _spec_schema(model: type[Resource]) -> Schema:
    return schema_of(model, ("spec",))


def _walk(schema: Schema, value: Any, path: str) -> Iterator[tuple[str, str]]:  # noqa: ANN401 - JSON
    if isinstance(value, list):
        yield from _entries(schema, value, path)
    elif isinstance(value, dict):
        for name, below in schema.get("properties", {}).items():
            if name in value:
                yield from _walk(below, value[name], f"{path}.{name}".lstrip("."))


def _entries(schema: Schema, values: list[Any], path: str) -> Iterator[tuple[str, str]]:
    keys = schema.get("x-kubernetes-list-map-keys")
    seen: set[str] = set()
    for index, value in enumerate(values):
        identity = json.dumps({key: value.get(key) for key in keys} if keys else value, sort_keys=True)
        if identity in seen:
            yield f"{path}[{index}]", identity
        seen.add(identity)
        yield from _walk(schema["items"], value, f"{path}[{index}]")
