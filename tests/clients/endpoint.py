"""`keystead dev` as a process of its own, for clients that are processes too. Called by conftest.py, here and in tests/protocol.

Everything is random or temporary: port, access key, token. The process is ended by its id. What a client may know is in `environment`:
nothing but the variables that `keystead dev` printed, and a private authority where it speaks TLS.
"""

from __future__ import annotations

import os
import queue
import shlex
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import boto3
from tests.cluster.certificates import Authority

PROGRAM = Path(sys.executable).with_name("keystead")
NEEDED = ("AWS_ENDPOINT_URL_KMS", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
REGION = "eu-central-1"
START_SECONDS = 60.0
STOP_SECONDS = 10.0
EXPORT = "export "


@dataclass(frozen=True)
class Certificates:
    """A private authority and the endpoint's leaf."""

    authority: Path
    certificate: Path
    key: Path


def certificates(folder: Path) -> Certificates:
    """Made anew in `folder`."""
    folder.mkdir(mode=0o700, exist_ok=True)
    authority = Authority("keystead-clients")
    authority.pair.write(folder, "authority")
    authority.issue("keystead", names=("localhost", "127.0.0.1")).write(folder, "endpoint")
    return Certificates(folder / "authority.crt", folder / "endpoint.crt", folder / "endpoint.key")


class Endpoint:
    """A running `keystead dev`.

    options      where it keeps its state
    access_keys  (id, secret, account), where it is told which
    program      what is run in place of `keystead`
    """

    def __init__(
        self,
        folder: Path,
        *,
        tls: Certificates | None = None,
        jwks: Path | None = None,
        options: Sequence[str] = ("--memory",),
        access_keys: Sequence[tuple[str, str, str]] = (),
        program: Sequence[str] = (str(PROGRAM),),
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._tls = tls
        self._log = folder / "keystead.log"
        self._known = {"AWS_SECRET_ACCESS_KEY": access_keys[0][1]} if access_keys else {}
        command = [*program, "dev", "--listen", "127.0.0.1:0", *options]
        for access_key in access_keys:
            command += ["--access-key", ":".join(access_key)]
        if tls is not None:
            command += ["--tls-cert", str(tls.certificate), "--tls-key", str(tls.key)]
        if jwks is not None:
            command += ["--jwks", str(jwks)]
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                command, cwd=folder, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log
            )
        self._lines: queue.Queue[str | None] = queue.Queue()
        self.told: list[str] = []
        self._clients: dict[str, Any] = {}
        self._reader = threading.Thread(
            target=_pass_on, args=(self._process.stdout, self._lines, self.told), daemon=True
        )
        self._reader.start()
        try:
            self.exports = self._read_exports()
        except BaseException:
            self.stop()
            raise

    @property
    def url(self) -> str:
        return self.exports["AWS_ENDPOINT_URL_KMS"]

    @property
    def trust(self) -> dict[str, str]:
        """What each client reads to trust a private authority: examples/clients/README.md."""
        if self._tls is None:
            return {}
        authority = str(self._tls.authority)
        return dict.fromkeys(("AWS_CA_BUNDLE", "NODE_EXTRA_CA_CERTS", "SSL_CERT_FILE"), authority)

    @property
    def environment(self) -> dict[str, str]:
        """For a client of this endpoint. The instance metadata service is switched off: a client without credentials would look there."""
        regions = {"AWS_REGION": REGION, "AWS_DEFAULT_REGION": REGION, "AWS_EC2_METADATA_DISABLED": "true"}
        return {"AWS_ENDPOINT_URL_STS": self.url} | self.exports | regions | self.trust

    def admin(self, service: str = "kms") -> Any:
        """A boto3 client of the tests' own environment, with the printed access key."""
        if service not in self._clients:
            self._clients[service] = boto3.client(
                service,
                region_name=REGION,
                endpoint_url=self.url,
                verify=self.trust.get("AWS_CA_BUNDLE"),
                aws_access_key_id=self.exports["AWS_ACCESS_KEY_ID"],
                aws_secret_access_key=self.exports["AWS_SECRET_ACCESS_KEY"],
            )
        return self._clients[service]

    @property
    def pid(self) -> int:
        """Of the process."""
        return self._process.pid

    @property
    def output(self) -> str:
        """All that it has said so far."""
        return "\n".join(self.told) + "\n" + self._log.read_text(errors="replace")

    def kill(self) -> None:
        """kill -9."""
        self._process.kill()
        self._process.wait()
        self._close()

    def stop(self) -> None:
        """SIGTERM, and SIGKILL for one that does not end."""
        self._process.terminate()
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._close()

    def _close(self) -> None:
        self._reader.join()
        for client in self._clients.values():
            client.close()

    def _read_exports(self) -> dict[str, str]:
        """The `export NAME=VALUE` lines, until all that are needed are there."""
        found = dict(self._known)
        end = time.monotonic() + START_SECONDS
        while not found.keys() >= set(NEEDED):
            try:
                line = self._lines.get(timeout=max(0.0, end - time.monotonic()))
            except queue.Empty:
                raise AssertionError(
                    f"keystead dev did not print {', '.join(NEEDED)} in {START_SECONDS:.0f} s: {self._tail()}"
                ) from None
            if line is None:
                raise AssertionError(f"keystead dev ended before it was ready: {self._tail()}")
            if line.startswith(EXPORT):
                name, _, value = line.removeprefix(EXPORT).partition("=")
                (found[name],) = shlex.split(value)
        return found

    def _tail(self) -> str:
        return self._log.read_text(errors="replace")[-2000:]


def _pass_on(stdout: IO[bytes], lines: queue.Queue[str | None], told: list[str]) -> None:
    """Reads for ever, so that the process never waits for a full pipe; None at its end."""
    with stdout:
        for line in stdout:
            told.append(line.decode(errors="replace").strip())
            lines.put(told[-1])
    lines.put(None)


def without_aws(environ: dict[str, str] | None = None) -> dict[str, str]:
    """The environment of this process without what would reach another cloud or another authority."""
    kept = os.environ if environ is None else environ
    dropped = ("AWS_", "SOPS_", "GO", "PYTHON", "VIRTUAL_ENV", "NODE_", "SSL_CERT", "REQUESTS_CA", "KEY_ID")
    return {name: value for name, value in kept.items() if not name.startswith(dropped)}
