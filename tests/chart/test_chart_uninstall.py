"""The end of an installation and a new beginning, on a cluster of its own: the pre-delete hook, and what the records are worth after it.

No node runs here, so the hook's command is run as its Job would run it: the Job's arguments and settings, under the ServiceAccount and
the rights that the chart gives it.
"""

from __future__ import annotations

import asyncio
import dataclasses
import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from tests.chart import rights
from tests.chart.rendering import EXTERNAL, Renderer, containers, of_kind, pod_templates
from tests.cluster import kinds
from tests.cluster.flags import Options
from tests.operator import harness
from tests.operator.chaos import ChaosProxy
from tests.operator.direct import Direct, path_of
from tests.operator.faults import Forward, Reply
from tests.operator.harness import SYSTEM, Installation, wait_for, wait_reason
from tests.operator.opener import opened

pytestmark = [pytest.mark.helm, pytest.mark.token]

ACCOUNT = "keystead-uninstall"
TEAM = "team-a"
IN_USE = "kms.keystead.io/in-use"
OTHER = ("example.com/before", "example.com/after")
LEASE = {"lease_duration": "4", "renew_deadline": "3", "retry_period": "0.5"}
FAST = {"renew_deadline": "1", "retry_period": "0.2"}  # where no operator runs
FENCED = 3


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """Keystead, and a domain."""
    with kinds.built(Options(audit=True)) as cluster:
        yield harness.install(cluster, Path(tmp_path_factory.mktemp("uninstall")) / "install", (TEAM,))


@pytest.fixture
def hook(installed: Installation, render: Renderer) -> Iterator[Installation]:
    """The hook's account and rights are there, as while `helm uninstall` runs, and no longer."""
    objects = of_kind(render(*EXTERNAL), "ServiceAccount", "Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding")
    made = [each for each in objects if each["metadata"]["name"] == ACCOUNT]
    installed.cluster.apply(*made)
    yield installed
    for each in made:
        namespace = each["metadata"].get("namespace")
        where = ("-n", namespace) if namespace else ()
        installed.cluster.kubectl("delete", "--ignore-not-found", each["kind"].lower(), ACCOUNT, *where)


def run_hook(installed: Installation, render: Renderer, server: str | None = None, **lease: str) -> str:
    """What the Job's container does; what it said."""
    (container,) = containers(pod_templates(render(*EXTERNAL))[f"Job/{ACCOUNT}"])
    kubeconfig = installed.cluster.service_account_kubeconfig(SYSTEM, ACCOUNT, server)
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("KEYSTEAD_", "SOFTHSM2_"))}
    environment |= {each["name"]: each.get("value", SYSTEM) for each in container["env"]}
    environment |= {f"KEYSTEAD_{name.upper()}": value for name, value in lease.items()}
    environment |= {"KEYSTEAD_KUBECONFIG": str(kubeconfig), "PYTHONPATH": str(installed.code)}
    command = [sys.executable, "-m", "keystead", *container["args"]]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stderr


def finalizers(direct: Direct) -> dict[str, list[str]]:
    """Name -> finalizers of the team's keys that have any."""
    items = direct.get(path_of("KmsKey", TEAM))["items"]
    return {each["metadata"]["name"]: held for each in items if (held := each["metadata"].get("finalizers"))}


def lease(direct: Direct) -> Any:
    return direct.get(f"/apis/coordination.k8s.io/v1/namespaces/{SYSTEM}/leases/keystead-operator")


def a_key(name: str, *held: str) -> dict[str, Any]:
    body = harness.key(TEAM, name)
    return body | {"metadata": body["metadata"] | {"finalizers": list(held)}}


def test_the_hook_leaves_no_finalizer_of_ours_and_those_of_others(hook: Installation, render: Renderer) -> None:
    """More keys than a page, one that waits for its deletion, and one that changes under the hook's hands."""
    direct = Direct(hook.cluster)
    try:
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(direct.create, [a_key(f"k-{number:03}") for number in range(501)]))
        direct.create(a_key("a-changed", OTHER[0], IN_USE, OTHER[1]))
        direct.create(a_key("z-foreign", *OTHER))
        direct.create(a_key("z-waiting", IN_USE))
        direct.call("DELETE", path_of("KmsKey", TEAM, "z-waiting"))
        direct.call("POST", f"/apis/coordination.k8s.io/v1/namespaces/{SYSTEM}/leases", somebody_leads())

        async def meanwhile(forward: Forward) -> Reply:
            changed = {"metadata": {"finalizers": [IN_USE, OTHER[1]]}}
            await asyncio.to_thread(direct.merge, path_of("KmsKey", TEAM, "a-changed"), changed)
            return await forward()

        with ChaosProxy(hook.cluster) as proxy:
            rule = proxy.rule(lambda request: request.method == "PATCH" and request.path.endswith("/a-changed"), meanwhile)
            said = run_hook(hook, render, proxy.url, **FAST)
        assert (rule.hits, said) == (1, "released: 2 of 504 keys had the finalizer kms.keystead.io/in-use\n")
        assert finalizers(direct) == {"a-changed": [OTHER[1]], "z-foreign": list(OTHER)}
        assert direct.object("KmsKey", TEAM, "z-waiting") is None
        spec = lease(direct)["spec"]
        assert spec["holderIdentity"].startswith("keystead-uninstall-")
        assert spec["leaseTransitions"] == 8, "above the one before: a transition is never used twice"
        assert "released: 0 of 503 keys" in run_hook(hook, render, **FAST)
        assert used(hook) == rights.grants(rights.UNINSTALL)
    finally:
        for name in finalizers(direct):
            direct.merge(path_of("KmsKey", TEAM, name), {"metadata": {"finalizers": None}})
        direct.call("DELETE", path_of("KmsKey", TEAM))


def somebody_leads() -> dict[str, Any]:
    """A Lease that is held, and not renewed any more."""
    spec = {"holderIdentity": "somebody", "leaseDurationSeconds": 15, "leaseTransitions": 7}
    return {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {"name": "keystead-operator"},
        "spec": spec,
    }


def used(installed: Installation) -> set[rights.Grant]:
    """What the account's requests made use of; a forbidden one is an error."""
    name = f"system:serviceaccount:{SYSTEM}:{ACCOUNT}"
    events = [each for each in installed.cluster.audit_events() if each["user"].get("username") == name]
    assert not [each["requestURI"] for each in events if each["responseStatus"]["code"] == 403]
    granted = rights.grants(rights.UNINSTALL)
    return {grant for event in events for grant in rights.used_by(granted, event)}


def test_after_uninstall_and_a_new_release_namespace_the_backup_brings_every_key_back(
    hook: Installation, render: Renderer
) -> None:
    """The operator leads while the hook runs: it must not put the finalizer back. Then all but the records is gone, and comes back."""
    cluster, direct = hook.cluster, Direct(hook.cluster)
    with hook.operator("before", **LEASE) as operator:
        operator.wait_ready()
        operator.wait_leading()
        cluster.apply(harness.key(TEAM, "orders", deletionPolicy="ScheduleDeletion"))
        cluster.apply(harness.data_key(TEAM, "orders-db", "orders", "orders-db", encryptionContext={"app": "orders"}))
        wait_reason(cluster, "kmsdatakey", TEAM, "orders-db", "Available")
        before = wait_reason(cluster, "kmskey", TEAM, "orders", "Available")
        wait_for("the finalizer of a key in use", lambda: finalizers(direct) == {"orders": [IN_USE]})
        direct.wait_own_key()  # the other one
        assert "released: 1 of 2 keys" in run_hook(hook, render, **LEASE)
        assert operator.child.wait(30) == FENCED
    assert finalizers(direct) == {}
    records, plaintexts, secret = direct.records(), opened(hook, direct.records()), direct.object("Secret", TEAM, "orders-db")

    cluster.helm("uninstall", "keystead", "-n", SYSTEM, "--wait", "--no-hooks")
    cluster.kubectl("delete", "namespace", SYSTEM, "--wait")
    harness.helm(cluster, "install", (TEAM,))
    again = dataclasses.replace(hook, token=hook.folder / "token-2")
    again.ceremony("--from-backup", str(hook.backup), "--recovery-key", str(hook.recovery))

    assert opened(again, records) == plaintexts != {}
    with again.operator("after", **LEASE) as operator:
        operator.wait_ready()
        asked = "kms.keystead.io/reconcile-requested-at=after"
        cluster.kubectl("annotate", "kmskey,kmsdatakey", "--all", "-n", TEAM, asked)
        for kind, name in (("kmskey", "orders"), ("kmsdatakey", "orders-db")):
            wait_for(f"a pass over {name}", lambda k=kind, n=name: looked_at(cluster.get(k, n, "-n", TEAM)))
        after = wait_reason(cluster, "kmskey", TEAM, "orders", "Available")
    assert (after["status"]["keyId"], after["status"]["keyArn"]) == (before["status"]["keyId"], before["status"]["keyArn"])
    assert direct.object("Secret", TEAM, "orders-db")["data"] == secret["data"]
    assert [each["metadata"]["name"] for each in direct.records()] == [each["metadata"]["name"] for each in records]


def looked_at(body: Any) -> bool:
    return bool((body.get("status") or {}).get("lastHandledReconcileAt") == "after")
