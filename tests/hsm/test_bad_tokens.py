"""Bad tokens (the table in docs/testing.md): a PIN changed while running, a disk that is full or read-only. Nothing is lost."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path

import pytest
from tests.hsm.domains import Done, command, environment, keystead, new_domain, on_process, on_token
from tests.hsm.work import decrypt, encrypt, new_material, sign

from keystead.engine.algorithms import SigningAlgorithm
from keystead.errors import HsmAuthError, HsmError
from keystead.hsm.backend import Hsm, open_token
from keystead.hsm.pin import FileMarker
from keystead.resources.vocabulary import KeySpec, KeyUsage
from keystead.settings import HsmSettings

pytestmark = pytest.mark.token
NEW_PIN = "a-pin-of-the-next-shift-0123456789"
# kryoptic locks for good after 10 refusals.
TRIES = 12


def test_a_pin_changed_while_running_is_tried_once_more_and_not_again(kind: str, tmp_path: Path) -> None:
    """By a slow lane that had to be started again, and by the session when it was lost; the token does not lock."""
    token = new_domain(kind, tmp_path)
    with on_token(token) as run:
        assert run(_serve_after_a_change, token.settings(), token.env) == (TRIES, TRIES, b"plaintext")
    (tmp_path / "pin-refused").unlink(missing_ok=True)
    token.pin_file.chmod(0o600)
    token.pin_file.write_text(NEW_PIN)
    done = keystead("hsm", "check", *token.options, env=token.env)
    assert done.code == 0, done.err


def _serve_after_a_change(hsm: Hsm, settings: HsmSettings, env: dict[str, str]) -> tuple[int, int, bytes]:
    """How many slow calls, and how many tries to open the lost session again, were refused for the PIN; what still opened."""
    made = new_material(hsm, KeySpec.ECC_NIST_P256, KeyUsage.SIGN_VERIFY)
    key = new_material(hsm)
    blob = encrypt(hsm, key)
    assert sign(hsm, made, SigningAlgorithm.ECDSA_SHA_256, b"m")
    on_process(env, _change_pin, settings)
    for pid in list(hsm.lanes._pool._processes):
        os.kill(pid, signal.SIGKILL)
    lanes = died = 0
    while lanes < TRIES and died < 100:
        try:
            sign(hsm, made, SigningAlgorithm.ECDSA_SHA_256, b"m")
        except HsmAuthError:
            lanes += 1
        except HsmError:  # until the pool has noticed
            died += 1
    opened = decrypt(hsm, key, blob)  # the open session goes on
    reopened = 0
    for _ in range(TRIES):
        with pytest.raises(HsmAuthError):
            hsm.domain.reopen()
        reopened += 1
    return lanes, reopened, opened


def _change_pin(settings: HsmSettings) -> None:
    token = open_token(settings, FileMarker(settings.pin_file, settings.pin_file.parent), writable=True)
    token.session.set_pin(settings.pin_file.read_text(), NEW_PIN)
    token.close()


# A disk of its own, in a mount namespace of its own


def on_tmpfs(folder: Path, script: str, *arguments: str | Path, env: dict[str, str] | None = None) -> Done:
    """A shell script with `folder` as a fresh tmpfs, which is gone when it ends; `keystead ...` is the command."""
    folder.mkdir(exist_ok=True)
    own = ["unshare", "--mount"] if os.geteuid() == 0 else ["unshare", "--map-root-user", "--mount"]
    head = f'set -e; cd "$1"; shift; keystead() {{ {" ".join(command())} "$@"; }}; '
    done = subprocess.run(
        [*own, "sh", "-c", head + script, "sh", str(folder), *map(str, arguments)],
        env=environment(env),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    return Done(done.returncode, done.stdout, done.stderr)


@pytest.mark.parametrize("blocks", [1, 7, 11])
def test_a_ceremony_on_a_full_disk_is_refused_and_leaves_no_token(tmp_path: Path, blocks: int) -> None:
    """Wherever the space ends: a plain error and no half token. What was given out before it opens a domain all the same."""
    script = """mount -t tmpfs -o size=$1k tmpfs "$PWD"; cd "$PWD"
        keystead hsm init --softhsm-dir ./token || code=$?
        find . | sort; exit $code"""
    done = on_tmpfs(tmp_path / "disk", script, str(4 * blocks))
    assert done.code in (5, 6, 8), done.out + done.err
    lines = done.err.splitlines()
    assert lines[-2].startswith("error: ")
    assert lines[-1].startswith("hint: ")
    assert "Traceback" not in done.err
    assert set(done.out.split()) <= {".", "./domain-backup-1.ksdb", "./recovery-key-1.txt"}


def test_a_token_on_a_disk_that_filled_up_or_turned_read_only_still_opens(tmp_path: Path) -> None:
    script = """mount -t tmpfs -o size=400k tmpfs "$PWD"; cd "$PWD"
        keystead hsm init --softhsm-dir ./token --backup-out "$1/b" --recovery-out "$1/r"
        (cat /dev/zero >./rest || true) 2>&1
        keystead hsm check --softhsm-dir ./token -o json >"$1/full"
        mount -o remount,ro "$PWD"
        keystead hsm check --softhsm-dir ./token -o json >"$1/read-only"
        keystead hsm init --softhsm-dir ./second && exit 99 || exit $?"""
    done = on_tmpfs(tmp_path / "disk", script, tmp_path)
    assert done.code == 8, done.err
    assert "Read-only file system" in done.err
    for name in ("full", "read-only"):
        rows = json.loads((tmp_path / name).read_text())
        assert "failed" not in {row["verdict"] for row in rows}
