"""Rules of KmsAlias and KmsGrant."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from msgspec.structs import asdict

from keystead.resources import kms_alias, kms_grant
from keystead.resources.kms_grant import KmsGrant, KmsGrantSpec
from keystead.resources.rule import FORBIDDEN, Rule, at_most_one, duration_between, immutable

AWS_ALIAS: Final = "alias/aws/"
CONTEXT_KEY_MAX: Final = 384
"""AWS: characters in a key of a grant's encryption context constraint."""

ALIAS_RULES: Final[tuple[Rule, ...]] = (
    immutable(kms_alias.KIND, "aliasName"),
    Rule(
        kind=kms_alias.KIND,
        name="alias-not-aws",
        at="spec",
        field=".aliasName",
        cel=f"!self.aliasName.startsWith('{AWS_ALIAS}')",
        message="aliasName must not begin with alias/aws/, which is reserved",
        holds=lambda new, _old: not new.spec.alias_name.startswith(AWS_ALIAS),
        reason=FORBIDDEN,
    ),
)


def _as_cel_compares(spec: KmsGrantSpec) -> dict[str, Any]:
    # CEL compares a list of type set without its order.
    return {**asdict(spec), "operations": frozenset(spec.operations)}


def _unchanged(new: KmsGrant, old: KmsGrant) -> bool:
    return _as_cel_compares(new.spec) == _as_cel_compares(old.spec)


def _context_keys(field: str) -> Rule:
    attribute = "encryption_context_" + field.removeprefix("encryptionContext").lower()

    def holds(new: KmsGrant, _old: KmsGrant | None) -> bool:
        context: Mapping[str, str] = (getattr(new.spec.constraints, attribute) if new.spec.constraints else None) or {}
        return all(1 <= len(key) <= CONTEXT_KEY_MAX for key in context)

    return Rule(
        kind=kms_grant.KIND,
        name=f"{field}-keys",
        at=f"spec.constraints.{field}",
        field="",
        cel=f"self.all(k, k.size() >= 1 && k.size() <= {CONTEXT_KEY_MAX})",
        message=f"keys of {field} have 1 to {CONTEXT_KEY_MAX} characters",
        holds=holds,
    )


GRANT_RULES: Final[tuple[Rule, ...]] = (
    Rule(
        kind=kms_grant.KIND,
        name="spec-immutable",
        at="spec",
        field="",
        cel="self == oldSelf",
        message="spec of a KmsGrant is immutable: delete the grant and make another",
        holds=_unchanged,
        transition=True,
    ),
    at_most_one(kms_grant.KIND, ("granteePrincipal", "serviceAccountRef", "granteeServicePrincipal"), exactly=True),
    at_most_one(kms_grant.KIND, ("retiringPrincipal", "retiringServicePrincipal")),
    at_most_one(kms_grant.KIND, ("expiresAt", "ttl")),
    at_most_one(kms_grant.KIND, ("encryptionContextEquals", "encryptionContextSubset"), at="spec.constraints"),
    _context_keys("encryptionContextEquals"),
    _context_keys("encryptionContextSubset"),
    duration_between(
        kms_grant.KIND,
        "spec",
        "ttl",
        low="1m",
        high="87600h",
        values=lambda new: [new.spec.ttl] if new.spec.ttl else [],
    ),
)
