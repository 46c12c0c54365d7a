"""Frozen typed models of the custom resources: the single source of crds/*.yaml. No I/O, no clock, no randomness.

A front door or repository parses an object once, with the parser of its kind; everything above works on the models.
Words: vocabulary, names, reasons. Rules that no type can say: rules. Files: `make crds`, `make reference`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final

from keystead.errors import InvalidSpecError
from keystead.resources.kms_alias import KmsAlias, parse_alias
from keystead.resources.kms_data_key import KmsDataKey, parse_data_key
from keystead.resources.kms_grant import KmsGrant, parse_grant
from keystead.resources.kms_key import KmsKey, parse_key
from keystead.resources.model import ObjectMeta, Resource, to_wire

__all__ = [
    "PARSERS",
    "KmsAlias",
    "KmsDataKey",
    "KmsGrant",
    "KmsKey",
    "ObjectMeta",
    "Resource",
    "parse_alias",
    "parse_data_key",
    "parse_grant",
    "parse_key",
    "parse_resource",
    "to_wire",
]

PARSERS: Final[Mapping[str, Callable[[Mapping[str, Any]], Resource]]] = MappingProxyType(
    {"KmsKey": parse_key, "KmsAlias": parse_alias, "KmsGrant": parse_grant, "KmsDataKey": parse_data_key}
)
"""Kind -> its parser."""


def parse_resource(body: Mapping[str, Any]) -> Resource:
    """An object of any of our kinds, by its `kind`. Raises InvalidSpecError, which names the field."""
    kind = body.get("kind")
    if not isinstance(kind, str) or kind not in PARSERS:
        raise InvalidSpecError("kind", f"must be one of {', '.join(PARSERS)}")
    return PARSERS[kind](body)
