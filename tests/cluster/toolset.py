"""The table of programs the cluster rig builds: which Go module, which package, which version.

Read by lock.py (writes go.mod and go.sum), build.py (builds) and kinds.py (finds the binaries). Data only; nothing
here runs a program.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

TOOLS = Path(__file__).parent / "tools"
ROOT = Path(__file__).parents[2]
GO_DIRECTIVE = "1.26.0"
KUBERNETES = {"1.37": "1.37.2", "1.36": "1.36.3"}
DEFAULT_KUBERNETES = "1.37"


@dataclass(frozen=True, slots=True)
class Module:
    """One folder under tools/: a go.mod of its own, because the dependencies of these programs clash.

    `root` is another folder of tools, for a program that is not the cluster's (tests/clients/build.py).
    """

    folder: str
    path: str
    version: str
    ldflags: str
    root: Path = TOOLS

    @property
    def directory(self) -> Path:
        return self.root / self.folder


@dataclass(frozen=True, slots=True)
class Tool:
    """A program: `package` is built in `module`. `usual_seconds` is a cold build on 2 cores, shown to who waits."""

    name: str
    module: Module
    package: str
    usual_seconds: int


def kubernetes_minor() -> str:
    """The minor version asked for by KEYSTEAD_KUBERNETES; raises ValueError for one that is not in the table."""
    minor = os.environ.get("KEYSTEAD_KUBERNETES") or DEFAULT_KUBERNETES
    if minor not in KUBERNETES:
        raise ValueError(f"KEYSTEAD_KUBERNETES={minor} is not one of {', '.join(KUBERNETES)}")
    return minor


def kubernetes_module(minor: str) -> Module:
    """The Kubernetes module of a minor version. Without these ldflags the server says v0.0.0 and clients refuse it."""
    version = KUBERNETES[minor]
    stamp = "k8s.io/component-base/version"
    values = {"gitVersion": f"v{version}", "gitMajor": "1", "gitMinor": minor.split(".")[1]}
    flags = " ".join(f"-X {stamp}.{name}={value}" for name, value in values.items())
    return Module(f"kubernetes-{minor}", "k8s.io/kubernetes", version, f"-s -w {flags}")


ETCD = Module("etcd", "go.etcd.io/etcd/server/v3", "3.7.3", "-s -w")
HELM = Module("helm", "helm.sh/helm/v3", "3.22.0", "-s -w -X helm.sh/helm/v3/internal/version.version=v3.22.0")

# name -> seconds of a cold build. The control plane's come first: they are built by default, the node's on request.
CONTROL_PLANE_SECONDS = {"kube-apiserver": 250, "kube-controller-manager": 95, "kubectl": 25}
NODE_SECONDS = {"kubelet": 55, "kube-scheduler": 5, "kube-proxy": 35}


def _kubernetes_tools(minor: str, seconds: dict[str, int]) -> tuple[Tool, ...]:
    module = kubernetes_module(minor)
    return tuple(Tool(name, module, f"{module.path}/cmd/{name}", usual) for name, usual in seconds.items())


def default_tools(minor: str) -> tuple[Tool, ...]:
    """What `make test` needs, the quickest first so that a failure of the machine shows early."""
    etcd = Tool("etcd", ETCD, ETCD.path, 35)
    helm = Tool("helm", HELM, f"{HELM.path}/cmd/helm", 125)
    return (etcd, *_kubernetes_tools(minor, CONTROL_PLANE_SECONDS), helm)


def node_tools(minor: str) -> tuple[Tool, ...]:
    """The 'node' set: what a node with real Pods needs besides."""
    return _kubernetes_tools(minor, NODE_SECONDS)


def modules() -> tuple[Module, ...]:
    """Every module that has a folder, for lock.py and the tests."""
    return (ETCD, HELM, *(kubernetes_module(minor) for minor in KUBERNETES))


def module_packages(module: Module) -> tuple[str, ...]:
    """The packages that a module's go.mod names with `tool` directives."""
    every = [tool for minor in KUBERNETES for tool in (*default_tools(minor), *node_tools(minor))]
    return tuple(sorted({tool.package for tool in every if tool.module == module}))
