"""The one object that tests hold: a kubeconfig, runners for kubectl and Helm, and the powers that this cluster gives.

Made by kinds.py, handed out by plugin.py. What only some clusters can do is behind a Power; without it the method
raises PowerError, and `@pytest.mark.powers(...)` skips the test before.
"""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Protocol

import yaml
from tests.cluster import kubeconfig
from tests.cluster.issuer import Issuer

COMMAND_SECONDS = 120.0  # longer than any single kubectl or Helm call of the tests


class Power(StrEnum):
    """What a test may ask of a cluster beyond its API."""

    ETCD = "etcd"  # the database's raw bytes can be read
    RESTART = "restart"  # the API server and etcd can be restarted
    NODE = "node"  # real Pods run
    AUDIT = "audit"  # the API server's audit log can be read
    PEOPLE = "people"  # it trusts an OpenID Connect issuer that is ours
    DISPOSABLE = "disposable"  # nobody else uses it: cluster-wide objects may be made and deleted


class ClusterError(Exception):
    """Base of the rig's errors that a test may meet."""


class PowerError(ClusterError):
    """This cluster does not have the power that a method needs."""


class CommandError(ClusterError):
    """kubectl, Helm, kind or docker failed. `stderr` is what it said."""

    def __init__(self, command: list[str], code: int, stderr: str) -> None:
        super().__init__(f"{' '.join(command)}: exit code {code}: {stderr.strip()}")
        self.code = code
        self.stderr = stderr


class Control(Protocol):
    """How a kind of cluster does what its powers promise."""

    def restart(self, program: str) -> None: ...

    def etcd_dump(self) -> bytes: ...

    def audit_text(self, start: int) -> str: ...

    def load_image(self, archive: Path) -> None: ...


def run(
    command: list[str], *, stdin: str = "", environment: dict[str, str] | None = None, seconds: float = COMMAND_SECONDS
) -> str:
    """Runs a program, gives its stdout; raises CommandError with its stderr, also when the time is up."""
    try:
        done = subprocess.run(
            command, input=stdin, env=environment, capture_output=True, text=True, timeout=seconds, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise CommandError(command, -1, f"no end after {seconds:g} s") from error
    if done.returncode != 0:
        raise CommandError(command, done.returncode, done.stderr)
    return done.stdout


@dataclass(frozen=True)
class Cluster:
    """A running cluster. `scratch` is a private folder for kubeconfigs and the caches of kubectl and Helm."""

    kind: str
    kubeconfig: Path
    powers: frozenset[Power]
    scratch: Path
    binaries: dict[str, Path]
    control: Control | None = field(default=None, repr=False)
    issuer: Issuer | None = field(default=None, repr=False)

    @property
    def environment(self) -> dict[str, str]:
        """For a program that shall use this cluster as its administrator, and nothing of the user's own settings."""
        own = {
            "KUBECONFIG": str(self.kubeconfig),
            "KUBECACHEDIR": str(self.scratch / "kubectl"),  # kubectl's is keyed by host:port, and ports come back
            "HELM_CACHE_HOME": str(self.scratch / "helm/cache"),
            "HELM_CONFIG_HOME": str(self.scratch / "helm/config"),
            "HELM_DATA_HOME": str(self.scratch / "helm/data"),
        }
        return dict(os.environ) | own

    def kubectl(self, *arguments: str, stdin: str = "", kubeconfig: Path | None = None) -> str:
        """Runs kubectl as administrator, or as whom `kubeconfig` names; gives stdout, raises CommandError."""
        environment = self.environment | ({"KUBECONFIG": str(kubeconfig)} if kubeconfig else {})
        return run([str(self.binaries["kubectl"]), *arguments], stdin=stdin, environment=environment)

    def get(self, *arguments: str) -> Any:
        """`kubectl get ... -o json`, parsed."""
        return json.loads(self.kubectl("get", *arguments, "-o", "json"))

    def apply(self, *documents: dict[str, Any], kubeconfig: Path | None = None) -> str:
        """Applies objects on the server's side."""
        text = yaml.safe_dump_all(documents)
        return self.kubectl("apply", "--server-side", "-f", "-", stdin=text, kubeconfig=kubeconfig)

    def helm(self, *arguments: str, stdin: str = "") -> str:
        """Runs Helm as administrator; gives stdout, raises CommandError."""
        return run([str(self.binaries["helm"]), *arguments], stdin=stdin, environment=self.environment)

    def version(self) -> str:
        """The API server's version, e.g. `v1.37.2`."""
        return str(json.loads(self.kubectl("get", "--raw", "/version"))["gitVersion"])

    @property
    def people(self) -> Issuer:
        """Who gives people their tokens."""
        if self.issuer is None:
            raise PowerError(f"the cluster `{self.kind}` does not have the power `{Power.PEOPLE}`")
        return self.issuer

    def person_kubeconfig(self, token: str, name: str) -> Path:
        """A kubeconfig of a person, by a token that the API server takes. `name`: of the file."""
        return kubeconfig.write(self.scratch / f"person-{name}.kubeconfig", self._server_entry(), {"token": token})

    def service_account_kubeconfig(
        self, namespace: str, name: str, server: str | None = None, duration: str = "1h"
    ) -> Path:
        """A kubeconfig with a token of an existing ServiceAccount. `server`: another URL, e.g. that of a proxy."""
        token = self.kubectl("create", "token", name, "--namespace", namespace, "--duration", duration).strip()
        cluster = self._server_entry()
        if server is not None:
            cluster["server"] = server
            if not server.startswith("https:"):
                cluster = {"server": server}
        suffix = "" if server is None else "-" + "".join(c if c.isalnum() else "-" for c in server)
        path = self.scratch / f"{namespace}-{name}{suffix}.kubeconfig"
        return kubeconfig.write(path, cluster, {"token": token}, namespace)

    def restart(self, program: str = "kube-apiserver") -> None:
        """Restarts `kube-apiserver` or `etcd` on the same address and data; returns when the API answers again."""
        self._need(Power.RESTART).restart(program)

    def etcd_dump(self) -> bytes:
        """The raw bytes of all keys and values of the database, to search in."""
        return self._need(Power.ETCD).etcd_dump()

    def audit_events(self) -> list[dict[str, Any]]:
        """The audit log so far, oldest first."""
        return self.audit_since(0)[0]

    def audit_since(self, start: int) -> tuple[list[dict[str, Any]], int]:
        """What was logged behind this place, oldest first, and the place to read on from."""
        text = self._whole_lines(start)
        return [json.loads(line) for line in text.split("\n")[:-1]], start + len(text.encode())

    def audit_end(self) -> int:
        """The place behind what was logged so far."""
        return len(self._whole_lines(0).encode())

    def _whole_lines(self, start: int) -> str:
        text = self._need(Power.AUDIT).audit_text(start)
        return text[: text.rfind("\n") + 1]  # the last may be half written

    def load_image(self, archive: Path) -> None:
        """Makes the images of an archive available to Pods."""
        self._need(Power.NODE).load_image(archive)

    def _need(self, power: Power) -> Control:
        if power not in self.powers or self.control is None:
            raise PowerError(f"the cluster `{self.kind}` does not have the power `{power}`")
        return self.control

    def _server_entry(self) -> dict[str, Any]:
        """The cluster entry of the current context, self-contained."""
        view = json.loads(self.kubectl("config", "view", "--raw", "--minify", "--flatten", "-o", "json"))
        entry: dict[str, Any] = view["clusters"][0]["cluster"]
        return entry
