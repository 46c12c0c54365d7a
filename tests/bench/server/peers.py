"""Other servers that speak the AWS KMS protocol, as the package registries give them. Called by measure.py.

Each is optional: one that cannot be had here is named in the notes of the page, and the rest is measured. None of them checks signatures,
policies or grants by default, and none keeps its keys in a token. LocalStack is not among them: its last free release on PyPI (2026.3.0)
installs, and does not start on Python 3.11.
"""

from __future__ import annotations

import shutil
import sys
from contextlib import ExitStack
from pathlib import Path

from tests.bench.server.servers import ACCOUNT, REGION, Server, started_on
from tests.clients.build import digest, made, run
from tests.cluster import gotoolchain
from tests.protocol.peers import moto_program

LOCAL_KMS = "github.com/nsmithuk/local-kms@v0.0.0-20260228092603-2a5e92d09ab6"
MINISTACK = ("ministack==1.5.33", "cryptography")


def start_peers(stack: ExitStack, folder: Path) -> tuple[list[Server], list[str]]:
    """Those that start, and what became of the others."""
    found, lost = [], []
    for name, begin in (("moto", _moto), ("local-kms", _local_kms), ("ministack", _ministack)):
        try:
            found.append(begin(stack, folder))
        except Exception as error:
            lost.append(
                f"{name}: not measured ({type(error).__name__}: {str(error).strip().splitlines()[-1][:120] if str(error) else ''})"
            )
    return found, lost


def _moto(stack: ExitStack, folder: Path) -> Server:
    program = moto_program()
    return started_on(
        stack, "moto 5.2.5", lambda port: [str(program), "-H", "127.0.0.1", "-p", str(port)], folder, lambda _: {}
    )


def _local_kms(stack: ExitStack, folder: Path) -> Server:
    def install(into: Path) -> None:
        go = gotoolchain.find()
        run([go.binary, "install", LOCAL_KMS], into, go.environment() | {"GOBIN": str(into)})

    program = made("bench-local-kms", digest(LOCAL_KMS), 60, install) / "local-kms"

    def env(port: int) -> dict[str, str]:
        return {
            "PORT": str(port),
            "KMS_ACCOUNT_ID": ACCOUNT,
            "KMS_REGION": REGION,
            "KMS_DATA_PATH": str(folder / "local-kms"),
        }

    return started_on(stack, "local-kms", lambda _: [str(program)], folder, env)


def _ministack(stack: ExitStack, folder: Path) -> Server:
    """Not from a lock: only its own version is pinned."""

    def install(into: Path) -> None:
        shutil.rmtree(into / "venv", ignore_errors=True)
        run([sys.executable, "-m", "venv", str(into / "venv")], into)
        run(
            [
                str(into / "venv/bin/python"),
                "-m",
                "pip",
                "install",
                "--quiet",
                "--disable-pip-version-check",
                *MINISTACK,
            ],
            into,
        )

    program = made("bench-ministack", digest(*MINISTACK, sys.version), 30, install) / "venv/bin/ministack"

    def env(port: int) -> dict[str, str]:
        return {"GATEWAY_PORT": str(port), "SERVICES": "kms", "LOG_LEVEL": "WARNING", "MINISTACK_ACCOUNT_ID": ACCOUNT}

    return started_on(stack, "ministack 1.5.33", lambda _: [str(program)], folder, env)
