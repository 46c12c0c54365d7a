"""`keystead dev --audit`: the public key beside the records is the one that verifies them, over restarts and other keys."""

from __future__ import annotations

import stat
import subprocess
import threading
from pathlib import Path

import pytest
from tests.clients.endpoint import PROGRAM, Endpoint

pytestmark = pytest.mark.token
PEM = "audit-signing.pem"


def one_life(folder: Path, trail: Path, *state: str) -> None:
    """A process with a call on record, ended well."""
    endpoint = Endpoint(folder, options=(*state, "--audit", str(trail)))
    try:
        pem, before = trail / PEM, (trail / PEM).read_text() if (trail / PEM).exists() else ""
        endpoint.admin().create_key()
        pause = threading.Event()
        for _ in range(100):
            if pem.exists() and (pem.read_text() != before or "--memory" not in state):
                break
            pause.wait(0.1)
    finally:
        endpoint.stop()


def verdict(trail: Path) -> tuple[int, str]:
    command = [PROGRAM, "audit", "verify", str(trail), "--public-key", str(trail / PEM)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    return done.returncode, done.stderr.splitlines()[-1]


def test_a_trail_of_dev_is_verified_with_the_key_that_lies_beside_it(tmp_path: Path) -> None:
    trail, state = tmp_path / "trail", ("--state", str(tmp_path / "state"))
    for _ in range(2):
        one_life(tmp_path, trail, *state)
        assert verdict(trail) == (0, "verdict: whole")
    assert (trail / PEM).read_text().count("BEGIN PUBLIC KEY") == 1
    assert stat.S_IMODE((trail / PEM).stat().st_mode) == 0o644
    one_life(tmp_path, trail, "--memory")
    assert (trail / PEM).read_text().count("BEGIN PUBLIC KEY") == 2
    assert verdict(trail) == (0, "verdict: whole")
