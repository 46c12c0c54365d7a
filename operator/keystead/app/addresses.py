"""The address that a process is about to listen on: tried before anything else begins, and held for workers that share it.

A start that fails here is one line that names the option, instead of a traceback from a server after seconds of other work.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

from keystead.errors import InvalidSpecError


def check_address(host: str, port: int, option: str) -> None:
    """InvalidSpecError where nothing could listen there. `host` "": all addresses of this machine; port 0 is always free."""
    for family, where in _places(host, port, option):
        with suppress(_NoFamilyError), _bound(family, where, option, share=False):
            pass


@contextmanager
def reserved(host: str, port: int, option: str) -> Iterator[int]:
    """The port, held by sockets that are bound and do not listen: processes of this user may listen on it with SO_REUSEPORT.

    Whoever else listens there, with that option too, is an error: clients would reach now one, now the other.
    """
    check_address(host, port, option)
    with ExitStack() as stack:
        for family, where in _places(host, port, option):
            with suppress(_NoFamilyError):
                place = (where[0], port, *where[2:])
                port = stack.enter_context(_bound(family, place, option, share=True)).getsockname()[1]
        yield port


class _NoFamilyError(Exception):
    """This machine has no IPv6, or no IPv4."""


def _places(host: str, port: int, option: str) -> list[tuple[int, Any]]:
    try:
        found = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as error:
        raise InvalidSpecError(option, f"{host} is no address of a machine: {error.strerror}") from None
    return list(dict.fromkeys((family, where) for family, _, _, _, where in found))


@contextmanager
def _bound(family: int, where: Any, option: str, *, share: bool) -> Iterator[socket.socket]:  # noqa: ANN401 - what getaddrinfo says
    try:
        made = socket.socket(family, socket.SOCK_STREAM)
    except OSError:
        raise _NoFamilyError from None
    with made:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if share:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        try:
            made.bind(where)
        except OSError as error:
            raise InvalidSpecError(option, f"{where[0]} port {where[1]}: {error.strerror}") from None
        yield made
