"""A control plane of child processes: etcd, kube-apiserver, kube-controller-manager.

It has ports, a folder and authorities of its own. Called by kinds.py (tests) and up.py/down.py (demo, detached).
All that is needed to find it again lies in its folder: `plane.json`, the pid files, pki/ and the data. No Pod ever
runs here: that takes a node.
"""

from __future__ import annotations

import json
import signal
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

from tests.cluster import certificates, etcd, flags, kubeconfig, processes
from tests.cluster.flags import Options, Ports, Program, Setup

START_SECONDS = 90.0  # for a machine that compiles at the same time; 5 s on an idle one
# Seconds after SIGTERM before SIGKILL.
PATIENCE = {Program.ETCD: 5.0, Program.API: 10.0, Program.CONTROLLERS: 5.0}
# The same in a restart: by then only watches and streams are open, which their other ends never close.
RESTART_PATIENCE = 2.0


class StartError(Exception):
    """A program ended or did not become ready; the message holds the tail of its log."""


@dataclass(slots=True)
class ControlPlane(Setup):
    """Start, stop and restart; safe to call again. `binaries`: program name -> path."""

    binaries: dict[str, Path] = field(default_factory=dict)

    def start(self) -> None:
        """Starts what does not run and waits until the cluster is usable. New ports if someone was faster on ours."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        first = not (self.folder / "plane.json").exists()
        for attempt in range(3):
            try:
                self._start_once()
            except StartError as error:
                self.stop()
                if not first or attempt == 2 or "address already in use" not in str(error):
                    raise
                self.ports = flags.free_ports()
            else:
                return

    def _start_once(self) -> None:
        self._write_files()
        for program in Program:
            self.launch(program)
        self._wait(Program.CONTROLLERS, self._has_default_account, "the `default` ServiceAccount")

    def launch(self, program: Program) -> None:
        """Starts one program if it does not run, and waits until it answers."""
        if processes.recall(program, self.folder) is None:
            command = [str(self.binaries[program]), *flags.arguments(self, program)]
            processes.spawn(program, command, self.folder, detached=self.options.detached)
        if program is Program.ETCD:
            self._wait(program, lambda: "true" in self._get(f"{self.etcd_url}/health", "etcd"), "health")
        elif program is Program.API:
            self._wait(program, lambda: self._get(f"{self.api_url}/readyz") == "ok", "/readyz")

    def halt(self, program: Program, *, kill: bool = False, patience: float | None = None) -> None:
        """Ends one program and waits until it is gone. `kill`: SIGKILL at once, as in a crash."""
        process = processes.recall(program, self.folder)
        if process is not None and kill:
            process.kill()
        elif process is not None:
            process.stop(PATIENCE[program] if patience is None else patience)
        processes.forget(program, self.folder)

    def restart(self, program: Program, *, kill: bool = False) -> None:
        """Ends and starts one program on the same ports and data, and what its absence ended with it."""
        self.halt(program, kill=kill, patience=RESTART_PATIENCE)
        for each in Program:
            self.launch(each)

    def stop(self) -> None:
        """Ends all; returns when all are gone. The data stays."""
        for program in (Program.CONTROLLERS, Program.API):  # both at once: the API server takes its time
            if (process := processes.recall(program, self.folder)) is not None:
                process.signal(signal.SIGTERM)
        for program in reversed(Program):
            self.halt(program)

    def running(self) -> dict[Program, int]:
        """The pids of the programs that run."""
        found = {program: processes.recall(program, self.folder) for program in Program}
        return {program: process.pid for program, process in found.items() if process is not None}

    def etcd_entries(self, page: int = etcd.PAGE) -> Iterator[tuple[bytes, bytes]]:
        """Every key and value, as etcd stores them."""
        return etcd.entries(self.etcd_url, self._tls("etcd"), page)

    def _has_default_account(self) -> bool:
        return '"default"' in self._get(f"{self.api_url}/api/v1/namespaces/default/serviceaccounts/default")

    def _wait(self, program: Program, ready: Callable[[], bool], what: str) -> None:
        """Polls `ready`; raises StartError at once when the program ends, or when the time is up."""
        deadline = time.monotonic() + START_SECONDS
        while not self._ready(ready):
            gone = processes.recall(program, self.folder) is None
            if gone or time.monotonic() > deadline:
                reason = "ended" if gone else f"gives no {what} after {START_SECONDS:g} s"
                raise StartError(f"{program} {reason}; its log ends:\n{processes.log_tail(program, self.folder)}")
            time.sleep(processes.POLL)

    @staticmethod
    def _ready(ready: Callable[[], bool]) -> bool:
        try:
            return ready()
        except urllib.error.HTTPError as error:  # 403 and 404 before the roles and accounts exist, 500 while it starts
            error.close()
            return False
        except OSError:  # refused, reset; URLError is one
            return False

    def _get(self, url: str, authority: str = "ca") -> str:
        handlers = (urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=self._tls(authority)))
        with urllib.request.build_opener(*handlers).open(url, timeout=5) as response:
            return str(response.read().decode())

    def _tls(self, authority: str) -> ssl.SSLContext:
        pki = self.folder / "pki"
        client = "admin" if authority == "ca" else "etcd-client"
        context = ssl.create_default_context(cafile=pki / f"{authority}.crt")
        context.verify_flags |= ssl.VERIFY_X509_STRICT  # the default from Python 3.13 on
        context.load_cert_chain(pki / f"{client}.crt", pki / f"{client}.key")
        return context

    def _write_files(self) -> None:
        """Certificates once a folder; ports, policy and kubeconfig each time."""
        if not (self.folder / "pki").exists():
            certificates.write_pki(self.folder, flags.HOST, flags.API_NAMES)
        pki = self.folder / "pki"
        cluster = {
            "server": self.api_url,
            "certificate-authority-data": kubeconfig.encode((pki / "ca.crt").read_bytes()),
        }
        user = {
            "client-certificate-data": kubeconfig.encode((pki / "admin.crt").read_bytes()),
            "client-key-data": kubeconfig.encode((pki / "admin.key").read_bytes()),
        }
        kubeconfig.write(self.kubeconfig, cluster, user)
        (self.folder / "audit-policy.yaml").write_text(json.dumps(flags.AUDIT_POLICY), encoding="utf-8")
        state = {
            "ports": asdict(self.ports),
            "options": asdict(self.options),
            "binaries": {name: str(path) for name, path in self.binaries.items()},
        }
        (self.folder / "plane.json").write_text(json.dumps(state), encoding="utf-8")


def load(folder: Path) -> ControlPlane | None:
    """The control plane that was started in `folder`, running or not; None where there was none."""
    try:
        state = json.loads((folder / "plane.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    options = state["options"] | {"api_arguments": tuple(state["options"]["api_arguments"])}
    binaries = {name: Path(path) for name, path in state["binaries"].items()}
    return ControlPlane(folder, Options(**options), Ports(**state["ports"]), binaries)
