"""Rules of KmsKey."""

from __future__ import annotations

from typing import Final

from msgspec import UNSET

from keystead.resources.kms_key import KIND, KmsKey, RotationWindow
from keystead.resources.rule import FORBIDDEN, Rule, duration_between, immutable, not_available
from keystead.resources.vocabulary import USAGES, KeySpec, Origin

AWS_PREFIX: Final = "aws-"
MANAGED_NAME: Final = "aws-keystead"
"""The operator makes it; that nobody else does, an admission policy of the chart sees to."""
RESERVED_TAG: Final = "aws:"


def _usage_fits(new: KmsKey, _old: KmsKey | None) -> bool:
    return new.spec.key_usage in USAGES[new.spec.key_spec]


def _usage_message(new: KmsKey) -> str:
    return f"keyUsage {new.spec.key_usage} does not fit keySpec {new.spec.key_spec}"


def _rotates_only_symmetric(new: KmsKey, _old: KmsKey | None) -> bool:
    spec = new.spec
    return (
        not spec.rotation
        or (spec.key_spec is KeySpec.SYMMETRIC_DEFAULT and spec.origin is Origin.AWS_KMS)
        or spec.rotation.enabled is False
    )


def _cron_has_five_fields(new: KmsKey, _old: KmsKey | None) -> bool:
    return all(len(window.cron.split()) == 5 for window in _windows(new))


def _tags_not_reserved(new: KmsKey, _old: KmsKey | None) -> bool:
    return not any(tag.key.startswith(RESERVED_TAG) for tag in new.spec.tags or ())


def _windows(key: KmsKey) -> tuple[RotationWindow, ...]:
    return (key.spec.rotation.windows or ()) if key.spec.rotation else ()


_MATRIX: Final = ", ".join(f"'{spec}': {[usage.value for usage in usages]}" for spec, usages in USAGES.items())
"""The table as a CEL map; a list of plain words is written alike in Python and CEL."""

KEY_RULES: Final[tuple[Rule, ...]] = (
    Rule(
        kind=KIND,
        name="name-not-reserved",
        at="",
        field=".metadata.name",
        cel=f"!self.metadata.name.startsWith('{AWS_PREFIX}') || self.metadata.name == '{MANAGED_NAME}'",
        message="names beginning `aws-` are reserved for Keystead's own keys",
        holds=lambda new, _old: not new.metadata.name.startswith(AWS_PREFIX) or new.metadata.name == MANAGED_NAME,
    ),
    immutable(KIND, "region"),
    immutable(KIND, "keySpec"),
    immutable(KIND, "keyUsage"),
    immutable(KIND, "origin"),
    immutable(KIND, "multiRegion"),
    immutable(KIND, "keyStoreRef"),
    Rule(
        kind=KIND,
        name="key-usage-fits-key-spec",
        at="spec",
        field=".keyUsage",
        cel=f"self.keyUsage in {{{_MATRIX}}}[self.keySpec]",
        message="keyUsage does not fit keySpec",
        message_expression="'keyUsage ' + self.keyUsage + ' does not fit keySpec ' + self.keySpec",
        describe=_usage_message,
        holds=_usage_fits,
    ),
    Rule(
        kind=KIND,
        name="rotation-only-symmetric",
        at="spec",
        field=".rotation",
        cel=(
            "!has(self.rotation) || (self.keySpec == 'SYMMETRIC_DEFAULT' && self.origin == 'AWS_KMS') || "
            "(has(self.rotation.enabled) && !self.rotation.enabled)"
        ),
        message=(
            "rotation works for keySpec SYMMETRIC_DEFAULT of origin AWS_KMS only; rotate this key by hand (manual "
            "rotation): make a new KmsKey and use that one"
        ),
        holds=_rotates_only_symmetric,
    ),
    Rule(
        kind=KIND,
        name="cron-five-fields",
        at="spec.rotation.windows[]",
        field=".cron",
        cel="self.cron.split(' ').filter(f, f != '').size() == 5",
        message="cron must have five fields: minute hour day month weekday",
        holds=_cron_has_five_fields,
    ),
    duration_between(
        KIND,
        "spec.rotation.windows[]",
        "duration",
        low="15m",
        high="168h",
        values=lambda new: [window.duration for window in _windows(new)],
    ),
    Rule(
        kind=KIND,
        name="tag-key-not-reserved",
        at="spec.tags[]",
        field=".key",
        cel=f"!self.key.startsWith('{RESERVED_TAG}')",
        message="tag keys beginning `aws:` are reserved",
        holds=_tags_not_reserved,
        reason=FORBIDDEN,
    ),
    not_available(KIND, "keyStoreRef", "!has(self.keyStoreRef)", lambda new, _old: new.spec.key_store_ref is UNSET),
    not_available(
        KIND,
        "multiRegion",
        "!has(self.multiRegion) || !self.multiRegion",
        lambda new, _old: new.spec.multi_region is not True,
        what="multiRegion true",
    ),
    not_available(
        KIND,
        "origin",
        "self.origin == 'AWS_KMS'",
        lambda new, _old: new.spec.origin is Origin.AWS_KMS,
        what="an origin other than AWS_KMS",
    ),
    not_available(KIND, "adoptKeyId", "!has(self.adoptKeyId)", lambda new, _old: new.spec.adopt_key_id is UNSET),
)
