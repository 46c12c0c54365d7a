"""What all four kinds share: the struct base, metadata, references, field types with their bounds, and parsing.

The bounds stand here once, as msgspec.Meta: the parser enforces them and schema.py writes them into crds/*.yaml.
Patterns end in `\\Z`, because `$` in Python also matches before a last newline; the schema gets `$`, which in RE2
does not. Absent stays apart from set: an optional field is `T | UnsetType`, never None.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Final, TypeVar

import msgspec
from msgspec import UNSET, Meta, UnsetType

from keystead.errors import InvalidSpecError
from keystead.resources.names import API_VERSION

DURATION_PATTERN: Final = r"^([0-9]{1,5}h)?([0-9]{1,5}m)?([0-9]{1,6}s)?\Z"
_DNS_NAME: Final = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?\Z"
_PRINCIPAL: Final = r"^[A-Za-z0-9_+=,.@:/%-]+\Z"
_SERVICE: Final = r"^[a-z0-9.-]+\Z"


def doc(description: str, **extra: Any) -> Meta:  # noqa: ANN401 - JSON schema values
    """Meta with a description; keywords with `x_kubernetes_` or `schema_default` go to the OpenAPI schema only."""
    schema = {k.replace("_", "-"): v for k, v in extra.items() if k.startswith("x_")}
    if "schema_default" in extra:
        schema["default"] = extra["schema_default"]
    bounds = {k: v for k, v in extra.items() if not k.startswith("x_") and k != "schema_default"}
    return Meta(description=" ".join(description.split()), extra_json_schema=schema or None, **bounds)


class Model(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Base: frozen, camelCase on the wire, unknown fields ignored (the API server keeps or prunes them)."""


class Spec(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """Base of everything under spec: what has its default is not written, so that nobody comes to own it."""


Time = Annotated[datetime, Meta(tz=True)]
DnsName = Annotated[str, Meta(min_length=1, max_length=253, pattern=_DNS_NAME)]
Principal = Annotated[str, Meta(min_length=1, max_length=256, pattern=_PRINCIPAL)]
ServicePrincipal = Annotated[str, Meta(min_length=1, max_length=128, pattern=_SERVICE)]
Duration = Annotated[str, Meta(min_length=2, max_length=16, pattern=DURATION_PATTERN)]
Digest = Annotated[str, Meta(min_length=64, max_length=64, pattern=r"^[0-9a-f]{64}\Z")]
Arn = Annotated[str, Meta(max_length=2048)]
Id = Annotated[str, Meta(max_length=256)]


class ObjectMeta(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """The members of metadata that Keystead reads. Absent reads as empty, as the API server writes it."""

    name: str = ""
    namespace: str = ""
    uid: str = ""
    generation: int = 0
    resource_version: str = ""
    creation_timestamp: Time | None = None
    deletion_timestamp: Time | None = None
    labels: Mapping[str, str] = {}
    annotations: Mapping[str, str] = {}
    finalizers: tuple[str, ...] = ()

    @property
    def terminating(self) -> bool:
        """True once a deletion was accepted: it cannot be taken back."""
        return self.deletion_timestamp is not None


class KeyRef(Spec, frozen=True, kw_only=True):
    """A KmsKey in the same namespace."""

    name: Annotated[DnsName, doc("metadata.name of the KmsKey, in the namespace of this object.")]


class NamespacedKeyRef(Spec, frozen=True, kw_only=True):
    """A KmsKey, here or in another namespace."""

    name: Annotated[DnsName, doc("metadata.name of the KmsKey.")]
    namespace: (
        Annotated[
            str,
            doc(
                """Namespace of the KmsKey. Default: the namespace of this object. A key abroad needs the consent of
                its policy; without it the condition says ReferenceNotGranted, whether or not the key exists.""",
                min_length=1,
                max_length=63,
                pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?\Z",
            ),
        ]
        | UnsetType
    ) = UNSET


class AliasRef(Spec, frozen=True, kw_only=True):
    """A KmsAlias in the same namespace."""

    name: Annotated[DnsName, doc("metadata.name of the KmsAlias object (not `alias/...`), in this namespace.")]


class ServiceAccountRef(Spec, frozen=True, kw_only=True):
    """A ServiceAccount in the same namespace."""

    name: Annotated[DnsName, doc("metadata.name of the ServiceAccount, in the namespace of this object.")]


class Resource(Model, frozen=True, kw_only=True):
    """The whole object. `spec` and `status` are added by each kind."""

    api_version: str = API_VERSION
    kind: str = ""
    metadata: ObjectMeta = ObjectMeta()


R = TypeVar("R", bound=Resource)
_AT = re.compile(r"^(?P<what>.*?)(?: - at `\$\.?(?P<path>.*)`)?\Z", re.DOTALL)
_MISSING = re.compile(r"missing required field `(?P<name>[^`]+)`")


def parse(model: type[R], kind: str, body: Mapping[str, Any]) -> R:
    """`body` (an object as the API server gives it) as `model`. Raises InvalidSpecError, which names the field."""
    for field, expected in (("kind", kind), ("apiVersion", API_VERSION)):
        if body.get(field, expected) != expected:
            raise InvalidSpecError(field, f"must be {expected}")
    try:
        return msgspec.convert({**body, "kind": kind}, model)
    except msgspec.ValidationError as error:
        raise _invalid(str(error)) from error


def _invalid(text: str) -> InvalidSpecError:
    match = _AT.match(text)
    what, path = (match["what"], match["path"] or "") if match else (text, "")
    if missing := _MISSING.search(what):
        path, what = ".".join(filter(None, (path, missing["name"]))), "is required"
    return InvalidSpecError(path or "object", what)


def to_wire(value: msgspec.Struct) -> dict[str, Any]:
    """The JSON object of a model: absent fields left out, times as RFC 3339 text, keys in camelCase."""
    wire: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(value))
    return wire
