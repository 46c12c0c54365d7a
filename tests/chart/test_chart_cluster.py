"""The chart on a real API server: warnings, Pod security, rights, and what stays after an uninstall."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from tests.chart import rights
from tests.chart.leftovers import delete_namespaces, remove_kept
from tests.chart.rendering import CHART, EXTERNAL, JOB, Object, Renderer, containers, of_kind, one, pod_templates
from tests.chart.rights import ANY, RECORDS, RELEASE, Grant
from tests.cluster.cluster import Cluster, CommandError

pytestmark = [pytest.mark.helm, pytest.mark.powers("disposable")]

TARGET = "chart-target"  # a namespace with data keys
OTHER = "chart-other"  # one without
RESTRICTED = {f"pod-security.kubernetes.io/{mode}": "restricted" for mode in ("enforce", "audit", "warn")}
INSTALL = (*EXTERNAL, f"dataKeys.namespaces={{{TARGET}}}")
RECORD = {
    "apiVersion": "v1",
    "kind": "Secret",
    "type": "kms.keystead.io/key-record",
    "metadata": {"name": "key-0", "namespace": RECORDS},
}


def namespace(name: str, labels: dict[str, str] | None = None) -> Object:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels or {}}}


def flags(*sets: str) -> list[str]:
    return [f"--set={one}" for one in sets]


def install(cluster: Cluster, *sets: str, timeout: str = "60s") -> str:
    where = ["--namespace", RELEASE, "--create-namespace", "--timeout", timeout]
    return cluster.helm("install", "keystead", str(CHART), *where, *flags(*sets))


def upgrade(cluster: Cluster, *sets: str) -> str:
    return cluster.helm("upgrade", "keystead", str(CHART), "--namespace", RELEASE, *flags(*sets))


def uninstall(cluster: Cluster) -> str:
    """Without the pre-delete hook: no node could run its Job (test_chart_uninstall.py runs it)."""
    return cluster.helm("uninstall", "keystead", "--namespace", RELEASE, "--ignore-not-found", "--wait", "--no-hooks")


def uid(cluster: Cluster, *what: str) -> str:
    return str(cluster.get(*what)["metadata"]["uid"])


@pytest.fixture(scope="module")
def shared(cluster: Cluster) -> Iterator[Cluster]:
    """The target namespaces; at the end nothing of the chart is left, the kept parts included."""
    cluster.apply(namespace(TARGET), namespace(OTHER), namespace(RELEASE))
    yield cluster
    remove_kept(cluster, TARGET, OTHER)


@pytest.fixture
def ground(shared: Cluster) -> Iterator[Cluster]:
    """Nothing is installed; CRDs and the records' namespace may be left of an earlier release of the same name."""
    yield shared
    uninstall(shared)
    shared.kubectl("delete", "secrets,jobs,configmaps,serviceaccounts", "--all", "--namespace", RELEASE)


@pytest.fixture
def fresh(ground: Cluster) -> Iterator[Cluster]:
    """No records' namespace either, before and after. Slower: Kubernetes takes seconds to end a namespace."""
    delete_namespaces(ground, RECORDS)
    yield ground
    uninstall(ground)
    delete_namespaces(ground, RECORDS)


def dry_run(cluster: Cluster, *objects: Object) -> str:
    """Server-side; a warning is an error."""
    command = ("apply", "--server-side", "--dry-run=server", "--warnings-as-errors", "-f", "-")
    return cluster.kubectl(*command, stdin=yaml.safe_dump_all(objects))


@pytest.mark.parametrize("setup", [INSTALL, (*JOB, INSTALL[-1])], ids=["external", "job"])
def test_everything_is_accepted_in_a_restricted_namespace_without_a_warning(
    fresh: Cluster, render: Renderer, setup: tuple[str, ...]
) -> None:
    fresh.apply(namespace(RELEASE, RESTRICTED), namespace(RECORDS, RESTRICTED))
    objects = render(*setup)
    said = dry_run(fresh, *objects)
    assert said.count("serverside-applied (server dry run)") == len(objects)


def test_the_pods_themselves_are_admitted_as_restricted(ground: Cluster, render: Renderer) -> None:
    ground.apply(namespace(RELEASE, RESTRICTED))
    objects = render(*JOB)
    ground.apply(*of_kind(objects, "ServiceAccount"))
    for name, spec in pod_templates(objects).items():
        metadata = {"name": name.lower().replace("/", "-"), "namespace": RELEASE}
        dry_run(ground, {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec})


def test_the_dry_run_would_show_a_warning(ground: Cluster, render: Renderer) -> None:
    """The test above bites: the same Deployment without its security context is warned of."""
    ground.apply(namespace(RELEASE, RESTRICTED))
    deployment = one(render(*EXTERNAL), "Deployment", "keystead-server")
    pod = deployment["spec"]["template"]["spec"]
    for each in (pod, *containers(pod)):
        each.pop("securityContext")
    with pytest.raises(CommandError, match="PodSecurity"):
        dry_run(ground, deployment)


def test_uninstall_keeps_crds_and_records_and_install_takes_them_back(fresh: Cluster) -> None:
    install(fresh, *INSTALL)
    fresh.apply(RECORD)
    kept = [("namespace", RECORDS), ("secret", "key-0", "--namespace", RECORDS)]
    kept += [("customresourcedefinition", f"{kind}.{rights.KMS}") for kind in rights.KINDS]
    before = [uid(fresh, *what) for what in kept]
    uninstall(fresh)
    assert [uid(fresh, *what) for what in kept] == before
    for gone in (("deployment", "keystead-operator"), ("deployment", "keystead-server"), ("configmap", "keystead-pin-refused")):
        with pytest.raises(CommandError, match="NotFound"):
            fresh.get(*gone, "--namespace", RELEASE)
    with pytest.raises(CommandError, match="NotFound"):
        fresh.get("role", "keystead-operator-records", "--namespace", RECORDS)
    install(fresh, *INSTALL)
    assert [uid(fresh, *what) for what in kept] == before


def test_the_heartbeat_keeps_what_is_written_into_it(ground: Cluster) -> None:
    """Through an upgrade, and through an uninstall and a new installation."""
    install(ground, *INSTALL)
    where = ("secret", "heartbeat", "--namespace", RECORDS)
    ground.kubectl("patch", *where, "--type=merge", "-p", '{"data":{"seq":"Nw=="}}')
    before = uid(ground, *where)
    for again in (
        lambda: upgrade(ground, *INSTALL, "operator.replicas=3"),
        lambda: uninstall(ground),
        lambda: install(ground, *INSTALL),
    ):
        again()
        secret = ground.get(*where)
        assert (secret["metadata"]["uid"], secret["data"]) == (before, {"seq": "Nw=="})


def test_a_self_made_certificate_is_made_once(ground: Cluster) -> None:
    """Through upgrades, an uninstall and a new installation: a client that trusts keystead-ca goes on. And later revisions hold no key."""
    install(ground, *INSTALL)
    tls = ("secret", "keystead-server-tls", "--namespace", RELEASE)
    made = ground.get(*tls)
    authority = base64.b64decode(made["data"]["ca.crt"]).decode()
    for again in (
        lambda: upgrade(ground, *INSTALL, "server.replicas=3"),
        lambda: upgrade(ground, *INSTALL),
        lambda: uninstall(ground),
        lambda: install(ground, *INSTALL),
    ):
        again()
        now = ground.get(*tls)
        assert (now["metadata"]["uid"], now["data"]) == (made["metadata"]["uid"], made["data"])
    assert ground.get("configmap", "keystead-ca", "--namespace", RELEASE)["data"]["ca.crt"].strip() == authority.strip()
    assert "tls.key:" not in ground.helm("get", "manifest", "keystead", "--namespace", RELEASE)


def test_a_self_made_certificate_that_was_deleted_is_made_again_with_its_ca(ground: Cluster) -> None:
    install(ground, *INSTALL)
    tls = ("secret", "keystead-server-tls", "--namespace", RELEASE)
    before = ground.get(*tls)["data"]
    upgrade(ground, *INSTALL)
    ground.kubectl("delete", *tls)
    upgrade(ground, *INSTALL)
    after = ground.get(*tls)["data"]
    assert not before.items() & after.items()
    trusted = ground.get("configmap", "keystead-ca", "--namespace", RELEASE)["data"]["ca.crt"]
    assert trusted.strip() == base64.b64decode(after["ca.crt"]).decode().strip()


def test_install_again_into_a_new_release_namespace_of_the_same_name(ground: Cluster) -> None:
    install(ground, *INSTALL)
    before = uid(ground, "namespace", RECORDS)
    uninstall(ground)
    ground.kubectl("delete", "namespace", RELEASE, "--wait")
    install(ground, *INSTALL)
    assert uid(ground, "namespace", RECORDS) == before


def test_an_upgrade_keeps_the_pin_marker_and_changes_the_deployment(ground: Cluster) -> None:
    install(ground, *INSTALL)
    patch = '{"data":{"resourceVersion":"77"}}'
    ground.kubectl("patch", "configmap", "keystead-pin-refused", "--namespace", RELEASE, "--type=merge", "-p", patch)
    upgrade(ground, *INSTALL, "operator.replicas=3")
    assert ground.get("configmap", "keystead-pin-refused", "--namespace", RELEASE)["data"] == {"resourceVersion": "77"}
    assert ground.get("deployment", "keystead-operator", "--namespace", RELEASE)["spec"]["replicas"] == 3


def test_an_upgrade_to_an_external_ceremony_and_back_keeps_the_namespace(fresh: Cluster) -> None:
    """The namespace changes between hook and release; it must be the same one, and be owned."""
    fresh.apply(namespace(RELEASE))
    with pytest.raises(CommandError, match="pre-install"):
        install(fresh, *JOB, timeout="3s")  # no node: the Job cannot end
    before = uid(fresh, "namespace", RECORDS)
    fresh.apply(RECORD)
    uninstall(fresh)
    install(fresh, *INSTALL)
    upgrade(fresh, *JOB)
    upgrade(fresh, *INSTALL)
    assert uid(fresh, "namespace", RECORDS) == before
    uninstall(fresh)
    assert uid(fresh, "namespace", RECORDS) == before
    assert fresh.get("secret", "key-0", "--namespace", RECORDS)


def test_a_second_try_of_the_ceremony_never_deletes_records(fresh: Cluster) -> None:
    for _ in range(2):
        with pytest.raises(CommandError, match="pre-install"):
            install(fresh, *JOB, timeout="3s")
        fresh.apply(RECORD)
        before = uid(fresh, "secret", RECORD["metadata"]["name"], "--namespace", RECORDS)
        uninstall(fresh)
        assert uid(fresh, "secret", RECORD["metadata"]["name"], "--namespace", RECORDS) == before


def test_a_failed_ceremony_leaves_no_rights_behind(fresh: Cluster) -> None:
    with pytest.raises(CommandError, match="pre-install"):
        install(fresh, *JOB, timeout="3s")
    for where in (RELEASE, RECORDS):
        assert not fresh.get("roles,rolebindings", "--namespace", where)["items"]
    assert fresh.get("job", "keystead-hsm-init", "--namespace", RELEASE)


def secret(name: str, where: str) -> Object:
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "namespace": where}}


def test_a_domain_without_its_token_is_never_made_anew(fresh: Cluster) -> None:
    fresh.apply(namespace(RECORDS))
    fresh.apply(secret("install", RECORDS))
    with pytest.raises(CommandError, match="Restore the token from the domain backup"):
        install(fresh, *JOB, "records.createNamespace=false")


def test_a_token_that_is_there_needs_no_ceremony(ground: Cluster) -> None:
    ground.apply(namespace(RELEASE))
    ground.apply(secret("keystead-token", RELEASE))
    install(ground, *JOB)
    assert not ground.get("jobs", "--namespace", RELEASE)["items"]


def allowed(cluster: Cluster, account: str, grants: list[Grant]) -> list[Grant]:
    """Which of these the API server itself would allow, by SubjectAccessReviews."""
    reviews = yaml.safe_dump_all([review(account, grant) for grant in grants])
    answers = cluster.kubectl("create", "-f", "-", "-o", "jsonpath={.status.allowed};", stdin=reviews)
    words = answers.replace("\n", "").split(";")[:-1]
    return [grant for grant, word in zip(grants, words, strict=True) if word == "true"]


def review(account: str, grant: Grant) -> Object:
    """One question; for ANY it asks of a namespace and a name that nothing else mentions."""
    resource, _, subresource = grant.resource.partition("/")
    attributes: dict[str, Any] = {"group": grant.group, "resource": resource, "verb": grant.verb}
    attributes |= {"subresource": subresource} if subresource else {}
    attributes |= {"namespace": OTHER if grant.namespace == ANY else grant.namespace}
    attributes |= {"name": "some" if grant.name == ANY else grant.name}
    user = f"system:serviceaccount:{RELEASE}:{account}"
    spec = {"user": user, "resourceAttributes": attributes}
    return {"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "spec": spec}


DENIED = [
    *(
        Grant("", "secrets", verb, OTHER, "some")
        for verb in ("get", "list", "watch", "create", "update", "patch", "delete")
    ),
    *(Grant("", "secrets", verb, TARGET, "some") for verb in ("list", "watch", "update", "delete")),
    *(Grant("", "secrets", verb, RECORDS, "some") for verb in ("patch", "deletecollection")),
    Grant("", "secrets", "get", RELEASE, "keystead-token"),
    Grant("", "secrets", "list", RELEASE, "some"),
    Grant("", "secrets", "update", RELEASE, "keystead-pin"),
    Grant("", "configmaps", "get", RELEASE, "kube-root-ca.crt"),
    Grant("", "namespaces", "list", ANY, ANY),
    Grant("coordination.k8s.io", "leases", "update", RELEASE, "another"),
    *(Grant(rights.KMS, "kmskeys", verb, TARGET, "some") for verb in ("update", "deletecollection")),
    *(Grant(rights.KMS, kind, "create", TARGET, "some") for kind in ("kmsaliases", "kmsgrants", "kmsdatakeys")),
    *(Grant(rights.KMS, kind, "patch", TARGET, "some") for kind in ("kmsaliases", "kmsgrants", "kmsdatakeys")),
    Grant(rights.KMS, "kmsdatakeys", "delete", TARGET, "some"),
    Grant("", "events", "patch", TARGET, "some"),
    Grant("", "namespaces", "delete", RECORDS, RECORDS),
    Grant(rights.KMS, "kmskeys", "decrypt", TARGET, "some"),
    Grant("apiextensions.k8s.io", "customresourcedefinitions", "list", ANY, ANY),
    Grant("", "pods", "list", TARGET, "some"),
]


def test_the_api_server_grants_the_table_and_denies_what_is_beside_it(ground: Cluster) -> None:
    install(ground, *INSTALL)
    granted = sorted(rights.grants(rights.OPERATOR, data_keys=(TARGET,)))
    assert allowed(ground, "keystead-operator", granted) == granted
    assert allowed(ground, "keystead-operator", DENIED) == []


SERVER_DENIED = [
    *(Grant("", "secrets", verb, OTHER, "some") for verb in ("get", "list", "watch", "create", "update", "patch", "delete")),
    *(Grant("", "secrets", verb, TARGET, "some") for verb in ("get", "create", "patch")),
    *(Grant("", "secrets", verb, RELEASE, "keystead-pin") for verb in ("list", "watch", "create", "update", "patch", "delete")),
    *(Grant("", "secrets", "get", RELEASE, name) for name in ("keystead-token", "keystead-recovery-key", "keystead-server-tls")),
    *(Grant("", "secrets", verb, RECORDS, "key-0") for verb in ("create", "update", "patch", "delete", "deletecollection")),
    *(Grant("", "secrets", verb, RECORDS, "heartbeat") for verb in ("create", "patch", "delete")),
    *(Grant(rights.KMS, f"{kind}/status", verb, TARGET, "some") for kind in rights.KINDS for verb in ("get", "update", "patch")),
    *(Grant(rights.KMS, kind, verb, TARGET, "some") for kind in rights.API_MADE_KINDS for verb in ("watch", "update", "deletecollection")),
    *(Grant(rights.KMS, "kmsdatakeys", verb, TARGET, "some") for verb in ("get", "list", "create", "patch", "delete")),
    *(Grant(rights.KMS, "kmskeys", verb, TARGET, "some") for verb in ("decrypt", "createkey", "hold", "adopt")),
    *(Grant("", "configmaps", verb, RELEASE, "keystead-usage-0") for verb in ("get", "patch", "delete", "deletecollection", "watch")),
    *(Grant("", "configmaps", verb, where, "some") for verb in ("get", "create") for where in (RECORDS, TARGET, "kube-system")),
    *(Grant("", kind, "list", ANY, ANY) for kind in ("namespaces", "serviceaccounts")),
    Grant("", "serviceaccounts/token", "create", TARGET, "some"),
    *(Grant("", "serviceaccounts", verb, TARGET, "some") for verb in ("create", "patch", "impersonate")),
    *(Grant("", kind, "impersonate", ANY, ANY) for kind in ("users", "groups")),
    *(Grant("coordination.k8s.io", "leases", verb, RELEASE, "keystead-operator") for verb in ("get", "update", "create")),
    Grant("", "events", "create", TARGET, "some"),
    Grant("", "pods", "list", RELEASE, "some"),
    Grant("apiextensions.k8s.io", "customresourcedefinitions", "get", ANY, "kmskeys.kms.keystead.io"),
    Grant("rbac.authorization.k8s.io", "clusterroles", "bind", ANY, "keystead-key-user"),
]


def test_the_api_server_grants_the_server_its_table_and_denies_what_is_beside_it(ground: Cluster) -> None:
    """One SubjectAccessReview for each right; and `use` of a key it has none, so it can act for nobody but its callers."""
    install(ground, *INSTALL)
    granted = sorted(rights.grants(rights.SERVER))
    assert allowed(ground, "keystead-server", granted) == granted
    assert allowed(ground, "keystead-server", SERVER_DENIED) == []


# How Kubernetes' own roles build on each other, and ours with them.
ROLES = {"view": ("view",), "edit": ("view", "edit"), "admin": ("view", "edit", "admin")}
# One thing each that somebody could wrongly be allowed; the whole lists are compared too.
MAY = {
    "view": {"get"},
    "edit": {"get", "create", "createkey", "generatedatakeywithoutplaintext"},
    "admin": {"get", "create", "createkey", "generatedatakeywithoutplaintext", "putkeypolicy", "creategrant"},
}
ASKED = (*sorted(MAY["admin"]), "generatedatakey", "encrypt", "decrypt", "sign", "hold", "adopt", "audit")


@pytest.fixture
def people(ground: Cluster) -> Cluster:
    """The chart, and users of the name of the role that they have in TARGET."""
    install(ground, *INSTALL)
    for user in ROLES:
        binding = ("rolebinding", f"chart-{user}", f"--clusterrole={user}", f"--user={user}")
        wanted = ground.kubectl("create", *binding, "--namespace", TARGET, "--dry-run=client", "-o", "yaml")
        ground.kubectl("apply", "--server-side", "-f", "-", stdin=wanted)
    return ground


def may(cluster: Cluster, user: str, verb: str, *what: str) -> bool:
    """What `kubectl auth can-i` says."""
    try:
        return cluster.kubectl("auth", "can-i", verb, *what, "-n", TARGET, "--as", user).strip() == "yes"
    except CommandError:  # "no" is exit code 1
        return False


def test_people_may_manage_keys_by_their_role_and_use_none(people: Cluster) -> None:
    keys = f"kmskeys.{rights.KMS}"
    assert {user: {verb for verb in ASKED if may(people, user, verb, keys)} for user in ROLES} == MAY
    bind = ("bind", "clusterroles.rbac.authorization.k8s.io/keystead-key-user")
    assert [user for user in ROLES if may(people, user, *bind)] == ["admin"]
    assert not may(people, "admin", "bind", "clusterroles.rbac.authorization.k8s.io/keystead-auditor")


def test_roles_of_kubernetes_hold_exactly_the_verbs_of_the_table(people: Cluster) -> None:
    for user, roles in ROLES.items():
        expected: dict[str, set[str]] = {}
        for role in roles:
            for (group, resource, _), verbs in rights.PEOPLE[f"keystead-{role}"][1].items():
                if group == rights.KMS:
                    expected.setdefault(resource, set()).update(verbs)
        assert listed(people, user) == expected, user


def listed(cluster: Cluster, user: str) -> dict[str, set[str]]:
    """Resource of ours -> verbs, as the API server lists a user's rights."""
    text = cluster.kubectl("auth", "can-i", "--list", "-n", TARGET, "--as", user, "--no-headers")
    found: dict[str, set[str]] = {}
    for line in text.splitlines():
        resource, _, group = line.split()[0].partition(".")
        if group == rights.KMS:
            found.setdefault(resource, set()).update(line[line.rindex("[") + 1 : line.rindex("]")].split())
    return found


def test_the_notes_say_what_to_do_and_what_is_risked(ground: Cluster) -> None:
    notes = install(ground, *INSTALL)
    assert "keystead hsm init --softhsm-dir ./token --to-cluster" in notes
    assert "WARNING (hsm.softhsm.acceptRisk)" in notes
