"""Decides which cluster the tests run on, and opens it.

E2E_CLUSTER = `built` (own control plane; default without Docker), `kind` (default where a Docker engine answers and
kind is installed) or `existing` (what KUBECONFIG names; nothing is done to it that a shared cluster could mind).
Called by plugin.py, by tests that need a cluster of their own (`built`), and by nothing that ships.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path

from tests.cluster import build, etcd, issuer, kind, toolset
from tests.cluster.cluster import Cluster, ClusterError, Power
from tests.cluster.controlplane import ControlPlane
from tests.cluster.flags import Options, Program


class Kind(StrEnum):
    BUILT = "built"
    KIND = "kind"
    EXISTING = "existing"


POWERS: dict[Kind, frozenset[Power]] = {
    Kind.BUILT: frozenset({Power.ETCD, Power.RESTART, Power.AUDIT, Power.DISPOSABLE, Power.PEOPLE}),
    Kind.KIND: frozenset({Power.ETCD, Power.RESTART, Power.NODE, Power.DISPOSABLE}),
    Kind.EXISTING: frozenset(),
}


def chosen() -> Kind:
    """The kind that E2E_CLUSTER names or the machine suggests; raises ClusterError for an unknown name."""
    name = os.environ.get("E2E_CLUSTER", "")
    if not name:
        return Kind.KIND if kind.answers() else Kind.BUILT
    try:
        return Kind(name)
    except ValueError:
        raise ClusterError(f"E2E_CLUSTER={name} is not one of {', '.join(Kind)}") from None


def prepare(which: Kind) -> dict[str, Path]:
    """Finds or builds the programs that a kind needs. Slow the first time: call it outside of a test's time limit."""
    every = toolset.default_tools(toolset.kubernetes_minor())
    if which is Kind.BUILT:
        return build.ensure(every)
    clients = {"kubectl": shutil.which("kubectl"), "helm": shutil.which("helm")}
    present = {name: Path(path) for name, path in clients.items() if path is not None}
    return present | build.ensure(tuple(tool for tool in every if tool.name in clients and tool.name not in present))


@contextlib.contextmanager
def opened(which: Kind) -> Iterator[Cluster]:
    """The cluster of a test session; a disposable one is gone afterwards."""
    opener = {Kind.BUILT: _with_people, Kind.KIND: _kind, Kind.EXISTING: _existing}[which]
    with opener() as cluster:
        yield cluster


@dataclass(frozen=True, slots=True)
class BuiltControl:
    """What the powers of a built cluster do."""

    plane: ControlPlane

    def restart(self, program: str) -> None:
        self.plane.restart(Program(program))

    def etcd_dump(self) -> bytes:
        return etcd.dump(self.plane.etcd_entries())

    def audit_text(self, start: int) -> str:
        with self.plane.audit_log.open("rb") as log:
            log.seek(start)
            return log.read().decode()

    def load_image(self, archive: Path) -> None:
        raise ClusterError(f"no node to load {archive.name} into")


@contextlib.contextmanager
def built(options: Options | None = None) -> Iterator[Cluster]:
    """A control plane in a temporary folder, ended and removed afterwards; `control.plane` is the ControlPlane."""
    binaries = prepare(Kind.BUILT)
    with tempfile.TemporaryDirectory(prefix="keystead-cluster-") as folder:
        plane = ControlPlane(Path(folder) / "plane", options or Options(), binaries=binaries)
        try:
            plane.start()
            yield of_plane(plane, _scratch(folder))
        finally:
            plane.stop()


@contextlib.contextmanager
def _with_people() -> Iterator[Cluster]:
    """One that trusts an issuer of people's tokens, which must answer before the API server starts: that asks again after 10 s only."""
    with issuer.running() as people, built(Options(audit=True, api_arguments=(people.api_argument(),))) as cluster:
        yield replace(cluster, powers=cluster.powers | {Power.PEOPLE}, issuer=people)


def of_plane(plane: ControlPlane, scratch: Path) -> Cluster:
    """The Cluster of a control plane that runs. Without an audit log it lacks that power; people it knows none."""
    powers = POWERS[Kind.BUILT] - {Power.PEOPLE} - (frozenset() if plane.options.audit else {Power.AUDIT})
    return Cluster(Kind.BUILT, plane.kubeconfig, powers, scratch, plane.binaries, BuiltControl(plane))


@contextlib.contextmanager
def _kind() -> Iterator[Cluster]:
    """A kind cluster under a name of its own."""
    binaries = prepare(Kind.KIND)
    with tempfile.TemporaryDirectory(prefix="keystead-cluster-") as folder:
        path = Path(folder) / "admin.kubeconfig"
        with kind.created(f"keystead-{uuid.uuid4().hex[:8]}", path, binaries["kubectl"]) as control:
            yield Cluster(Kind.KIND, path, POWERS[Kind.KIND], _scratch(folder), binaries, control)


@contextlib.contextmanager
def _existing() -> Iterator[Cluster]:
    """What KUBECONFIG names. Not made, not ended, no powers."""
    path = os.environ.get("KUBECONFIG", "")
    if not path or not Path(path).is_file():
        raise ClusterError("E2E_CLUSTER=existing needs KUBECONFIG to name one file")
    binaries = prepare(Kind.EXISTING)
    with tempfile.TemporaryDirectory(prefix="keystead-cluster-") as folder:
        yield Cluster(Kind.EXISTING, Path(path).resolve(), POWERS[Kind.EXISTING], _scratch(folder), binaries)


def _scratch(folder: str) -> Path:
    scratch = Path(folder) / "scratch"
    scratch.mkdir(mode=0o700)
    return scratch
