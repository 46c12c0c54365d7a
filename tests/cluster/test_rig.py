"""The rig tests itself on a real cluster: what the other cluster tests rely on."""

from __future__ import annotations

import base64
import os
import signal
import socket
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from tests.cluster import controlplane, kinds, processes, toolset
from tests.cluster.cluster import Cluster, CommandError, Power, PowerError
from tests.cluster.controlplane import ControlPlane, StartError
from tests.cluster.flags import HOST, Options, Ports, Program, free_ports

pytestmark = pytest.mark.cluster
needs_built = pytest.mark.skipif(kinds.chosen() is not kinds.Kind.BUILT, reason="is about the built cluster alone")


@pytest.fixture
def namespace(cluster: Cluster) -> Iterator[str]:
    """A namespace of the test's own."""
    name = f"rig-{uuid.uuid4().hex[:8]}"
    cluster.kubectl("create", "namespace", name)
    yield name
    cluster.kubectl("delete", "namespace", name, "--wait=false")


def a_secret(cluster: Cluster, namespace: str, value: str, name: str = "s") -> None:
    data = {"value": base64.b64encode(value.encode()).decode()}
    metadata = {"name": name, "namespace": namespace}
    cluster.apply({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": data})


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((HOST, port)) == 0


def run_module(module: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", f"tests.cluster.{module}", *arguments]
    return subprocess.run(command, cwd=toolset.ROOT, capture_output=True, text=True, check=False)


def test_server_says_its_real_version(cluster: Cluster) -> None:
    assert cluster.version().startswith("v1.")


@needs_built
def test_built_server_has_the_version_of_the_table(cluster: Cluster) -> None:
    assert cluster.version() == f"v{toolset.KUBERNETES[toolset.kubernetes_minor()]}"


def test_default_service_account_is_there_when_the_cluster_is_handed_out(cluster: Cluster) -> None:
    assert cluster.get("serviceaccount", "default", "-n", "default")["metadata"]["name"] == "default"


def test_helm_speaks_to_the_cluster(cluster: Cluster) -> None:
    assert cluster.helm("list", "--all-namespaces", "--output", "json").strip() == "[]"


def test_failed_command_raises_with_what_it_said(cluster: Cluster) -> None:
    with pytest.raises(CommandError, match="NotFound") as caught:
        cluster.kubectl("get", "configmap", "no-such-thing", "-n", "default")
    assert caught.value.code == 1


@pytest.mark.powers("etcd")
def test_etcd_dump_shows_the_bytes_of_a_secret(cluster: Cluster, namespace: str) -> None:
    value = f"seen-{uuid.uuid4()}"
    a_secret(cluster, namespace, value)
    dump = cluster.etcd_dump()
    assert value.encode() in dump
    assert f"/registry/secrets/{namespace}/s".encode() in dump


@needs_built
def test_etcd_pages_join_without_gap_or_repeat(cluster: Cluster, namespace: str) -> None:
    for number in range(3):
        a_secret(cluster, namespace, "v", f"s{number}")
    keys = [key for key, _ in plane_of(cluster).etcd_entries(page=7)]
    assert len(keys) > 21
    assert keys == sorted(set(keys))
    assert [key for key in keys if namespace.encode() in key and b"/secrets/" in key] == [
        f"/registry/secrets/{namespace}/s{number}".encode() for number in range(3)
    ]


@pytest.mark.powers("audit")
def test_audit_names_the_request_but_not_the_value(cluster: Cluster, namespace: str) -> None:
    value = f"unseen-{uuid.uuid4()}"
    a_secret(cluster, namespace, value)
    events = cluster.audit_events()
    seen = [e for e in events if e.get("objectRef", {}).get("namespace") == namespace]
    assert "patch" in [e["verb"] for e in seen]
    assert value not in str(events)
    assert {event["level"] for event in seen} == {"Metadata"}
    assert {event["objectRef"]["resource"] for event in events if event["level"] != "Metadata"} <= {"subjectaccessreviews"}


@pytest.mark.powers("restart", "disposable")
@pytest.mark.parametrize("program", ["kube-apiserver", "etcd"])
def test_restart_keeps_the_data(cluster: Cluster, namespace: str, program: str) -> None:
    a_secret(cluster, namespace, "kept")
    cluster.restart(program)
    stored = cluster.get("secret", "s", "-n", namespace)["data"]["value"]
    assert base64.b64decode(stored) == b"kept"
    assert cluster.kubectl("create", "configmap", "after", "-n", namespace)


def test_token_kubeconfig_works_and_is_limited(cluster: Cluster, namespace: str) -> None:
    cluster.kubectl("create", "serviceaccount", "reader", "-n", namespace)
    cluster.kubectl("create", "role", "reader", "--verb=get", "--resource=secrets", "-n", namespace)
    binding = ("--role=reader", f"--serviceaccount={namespace}:reader", "-n", namespace)
    cluster.kubectl("create", "rolebinding", "reader", *binding)
    a_secret(cluster, namespace, "v")
    path = cluster.service_account_kubeconfig(namespace, "reader")
    assert path.stat().st_mode & 0o777 == 0o600
    assert "secret/s" in cluster.kubectl("get", "secret", "s", "-o", "name", kubeconfig=path)
    with pytest.raises(CommandError, match="Forbidden"):
        cluster.kubectl("delete", "secret", "s", kubeconfig=path)
    with pytest.raises(CommandError, match="Forbidden"):
        cluster.kubectl("get", "secret", "s", "-n", "kube-system", kubeconfig=path)


def test_token_kubeconfig_can_name_a_proxy(cluster: Cluster, namespace: str) -> None:
    path = cluster.service_account_kubeconfig(namespace, "default", server="http://127.0.0.1:1")
    content = yaml.safe_load(path.read_text())
    assert content["clusters"][0]["cluster"] == {"server": "http://127.0.0.1:1"}
    assert content["users"][0]["user"]["token"].count(".") == 2


def plane_of(cluster: Cluster) -> ControlPlane:
    assert isinstance(cluster.control, kinds.BuiltControl)
    return cluster.control.plane


@needs_built
def test_two_clusters_at_once_do_not_meet_and_the_second_leaves_nothing(cluster: Cluster, namespace: str) -> None:
    a_secret(cluster, namespace, "mine")
    with kinds.built() as other:
        plane = plane_of(other)
        pids = [processes.recall(program, plane.folder) for program in Program]
        ports = [plane.ports.etcd, plane.ports.peer, plane.ports.api]
        assert all(listens(port) for port in ports)
        assert Power.AUDIT not in other.powers
        with pytest.raises(CommandError, match="NotFound"):
            other.kubectl("get", "namespace", namespace)
    assert not any(process is None or process.alive() for process in pids)
    assert not any(listens(port) for port in ports)
    assert not plane.folder.exists()
    assert cluster.get("secret", "s", "-n", namespace)


@needs_built
def test_up_and_down_can_be_called_again(cluster: Cluster, tmp_path: Path) -> None:
    state = ("--state", str(tmp_path / "state"))
    try:
        first = run_module("up", *state)
        assert first.returncode == 0, first.stderr
        admin = Path(first.stdout.strip())
        cluster.kubectl("create", "configmap", "kept", "-n", "default", kubeconfig=admin)
        plane = controlplane.load(tmp_path / "state")
        assert plane is not None
        pids = plane.running()
        assert run_module("up", *state).returncode == 0
        assert plane.running() == pids
    finally:
        down = run_module("down", *state)
    assert down.returncode == 0
    assert plane.running() == {}
    assert not any(listens(port) for port in (plane.ports.etcd, plane.ports.peer, plane.ports.api))
    again = run_module("down", *state, "--delete")
    assert again.returncode == 0
    assert not (tmp_path / "state").exists()
    assert "nothing to end" in run_module("down", *state).stderr


@needs_built
def test_start_that_fails_says_why_and_leaves_nothing(cluster: Cluster, tmp_path: Path) -> None:
    plane = ControlPlane(tmp_path, Options(api_arguments=("--no-such-flag",)), binaries=cluster.binaries)
    with pytest.raises(StartError, match="unknown flag: --no-such-flag"):
        plane.start()
    assert plane.running() == {}
    assert not listens(plane.ports.etcd)


@needs_built
def test_taken_port_is_left_to_its_owner(cluster: Cluster, tmp_path: Path) -> None:
    theirs, ours = plane_of(cluster).ports, free_ports()
    plane = ControlPlane(tmp_path, Options(), Ports(ours.etcd, ours.peer, theirs.api), cluster.binaries)
    try:
        plane.start()
        assert plane.ports.api != theirs.api
    finally:
        plane.stop()
    assert cluster.version()


STARTER = """
import sys, threading
from pathlib import Path
from tests.cluster import processes
def start():
    print(processes.spawn("sleeper", ["/bin/sleep", "1000"], Path(sys.argv[1]), detached=False).pid, flush=True)
if sys.argv[2] == "thread":
    worker = threading.Thread(target=start); worker.start(); worker.join()
else:
    start()
sys.stdin.read()
"""


@pytest.mark.parametrize("place", ["main", "thread"])
def test_child_dies_with_a_starter_that_is_killed_but_not_with_its_thread(tmp_path: Path, place: str) -> None:
    command, pipe = [sys.executable, "-c", STARTER, str(tmp_path), place], subprocess.PIPE
    with subprocess.Popen(command, cwd=toolset.ROOT, stdin=pipe, stdout=pipe, text=True) as starter:
        assert starter.stdout is not None
        pid = int(starter.stdout.readline())
        sleeper = processes.recall("sleeper", tmp_path)
        assert sleeper is not None
        assert sleeper.pid == pid
        processes.wait_until(lambda: b"sleep" in Path(f"/proc/{pid}/cmdline").read_bytes()[:12], 10, "exec")
        assert sleeper.alive()
        starter.send_signal(signal.SIGKILL)
        processes.wait_until(lambda: not sleeper.alive(), 10, "end of the child")


def test_pid_of_someone_else_is_never_signalled(tmp_path: Path) -> None:
    (tmp_path / "x.pid").write_text(f"{os.getpid()} 1\n")
    assert processes.recall("x", tmp_path) is None
    processes.Process(os.getpid(), 1).signal(signal.SIGKILL)  # else this test would not end well


def test_existing_cluster_has_no_power(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBECONFIG", str(cluster.kubeconfig))
    with kinds.opened(kinds.Kind.EXISTING) as existing:
        assert existing.version() == cluster.version()
        assert existing.powers == frozenset()
        for method in (existing.restart, existing.etcd_dump, existing.audit_events):
            with pytest.raises(PowerError):
                method()
    assert cluster.version()


POWERS_TESTS = """
import pytest
@pytest.mark.powers("etcd", "restart")
def test_dangerous(): raise AssertionError("ran")
def test_plain(): pass
"""


def pytest_on(folder: Path, text: str, kind: str) -> str:
    """Runs pytest with the plugin on one file; gives its output."""
    (folder / "test_it.py").write_text(text)
    plugins = ("-p", "tests.cluster.plugin", "-p", "no:cacheprovider")
    command = [sys.executable, "-m", "pytest", *plugins, "-rs", str(folder)]
    environment = dict(os.environ) | {"PYTHONPATH": str(toolset.ROOT), "E2E_CLUSTER": kind}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    return done.stdout + done.stderr


def test_lacking_power_skips_with_its_name(tmp_path: Path) -> None:
    output = pytest_on(tmp_path, POWERS_TESTS, "existing")
    assert "1 passed, 1 skipped" in output
    assert "the cluster `existing` lacks the powers etcd, restart" in output


def test_unknown_power_and_unknown_kind_are_refused(tmp_path: Path) -> None:
    assert "'tea' is not a valid Power" in pytest_on(tmp_path, POWERS_TESTS.replace("etcd", "tea"), "built")
    assert "E2E_CLUSTER=swarm is not one of" in pytest_on(tmp_path, POWERS_TESTS, "swarm")
