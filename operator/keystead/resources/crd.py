"""The CustomResourceDefinitions: models (schema.py) + rules (rules.py) + what `kubectl get` shows."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from keystead.resources import kms_alias, kms_data_key, kms_grant, kms_key
from keystead.resources.model import Resource
from keystead.resources.names import GROUP, VERSION
from keystead.resources.rules import RULES, Rule
from keystead.resources.schema import Schema, node_at, schema_of

Column = tuple[str, str, str, int]
"""Name, type, JSON path, priority (0: always, 1: with -o wide)."""


class Kind(NamedTuple):
    """One custom resource."""

    kind: str
    model: type[Resource]
    short_name: str
    description: str
    columns: tuple[Column, ...]
    selectable: tuple[str, ...]

    @property
    def singular(self) -> str:
        """Lower-case kind."""
        return self.kind.lower()

    @property
    def plural(self) -> str:
        """Name in URLs and RBAC rules."""
        return f"{self.singular}es" if self.singular.endswith("s") else f"{self.singular}s"

    @property
    def crd_name(self) -> str:
        """metadata.name of the CustomResourceDefinition."""
        return f"{self.plural}.{GROUP}"

    @property
    def file_name(self) -> str:
        """Name of the file below crds/."""
        return f"{GROUP}_{self.plural}.yaml"


READY: Final[Column] = ("Ready", "string", '.status.conditions[?(@.type=="Ready")].status', 0)
REASON: Final[Column] = ("Reason", "string", '.status.conditions[?(@.type=="Ready")].reason', 1)
AGE: Final[Column] = ("Age", "date", ".metadata.creationTimestamp", 0)

# A column of type date shows "<invalid>" for a time to come: those that may lie ahead are strings.
KINDS: Final[tuple[Kind, ...]] = (
    Kind(
        kind=kms_key.KIND,
        model=kms_key.KmsKey,
        short_name="kk",
        description="KmsKey is a KMS key. Its facts are in a sealed record; this object says what it shall be.",
        columns=(
            READY,
            ("State", "string", ".status.keyState", 0),
            ("Spec", "string", ".spec.keySpec", 0),
            ("Usage", "string", ".spec.keyUsage", 0),
            ("Rotates", "string", ".status.nextRotationTime", 0),
            AGE,
            ("KeyID", "string", ".status.keyId", 1),
            ("Protection", "string", ".status.protectionLevel", 1),
            REASON,
            ("Deletes", "string", ".status.deletionTime", 1),
            ("Description", "string", ".spec.description", 1),
        ),
        selectable=(".spec.keySpec", ".spec.keyUsage", ".status.keyId", ".status.keyState"),
    ),
    Kind(
        kind=kms_alias.KIND,
        model=kms_alias.KmsAlias,
        short_name="ka",
        description="KmsAlias is a second name of a KmsKey, unique per account and region.",
        columns=(
            READY,
            ("Alias", "string", ".spec.aliasName", 0),
            ("Key", "string", ".spec.keyRef.name", 0),
            AGE,
            REASON,
        ),
        selectable=(".spec.aliasName", ".spec.keyRef.name"),
    ),
    Kind(
        kind=kms_grant.KIND,
        model=kms_grant.KmsGrant,
        short_name="kg",
        description="KmsGrant allows one principal some operations with a KmsKey. Its spec is immutable.",
        columns=(
            READY,
            ("Key", "string", ".spec.keyRef.name", 0),
            ("Grantee", "string", ".status.granteePrincipal", 0),
            ("Expires", "string", ".status.expirationTime", 0),
            AGE,
            ("Operations", "string", ".spec.operations", 1),
            REASON,
        ),
        selectable=(
            ".spec.keyRef.name",
            ".spec.granteePrincipal",
            ".spec.serviceAccountRef.name",
            ".status.granteePrincipal",
            ".status.grantId",
        ),
    ),
    Kind(
        kind=kms_data_key.KIND,
        model=kms_data_key.KmsDataKey,
        short_name="kdk",
        description="KmsDataKey is an encrypted data key that Keystead keeps in a Secret and rotates.",
        columns=(
            READY,
            ("Secret", "string", ".spec.target.secretName", 0),
            ("Key", "string", ".status.keyName", 0),
            ("Version", "integer", ".status.version", 0),
            ("Rotates", "string", ".status.nextRotationTime", 0),
            AGE,
            ("LastRotated", "date", ".status.lastRotationTime", 1),
            REASON,
        ),
        selectable=(".spec.keyRef.name", ".spec.aliasRef.name", ".spec.target.secretName", ".status.keyName"),
    ),
)


def definition(kind: Kind) -> dict[str, Any]:
    """The CustomResourceDefinition of one kind, as JSON."""
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": kind.crd_name},
        "spec": {
            "group": GROUP,
            "scope": "Namespaced",
            "names": {
                "kind": kind.kind,
                "listKind": f"{kind.kind}List",
                "plural": kind.plural,
                "singular": kind.singular,
                "shortNames": [kind.short_name],
                "categories": ["kms"],
            },
            "versions": [
                {
                    "name": VERSION,
                    "served": True,
                    "storage": True,
                    "schema": {"openAPIV3Schema": object_schema(kind)},
                    "subresources": {"status": {}},
                    "additionalPrinterColumns": [_column(column) for column in kind.columns],
                    "selectableFields": [{"jsonPath": path} for path in kind.selectable],
                }
            ],
        },
    }


def object_schema(kind: Kind) -> Schema:
    """The structural schema of the whole object, with its rules."""
    schema = schema_of(kind.model, ("spec", "status"))
    schema["properties"] = {
        "apiVersion": {"type": "string"},
        "kind": {"type": "string"},
        # The API server knows metadata; only the name may be spoken of here, so that a rule can point at it.
        "metadata": {"type": "object", "properties": {"name": {"type": "string"}}},
        **schema["properties"],
    }
    for rule in RULES:
        if rule.kind == kind.kind:
            node_at(schema, rule.at).setdefault("x-kubernetes-validations", []).append(_validation(rule))
    return {"description": kind.description, **schema}


def _validation(rule: Rule) -> dict[str, str]:
    members = {
        "rule": rule.cel,
        "message": rule.message,
        "messageExpression": rule.message_expression,
        "fieldPath": rule.field,
        "reason": rule.reason,
    }
    return {name: value for name, value in members.items() if value}


def _column(column: Column) -> dict[str, Any]:
    name, kind, path, priority = column
    return {"name": name, "type": kind, "jsonPath": path, **({"priority": priority} if priority else {})}
