"""Runs what examples/clients/<name>/README.md tells people to run. Called by the tests of this folder.

The commands are those of the section "Run", unchanged, in a copy of the example's folder. The pinned clients come first on PATH, so that
`python`, `aws`, `sops`, `go` and `node` are what the lock files say.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.clients.build import EXAMPLES, Clients, go_environment
from tests.clients.endpoint import without_aws
from tests.cluster import gotoolchain

NAMES = ("boto3", "aws-cli", "javascript", "go", "encryption-sdk", "sops", "openssl")
SECTION = re.compile(
    r"^## Run\n.*?^```console\n(?P<commands>.*?)^```\n.*?^```text\n(?P<output>.*?)^```", re.MULTILINE | re.DOTALL
)
RESTORE = re.compile(r"^## Restore\n.*?^```console\n(?P<commands>.*?)^```", re.MULTILINE | re.DOTALL)
SECONDS = 180
# What differs from run to run, in the order in which it is put away.
VARIABLE = ((re.compile(r"arn:aws:[\w:/.@+=,-]*[\w/]"), "ARN"), (re.compile(r"\d+"), "N"))


@dataclass(frozen=True)
class Ran:
    """What came of the commands."""

    code: int
    stdout: str
    stderr: str

    def __str__(self) -> str:
        return f"exit code {self.code}\n{self.stdout}\n{self.stderr}"


def section(name: str) -> tuple[list[str], str]:
    """The commands of the README's section "Run", and what it says that they print."""
    found = SECTION.search((EXAMPLES / name / "README.md").read_text())
    assert found is not None, f"{name}: no section Run with commands and their output"
    return _commands(found), found["output"]


def restore(name: str) -> list[str]:
    """The commands of the README's section "Restore"."""
    found = RESTORE.search((EXAMPLES / name / "README.md").read_text())
    assert found is not None, f"{name}: no section Restore"
    return _commands(found)


def _commands(found: re.Match[str]) -> list[str]:
    lines = found["commands"].splitlines()
    assert lines
    assert all(line.startswith("$ ") for line in lines), lines
    return [line.removeprefix("$ ") for line in lines]


def shape(output: str) -> str:
    """The output without what differs from run to run."""
    for pattern, word in VARIABLE:
        output = pattern.sub(word, output)
    return "\n".join(line.rstrip() for line in output.strip().splitlines())


class Running:
    """A client that waits for its user (--wait). Reads end with the process: `started` kills one that takes too long."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def until(self, beginning: str) -> list[str]:
        """The lines before the one that begins so."""
        assert self._process.stdout is not None
        lines = []
        for line in self._process.stdout:
            if line.startswith(beginning):
                return lines
            lines.append(line.rstrip("\n"))
        raise AssertionError(f"ended before {beginning!r}: {lines}")

    def enter(self) -> None:
        """Press Enter."""
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()

    def rest(self) -> tuple[int, list[str]]:
        """The exit code and the remaining lines."""
        assert self._process.stdout is not None
        lines = [line.rstrip("\n") for line in self._process.stdout]
        return self._process.wait(SECONDS), lines


@contextmanager
def started(
    name: str, clients: Clients, environment: dict[str, str], folder: Path, *arguments: str
) -> Iterator[Running]:
    """The section's last command with more arguments, running. What it says on stderr is shown with a failure."""
    command = shlex.join((*shlex.split(section(name)[0][-1]), *arguments))
    with (folder / "stderr").open("w+") as log:
        process = subprocess.Popen(
            ["bash", "-euc", f"exec {command}"],
            cwd=_copy(name, clients, folder),
            env=_environment(name, clients, folder) | environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            start_new_session=True,
        )
        limit = threading.Timer(SECONDS, _end, (process,))
        limit.start()
        try:
            yield Running(process)
        except AssertionError as error:
            _end(process)
            log.seek(0)
            raise AssertionError(f"{error}\n{log.read()[-2000:]}") from error
        finally:
            limit.cancel()
            _end(process)
            process.communicate()


def run(name: str, clients: Clients, environment: dict[str, str], folder: Path, *more: str) -> Ran:
    """Run the section's commands, and `more`, one after another; the first that fails ends it."""
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", "\n".join((*section(name)[0], *more))],
        cwd=_copy(name, clients, folder),
        env=_environment(name, clients, folder) | environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    return Ran(done.returncode, done.stdout, done.stderr)


def _end(process: subprocess.Popen[str]) -> None:
    """`go run` has a child: the whole session that was started here."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)


def _copy(name: str, clients: Clients, folder: Path) -> Path:
    """The example's folder, where it may leave files."""
    copy = folder / name
    shutil.copytree(EXAMPLES / name, copy, ignore=shutil.ignore_patterns("node_modules"))
    if name == "javascript":
        (copy / "node_modules").symlink_to(clients.node_modules)
    return copy


def _environment(name: str, clients: Clients, folder: Path) -> dict[str, str]:
    """This process's own, without what would reach another cloud; the pinned clients first on PATH."""
    own = without_aws()
    own |= {"PATH": ":".join((*map(str, clients.path), own["PATH"])), "HOME": str(folder), "TMPDIR": str(folder)}
    return own | go_settings() if name == "go" else own


def go_settings() -> dict[str, str]:
    """Go's build cache lies in the home folder, which a client does not get: its place is said instead."""
    go = gotoolchain.find()
    environment = go_environment(go)
    asked = subprocess.run(
        [go.binary, "env", "GOCACHE", "GOMODCACHE"], env=environment, capture_output=True, text=True, check=True
    )
    places = dict(zip(("GOCACHE", "GOMODCACHE"), asked.stdout.splitlines(), strict=True))
    settings = {name: environment[name] for name in ("GOFLAGS", "GOTOOLCHAIN", "CGO_ENABLED", "GOWORK")}
    return places | settings
