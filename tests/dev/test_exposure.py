"""What `keystead dev` prints, and what a web page, or a name that resolves to this machine, cannot make it do."""

from __future__ import annotations

import pytest

from keystead.dev.exposure import address, export_lines, may_reset

YES = (b"x-keystead-reset", b"yes")
HERE = (b"host", b"127.0.0.1:4566")


@pytest.mark.parametrize(
    "host", [b"127.0.0.1:4566", b"127.0.0.1", b"localhost:4566", b"LocalHost", b"[::1]:4566", b"127.9.9.9:1", b"box:4566"]
)
def test_a_reset_that_names_this_machine_is_done(host: bytes) -> None:
    assert may_reset([YES, (b"host", host)], "box")


@pytest.mark.parametrize("sent", [[], [(b"x-keystead-reset", b"no")], [(b"x-keystead-reset", b"Yes")], [(b"x-reset", b"yes")]])
def test_a_reset_needs_the_header_that_no_form_can_send(sent: list[tuple[bytes, bytes]]) -> None:
    assert not may_reset([HERE, *sent], "127.0.0.1")


@pytest.mark.parametrize("origin", [b"http://127.0.0.1:4566", b"https://evil.example", b"null", b""])
def test_a_web_page_never_resets_whatever_its_origin(origin: bytes) -> None:
    assert not may_reset([YES, HERE, (b"origin", origin)], "127.0.0.1")


@pytest.mark.parametrize(
    "host",
    [
        b"evil.example:4566", b"127.0.0.1.evil.example", b"localhost.evil.example", b"evil.example@localhost.", b"localhost@evil.example",
        b"", b"192.168.1.5:4566", b"\xff", b"[::1", b"2130706433", b"0x7f.1", b"127.1",
    ],
)  # fmt: skip
def test_a_name_that_was_made_to_resolve_here_is_not_this_machine(host: bytes) -> None:
    """DNS rebinding: the page's own name is in Host."""
    assert not may_reset([YES, (b"host", host)], "127.0.0.1")


def test_a_reset_without_a_host_is_refused() -> None:
    assert not may_reset([YES], "127.0.0.1")


def test_a_secret_that_was_given_is_not_printed() -> None:
    given, made = (list(export_lines("http://h:1", "AKIA", secret, "us-east-1")) for secret in (None, "s3cret"))
    assert not any("SECRET" in line for line in given)
    assert "export AWS_SECRET_ACCESS_KEY=s3cret" in made
    assert set(given) < set(made)


@pytest.mark.parametrize(
    ("host", "tls", "url"),
    [
        ("127.0.0.1", False, "http://127.0.0.1:1"),
        ("::1", True, "https://[::1]:1"),
        ("0.0.0.0", False, "http://127.0.0.1:1"),
        ("::", False, "http://[::1]:1"),
        ("box", True, "https://box:1"),
    ],
)
def test_the_address_can_be_called(host: str, tls: bool, url: str) -> None:
    assert address(host, 1, tls=tls) == url
