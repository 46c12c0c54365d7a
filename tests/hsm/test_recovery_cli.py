"""What `hsm init` gives out, to whom, and that `hsm verify-backup` believes nothing else; on real tokens."""

from __future__ import annotations

import os
import re
import stat
import subprocess
from pathlib import Path

import pytest
import yaml
from tests.hsm.domains import (
    LABEL,
    DomainToken,
    command,
    empty_token,
    environment,
    keystead,
    new_domain,
    on_process,
    token_options,
)
from tests.hsm.refusals import FORMAT, SETUP, SPEC, refused

from keystead.errors import BackupError
from keystead.hsm.backend import open_token
from keystead.hsm.ceremony import verify_backup
from keystead.hsm.pin import FileMarker
from keystead.settings import HsmSettings

pytestmark = pytest.mark.token


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    for name in ("domain-backup-1.ksdb", "recovery-key-1.txt"):
        place = tmp_path / name
        place.write_text("precious")
        refused(keystead("hsm", "init", "--softhsm-dir", tmp_path / "token"), SETUP, f"{name} exists already")
        assert place.read_text() == "precious"
        place.unlink()
    assert list(tmp_path.iterdir()) == []


def test_secrets_go_into_private_files_and_nowhere_else(tmp_path: Path) -> None:
    home = tmp_path / "token"
    process = subprocess.Popen(
        command("hsm", "init", "--softhsm-dir", home, "-o", "yaml"),
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    seen: set[str] = set()
    while process.poll() is None:
        seen |= _command_lines(process.pid)
    out, err = process.communicate()
    assert process.returncode == 0, err
    assert any("--so-pin" in line for line in seen)  # the watch saw the helper's throw-away PINs
    pin, line = (home / "pin").read_text(), (tmp_path / "recovery-key-1.txt").read_text().strip()
    assert re.fullmatch("[0-9a-f]{32}", pin)
    assert re.fullmatch("KSR1-1-[0-9a-f]{64}-[0-9a-f]{8}", line)
    for secret in (pin, line, line.split("-")[2]):
        assert secret not in out + err + "".join(seen)
    modes = {path: stat.S_IMODE(path.stat().st_mode) for path in [home, *home.rglob("*"), *tmp_path.glob("*-1.*")]}
    assert modes.pop(home / "pin") == 0o400
    assert {mode for path, mode in modes.items() if path.is_dir()} == {0o700}
    assert {mode for path, mode in modes.items() if path.is_file()} == {0o600}
    facts = yaml.safe_load(out)
    assert facts["recoveryKey"] == str(tmp_path / "recovery-key-1.txt")
    assert not list(tmp_path.glob("*.tmp-*"))


def _command_lines(session: int) -> set[str]:
    found = set()
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                if os.getsid(int(folder.name)) == session:
                    found.add((folder / "cmdline").read_bytes().replace(b"\0", b" ").decode())
            except OSError:
                continue
    return found


def test_recovery_key_for_a_recipient_leaves_as_an_envelope_only(kind: str, tmp_path: Path) -> None:
    _openssl(
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-subj",
        "/CN=r",
        "-keyout",
        "k.pem",
        "-out",
        "c.pem",
        cwd=tmp_path,
    )
    token, pin_file = empty_token(kind, tmp_path)
    options = token_options(token.module, LABEL, pin_file)
    done = keystead("hsm", "init", *options, "--recovery-recipient", tmp_path / "c.pem", env=token.env, cwd=tmp_path)
    assert done.code == 0, done.err
    sealed = tmp_path / "recovery-key-1.cms"
    assert b"KSR1" not in sealed.read_bytes()
    assert not list(tmp_path.glob("*.txt"))
    _openssl("cms", "-decrypt", "-inform", "DER", "-in", sealed, "-inkey", "k.pem", "-out", "opened", cwd=tmp_path)
    facts = keystead(
        "hsm", "verify-backup", "domain-backup-1.ksdb", "--recovery-key", "opened", "-o", "json", cwd=tmp_path
    )
    assert facts.code == 0, facts.err
    assert facts.json()["fingerprint"] in done.out


def test_recipient_that_cannot_receive_is_refused_before_anything_is_made(tmp_path: Path) -> None:
    _openssl(
        *("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=r"),
        *("-keyout", "k.pem", "-out", "ec.pem"),
        cwd=tmp_path,
    )
    (tmp_path / "text.pem").write_text("hello")
    for name, words in (
        ("ec.pem", "not an RSA certificate"),
        ("text.pem", "not a PEM"),
        ("none.pem", "cannot be read"),
    ):
        done = keystead("hsm", "init", "--softhsm-dir", "token", "--recovery-recipient", name, cwd=tmp_path)
        refused(done, SPEC, words)
    assert not list(tmp_path.glob("token*"))


def _openssl(*arguments: str | Path, cwd: Path) -> None:
    subprocess.run(["openssl", *map(str, arguments)], cwd=cwd, check=True, capture_output=True, timeout=60)


def test_backup_is_verified_in_any_token_and_changes_none(domain: DomainToken) -> None:
    arguments = ("hsm", "verify-backup", domain.backup, "--recovery-key", domain.recovery_key, "-o", "json")
    for done in (keystead(*arguments), keystead(*arguments, *domain.options, env=domain.env)):
        assert done.code == 0, done.err
        assert done.json()["fingerprint"] == domain.fingerprint
        assert done.json()["generation"] == 1


def test_damaged_backup_or_wrong_recovery_key_is_refused(domain: DomainToken, tmp_path: Path) -> None:
    data, line = domain.backup.read_bytes(), domain.recovery_key.read_text()
    other = new_domain("softhsm", tmp_path / "other")
    cases: list[tuple[bytes, str, str]] = [
        (data[:-1], line, "201 bytes"),
        (b"x" + data[1:], line, "not a domain backup"),
        (data, line.replace("KSR1-1-", "KSR1-2-"), "check digits"),
        (data, line[:20], "not a recovery key"),
        (data, other.recovery_key.read_text(), "does not open this backup"),
        (data[:8] + b"\x02" + data[9:], line, "of generation 1, the backup of generation 2"),
    ]
    # A changed byte of each field: install id, fingerprint, DK, DM, MAC.
    for offset in (9, 25, 57, 97, 169):
        changed = bytes(byte ^ 1 if index == offset else byte for index, byte in enumerate(data))
        cases.append((changed, line, "does not (verify|open)"))
    answers = on_process(domain.env, _verify_all, domain.settings(), [(case, text) for case, text, _ in cases])
    for answer, (_, _, words) in zip(answers, cases, strict=True):
        assert re.search(words, answer), answer
        assert line.split("-")[2] not in answer
    backup, key = tmp_path / "b.ksdb", tmp_path / "r.txt"
    backup.write_bytes(cases[-1][0])
    key.write_text(line)
    done = keystead("hsm", "verify-backup", backup, "--recovery-key", key, *domain.options, env=domain.env)
    refused(done, FORMAT, "does not verify")
    done = keystead("hsm", "init", "--softhsm-dir", tmp_path / "t", "--from-backup", backup, "--recovery-key", key)
    refused(done, FORMAT, "does not verify")
    assert not (tmp_path / "t").exists()


def _verify_all(settings: HsmSettings, cases: list[tuple[bytes, str]]) -> list[str]:
    token = open_token(settings, FileMarker(settings.pin_file, settings.pin_file.parent))
    before, answers = len(list(token.session.get_objects())), []
    for data, line in cases:
        try:
            verify_backup(token, data, line)
            answers.append("good")
        except BackupError as error:
            answers.append(str(error))
    assert len(list(token.session.get_objects())) == before
    return answers
