"""The rules that a type cannot say, in ONE table: each as CEL for the API server and as Python for `keystead dev`.

crd.py writes the CEL into crds/*.yaml; `violations` runs the Python. tests/resources/manifests.py runs one suite of
manifests through both. The Python functions get whole objects, (new, old); a rule with `transition` compares with
the old object and is skipped where there is none, as CEL skips a rule that names oldSelf.
Costs: every string, list and map that a rule touches is bounded in the models, or the API server refuses the CRD.
"""

from __future__ import annotations

from typing import Final

from keystead.resources.model import Resource
from keystead.resources.rule import DUPLICATE, Rule, Violation
from keystead.resources.rules_data_key import DATA_KEY_RULES
from keystead.resources.rules_grant import ALIAS_RULES, GRANT_RULES
from keystead.resources.rules_key import KEY_RULES
from keystead.resources.uniqueness import duplicates

__all__ = ["RULES", "Rule", "Violation", "violations"]

RULES: Final[tuple[Rule, ...]] = (*KEY_RULES, *ALIAS_RULES, *GRANT_RULES, *DATA_KEY_RULES)


def violations(new: Resource, old: Resource | None = None) -> tuple[Violation, ...]:
    """Every rule that `new` (in place of `old`) breaks, in the table's order. Empty: the API server accepts it."""
    broken = (rule for rule in RULES if rule.kind == new.kind and not _holds(rule, new, old))
    return (
        *(Violation("unique", path, f"Duplicate value: {value}", DUPLICATE) for path, value in duplicates(new)),
        *(
            Violation(rule.name, rule.path, rule.describe(new) if rule.describe else rule.message, rule.reason)
            for rule in broken
        ),
    )


def _holds(rule: Rule, new: Resource, old: Resource | None) -> bool:
    return (rule.transition and old is None) or rule.holds(new, old)
