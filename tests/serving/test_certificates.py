"""TLS of the running server: only 1.2 and newer, no plain HTTP, and a certificate that is replaced on disk is used without a restart."""

from __future__ import annotations

import http.client
import socket
import ssl
import warnings
from datetime import UTC, datetime

import pytest
from cryptography import x509
from tests.certificates import make_self_signed
from tests.operator.harness import wait_for
from tests.serving.desk import Desk

pytestmark = pytest.mark.cluster


def shakes_hands(desk: Desk, version: ssl.TLSVersion) -> str | None:
    """The version of TLS that is agreed on by a client that would take any cipher; None: none."""
    context = desk.trust()
    context.set_ciphers("ALL:@SECLEVEL=0")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = context.maximum_version = version
    with socket.create_connection(("localhost", desk.server.endpoint_port), 5) as plain:
        try:
            with context.wrap_socket(plain, server_hostname="localhost") as secure:
                return secure.version()
        except ssl.SSLError:
            return None


def test_tls_below_1_2_is_refused(desk: Desk) -> None:
    versions = (ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1, ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3)
    assert [shakes_hands(desk, version) for version in versions] == [None, None, "TLSv1.2", "TLSv1.3"]


def test_plain_http_is_no_language_here(desk: Desk) -> None:
    connection = http.client.HTTPConnection("localhost", desk.server.endpoint_port, timeout=5)
    with pytest.raises((OSError, http.client.HTTPException)):
        connection.request("POST", "/", b"{}", {"X-Amz-Target": "TrentService.ListKeys"})
        connection.getresponse()
    connection.close()


def serial(desk: Desk) -> int:
    address = ("localhost", desk.server.endpoint_port)
    return x509.load_pem_x509_certificate(ssl.get_server_certificate(address, ca_certs=str(desk.authority.bundle)).encode()).serial_number


def test_a_certificate_replaced_on_disk_is_used_for_new_connections(desk: Desk) -> None:
    app = desk.worker("serve-b", "certificates", "*")
    client, before = app.raw(keep=True), serial(desk)
    assert client.call("ListKeys").status == 200
    made = make_self_signed(["localhost", "127.0.0.1"], datetime.now(UTC), renews=desk.authority.made)
    desk.authority.certificate.write_bytes(made.certificate)
    desk.authority.key.write_bytes(made.key)
    wait_for("the new certificate", lambda: serial(desk) != before, 10)
    assert client.call("ListKeys").status == 200  # on the connection from before
    client.close()
    assert app.raw().call("ListKeys").status == 200
