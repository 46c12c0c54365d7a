"""The rules as Python: the suite of manifests, the totality of the table, and the table's form."""

from __future__ import annotations

import re
from typing import Any

import pytest
from tests.resources.manifests import ROWS, SCHEMA, UNIQUE, Row, manifest

from keystead.errors import InvalidSpecError
from keystead.resources import parse_resource
from keystead.resources.model import Resource
from keystead.resources.rules import RULES, violations
from keystead.resources.vocabulary import USAGES, KeySpec, KeyUsage


def refusals(kind: str, name: str, spec: dict[str, Any], old: dict[str, Any] | None) -> set[tuple[str, str]]:
    """(rule, field without indexes) of everything that refuses a manifest in Python."""
    before: Resource | None = parse_resource(manifest(kind, name, old)) if old is not None else None
    try:
        new = parse_resource(manifest(kind, name, spec))
    except InvalidSpecError as error:
        return {(SCHEMA, plain(error.field))}
    return {(found.rule, plain(found.field)) for found in violations(new, before)}


def plain(path: str) -> str:
    return re.sub(r"\[[^]]*\]", "", path)


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_good_manifest_is_accepted(row: Row) -> None:
    assert refusals(row.kind, row.good_name or "x", row.good, row.old) == set()


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_bad_manifest_is_refused_and_the_field_named(row: Row) -> None:
    assert (row.rule, row.field) in refusals(row.kind, row.bad_name or "x", row.bad, row.old)


def test_every_rule_has_a_good_and_a_bad_manifest() -> None:
    assert {(row.kind, row.rule) for row in ROWS if row.rule not in (SCHEMA, UNIQUE)} == {
        (rule.kind, rule.name) for rule in RULES
    }


def test_rule_names_are_unique_in_a_kind() -> None:
    names = [(rule.kind, rule.name) for rule in RULES]
    assert len(names) == len(set(names))


def test_transition_rules_are_those_that_name_the_old_object() -> None:
    assert all(rule.transition == ("oldSelf" in rule.cel) for rule in RULES)


def test_messages_are_short_lines() -> None:
    assert all(rule.message and "\n" not in rule.message and len(rule.message) < 256 for rule in RULES)


@pytest.mark.parametrize("spec", KeySpec)
@pytest.mark.parametrize("usage", KeyUsage)
def test_a_usage_is_accepted_exactly_where_the_matrix_has_it(spec: KeySpec, usage: KeyUsage) -> None:
    found = refusals("KmsKey", "x", {"keySpec": spec.value, "keyUsage": usage.value}, None)
    assert (not found) == (usage in USAGES[spec])


def test_the_matrix_message_names_both_values() -> None:
    bad = parse_resource(manifest("KmsKey", "x", {"keySpec": "ECC_NIST_EDWARDS25519", "keyUsage": "KEY_AGREEMENT"}))
    assert [found.message for found in violations(bad)] == [
        "keyUsage KEY_AGREEMENT does not fit keySpec ECC_NIST_EDWARDS25519"
    ]


def test_refused_rotation_names_manual_rotation() -> None:
    spec = {"keySpec": "HMAC_256", "keyUsage": "GENERATE_VERIFY_MAC", "rotation": {"enabled": True}}
    (found,) = violations(parse_resource(manifest("KmsKey", "x", spec)))
    assert "manual rotation" in found.message


@pytest.mark.parametrize("field", ["keyStoreRef", "multiRegion", "origin", "adoptKeyId"])
def test_options_of_later_versions_say_so(field: str) -> None:
    value = {"keyStoreRef": {"name": "x"}, "multiRegion": True, "origin": "EXTERNAL", "adoptKeyId": "1"}[field]
    (found,) = violations(parse_resource(manifest("KmsKey", "x", {field: value})))
    assert found.message.endswith("is not available in this version")
