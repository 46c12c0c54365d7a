"""The fences on a real API server: around the records, for everybody, and around the operator's own account, as if RBAC let it do all."""

from __future__ import annotations

from typing import Any

import pytest
from tests.chart.admission import CASES, CREATE, KEY, KINDS, TEAM, Side
from tests.chart.people import KMS, MASTER, Answer, People, path_of
from tests.chart.policed import (
    ALLOW,
    COLLECTOR,
    HOLD,
    NAMESPACE_RIGHTS,
    OPERATOR,
    RECORD_RIGHTS,
    Object,
    deletion,
    record,
)
from tests.chart.rights import RECORDS, RELEASE

pytestmark = [pytest.mark.helm, pytest.mark.cluster]

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


# The operator's own account, as if RBAC gave it everything


def as_operator(people: People, method: str, path: str, body: object = None) -> Answer:
    return people.ask([MASTER], method, path, body, user=OPERATOR)


@pytest.mark.parametrize("kind", KINDS_KEPT)
def test_the_operator_deletes_alias_and_grant_records_only(people: People, kind: str) -> None:
    may = kind in ("alias-record", "grant-record")
    answer = deletion(people, record(kind, f"operator-{kind}"), [MASTER], OPERATOR)
    assert answer.ok is may, answer.message
    assert answer.by_policy is not may
    if not may:  # nor with the annotation, which is for people
        assert deletion(people, record(kind, f"operator-{kind}", allow_deletion="true"), [MASTER], OPERATOR).by_policy


def secret(kind: str = "Opaque", data: dict[str, str] | None = None, **metadata: Any) -> Object:
    return {"apiVersion": "v1", "kind": "Secret", "type": kind, "data": data or {}, "metadata": {"name": "s", **metadata}}


OWNER = {"apiVersion": "v1", "kind": "Secret", "name": "x", "uid": "1"}
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
    ("an owner is added", TEAM, {"metadata": {"annotations": {"a": "b"}, "ownerReferences": [OWNER]}}, False),
    ("our key is added in kube-system", "kube-system", {"data": {**FOREIGN, OURS: "YQ=="}}, False),
    ("our key is added in its own namespace", RELEASE, {"data": {**FOREIGN, OURS: "YQ=="}}, False),
    ("a foreign Secret among the records", RECORDS, {"data": {**FOREIGN, OURS: "YQ=="}}, False),
)


@pytest.mark.parametrize(("namespace", "change", "may"), [row[1:] for row in WRITES], ids=[row[0] for row in WRITES])
def test_the_operator_writes_into_somebodys_secret_only_its_own(people: People, namespace: str, change: Object, may: bool) -> None:
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
            ("/metadata/ownerReferences", [OWNER], False),
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
