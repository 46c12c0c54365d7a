"""The rendered admission policies: shipped on, kept, closed on failure, helpful, and as docs/security.md says."""

from __future__ import annotations

import re

import pytest
from tests.chart.admission import CASES
from tests.chart.rendering import EXTERNAL, Object, Renderer, of_kind
from tests.chart.rights import KINDS, KMS, PEOPLE, RELEASE
from tests.cluster import toolset
from tests.docs.pages import table_after

pytestmark = pytest.mark.helm

PAGE = toolset.ROOT / "docs/security.md"
SECTION = "## Admission policies: what each asks, and what holds without them"
POLICY, BINDING = "ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding"
# A check costs 350,000; the API server's limits for one expression and for one policy.
CHECKS_IN_AN_EXPRESSION, CHECKS_IN_A_POLICY = 1_000_000 // 350_000, 10_000_000 // 350_000
ASKS = re.compile(r"\.check\(")


@pytest.fixture
def policies(render: Renderer) -> dict[str, Object]:
    return {each["metadata"]["name"]: each for each in of_kind(render(*EXTERNAL), POLICY)}


def expressions(policy: Object) -> list[str]:
    return [each["expression"] for each in policy["spec"]["validations"]]


def test_every_policy_is_on_denies_fails_closed_and_is_kept(render: Renderer, policies: dict[str, Object]) -> None:
    bindings = of_kind(render(*EXTERNAL), BINDING)
    assert sorted(each["spec"]["policyName"] for each in bindings) == sorted(policies)
    assert all(each["spec"]["validationActions"] == ["Deny"] for each in bindings)
    assert {each["spec"]["failurePolicy"] for each in policies.values()} == {"Fail"}
    for each in (*policies.values(), *bindings):
        assert each["metadata"]["annotations"] == {"helm.sh/resource-policy": "keep"}


def test_policies_can_be_left_out(render: Renderer) -> None:
    assert not of_kind(render(*EXTERNAL, "policies.admission=false"), POLICY, BINDING)


def test_no_policy_can_cost_more_than_the_api_server_allows(policies: dict[str, Object]) -> None:
    for name, policy in policies.items():
        counts = [len(ASKS.findall(text)) for text in expressions(policy)]
        assert max(counts) <= CHECKS_IN_AN_EXPRESSION, name
        assert sum(counts) <= CHECKS_IN_A_POLICY, name


def test_versions_and_kinds_are_named_or_types_would_not_be_checked(policies: dict[str, Object]) -> None:
    for name, policy in policies.items():
        for rule in policy["spec"]["matchConstraints"]["resourceRules"]:
            assert "*" not in (*rule["apiGroups"], *rule["apiVersions"], *rule["resources"]), name


def test_no_policy_looks_at_the_status_of_our_objects(policies: dict[str, Object]) -> None:
    matched = {
        resource
        for policy in policies.values()
        for rule in policy["spec"]["matchConstraints"]["resourceRules"]
        if KMS in rule["apiGroups"]
        for resource in rule["resources"]
    }
    assert matched == set(KINDS)


def test_the_accounts_are_those_of_the_releases_namespace(render: Renderer) -> None:
    here, there = (render(*EXTERNAL, namespace=namespace) for namespace in (RELEASE, "elsewhere"))
    text = str(of_kind(there, POLICY))
    assert f"system:serviceaccount:{RELEASE}:" not in text
    assert text.replace("elsewhere", RELEASE) == str(of_kind(here, POLICY))


def test_a_refusal_names_a_role_that_really_has_the_verb(policies: dict[str, Object]) -> None:
    found = {}
    for policy in policies.values():
        for each in policy["spec"]["validations"]:
            verb = re.search(r"\.check\('(\w+)'\)", each["expression"])
            if verb and verb[1] != "patch":
                found[verb[1]] = re.search(r"ClusterRole (keystead-\w+)", each["messageExpression"])
    assert {"hold", "adopt"} <= set(found)
    for verb, role in found.items():
        holders = {name for name, (_, rules) in PEOPLE.items() for verbs in rules.values() if verb in verbs}
        assert (role is None and not holders) or (role is not None and role[1] in holders), verb


def rows() -> dict[str, Object]:
    text = PAGE.read_text().split(SECTION, 1)[1]
    return {row["write"].replace("`", ""): row for row in table_after(text, "So `patch kmskeys` is the right to suspend a key.")}


def test_the_security_page_has_a_row_for_every_write_and_the_verbs_that_it_asks() -> None:
    asked: dict[str, set[str]] = {}
    for each in CASES:
        asked.setdefault(each.row, set()).update(ask.split(" ")[0] for ask in each.asks)
    # `createkey` is asked at each creation and has a row of its own.
    expected = {row: verbs - (set() if row == "KmsKey, create" else {"createkey"}) for row, verbs in asked.items() if verbs}
    verbs = {verb for group in expected.values() for verb in group}
    found = {name: verbs & set(re.findall(r"`([a-z]+)`", row["asks"])) for name, row in rows().items()}
    assert found == expected


def test_the_security_page_says_how_many_policies_there_are(policies: dict[str, Object]) -> None:
    words = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"]
    assert f"{words[len(policies)].capitalize()}\nValidatingAdmissionPolicies" in PAGE.read_text()
