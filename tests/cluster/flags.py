"""The programs of a control plane and their command lines.

Called by controlplane.py. Pure but for free_ports, which asks the kernel.
"""

from __future__ import annotations

import contextlib
import random
import socket
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

HOST = "127.0.0.1"
SERVICES = "198.19.0.0/16"  # test addresses (RFC 2544): never a network that the machine really has
API_NAMES = ("localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc", HOST, "198.19.0.1")
PORTS = range(20000, 32000)  # below the kernel's range for outgoing connections: a restart finds its port free
AUDIT_POLICY = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "omitStages": ["RequestReceived"],
    "rules": [
        # For whom which right is asked: no secret is in it, and nothing else shows what the API server was told.
        {"level": "Request", "resources": [{"group": "authorization.k8s.io", "resources": ["subjectaccessreviews"]}]},
        {"level": "Metadata"},
    ],
}


class Program(StrEnum):
    """The programs, in the order in which they start."""

    ETCD = "etcd"
    API = "kube-apiserver"
    CONTROLLERS = "kube-controller-manager"


@dataclass(frozen=True, slots=True)
class Options:
    """What a caller may choose."""

    unsafe_no_fsync: bool = True  # False for a test of durability
    audit: bool = False  # metadata of every request into audit.log
    api_arguments: tuple[str, ...] = ()  # appended, so they win over ours
    detached: bool = False  # True: outlives its starter


@dataclass(frozen=True, slots=True)
class Ports:
    """etcd for clients, etcd for peers (unused, but it insists), the API server."""

    etcd: int
    peer: int
    api: int


def free_ports() -> Ports:
    """Three ports that nobody listens on now, at random so that two clusters that start together hardly ever meet."""
    found: list[int] = []
    with contextlib.ExitStack() as stack:
        for port in random.sample(PORTS, len(PORTS)):
            probe = stack.enter_context(socket.socket())
            with contextlib.suppress(OSError):
                probe.bind((HOST, port))
                found.append(port)
            if len(found) == 3:
                return Ports(*found)
    raise OSError(f"no three free ports between {PORTS.start} and {PORTS.stop}")


@dataclass(slots=True)
class Setup:
    """Where a control plane lives and what was chosen for it."""

    folder: Path
    options: Options = field(default_factory=Options)
    ports: Ports = field(default_factory=free_ports)

    @property
    def kubeconfig(self) -> Path:
        return self.folder / "admin.kubeconfig"

    @property
    def audit_log(self) -> Path:
        return self.folder / "audit.log"

    @property
    def api_url(self) -> str:
        return f"https://{HOST}:{self.ports.api}"

    @property
    def etcd_url(self) -> str:
        return f"https://{HOST}:{self.ports.etcd}"


def arguments(setup: Setup, program: Program) -> list[str]:
    """The command line of a program, without its own name."""
    flags = {
        Program.ETCD: _etcd_flags,
        Program.API: _api_flags,
        Program.CONTROLLERS: _controller_flags,
    }[program](setup)
    extra = setup.options.api_arguments if program is Program.API else ()
    return [*(f"--{name}={value}" for name, value in flags.items()), *extra]


def _etcd_flags(setup: Setup) -> dict[str, str]:
    pki, client, peer = setup.folder / "pki", f"https://{HOST}:{setup.ports.etcd}", f"http://{HOST}:{setup.ports.peer}"
    return {
        "name": "keystead",
        "data-dir": f"{setup.folder}/etcd",
        "listen-client-urls": client,
        "advertise-client-urls": client,
        "listen-peer-urls": peer,
        "initial-advertise-peer-urls": peer,
        "initial-cluster": f"keystead={peer}",
        "cert-file": f"{pki}/etcd-server.crt",
        "key-file": f"{pki}/etcd-server.key",
        "trusted-ca-file": f"{pki}/etcd.crt",
        "client-cert-auth": "true",
        "unsafe-no-fsync": str(setup.options.unsafe_no_fsync).lower(),
    }


def _api_flags(setup: Setup) -> dict[str, str]:
    pki = setup.folder / "pki"
    flags = {
        "etcd-servers": f"https://{HOST}:{setup.ports.etcd}",
        "etcd-cafile": f"{pki}/etcd.crt",
        "etcd-certfile": f"{pki}/etcd-client.crt",
        "etcd-keyfile": f"{pki}/etcd-client.key",
        "bind-address": HOST,
        "advertise-address": HOST,
        "endpoint-reconciler-type": "none",  # it refuses a loopback address, and no Pod would use it
        "secure-port": str(setup.ports.api),
        "tls-cert-file": f"{pki}/api.crt",
        "tls-private-key-file": f"{pki}/api.key",
        "client-ca-file": f"{pki}/ca.crt",
        "service-account-key-file": f"{pki}/sa.pub",
        "service-account-signing-key-file": f"{pki}/sa.key",
        "service-account-issuer": "https://kubernetes.default.svc.cluster.local",
        "service-cluster-ip-range": SERVICES,
        "authorization-mode": "Node,RBAC",
        "allow-privileged": "true",
    }
    if setup.options.audit:
        flags |= {
            "audit-policy-file": f"{setup.folder}/audit-policy.yaml",
            "audit-log-path": str(setup.audit_log),
            "audit-log-maxsize": "4096",  # megabytes; by default it goes on in another file after 100, about 80,000 requests
        }
    return flags


def _controller_flags(setup: Setup) -> dict[str, str]:
    pki = setup.folder / "pki"
    return {
        "kubeconfig": str(setup.kubeconfig),
        "service-account-private-key-file": f"{pki}/sa.key",
        "root-ca-file": f"{pki}/ca.crt",
        "cluster-signing-cert-file": f"{pki}/ca.crt",
        "cluster-signing-key-file": f"{pki}/ca.key",
        "use-service-account-credentials": "true",
        "leader-elect": "false",
        "kube-api-qps": "200",  # the default of 20 makes it take 5 s to create its controllers' own accounts
        "kube-api-burst": "400",
        "secure-port": "0",  # one port less to collide
    }
