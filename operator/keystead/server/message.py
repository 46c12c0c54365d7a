"""One HTTP exchange as values: what the HTTP layer hands to the door, and what it writes back. Nothing here knows a web framework."""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from dataclasses import field
from typing import Protocol

from keystead.engine.values import per_call
from keystead.operations.trail import TlsFacts

AWS_JSON = b"application/x-amz-json-1.1"


@per_call
class Asked:
    """A whole request.

    target   path and query as sent, undecoded
    headers  in the order sent; names in lower case, values as sent without outer spaces
    body     at most MAX_BODY bytes; the HTTP layer has refused what is longer (413), chunked (411), slow or cut off
    peer     the client's address, for records; never believed for a decision
    secure   whether it came over TLS; tls: how, for records
    """

    method: bytes
    target: bytes
    headers: Sequence[tuple[bytes, bytes]] = field(repr=False)  # a session token or a Bearer token may be in them
    body: bytes = field(repr=False)
    peer: str = ""
    secure: bool = False
    tls: TlsFacts | None = None


@per_call
class Reply:
    """An answer. The HTTP layer adds Date, Content-Length and Connection. `close`: the connection ends with it."""

    status: int
    body: bytes = field(repr=False)
    content_type: bytes = AWS_JSON
    headers: tuple[tuple[bytes, bytes], ...] = ()
    close: bool = False


class Door(Protocol):
    """What the HTTP layer calls. Never raises: every fault is an answer."""

    def handle(self, asked: Asked) -> Reply | Awaitable[Reply]:
        """The answer, at once where no I/O is needed: a thread or task hop would cost more than most calls."""
