"""One client connection: bytes -> httptools' parser -> Asked -> Door.handle -> Reply -> bytes.

Called by http.py, which makes one for each connection, and by the event loop. An answer that needs no I/O is written before the parser
returns; the others run as one task, and until it ends no further request of the connection is answered and no more bytes are read.
The parser (llhttp, strict) alone decides what HTTP is; here stand only bounds and order. No rule of AWS may enter, and nothing that a
client sent goes into a log line.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections import deque
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass
from typing import cast

import httptools

from keystead.operations.trail import TlsFacts
from keystead.server.answers import BROKEN_DOOR, CLOSE, CONTINUE, KEEP, KEEP_OLD, REPLIES, Refusal
from keystead.server.message import Asked, Reply
from keystead.server.shared import Shared

LOG = logging.getLogger(__name__)

SLICE = 16 * 1024  # bytes given to the parser at once: what an unfinished head can exceed its bound by
_SPECIAL = frozenset({b"host", b"content-length", b"transfer-encoding", b"expect"})


@dataclass(frozen=True, slots=True)
class _Turn:
    """A whole request that waits for its answer; or, without `asked`, the end of the connection, with a refusal or in silence."""

    asked: Asked | None
    keep: bool = False
    old: bool = False
    size: int = 0
    refusal: Refusal | None = None


class _Stop(Exception):
    """How a parser's callback ends the parse: the rest of the input is not parsed."""


class Connection(asyncio.Protocol):
    """See the module. The parser calls the `on_` methods, the loop the others."""

    __slots__ = (
        "_begun", "_ended", "_fed", "_follows", "_headed", "_headers", "_held", "_last", "_old", "_owes_continue",
        "_parser", "_parts", "_paused", "_peer", "_refusal", "_shared", "_special", "_target", "_task", "_tls",
        "_transport", "_waiting", "deadline",
    )  # fmt: skip

    def __init__(self, shared: Shared) -> None:
        self._shared = shared
        self._transport: asyncio.Transport | None = None
        self._parser: httptools.HttpRequestParser | None = None
        self._peer = ""
        self._tls: TlsFacts | None = None
        self.deadline = math.inf
        self._begun = False  # a request has begun and is not whole yet
        self._headed = False  # its head is whole
        self._ended = False  # nothing more is read or answered
        self._last = False  # no further byte is parsed; what waits is still answered
        self._paused = False  # the client does not read
        self._waiting: deque[_Turn] = deque()
        self._task: asyncio.Task[None] | None = None
        self._fed = 0  # bytes of the unfinished request, without those in the piece that ended the one before
        self._follows = False  # there are such bytes: the request before ended inside a piece
        self._held = 0  # of them, counted in shared.unfinished
        self._refusal: Refusal | None = None
        self._owes_continue = False
        self._old = False
        self._reset()

    def _reset(self) -> None:
        self._target = b""
        self._headers: list[tuple[bytes, bytes]] = []
        self._special: dict[bytes, bytes] = {}
        self._parts: list[bytes] = []

    # --- the event loop's calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client has connected (and ended its TLS handshake)."""
        shared = self._shared
        self._transport = transport = cast(asyncio.Transport, transport)  # uvloop's has the methods, not the base class
        self._parser = httptools.HttpRequestParser(self)
        peer = transport.get_extra_info("peername")
        self._peer = peer[0] if isinstance(peer, tuple) else ""
        self._tls = _tls_of(transport) if shared.secure else None
        transport.set_write_buffer_limits(high=shared.limits.unread)
        self.deadline = shared.loop.time() + shared.limits.request
        shared.connections.add(self)
        if shared.hurrying:
            self._end()
        elif len(shared.connections) > shared.limits.connections:
            self._refuse(Refusal.TOO_BUSY)

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone. A call under way runs to its end, as its effects may have begun; its answer is dropped."""
        self._ended = True
        self._transport = self._parser = None
        self._forget()
        self._shared.connections.discard(self)
        self._shared.left()

    def data_received(self, data: bytes) -> None:
        """Bytes from the client."""
        if self._ended or self._last:
            return
        if not self._begun:
            self._begun = True
            self._follows = False
            self.deadline = self._shared.loop.time() + self._shared.limits.request
        if len(data) <= SLICE:
            self._feed(data)
            return
        for start in range(0, len(data), SLICE):
            if not self._feed(data[start : start + SLICE]):
                return

    def pause_writing(self) -> None:
        """The client does not read its answers."""
        self._paused = True
        self._hold_back()
        self.deadline = self._shared.loop.time() + self._shared.limits.request

    def resume_writing(self) -> None:
        """It reads again."""
        self._paused = False
        self._go_on()

    # --- the parser's calls

    def on_message_begin(self) -> None:
        """A request starts."""
        self._begun = True

    def on_url(self, url: bytes) -> None:
        """A part of the target."""
        self._target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """A whole header."""
        name = name.lower()
        value = value.rstrip(b" \t")
        if name in _SPECIAL:
            if name in self._special:
                self._stop(Refusal.BAD_REQUEST)
            self._special[name] = value
        self._headers.append((name, value))

    def on_headers_complete(self) -> None:
        """The head is whole: everything that can be refused before the body."""
        assert self._parser is not None
        version = self._parser.get_http_version()
        self._old = version == "1.0"
        if refusal := self._head_refusal(version):
            self._stop(refusal)
        self._headed = True
        self._owes_continue = b"expect" in self._special and not self._old
        if self._owes_continue and not self._busy():
            self._continue()

    def _head_refusal(self, version: str) -> Refusal | None:
        special, limits = self._special, self._shared.limits
        if not self._old and version != "1.1":
            return Refusal.BAD_VERSION
        if len(self._headers) > limits.headers:
            return Refusal.HEAD_TOO_LONG
        if (self._fed > limits.head or self._follows) and self._head_size() > limits.head:
            return Refusal.HEAD_TOO_LONG
        if b"host" not in special and not self._old:
            return Refusal.BAD_REQUEST
        if b"transfer-encoding" in special:
            return Refusal.NO_LENGTH
        if int(special.get(b"content-length", b"0")) > limits.body:
            return Refusal.BODY_TOO_LONG
        if special.get(b"expect", b"100-continue").lower() != b"100-continue":
            return Refusal.BAD_EXPECTATION
        if self._parser is not None and self._parser.should_upgrade():  # the parser would not read the body
            return Refusal.UPGRADE
        return None

    def _head_size(self) -> int:
        return len(self._target) + _size_of(self._headers)

    def on_body(self, body: bytes) -> None:
        """A part of the body; the parser gives no more than Content-Length says."""
        self._parts.append(body)

    def on_message_complete(self) -> None:
        """A whole request."""
        if self._ended or self._parser is None:
            return
        asked = Asked(
            self._parser.get_method(),
            self._target,
            self._headers,
            self._parts[0] if len(self._parts) == 1 else b"".join(self._parts),
            self._peer,
            self._shared.secure,
            self._tls,
        )
        keep = self._parser.should_keep_alive()
        self._fed = 0
        self._follows = True
        self._begun = self._headed = self._owes_continue = False
        if self._held:
            self._release(self._held)
            self._held = 0
        self._reset()
        if self._busy():
            self._wait(_Turn(asked, keep, self._old, _size(asked)))
        else:
            self._answer(asked, keep, self._old)

    # --- reading

    def _feed(self, data: bytes) -> bool:
        """Parse. Whether more of this connection's bytes may be parsed."""
        assert self._parser is not None
        self._fed += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserCallbackError as error:
            if isinstance(error.__context__, _Stop):
                self._end_in_turn(self._refusal)
            else:
                LOG.error("the HTTP layer failed: %s", _where(error.__context__))
                self._end_in_turn(Refusal.INTERNAL)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self._end_in_turn(Refusal.BAD_REQUEST)
        if self._begun and not self._ended and not self._last:
            self._count_unfinished()
        return not self._ended and not self._last

    def _count_unfinished(self) -> None:
        shared = self._shared
        shared.unfinished += self._fed - self._held
        self._held = self._fed
        if not self._headed and self._fed > shared.limits.head:
            self._end_in_turn(Refusal.HEAD_TOO_LONG)
        elif shared.unfinished > shared.limits.unfinished:
            self._end_in_turn(Refusal.TOO_BUSY)

    def _stop(self, refusal: Refusal | None) -> None:
        """Called inside the parser: no byte after this point means anything."""
        self._refusal = refusal
        raise _Stop

    def _end_in_turn(self, refusal: Refusal | None) -> None:
        """The end of this connection's requests, after the answers that came before."""
        if self._ended:
            return
        self._last = True
        if self._busy():
            self._waiting.append(_Turn(None, refusal=refusal))
        elif refusal:
            self._refuse(refusal)
        else:
            self._end(linger=True)

    def _hold_back(self) -> None:
        if self._transport is not None:
            self._transport.pause_reading()

    def _release(self, size: int) -> None:
        self._shared.unfinished -= size

    def _forget(self) -> None:
        """Everything of requests that will not be answered."""
        self._release(self._held + sum(turn.size for turn in self._waiting))
        self._held = 0
        self._waiting.clear()
        self._reset()

    def _continue(self) -> None:
        self._owes_continue = False
        if self._transport is not None:
            self._transport.write(CONTINUE)

    # --- answering

    def _busy(self) -> bool:
        return self._task is not None or self._paused or bool(self._waiting)

    def _wait(self, turn: _Turn) -> None:
        self._waiting.append(turn)
        self._shared.unfinished += turn.size
        if (
            len(self._waiting) >= self._shared.limits.pipelined
            or self._shared.unfinished > self._shared.limits.unfinished
        ):
            self._stop(None)

    def _answer(self, asked: Asked, keep: bool, old: bool) -> None:
        try:
            reply = self._shared.door.handle(asked)
        except Exception as error:  # noqa: BLE001 - the outermost loop of a request: one fault must not end the others
            LOG.error("the door raised %s", _where(error))
            reply = BROKEN_DOOR
        if isinstance(reply, Reply):
            self._write(reply, asked, keep, old)
            return
        self._hold_back()
        self.deadline = math.inf  # the door has its own deadlines
        self._task = self._shared.loop.create_task(self._answer_later(reply, asked, keep, old))
        self._shared.tasks.add(self._task)
        self._task.add_done_callback(self._task_done)

    async def _answer_later(self, coming: Awaitable[Reply], asked: Asked, keep: bool, old: bool) -> None:
        try:
            reply = await coming
        except Exception as error:  # noqa: BLE001 - as in _answer
            LOG.error("the door raised %s", _where(error))
            reply = BROKEN_DOOR
        self._task = None
        self._write(reply, asked, keep, old)
        self._go_on()

    def _task_done(self, task: asyncio.Task[None]) -> None:
        self._shared.tasks.discard(task)
        if not task.cancelled() and (error := task.exception()):
            LOG.error("the HTTP layer failed: %s", _where(error))
            self.abort()
        self._shared.left()

    def _write(self, reply: Reply, asked: Asked, keep: bool, old: bool) -> None:
        if self._transport is None or self._ended:
            return
        shared = self._shared
        keep = keep and not reply.close and not (shared.draining and not self._waiting)
        connection = (KEEP_OLD if old else KEEP) if keep else CLOSE
        self.deadline = shared.loop.time() + shared.limits.keep_alive
        self._transport.write(shared.renderer.render(reply, connection, without_body=asked.method == b"HEAD"))
        if not keep:
            self._end()

    def _go_on(self) -> None:
        """Nothing is being answered any more: the next request that waits, or the next bytes."""
        while self._waiting and self._task is None and not self._paused and not self._ended:
            turn = self._waiting.popleft()
            self._release(turn.size)
            if turn.asked is not None:
                self._answer(turn.asked, turn.keep, turn.old)
            elif turn.refusal:
                self._refuse(turn.refusal)
            else:
                self._end(linger=True)
        if self._ended or self._busy() or self._transport is None:
            return
        limits = self._shared.limits
        self.deadline = self._shared.loop.time() + (limits.request if self._begun else limits.keep_alive)
        if self._owes_continue:
            self._continue()
        self._transport.resume_reading()

    # --- the end

    def overdue(self) -> None:
        """The deadline has passed. Called by the sweep."""
        if self._ended or self._paused:
            if self._transport is not None:
                self._transport.abort()
        elif self._begun:
            self._refuse(Refusal.SLOW)
        else:
            self._end()

    def close_if_idle(self) -> None:
        """Called late in a drain."""
        if not self._begun and not self._busy():
            self._end()

    def abort(self) -> None:
        """Called at the end of a drain's grace."""
        if self._transport is not None:
            self._transport.abort()

    def _refuse(self, refusal: Refusal) -> None:
        if self._transport is None or self._ended:
            return
        self._transport.write(self._shared.renderer.render(REPLIES[refusal], CLOSE))
        self._end(linger=True)

    def _end(self, *, linger: bool = False) -> None:
        """No further request. `linger`: bytes may still be on their way, and closing now would reset the connection before the
        client has read its answer; they are read and thrown away for a short time."""
        self._ended = True
        self._forget()
        if self._transport is None:
            return
        self.deadline = self._shared.loop.time() + self._shared.limits.linger
        if not linger:
            self._transport.close()
            return
        self._transport.resume_reading()
        if self._transport.can_write_eof():
            self._transport.write_eof()


def _tls_of(transport: asyncio.Transport) -> TlsFacts | None:
    connection = transport.get_extra_info("ssl_object")
    cipher = connection.cipher() if connection is not None else None
    return None if cipher is None else TlsFacts(connection.version() or "", cipher[0])


def _size_of(headers: Sequence[tuple[bytes, bytes]]) -> int:
    return sum(len(name) + len(value) + 4 for name, value in headers)


def _size(asked: Asked) -> int:
    return len(asked.body) + len(asked.target) + _size_of(asked.headers)


def _where(error: BaseException | None) -> str:
    """The type and place of an exception. Never its text, which may quote a request."""
    place = error.__traceback__ if error else None
    while place and place.tb_next:
        place = place.tb_next
    code = place.tb_frame.f_code if place else None
    return f"{type(error).__name__} in {code.co_qualname}:{place.tb_lineno}" if code and place else type(error).__name__
