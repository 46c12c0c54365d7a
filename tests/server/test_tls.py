"""TLS: versions, protocols, and certificates that change while the server runs."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography import x509
from tests.certificates import SelfSigned, make_self_signed
from tests.server.http_harness import Client, Running, a_server, post, quick

from keystead.server.http import Listen
from keystead.server.tls import Certificates, Tls

NOW = datetime.now(UTC)
NAMES = ("localhost", "keystead.keystead-system.svc", "127.0.0.1")


def trusting(made: SelfSigned) -> ssl.SSLContext:
    return ssl.create_default_context(cadata=made.authority.decode())


def mount(folder: Path, name: str, certificate: bytes, key: bytes) -> Tls:
    """A Secret's volume: the files are links through `..data`, which is replaced at once."""
    (folder / name).mkdir()
    (folder / name / "tls.crt").write_bytes(certificate)
    (folder / name / "tls.key").write_bytes(key)
    (folder / "..new").symlink_to(name)
    (folder / "..new").replace(folder / "..data")
    for file in ("tls.crt", "tls.key"):
        if not (folder / file).is_symlink():
            (folder / file).symlink_to(Path("..data") / file)
    return Tls(certificate=folder / "tls.crt", key=folder / "tls.key", poll=0.02)


def serial(server: Running) -> int:
    with Client(server.port, server.context) as client:
        return x509.load_der_x509_certificate(client.socket.getpeercert(binary_form=True)).serial_number


def serial_of(made: SelfSigned) -> int:
    return x509.load_pem_x509_certificate(made.certificate).serial_number


def until(done) -> None:
    """Wait for the server's next look at its files."""
    pause = threading.Event()
    for _ in range(10_000):
        if done():
            return
        pause.wait(0.005)
    pytest.fail("it did not come")


@pytest.fixture(scope="module")
def made() -> SelfSigned:
    return make_self_signed(NAMES, NOW)


@contextlib.contextmanager
def over_tls(made: SelfSigned, folder: Path, handshake: float = 60.0) -> Iterator[Running]:
    """`handshake`: seconds that one may take."""
    tls = mount(folder, "1", made.certificate, made.key)
    listen = Listen(host="127.0.0.1", tls=tls, grace=1.0, quiet=0.0)
    with a_server(quick(request=handshake, keep_alive=60), listen, trusting(made)) as running:
        yield running


@pytest.fixture
def server(made, tmp_path) -> Iterator[Running]:
    with over_tls(made, tmp_path) as running:
        yield running


def test_a_request_over_tls_is_answered_and_marked_secure(server):
    client = server.connect()
    assert client.socket.version() == "TLSv1.3"
    assert [client.ask("/yield", b"%d" % n).body for n in range(10)] == [b"%d" % n for n in range(10)]
    assert server.door.asked[-1].secure is True


def test_http_1_1_is_agreed_on(server):
    server.context.set_alpn_protocols(["h2", "http/1.1"])
    assert server.connect().socket.selected_alpn_protocol() == "http/1.1"


def test_tls_1_2_is_spoken_with_forward_secrecy_only(server):
    server.context.maximum_version = ssl.TLSVersion.TLSv1_2
    name, _, _ = server.connect().socket.cipher()
    assert name.startswith("ECDHE-")
    server.context.set_ciphers("AES128-GCM-SHA256")
    with pytest.raises(ssl.SSLError):
        server.connect()


def test_tls_1_1_is_refused(server):
    context = server.context
    context.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning):
        context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
    with pytest.raises(ssl.SSLError):
        server.connect()


def test_plain_http_and_garbage_on_the_tls_port_harm_nobody(server):
    for data in (post(), b"\x16\x03\x01" + b"\xff" * 500, b"\x80" * 100):
        with socket.create_connection(("127.0.0.1", server.port), timeout=30) as plain:
            plain.sendall(data)
    assert server.connect().ask().status == 200


def test_a_handshake_that_stops_is_ended(made, tmp_path):
    with (
        over_tls(made, tmp_path, handshake=0.2) as server,
        socket.create_connection(("127.0.0.1", server.port), timeout=30) as plain,
    ):
        plain.sendall(b"\x16\x03\x01\x02\x00\x01")
        with contextlib.suppress(ConnectionResetError):
            assert plain.recv(100) == b""


def test_a_long_body_is_refused_over_tls_too(server):
    client = server.connect().send(
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 104857600\r\n\r\n" + b"x" * 3_000_000
    )
    assert client.answer().status == 413
    assert client.rest() == b""


def test_a_replaced_certificate_is_used_without_a_restart(server, made, tmp_path, caplog):
    old = server.connect()
    assert serial(server) == serial_of(made)
    newer = make_self_signed(NAMES, NOW, renews=made)
    mount(tmp_path, "2", newer.certificate, newer.key)
    until(lambda: serial(server) == serial_of(newer))
    assert old.ask().status == 200


def test_a_broken_pair_keeps_the_old_one_and_is_logged_once(server, made, tmp_path, caplog):
    caplog.set_level("INFO", logger="keystead.server.tls")
    other = make_self_signed(NAMES, NOW)
    mount(tmp_path, "2", other.certificate, made.key)
    until(lambda: caplog.records)
    assert serial(server) == serial_of(made)
    mount(tmp_path, "3", made.certificate, made.key)
    until(lambda: any("has been replaced" in record.getMessage() for record in caplog.records))
    errors = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
    assert errors == ["the new TLS certificate is not used, the old one stays: SSLError KEY_VALUES_MISMATCH"]


@pytest.mark.parametrize(
    "break_it", [Path.unlink, lambda file: file.write_bytes(b""), lambda file: file.write_bytes(b"junk")]
)
def test_missing_or_senseless_files_keep_the_old_pair(made, tmp_path, caplog, break_it):
    certificates = Certificates(mount(tmp_path, "1", made.certificate, made.key))
    before = certificates._newest
    break_it(tmp_path / "1" / "tls.key")
    for _ in range(3):
        certificates.refresh()
    assert certificates._newest is before
    assert len([record for record in caplog.records if record.levelname == "ERROR"]) == 1
    newer = make_self_signed(NAMES, NOW)
    mount(tmp_path, "2", newer.certificate, newer.key)
    certificates.refresh()
    assert certificates._newest is not before


def test_an_encrypted_key_is_an_error_and_not_a_question_at_the_terminal(made, tmp_path):
    from cryptography.hazmat.primitives import serialization as s

    key = s.load_pem_private_key(made.key, None)
    locked = key.private_bytes(s.Encoding.PEM, s.PrivateFormat.PKCS8, s.BestAvailableEncryption(b"x"))
    with pytest.raises(ssl.SSLError):
        Certificates(mount(tmp_path, "1", made.certificate, locked))
