"""`keystead dev`: what options become, which may not go together (RECORDS, dev), and that no secret is told again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from keystead.cli.main import run
from keystead.cli.services import AccessKey, DevRequest

ID = "AKIA0000000000000001"
KEY = f"{ID}:s3cret-s3cret-s3cret"
SECRET = "s3cret-s3cret-s3cret"
EXPOSED = ("--listen", "0.0.0.0:4566")


class Services:
    """`cli.services.Services`, as far as this command goes."""

    def __init__(self) -> None:
        self.asked: list[DevRequest] = []

    def run_dev(self, request: DevRequest) -> int:
        self.asked.append(request)
        return 0


def request(*arguments: str) -> DevRequest:
    """What the command asks for."""
    services = Services()
    assert run(["dev", *arguments], services) == 0  # type: ignore[arg-type]
    return services.asked[0]


def refusal(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """What it says where it refuses."""
    services = Services()
    assert run(["dev", *arguments], services) == 2  # type: ignore[arg-type]
    assert not services.asked
    said: str = capsys.readouterr().err
    assert SECRET not in said
    assert "Traceback" not in said
    return said


def tls(folder: Path) -> tuple[str, ...]:
    return ("--tls-cert", str(folder / "c.pem"), "--tls-key", str(folder / "k.pem"))


def test_without_options_it_listens_on_this_machine_only() -> None:
    found = request()
    assert (found.host, found.port, found.account, found.workers) == ("127.0.0.1", 4566, "111122223333", 1)
    assert (found.access_keys, found.state, found.memory, found.allow_reset, found.quota) == ((), None, False, False, "off")


@pytest.mark.parametrize(
    ("text", "host", "port"), [("127.0.0.1:0", "127.0.0.1", 0), ("[::1]:80", "::1", 80), ("localhost:65535", "localhost", 65535)]
)
def test_listen_is_a_host_and_a_port(text: str, host: str, port: int) -> None:
    assert (request("--listen", text).host, request("--listen", text).port) == (host, port)


@pytest.mark.parametrize("text", ["", "4566", ":4566", "127.0.0.1:", "127.0.0.1:65536", "127.0.0.1:-1", "127.0.0.1:²", "127.0.0.1:x"])
def test_listen_that_is_none_is_refused(capsys: pytest.CaptureFixture[str], text: str) -> None:
    assert "--listen" in refusal(capsys, "--listen", text)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.2", "[::1]", "localhost"])
def test_this_machines_own_addresses_ask_for_nothing(host: str) -> None:
    assert request("--listen", f"{host}:0").access_keys == ()


@pytest.mark.parametrize(
    "host", ["0.0.0.0", "[::]", "192.168.1.5", "box", "127.1", "localhost.evil.example", "[fe80::1]", "[::ffff:10.0.0.1]"]
)
def test_beyond_this_machine_a_key_must_be_given(capsys: pytest.CaptureFixture[str], tmp_path: Path, host: str) -> None:
    assert "--access-key-file" in refusal(capsys, "--listen", f"{host}:0", *tls(tmp_path))
    assert "--access-key-file" in refusal(capsys, "--listen", f"{host}:0", "--insecure")


def test_beyond_this_machine_tls_is_asked_for_or_that_it_be_said(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert "--insecure" in refusal(capsys, *EXPOSED, "--access-key", KEY)
    assert request(*EXPOSED, "--access-key", KEY, "--insecure").insecure
    assert request(*EXPOSED, "--access-key", KEY, *tls(tmp_path)).certificate == tmp_path / "c.pem"


@pytest.mark.parametrize("options", [("--tls-cert", "c"), ("--tls-key", "k")])
def test_a_certificate_and_its_key_go_together(capsys: pytest.CaptureFixture[str], options: tuple[str, ...]) -> None:
    assert "--tls-key" in refusal(capsys, *options)


@pytest.mark.parametrize("options", [("--workers", "2"), ("--state", "x")])
def test_memory_keeps_nothing_and_serves_alone(capsys: pytest.CaptureFixture[str], options: tuple[str, ...]) -> None:
    assert "--memory" in refusal(capsys, "--memory", *options)


@pytest.mark.parametrize("count", ["0", "65", "x"])
def test_workers_have_bounds(capsys: pytest.CaptureFixture[str], count: str) -> None:
    refusal(capsys, "--workers", count)


@pytest.mark.parametrize("account", ["", "12345678901", "1234567890123", "012345678901", "11112222333x", "１１１１２２２２３３３３"])
def test_an_account_has_12_digits(capsys: pytest.CaptureFixture[str], account: str) -> None:
    assert "--account" in refusal(capsys, "--account", account)


def test_access_keys_have_their_account_or_the_common_one() -> None:
    found = request("--access-key", KEY, "--access-key", "AKIA0000000000000002:s3cret-s3cret-s3cret:444455556666").access_keys
    assert found == (AccessKey("AKIA0000000000000001", SECRET), AccessKey("AKIA0000000000000002", SECRET, "444455556666"))


@pytest.mark.parametrize(
    "text",
    [
        SECRET,
        ID,
        f"{ID}:",
        f"AKIA-1:{SECRET}",
        f"AKIA000000000000000-:{SECRET}",
        f"{KEY}:",
        f"{KEY}:1234",
        f"{ID}:s3cret-x:{SECRET}",
        f"{ID}:{SECRET}é",
        f"{ID}:{SECRET}\n",
        f"{ID}:{SECRET * 10}",
    ],
)
def test_an_access_key_of_another_form_is_refused_and_not_shown(capsys: pytest.CaptureFixture[str], text: str) -> None:
    said = refusal(capsys, "--access-key", text)
    assert "--access-key" in said
    assert "s3cret" not in said


def test_an_id_is_given_once(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "keys").write_text(KEY)
    assert "each id once" in refusal(capsys, "--access-key", KEY, "--access-key", KEY)
    assert "each id once" in refusal(capsys, "--access-key", KEY, "--access-key-file", str(tmp_path / "keys"))


def test_keys_come_from_a_file_that_no_list_of_processes_shows(tmp_path: Path) -> None:
    (tmp_path / "keys").write_text(f"# of the tests\n\n  {KEY}\nAKIA0000000000000002:{SECRET}:444455556666\n")
    found = request(*EXPOSED, "--insecure", "--access-key-file", str(tmp_path / "keys")).access_keys
    assert [(key.id, key.secret, key.account) for key in found] == [
        ("AKIA0000000000000001", SECRET, ""),
        ("AKIA0000000000000002", SECRET, "444455556666"),
    ]


def test_keys_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEYSTEAD_DEV_ACCESS_KEYS", f"{KEY} AKIA0000000000000002:{SECRET}")
    assert [key.id for key in request().access_keys] == ["AKIA0000000000000001", "AKIA0000000000000002"]


@pytest.mark.parametrize("content", [b"nonsense s3cret-s3cret", b"\xff\xfe"])
def test_a_file_of_another_form_is_refused_by_its_line(capsys: pytest.CaptureFixture[str], tmp_path: Path, content: bytes) -> None:
    (tmp_path / "keys").write_bytes(content)
    assert "--access-key-file" in refusal(capsys, "--access-key-file", str(tmp_path / "keys"))
    assert "No such file" in refusal(capsys, "--access-key-file", str(tmp_path / "none"))


def test_an_empty_file_of_keys_is_no_key(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "keys").write_text("\n# none\n")
    assert "--access-key-file" in refusal(capsys, *EXPOSED, "--insecure", "--access-key-file", str(tmp_path / "keys"))


def test_a_request_does_not_show_its_secrets() -> None:
    assert SECRET not in repr(request("--access-key", KEY))


def test_the_help_says_who_sees_a_key_on_the_command_line(capsys: pytest.CaptureFixture[str]) -> None:
    services: Any = Services()
    run(["dev", "--help"], services)
    said = " ".join(capsys.readouterr().out.split())
    assert "Other users of this machine can see it" in said
    assert "KEYSTEAD_DEV_ACCESS_KEYS" in said


def test_localstacks_key_will_do_on_this_machine_and_nowhere_else(capsys: pytest.CaptureFixture[str]) -> None:
    assert request("--access-key", "test:test").access_keys[0].secret == "test"
    assert "16 characters" in refusal(capsys, *EXPOSED, "--insecure", "--access-key", "test:test")
