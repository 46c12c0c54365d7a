"""An installed Keystead on a real API server, and operator processes outside Pods with the chart's ServiceAccount and RBAC.

Who uses it: the cluster tests, the demo and the benchmark. One installation a cluster (helm install, hsm init --to-cluster, a SoftHSM
token in a read-only folder); any number of operator processes, each with its own log and probe port, stopped by pid.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from tests.cluster.cluster import Cluster, CommandError

T = TypeVar("T")
ROOT = Path(__file__).resolve().parents[2]
SYSTEM = "keystead-system"
RECORDS = "keystead-records"
CHART = ROOT / "charts/keystead"
SERVICE_ACCOUNT = "keystead-operator"
OPERATOR = ("keystead", "operator")
DEADLINE = 60.0 * (3 if os.environ.get("CI") == "true" else 1)


class TimeUpError(AssertionError):
    """A condition did not come true in time."""


def wait_for(what: str, check: Callable[[], T | None], seconds: float = DEADLINE, every: float = 0.1) -> T:
    """The first answer of `check` that is neither None nor False. Polls; never waits longer than needed."""
    end = time.monotonic() + seconds
    last: BaseException | None = None
    while time.monotonic() < end:
        try:
            found = check()
        except (CommandError, AssertionError, KeyError, OSError) as error:
            found, last = None, error
        if found is not None and found is not False:
            return found
        time.sleep(every)
    raise TimeUpError(f"not in {seconds:g} s: {what}" + (f" (last: {last})" if last else ""))


@dataclass(frozen=True)
class Installation:
    """Keystead installed in a cluster: where its token, PIN, backup and recovery key lie, and the code that runs."""

    cluster: Cluster
    folder: Path
    token: Path
    backup: Path
    recovery: Path
    namespaces: tuple[str, ...]
    code: Path = ROOT / "operator"

    def environment(self, kubeconfig: Path | None = None) -> dict[str, str]:
        """For a `keystead` process that uses this token."""
        return dict(os.environ) | {
            "PYTHONPATH": str(self.code),
            "SOFTHSM2_CONF": str(self.token / "softhsm2.conf"),
            "KEYSTEAD_HSM_PIN_FILE": str(self.token / "pin"),
            "KEYSTEAD_KUBECONFIG": str(kubeconfig or self.cluster.kubeconfig),
            "KEYSTEAD_NAMESPACE": SYSTEM,
            "KEYSTEAD_PROBE_PORT": "0",
        }

    def keystead(self, *arguments: str, kubeconfig: Path | None = None, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run a `keystead` command to its end."""
        done = subprocess.run(
            [sys.executable, "-m", "keystead", *arguments],
            env=self.environment(kubeconfig),
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        if check and done.returncode:
            raise AssertionError(f"keystead {' '.join(arguments)}: exit {done.returncode}: {done.stderr}")
        return done

    def ceremony(self, *arguments: str) -> None:
        """`keystead hsm init --to-cluster` into a new token folder, which ends read-only, as in a Pod."""
        done = subprocess.run(
            [sys.executable, "-m", "keystead", "hsm", "init", "--softhsm-dir", str(self.token), *arguments, "--to-cluster"],
            env=self.environment() | {"SOFTHSM2_CONF": "/nonexistent", "KEYSTEAD_HSM_PIN_FILE": "/nonexistent"},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        for path in [self.token, *self.token.rglob("*")]:
            path.chmod(0o500 if path.is_dir() else 0o400)

    def launch(self, name: str, program: tuple[str, ...], environment: dict[str, str]) -> tuple[subprocess.Popen[bytes], Path]:
        """A process of its own session, and the log it writes. `program`: the module that runs, and its arguments."""
        log = self.folder / f"{name}-{time.monotonic_ns()}.log"
        with log.open("wb") as out:
            child = subprocess.Popen(
                [sys.executable, "-m", *program],
                env=environment,
                cwd=ROOT,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        return child, log

    @contextmanager
    def operator(
        self, name: str = "operator", server: str | None = None, program: tuple[str, ...] = OPERATOR, **settings: str
    ) -> Iterator[OperatorProcess]:
        """A running operator. `server`: another API server URL (a proxy). `settings`: KEYSTEAD_* without the prefix."""
        process = self.start(name, server, program, **settings)
        try:
            yield process
        finally:
            process.stop()

    def start(
        self, name: str = "operator", server: str | None = None, program: tuple[str, ...] = OPERATOR, **settings: str
    ) -> OperatorProcess:
        """Start an operator; the caller stops it. `program`: the module that runs, and its arguments."""
        kubeconfig = self.cluster.service_account_kubeconfig(SYSTEM, SERVICE_ACCOUNT, server, duration="8h")
        environment = self.environment(kubeconfig) | {"KEYSTEAD_IDENTITY": name}
        environment |= {f"KEYSTEAD_{key.upper()}": value for key, value in settings.items()}
        return OperatorProcess(*self.launch(name, program, environment))


@dataclass
class OperatorProcess:
    """One operator process."""

    child: subprocess.Popen[bytes]
    log: Path
    _port: int | None = field(default=None)

    @property
    def text(self) -> str:
        """What it logged so far."""
        return self.log.read_text(errors="replace")

    @property
    def port(self) -> int:
        """Its probe port, from its log."""
        if self._port is None:
            match = wait_for("the probe port in the log", lambda: re.search(r"probes on port (\d+)", self.text))
            self._port = int(match[1])
        return self._port

    def get(self, path: str) -> tuple[int, str]:
        """Status and body of a probe."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=5) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def wait_ready(self) -> None:
        """Until /readyz says ok."""
        self.wait("readyz", lambda: self.get("/readyz")[0] == 200)

    def wait_leading(self) -> None:
        """Until it holds the Lease."""
        self.wait("leading", lambda: "leading as" in self.text)

    def wait(self, what: str, check: Callable[[], object], seconds: float = DEADLINE) -> None:
        """Wait while the process lives; its log in the error otherwise."""

        def alive_and() -> object:
            if self.child.poll() is not None:
                raise SystemError(f"the operator ended with {self.child.returncode}:\n{self.text[-4000:]}")
            return check()

        try:
            wait_for(what, alive_and, seconds)
        except TimeUpError as error:
            raise TimeUpError(f"{error}\n{self.text[-4000:]}") from None

    def kill(self) -> None:
        """kill -9."""
        self.child.send_signal(signal.SIGKILL)
        self.child.wait(10)

    def signal(self, number: int) -> None:
        """Send a signal (SIGSTOP, SIGCONT)."""
        self.child.send_signal(number)

    def stop(self) -> None:
        """SIGTERM, then SIGKILL after 10 s; waits until it is gone."""
        if self.child.poll() is None:
            self.child.send_signal(signal.SIGCONT)
            self.child.terminate()
            try:
                self.child.wait(10)
            except subprocess.TimeoutExpired:
                self.kill()


def install(
    cluster: Cluster,
    folder: Path,
    namespaces: tuple[str, ...],
    *,
    values: tuple[str, ...] = (),
    chart: Path = CHART,
    code: Path = ROOT / "operator",
) -> Installation:
    """Chart, namespaces of tenants, ceremony. `chart` and `code`: those of an earlier release."""
    folder.mkdir(parents=True, exist_ok=True)
    for namespace in namespaces:
        cluster.kubectl("create", "namespace", namespace)
    helm(cluster, "install", namespaces, values=values, chart=chart)
    made = Installation(
        cluster, folder, folder / "token", folder / "domain-backup-1.ksdb", folder / "recovery-key-1.txt", namespaces, code
    )
    made.ceremony("--backup-out", str(made.backup), "--recovery-out", str(made.recovery))
    return made


def helm(
    cluster: Cluster, verb: str, namespaces: tuple[str, ...], *, values: tuple[str, ...] = (), chart: Path = CHART
) -> str:
    """`helm install` or `helm upgrade`, with an external ceremony and data keys in these namespaces."""
    sets = ("hsm.init.mode=external", "hsm.softhsm.acceptRisk=true", f"dataKeys.namespaces={{{','.join(namespaces)}}}", *values)
    arguments = [part for value in sets for part in ("--set", value)]
    return cluster.helm(verb, "keystead", str(chart), "-n", SYSTEM, "--create-namespace", *arguments)


def key(namespace: str, name: str, **spec: Any) -> dict[str, Any]:
    """A KmsKey manifest."""
    return {
        "apiVersion": "kms.keystead.io/v1alpha1",
        "kind": "KmsKey",
        "metadata": {"namespace": namespace, "name": name},
        "spec": spec,
    }


def data_key(namespace: str, name: str, key_name: str, secret: str, **spec: Any) -> dict[str, Any]:
    """A KmsDataKey manifest."""
    return {
        "apiVersion": "kms.keystead.io/v1alpha1",
        "kind": "KmsDataKey",
        "metadata": {"namespace": namespace, "name": name},
        "spec": {"keyRef": {"name": key_name}, "target": {"secretName": secret}, **spec},
    }


def condition(body: dict[str, Any], kind: str = "Ready") -> dict[str, Any] | None:
    """A condition of an object whose status is of its own generation."""
    status = body.get("status") or {}
    if status.get("observedGeneration") != body["metadata"]["generation"]:
        return None
    return next((c for c in status.get("conditions", []) if c["type"] == kind), None)


def wait_reason(cluster: Cluster, kind: str, namespace: str, name: str, reason: str, seconds: float = DEADLINE) -> dict[str, Any]:
    """The object, once its Ready condition has this reason."""

    def check() -> dict[str, Any] | None:
        body: dict[str, Any] = cluster.get(kind, name, "-n", namespace)
        found = condition(body)
        return body if found is not None and found["reason"] == reason else None

    return wait_for(f"{kind} {namespace}/{name} {reason}", check, seconds)
