"""The admission policies on a real API server: what each asks of people with exactly one right, and what holds without any policy.

A cluster of its own: policies and CRDs are deleted here. Fields that a later version makes available are asked about already: their
`not available` rules are taken out of this cluster's CRDs, or the schema would refuse before a policy is asked. Writes are dry runs.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from tests.chart.admission import ABROAD, CASES, CREATE, DELETE, KEY, KINDS, TEAM, Case, Side
from tests.chart.people import EVERYWHERE, KMS, MASTER, Answer, People, path_of
from tests.chart.rendering import CHART, EXTERNAL
from tests.chart.rights import RECORDS, RELEASE
from tests.cluster.cluster import Cluster
from tests.cluster.kinds import built
from tests.operator.harness import wait_for

pytestmark = [pytest.mark.helm, pytest.mark.cluster]

POLICIES = ("validatingadmissionpolicies", "validatingadmissionpolicybindings")
HOLD, ALLOW = f"hold kmskeys {EVERYWHERE}", f"{KMS}/allow-deletion"
_LIFTED = re.compile("not available|reserved for Keystead")
OPERATOR = f"system:serviceaccount:{RELEASE}:keystead-operator"
COLLECTOR = "system:serviceaccount:kube-system:generic-garbage-collector"
CRUD = tuple(f"{verb} {kind}" for verb in (CREATE, "patch", DELETE) for kind in KINDS)
RECORD_RIGHTS = tuple(f"{verb} secrets in {RECORDS}" for verb in (CREATE, "patch", DELETE, "deletecollection"))
NAMESPACE_RIGHTS = tuple(f"{verb} {what} {EVERYWHERE}" for verb, what in (("patch", "namespaces"), ("delete", "namespaces"), ("patch", "namespaces+status")))
STATUS = "patch kmskeys+status"
Object = dict[str, Any]

case = pytest.mark.parametrize("case", CASES, ids=[each.name for each in CASES])


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> Iterator[People]:
    with built() as cluster:
        for name in (TEAM, ABROAD):
            cluster.kubectl("create", "namespace", name)
        install(cluster)
        make_available(cluster)
        made = People(cluster, TEAM)
        made.give([*CRUD, *RECORD_RIGHTS, *NAMESPACE_RIGHTS, STATUS, HOLD, *(right for each in CASES for right in each.asks)])
        wait_enforced(made)
        yield made


def install(cluster: Cluster) -> None:
    cluster.helm("install", "keystead", str(CHART), "-n", RELEASE, "--create-namespace", *(f"--set={one}" for one in EXTERNAL))


CRD = f"customresourcedefinition/kmskeys.{KMS}"


def make_available(cluster: Cluster) -> None:
    """The KmsKey CRD without the rules of what this version does not have, and without the one on names, which is a policy's too."""
    live = cluster.get(CRD)
    schema = live["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    for node in (schema, schema["properties"]["spec"]):
        kept = [rule for rule in node.pop("x-kubernetes-validations", []) if not _LIFTED.search(rule["message"])]
        node |= {"x-kubernetes-validations": kept} if kept else {}
    cluster.kubectl("replace", "-f", "-", stdin=json.dumps(live))


def wait_enforced(people: People, yes: bool = True) -> None:
    """A new policy (and a new CRD, and a new role) works only some 100 ms later."""
    new = Side({"deletionProtection": True}, name="probe").body("kmskeys")
    wait_for("the schema", lambda: people.ask([MASTER], "POST", path_of("kmskeys", TEAM), new).ok, every=0.05)
    for kind in KINDS:
        wait_for(f"policies of {kind}", lambda kind=kind: _probe(people, kind).by_policy is yes, every=0.05)
    wait_for("policy of records", lambda: deletion(people, record(), [MASTER]).by_policy is yes, every=0.05)


def _probe(people: People, resource: str) -> Answer:
    new = next(each for each in CASES if each.resource == resource and each.verb == CREATE)
    return attempt(people, new, CRUD)


# What people write


def attempt(people: People, case: Case, rights: Iterable[str]) -> Answer:
    """The write of a case; its object stands as the case says."""
    collection = path_of(case.resource, TEAM)
    if case.before is None:
        assert case.after is not None
        return people.ask(rights, "POST", collection, case.after.body(case.resource))
    body = case.before.body(case.resource)
    path = f"{collection}/{body['metadata']['name']}"
    if case.after is None:
        return people.ask(rights, "DELETE", path)
    return people.ask(rights, "PATCH", path, patch_of(case.after.body(case.resource)))


def patch_of(body: Object) -> list[Object]:
    annotations = body["metadata"].get("annotations", {})
    return [{"op": "add", "path": "/spec", "value": body["spec"]}, {"op": "add", "path": "/metadata/annotations", "value": annotations}]


@contextmanager
def standing(people: People, case: Case) -> Iterator[None]:
    """The object before the write, made by an administrator."""
    if case.before is None:
        yield
        return
    body = case.before.body(case.resource)
    path = path_of(case.resource, TEAM, body["metadata"]["name"])
    people.must("POST", path_of(case.resource, TEAM), body)
    try:
        yield
    finally:
        release(people, path)


def release(people: People, path: str) -> None:
    """Take an object away, protected or not."""
    if (found := people.ask([MASTER], "GET", path)).ok:
        people.must("PUT", path, found.body | {"metadata": found.body["metadata"] | {"annotations": {ALLOW: "true"}}})
        people.must("DELETE", path)


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


def test_names_of_keystead_s_own_keys_are_taken_by_nobody_else(people: People) -> None:
    body = Side(name="aws-keystead").body("kmskeys")
    answer = people.ask([MASTER], "POST", path_of("kmskeys", TEAM), body)
    assert answer.by_policy
    assert "metadata.name" in answer.message
    assert people.ask([MASTER], "POST", path_of("kmskeys", TEAM), body, user=OPERATOR).ok


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


# The records


def record(kind: str = "key-record", name: str = "probe", **annotations: str) -> Object:
    metadata: Object = {"name": name, "namespace": RECORDS}
    metadata |= {"annotations": {f"{KMS}/{key.replace('_', '-')}": value for key, value in annotations.items()}} if annotations else {}
    return {"apiVersion": "v1", "kind": "Secret", "type": f"{KMS}/{kind}", "metadata": metadata}


def deletion(people: People, body: Object, rights: Iterable[str], user: str = "somebody", path: str = "") -> Answer:
    """Deletes a Secret that an administrator made; a trial."""
    name = body["metadata"]["name"]
    where = path_of("secrets", RECORDS, name)
    if not people.ask([MASTER], "GET", where).ok:
        people.must("POST", path_of("secrets", RECORDS), body)
    live = people.must("GET", where)
    live["metadata"]["annotations"] = body["metadata"].get("annotations", {})
    people.must("PUT", where, live)
    return people.ask(rights, "DELETE", path or where, user=user)


KINDS_KEPT = ("key-record", "alias-record", "grant-record", "datakey-record", "account-record", "install-record", "domain-backup")


@pytest.mark.parametrize("kind", KINDS_KEPT)
def test_a_record_is_deleted_by_nobody_without_the_annotation(people: People, kind: str) -> None:
    name = f"kept-{kind}"
    for user, rights in (("somebody", RECORD_RIGHTS), ("root", [MASTER]), (COLLECTOR, [MASTER])):
        answer = deletion(people, record(kind, name), rights, user)
        assert answer.by_policy, answer.message or f"deleted by {user}"
        assert name in answer.message
        assert ALLOW in answer.message
    assert deletion(people, record(kind, name, allow_deletion="yes"), RECORD_RIGHTS).by_policy
    assert deletion(people, record(kind, name, allow_deletion="true"), RECORD_RIGHTS).ok


def test_a_collection_of_records_is_not_deleted_either(people: People) -> None:
    deletion(people, record(), RECORD_RIGHTS)
    answer = people.ask(RECORD_RIGHTS, "DELETE", path_of("secrets", RECORDS))
    assert answer.by_policy


def test_what_is_no_record_may_be_deleted(people: People) -> None:
    assert deletion(people, record("heartbeat", "beat"), RECORD_RIGHTS).ok
    plain = record(name="plain") | {"type": "Opaque"}
    assert deletion(people, plain, RECORD_RIGHTS).ok


def test_allowing_the_deletion_of_a_record_needs_hold_on_every_key(people: People) -> None:
    deletion(people, record(), RECORD_RIGHTS)
    patch = [{"op": "add", "path": "/metadata/annotations", "value": {ALLOW: "true"}}]
    path = path_of("secrets", RECORDS, "probe")
    for user, rights in (("somebody", [*RECORD_RIGHTS, "hold kmskeys/k"]), (OPERATOR, RECORD_RIGHTS)):
        answer = people.ask(rights, "PATCH", path, patch, user=user)
        assert answer.by_policy
        assert "the verb hold on kmskeys" in answer.message
    assert people.ask([*RECORD_RIGHTS, HOLD], "PATCH", path, patch).ok
    new = record(name="new", allow_deletion="true")
    assert people.ask(RECORD_RIGHTS, "POST", path_of("secrets", RECORDS), new).by_policy
    assert people.ask([*RECORD_RIGHTS, HOLD], "POST", path_of("secrets", RECORDS), new).ok


def test_the_namespace_of_the_records_is_deleted_by_nobody_without_the_annotation(people: People) -> None:
    path = f"/api/v1/namespaces/{RECORDS}"
    answer = people.ask([MASTER], "DELETE", path)
    assert answer.by_policy
    assert ALLOW in answer.message
    patch = [{"op": "add", "path": f"/metadata/annotations/{ALLOW.replace('/', '~1')}", "value": "true"}]
    for where in (path, f"{path}/status"):
        answer = people.ask(NAMESPACE_RIGHTS, "PATCH", where, patch)
        assert answer.by_policy, where
        assert "hold" in answer.message
        assert people.ask([*NAMESPACE_RIGHTS, HOLD], "PATCH", where, patch).ok
    assert people.ask(NAMESPACE_RIGHTS, "DELETE", "/api/v1/namespaces/abroad").ok


# Kubernetes cleans up


def test_a_terminating_namespace_is_emptied_whatever_it_holds(people: People) -> None:
    name = "ends"
    people.must("POST", "/api/v1/namespaces", {"metadata": {"name": name}})
    for key, spec in (("protected", {"deletionProtection": True}), ("scheduled", {"deletionPolicy": "ScheduleDeletion"})):
        people.must("POST", path_of("kmskeys", name), Side(spec, name=key).body("kmskeys") | {"metadata": {"name": key}})
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


def test_the_garbage_collector_is_asked_for_no_verb(people: People) -> None:
    owner = people.must("POST", path_of("secrets", TEAM), {"metadata": {"name": "owner"}})["metadata"]
    reference = {"apiVersion": "v1", "kind": "Secret", "name": "owner", "uid": owner["uid"]}
    body = Side(_grant()).body("kmsgrants")
    body["metadata"] |= {"name": "owned", "ownerReferences": [reference]}
    people.must("POST", path_of("kmsgrants", TEAM), body)
    people.must("DELETE", path_of("secrets", TEAM, "owner"))
    path = path_of("kmsgrants", TEAM, "owned")
    wait_for("the grant goes with its owner", lambda: people.ask([MASTER], "GET", path).status == 404)


# The operator's own account, as if RBAC gave it everything


def as_operator(people: People, method: str, path: str, body: object = None) -> Answer:
    return people.ask([MASTER], method, path, body, user=OPERATOR)


@pytest.mark.parametrize(("kind", "may"), [("alias-record", True), ("grant-record", True), *((kind, False) for kind in KINDS_KEPT if kind not in ("alias-record", "grant-record"))])
def test_the_operator_deletes_alias_and_grant_records_only(people: People, kind: str, may: bool) -> None:
    answer = deletion(people, record(kind, f"operator-{kind}"), [MASTER], OPERATOR)
    assert answer.ok is may, answer.message
    assert answer.by_policy is not may
    if not may:  # nor with the annotation, which is for people
        assert deletion(people, record(kind, f"operator-{kind}", allow_deletion="true"), [MASTER], OPERATOR).by_policy


def secret(kind: str = "Opaque", data: dict[str, str] | None = None, **metadata: Any) -> Object:
    return {"apiVersion": "v1", "kind": "Secret", "type": kind, "data": data or {}, "metadata": {"name": "s", **metadata}}


OURS, FOREIGN = f"{KMS}.d.ciphertext", {"password": "cA=="}
CREATES = (
    (RECORDS, "kms.keystead.io/key-record", True),
    (RECORDS, "kms.keystead.io/data-key", False),
    (RECORDS, "Opaque", False),
    (TEAM, "kms.keystead.io/data-key", True),
    (TEAM, "Opaque", False),
    (TEAM, "kms.keystead.io/key-record", False),
    ("kube-system", "kms.keystead.io/data-key", False),
    (RELEASE, "kms.keystead.io/data-key", False),
)


@pytest.mark.parametrize(("namespace", "kind", "may"), CREATES)
def test_the_operator_creates_records_there_and_data_keys_elsewhere(people: People, namespace: str, kind: str, may: bool) -> None:
    answer = as_operator(people, "POST", path_of("secrets", namespace), secret(kind))
    assert (answer.ok, answer.by_policy) == (may, not may), answer.message


WRITES: tuple[tuple[str, str, Object, bool], ...] = (
    ("our key is added", TEAM, {"data": {**FOREIGN, OURS: "YQ=="}}, True),
    ("our annotation is added", TEAM, {"metadata": {"annotations": {"a": "b", f"{KMS}/data-key-version-hash-0": "1"}}}, True),
    ("their key is changed", TEAM, {"data": {"password": "YQ=="}}, False),
    ("their key is removed", TEAM, {"data": {}}, False),
    ("another key is added", TEAM, {"data": {**FOREIGN, "other": "YQ=="}}, False),
    ("their annotation is changed", TEAM, {"metadata": {"annotations": {"a": "c"}}}, False),
    ("their annotation is removed", TEAM, {"metadata": {"annotations": {}}}, False),
    ("a label is added", TEAM, {"metadata": {"annotations": {"a": "b"}, "labels": {"x": "y"}}}, False),
    ("it is made immutable", TEAM, {"immutable": True}, False),
    ("an owner is added", TEAM, {"metadata": {"annotations": {"a": "b"}, "ownerReferences": [{"apiVersion": "v1", "kind": "Secret", "name": "x", "uid": "1"}]}}, False),
    ("our key is added in kube-system", "kube-system", {"data": {**FOREIGN, OURS: "YQ=="}}, False),
    ("our key is added in its own namespace", RELEASE, {"data": {**FOREIGN, OURS: "YQ=="}}, False),
    ("a foreign Secret among the records", RECORDS, {"data": {**FOREIGN, OURS: "YQ=="}}, False),
)


@pytest.mark.parametrize(("namespace", "change", "may"), [row[1:] for row in WRITES], ids=[row[0] for row in WRITES])
def test_the_operator_writes_into_a_secret_of_somebody_only_what_is_its_own(people: People, namespace: str, change: Object, may: bool) -> None:
    path = path_of("secrets", namespace, "s")
    people.must("DELETE", path)
    live = people.must("POST", path_of("secrets", namespace), secret(data=FOREIGN, annotations={"a": "b"}))
    changed = {**live, **change, "metadata": {**live["metadata"], **change.get("metadata", {})}}
    answer = as_operator(people, "PUT", path, changed)
    assert (answer.ok, answer.by_policy) == (may, not may), answer.message
    people.must("DELETE", path)


def test_the_operator_removes_its_key_and_deletes_no_secret_of_anybody(people: People) -> None:
    path = path_of("secrets", TEAM, "s")
    live = people.must("POST", path_of("secrets", TEAM), secret(data={**FOREIGN, OURS: "YQ=="}))
    assert as_operator(people, "PUT", path, live | {"data": FOREIGN}).ok
    assert as_operator(people, "DELETE", path).by_policy
    people.must("DELETE", path)


def test_the_operator_does_with_its_own_data_key_secret_as_it_must(people: People) -> None:
    path = path_of("secrets", TEAM, "own")
    live = people.must("POST", path_of("secrets", TEAM), secret(f"{KMS}/data-key", {"ciphertext": "YQ=="}) | {"metadata": {"name": "own"}})
    assert as_operator(people, "PUT", path, live | {"data": {"ciphertext": "Yg==", "meta.json": "e30="}, "immutable": True}).ok
    assert as_operator(people, "DELETE", path).by_policy
    people.must("DELETE", path)


def test_the_operator_changes_of_a_key_its_finalizers_only(people: People) -> None:
    live = people.must("POST", path_of("kmskeys", TEAM), Side({"description": "x"}).body("kmskeys"))
    path = path_of("kmskeys", TEAM, KEY)
    for account in ("keystead-operator", "keystead-uninstall"):
        user = f"system:serviceaccount:{RELEASE}:{account}"
        for part, value, may in (
            ("/metadata/finalizers", [f"{KMS}/in-use"], True),
            ("/metadata/labels", {"x": "y"}, False),
            ("/metadata/annotations", {f"{KMS}/hold": "released"}, False),
            ("/metadata/ownerReferences", [{"apiVersion": "v1", "kind": "Secret", "name": "x", "uid": "1"}], False),
            ("/spec/description", "y", False),
        ):
            answer = people.ask([MASTER], "PATCH", path, [{"op": "add", "path": part, "value": value}], user=user)
            assert (answer.ok, answer.by_policy) == (may, not may), f"{account} {part}: {answer.message}"
    status = [{"op": "add", "path": "/status/keyState", "value": "Enabled"}]
    assert as_operator(people, "PATCH", f"{path}/status", status).ok
    assert live["spec"]["description"] == "x"
    people.must("DELETE", path)


@pytest.mark.parametrize("resource", KINDS)
def test_the_operator_deletes_what_the_api_made_only(people: People, resource: str) -> None:
    new = next(each.after for each in CASES if each.resource == resource and each.verb == CREATE)
    assert new is not None
    body = new.body(resource)
    collection, path = path_of(resource, TEAM), path_of(resource, TEAM, body["metadata"]["name"])
    people.must("POST", collection, body)
    assert as_operator(people, "DELETE", path).by_policy
    people.must("DELETE", path)
    body["metadata"]["labels"] = {f"{KMS}/created-by": "api"}
    people.must("POST", collection, body)
    assert as_operator(people, "DELETE", path).ok is (resource != "kmsdatakeys")
    people.must("DELETE", path)
    body["metadata"]["name"] = "other"
    assert as_operator(people, "POST", collection, body).by_policy


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


def listed(cluster: Cluster, kind: str) -> dict[str, Object]:
    return {each["metadata"]["name"]: each for each in cluster.get(kind)["items"]}


def strip(body: Object) -> Object:
    """As it was applied: without what the API server adds."""
    kept = {key: body["metadata"][key] for key in ("name", "labels", "annotations") if key in body["metadata"]}
    return {"apiVersion": body["apiVersion"], "kind": body["kind"], "metadata": kept, "spec": body["spec"]}


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
