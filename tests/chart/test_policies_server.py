"""The fence around the server's own account on a real API server, as if RBAC let it do all."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.chart.admission import CASES, CREATE, KEY, KINDS, POLICY, TEAM, Case, Side
from tests.chart.people import KMS, MASTER, Answer, People, path_of
from tests.chart.policed import Object, attempt, patch_of, release, standing
from tests.chart.rights import RECORDS, RELEASE

from keystead.errors import ForbiddenError
from keystead.operations.writes import Annotate, CreateObject, DeleteObject, SetFields, SetTags, Target
from keystead.resources import names
from keystead.resources.vocabulary import ObjectKind
from keystead.store.kube import connect
from keystead.store.writes import KubeWriter

pytestmark = [pytest.mark.helm, pytest.mark.cluster]

SERVER = f"system:serviceaccount:{RELEASE}:keystead-server"
CREATED_BY = f"{KMS}/created-by"
FULL: dict[str, Any] = {
    "policy": POLICY,
    "enabled": False,
    "tags": [{"key": "a", "value": "1"}],
    "description": "x",
    "rotation": {"enabled": True},
    "scheduledDeletion": {"pendingWindowInDays": 7},
}


def as_server(people: People, method: str, path: str, body: object = None) -> Answer:
    return people.ask([MASTER], method, path, body, user=SERVER)


def made(resource: str, spec: dict[str, Any] | None = None, name: str = "", **metadata: Any) -> Object:
    """An object as the API makes it."""
    if spec is None:
        case = next(each for each in CASES if each.resource == resource and each.verb == CREATE)
        assert case.after is not None
        spec = dict(case.after.spec)
    body = Side(spec, name=name).body(resource)
    body["metadata"] |= {"labels": {CREATED_BY: "api"}} | metadata
    return body


def check(answer: Answer, may: bool, what: str) -> None:
    assert (answer.ok, answer.by_policy) == (may, not may), f"{what}: {answer.message or 'allowed'}"


@pytest.mark.parametrize("resource", KINDS)
def test_the_server_creates_what_the_api_has_and_with_its_label(people: People, resource: str) -> None:
    collection = path_of(resource, TEAM)
    check(as_server(people, "POST", collection, made(resource)), resource != "kmsdatakeys", "with the label")
    check(as_server(people, "POST", collection, made(resource, labels={})), resource == "kmskeys", "without: a key is an orphan's")
    check(as_server(people, "POST", collection, made(resource, labels={CREATED_BY: "me"})), False, "with another label")
    for bad in (
        {"annotations": {f"{KMS}/adopt": "true"}},
        {"finalizers": [f"{KMS}/in-use"]},
        {"ownerReferences": [{"apiVersion": "v1", "kind": "Secret", "name": "x", "uid": "1"}]},
    ):
        check(as_server(people, "POST", collection, made(resource, **bad)), False, str(bad))


@pytest.mark.parametrize("note", ["hold", "adopt", "allow-deletion", "new-key-after-destruction", "cancel-deletion", "rotate-requested-at"])
def test_the_server_creates_no_key_with_an_annotation(people: People, note: str) -> None:
    body = made("kmskeys", annotations={f"{KMS}/{note}": "true"})
    check(as_server(people, "POST", path_of("kmskeys", TEAM), body), False, note)


@pytest.mark.parametrize(("resource", "may"), [("kmskeys", True), ("kmsaliases", False), ("kmsgrants", False)])
def test_the_server_creates_a_key_whose_policy_closes_it_where_its_caller_bypassed_the_check(
    people: People, resource: str, may: bool
) -> None:
    body = made(resource, annotations={f"{KMS}/bypass-policy-lockout-safety-check": "true"})
    check(as_server(people, "POST", path_of(resource, TEAM), body), may, resource)


def test_the_server_creates_keys_and_orphans_keys_as_the_api_and_the_records_say(people: People) -> None:
    orphans = {**FULL, "deletionPolicy": "ScheduleDeletion", "pendingWindowInDays": 7, "keySpec": "RSA_2048", "keyUsage": "SIGN_VERIFY"}
    orphans |= {"rotation": {"enabled": False}}
    for spec, labels in ((FULL, {CREATED_BY: "api"}), (orphans, {})):
        check(as_server(people, "POST", path_of("kmskeys", TEAM), made("kmskeys", spec, labels=labels)), True, str(spec))
    for field, value in (("adoptKeyId", "mrk-0"), ("deletionProtection", True), ("deletionProtection", False), ("suspend", True)):
        check(as_server(people, "POST", path_of("kmskeys", TEAM), made("kmskeys", {field: value})), False, field)
    check(as_server(people, "POST", path_of("kmskeys", TEAM), made("kmskeys", {}, "aws-mine")), False, "aws-*")
    own = made("kmskeys", FULL, namespace=RECORDS)
    check(as_server(people, "POST", path_of("kmskeys", RECORDS), own), False, "an object in keystead-records")


SPECS = (
    *((f"{name} is set", {}, {name: value}, True) for name, value in FULL.items()),
    *((f"{name} is taken away", {name: value}, {}, True) for name, value in FULL.items()),
    ("a cancelled deletion", {"scheduledDeletion": {}}, {"enabled": False}, True),
    ("protection is lifted", {"deletionProtection": True}, {"deletionProtection": False}, False),
    ("protection is taken away", {"deletionProtection": True}, {}, False),
    ("protection is set", {}, {"deletionProtection": True}, False),
    ("the deletion policy", {}, {"deletionPolicy": "ScheduleDeletion"}, False),
    ("the waiting window", {}, {"pendingWindowInDays": 7}, False),
    ("adoption", {}, {"adoptKeyId": "mrk-0"}, False),
    ("suspend", {}, {"suspend": True}, False),
    ("what may beside what may not", {}, {"enabled": False, "deletionProtection": True}, False),
)


@pytest.mark.parametrize(("before", "after", "may"), [row[1:] for row in SPECS], ids=[row[0] for row in SPECS])
def test_the_server_changes_of_a_key_what_the_api_can_change(people: People, before: Object, after: Object, may: bool) -> None:
    case = Case("", "kmskeys", Side(before), Side(after))
    with standing(people, case):
        answer = as_server(people, "PATCH", path_of("kmskeys", TEAM, KEY), patch_of(Side(after).body("kmskeys")))
        check(answer, may, str(after))


NOTES = (
    ("a rotation is asked for", {}, {"rotate-requested-at": "now"}, True),
    ("another rotation, under a hold", {"rotate-requested-at": "1", "hold": "true"}, {"rotate-requested-at": "2", "hold": "true"}, True),
    ("a policy closes the key", {}, {"bypass-policy-lockout-safety-check": "true"}, True),
    ("a hold is set", {}, {"hold": "true"}, False),
    ("a hold is released", {"hold": "true"}, {"hold": "released"}, False),
    ("a hold is taken away", {"hold": "true"}, {}, False),
    ("a deletion is allowed", {}, {"allow-deletion": "true"}, False),
    ("a record is adopted", {}, {"adopt": "true"}, False),
    ("a new key after destruction", {}, {"new-key-after-destruction": "x"}, False),
    ("a deletion is cancelled by annotation", {}, {"cancel-deletion": "true"}, False),
    ("something beside a rotation", {}, {"rotate-requested-at": "now", "hold": "true"}, False),
)


@pytest.mark.parametrize(("before", "after", "may"), [row[1:] for row in NOTES], ids=[row[0] for row in NOTES])
def test_the_server_annotates_a_key_for_a_rotation_and_a_policy_only(
    people: People, before: dict[str, str], after: dict[str, str], may: bool
) -> None:
    case = Case("", "kmskeys", Side(annotations=before), Side(annotations=after))
    with standing(people, case):
        answer = as_server(people, "PATCH", path_of("kmskeys", TEAM, KEY), patch_of(Side(annotations=after).body("kmskeys")))
        check(answer, may, str(after))


def test_the_server_changes_no_labels_finalizers_and_owners(people: People) -> None:
    owner = {"apiVersion": "v1", "kind": "Secret", "name": "x", "uid": "1"}
    for resource in ("kmskeys", "kmsaliases", "kmsgrants"):
        body = made(resource)
        path = path_of(resource, TEAM, body["metadata"]["name"])
        people.must("POST", path_of(resource, TEAM), body)
        for part, value in (("labels", {"x": "y"}), ("finalizers", [f"{KMS}/in-use"]), ("ownerReferences", [owner])):
            patch = [{"op": "add", "path": f"/metadata/{part}", "value": value}]
            check(as_server(people, "PATCH", path, patch), False, f"{resource} {part}")
        release(people, path)


def test_the_server_retargets_an_alias_and_changes_no_more_of_it(people: People) -> None:
    body = made("kmsaliases")
    path = path_of("kmsaliases", TEAM, body["metadata"]["name"])
    people.must("POST", path_of("kmsaliases", TEAM), body)
    for part, value, may in (
        ("/spec/keyRef/name", "other", True),
        ("/spec/suspend", True, False),
        ("/metadata/annotations", {f"{KMS}/adopt": "true"}, False),
        ("/metadata/annotations", {f"{KMS}/rotate-requested-at": "now"}, False),
    ):
        check(as_server(people, "PATCH", path, [{"op": "add", "path": part, "value": value}]), may, part)
    people.must("DELETE", path)


@pytest.mark.parametrize("resource", KINDS)
def test_the_server_deletes_aliases_and_grants_whoever_made_them_and_no_key(people: People, resource: str) -> None:
    may = resource in ("kmsaliases", "kmsgrants")
    for labels in ({}, {CREATED_BY: "api"}):
        body = made(resource, labels=labels)
        path = path_of(resource, TEAM, body["metadata"]["name"])
        people.must("POST", path_of(resource, TEAM), body)
        check(as_server(people, "DELETE", path), may, f"{resource} {labels}")
        people.must("DELETE", path)


def test_a_write_of_the_server_asks_nothing_of_its_own_account(people: People) -> None:
    """It asked for its caller. With RBAC's `create` alone, and none of the verbs, it makes what the API makes."""
    rights = ("create kmskeys", "create kmsaliases", "create kmsgrants")
    for resource in ("kmskeys", "kmsaliases", "kmsgrants"):
        check(people.ask(rights, "POST", path_of(resource, TEAM), made(resource), user=SERVER), True, resource)
    case = next(each for each in CASES if each.resource == "kmsgrants" and each.verb == CREATE)
    assert attempt(people, case, rights).by_policy, "anybody else is asked"


def target(people: People, kind: ObjectKind, name: str) -> Target:
    (resource,) = (resource for resource, named in KINDS.items() if named == kind.value)
    found = people.must("GET", path_of(resource, TEAM, name))
    return Target(kind, TEAM, name, found["metadata"]["uid"])


async def test_every_write_of_the_api_passes_fence_and_rbac_under_the_servers_own_account(people: People) -> None:
    """By the writer that the server has. What it then has of rights is the chart's, not a test's."""
    kubeconfig: Path = people.cluster.service_account_kubeconfig(RELEASE, "keystead-server")
    kube = await connect(kubeconfig, "server")
    writer = KubeWriter(kube)
    try:
        spec = {"region": "cluster-1", "keySpec": "SYMMETRIC_DEFAULT", "keyUsage": "ENCRYPT_DECRYPT", "policy": POLICY}
        await writer.write(CreateObject(ObjectKind.KEY, TEAM, "key-api", spec))
        key = target(people, ObjectKind.KEY, "key-api")
        for name, value in FULL.items():
            if name != "tags":
                await writer.write(SetFields(key, {name: value}))
        await writer.write(SetFields(key, {"scheduledDeletion": None, "enabled": False}))
        await writer.write(SetTags(key, {"a": "1", "b": "2"}))
        await writer.write(SetTags(key, {}, frozenset({"a"})))
        await writer.write(Annotate(key, {names.ROTATE_REQUESTED_AT: "now"}))
        orphan = made("kmskeys", {"keySpec": "RSA_2048", "keyUsage": "SIGN_VERIFY", "enabled": False}, "orphan", labels={})
        await writer.write(SetFields(Target(ObjectKind.KEY, TEAM, "orphan", ""), {"enabled": False}, orphan))
        alias = {"aliasName": "alias/api", "keyRef": {"name": "key-api"}}
        await writer.write(CreateObject(ObjectKind.ALIAS, TEAM, "alias-api", alias))
        await writer.write(SetFields(target(people, ObjectKind.ALIAS, "alias-api"), {"keyRef": {"name": "orphan"}}))
        await writer.write(CreateObject(ObjectKind.GRANT, TEAM, "grant-api", made("kmsgrants")["spec"]))
        for kind, name in ((ObjectKind.ALIAS, "alias-api"), (ObjectKind.GRANT, "grant-api")):
            await writer.write(DeleteObject(target(people, kind, name)))
        with pytest.raises(ForbiddenError, match="deletes no KmsKey"):
            await writer.write(DeleteObject(key))
    finally:
        await kube.close()
        for name in ("key-api", "orphan"):
            release(people, path_of("kmskeys", TEAM, name))


MAPS = (
    (RELEASE, "keystead-usage-0", CREATE, True),
    (RELEASE, "keystead-usage-0", "update", True),
    (RELEASE, "keystead-pin-refused", "update", True),
    (RELEASE, "keystead-pin-refused", CREATE, False),
    (RELEASE, "keystead-ca", "update", False),
    (RELEASE, "some", CREATE, False),
    (RECORDS, "keystead-usage-0", CREATE, False),
    (TEAM, "keystead-usage-0", CREATE, False),
    ("kube-system", "keystead-usage-0", CREATE, False),
)


@pytest.mark.parametrize(("namespace", "name", "verb", "may"), MAPS)
def test_the_server_writes_its_config_maps_only(people: People, namespace: str, name: str, verb: str, may: bool) -> None:
    collection, path = path_of("configmaps", namespace), path_of("configmaps", namespace, name)
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": namespace}, "data": {"a": "b"}}
    if verb == CREATE:
        if name == "keystead-pin-refused":  # the chart's; a dry run cannot make it twice
            body["metadata"] = {"generateName": "keystead-pin-refused", "namespace": namespace}
        check(as_server(people, "POST", collection, body), may, "create")
        return
    if there := not people.ask([MASTER], "GET", path).ok:
        people.must("POST", collection, body)
    patch = [{"op": "add", "path": "/data", "value": {"a": "c"}}]
    check(as_server(people, "PATCH", path, patch), may, "update")
    if there:
        people.must("DELETE", path)
