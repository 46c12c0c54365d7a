"""Builds the cluster's programs from the pinned modules under tools/.

`python -m tests.cluster.build [--node] [TOOL ...]`, called by people, by .ci/run and by kinds.py. A binary is kept
under the digest of all that decides its bytes, so a second clone of the same commit builds nothing. Nothing here
changes go.mod or go.sum: lock.py does.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import hashlib
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from tests.cluster import gotoolchain, toolset

REPORT_EVERY = 30.0  # seconds between two lines while a build runs
LOG_TAIL = 40  # lines of the compiler's output shown after a failure


class BuildError(Exception):
    """A program did not build; the message ends with the log's tail."""


def say(message: str) -> None:
    """Progress goes to stderr at once, also into a pipe."""
    print(message, file=sys.stderr, flush=True)


def digest(tool: toolset.Tool, go_major: str) -> str:
    """The name of the folder of a binary: go.mod + go.sum + flags + Go's release line + this machine's kind."""
    total = hashlib.sha256()
    for name in ("go.mod", "go.sum"):
        total.update(hashlib.sha256((tool.module.directory / name).read_bytes()).digest())
    total.update("\0".join((*build_flags(tool), go_major, sys.platform, platform.machine())).encode())
    return total.hexdigest()[:16]


def build_flags(tool: toolset.Tool) -> tuple[str, ...]:
    """The flags that decide a binary's bytes."""
    return ("-mod=readonly", "-trimpath", "-buildvcs=false", "-ldflags", tool.module.ldflags)


def binary_path(tool: toolset.Tool, go: gotoolchain.Go) -> Path:
    """Where the binary is or will be."""
    return gotoolchain.cache_folder() / "bin" / digest(tool, go.major) / tool.name


def ensure(tools: tuple[toolset.Tool, ...]) -> dict[str, Path]:
    """Builds what is missing; gives name -> binary. Raises BuildError or ToolchainError."""
    go = gotoolchain.find()
    found = {tool.name: binary_path(tool, go) for tool in tools}
    missing = [tool for tool in tools if not found[tool.name].exists()]
    if len(missing) > 1:
        say(f"{len(missing)} programs to build, usually {sum(tool.usual_seconds for tool in missing)} s on 2 cores")
    for tool in missing:
        _build_locked(tool, go, found[tool.name])
    return found


def _build_locked(tool: toolset.Tool, go: gotoolchain.Go, target: Path) -> None:
    """One build at a time a binary: who comes second waits and then finds it."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with _file_lock(target.parent / f".{tool.name}.lock", tool.name):
        if not target.exists():
            _build(tool, go, target)


@contextlib.contextmanager
def _file_lock(path: Path, name: str) -> Iterator[None]:
    """An advisory lock that the kernel drops when its holder dies."""
    with path.open("w", encoding="utf-8") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"waiting for another process that builds {name} ...")
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def _build(tool: toolset.Tool, go: gotoolchain.Go, target: Path) -> None:
    """Compiles into a neighbour folder and renames: a binary that is there is whole."""
    say(f"building {tool.name} {tool.module.version} (usually {tool.usual_seconds} s) ...")
    started = time.monotonic()
    with tempfile.TemporaryDirectory(dir=target.parent) as scratch, tempfile.TemporaryFile() as log:
        output = Path(scratch) / tool.name
        command = [go.binary, "build", *build_flags(tool), "-o", str(output), tool.package]
        with subprocess.Popen(
            command, cwd=tool.module.directory, env=go.environment(), stdin=subprocess.DEVNULL, stdout=log, stderr=log
        ) as child:
            code = _wait(child, tool, started)
        if code != 0:
            log.seek(0)
            tail = "\n".join(log.read().decode(errors="replace").splitlines()[-LOG_TAIL:])
            raise BuildError(f"{tool.name} {tool.module.version} did not build (exit code {code}):\n{tail}")
        os.replace(output, target)  # noqa: PTH105 -- the atomic rename is the point
    say(f"built {tool.name} in {time.monotonic() - started:.0f} s")


def _wait(child: subprocess.Popen[bytes], tool: toolset.Tool, started: float) -> int:
    """Waits for the compiler, says every 30 s that it still runs, and never leaves it behind."""
    try:
        while True:
            try:
                return child.wait(timeout=REPORT_EVERY)
            except subprocess.TimeoutExpired:
                say(f"  still building {tool.name}: {time.monotonic() - started:.0f} s")
    finally:
        if child.poll() is None:
            child.kill()


def _chosen(names: list[str], node: bool, minor: str) -> tuple[toolset.Tool, ...]:
    """The tools that the command line means; raises ValueError for an unknown name."""
    every = (*toolset.default_tools(minor), *toolset.node_tools(minor))
    known = {tool.name: tool for tool in every}
    if unknown := [name for name in names if name not in known]:
        raise ValueError(f"unknown program: {', '.join(unknown)}; known: {', '.join(known)}")
    if names:
        return tuple(known[name] for name in names)
    return every if node else toolset.default_tools(minor)


def main() -> int:
    """Prints `name path` lines to stdout; progress to stderr."""
    parser = argparse.ArgumentParser(prog="python -m tests.cluster.build", description="build what is missing")
    parser.add_argument("tool", nargs="*", help="a program's name; default: all that tests need")
    parser.add_argument("--node", action="store_true", help="the node's programs too")
    arguments = parser.parse_args()
    try:
        found = ensure(_chosen(arguments.tool, arguments.node, toolset.kubernetes_minor()))
    except (BuildError, gotoolchain.ToolchainError, ValueError) as error:
        say(f"error: {error}")
        return 1
    for name, path in found.items():
        print(f"{name} {path}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
