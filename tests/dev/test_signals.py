"""Ctrl-C of `keystead dev --audit`: a terminal signals every process of the group. The trail has a signed end, and nobody stays behind."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.clients.endpoint import PROGRAM, STOP_SECONDS, Endpoint
from tests.operator.harness import wait_for

pytestmark = pytest.mark.token
PEM = "audit-signing.pem"
SETSID = shutil.which("setsid") or "setsid"


@contextmanager
def running(folder: Path, workers: int) -> Iterator[Endpoint]:
    """In a process group of its own, recording, with lanes that are there already."""
    state = ("--memory",) if workers == 1 else ("--state", str(folder / "state"), "--workers", str(workers))
    options = (*state, "--audit", str(folder / "trail"))
    endpoint = Endpoint(folder, options=options, program=(SETSID, str(PROGRAM)))
    try:
        kms = endpoint.admin()
        key = kms.create_key(KeySpec="ECC_NIST_P256", KeyUsage="SIGN_VERIFY")["KeyMetadata"]["KeyId"]
        kms.sign(KeyId=key, Message=b"m", SigningAlgorithm="ECDSA_SHA_256")
        wait_for("the key of the trail", (folder / "trail" / PEM).exists, seconds=30)
        yield endpoint
    finally:
        endpoint.stop()


def group(leader: int) -> list[str]:
    """What the processes of the group are, but for those that have ended and nobody has asked for."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            state, _, pgrp = (folder / "stat").read_text().rpartition(")")[2].split()[:3]
            if int(pgrp) == leader and state != "Z":
                found.append((folder / "cmdline").read_text().replace("\0", " "))
        except OSError:
            continue
    return found


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_to_the_whole_group_leaves_a_trail_that_is_whole(tmp_path: Path, number: signal.Signals, workers: int) -> None:
    with running(tmp_path, workers) as endpoint:
        assert len(group(endpoint.pid)) > 2  # its lane, or its workers, and the keeper of Python's resources
        os.killpg(endpoint.pid, number)
        assert endpoint._process.wait(STOP_SECONDS) == 0
        assert "Traceback" not in endpoint.output
        assert "no checkpoint was signed: Hsm" not in endpoint.output
        wait_for("the end of its children", lambda: not group(endpoint.pid), seconds=10)
    trail = tmp_path / "trail"
    command = [str(PROGRAM), "audit", "verify", str(trail), "--public-key", str(trail / PEM)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr.splitlines()[-1]) == (0, "verdict: whole"), done.stdout + endpoint.output
    assert done.stdout.count("whole") == (1 if workers == 1 else 1 + workers)


def test_lanes_that_ignore_signals_end_all_the_same_with_a_parent_that_is_killed(tmp_path: Path) -> None:
    with running(tmp_path, 1) as endpoint:
        assert any("multiprocessing" in command for command in group(endpoint.pid))
        endpoint.kill()
        wait_for("the end of its children", lambda: not group(endpoint.pid), seconds=10)


def test_ctrl_c_in_the_first_start_ends_it_in_order_and_with_a_whole_token(tmp_path: Path) -> None:
    state = tmp_path / "state"
    command = (PROGRAM, "dev", "--listen", "127.0.0.1:0", "--state", str(state))
    child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, start_new_session=True)
    try:
        wait_for("the ceremony's draft", lambda: any(state.glob("hsm.tmp-*")), seconds=30)
        os.killpg(child.pid, signal.SIGINT)
        _, said = child.communicate(timeout=30)
    finally:
        child.kill()
        child.wait()
    assert (child.returncode, "Traceback" in said, (state / "hsm").exists()) == (0, False, True), said
