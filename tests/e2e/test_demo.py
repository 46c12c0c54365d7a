"""The demo asserts each fact that it shows; here it runs twice in a row, and nothing of it is left afterwards."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def _demo(state: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = dict(os.environ) | {"KEYSTEAD_DEMO_STATE": str(state)}
    command = [sys.executable, "-m", "examples.demo", *arguments]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=900, check=False)


def _processes_of(state: Path) -> list[str]:
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = entry.read_bytes().replace(b"\0", b" ").decode(errors="replace")
            environment = (entry.parent / "environ").read_bytes()
        except OSError:
            continue
        if str(state) in line or str(state).encode() in environment:
            found.append(line)
    return found


@pytest.mark.cluster
@pytest.mark.timeout(1800)
def test_the_demo_runs_twice_and_leaves_nothing_after_demo_down(tmp_path: Path) -> None:
    state = tmp_path / "demo"
    for _ in range(2):
        done = _demo(state)
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]
        assert "Keystead demo: done" in done.stdout
        assert _processes_of(state), "cluster and operator stay up"
    assert _demo(state, "--down").returncode == 0
    assert _processes_of(state) == []
    assert not state.exists()
