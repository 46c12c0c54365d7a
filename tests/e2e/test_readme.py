"""Every command of the README is executed here, in its order; every test that it names exists."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.cluster import kinds
from tests.cluster.cluster import Cluster
from tests.cluster.flags import Options
from tests.operator.harness import Installation

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text()
# Executed by CI itself (`make test`) and by test_demo.py (`make demo` is `python -m examples.demo`).
ELSEWHERE = {"make demo", "make test"}


FIRST_KEY = "## A first key in a minute on an existing cluster"
MINUTE = 60.0 * (3 if os.environ.get("CI") == "true" else 1)


def commands(text: str = README) -> list[str]:
    """The lines that begin with `$ ` in console blocks."""
    blocks = re.findall(r"```console\n(.*?)```", text, re.DOTALL)
    return [line[2:] for block in blocks for line in block.splitlines() if line.startswith("$ ")]


def first_key() -> list[str]:
    """The commands from an empty cluster to a key: the first block of their section."""
    return commands(README.split(FIRST_KEY, 1)[1].split("```\n", 1)[0] + "```")


@pytest.fixture
def own_cluster() -> Iterator[Cluster]:
    """The README installs the chart, so the cluster must be new."""
    with kinds.built(Options()) as cluster:
        yield cluster


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A folder that looks like the checkout, for commands that write beside it."""
    for name in ("charts", "examples"):
        (tmp_path / name).symlink_to(ROOT / name)
    binary = tmp_path / ".venv/bin/keystead"
    binary.parent.mkdir(parents=True)
    binary.write_text(f"#!/bin/sh\nexec {sys.executable} -m keystead \"$@\"\n")
    binary.chmod(0o755)
    return tmp_path


@pytest.mark.cluster
@pytest.mark.helm
def test_every_command_of_the_readme_works(own_cluster: Cluster, checkout: Path) -> None:
    environment = own_cluster.environment | {"PYTHONPATH": str(ROOT / "operator")}
    folders = {str(path.parent) for path in own_cluster.binaries.values()}
    environment["PATH"] = os.pathsep.join([*folders, environment["PATH"]])
    installed = Installation(
        own_cluster, checkout, checkout / "token", checkout / "domain-backup.ksdb", checkout / "recovery-key.txt", ()
    )
    operator, seconds = None, {}
    try:
        for command in commands():
            if command in ELSEWHERE:
                continue
            begun = time.monotonic()
            if "kubectl wait" in command and operator is None:
                operator = installed.start()  # this cluster has no node that would run the chart's Pods
            done = subprocess.run(shlex.split(command), cwd=checkout, env=environment, capture_output=True, text=True, check=False)
            assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
            seconds[command] = time.monotonic() - begun
    finally:
        if operator is not None:
            operator.stop()
    assert sum(seconds[command] for command in first_key()) <= MINUTE, seconds


def test_the_first_key_is_five_commands_that_end_with_a_ready_key() -> None:
    found = first_key()
    assert len(found) == 5
    assert "--for=condition=Ready" in found[-1]


def test_the_readme_names_only_tests_that_exist() -> None:
    named = set(re.findall(r"`(test_\w+)`", README))
    sources = "\n".join(path.read_text() for path in (ROOT / "tests").rglob("test_*.py"))
    assert named
    assert {name for name in named if f"def {name}(" not in sources} == set()


def test_make_demo_runs_the_demo() -> None:
    text = (ROOT / "Makefile").read_text()
    assert re.search(r"^demo: .*\n\t@\$\(PY\) -m examples.demo$", text, re.MULTILINE)
    assert set(commands()) >= ELSEWHERE
