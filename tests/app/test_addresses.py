"""Where to listen is tried first: a taken port is an error that names the option; a reserved one is shared by those who ask for it."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from keystead.app.addresses import check_address, reserved
from keystead.errors import InvalidSpecError


@contextmanager
def listening(host: str = "127.0.0.1", port: int = 0, *, share: bool = False) -> Iterator[int]:
    with socket.socket() as made:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if share:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        made.bind((host, port))
        made.listen()
        yield made.getsockname()[1]


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", ""])
@pytest.mark.parametrize("share", [False, True])
def test_a_port_on_which_somebody_listens_is_refused(host: str, share: bool) -> None:
    with listening(share=share) as port:
        with pytest.raises(InvalidSpecError, match=rf"--listen: .* port {port}: Address already in use"):
            check_address(host, port, "--listen")
        with pytest.raises(InvalidSpecError), reserved(host, port, "--listen"):
            pass
    check_address(host, port, "--listen")


def test_port_0_is_always_free() -> None:
    check_address("", 0, "--listen")


@pytest.mark.parametrize("host", ["host.invalid", "256.1.1.1", "192.0.2.1"])
def test_an_address_of_another_machine_is_refused(host: str) -> None:
    with pytest.raises(InvalidSpecError, match="--listen"):
        check_address(host, 0 if host == "host.invalid" else 1, "--listen")


@pytest.mark.parametrize("host", ["127.0.0.1", ""])
def test_who_shares_may_listen_on_a_reserved_port_and_nobody_else_beside_them(host: str) -> None:
    with reserved(host, 0, "--listen") as port:
        assert port > 0
        where = host or "0.0.0.0"
        with listening(where, port, share=True), listening(where, port, share=True), pytest.raises(OSError, match="in use"):
            refused = listening(where, port)
            refused.__enter__()


def test_a_reserved_port_takes_no_connection_from_those_who_listen() -> None:
    with reserved("127.0.0.1", 0, "--listen") as port, listening(port=port, share=True):
        for _ in range(50):
            socket.create_connection(("127.0.0.1", port), 1).close()


def test_a_reserved_port_is_free_afterwards() -> None:
    with reserved("127.0.0.1", 0, "--listen") as port:
        pass
    with listening(port=port):
        pass
