"""kinds.md: every field of the custom resources, with what the API server checks. From models and rules, through their schema.

A field's text says default and mutability in sentences of a fixed form ("Default: 30.", "Immutable."). Here they become columns: the
default from the schema where it has one, mutability from the rules; tests hold text, schema and rules to the same story.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Final, NamedTuple

from keystead.resources.crd import KINDS, Kind, object_schema
from keystead.resources.markdown import code, page, table
from keystead.resources.names import API_VERSION
from keystead.resources.rules import RULES, Rule
from keystead.resources.schema import Schema

_DEFAULT: Final = re.compile(r"\s*Default: (?P<value>.+?)\.(?=\s|$)")
_AT_BIRTH: Final = re.compile(r"\s*Absent: as the record has it; at birth (?P<value>.+?)\.(?=\s|$)")
_OWN_COLUMN: Final = re.compile(r"\s*(?:Required|Immutable|Mutable)\.(?=\s|$)")
_BOUNDS: Final = (
    ("minimum", "maximum", ""),
    ("minLength", "maxLength", "characters"),
    ("minItems", "maxItems", "items"),
    ("minProperties", "maxProperties", "entries"),
)


class Field(NamedTuple):
    """One field: its path below the object, its schema, and whether its parent requires it."""

    path: str
    schema: Schema
    required: bool


def fields(schema: Schema, path: str) -> Iterator[Field]:
    """Every field below `path` (spec or status), in order, parents first."""
    required = schema.get("required", ())
    for name, below in schema.get("properties", {}).items():
        here = f"{path}.{name}"
        yield Field(here, below, name in required)
        inner, suffix = below, ""
        while inner["type"] == "array":
            inner, suffix = inner["items"], f"{suffix}[]"
        yield from fields(inner, here + suffix)


def immutable(kind: str, path: str) -> bool:
    """Whether a rule forbids to change a field, or something that contains it."""
    return any(
        rule.kind == kind and rule.transition and f"{path}.".startswith(f"{rule.path}.") for rule in RULES
    )


def default(field: Field) -> str:
    """What holds where the field is absent, in words or as JSON."""
    if "default" in field.schema:
        return code(json.dumps(field.schema["default"]).strip('"'))
    text = field.schema.get("description", "")
    if said := _AT_BIRTH.search(text):
        return f"as recorded; at birth {said['value']}"
    if said := _DEFAULT.search(text):
        return said["value"]
    return "required" if field.required else ""


def kinds_page() -> str:
    """The page."""
    index = table(
        ("kind", "short name", "plural", "what it is"),
        ((f"[{kind.kind}](#{kind.kind.lower()})", code(kind.short_name), code(kind.plural), kind.description) for kind in KINDS),
    )
    opening = (
        f"Fields of the custom resources of `{API_VERSION}`. All are namespaced and in the category `kms`. Status is a view of the "
        "sealed record; it authorises nothing and can be rebuilt. What the conditions say: [conditions](conditions.md)."
    )
    return page("Kinds", opening, index, *(part for kind in KINDS for part in _kind(kind)))


def _kind(kind: Kind) -> Iterator[str]:
    schema = object_schema(kind)["properties"]
    yield f"## {kind.kind}"
    yield kind.description
    yield f"### spec of {kind.kind}"
    yield table(
        ("field", "type", "default", "bounds", "change", "meaning"),
        ((*_cells(field), _change(kind.kind, field), _meaning(field)) for field in fields(schema["spec"], "spec")),
    )
    yield f"### rules of {kind.kind}"
    yield "The API server refuses what breaks one of these, with the message and the field's path."
    yield table(("field", "message", "CEL"), (_rule(rule) for rule in RULES if rule.kind == kind.kind))
    yield f"### status of {kind.kind}"
    yield table(
        ("field", "type", "bounds", "meaning"),
        (
            (code(field.path), _type(field.schema), _bounds(field.schema), field.schema.get("description", ""))
            for field in fields(schema["status"], "status")
        ),
    )


def _cells(field: Field) -> tuple[str, str, str, str]:
    return code(field.path), _type(field.schema), default(field), _bounds(field.schema)


def _change(kind: str, field: Field) -> str:
    return "immutable" if immutable(kind, field.path) else "mutable"


def _meaning(field: Field) -> str:
    text: str = field.schema.get("description", "")
    for said in (_AT_BIRTH, _DEFAULT, _OWN_COLUMN):
        text = said.sub("", text)
    return text.strip()


def _rule(rule: Rule) -> tuple[str, str, str]:
    return code(rule.path or "metadata"), rule.message, code(rule.cel)


def _type(schema: Schema) -> str:
    if "enum" in schema:
        return "enum"
    match schema["type"]:
        case "array":
            return f"list of {_type(schema['items'])} ({schema.get('x-kubernetes-list-type', 'atomic')})"
        case "object" if isinstance(schema.get("additionalProperties"), dict):
            return f"map of {_type(schema['additionalProperties'])}"
        case "object" if schema.get("x-kubernetes-preserve-unknown-fields"):
            return "JSON object"
        case "string" if schema.get("format") == "date-time":
            return "time, RFC 3339"
    return str(schema["type"])


def _bounds(schema: Schema) -> str:
    found = [_span(schema.get(low), schema.get(high), unit) for low, high, unit in _BOUNDS]
    if "pattern" in schema:
        found.append(code(schema["pattern"]))
    if keys := schema.get("x-kubernetes-list-map-keys"):
        found.append(f"one of each {' and '.join(keys)}")
    values = schema.get("enum") or schema.get("items", {}).get("enum")
    if values:
        found.append(", ".join(code(value) for value in values))
    return "; ".join(filter(None, found))


def _span(low: int | None, high: int | None, unit: str) -> str:
    if low is None and high is None:
        return ""
    if low is None or high is None:
        words = f"at most {high}" if low is None else f"at least {low}"
    else:
        words = f"{low}" if low == high else f"{low} to {high}"
    return f"{words} {unit}".strip()
