"""`keystead server` processes outside Pods, with the chart's ServiceAccount and RBAC, and AWS clients that talk to them.

Who uses it: the cluster tests of the data plane, the demo, the benchmark. TLS is real: an authority made for the run, which clients trust
by a file, as Pods do.
"""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config
from tests.certificates import SelfSigned, make_self_signed
from tests.operator.harness import SYSTEM, Installation, OperatorProcess, wait_for

SERVER_ACCOUNT = "keystead-server"
REGION = "cluster-1"
SERVER = ("keystead", "server")


@dataclass(frozen=True)
class Authority:
    """A certificate for this machine, and the file by which clients trust it."""

    folder: Path
    made: SelfSigned

    @property
    def bundle(self) -> Path:
        """PEM of the authority."""
        return self.folder / "ca.pem"

    @property
    def certificate(self) -> Path:
        """PEM of the server."""
        return self.folder / "tls.crt"

    @property
    def key(self) -> Path:
        """Its private key."""
        return self.folder / "tls.key"


def make_authority(folder: Path) -> Authority:
    """A new authority and a certificate for 127.0.0.1 and localhost."""
    folder.mkdir(parents=True, exist_ok=True)
    made = Authority(folder, make_self_signed(["localhost", "127.0.0.1"], datetime.now(UTC)))
    made.bundle.write_bytes(made.made.authority)
    made.certificate.write_bytes(made.made.certificate)
    made.key.write_bytes(made.made.key)
    return made


class ServerProcess(OperatorProcess):
    """One server process; `port` is its probe port, `url` its endpoint."""

    @property
    def endpoint_port(self) -> int:
        """The port of the endpoint, from its log."""
        found: list[str] = []

        def look() -> bool:
            found[:] = re.findall(r"serving on port (\d+)", self.text)
            return bool(found)

        self.wait("the endpoint's port in the log", look)
        return int(found[0])

    @property
    def url(self) -> str:
        """Where clients go."""
        return f"https://localhost:{self.endpoint_port}"


@contextmanager
def server(
    installation: Installation,
    authority: Authority,
    name: str = "server",
    api: str | None = None,
    program: tuple[str, ...] = SERVER,
    **settings: str,
) -> Iterator[ServerProcess]:
    """A running server. `api`: another API server URL (a proxy). `settings`: KEYSTEAD_* without the prefix."""
    process = start(installation, authority, name, api, program, **settings)
    try:
        yield process
    finally:
        process.stop()


def start(
    installation: Installation,
    authority: Authority,
    name: str = "server",
    api: str | None = None,
    program: tuple[str, ...] = SERVER,
    **settings: str,
) -> ServerProcess:
    """Start one; the caller stops it. `program`: the module that runs, and its arguments."""
    kubeconfig = installation.cluster.service_account_kubeconfig(SYSTEM, SERVER_ACCOUNT, api, duration="8h")
    environment = installation.environment(kubeconfig) | {
        "KEYSTEAD_SERVER_PORT": "0",
        "KEYSTEAD_SERVER_PROBE_PORT": "0",
        "KEYSTEAD_TLS_CERT": str(authority.certificate),
        "KEYSTEAD_TLS_KEY": str(authority.key),
        "KEYSTEAD_LAME_DUCK": "0",
        "KEYSTEAD_DRAIN": "5",
    }
    environment |= {f"KEYSTEAD_{key.upper()}": value for key, value in settings.items()}
    return ServerProcess(*installation.launch(name, program, environment))


@dataclass(frozen=True)
class Workload:
    """A ServiceAccount that calls: its web identity token, as a Pod would have it."""

    installation: Installation
    namespace: str
    name: str

    def create(self, *verbs: str) -> Workload:
        """Make it, with these verbs on the keys of its namespace (RBAC)."""
        cluster = self.installation.cluster
        cluster.kubectl("create", "serviceaccount", self.name, "-n", self.namespace)
        if verbs:
            self.allow(*verbs)
        return self

    def allow(self, *verbs: str, resources: str = "kmskeys.kms.keystead.io,kmsaliases.kms.keystead.io") -> None:
        """A Role and its binding."""
        cluster, role = self.installation.cluster, f"{self.name}-{len(verbs)}-{time.monotonic_ns()}"
        group = ",".join(verbs)
        cluster.kubectl("create", "role", role, "-n", self.namespace, f"--verb={group}", f"--resource={resources}")
        subject = f"--serviceaccount={self.namespace}:{self.name}"
        cluster.kubectl("create", "rolebinding", role, "-n", self.namespace, f"--role={role}", subject)

    def token(self, audience: str = "keystead", duration: str = "1h") -> str:
        """A token of the TokenRequest API, like a projected one."""
        arguments = ("create", "token", self.name, "-n", self.namespace, f"--audience={audience}", f"--duration={duration}")
        return self.installation.cluster.kubectl(*arguments).strip()

    def delete(self) -> None:
        """The ServiceAccount goes."""
        self.installation.cluster.kubectl("delete", "serviceaccount", self.name, "-n", self.namespace)


def role_of(account: str, workload: Workload) -> str:
    """The role ARN of a ServiceAccount."""
    return f"arn:aws:iam::{account}:role/{workload.name}"


def assume(server: ServerProcess, authority: Authority, workload: Workload, account: str, **more: Any) -> dict[str, str]:
    """Temporary credentials from the server's STS, by an unmodified boto3."""
    sts = boto3.client("sts", **_client(server, authority), aws_access_key_id="unused", aws_secret_access_key="unused")
    answer = sts.assume_role_with_web_identity(
        RoleArn=role_of(account, workload), RoleSessionName="tests", WebIdentityToken=workload.token() + "\n", **more
    )
    found = answer["Credentials"]
    return {
        "aws_access_key_id": found["AccessKeyId"],
        "aws_secret_access_key": found["SecretAccessKey"],
        "aws_session_token": found["SessionToken"],
    }


def kms(server: ServerProcess, authority: Authority, credentials: dict[str, str], attempts: int = 1) -> Any:
    """A boto3 KMS client."""
    return boto3.client("kms", **_client(server, authority, attempts), **credentials)


def _client(server: ServerProcess, authority: Authority, attempts: int = 1) -> dict[str, Any]:
    return {
        "endpoint_url": server.url,
        "region_name": REGION,
        "verify": str(authority.bundle),
        "config": Config(retries={"total_max_attempts": attempts}, connect_timeout=5, read_timeout=15),
    }


def account_of(installation: Installation, namespace: str) -> str:
    """The account id of a namespace, from a key's ARN: a first key is made for it where there is none."""
    cluster = installation.cluster
    body = {
        "apiVersion": "kms.keystead.io/v1alpha1",
        "kind": "KmsKey",
        "metadata": {"namespace": namespace, "name": "first"},
        "spec": {},
    }
    cluster.apply(body)

    def arn() -> str | None:
        status = cluster.get("kmskey", "first", "-n", namespace).get("status") or {}
        return status.get("keyArn")

    return wait_for("the first key's ARN", arn).split(":")[4]


def stop_now(process: ServerProcess) -> None:
    """kill -9."""
    os.kill(process.child.pid, signal.SIGKILL)
    process.child.wait(10)
