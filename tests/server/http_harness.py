"""A real HTTP server in a thread of its own, on uvloop as in production, with a small door; and a client on a bare socket.

Called by the tests of the HTTP layer. The client sends exactly the bytes that a test names, so that no library mends them.
"""

from __future__ import annotations

import asyncio
import queue
import socket
import ssl
import threading
from collections.abc import Awaitable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from keystead.server.http import Listen, run, serve
from keystead.server.message import Asked, Reply
from keystead.server.shared import Limits

WAIT = 30.0  # seconds until a test that waits for the other side fails


class EchoDoor:
    """Answers with the body. The path says how: /now, /later (when the gate opens), /yield, /raise, /raise-later, /end, /long."""

    def __init__(self) -> None:
        self.asked: list[Asked] = []
        self.waiting = threading.Semaphore(0)
        self._gate: asyncio.Event | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    def handle(self, asked: Asked) -> Reply | Awaitable[Reply]:
        """See the class."""
        self.asked.append(asked)
        match asked.target:
            case b"/later":
                return self._later(asked)
            case b"/yield":
                return self._yield(asked)
            case b"/raise":
                raise KeyError(asked.body)
            case b"/raise-later":
                return self._raise_later(asked)
            case b"/long":
                return Reply(200, b"x" * 50_000)
        return Reply(200, asked.body, headers=((b"x-amzn-RequestId", b"one"),), close=asked.target == b"/end")

    async def _later(self, asked: Asked) -> Reply:
        self._loop = asyncio.get_running_loop()
        self._gate = self._gate or asyncio.Event()
        self.waiting.release()
        await self._gate.wait()
        return Reply(200, asked.body)

    async def _yield(self, asked: Asked) -> Reply:
        await asyncio.sleep(0)
        return Reply(200, asked.body)

    async def _raise_later(self, asked: Asked) -> Reply:
        await asyncio.sleep(0)
        raise KeyError(asked.body)

    def open_gate(self) -> None:
        """Let /later go on; what comes after it waits no more."""
        assert self._loop and self._gate
        self._loop.call_soon_threadsafe(self._gate.set)


@dataclass(frozen=True)
class Answer:
    """Header names in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes


class Client:
    """A bare socket."""

    def __init__(self, port: int, context: ssl.SSLContext | None = None, receive_buffer: int | None = None) -> None:
        plain = socket.socket()
        plain.settimeout(WAIT)
        if receive_buffer:
            plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        plain.connect(("127.0.0.1", port))
        self.socket = context.wrap_socket(plain, server_hostname="localhost") if context else plain
        self._received = b""

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, data: bytes) -> Client:
        """As it is."""
        self.socket.sendall(data)
        return self

    def ask(self, target: str = "/now", body: bytes = b"", *headers: str) -> Answer:
        """A POST, and its answer."""
        return self.send(post(target, body, *headers)).answer()

    def answer(self, *, to_head: bool = False) -> Answer:
        """The next answer. EOFError where the server has ended the connection before."""
        while b"\r\n\r\n" not in self._received:
            self._more()
        head, _, self._received = self._received.partition(b"\r\n\r\n")
        line, *fields = head.decode().split("\r\n")
        headers = {name.lower(): value for name, _, value in (each.partition(": ") for each in fields)}
        status = int(line.split()[1])
        length = 0 if to_head or status == 100 else int(headers["content-length"])
        while len(self._received) < length:
            self._more()
        body, self._received = self._received[:length], self._received[length:]
        return Answer(status, headers, body)

    def _more(self) -> None:
        data = self.socket.recv(65536)
        if not data:
            raise EOFError
        self._received += data

    def rest(self) -> bytes:
        """All bytes until the server ends the connection."""
        try:
            while True:
                self._more()
        except (EOFError, ConnectionResetError, ssl.SSLEOFError):
            rest, self._received = self._received, b""
            return rest


def post(target: str = "/now", body: bytes = b"", *headers: str) -> bytes:
    """A request as an SDK writes it."""
    lines = (f"POST {target} HTTP/1.1", "Host: kms.local", f"Content-Length: {len(body)}", *headers)
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


@dataclass
class Running:
    """A server in its thread."""

    port: int
    door: EchoDoor
    thread: threading.Thread
    context: ssl.SSLContext | None = None
    loop: asyncio.AbstractEventLoop | None = None
    stop_event: asyncio.Event | None = None
    clients: list[Client] = field(default_factory=list)

    def connect(self, receive_buffer: int | None = None) -> Client:
        """A new connection, closed with the server."""
        client = Client(self.port, self.context, receive_buffer)
        self.clients.append(client)
        return client

    def stop(self) -> None:
        """What SIGTERM does."""
        assert self.loop and self.stop_event
        if not self.loop.is_closed():
            self.loop.call_soon_threadsafe(self.stop_event.set)


@contextmanager
def a_server(
    limits: Limits | None = None, listen: Listen | None = None, context: ssl.SSLContext | None = None
) -> Iterator[Running]:
    """A server that accepts connections; stopped at the end, within a second unless the test says otherwise."""
    door, told = EchoDoor(), queue.Queue()
    where = listen or Listen(host="127.0.0.1", grace=1.0, quiet=0.0)

    async def main() -> None:
        stop = asyncio.Event()
        await serve(door, where, stop, lambda port: told.put((port, asyncio.get_running_loop(), stop)), limits)

    def body() -> None:
        try:
            run(main())
        except BaseException as error:
            told.put(error)
            raise

    thread = threading.Thread(target=body, daemon=True)
    thread.start()
    first = told.get(timeout=WAIT)
    if isinstance(first, BaseException):
        raise first
    port, loop, stop = first
    running = Running(port, door, thread, context, loop, stop)
    try:
        yield running
    finally:
        running.stop()
        for client in running.clients:
            client.socket.close()
        thread.join(WAIT)
    assert not thread.is_alive()


def quick(**changes: float) -> Limits:
    """Limits with short times, for tests that wait for a deadline."""
    return replace(Limits(request=0.3, keep_alive=0.3, linger=0.3, sweep=0.05), **changes)
