"""RBAC's matching, as the API server does it: which rules and bindings give a right. The cluster tests hold it against a real one."""

from __future__ import annotations

from typing import Any

import pytest

from keystead.policy.rbac import Right, Subject, gives, holdings, rule_text, wild_parts

RIGHT = Right("decrypt", "kms.keystead.io", "kmskeys", "team-a", "app")
NAMELESS = Right("createkey", "kms.keystead.io", "kmskeys", "team-a", "")


def rule(verbs: str = "decrypt", groups: str = "kms.keystead.io", resources: str = "kmskeys", names: str = "") -> dict[str, Any]:
    made = {"verbs": verbs.split(), "apiGroups": groups.split(), "resources": resources.split()}
    return made | ({"resourceNames": names.split()} if names else {})


@pytest.mark.parametrize(
    ("made", "right", "given"),
    [
        (rule(), RIGHT, True),
        (rule("*"), RIGHT, True),
        (rule(groups="*", resources="*"), RIGHT, True),
        (rule(names="app other"), RIGHT, True),
        (rule("encrypt"), RIGHT, False),
        (rule(groups="apps"), RIGHT, False),
        (rule(resources="kmskeys/status"), RIGHT, False),
        (rule(resources="kmsaliases"), RIGHT, False),
        (rule(names="other"), RIGHT, False),
        (rule(names="*"), RIGHT, False),
        (rule("createkey"), NAMELESS, True),
        (rule("createkey", names="app"), NAMELESS, False),
        ({"nonResourceURLs": ["*"], "verbs": ["*"]}, RIGHT, False),
    ],
)
def test_a_rule_gives_what_it_says(made: dict[str, Any], right: Right, given: bool) -> None:
    assert gives(made, right) is given


def test_wildcards_are_told() -> None:
    assert wild_parts(rule("*", "*", "*")) == ("all verbs", "all resources", "all API groups")
    assert wild_parts(rule(names="*")) == ()


@pytest.mark.parametrize(
    ("subject", "meant"),
    [
        (Subject("ServiceAccount", "app", "team-a"), True),
        (Subject("ServiceAccount", "app", "team-b"), False),
        (Subject("User", "system:serviceaccount:team-a:app"), True),
        (Subject("User", "*"), False),
        (Subject("Group", "system:serviceaccounts"), True),
        (Subject("Group", "system:masters"), False),
    ],
)
def test_a_subject_is_about_whom_it_names(subject: Subject, meant: bool) -> None:
    assert subject.is_about("system:serviceaccount:team-a:app", ("system:serviceaccounts", "system:authenticated")) is meant


def binding(name: str, role: str, namespace: str = "", kind: str = "ClusterRole", **members: Any) -> dict[str, Any]:
    subjects = [{"kind": "ServiceAccount", "name": "app", "namespace": "team-a"}]
    return {"metadata": {"name": name, "namespace": namespace}, "roleRef": {"kind": kind, "name": role}, "subjects": subjects, **members}


ROLES: dict[tuple[str, str, str], dict[str, Any]] = {
    ("ClusterRole", "", "user"): {"rules": [rule()]},
    ("ClusterRole", "", "admin"): {"rules": [rule("*", "*", "*"), rule("get")]},
    ("Role", "team-a", "own"): {"rules": [rule(names="app")]},
    ("Role", "team-b", "own"): {"rules": [rule()]},
    ("ClusterRole", "", "empty"): {"rules": None},
}


def test_bindings_of_the_namespace_and_the_cluster_count_and_no_others() -> None:
    bindings = [
        binding("everywhere", "admin"),
        binding("here", "user", "team-a"),
        binding("mine", "own", "team-a", "Role"),
        binding("there", "user", "team-b"),
        binding("lost", "gone", "team-a"),
        binding("empty", "empty", "team-a"),
    ]
    found = list(holdings(bindings, ROLES, RIGHT))
    assert [(held.binding, held.role) for held in found] == [
        ("ClusterRoleBinding everywhere", "ClusterRole admin"),
        ("RoleBinding here in team-a", "ClusterRole user"),
        ("RoleBinding mine in team-a", "Role own"),
    ]
    assert [bool(held.wild) for held in found] == [True, False, False]


def test_a_binding_without_subjects_gives_nobody_anything() -> None:
    (held,) = holdings([binding("here", "user", "team-a", subjects=None)], ROLES, RIGHT)
    assert held.subjects == ()


@pytest.mark.parametrize(
    ("made", "text"),
    [
        (rule("encrypt decrypt sign"), "decrypt and 2 more on kmskeys/*"),
        (rule(names="app other"), "decrypt on kmskeys/app"),
        (rule("*", "*", "*"), "* on */*"),
    ],
)
def test_a_rule_is_told_by_what_gives_the_right(made: dict[str, Any], text: str) -> None:
    assert rule_text(made, RIGHT) == text


def test_the_narrowest_rule_is_told() -> None:
    roles = {("ClusterRole", "", "both"): {"rules": [rule("*"), rule()]}}
    (held,) = holdings([binding("b", "both")], roles, RIGHT)
    assert (held.rule, held.wild) == ("decrypt on kmskeys/*", ())
