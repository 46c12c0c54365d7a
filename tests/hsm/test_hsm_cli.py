"""`keystead hsm` as people and Jobs run it, on real tokens: what it refuses, in which words, with which exit code."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from pkcs11 import Attribute, KeyType
from tests.hsm.domains import (
    LABEL,
    DomainToken,
    Done,
    command,
    empty_token,
    environment,
    keystead,
    new_domain,
    on_process,
    token_options,
)
from tests.hsm.refusals import AUTH, SETUP, SPEC, refused
from tests.hsm.tokens import new_pin, provision_softhsm, softhsm_module

from keystead.errors import HsmAuthError
from keystead.hsm.backend import open_token
from keystead.hsm.pin import FileMarker
from keystead.settings import HsmSettings

pytestmark = pytest.mark.token


def check(token: DomainToken, *more: str | Path, **env: str) -> Done:
    return keystead("hsm", "check", *token.options, *more, env={**token.env, **env})


def test_check_passes_on_a_good_token_and_prints_json(domain: DomainToken) -> None:
    done = check(domain, "-o", "json", "--expect-fingerprint", domain.fingerprint)
    assert done.code == 0, done.err
    rows = done.json()
    of_the_token = {row["verdict"] for row in rows if row["check"] != "process memory"}  # which is the machine's
    assert of_the_token == {"ok"}
    assert any(domain.fingerprint in row["detail"] for row in rows)
    versions = rows[0]["detail"]
    assert {"softhsm": "SoftHSM v2", "kryoptic": "Kryoptic"}[domain.kind] in versions


def test_domain_of_another_fingerprint_is_refused(domain: DomainToken) -> None:
    refused(
        check(domain, "--expect-fingerprint", "ab" * 32), SETUP, "holds domain [0-9a-f]{16}, the records belong to abab"
    )
    refused(check(domain, KEYSTEAD_HSM_EXPECT_FINGERPRINT="ab" * 32), SETUP, "the records belong to abab")
    refused(check(domain, "--expect-fingerprint", "AB"), SPEC, "64 lower-case hex digits")


def test_unreachable_module_is_refused(domain: DomainToken, tmp_path: Path) -> None:
    gone = tmp_path / "no.so"
    refused(check(domain, "--module", gone), SETUP, f"{gone} does not exist")
    text = tmp_path / "text.so"
    text.write_text("not a module")
    refused(check(domain, "--module", text), SETUP, "cannot be loaded")
    refused(keystead("hsm", "init", *token_options(gone, LABEL, domain.pin_file)), SETUP, "does not exist")


def test_wrong_pin_is_tried_once_and_never_again_until_it_changes(kind: str, tmp_path: Path) -> None:
    """kryoptic locks for good after 10 refusals: 12 runs with one wrong PIN must cost one attempt."""
    token = new_domain(kind, tmp_path)
    folder = tmp_path / "pins"
    folder.mkdir()
    pin_file = folder / "pin"
    pin_file.write_text("0" * 32)
    wrong = ("hsm", "check", *token.options[:4], "--pin-file", pin_file)
    refused(keystead(*wrong, env=token.env), AUTH, "refused the PIN")
    assert (folder / "pin-refused").exists()
    assert "0" * 32 not in (folder / "pin-refused").read_text()
    refused(keystead(*wrong, env=token.env), AUTH, "refused this PIN before")
    settings = token.settings(pin_file=pin_file)
    assert on_process(token.env, _count_refusals, settings, 12) == 12
    refused(keystead("hsm", "init", *wrong[2:], env=token.env), AUTH, "refused this PIN before")
    pin_file.write_text(token.pin_file.read_text())
    done = keystead(
        "hsm", "verify-backup", token.backup, "--recovery-key", token.recovery_key, *wrong[2:], env=token.env
    )
    assert done.code == 0, done.err


def _count_refusals(settings: HsmSettings, tries: int) -> int:
    marker, count = FileMarker(settings.pin_file, settings.pin_file.parent), 0
    for _ in range(tries):
        try:
            open_token(settings, marker)
        except HsmAuthError as error:
            count += "refused this PIN before" in str(error)
    return count


def test_marker_that_cannot_be_written_is_said_aloud(domain: DomainToken, tmp_path: Path) -> None:
    pin_file = tmp_path / "pin"
    pin_file.write_text("1" * 32)
    (tmp_path / "pin-refused").mkdir()  # root writes into read-only folders, but not into a folder as a file
    refused(check(domain, "--pin-file", pin_file), AUTH, "(cannot be written|cannot be read)")


@pytest.mark.parametrize(
    ("content", "words"),
    [(b"", "is empty"), (b"%s\n", "white space"), (b" %s", "white space"), (b"\xff\xfe" * 8, "not ASCII")],
    ids=["empty", "newline", "space", "bytes"],
)
def test_pin_file_of_the_wrong_form_is_refused_before_any_attempt(
    domain: DomainToken, tmp_path: Path, content: bytes, words: str
) -> None:
    pin_file = tmp_path / "pin"
    pin_file.write_bytes(content.replace(b"%s", domain.pin_file.read_bytes()))
    refused(check(domain, "--pin-file", pin_file), AUTH, words)
    assert not (tmp_path / "pin-refused").exists()


def test_two_tokens_of_one_label_are_refused(tmp_path: Path) -> None:
    home = tmp_path / "token"
    done = keystead("hsm", "init", "--softhsm-dir", home)
    assert done.code == 0, done.err
    second = provision_softhsm(tmp_path / "second", LABEL, new_pin())
    assert second.module == softhsm_module()
    (folder,) = (tmp_path / "second" / "tokens").iterdir()
    shutil.copytree(folder, home / "tokens" / folder.name)
    refused(keystead("hsm", "check", "--softhsm-dir", home), SETUP, "2 tokens are called 'keystead'")


def test_broken_token_folders_are_named(tmp_path: Path) -> None:
    home = tmp_path / "token"
    assert keystead("hsm", "init", "--softhsm-dir", home).code == 0
    (token_object,) = (home / "tokens").glob("*/token.object")
    whole = token_object.read_bytes()
    token_object.write_bytes(b"")
    refused(keystead("hsm", "check", "--softhsm-dir", home), SETUP, "token.object is empty or missing")
    token_object.write_bytes(whole)
    aside = home / "tokens.aside"
    (home / "tokens").rename(aside)
    refused(keystead("hsm", "check", "--softhsm-dir", home), SETUP, "does not exist")
    (home / "tokens").mkdir()
    refused(keystead("hsm", "check", "--softhsm-dir", home), SETUP, "is empty")
    (home / "tokens").rmdir()
    aside.rename(home / "tokens")
    given = (tmp_path / "domain-backup-1.ksdb", "--recovery-key", tmp_path / "recovery-key-1.txt")
    assert keystead("hsm", "verify-backup", *given, "--softhsm-dir", home).code == 0
    refused(keystead("hsm", "check", "--softhsm-dir", tmp_path), SETUP, "not a token folder")


def test_token_without_a_domain_is_refused(kind: str, tmp_path: Path) -> None:
    token, pin_file = empty_token(kind, tmp_path)
    done = keystead("hsm", "check", *token_options(token.module, LABEL, pin_file), env=token.env)
    refused(done, SETUP, "has no domain")
    done = keystead("hsm", "check", *token_options(token.module, "other", pin_file), env=token.env)
    refused(done, SETUP, "no token is called 'other'")


def test_domain_is_never_replaced(domain: DomainToken, tmp_path: Path) -> None:
    init = ("hsm", "init", *domain.options)
    refused(keystead(*init, env=domain.env, cwd=tmp_path), SETUP, "has a domain already")
    given = ("--from-backup", domain.backup, "--recovery-key", domain.recovery_key)
    refused(keystead(*init, *given, env=domain.env, cwd=tmp_path), SETUP, "has a domain already")
    assert list(tmp_path.iterdir()) == []  # no backup of nothing, no recovery key of nothing
    if domain.kind == "softhsm":
        home = domain.pin_file.parent
        refused(keystead("hsm", "init", "--softhsm-dir", home, cwd=tmp_path), SETUP, "is not empty")


def test_half_a_domain_is_refused_by_init_and_check(kind: str, tmp_path: Path) -> None:
    token, pin_file = empty_token(kind, tmp_path)
    options = token_options(token.module, LABEL, pin_file)
    settings = HsmSettings(module=token.module, token_label=LABEL, pin_file=pin_file)
    on_process(token.env, _make_half_a_domain, settings)
    for what in ("init", "check"):
        refused(keystead("hsm", what, *options, env=token.env, cwd=tmp_path), SETUP, r"half there \(only dk\)")
    assert not list(tmp_path.glob("recovery*"))


def _make_half_a_domain(settings: HsmSettings) -> None:
    token = open_token(settings, FileMarker(settings.pin_file, settings.pin_file.parent), writable=True)
    token.session.generate_key(KeyType.AES, 256, store=True, label="keystead-dk-1", template={Attribute.PRIVATE: True})
    token.close()


@pytest.mark.parametrize(
    "arguments",
    [
        ("hsm", "init", "--from-backup", "x"),
        ("hsm", "init", "--from-backup", "x", "--recovery-key", "y", "--backup-out", "z"),
        ("hsm", "init", "--to-cluster"),
        ("hsm", "chek"),
        ("hsm", "check", "--no-such-option"),
        ("hsm", "verify-backup"),
    ],
    ids=" ".join,
)
def test_wrong_usage_is_one_line_and_a_hint(arguments: tuple[str, ...], tmp_path: Path) -> None:
    refused(keystead(*arguments, cwd=tmp_path), 2, "^error: [a-z-]")


def test_check_works_on_a_read_only_folder_and_an_unpacked_secret(tmp_path: Path) -> None:
    made = new_domain("softhsm", tmp_path)
    home = made.pin_file.parent
    volume = tmp_path / "volume"
    _as_secret_volume(home, volume)
    done = keystead("hsm", "unpack-token", volume, tmp_path / "unpacked")
    assert done.code == 0, done.err
    shutil.copy(home / "pin", tmp_path / "unpacked" / "pin")
    expect = ("--expect-fingerprint", made.fingerprint, "-o", "json")
    assert {oct(path.stat().st_mode & 0o777) for path in (tmp_path / "unpacked").rglob("*.object")} == {"0o400"}
    shell = 'mount --bind "$0" "$0" && mount -o remount,ro,bind "$0" "$0" && exec "$@"'
    place = str(tmp_path / "unpacked")
    if subprocess.run(["unshare", "-m", "sh", "-c", shell, place, "true"], capture_output=True, check=False).returncode:
        assert keystead("hsm", "check", "--softhsm-dir", place, *expect).code == 0
        pytest.skip("no right to make a read-only mount")
    line = command("hsm", "check", "--softhsm-dir", place, *expect)
    done_ro = subprocess.run(
        ["unshare", "-m", "sh", "-c", shell, place, *line],
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done_ro.returncode == 0, done_ro.stderr


def _as_secret_volume(home: Path, volume: Path) -> None:
    """A projected Secret volume: keys are links through `..data` to a folder of a time."""
    real = volume / "..2026_11_26"
    real.mkdir(parents=True)
    (volume / "..data").symlink_to(real.name)
    for path in (home / "tokens").rglob("*.object"):
        name = "__".join(path.relative_to(home).parts)
        shutil.copy(path, real / name)
        (volume / name).symlink_to(Path("..data") / name)
