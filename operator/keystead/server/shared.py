"""What all connections of one server share: bounds, totals, whether it drains, and the one timer for every deadline.

Called by http.py, which makes it, and connection.py. No rule of HTTP or AWS may enter.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Protocol

from keystead.server.answers import Renderer
from keystead.server.message import Door


class Connected(Protocol):
    """A connection (connection.py), as the server as a whole sees it. `deadline`: loop time at which it is overdue."""

    deadline: float

    def overdue(self) -> None:
        """Its deadline has passed."""

    def close_if_idle(self) -> None:
        """Late in a drain."""

    def abort(self) -> None:
        """At the end of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Bounds of connections and requests. Sizes in bytes, times in seconds.

    head        request line and headers; 16 KiB: session tokens are 400 to 2,000 bytes, other people's proxies add theirs
    headers     number of headers; AWS SDKs send 10 to 20
    body        256 KiB: the longest policy that the service model lets through (131,072 characters) with every character doubled by
                JSON escapes; 10 grant tokens of 8,192, or 50 tags in \\uXXXX escapes, are less; 4,096 bytes of plaintext are nothing
    pipelined   requests that wait behind an answer; no AWS SDK pipelines. More ends the connection once they are answered
    connections open at once in one process; below the usual limit of open files with room for the rest of the process
    unfinished  of all unfinished or waiting requests together; 1,000 slow clients must not fill the memory
    unread      answers that a client has not read, before its requests wait
    request     from the first byte of a request (or the connection's start) to its last
    keep_alive  an idle connection lives; SDK pools keep theirs for 60 s and more
    linger      after a refusal, for the client to read it while it still sends
    sweep       between two looks at all deadlines: one timer, not one a request
    """

    head: int = 16 * 1024
    headers: int = 100
    body: int = 256 * 1024
    pipelined: int = 32
    connections: int = 8192
    unfinished: int = 64 * 1024 * 1024
    unread: int = 64 * 1024
    request: float = 10.0
    keep_alive: float = 75.0
    linger: float = 2.0
    sweep: float = 0.5


@dataclass(slots=True)
class Shared:
    """What all connections of a server share."""

    door: Door
    limits: Limits
    loop: asyncio.AbstractEventLoop
    secure: bool = False
    renderer: Renderer = field(default_factory=Renderer)
    connections: set[Connected] = field(default_factory=set)
    tasks: set[asyncio.Task[None]] = field(default_factory=set)
    unfinished: int = 0
    draining: bool = False
    hurrying: bool = False  # later in a drain: idle connections are closed too
    empty: asyncio.Event = field(default_factory=asyncio.Event)

    def left(self) -> None:
        """A connection or task has ended."""
        if self.draining and not self.connections and not self.tasks:
            self.empty.set()

    def sweep(self) -> None:
        """Ends whatever is over its deadline."""
        now = self.loop.time()
        for connection in [each for each in self.connections if each.deadline < now]:
            connection.overdue()
