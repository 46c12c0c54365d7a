"""The admission policies on a real API server: what each asks of people with exactly one right, and what holds without any policy."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest
from tests.chart.admission import CASES, COSTLY, CREATE, KEY, KINDS, TEAM, Case, Side
from tests.chart.people import EVERYWHERE, KMS, MASTER, People, path_of
from tests.chart.policed import (
    ALLOW,
    COLLECTOR,
    CRD,
    CRUD,
    OPERATOR,
    POLICIES,
    RECORD_RIGHTS,
    STATUS,
    Object,
    attempt,
    deletion,
    install,
    listed,
    make_available,
    patch_of,
    record,
    standing,
    strip,
    wait_enforced,
)
from tests.chart.rights import PEOPLE, RECORDS, RELEASE
from tests.operator.harness import wait_for

pytestmark = [pytest.mark.helm, pytest.mark.cluster]

case = pytest.mark.parametrize("case", CASES, ids=[each.name for each in CASES])


@case
def test_a_write_needs_every_right_of_its_row_and_no_other(people: People, case: Case) -> None:
    with standing(people, case):
        for missing in case.asks:
            answer = attempt(people, case, [case.base, *(right for right in case.asks if right != missing)])
            assert answer.by_policy, answer.message or f"allowed without {missing}"
            verb, _, rest = missing.partition(" ")
            assert f"the verb {verb} on {rest.split(' ')[0]}" in answer.message
            assert "bind" in answer.message
            if missing == case.asks[-1]:
                assert case.says in answer.message
        answer = attempt(people, case, [case.base, *case.asks])
        assert answer.ok, answer.message


@case
def test_a_write_is_refused_to_who_has_all_rights_of_rbac_but_no_verb(people: People, case: Case) -> None:
    with standing(people, case):
        answer = attempt(people, case, CRUD)
        assert answer.by_policy is bool(case.asks), answer.message


@pytest.mark.parametrize("case", COSTLY, ids=[each.name for each in COSTLY])
def test_the_most_costly_writes_stay_within_the_api_servers_limits(people: People, case: Case) -> None:
    with standing(people, case):
        answer = attempt(people, case, [MASTER])
        assert answer.ok, answer.message


def test_each_of_sixteen_restarts_is_asked_about(people: People) -> None:
    targets = [{"kind": "StatefulSet", "name": f"w{n}"} for n in range(16)]
    case = replace(COSTLY[-1], after=Side({**COSTLY[-1].after.spec, "rolloutRestartTargets": targets}))  # type: ignore[union-attr]
    asks = ["create kmsdatakeys", f"generatedatakeywithoutplaintext kmskeys/{KEY}", "patch secrets/s"]
    rights = [f"patch statefulsets/w{n}" for n in range(16)]
    people.give(rights)
    wait_for("the rights", lambda: attempt(people, case, [*asks, *rights]).ok)
    for right in (rights[0], rights[15]):
        assert attempt(people, case, [*asks, *(each for each in rights if each != right)]).by_policy, right


# What Kubernetes' own roles bring along for data keys.
OF_KUBERNETES = {"patch secrets/s", *(f"patch {kind}/w" for kind in ("deployments", "statefulsets", "daemonsets"))}


@pytest.mark.parametrize("role", ["view", "edit", "admin"])
def test_the_roles_of_kubernetes_may_write_what_the_table_of_roles_says(people: People, role: str) -> None:
    people.cluster.kubectl("create", "rolebinding", f"is-{role}", f"--clusterrole={role}", f"--group=is:{role}", "-n", TEAM)
    verbs = {"view": set(), "edit": _verbs("edit"), "admin": _verbs("edit") | _verbs("admin")}[role]
    bound = next(each for each in CASES if each.name == "a key is created")
    if role != "view":
        wait_for("the binding", lambda: attempt(people, bound, [f"is:{role}"]).ok)
    for each in CASES:
        if not each.asks:
            continue
        may = all(ask in OF_KUBERNETES or (ask.split(" ")[0] in verbs and " in " not in ask) for ask in each.asks)
        with standing(people, each):
            answer = attempt(people, each, [f"is:{role}"])
        assert answer.ok is may, f"{each.name}: {answer.message}"


def _verbs(role: str) -> set[str]:
    return {verb for (group, _, _), verbs in PEOPLE[f"keystead-{role}"][1].items() if group == KMS for verb in verbs}


def test_a_verb_on_another_key_or_in_another_namespace_is_none(people: People) -> None:
    grant = next(each for each in CASES if each.name == "a grant is created")
    abroad = "creategrant kmskeys/k in abroad"
    people.give([abroad, "creategrant kmskeys/other"])
    answer = attempt(people, grant, [grant.base, abroad, "creategrant kmskeys/other"])
    assert answer.by_policy


def test_a_protected_key_is_deleted_by_nobody(people: People) -> None:
    protected = Case("", "kmskeys", Side({"deletionProtection": True}), None)
    with standing(people, protected):
        answer = attempt(people, protected, [MASTER])
        assert answer.by_policy
        assert "spec.deletionProtection" in answer.message
        assert ALLOW in answer.message


def test_only_the_operator_creates_keys_of_the_reserved_names(people: People) -> None:
    body = Side(name="aws-keystead").body("kmskeys")
    answer = people.ask([MASTER], "POST", path_of("kmskeys", TEAM), body)
    assert answer.by_policy
    assert "metadata.name" in answer.message
    assert people.ask([MASTER], "POST", path_of("kmskeys", TEAM), body, user=OPERATOR).ok


OWN_EDITS: dict[str, Object] = {
    "/spec/enabled": False,
    "/metadata/annotations": {"kms.keystead.io/rotate-requested-at": "now"},
    "/metadata/labels": {"kms.keystead.io/created-by": "api"},
}


@pytest.mark.parametrize(("namespace", "name"), [(TEAM, "aws-keystead"), ("keystead-records", "audit-signing")])
def test_keysteads_own_keys_are_edited_and_deleted_by_nobody(people: People, namespace: str, name: str) -> None:
    key = Side(name=name).body("kmskeys")
    key["metadata"]["namespace"] = namespace
    made = people.ask([MASTER], "POST", path_of("kmskeys", namespace), key, user=OPERATOR, dry=False)
    assert made.ok, made.message
    path = path_of("kmskeys", namespace, name)
    for where, value in OWN_EDITS.items():
        answer = people.ask([MASTER], "PATCH", path, [{"op": "add", "path": where, "value": value}])
        assert answer.by_policy, where
        assert "are not edited" in answer.message
    answer = people.ask([MASTER], "DELETE", path)
    assert answer.by_policy
    assert "are not deleted" in answer.message
    noted = {"example.com/mine": "x", "kms.keystead.io/reconcile-requested-at": "x"}
    answer = people.ask([MASTER], "PATCH", path, [{"op": "add", "path": "/metadata/annotations", "value": noted}])
    assert answer.ok, answer.message
    other = Side(name="mine").body("kmskeys")
    other["metadata"]["namespace"] = "keystead-records"
    assert people.ask([MASTER], "POST", path_of("kmskeys", "keystead-records"), other).by_policy
    assert people.ask([MASTER], "DELETE", path, user=COLLECTOR, dry=False).ok


def test_server_side_apply_and_put_are_asked_as_a_patch_is(people: People) -> None:
    rotated = Case("", "kmskeys", Side(), Side({"enabled": False}))
    with standing(people, rotated):
        path = path_of("kmskeys", TEAM, KEY)
        live = people.must("GET", path)
        answer = people.ask([*CRUD, "update kmskeys"], "PUT", path, live | {"spec": {**live["spec"], "enabled": False}})
        assert not answer.ok
        people.give(["update kmskeys"])
        wait_for("the right", lambda: people.ask(["update kmskeys"], "PUT", path, live).ok)
        answer = people.ask(["update kmskeys"], "PUT", path, live | {"spec": {**live["spec"], "enabled": False}})
        assert answer.by_policy
        assert "disablekey" in answer.message
        body = Side({"enabled": False}).body("kmskeys")
        answer = people.ask(CRUD, "PATCH", path, body, apply=True)
        assert answer.by_policy
        assert "disablekey" in answer.message
    answer = people.ask(CRUD, "PATCH", path, body, apply=True)  # now it creates
    assert answer.by_policy
    assert "createkey" in answer.message


def test_whoever_may_patch_status_changes_nothing_else(people: People) -> None:
    change = Case("", "kmskeys", Side({"enabled": True}), Side({"enabled": False, "policy": {}}, {"hold": "x", "adopt": "true"}))
    with standing(people, change):
        path = path_of("kmskeys", TEAM, KEY)
        assert change.after is not None
        status = {"op": "add", "path": "/status", "value": {"keyState": "PendingDeletion"}}
        patch = [*patch_of(change.after.body("kmskeys")), status]
        answer = people.ask([STATUS], "PATCH", f"{path}/status", patch)
        assert answer.ok, answer.message
        assert answer.body["status"]["keyState"] == "PendingDeletion"
        assert answer.body["spec"] == people.must("GET", path)["spec"]
        assert "annotations" not in answer.body["metadata"]
        assert people.ask([STATUS], "PATCH", path, patch).status == 403


def test_whoever_may_only_read_and_write_secrets_makes_no_key(people: People) -> None:
    for kind in KINDS:
        new = next(each for each in CASES if each.resource == kind and each.verb == CREATE)
        assert attempt(people, new, RECORD_RIGHTS).status == 403


# Kubernetes cleans up


def test_a_terminating_namespace_is_emptied_whatever_it_holds(people: People) -> None:
    name = "ends"
    people.must("POST", "/api/v1/namespaces", {"metadata": {"name": name}})
    for key, spec in (("protected", {"deletionProtection": True}), ("scheduled", {"deletionPolicy": "ScheduleDeletion"})):
        people.must("POST", path_of("kmskeys", name), Side(spec, name=key).body("kmskeys") | {"metadata": {"name": key}})
    managed = Side(name="aws-keystead").body("kmskeys")
    managed["metadata"]["namespace"] = name
    assert people.ask([MASTER], "POST", path_of("kmskeys", name), managed, user=OPERATOR, dry=False).ok
    kept = {"name": "kept", "finalizers": ["example.com/keeps-the-namespace"]}
    people.must("POST", path_of("kmskeys", name), Side({"deletionProtection": True}).body("kmskeys") | {"metadata": kept})
    people.must("POST", path_of("kmsgrants", name), Side({**_grant()}).body("kmsgrants") | {"metadata": {"name": "g"}})
    rights = [f"delete kmskeys {EVERYWHERE}", f"patch kmskeys {EVERYWHERE}"]  # a Role would go with the namespace
    people.give(rights)
    path = path_of("kmskeys", name, "kept")
    assert wait_for("the right", lambda: people.ask(rights, "DELETE", path).by_policy)
    people.must("DELETE", f"/api/v1/namespaces/{name}")
    wait_for("the others are gone", lambda: len(people.must("GET", path_of("kmskeys", name))["items"]) == 1)
    assert wait_for("deleting it by hand", lambda: people.ask(rights, "DELETE", path).ok)
    free = [{"op": "remove", "path": "/metadata/finalizers"}]
    assert people.ask(rights, "PATCH", path, free, dry=False).ok
    wait_for("the namespace is gone", lambda: people.ask([MASTER], "GET", f"/api/v1/namespaces/{name}").status == 404)


def _grant() -> Object:
    return dict(next(each for each in CASES if each.name == "a grant is created").after.spec)  # type: ignore[union-attr]


@pytest.fixture(scope="module", autouse=True)
def orphan(people: People) -> str:
    """A grant whose owner is gone. From the start: the garbage collector takes up to 30 s to learn of a new kind."""
    owner = people.must("POST", path_of("secrets", TEAM), {"metadata": {"name": "owner"}})["metadata"]
    body = Side(_grant(), name="owned").body("kmsgrants")
    body["metadata"]["ownerReferences"] = [{"apiVersion": "v1", "kind": "Secret", "name": "owner", "uid": owner["uid"]}]
    people.must("POST", path_of("kmsgrants", TEAM), body)
    people.must("DELETE", path_of("secrets", TEAM, "owner"))
    return path_of("kmsgrants", TEAM, "owned")


def test_the_garbage_collector_is_asked_for_no_verb(people: People, orphan: str) -> None:
    wait_for("the grant goes with its owner", lambda: people.ask([MASTER], "GET", orphan).status == 404)


# The policies themselves


def test_every_expression_fits_the_types_of_what_it_is_asked_about(people: People) -> None:
    """The API server's own check: no warning on copies of ours once it warns of a field that does not exist.

    It learns of new kinds within 30 seconds, and until then it passes over what is said about them.
    """
    ours = listed(people.cluster, POLICIES[0])
    wrong = {**ours["keystead-keys"], "metadata": {"name": "wrong"}}
    wrong["spec"] = {"matchConstraints": wrong["spec"]["matchConstraints"], "validations": [{"expression": "object.spec.nonsense == 'x'"}]}
    wait_for("a warning", lambda: "nonsense" in json.dumps(type_check(people, wrong)), every=1)
    copies = [{**body, "metadata": {"name": f"again-{name}"}} for name, body in ours.items()]
    assert len(copies) > 5
    assert type_check(people, *copies) == {body["metadata"]["name"]: {} for body in copies}


def type_check(people: People, *policies: Object) -> dict[str, Object]:
    """Makes the policies, without a binding, and gives what their status then says; they are gone afterwards."""
    people.cluster.apply(*(strip(body) for body in policies))
    made = [body["metadata"]["name"] for body in policies]

    def checked() -> dict[str, Object] | None:
        found = listed(people.cluster, POLICIES[0])
        answers = {name: found[name].get("status", {}).get("typeChecking") for name in made}
        return None if None in answers.values() else answers

    try:
        return wait_for("the type check", checked)
    finally:
        people.cluster.kubectl("delete", POLICIES[0], *made)


@contextmanager
def without_policies(people: People) -> Iterator[None]:
    saved = [strip(body) for kind in POLICIES for body in listed(people.cluster, kind).values()]
    assert saved
    people.cluster.kubectl("delete", ",".join(POLICIES), "--all")
    wait_enforced(people, yes=False)
    try:
        yield
    finally:
        people.cluster.apply(*saved)
        wait_enforced(people)


def test_without_policies_every_write_of_the_matrix_needs_its_right_of_rbac_and_no_more(people: People) -> None:
    """What then still holds is in the records: docs/security.md says so row by row, tests/operator/test_admission.py tries it."""
    refused = {}
    with without_policies(people):
        for each in CASES:
            with standing(people, each):
                if not (answer := attempt(people, each, [each.base])).ok:
                    refused[each.name] = answer.message
                assert attempt(people, each, []).status == 403
        assert deletion(people, record(), RECORD_RIGHTS).ok
        assert people.ask([MASTER], "DELETE", f"/api/v1/namespaces/{RECORDS}").ok
    assert refused == {}


def test_a_deleted_crd_takes_protected_keys_with_it(people: People) -> None:
    """Its own clean-up goes past admission: the records stay, and the policies do not hold it up for ever."""
    people.must("POST", path_of("kmskeys", TEAM), Side({"deletionProtection": True}).body("kmskeys"))
    definition = people.cluster.get(CRD)
    people.cluster.kubectl("delete", CRD, "--timeout=30s")
    assert not people.cluster.kubectl("get", CRD, "--ignore-not-found")
    people.cluster.apply(strip(definition))
    people.cluster.kubectl("wait", "--for=condition=Established", CRD, "--timeout=30s")
    wait_enforced(people)
    assert people.must("GET", path_of("kmskeys", TEAM))["items"] == []


def test_policies_outlive_the_release_and_are_taken_up_by_the_next(people: People) -> None:
    cluster = people.cluster
    before = {name: body["metadata"]["uid"] for kind in POLICIES for name, body in listed(cluster, kind).items()}
    cluster.helm("uninstall", "keystead", "-n", RELEASE, "--no-hooks")
    assert deletion(people, record(), [MASTER]).by_policy
    install(cluster)
    make_available(cluster)
    after = {name: body["metadata"]["uid"] for kind in POLICIES for name, body in listed(cluster, kind).items()}
    assert after == before
    wait_enforced(people)
