"""The state folder of `keystead dev`, with real processes on a real SoftHSM: who may have it, what belongs together, and kill -9."""

from __future__ import annotations

import os
import random
import shutil
import stat
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError
from tests.clients.endpoint import PROGRAM, Endpoint

from keystead.app.dev import memory
from keystead.app.dev.token import ensure_token
from keystead.errors import HsmSetupError, StoreError
from keystead.hsm import softhsm
from keystead.store.sqlite import database

START_SECONDS = 30.0


@contextmanager
def running_dev(folder: Path, **how: Any) -> Iterator[Endpoint]:
    """A running one, ended whatever happens."""
    running = Endpoint(folder, **how)
    try:
        yield running
    finally:
        running.stop()


def dev(folder: Path, state: Path, *options: str) -> AbstractContextManager[Endpoint]:
    """One on a folder."""
    return running_dev(folder, options=("--state", str(state), *options))


def refused(*options: str) -> str:
    """What it says where it does not start; the line for people, never a traceback."""
    command = (PROGRAM, "dev", "--listen", "127.0.0.1:0", *options)
    done = subprocess.run(command, capture_output=True, text=True, timeout=START_SECONDS, check=False)
    assert done.returncode not in (0, 1)
    assert "Traceback" not in done.stderr
    assert "export" not in done.stdout
    return done.stderr


def kms(running: Endpoint) -> Any:
    """A client that asks once."""
    return boto3.client(
        "kms",
        endpoint_url=running.url,
        region_name="us-east-1",
        config=Config(retries={"total_max_attempts": 1}),
        aws_access_key_id=running.exports["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=running.exports["AWS_SECRET_ACCESS_KEY"],
    )


def works(running: Endpoint) -> bytes:
    """A key is made and used; its ciphertext."""
    client = kms(running)
    key_id = client.create_key()["KeyMetadata"]["KeyId"]
    blob: bytes = client.encrypt(KeyId=key_id, Plaintext=b"whole")["CiphertextBlob"]
    client.close()
    return blob


def opens(running: Endpoint, blob: bytes) -> bool:
    client = kms(running)
    plaintext = client.decrypt(CiphertextBlob=blob)["Plaintext"]
    client.close()
    return bool(plaintext == b"whole")


@pytest.mark.token
def test_what_was_written_is_there_after_kill_9_and_for_this_user_only(tmp_path: Path) -> None:
    state = tmp_path / "state"
    with dev(tmp_path, state) as running:
        blob = works(running)
        running.kill()
    with dev(tmp_path, state) as running:
        assert opens(running, blob)
    assert stat.S_IMODE(state.stat().st_mode) == 0o700
    for path in (state / "keystead.db", *(state / "hsm").rglob("*")):
        assert not stat.S_IMODE(path.stat().st_mode) & 0o077, path


@pytest.mark.token
@pytest.mark.parametrize("seed", range(4))
def test_a_first_start_that_was_killed_leaves_a_folder_that_starts_whole(tmp_path: Path, seed: int) -> None:
    """At a random moment of the ceremony, of the database's first writes, of the first open of the token."""
    state, command = tmp_path / "state", (PROGRAM, "dev", "--listen", "127.0.0.1:0", "--state", str(tmp_path / "state"))
    moment = random.Random(seed).uniform(0.3, 1.3)
    child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        child.wait(moment)
    except subprocess.TimeoutExpired:
        child.kill()
    child.wait()
    with dev(tmp_path, state) as running:
        blob = works(running)
    with dev(tmp_path, state) as running:
        assert opens(running, blob)
    assert not list(state.glob("hsm.tmp-*"))


@pytest.mark.token
def test_a_folder_has_one_keystead_dev(tmp_path: Path) -> None:
    state = tmp_path / "state"
    with dev(tmp_path, state) as running:
        said = refused("--state", str(state))
        assert f"another keystead dev uses {state}" in said
        assert "--state" in said
        blob = works(running)  # the second one has done the first no harm
        assert opens(running, blob)


@pytest.mark.token
def test_token_and_records_of_different_folders_are_refused_and_left_as_they_are(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    for state in (first, second):
        with dev(tmp_path, state) as running:
            blob = works(running)
    (second / "hsm").rename(tmp_path / "hsm")
    assert "put its folder hsm back" in refused("--state", str(second))
    shutil.copytree(first / "hsm", second / "hsm")
    assert "do not belong together" in refused("--state", str(second))
    shutil.rmtree(second / "hsm")
    (tmp_path / "hsm").rename(second / "hsm")
    with dev(tmp_path, second) as running:
        assert opens(running, blob)


@pytest.mark.token
def test_memory_leaves_nothing_behind_not_even_kill_9_for_longer_than_the_next_start(tmp_path: Path) -> None:
    with running_dev(tmp_path / "x") as killed:
        works(killed)
        (left,) = _in_memory(killed.pid)
        killed.kill()
    assert {path.name for path in (tmp_path / "x").iterdir()} == {"keystead.log"}
    with running_dev(tmp_path / "y") as first, running_dev(tmp_path / "z") as second:
        assert not left.exists()
        mine = [*_in_memory(first.pid), *_in_memory(second.pid)]
        assert len(mine) == 2  # the second has left the first alone
        works(first)
    assert not any(path.exists() for path in mine)


def test_a_folder_without_a_lock_goes_once_it_is_a_day_old(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed before it had one: younger ones are being made. What is not of this name, or a link, is none of ours."""
    monkeypatch.setattr(memory.os, "access", lambda *_: False)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    names = ("keystead-dev-1-old", "keystead-dev-2-young", "other-old", "target-old")
    old, young, other, target = (tmp_path / name for name in names)
    for folder in (old, young, other, target):
        (folder / "hsm").mkdir(parents=True)
    (tmp_path / "keystead-dev-link").symlink_to(target)
    for folder in (old, other, target):
        os.utime(folder, (time.time() - 90_000,) * 2)
    with ExitStack() as stack:
        made = memory.memory_folder(stack)
        assert not old.exists()
        assert all((folder / "hsm").exists() for folder in (young, other, target))
    assert not made.exists()


def _in_memory(pid: int) -> list[Path]:
    places = (Path("/dev/shm"), Path(tempfile.gettempdir()))
    return [path for place in places if place.exists() for path in place.glob(f"keystead-dev-{pid}-*")]


@pytest.mark.token
def test_secrets_stand_in_no_log(tmp_path: Path) -> None:
    key = ("AKIA0000000000000001", "s3cret-of-the-tests", "111122223333")
    with running_dev(tmp_path, access_keys=[key]) as running:
        works(running)
    assert key[1] not in running.output


@pytest.mark.token
def test_a_port_that_is_taken_is_said(tmp_path: Path) -> None:
    with running_dev(tmp_path) as running:
        said = refused("--memory", "--listen", running.url.removeprefix("http://"))
    assert "--listen" in said
    assert "in use" in said.lower()


@pytest.mark.token
def test_a_reset_leaves_an_empty_place_and_only_for_who_may_ask(tmp_path: Path) -> None:
    with running_dev(tmp_path, options=("--memory", "--allow-reset")) as running:
        blob = works(running)
        for headers in ({}, {"X-Keystead-Reset": "yes", "Origin": "http://127.0.0.1"}, {"X-Keystead-Reset": "yes", "Host": "evil.example"}):
            assert _reset(running, headers) == 403
        assert opens(running, blob)
        assert _reset(running, {"X-Keystead-Reset": "yes"}) == 200
        with pytest.raises(ClientError, match="AccessDenied"):
            opens(running, blob)
        assert opens(running, works(running))
    with running_dev(tmp_path) as running:
        assert _reset(running, {"X-Keystead-Reset": "yes"}) == 404


def _reset(running: Endpoint, headers: dict[str, str]) -> int:
    asked = urllib.request.Request(f"{running.url}/_keystead/reset", b"", headers)
    try:
        with urllib.request.urlopen(asked, timeout=10) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code


@pytest.mark.token
def test_a_certificate_that_is_none_is_said(tmp_path: Path) -> None:
    (tmp_path / "x.pem").write_text("none")
    options = ("--memory", "--tls-cert", str(tmp_path / "x.pem"), "--tls-key", str(tmp_path / "x.pem"))
    assert "--tls-cert" in refused(*options)


@pytest.mark.token
def test_an_open_folder_with_other_things_in_it_is_left_alone(tmp_path: Path) -> None:
    """`--state /tmp` must not lock everybody else out of /tmp."""
    home = tmp_path / "home"
    home.mkdir(mode=0o755)
    (home / "notes").write_text("mine")
    home.chmod(0o755)
    assert "holds other files" in refused("--state", str(home))
    assert stat.S_IMODE(home.stat().st_mode) == 0o755
    assert [path.name for path in home.iterdir()] == ["notes"]


@pytest.mark.token
def test_a_link_leads_to_a_folder_that_is_judged_itself(tmp_path: Path) -> None:
    home, link = tmp_path / "home", tmp_path / "link"
    home.mkdir()
    home.chmod(0o755)
    (home / "notes").write_text("mine")
    link.symlink_to(home)
    assert "holds other files" in refused("--state", str(link))
    assert stat.S_IMODE(home.stat().st_mode) == 0o755


def test_a_folder_of_another_user_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It could be replaced under us, whatever its mode."""
    monkeypatch.setattr(database.os, "geteuid", lambda: 12345)
    with pytest.raises(StoreError, match="belongs to another user"):
        database.Database(tmp_path)


def test_a_machine_without_softhsm_is_told_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(softhsm, "MODULES", (tmp_path / "none.so",))
    with pytest.raises(HsmSetupError, match="apt-get install softhsm2"):
        ensure_token(tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_ceremony_that_fails_says_why_and_leaves_no_draft(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = tmp_path / "module.so"
    module.write_bytes(b"no module")
    monkeypatch.setattr(softhsm, "MODULES", (module,))
    state = tmp_path / "state"
    with pytest.raises(HsmSetupError, match="could not be made"):
        ensure_token(state)  # the folder is not there: the child cannot make its draft
    assert not state.exists()
