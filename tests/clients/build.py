"""Gets the unmodified clients ready, once a machine: `python -m tests.clients.build`.

Called by the Makefile, by people and by tests/clients/conftest.py. All lies in the tool cache, under the digest of what decides it:

    clients-python/<digest>/    a virtual environment out of requirements/clients.txt: boto3, aws CLI v1, AWS Encryption SDK
    clients-node/<digest>/      node_modules of examples/clients/javascript, by `npm ci`
    bin/<digest>/sops           SOPS, built from its module
    clients-go/<digest>/        a stamp: the packages of examples/clients/go are in Go's own build cache

Versions and hashes stand in the lock files; nothing here changes them. Debian packages are .ci/packages' work: a missing tool is an error
that names its package.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.cluster import build, gotoolchain, toolset

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "examples" / "clients"
REQUIREMENTS = ROOT / "requirements" / "clients.txt"
OLDEST_NODE = 18  # Debian 12's
GO_FLAGS = "-mod=readonly -trimpath -buildvcs=false"

SOPS = toolset.Tool(
    "sops",
    toolset.Module("sops", "github.com/getsops/sops/v3", "3.13.3", "-s -w", root=Path(__file__).parent / "tools"),
    "github.com/getsops/sops/v3/cmd/sops",
    120,
)


class ClientsError(Exception):
    """A client cannot be made ready here; the message says what to install, or what the installer said."""


@dataclass(frozen=True)
class Clients:
    """Where everything is. `path`: folders to put before PATH, so that `python`, `aws`, `sops`, `go` and `node` are the pinned ones."""

    path: tuple[Path, ...]
    node_modules: Path


def ensure() -> Clients:
    """Makes ready what is missing. Two callers at once do it once."""
    node = check_tools()
    go = gotoolchain.find()
    python = made("clients-python", digest(REQUIREMENTS.read_bytes(), sys.version), 25, _install_python)
    modules = made("clients-node", digest(*_javascript_files(), node), 10, _install_node)
    sops = build.ensure((SOPS,))["sops"]
    made("clients-go", digest(*_go_files(), go.major), 10, lambda _: _build_go_example(go))
    return Clients((python / "venv" / "bin", sops.parent, Path(go.binary).parent), modules / "node_modules")


def check_tools() -> str:
    """Node's version; ClientsError where node, npm or openssl is missing or too old."""
    missing = [name for name in ("node", "npm", "openssl") if shutil.which(name) is None]
    if missing:
        names = " ".join("nodejs" if name == "node" else name for name in missing)
        raise ClientsError(f"not on PATH: {', '.join(missing)}\nhint: apt-get install {names}")
    version = run(["node", "--version"], ROOT).strip()
    found = re.match(r"v(\d+)\.", version)
    if found is None or int(found[1]) < OLDEST_NODE:
        raise ClientsError(f"node is {version}, needed is {OLDEST_NODE} or newer\nhint: apt-get install nodejs npm")
    return version


def digest(*parts: bytes | str) -> str:
    """A folder's name: what decides its content, and this machine's kind."""
    total = hashlib.sha256()
    for part in (*parts, sys.platform, platform.machine()):
        content = part.encode() if isinstance(part, str) else part
        total.update(len(content).to_bytes(8, "big") + content)
    return total.hexdigest()[:16]


def made(kind: str, name: str, usual_seconds: int, make: Callable[[Path], None]) -> Path:
    """The folder `kind`/`name` of the cache, filled by `make` unless an earlier call finished that."""
    folder = gotoolchain.cache_folder() / kind / name
    stamp = folder / "done"
    if stamp.exists():
        return folder
    folder.mkdir(parents=True, exist_ok=True)
    with _exclusive(folder / "lock"):
        if not stamp.exists():  # the other caller may have made it
            build.say(f"{kind} (usually {usual_seconds} s) ...")
            started = time.monotonic()
            make(folder)
            stamp.touch()
            build.say(f"{kind} done in {time.monotonic() - started:.0f} s")
    return folder


def run(command: list[str], cwd: Path, env: dict[str, str] | None = None) -> str:
    """What a command prints; ClientsError with the tail of its output where it fails."""
    done = subprocess.run(
        command, cwd=cwd, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise ClientsError(
            f"{' '.join(command[:3])} failed ({done.returncode}):\n{(done.stdout + done.stderr)[-4000:]}"
        )
    return done.stdout


def go_environment(go: gotoolchain.Go) -> dict[str, str]:
    """What `go run .` needs to find everything built: the tests run the example under the same settings."""
    return go.environment() | {"GOFLAGS": GO_FLAGS}


def _install_python(folder: Path) -> None:
    """An environment of their own: these clients want another python-dateutil than the Kubernetes client."""
    venv = folder / "venv"
    shutil.rmtree(venv, ignore_errors=True)
    run([sys.executable, "-m", "venv", str(venv)], ROOT)
    pip = [str(venv / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
    run([*pip, "--require-hashes", "-r", str(REQUIREMENTS)], ROOT)


def _install_node(folder: Path) -> None:
    """By npm ci in a scratch folder, renamed when whole. Install scripts are left out: none of these packages needs one."""
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        for name in ("package.json", "package-lock.json"):
            shutil.copy(EXAMPLES / "javascript" / name, scratch)
        run(["npm", "ci", "--ignore-scripts", "--omit=dev", "--no-audit", "--no-fund"], Path(scratch))
        shutil.rmtree(folder / "node_modules", ignore_errors=True)
        Path(scratch, "node_modules").rename(folder / "node_modules")


def _build_go_example(go: gotoolchain.Go) -> None:
    """Compiles it, so that the test's `go run .` links and nothing more."""
    run([go.binary, "build", "-o", os.devnull, "."], EXAMPLES / "go", go_environment(go))


def _javascript_files() -> tuple[bytes, ...]:
    return tuple((EXAMPLES / "javascript" / name).read_bytes() for name in ("package.json", "package-lock.json"))


def _go_files() -> tuple[bytes, ...]:
    return tuple(
        path.read_bytes() for path in sorted((EXAMPLES / "go").glob("*")) if path.name != "README.md" and path.is_file()
    )


@contextmanager
def _exclusive(path: Path) -> Iterator[None]:
    """A lock that the kernel drops when its holder dies."""
    with path.open("w", encoding="utf-8") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def main() -> int:
    """Progress goes to stderr, the folders for PATH to stdout."""
    try:
        clients = ensure()
    except (ClientsError, build.BuildError, gotoolchain.ToolchainError) as error:
        build.say(f"error: {error}")
        return 1
    for folder in clients.path:
        print(folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
