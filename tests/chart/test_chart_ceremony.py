"""`keystead hsm init --to-cluster` under the account and the rights that the chart gives its Job, on a real API server."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.chart import rights
from tests.chart.leftovers import remove_kept
from tests.chart.rendering import CHART, EXTERNAL, JOB, Object, Renderer, containers, pod_templates
from tests.chart.rights import RECORDS, RELEASE, Grant
from tests.cluster import toolset
from tests.cluster.cluster import Cluster, Power

pytestmark = [pytest.mark.helm, pytest.mark.token, pytest.mark.powers("disposable")]

ACCOUNT = "keystead-hsm-init"
# The chart's, not the ceremony's.
TLS = "keystead-server-tls"


@pytest.fixture(scope="module")
def account(cluster: Cluster, render: Renderer) -> Iterator[Path]:
    """The chart without its Job, and what its Job would have: a kubeconfig of the account."""
    where = ["--namespace", RELEASE, "--create-namespace"]
    cluster.helm("install", "keystead", str(CHART), *where, *(f"--set={one}" for one in EXTERNAL))
    kinds = ("ServiceAccount", "Role", "RoleBinding")
    cluster.apply(*(each for each in render(*JOB) if each["metadata"]["name"] == ACCOUNT and each["kind"] in kinds))
    yield cluster.service_account_kubeconfig(RELEASE, ACCOUNT)
    cluster.helm("uninstall", "keystead", "--namespace", RELEASE, "--no-hooks")
    remove_kept(cluster)


def job_command(render: Renderer, folder: Path) -> list[str]:
    """The Job's own command line, its folder replaced."""
    (container,) = containers(pod_templates(render(*JOB))["Job/keystead-hsm-init"])
    return [word.replace("/run/keystead/ceremony", str(folder)) for word in container["args"]]


def ceremony(render: Renderer, folder: Path, kubeconfig: Path) -> subprocess.CompletedProcess[str]:
    """Runs it as the Job would; the working folder is the test's."""
    folder.mkdir()
    own = {name: value for name, value in os.environ.items() if not name.startswith(("KEYSTEAD_", "SOFTHSM2_"))}
    environment = own | {"KEYSTEAD_KUBECONFIG": str(kubeconfig), "KEYSTEAD_NAMESPACE": RELEASE}
    environment |= {"PYTHONPATH": str(toolset.ROOT / "operator")}
    command = [sys.executable, "-m", "keystead", *job_command(render, folder)]
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=120, check=False
    )


def secrets(cluster: Cluster, namespace: str) -> dict[str, str]:
    """Name -> resourceVersion of the Secrets that are not Helm's."""
    found: list[Object] = cluster.get("secrets", "--namespace", namespace)["items"]
    return {
        each["metadata"]["name"]: each["metadata"]["resourceVersion"]
        for each in found
        if each["type"] != "helm.sh/release.v1"
    }


def test_the_jobs_rights_are_enough_and_each_is_used(
    cluster: Cluster, render: Renderer, account: Path, tmp_path: Path
) -> None:
    done = ceremony(render, tmp_path / "first", account)
    assert done.returncode == 0, done.stderr
    release, records = secrets(cluster, RELEASE), secrets(cluster, RECORDS)
    assert set(release) - {TLS} == {"keystead-token", "keystead-pin", "keystead-recovery-key"}
    assert set(records) == {"install", "domain-backup-1", "heartbeat"}

    again = ceremony(render, tmp_path / "second", account)
    assert again.returncode != 0, "another domain was put over the first"
    assert (secrets(cluster, RELEASE), secrets(cluster, RECORDS)) == (release, records)

    if Power.AUDIT in cluster.powers:
        assert used(cluster, rights.grants(rights.HSM_INIT)) == rights.grants(rights.HSM_INIT)


def used(cluster: Cluster, granted: set[Grant]) -> set[Grant]:
    """What the account's requests, the failed ones too, made use of; a forbidden one is an error."""
    name = f"system:serviceaccount:{RELEASE}:{ACCOUNT}"
    events = [each for each in cluster.audit_events() if each["user"]["username"] == name]
    assert not [each["requestURI"] for each in events if each["responseStatus"]["code"] == 403]
    return {grant for event in events for grant in rights.used_by(granted, event)}
