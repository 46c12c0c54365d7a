"""The demo asserts each fact that it shows. Here it is interrupted, begun anew over what that left, and whatever it prints is run."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from tests.operator.harness import wait_for

ROOT = Path(__file__).resolve().parents[2]
# Who starts the tests in the background has them ignore SIGINT, and all that they start.
DEMO = ["env", "--default-signal=INT", sys.executable, "-m", "examples.demo"]


def _environment(state: Path) -> dict[str, str]:
    return dict(os.environ) | {"KEYSTEAD_DEMO_STATE": str(state)}


def _demo(state: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [*DEMO, *arguments]
    return subprocess.run(
        command, cwd=ROOT, env=_environment(state), capture_output=True, text=True, timeout=900, check=False
    )


def _interrupted(state: Path, log: Path) -> tuple[int, str]:
    """Ctrl-C once its server runs: SIGINT for the whole group, as a terminal sends it. Exit code, and what it said."""
    with log.open("wb") as out:
        child = subprocess.Popen(
            DEMO, cwd=ROOT, env=_environment(state), stdout=out, stderr=subprocess.STDOUT, start_new_session=True
        )
    pid = state / "server.pid"
    wait_for("its server", lambda: child.poll() is not None or (pid.exists() and pid.read_text()), seconds=600)
    assert child.poll() is None, log.read_text()[-3000:]
    os.killpg(child.pid, signal.SIGINT)
    return child.wait(60), log.read_text()


def _run_what_it_prints(printed: str) -> str:
    """All commands of its end in one shell, as somebody would who copies them; it stops at the first that fails."""
    commands = [line for line in printed.split("Ready to copy:")[1].splitlines() if line.startswith("  ")]
    bare = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "KEYSTEAD_", "KUBE"))}
    script = "\n".join(["set -ex", *commands])
    done = subprocess.run(["bash", "-c", script], env=bare, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return done.stdout + done.stderr


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
def test_the_demo_begins_anew_after_ctrl_c_prints_what_works_and_leaves_nothing_after_demo_down(tmp_path: Path) -> None:
    state = tmp_path / "demo"
    code, said = _interrupted(state, tmp_path / "log")
    assert code == 130, said[-3000:]
    assert "Traceback" not in said
    assert said.splitlines()[-1].endswith(f"still up; KEYSTEAD_DEMO_STATE={state} make demo-down ends it")
    for program in ("etcd", "kube-apiserver", "keystead operator", "keystead server"):
        assert any(program in line for line in _processes_of(state)), f"{program} stays up"

    done = _demo(state)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]
    assert done.stdout.startswith(f"{state} has a demo already: it is ended first, and all that was made in it goes")
    assert "Keystead demo: done" in done.stdout
    shown = _run_what_it_prints(done.stdout)
    for fact in ("verdict: whole", "RotateKey", "allowed: ServiceAccount orders/visitor", "key/", "role/api-client"):
        assert fact in shown, shown
    assert _processes_of(state), "cluster and operator stay up"

    assert _demo(state, "--down").returncode == 0
    assert _processes_of(state) == []
    assert not state.exists()
