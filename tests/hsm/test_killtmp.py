"""kill -9 anywhere in `keystead hsm init`: there is nothing, or a complete token and the backup that opens it (HSM.md A2).

The moment is chosen by what is on disk, not by the clock: the n-th of the distinct states of the folder that a
ceremony goes through, and the kill follows the look at once.
"""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import pytest
from tests.hsm.domains import LABEL, DomainToken, command, empty_token, environment, keystead, on_token, token_options
from tests.hsm.tokens import TokenFiles, softhsm_module
from tests.hsm.work import encrypt, new_material

from keystead.engine.backup import parse_backup
from keystead.hsm.backend import Hsm
from keystead.hsm.ceremony import verify_backup

pytestmark = pytest.mark.token
ROUNDS = 20
THERE = 8


def _start(arguments: list[str], env: dict[str, str] | None = None) -> subprocess.Popen[bytes]:
    quiet = subprocess.DEVNULL
    return subprocess.Popen(arguments, env=environment(env), stdout=quiet, stderr=quiet, start_new_session=True)


def _state(folder: Path) -> frozenset[tuple[str, int]]:
    found = set()
    for root, folders, files in os.walk(folder):
        for name in [*folders, *files]:
            path = Path(root, name)
            try:
                found.add((str(path.relative_to(folder)).partition(".tmp-")[0] + path.name, path.lstat().st_size))
            except OSError:
                continue
    return frozenset(found)


def _run_until(process: subprocess.Popen[bytes], folder: Path, states: int) -> int:
    """How many distinct states of the folder were seen; after `states` of them the whole process group is killed."""
    seen: set[frozenset[tuple[str, int]]] = set()
    while process.poll() is None:
        seen.add(_state(folder))
        if len(seen) >= states:
            try:
                os.killpg(process.pid, signal.SIGKILL)
            except ProcessLookupError:
                break
            process.wait(timeout=60)
            break
    return len(seen)


def _softhsm_token(folder: Path) -> DomainToken:
    home, backup = folder / "token", folder / "b.ksdb"
    fingerprint = parse_backup(backup.read_bytes()).fingerprint
    env = {"SOFTHSM2_CONF": str(home / "softhsm2.conf")}
    return DomainToken("softhsm", softhsm_module(), LABEL, env, home / "pin", fingerprint, backup, folder / "r.txt")


def _works(hsm: Hsm, backup: bytes, line: str) -> bool:
    found = verify_backup(hsm.domain.token, backup, line)
    return found.fingerprint == hsm.domain.fingerprint and bool(encrypt(hsm, new_material(hsm)))


def _init(folder: Path) -> list[str]:
    outs = ("--backup-out", str(folder / "b.ksdb"), "--recovery-out", str(folder / "r.txt"))
    return command("hsm", "init", "--softhsm-dir", folder / "token", *outs)


def test_new_softhsm_token_is_complete_or_absent_whenever_init_is_killed(tmp_path: Path) -> None:
    whole = tmp_path / "whole"
    whole.mkdir()
    process = _start(_init(whole))
    total = _run_until(process, whole, 10**6)
    assert process.returncode == 0
    complete = 0
    for n in range(ROUNDS):
        folder = tmp_path / str(n)
        folder.mkdir()
        process = _start(_init(folder))
        _run_until(process, folder, 2 + n * total // ROUNDS)
        process.wait(timeout=60)
        if not (folder / "token").exists():
            continue
        complete += 1
        token = _softhsm_token(folder)
        with on_token(token) as run:
            assert run(_works, token.backup.read_bytes(), token.recovery_key.read_text())
    print("COMPLETE", complete, total)
    # What a kill leaves stops no new ceremony under other names.
    again = keystead("hsm", "init", "--softhsm-dir", tmp_path / "0" / "token")
    assert again.code == 0 or "is not empty" in again.err, again.err


def test_killed_ceremony_never_leaves_a_domain_without_its_backup(kind: str, tmp_path: Path) -> None:
    """In a token that was there before: empty, half a domain (refused by everybody), or whole; a domain key means a backup."""
    whole, pin_file = _empty(kind, tmp_path / "whole")
    process = _start(_init_there(tmp_path / "whole", whole, pin_file), whole.env)
    total = _run_until(process, tmp_path / "whole", 10**6)
    assert process.returncode == 0
    for n in range(0, total, max(1, total // THERE)):
        folder = tmp_path / str(n)
        token, pin_file = _empty(kind, folder)
        process = _start(_init_there(folder, token, pin_file), token.env)
        _run_until(process, folder, 1 + n)
        process.wait(timeout=60)
        options = token_options(token.module, LABEL, pin_file)
        done = keystead(
            "hsm", "init", *options, "--backup-out", folder / "b2", "--recovery-out", folder / "r2", env=token.env
        )
        if done.code == 0:
            continue  # it was empty
        assert "has a domain already" in done.err or "half there" in done.err, done.err
        given = (folder / "b.ksdb", "--recovery-key", folder / "r.txt")
        assert keystead("hsm", "verify-backup", *given, *options, env=token.env).code == 0


def _empty(kind: str, folder: Path) -> tuple[TokenFiles, Path]:
    folder.mkdir()
    return empty_token(kind, folder)


def _init_there(folder: Path, token: TokenFiles, pin_file: Path) -> list[str]:
    outs = ("--backup-out", str(folder / "b.ksdb"), "--recovery-out", str(folder / "r.txt"))
    return command("hsm", "init", *token_options(token.module, LABEL, pin_file), *outs)
