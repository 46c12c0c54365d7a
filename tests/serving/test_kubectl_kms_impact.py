"""`kubectl kms who-can`, `impact` and `schedule-deletion` on a real API server with real RBAC, by the real kubectl."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
from tests.operator.direct import path_of
from tests.operator.harness import ROOT, wait_for
from tests.serving.desk import ALIAS, GRANT, KEY, Desk
from tests.serving.kubectl import Plugin

pytestmark = pytest.mark.cluster
HOME = "orders"
PAGE = ROOT / "docs/kubectl-kms.md"
RBAC = "rbac.authorization.k8s.io"
NONE = {"aliases": 0, "grants": 0, "dataKeys": 0}


def binding(name: str, role: str, *subjects: dict[str, str], kind: str = "ClusterRole") -> dict[str, Any]:
    """A RoleBinding in the namespace."""
    return {
        "apiVersion": f"{RBAC}/v1",
        "kind": "RoleBinding",
        "metadata": {"name": name, "namespace": HOME},
        "roleRef": {"apiGroup": RBAC, "kind": kind, "name": role},
        "subjects": list(subjects),
    }


def account(name: str, namespace: str = HOME) -> dict[str, str]:
    return {"kind": "ServiceAccount", "name": name, "namespace": namespace}


def group(name: str) -> dict[str, str]:
    return {"apiGroup": RBAC, "kind": "Group", "name": name}


def pod_spec(secret: str) -> dict[str, Any]:
    return {
        "automountServiceAccountToken": False,
        "containers": [{"name": "app", "image": "invoices:1", "volumeMounts": [{"name": "key", "mountPath": "/key"}]}],
        "volumes": [{"name": "key", "secret": {"secretName": secret}}],
    }


@pytest.fixture(scope="module")
def plugin(desk: Desk, tmp_path_factory: pytest.TempPathFactory) -> Plugin:
    return Plugin.install(desk.installation.cluster, Path(tmp_path_factory.mktemp("bin")))


@pytest.fixture(scope="module")
def orders(desk: Desk, plugin: Plugin) -> Plugin:
    """A namespace as a team has it: a key, an alias, a grant, a data key in a Secret, a Pod that mounts it."""
    for name in ("checkout", "reports", "deployer", "billing"):
        desk.direct.call("POST", f"/api/v1/namespaces/{HOME}/serviceaccounts", {"metadata": {"name": name, "namespace": HOME}})
    desk.apply(KEY, HOME, "orders-db")
    desk.apply(ALIAS, HOME, "orders-db", aliasName="alias/orders-db", keyRef={"name": "orders-db"})
    grantee = {"keyRef": {"name": "orders-db"}, "serviceAccountRef": {"name": "reports"}, "operations": ["Decrypt"]}
    desk.apply(GRANT, HOME, "reports", **grantee, constraints={"encryptionContextSubset": {"table": "invoices"}})
    made = desk.apply("KmsDataKey", HOME, "invoices", keyRef={"name": "orders-db"}, target={"secretName": "invoices-key"})
    assert made["status"]["version"] == 1
    labels = {"app": "invoices"}
    plugin.cluster.apply(
        binding("checkout", "keystead-key-user", account("checkout")),
        binding("deployer", "cluster-admin", account("deployer")),
        {
            "apiVersion": f"{RBAC}/v1",
            "kind": "Role",
            "metadata": {"name": "look", "namespace": HOME},
            "rules": [{"apiGroups": ["kms.keystead.io"], "resources": ["kmskeys"], "verbs": ["describekey", "listgrants"]}],
        },
        binding("everybody", "look", group(f"system:serviceaccounts:{HOME}"), kind="Role"),
        binding("visitors", "keystead-key-user", account("default", "default"), group("developers")),
        {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "invoices-0", "namespace": HOME}, "spec": pod_spec("invoices-key")},
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": "invoices", "namespace": HOME},
            "spec": {
                "replicas": 0,
                "selector": {"matchLabels": labels},
                "template": {"metadata": {"labels": labels}, "spec": pod_spec("invoices-key")},
            },
        },
    )
    wait_for("the data key is counted", lambda: counted(desk) == {"aliases": 1, "grants": 1, "dataKeys": 1})
    return plugin


def counted(desk: Desk) -> Any:
    return desk.object(KEY, HOME, "orders-db")["status"].get("dependents")


def holders(plugin: Plugin, action: str, key: str = "orders-db") -> dict[str, dict[str, str]]:
    found = plugin.here("who-can", action, key, "-n", HOME, "-o", "json")
    assert found.code == 0, found.err
    return {f"{row['who']} by {row['through']}": row for row in found.json["holders"]}


def test_who_can_lists_policy_grants_and_bindings_and_marks_wildcards(orders: Plugin) -> None:
    rows = holders(orders, "decrypt")
    user = "of ClusterRole keystead-key-user"
    assert rows[f"ServiceAccount orders/checkout by RoleBinding checkout in orders {user}"]["may"] == "yes"
    assert not any("everybody" in row["through"] for row in rows.values())
    deployer = rows["ServiceAccount orders/deployer by RoleBinding deployer in orders of ClusterRole cluster-admin"]
    assert (deployer["may"], deployer["wildcard"]) == ("yes", "all verbs, all resources, all API groups")
    masters = rows["group system:masters by ClusterRoleBinding cluster-admin of ClusterRole cluster-admin"]
    assert (masters["may"], masters["wildcard"]) == ("no", "all verbs, all resources, all API groups")
    assert rows[f"ServiceAccount default/default by RoleBinding visitors in orders {user}"]["may"] == "no"
    assert rows[f"group developers by RoleBinding visitors in orders {user}"]["may"] == "no"
    grants = [row for row in rows.values() if row["through"] == "KmsGrant reports"]
    assert [(row["may"], row["who"].split(":")[-1]) for row in grants] == [("depends", "role/reports")]
    assert all(row["wildcard"] == "" for row in rows.values() if "cluster-admin" not in row["through"])


def test_a_group_of_service_accounts_stands_for_all_of_them(orders: Plugin) -> None:
    rows = holders(orders, "describe-key")
    everybody = rows["group system:serviceaccounts:orders by RoleBinding everybody in orders of Role look"]
    assert (everybody["may"], everybody["note"]) == ("yes", "every ServiceAccount of orders")


def test_who_can_administer_by_writing_the_object_is_told_apart(orders: Plugin) -> None:
    rows = holders(orders, "schedule-key-deletion")
    masters = rows["group system:masters by ClusterRoleBinding cluster-admin of ClusterRole cluster-admin"]
    assert (masters["may"], masters["wildcard"]) == ("kubectl", "all verbs, all resources, all API groups")
    assert not any("keystead-key-user" in name for name in rows)


def test_a_deny_takes_its_own_out_of_the_list(orders: Plugin, desk: Desk) -> None:
    arn = desk.object(KEY, HOME, "orders-db")["status"]["keyArn"]
    number = arn.split(":")[4]
    allow = {"Effect": "Allow", "Principal": {"AWS": f"arn:aws:iam::{number}:root"}, "Action": "kms:*", "Resource": "*"}
    everybody = {"Sid": "Look", "Effect": "Allow", "Principal": "*", "Action": "kms:DescribeKey", "Resource": "*"}
    only = {"AWS": [f"arn:aws:iam::{number}:role/checkout", f"arn:aws:iam::{number}:root"]}
    deny = {"Sid": "OnlyCheckout", "Effect": "Deny", "NotPrincipal": only, "Action": "kms:*", "Resource": "*"}
    desk.apply(KEY, HOME, "fenced", policy={"Version": "2012-10-17", "Statement": [allow, everybody, deny]})
    rows = holders(orders, "describe-key", "fenced")
    may = {row["who"]: row["may"] for row in rows.values()}
    assert may["ServiceAccount orders/checkout"] == "yes"
    assert (may["ServiceAccount orders/deployer"], may["group system:serviceaccounts:orders"]) == ("no", "no")
    assert (may["everybody"], rows['everybody by statement "Look"']["wildcard"]) == ("no", "every principal")
    told = orders.here("who-can", "describe-key", "fenced", "-n", HOME, "-o", "json").json
    assert [item["name"] for item in told["denies"]] == ["OnlyCheckout"]


def test_impact_finds_what_points_at_the_key_and_who_mounts_its_data_keys(orders: Plugin) -> None:
    told = orders.here("impact", "alias/orders-db", "-n", HOME, "-o", "json").json
    assert [(item["kind"], item["name"]) for item in told["dependants"]] == [
        ("KmsAlias", "orders-db"),
        ("KmsGrant", "reports"),
        ("KmsDataKey", "invoices"),
    ]
    mounts = {(item["kind"], item["name"]): (item["secret"], item["how"]) for item in told["mounts"]}
    assert mounts[("Pod", "invoices-0")] == ("invoices-key", "volume key")
    assert mounts[("Deployment", "invoices")] == ("invoices-key", "volume key")
    assert told["hidden"] == {}
    assert told["callers"] == {"reason": "not known: give --audit-log DIR, or --endpoint URL"}


def test_a_key_that_an_alias_left_still_has_the_data_keys_with_older_versions_under_it(orders: Plugin, desk: Desk) -> None:
    """Who schedules the deletion of the old key loses what older versions are for."""
    keys = {name: desk.apply(KEY, HOME, name)["status"] for name in ("before", "after")}
    desk.apply(ALIAS, HOME, "moves", aliasName="alias/moves", keyRef={"name": "before"})
    desk.apply("KmsDataKey", HOME, "moved", aliasRef={"name": "moves"}, target={"secretName": "moved-key"})
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "moved-0", "namespace": HOME}, "spec": pod_spec("moved-key")}
    orders.cluster.apply(pod)
    desk.apply(ALIAS, HOME, "moves", aliasName="alias/moves", keyRef={"name": "after"})
    wait_for("the alias moved", lambda: desk.object(ALIAS, HOME, "moves")["status"]["targetKeyId"] == keys["after"]["keyId"])
    desk.direct.annotate("KmsDataKey", HOME, "moved", "kms.keystead.io/rotate-requested-at", "now")
    wait_for("version 2", lambda: desk.object("KmsDataKey", HOME, "moved")["status"].get("version") == 2)
    wait_for("the operator's count", lambda: desk.object(KEY, HOME, "before")["status"].get("dependents") == {**NONE, "dataKeys": 1})
    told = orders.here("impact", "before", "-n", HOME, "-o", "json").json
    assert [(item["kind"], item["name"], item["detail"]) for item in told["dependants"]] == [
        ("KmsDataKey", "moved", "Secret moved-key, version 2, older versions under this key")
    ]
    assert [(item["kind"], item["name"]) for item in told["mounts"]] == [("Pod", "moved-0")]
    assert (told["hidden"], told["unclear"]) == ({}, [])


def test_impact_says_what_this_person_may_not_see(orders: Plugin, desk: Desk) -> None:
    reader = desk.worker(HOME, "reader")
    role = {"apiVersion": f"{RBAC}/v1", "kind": "Role", "metadata": {"name": "reader", "namespace": HOME}}
    rules = [{"apiGroups": ["kms.keystead.io"], "resources": ["kmskeys", "kmsaliases"], "verbs": ["get", "list"]}]
    orders.cluster.apply({**role, "rules": rules}, binding("reader", "reader", account("reader"), kind="Role"))
    mine = orders.of(orders.cluster.service_account_kubeconfig(HOME, reader.name))
    told = mine("impact", "orders-db", "-o", "json").json
    assert told["hidden"] == {"KmsGrant": 1, "KmsDataKey": 1}
    assert "you may not list kmsgrants in orders" in told["unread"]


def test_a_deletion_shows_the_impact_and_asks_for_the_name(orders: Plugin, desk: Desk) -> None:
    desk.apply(KEY, HOME, "old")
    refused = orders("schedule-deletion", "old", "-n", HOME, stdin="orders-db\n")
    assert refused.code == 2 and "nothing was changed" in refused.err
    assert "nothing points at it" in refused.out
    assert "scheduledDeletion" not in desk.object(KEY, HOME, "old")["spec"]
    done = orders("schedule-deletion", "old", "--days", "7", "-n", HOME, stdin="old\n")
    assert done.code == 0, done.err
    assert desk.object(KEY, HOME, "old")["spec"]["scheduledDeletion"] == {"pendingWindowInDays": 7}
    wait_for("PendingDeletion", lambda: desk.object(KEY, HOME, "old")["status"]["keyState"] == "PendingDeletion")
    told = orders.here("why", "encrypt", "old", "--as", "checkout", "-n", HOME, "-o", "json").json
    assert told["verdict"] == "allowed" and "PendingDeletion" in told["obstacles"][0]


def test_a_deletion_needs_the_persons_own_right(orders: Plugin, desk: Desk) -> None:
    desk.apply(KEY, HOME, "guarded")
    name = "editor"
    desk.worker(HOME, name, "get", "list", "patch", "update")
    mine = orders.of(orders.cluster.service_account_kubeconfig(HOME, name))
    done = mine("schedule-deletion", "guarded", "--yes")
    assert done.code == 2 and "schedulekeydeletion" in done.err, done.err
    assert "scheduledDeletion" not in desk.direct.call("GET", f"{path_of(KEY, HOME)}/guarded")["spec"]


def test_json_is_for_programs_and_talk_stays_beside_it(orders: Plugin, desk: Desk) -> None:
    desk.apply(KEY, HOME, "gone")
    done = orders("schedule-deletion", "gone", "--yes", "-n", HOME, "-o", "json")
    assert json.loads(done.out)["key"] == "KmsKey orders/gone"
    assert "nothing points at it" in done.err


def test_the_pages_examples_say_what_the_commands_say(orders: Plugin) -> None:
    """docs/kubectl-kms.md: each `$ kubectl kms` line is run, and what stands under it compared. who-can lists other tests' people, too."""
    examples = [block for block in PAGE.read_text().split("```console\n")[1:] if block.startswith("$ kubectl kms ")]
    assert len(examples) >= 5
    for block in examples:
        command, _, output = block.split("```")[0].partition("\n")
        done = (orders if block is examples[0] else orders.here)(*shlex.split(command)[3:])
        said = [normal(line) for line in done.out.splitlines() if line.strip()]
        written = [normal(line) for line in output.splitlines() if line.strip()]
        if "who-can" in command:
            assert set(written) <= set(said), command
        else:
            assert written == said, command


def normal(line: str) -> str:
    """Without what differs from one install to the next."""
    line = re.sub(r"[0-9a-f]{64}", "GRANT-ID", re.sub(r"\b[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\b", "KEY-ID", line))
    return " ".join(re.sub(r"\b[0-9a-f]{8}\b", "GRANT", re.sub(r"\b\d{12}\b", "ACCOUNT", line)).split())
