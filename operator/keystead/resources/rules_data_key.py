"""Rules of KmsDataKey."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from msgspec import UNSET

from keystead.resources.kms_data_key import KIND, KmsDataKey
from keystead.resources.rule import FORBIDDEN, Rule, at_most_one, duration_between, immutable

NAME_MAX: Final = 63
CONTEXT_KEY_MAX: Final = 384
_AGAIN: Final = "; delete the KmsDataKey and make another under a new name"

RESERVED_PREFIX: Final = r"^([^/]*[.])?(kubernetes[.]io|k8s[.]io|keystead[.]io|fluxcd[.]io|argoproj[.]io|helm[.]sh)/"
"""Prefixes that a template may not set: Kubernetes's, Keystead's own, and those by which GitOps tools claim objects."""


def _template(field: str) -> Rule:
    def holds(new: KmsDataKey, _old: KmsDataKey | None) -> bool:
        template = new.spec.target.template
        metadata = template.metadata if template else None
        entries: Mapping[str, str] = (getattr(metadata, field) or {}) if metadata else {}
        return not any(re.match(RESERVED_PREFIX, key) for key in entries)

    return Rule(
        kind=KIND,
        name=f"template-{field}-not-reserved",
        at=f"spec.target.template.metadata.{field}",
        field="",
        cel=f"self.all(k, !k.matches('{RESERVED_PREFIX}'))",
        message=(
            f"template {field} must not have a prefix of Kubernetes, Keystead or a GitOps tool (kubernetes.io, k8s.io, "
            "keystead.io, fluxcd.io, argoproj.io, helm.sh)"
        ),
        holds=holds,
        reason=FORBIDDEN,
    )


def _context_keys_bounded(new: KmsDataKey, _old: KmsDataKey | None) -> bool:
    return all(1 <= len(key) <= CONTEXT_KEY_MAX for key in new.spec.encryption_context or {})


def _overlap(new: KmsDataKey) -> list[str]:
    rotation = new.spec.rotation
    return [rotation.overlap] if rotation and rotation.overlap is not UNSET else []


DATA_KEY_RULES: Final[tuple[Rule, ...]] = (
    Rule(
        kind=KIND,
        name="name-length",
        at="",
        field=".metadata.name",
        cel=f"self.metadata.name.size() <= {NAME_MAX}",
        message=f"the name of a KmsDataKey must have at most {NAME_MAX} characters",
        holds=lambda new, _old: len(new.metadata.name) <= NAME_MAX,
    ),
    at_most_one(KIND, ("keyRef", "aliasRef")),
    at_most_one(KIND, ("dataKeySpec", "numberOfBytes")),
    immutable(KIND, "keyRef", remedy=_AGAIN),
    immutable(KIND, "aliasRef", remedy=_AGAIN),
    immutable(KIND, "dataKeySpec", remedy=_AGAIN),
    immutable(KIND, "numberOfBytes", remedy=_AGAIN),
    immutable(KIND, "encryptionContext", remedy=_AGAIN),
    immutable(KIND, "secretName", at="spec.target", remedy=_AGAIN),
    Rule(
        kind=KIND,
        name="immutable-excludes-rotation",
        at="spec",
        field=".rotation",
        cel="!has(self.rotation) || !has(self.target.immutable) || !self.target.immutable",
        message="rotation is excluded by target.immutable: an immutable Secret cannot take a new version",
        holds=lambda new, _old: not (new.spec.rotation is not UNSET and new.spec.target.immutable),
    ),
    duration_between(KIND, "spec.rotation", "overlap", low="0s", high="8760h", values=_overlap),
    Rule(
        kind=KIND,
        name="encryption-context-keys",
        at="spec.encryptionContext",
        field="",
        cel=f"self.all(k, k.size() >= 1 && k.size() <= {CONTEXT_KEY_MAX})",
        message=f"keys of encryptionContext have 1 to {CONTEXT_KEY_MAX} characters",
        holds=_context_keys_bounded,
    ),
    _template("labels"),
    _template("annotations"),
)
