"""What a Service is to clients: one address, round robin over the servers that are ready. Bytes pass as they are; TLS ends behind it."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import threading
from collections.abc import Iterator
from types import TracebackType

from tests.serving.harness import ServerProcess

# How long a Service takes to hear that a Pod is ready, or not any more.
HEARS_EVERY = 0.2


class Balancer:
    """In a thread of its own. `servers` may be changed by the test: who is in it and answers /readyz with 200 gets connections."""

    def __init__(self, servers: list[ServerProcess]) -> None:
        self.servers = servers
        self.port = 0
        self._ready: list[int] = []
        self._turn: Iterator[int] = itertools.count()

    @property
    def url(self) -> str:
        """Where clients go."""
        return f"https://localhost:{self.port}"

    def __enter__(self) -> Balancer:
        started = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        self._thread = threading.Thread(target=lambda: self._loop.run_until_complete(self._serve(started)), daemon=True)
        self._thread.start()
        assert started.wait(10)
        return self

    def __exit__(self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)
        self._loop.close()

    async def _serve(self, started: threading.Event) -> None:
        await self._hear()
        listener = await asyncio.start_server(self._connected, "localhost", 0)
        self.port = listener.sockets[0].getsockname()[1]
        started.set()
        while not self._stop.is_set():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stop.wait(), HEARS_EVERY)
            await self._hear()
        listener.close()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        await asyncio.sleep(0.05)  # aborted connections close their sockets in the loop

    async def _hear(self) -> None:
        def ask(server: ServerProcess) -> int | None:
            with contextlib.suppress(OSError):
                return server.endpoint_port if server.get("/readyz")[0] == 200 else None
            return None

        ports = await asyncio.gather(*(asyncio.to_thread(ask, server) for server in list(self.servers)))
        self._ready = [port for port in ports if port is not None]

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """A Service does not look again: a connection to one that has just gone is refused, and the client tries again."""
        ends = [writer]
        try:
            if not self._ready:
                return
            port = self._ready[next(self._turn) % len(self._ready)]
            inner_reader, inner_writer = await asyncio.open_connection("localhost", port)
            ends.append(inner_writer)
            await asyncio.gather(_pump(reader, inner_writer), _pump(inner_reader, writer))
        except (OSError, asyncio.CancelledError):
            return
        finally:
            for end in ends:
                end.transport.abort()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    with contextlib.suppress(OSError):
        writer.write_eof()
