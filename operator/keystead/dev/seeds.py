"""`keystead dev --seed`: manifests that are there when the endpoint opens, and keys whose id and material are given. Pure.

A seed is a manifest as `kubectl apply` takes it. A KmsKey may have one member more, beside `spec`:

    seed:
      keyId: 8b2f7c1e-...        its id, a UUID; left out: a random one
      material: <base64>         its first material; left out: the token generates it

It is for tests, whose blobs and ARNs are to be the same in every run. It never reaches the object (the API server of a cluster refuses such
a manifest: unknown field "seed"), and to the record the key is one like every other, Origin AWS_KMS: the seed stands for a key that was
made elsewhere, once, and now lives here. Who has the file has the key; material of production must not stand in one.

Called by app/dev/seeds.py. No message shows material.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from keystead.dev.documents import read_documents
from keystead.engine.identifiers import KeyId, KeyIdForm, key_id_form
from keystead.engine.imported import read_imported
from keystead.errors import FormatError, InvalidSpecError
from keystead.reconciler.ports import Kind, ObjectRef, Seed
from keystead.resources import names
from keystead.resources.vocabulary import KeySpec

DEFAULT_NAMESPACE: Final = "default"
KINDS: Final = (Kind.KEY, Kind.ALIAS, Kind.GRANT)
"""What is applied, in this order: an alias wants its key."""
_MEMBERS: Final = ("keyId", "material")
_IGNORED: Final = ("v1", "ServiceAccount")
_NAMESPACE: Final = ("v1", "Namespace")


@dataclass(frozen=True, slots=True)
class SeedDocument:
    """One manifest, its namespace filled in and its `seed` taken out. `where`: file and number, for messages."""

    where: str
    ref: ObjectRef
    manifest: Mapping[str, Any] = field(repr=False)
    seed: Seed | None


@dataclass(frozen=True, slots=True)
class Seeds:
    """All of them, and the namespaces that they are in or make."""

    documents: tuple[SeedDocument, ...] = ()
    namespaces: frozenset[str] = frozenset()

    def of(self, ref: ObjectRef) -> Seed | None:
        """What is given of the key of this object. `reconciler.context.Context.seeds`."""
        return next((document.seed for document in self.documents if document.ref == ref), None)


def read_seeds(files: Iterable[tuple[str, bytes]]) -> Seeds:
    """The manifests of files, by name and content. InvalidSpecError names file, document, field and fix."""
    found: list[SeedDocument] = []
    made: set[str] = set()
    for name, content in files:
        for where, manifest in read_documents(name, content):
            kind = (manifest.get("apiVersion"), manifest.get("kind"))
            if kind == _NAMESPACE:
                made.add(_text(where, manifest, "metadata", "name"))
            elif kind != _IGNORED:  # a grant names a ServiceAccount; there are none here to make
                found.append(_document(where, manifest))
    _check_unique(found)
    return Seeds(tuple(found), frozenset(made | {document.ref.namespace for document in found}))


def _document(where: str, manifest: dict[str, Any]) -> SeedDocument:
    kind, version = manifest.get("kind"), manifest.get("apiVersion")
    if kind not in KINDS:
        known = ", ".join(KINDS)
        raise InvalidSpecError(
            f"{where}: kind", f"{str(kind)[:64]!r}: a seed has {known}; Namespace and ServiceAccount may stand beside them"
        )
    if version != names.API_VERSION:
        raise InvalidSpecError(f"{where}: apiVersion", f"{str(version)[:64]!r}: write {names.API_VERSION}")
    name = _text(where, manifest, "metadata", "name")
    metadata = manifest["metadata"]
    namespace = DEFAULT_NAMESPACE
    if metadata.get("namespace") is not None:
        namespace = _text(where, manifest, "metadata", "namespace")
    if not isinstance(manifest.get("spec", {}), dict):
        raise InvalidSpecError(f"{where}: spec", "must be a mapping")
    rest = {member: value for member, value in manifest.items() if member != "seed"}
    rest |= {"metadata": {**metadata, "namespace": namespace}, "spec": manifest.get("spec", {})}
    seed = _seed(where, manifest, rest) if "seed" in manifest else None
    return SeedDocument(where, ObjectRef(Kind(kind), namespace, name), rest, seed)


def _text(where: str, manifest: Mapping[str, Any], outer: str, inner: str) -> str:
    above = manifest.get(outer)
    value = above.get(inner) if isinstance(above, Mapping) else None
    if not isinstance(value, str) or not value:
        raise InvalidSpecError(f"{where}: {outer}.{inner}", "is required, as text")
    return value


def _seed(where: str, manifest: Mapping[str, Any], rest: Mapping[str, Any]) -> Seed:
    given = manifest["seed"]
    if manifest["kind"] != Kind.KEY:
        raise InvalidSpecError(f"{where}: seed", f"only a {Kind.KEY} has one: take it out")
    if not isinstance(given, dict) or not given:
        raise InvalidSpecError(f"{where}: seed", "give keyId, material, or both")
    unknown = next((member for member in given if member not in _MEMBERS), None)
    if unknown is not None:
        raise InvalidSpecError(f"{where}: seed.{unknown[:64]}", f"unknown: a seed has {' and '.join(_MEMBERS)}")
    key_id = _key_id(f"{where}: seed.keyId", given["keyId"]) if "keyId" in given else None
    if "material" not in given:
        return Seed(key_id, None)
    spec = rest["spec"].get("keySpec", KeySpec.SYMMETRIC_DEFAULT)
    if spec not in tuple(KeySpec):
        raise InvalidSpecError(f"{where}: spec.keySpec", f"{str(spec)[:64]!r}: one of {', '.join(KeySpec)}")
    return Seed(key_id, _material(f"{where}: seed.material", KeySpec(spec), given["material"]))


def _key_id(field_name: str, given: object) -> KeyId:
    form = key_id_form(given) if isinstance(given, str) else None
    if form is KeyIdForm.MRK:
        raise InvalidSpecError(field_name, "mrk- is the id of a multi-Region key, which this version has not: give a UUID")
    if form is None:
        raise InvalidSpecError(field_name, "must be a UUID in lower case with its hyphens, such as 1234abcd-12ab-34cd-56ef-1234567890ab")
    return KeyId(str(given))


def _material(field_name: str, spec: KeySpec, given: object) -> bytes:
    try:
        # Broken over lines, as `base64` writes it.
        material = base64.b64decode("".join(given.split()), validate=True) if isinstance(given, str) else b""
    except (binascii.Error, ValueError):
        material = b""
    if not material:
        raise InvalidSpecError(field_name, "must be base64 (RFC 4648), such as `head -c 32 /dev/urandom | base64` writes")
    try:
        read_imported(spec, material)
    except FormatError as error:
        raise InvalidSpecError(field_name, str(error)) from None
    return material


def _check_unique(documents: list[SeedDocument]) -> None:
    first: dict[tuple[str, str], str] = {}
    for document in documents:
        for claim in _claims(document):
            if claim in first:
                raise InvalidSpecError(f"{document.where}: {claim[0]}", f"{claim[1]} is in {first[claim]}, too: keep one")
            first[claim] = document.where


def _claims(document: SeedDocument) -> Iterator[tuple[str, str]]:
    """(field, value) that no other document may have."""
    yield "metadata.name", str(document.ref)
    if document.seed is not None and document.seed.key_id is not None:
        yield "seed.keyId", document.seed.key_id
    if document.ref.kind is Kind.ALIAS:
        yield "spec.aliasName", f"{document.manifest['spec'].get('aliasName')} of namespace {document.ref.namespace}"
