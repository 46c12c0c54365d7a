"""What the API server does with a manifest of ours before it stores it: strict field validation, defaults, schema, then the rules.

Pure, and nothing here is a second definition: the schema is the CRD's (resources/crd.py), types and bounds are the models', rules are the
table's Python twins (resources/rules.py). One suite of manifests (tests/resources/manifests.py) runs on this and on the API server.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any, Final

from keystead.errors import InvalidSpecError, RefusedError
from keystead.resources import names, parse_resource
from keystead.resources.crd import KINDS, object_schema
from keystead.resources.rules import violations
from keystead.resources.schema import Schema

Object = dict[str, Any]
MAX_OBJECT: Final = 1_500_000
"""Bytes of an object that etcd takes."""
MAX_ANNOTATIONS: Final = 256 * 1024
"""Bytes of all annotations of an object (apimachinery, TotalAnnotationSizeLimitB)."""
# DNS-1123 subdomain and label, and a qualified name (apimachinery, validation).
_SUBDOMAIN: Final = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*\Z")
_NAMESPACE: Final = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?\Z")
_QUALIFIED: Final = re.compile(r"([a-z0-9][-a-z0-9.]{0,251}[a-z0-9]?/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?\Z")
_LABEL: Final = re.compile(r"([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?\Z")
_METADATA: Final = frozenset(
    {
        *("name", "namespace", "generateName", "labels", "annotations", "finalizers", "ownerReferences", "managedFields", "selfLink"),
        *("uid", "resourceVersion", "generation", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds"),
    }
)


def admitted(manifest: Mapping[str, Any], old: Object | None = None) -> Object:
    """The object as it is stored: defaults in, nulls out, metadata as people may give it. RefusedError names the field.

    old: the object that it replaces, whose status and system metadata stay.
    """
    kind = manifest.get("kind")
    schema = _schemas().get(kind) if isinstance(kind, str) else None
    if schema is None or manifest.get("apiVersion") != names.API_VERSION:
        known = f"{', '.join(_schemas())} in {names.API_VERSION}"
        raise RefusedError(f"no kind {kind!r} in {manifest.get('apiVersion')!r}: it must be one of {known}")
    try:
        return _admitted(manifest, old, schema)
    except RecursionError:
        raise RefusedError(f"{kind}: it is nested too deeply") from None


def _admitted(manifest: Mapping[str, Any], old: Object | None, schema: Schema) -> Object:
    unknown = tuple(_unknown(schema, manifest))
    _refuse(manifest, *((path, f'unknown field "{path}"') for path in unknown))
    metadata = _metadata(manifest, old)
    plain = {key: value for key, value in manifest.items() if key != "status" and value is not None}
    body: Object = _defaulted(schema, plain)
    body["metadata"] = metadata
    if old is not None:
        body["status"] = old["status"]
    try:
        new, before = parse_resource(body), None if old is None else parse_resource(old)
    except InvalidSpecError as error:
        raise _refusal(manifest, (error.field, error.message)) from None
    _refuse(manifest, *((found.field, found.message) for found in violations(new, before)))
    return body


def _refuse(manifest: Mapping[str, Any], *causes: tuple[str, str]) -> None:
    if causes:
        raise _refusal(manifest, *causes)


def _refusal(manifest: Mapping[str, Any], *causes: tuple[str, str]) -> RefusedError:
    """In the API server's form."""
    metadata = manifest.get("metadata")
    name = metadata.get("name") if isinstance(metadata, Mapping) else None
    said = "; ".join(f"{field}: {message}" for field, message in causes)
    return RefusedError(f'{manifest["kind"]}.{names.GROUP} "{name}" is invalid: {said}')


@cache
def _schemas() -> Mapping[str, Schema]:
    return {kind.kind: object_schema(kind) for kind in KINDS}


def _unknown(schema: Schema, value: Any, path: str = "") -> Iterator[str]:  # noqa: ANN401 - JSON
    """Paths that no schema knows: refused, as kubectl asks the API server to (fieldValidation=Strict)."""
    if isinstance(value, Mapping) and "properties" in schema:
        for name, below in value.items():
            where = f"{path}.{name}".lstrip(".")
            if name not in schema["properties"]:
                yield where
            elif where != "metadata":
                yield from _unknown(schema["properties"][name], below, where)
            elif isinstance(below, Mapping):
                yield from (f"metadata.{member}" for member in below if member not in _METADATA)
    elif isinstance(value, list) and "items" in schema:
        for index, item in enumerate(value):
            yield from _unknown(schema["items"], item, f"{path}[{index}]")


def _defaulted(schema: Schema, value: Any) -> Any:  # noqa: ANN401 - JSON
    """The value with the CRD's defaults; a null at a field that has a name is as if it were not there."""
    if isinstance(value, Mapping) and "properties" in schema:
        properties = schema["properties"]
        given = {
            name: _defaulted(properties[name], below) if name in properties else below for name, below in value.items() if below is not None
        }
        missing = {name: below["default"] for name, below in properties.items() if "default" in below and name not in given}
        return {**given, **missing}
    if isinstance(value, list) and "items" in schema:
        return [_defaulted(schema["items"], item) for item in value]
    return value


def _metadata(manifest: Mapping[str, Any], old: Object | None) -> Object:
    """Name, namespace, labels and annotations; the rest is the system's."""
    given = manifest.get("metadata")
    if not isinstance(given, Mapping):
        raise _refusal(manifest, ("metadata", "is required"))
    name, namespace = given.get("name"), given.get("namespace")
    if not isinstance(name, str) or len(name) > 253 or not _SUBDOMAIN.match(name):
        raise _refusal(manifest, ("metadata.name", "must be a DNS subdomain of at most 253 characters, in lower case"))
    if not isinstance(namespace, str) or len(namespace) > 63 or not _NAMESPACE.match(namespace):
        raise _refusal(manifest, ("metadata.namespace", "must be a DNS label of at most 63 characters, in lower case"))
    kept = {} if old is None else {key: value for key, value in old["metadata"].items() if key not in ("labels", "annotations")}
    return {**kept, "name": name, "namespace": namespace, **_maps(manifest, given)}


def _maps(manifest: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, dict[str, str]]:
    found = {}
    for member in ("labels", "annotations"):
        entries = given.get(member) or {}
        if not isinstance(entries, Mapping) or not all(isinstance(value, str) for value in entries.values()):
            raise _refusal(manifest, (f"metadata.{member}", "must be a map of strings"))
        bad = [key for key in entries if not _QUALIFIED.match(key)]
        bad += [key for key, value in entries.items() if member == "labels" and not _LABEL.match(value)]
        if bad:
            raise _refusal(manifest, (f"metadata.{member}", f"{bad[0]!r} is no name, or has no value, that it may have"))
        if entries:
            found[member] = dict(entries)
    size = sum(len(key.encode()) + len(value.encode()) for key, value in found.get("annotations", {}).items())
    if size > MAX_ANNOTATIONS:
        raise _refusal(manifest, ("metadata.annotations", f"must have at most {MAX_ANNOTATIONS} bytes"))
    return found
