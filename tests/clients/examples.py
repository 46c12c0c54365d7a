"""Runs what examples/clients/<name>/README.md tells people to run. Called by the tests of this folder.

The commands are those of the section "Run", unchanged, in a copy of the example's folder. The pinned clients come first on PATH, so that
`python`, `aws`, `sops`, `go` and `node` are what the lock files say.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests.clients.build import EXAMPLES, Clients, go_environment
from tests.clients.endpoint import without_aws
from tests.cluster import gotoolchain

NAMES = ("boto3", "aws-cli", "javascript", "go", "encryption-sdk", "sops", "openssl")
SECTION = re.compile(
    r"^## Run\n.*?^```console\n(?P<commands>.*?)^```\n.*?^```text\n(?P<output>.*?)^```", re.MULTILINE | re.DOTALL
)
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
    lines = found["commands"].splitlines()
    assert lines, name
    assert all(line.startswith("$ ") for line in lines), lines
    return [line.removeprefix("$ ") for line in lines], found["output"]


def shape(output: str) -> str:
    """The output without what differs from run to run."""
    for pattern, word in VARIABLE:
        output = pattern.sub(word, output)
    return "\n".join(line.rstrip() for line in output.strip().splitlines())


def run(name: str, clients: Clients, environment: dict[str, str], folder: Path) -> Ran:
    """Run the section's commands one after another; the first that fails ends it."""
    copy = folder / name
    shutil.copytree(EXAMPLES / name, copy, ignore=shutil.ignore_patterns("node_modules"))
    if name == "javascript":
        (copy / "node_modules").symlink_to(clients.node_modules)
    own = without_aws()
    own |= {"PATH": ":".join((*map(str, clients.path), own["PATH"])), "HOME": str(folder), "TMPDIR": str(folder)}
    if name == "go":
        own |= go_settings()
    commands, _ = section(name)
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", "\n".join(commands)],
        cwd=copy,
        env=own | environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    return Ran(done.returncode, done.stdout, done.stderr)


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
