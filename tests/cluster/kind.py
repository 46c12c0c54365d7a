"""The cluster `kind`: Kubernetes in Docker, for machines with a Docker engine.

Called by kinds.py. NOT RUN where this was written: there was no Docker engine. It was written from kind's and
kubeadm's documents; the first run on a machine with Docker is its test (tests/cluster/test_rig.py holds for it
too).
"""

from __future__ import annotations

import contextlib
import functools
import json
import shlex
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.cluster import etcd
from tests.cluster.cluster import ClusterError, CommandError, run
from tests.cluster.processes import wait_until

CONFIG = Path(__file__).with_name("kind.yaml")
CREATE_SECONDS = 600.0  # the node image is some 400 MB
RESTART_SECONDS = 120.0  # kubelet starts a static Pod again after a back-off
ETCD_PKI = "/etc/kubernetes/pki/etcd"
STATIC_PODS = ("kube-apiserver", "etcd")


@functools.cache
def answers() -> bool:
    """True where a Docker engine answers and the `kind` program is there."""
    if shutil.which("docker") is None or shutil.which("kind") is None:
        return False
    return _succeeds(["docker", "info", "--format", "{{.ServerVersion}}"])


@dataclass(frozen=True, slots=True)
class KindControl:
    """Reaches into the single node's container. `name`: the kind cluster's."""

    name: str
    kubectl: Path
    kubeconfig: Path

    @property
    def node(self) -> str:
        return f"{self.name}-control-plane"

    def restart(self, program: str) -> None:
        """Stops the static Pod's container; kubelet starts it again. Returns when a new one runs and /readyz is ok."""
        if program not in STATIC_PODS:
            raise ClusterError(f"kind can restart {' and '.join(STATIC_PODS)}, not {program}")
        before = self._containers(program)
        for container in before:
            run(["docker", "exec", self.node, "crictl", "stop", container])
        wait_until(lambda: self._renewed(program, before), RESTART_SECONDS, f"restart of {program}")

    def _renewed(self, program: str, before: set[str]) -> bool:
        after = self._containers(program)
        if not after or after & before:
            return False
        return _succeeds([str(self.kubectl), "--kubeconfig", str(self.kubeconfig), "get", "--raw", "/readyz"])

    def _containers(self, program: str) -> set[str]:
        """The ids of a static Pod's running containers."""
        query = f"crictl ps --quiet --state Running --name ^{program}$"
        return set(run(["docker", "exec", self.node, *query.split()]).split())

    def etcd_dump(self) -> bytes:
        """Every key and value through etcdctl in etcd's own container: it has no shell, and none is needed."""
        container = next(iter(self._containers("etcd")))
        flags = f"--cacert {ETCD_PKI}/ca.crt --cert {ETCD_PKI}/server.crt --key {ETCD_PKI}/server.key"
        etcdctl = shlex.split(f"etcdctl --endpoints https://127.0.0.1:2379 {flags} get --prefix --write-out json")
        text = run(["docker", "exec", self.node, "crictl", "exec", container, *etcdctl, ""])
        return etcd.dump(etcd.decode(pair) for pair in json.loads(text).get("kvs", []))

    def audit_text(self, start: int) -> str:
        """Never reached: kind's powers lack AUDIT."""
        raise ClusterError("the kind cluster is created without an audit log")

    def load_image(self, archive: Path) -> None:
        """`kind load image-archive`: a docker or OCI archive into the node's containerd."""
        run(["kind", "load", "image-archive", str(archive), "--name", self.name], seconds=300)


@contextlib.contextmanager
def created(name: str, kubeconfig: Path, kubectl: Path) -> Iterator[KindControl]:
    """A kind cluster with a kubeconfig of its own; the user's ~/.kube/config is not touched. Deleted at the end."""
    target = ["--name", name, "--kubeconfig", str(kubeconfig)]
    account = [str(kubectl), "--kubeconfig", str(kubeconfig), "get", "serviceaccount", "default", "-n", "default"]
    try:
        run(["kind", "create", "cluster", *target, "--config", str(CONFIG), "--wait", "180s"], seconds=CREATE_SECONDS)
        wait_until(lambda: _succeeds(account), 60, "the `default` ServiceAccount")
        yield KindControl(name, kubectl, kubeconfig)
    finally:
        run(["kind", "delete", "cluster", *target], seconds=120)


def _succeeds(command: list[str]) -> bool:
    try:
        run(command, seconds=10)
    except CommandError:
        return False
    return True
