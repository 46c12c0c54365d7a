"""The rendered RBAC is the table in rights.py, no more and no less."""

from __future__ import annotations

from typing import Any

import pytest
from tests.chart import rights
from tests.chart.rendering import EXTERNAL, JOB, Renderer, granted, of_kind, one, rules
from tests.chart.rights import ANY, RECORDS, RELEASE, Grant

from keystead.policy.actions import Action

pytestmark = pytest.mark.helm

ACCOUNTS = ("keystead-operator", "keystead-server", "keystead-hsm-init", "keystead-uninstall")
SERVED = ("operator.namespaces={team-a,team-b}",)
ONE_TARGET = ("dataKeys.namespaces={team-a}",)
POLICIES = {"keystead-server-objects", "keystead-server-configmaps"}  # they stay on: nobody may be exempt and not fenced
SETUPS: list[tuple[tuple[str, ...], dict[str, Any]]] = [
    ((), {}),
    (ONE_TARGET, {"data_keys": ("team-a",)}),
    (("dataKeys.allNamespaces=true",), {"everywhere": True}),
    (SERVED, {"served": ("team-a", "team-b")}),
    ((*SERVED, *ONE_TARGET), {"served": ("team-a", "team-b"), "data_keys": ("team-a",)}),
]


@pytest.mark.parametrize(("sets", "facts"), SETUPS, ids=[" ".join(sets) or "default" for sets, _ in SETUPS])
def test_the_operator_has_exactly_the_rights_of_the_table(
    render: Renderer, sets: tuple[str, ...], facts: dict[str, Any]
) -> None:
    assert granted(render(*EXTERNAL, *sets), "keystead-operator") == rights.grants(rights.OPERATOR, **facts)


@pytest.mark.parametrize("served", [(), ("team-a", "team-b")], ids=["everywhere", "namespaces"])
def test_the_server_has_exactly_the_rights_of_the_table(render: Renderer, served: tuple[str, ...]) -> None:
    objects = render(*EXTERNAL, *(SERVED if served else ()))
    assert granted(objects, "keystead-server") == rights.grants(rights.SERVER, served=served)


def test_the_server_writes_no_status_and_of_the_records_its_sign_of_life_alone(render: Renderer) -> None:
    has = granted(render(*EXTERNAL, "dataKeys.allNamespaces=true"), "keystead-server")
    assert not {grant.resource for grant in has if "/" in grant.resource or grant.resource == "kmsdatakeys"}
    secrets = {(g.verb, g.namespace, g.name) for g in has if g.resource == "secrets"}
    read = {(verb, RECORDS, ANY) for verb in ("get", "list", "watch")}
    assert secrets == read | {("update", RECORDS, "heartbeat"), ("get", RELEASE, "keystead-pin")}


def test_a_server_that_is_left_out_has_no_account_and_no_right(render: Renderer) -> None:
    assert "keystead-server" in {each["metadata"]["name"] for each in render(*EXTERNAL)}
    left = {each["metadata"]["name"] for each in render(*EXTERNAL, "server.enabled=false")}
    assert {name for name in left if name.startswith("keystead-server")} <= POLICIES


def test_the_ceremony_has_exactly_the_rights_of_the_table(render: Renderer) -> None:
    assert granted(render(*JOB), "keystead-hsm-init") == rights.grants(rights.HSM_INIT)


@pytest.mark.parametrize("served", [(), ("team-a", "team-b")], ids=["everywhere", "namespaces"])
def test_the_uninstall_has_exactly_the_rights_of_the_table(render: Renderer, served: tuple[str, ...]) -> None:
    objects = render(*EXTERNAL, *(SERVED if served else ()))
    assert granted(objects, "keystead-uninstall") == rights.grants(rights.UNINSTALL, served=served)


def test_an_external_ceremony_leaves_no_account_behind(render: Renderer) -> None:
    objects = render(*EXTERNAL)
    assert "keystead-hsm-init" not in {each["metadata"]["name"] for each in objects}


def test_every_binding_is_to_an_account_of_the_table(render: Renderer) -> None:
    bound = [s for b in of_kind(render(*JOB, *ONE_TARGET), "RoleBinding", "ClusterRoleBinding") for s in b["subjects"]]
    assert {(s["kind"], s["namespace"], s["name"]) for s in bound} == {
        ("ServiceAccount", RELEASE, "keystead-operator"),
        ("ServiceAccount", RELEASE, "keystead-server"),
        ("ServiceAccount", RELEASE, "keystead-hsm-init"),
        ("ServiceAccount", RELEASE, "keystead-uninstall"),
    }


def test_every_role_is_bound_or_for_people(render: Renderer) -> None:
    objects = render(*JOB, "dataKeys.allNamespaces=true")
    roles = {
        (r["kind"], r["metadata"].get("namespace"), r["metadata"]["name"])
        for r in of_kind(objects, "Role", "ClusterRole")
    }
    bound = {
        (b["roleRef"]["kind"], b["metadata"].get("namespace"), b["roleRef"]["name"])
        for b in of_kind(objects, "RoleBinding", "ClusterRoleBinding")
    }
    assert roles - bound == {("ClusterRole", None, name) for name in rights.PEOPLE}


def every_grant(render: Renderer) -> list[Grant]:
    sets = (*JOB, "dataKeys.allNamespaces=true")
    return [
        grant
        for role in of_kind(render(*sets), "Role", "ClusterRole")
        for grant in rules(role, role["metadata"].get("namespace", ANY))
    ]


def test_nothing_has_a_wildcard(render: Renderer) -> None:
    assert not [grant for grant in every_grant(render) if ANY in (grant.group, grant.resource, grant.verb)]


def test_secrets_are_listed_and_watched_in_the_records_namespace_only(render: Renderer) -> None:
    wide = {"list", "watch", "update", "delete", "deletecollection"}
    found = {grant.namespace for grant in every_grant(render) if grant.resource == "secrets" and grant.verb in wide}
    assert found == {RECORDS}


def test_only_operator_and_server_delete_and_only_records_and_kinds_that_the_api_makes(render: Renderer) -> None:
    """Which of them, RBAC cannot say: the admission policies do."""
    objects = render(*JOB, "dataKeys.allNamespaces=true")
    deletes = {
        (name, grant.resource, grant.namespace)
        for name in ACCOUNTS
        for grant in granted(objects, name)
        if grant.verb.startswith("delete")
    }
    kinds = {(name, kind, ANY) for name in ("keystead-operator", "keystead-server") for kind in rights.API_MADE_KINDS}
    assert deletes == kinds | {("keystead-operator", "secrets", RECORDS)}


def test_only_keys_are_made_and_patched_and_nothing_else_of_a_kind_but_its_status(render: Renderer) -> None:
    objects = render(*JOB, "dataKeys.allNamespaces=true")
    writes = {
        (name, grant.resource, grant.verb)
        for name in ACCOUNTS
        if name != "keystead-server"  # it writes specs, for its callers
        for grant in granted(objects, name)
        if grant.group == rights.KMS and grant.verb not in ("get", "list", "watch", "delete")
    }
    status = {("keystead-operator", f"{kind}/status", "patch") for kind in rights.KINDS} | {("keystead-operator", "kmskeys", "create")}
    assert writes == status | {(name, "kmskeys", "patch") for name in ("keystead-operator", "keystead-uninstall")}


def test_nothing_escalates_or_impersonates(render: Renderer) -> None:
    found = {(g.verb, g.resource, g.name) for g in every_grant(render) if g.verb in ("bind", "escalate", "impersonate")}
    assert found == {("bind", "clusterroles", "keystead-key-user")}


@pytest.mark.parametrize("name", rights.PEOPLE)
def test_roles_of_people_are_those_of_the_table(render: Renderer, name: str) -> None:
    role = one(render(*EXTERNAL), "ClusterRole", name)
    into, table = rights.PEOPLE[name]
    listed = rules(role)
    assert set(listed) == {Grant(*key[:2], verb, ANY, key[2]) for key, verbs in table.items() for verb in verbs}
    assert len(listed) == len(set(listed)), "a right is listed twice"
    prefix = "rbac.authorization.k8s.io/aggregate-to-"
    assert {label for label in role["metadata"]["labels"] if label.startswith(prefix)} == (
        {prefix + into} if into else set()
    )


def test_no_aggregated_role_uses_a_key(render: Renderer) -> None:
    objects = render(*EXTERNAL)
    forbidden = {*rights.USE, "hold", "adopt", "audit"}
    for name in ("keystead-view", "keystead-edit", "keystead-admin", "keystead-key-admin"):
        assert not forbidden & {grant.verb for grant in rules(one(objects, "ClusterRole", name))}


def test_aggregation_can_be_switched_off(render: Renderer) -> None:
    objects = render(*EXTERNAL, "policies.aggregateRoles=false")
    labels = {label for role in of_kind(objects, "ClusterRole") for label in role["metadata"]["labels"]}
    assert not [label for label in labels if "aggregate-to" in label]


def test_the_rights_of_the_ceremony_end_with_it(render: Renderer) -> None:
    hooks = [each for each in render(*JOB) if each["metadata"]["name"] == "keystead-hsm-init" and each["kind"] != "Job"]
    assert {each["kind"] for each in hooks} == {"ServiceAccount", "Role", "RoleBinding"}
    for each in hooks:
        assert "hook-succeeded" in each["metadata"]["annotations"]["helm.sh/hook-delete-policy"]
        assert each["metadata"]["annotations"]["helm.sh/hook"] == "pre-install"


def test_a_request_of_the_audit_log_ticks_off_its_row() -> None:
    granted_rights = rights.grants(rights.OPERATOR)
    event: dict[str, object] = {
        "verb": "patch",
        "objectRef": {
            "apiGroup": rights.KMS,
            "resource": "kmskeys",
            "subresource": "status",
            "namespace": "a",
            "name": "k",
        },
    }
    assert rights.used_by(granted_rights, event) == {Grant(rights.KMS, "kmskeys/status", "patch", ANY, ANY)}
    other: dict[str, object] = {"verb": "list", "objectRef": {"resource": "secrets", "namespace": "a"}}
    assert rights.used_by(granted_rights, other) == set()


def test_every_action_of_the_api_is_in_a_role_for_people_but_retiring(render: Renderer) -> None:
    """Who may retire a grant, the grant says: no role needs to."""
    objects = render(*EXTERNAL)
    verbs = {grant.verb for name in rights.PEOPLE for grant in rules(one(objects, "ClusterRole", name))}
    assert {action.value for action in Action if action.value.lower() not in verbs} == {"RetireGrant"}
