"""A cluster of its own with the chart's admission policies, and the writes that tests try in it.

Of its own, because policies and CRDs are deleted here. Fields that a later version makes available are asked about already: their `not
available` rules are taken out of this cluster's CRDs, or the schema would refuse before a policy is asked. Writes are dry runs.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from tests.chart.admission import ABROAD, CASES, CREATE, DELETE, KINDS, TEAM, Case, Side
from tests.chart.people import EVERYWHERE, KMS, MASTER, Answer, People, path_of
from tests.chart.rendering import CHART, EXTERNAL
from tests.chart.rights import RECORDS, RELEASE
from tests.cluster.cluster import Cluster
from tests.cluster.kinds import built
from tests.operator.harness import wait_for

POLICIES = ("validatingadmissionpolicies", "validatingadmissionpolicybindings")
HOLD, ALLOW = f"hold kmskeys {EVERYWHERE}", f"{KMS}/allow-deletion"
_LIFTED = re.compile("not available|reserved for Keystead")
OPERATOR = f"system:serviceaccount:{RELEASE}:keystead-operator"
COLLECTOR = "system:serviceaccount:kube-system:generic-garbage-collector"
CRUD = tuple(f"{verb} {kind}" for verb in (CREATE, "patch", DELETE) for kind in KINDS)
RECORD_RIGHTS = tuple(f"{verb} secrets in {RECORDS}" for verb in (CREATE, "patch", DELETE, "deletecollection"))
NAMESPACE_RIGHTS = tuple(f"{what} {EVERYWHERE}" for what in ("patch namespaces", "delete namespaces", "patch namespaces+status"))
STATUS = "patch kmskeys+status"
Object = dict[str, Any]


@contextmanager
def policed() -> Iterator[People]:
    """The cluster, with every right that a test gives to somebody."""
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
        node.update({"x-kubernetes-validations": kept} if kept else {})
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
    metadata = {f"/metadata/{member}": body["metadata"].get(member, {}) for member in ("annotations", "labels")}
    return [{"op": "add", "path": path, "value": value} for path, value in {"/spec": body["spec"], **metadata}.items()]


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


def listed(cluster: Cluster, kind: str) -> dict[str, Object]:
    return {each["metadata"]["name"]: each for each in cluster.get(kind)["items"]}


def strip(body: Object) -> Object:
    """As it was applied: without what the API server adds."""
    kept = {key: body["metadata"][key] for key in ("name", "labels", "annotations") if key in body["metadata"]}
    return {"apiVersion": body["apiVersion"], "kind": body["kind"], "metadata": kept, "spec": body["spec"]}


