"""Calls KMS operations as a principal, again and again: what `keystead crypt` does, without a new process and login for each call.

`python -m tests.operator.caller` with the environment of an installation: one JSON line in, one out. Every call reads the records from
the API server anew and runs `app.crypt`, the command's own code, on the real token.
"""

from __future__ import annotations

import asyncio
import base64
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import msgspec
from tests.operator.harness import ROOT, Installation

from keystead.app.crypt import crypt
from keystead.cli.crypt import response_facts
from keystead.cli.services import CryptCall, TokenChoice
from keystead.errors import KmsError
from keystead.hsm.backend import Hsm, open_hsm
from keystead.operations import OPERATIONS
from keystead.settings import Settings, from_environment
from keystead.store.kube import Kube, connect
from keystead.store.pins import ClusterMarker


class RefusedError(AssertionError):
    """The operation was refused; the first word is AWS's exception name."""


@dataclass
class Caller:
    """A process that calls. Safe to use from several threads."""

    child: subprocess.Popen[str]
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def call(self, operation: str, principal: str, *, grant: str | None = None, **request: Any) -> dict[str, Any]:
        """The answer in AWS's words, bytes as base64. RefusedError where it is refused."""
        wire = {name: base64.b64encode(value).decode() if isinstance(value, bytes) else value for name, value in request.items()}
        asked = {"operation": operation, "as": principal, "grant": grant, "request": wire}
        assert self.child.stdin is not None
        assert self.child.stdout is not None
        with self._lock:
            self.child.stdin.write(f"{json.dumps(asked)}\n")
            self.child.stdin.flush()
            line = self.child.stdout.readline()
        told: dict[str, Any] = json.loads(line)
        if "refused" in told:
            raise RefusedError(told["refused"])
        return told

    def encrypt(self, principal: str, key: str, plaintext: bytes, **more: Any) -> bytes:
        """A blob."""
        return base64.b64decode(self.call("Encrypt", principal, key_id=key, plaintext=plaintext, **more)["CiphertextBlob"])

    def decrypt(self, principal: str, blob: bytes, **more: Any) -> bytes:
        """A plaintext."""
        return base64.b64decode(self.call("Decrypt", principal, ciphertext_blob=blob, **more)["Plaintext"])


@contextmanager
def caller(installation: Installation) -> Iterator[Caller]:
    """A caller with an administrator's rights on the cluster: who may do what is decided by the pipeline alone."""
    child = subprocess.Popen(
        [sys.executable, "-m", "tests.operator.caller"],
        env=installation.environment(),
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield Caller(child)
    finally:
        assert child.stdin is not None
        assert child.stdout is not None
        child.stdin.close()
        child.wait(20)
        child.stdout.close()


async def answer(settings: Settings, kube: Kube, hsm: Hsm, asked: dict[str, Any]) -> dict[str, Any]:
    """One call."""
    operation = asked["operation"]
    request = msgspec.convert(asked["request"], OPERATIONS[operation].request)
    try:
        return response_facts(await crypt(settings, kube, hsm, CryptCall(operation, request, asked["as"], asked["grant"], TokenChoice())))
    except KmsError as error:
        return {"refused": f"{error.code}: {error}"}


async def main() -> None:
    """Until stdin ends."""
    settings = from_environment()
    hsm = open_hsm(settings.hsm, ClusterMarker("", ""))
    kube = await connect(settings.cluster.kubeconfig)
    try:
        while line := await asyncio.to_thread(sys.stdin.readline):
            print(json.dumps(await answer(settings, kube, hsm, json.loads(line))), flush=True)
    finally:
        await kube.close()
        hsm.close()


if __name__ == "__main__":
    asyncio.run(main())
