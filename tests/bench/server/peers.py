"""Other servers that speak the AWS KMS protocol, as the package registries give them. Called by measure.py.

Each is optional: one that cannot be had here is named in the notes of the page, and the rest is measured. None of them checks signatures,
policies or grants by default, and none keeps its keys in a token.
"""

from __future__ import annotations

import os
import shutil
import sys
from contextlib import ExitStack
from pathlib import Path

from tests.bench.server.servers import ACCOUNT, REGION, Server, started_on
from tests.clients.build import digest, made, run
from tests.cluster import gotoolchain
from tests.protocol.peers import moto_program

LOCAL_KMS = "github.com/nsmithuk/local-kms@v0.0.0-20260228092603-2a5e92d09ab6"
PYPI = {"ministack": ("ministack==1.5.33", "cryptography"), "LocalStack": ("localstack-core[runtime]==2026.3.0",)}


def start_peers(stack: ExitStack, folder: Path) -> tuple[list[Server], list[str]]:
    """Those that start, and what became of the others."""
    found, lost = [], []
    for name, begin in (("moto", _moto), ("local-kms", _local_kms), ("ministack", _ministack), ("LocalStack", _localstack)):
        try:
            found.append(begin(stack, folder))
        except Exception as error:  # noqa: BLE001 - a peer that is away is no fault of ours
            lost.append(f"{name}: not measured ({type(error).__name__}: {str(error).strip().splitlines()[-1][:120] if str(error) else ''})")
    return found, lost


def _moto(stack: ExitStack, folder: Path) -> Server:
    program = moto_program()
    return started_on(stack, "moto 5.2.5", lambda port: [str(program), "-H", "127.0.0.1", "-p", str(port)], folder, lambda _: {})


def _local_kms(stack: ExitStack, folder: Path) -> Server:
    def install(into: Path) -> None:
        go = gotoolchain.find()
        run([go.binary, "install", LOCAL_KMS], into, go.environment() | {"GOBIN": str(into)})

    program = made("bench-local-kms", digest(LOCAL_KMS), 60, install) / "local-kms"

    def env(port: int) -> dict[str, str]:
        return {"PORT": str(port), "KMS_ACCOUNT_ID": ACCOUNT, "KMS_REGION": REGION, "KMS_DATA_PATH": str(folder / "local-kms")}

    return started_on(stack, "local-kms", lambda _: [str(program)], folder, env)


def _pypi(name: str) -> Path:
    """The bin folder of an environment with this package; not from a lock, so that only its own version is pinned."""

    def install(into: Path) -> None:
        shutil.rmtree(into / "venv", ignore_errors=True)
        run([sys.executable, "-m", "venv", str(into / "venv")], into)
        run([str(into / "venv/bin/python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *PYPI[name]], into)

    return made(f"bench-{name.lower()}", digest(*PYPI[name], sys.version), 120, install) / "venv/bin"


def _ministack(stack: ExitStack, folder: Path) -> Server:
    place = _pypi("ministack")
    return started_on(
        stack,
        "ministack 1.5.33",
        lambda _: [str(place / "ministack")],
        folder,
        lambda port: {"GATEWAY_PORT": str(port), "SERVICES": "kms", "LOG_LEVEL": "WARNING", "MINISTACK_ACCOUNT_ID": ACCOUNT},
    )


def _localstack(stack: ExitStack, folder: Path) -> Server:
    place = _pypi("LocalStack")
    env = {"SERVICES": "kms", "EAGER_SERVICE_LOADING": "1", "DISABLE_EVENTS": "1", "SKIP_SSL_CERT_DOWNLOAD": "1", "LS_LOG": "error"}
    home = folder / "localstack-home"
    home.mkdir()
    return started_on(
        stack,
        "LocalStack 2026.3.0",
        lambda _: [str(place / "python"), "-m", "localstack.runtime.main"],
        folder,
        lambda port: env | {"GATEWAY_LISTEN": f"127.0.0.1:{port}", "FILESYSTEM_ROOT": str(home), "HOME": str(home), "PATH": f"{place}:{os.environ['PATH']}"},
    )
