"""docs/adoption.md: every command on it is executed, in its order, by somebody who has its manifest and nothing else."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from tests.operator.desk import KEY, desk
from tests.operator.harness import ROOT, Installation

PAGE = (ROOT / "docs/adoption.md").read_text()


def commands() -> list[tuple[str, str]]:
    """Each command, and the error that the page shows below it; empty for one that works."""
    blocks = re.findall(r"```console\n(.*?)```", PAGE, re.DOTALL)
    parts = [part.partition("\n") for block in blocks for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]]
    return [(command, said) for command, _, said in parts]


@pytest.mark.cluster
def test_every_command_of_the_adoption_page_works(installation: Installation, tmp_path: Path) -> None:
    manifest = re.search(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    assert manifest is not None
    (tmp_path / "orders.yaml").write_text(manifest[1])
    wrapper = tmp_path / "bin/keystead"
    wrapper.parent.mkdir()
    wrapper.write_text(f'#!/bin/sh\nexec {sys.executable} -m keystead "$@"\n')
    wrapper.chmod(0o755)
    cluster = installation.cluster
    environment = cluster.environment | installation.environment()
    folders = [str(wrapper.parent), *sorted({str(path.parent) for path in cluster.binaries.values()})]
    environment["PATH"] = os.pathsep.join([*folders, environment["PATH"]])
    ids = set()
    with desk(installation, "adoption-page") as at:
        at.namespace = "shop"
        for command, refused in commands():
            if command.startswith("keystead records list"):
                at.until("the orphan", lambda: getattr(at.key_record("orders"), "bound", None) is False)
            words = shlex.split(command)
            done = subprocess.run(words, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=90, check=False)
            told = f"{command}\n{done.stdout}\n{done.stderr}\n{at.operator.text[-2000:]}"
            assert (done.returncode != 0) is bool(refused), told
            assert not refused or done.stderr == refused, told
            found = at.get(KEY, "orders")
            ids |= {found["status"]["keyId"]} if found and "keyId" in found["status"] else set()
        assert len(ids) == 1
        assert at.key_record("orders").n_versions == 2
