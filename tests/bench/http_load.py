"""A load generator: N keep-alive connections, each with one request under way, from a list of requests made before.

Called by the benchmarks of the server, as a process of its own (`python -m tests.bench.http_load`), so that its CPU time is not the
server's. Blocking calls would need threads and asyncio costs more than the server that is measured: this is one epoll loop on bare
sockets, which spends its time in `send` and `recv`.
"""

from __future__ import annotations

import argparse
import json
import pickle
import select
import socket
import ssl
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

EMPTY_POST = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n"


@dataclass
class Load:
    """What came of it. Times in milliseconds; cpu_us: this process's own, for each answer. dropped: connections that ended."""

    count: int
    seconds: float
    p50: float
    p99: float
    worst: float
    cpu_us: float
    dropped: int
    statuses: dict[int, int] = field(default_factory=dict)

    @property
    def rate(self) -> float:
        """Answers a second."""
        return self.count / self.seconds


class _Client:
    """A connection, and what it has received of an answer."""

    def __init__(self, address: tuple[str, int], context: ssl.SSLContext | None, name: str) -> None:
        plain = socket.create_connection(address, timeout=10)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket = context.wrap_socket(plain, server_hostname=name) if context else plain
        self.socket.setblocking(False)
        self.received = b""
        self.sent = 0
        self.ended = False

    def read(self) -> bytes | None:
        """A whole answer; None: not yet. Raises OSError or EOFError where there will be none."""
        try:
            data = self.socket.recv(65536)
        except (BlockingIOError, ssl.SSLWantReadError):
            return None
        if not data:
            raise EOFError
        if self.received:
            data = self.received + data
        end = data.find(b"\r\n\r\n")
        if end > 0 and len(data) >= end + 4 + _length(data, end):
            self.received = b""
            self.ended = data.find(b"onnection: close\r\n", 0, end + 2) > 0  # whoever says so need not have closed it yet
            return data
        self.received = data
        return None


def _length(data: bytes, end: int) -> int:
    """Content-Length; the servers compared write it in different cases. An answer without one is read as empty."""
    for name in (b"\r\nContent-Length: ", b"\r\ncontent-length: "):
        at = data.find(name, 0, end)
        if at > 0:
            at += len(name)
            return int(data[at : data.find(b"\r\n", at)])
    return 0


def run(
    address: tuple[str, int],
    requests: Sequence[bytes],
    *,
    connections: int = 32,
    seconds: float = 2.0,
    context: ssl.SSLContext | None = None,
    name: str = "localhost",
) -> Load:
    """Keep every connection busy for that long. A connection that the server ends is opened again and counted."""
    poll = select.epoll()
    clients: dict[int, _Client] = {}
    taken, dropped = 0, 0
    times: list[int] = []
    statuses: Counter[bytes] = Counter()
    clock, total = time.perf_counter_ns, len(requests)

    def send(client: _Client) -> None:
        nonlocal taken
        request = requests[taken % total]
        taken += 1
        client.sent = clock()
        if client.socket.send(request) != len(request):
            raise ValueError("a request does not fit into the socket's buffer")

    def connect() -> None:
        client = _Client(address, context, name)
        clients[client.socket.fileno()] = client
        poll.register(client.socket.fileno(), select.EPOLLIN)
        send(client)

    cpu = time.process_time()
    start = clock()
    for _ in range(connections):
        connect()
    end = start + int(seconds * 1e9)
    while clock() < end:
        for number, _ in poll.poll(0.1):
            client = clients[number]
            try:
                answer = client.read()
                if answer is None:
                    continue
                times.append(clock() - client.sent)
                statuses[answer[9:12]] += 1
                if client.ended:
                    raise EOFError  # noqa: TRY301 - one way out for a connection that is over, however it ended
                send(client)
            except (OSError, EOFError):
                dropped += 1
                poll.unregister(number)
                clients.pop(number).socket.close()
                connect()
    spent = (clock() - start) / 1e9
    cpu = time.process_time() - cpu
    for client in clients.values():
        client.socket.close()
    poll.close()
    return _result(times, spent, cpu, dropped, {int(status): n for status, n in statuses.items()})


def _result(times: list[int], seconds: float, cpu: float, dropped: int, statuses: dict[int, int]) -> Load:
    times.sort()
    count = len(times)
    p50, p99, worst = (
        (times[min(count - 1, int(count * part))] / 1e6 for part in (0.5, 0.99, 1)) if count else (0, 0, 0)
    )
    return Load(count, seconds, p50, p99, worst, cpu / max(count, 1) * 1e6, dropped, statuses)


def main() -> int:
    """Run, and print the result as JSON."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.http_load")
    parser.add_argument("address", help="HOST:PORT")
    parser.add_argument("--requests", type=Path, help="a pickled list of whole requests; default an empty POST")
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--authority", type=Path, help="PEM: speak TLS and trust this")
    options = parser.parse_args()
    host, _, port = options.address.rpartition(":")
    requests = pickle.loads(options.requests.read_bytes()) if options.requests else [EMPTY_POST]
    context = ssl.create_default_context(cafile=options.authority) if options.authority else None
    load = run((host, int(port)), requests, connections=options.connections, seconds=options.seconds, context=context)
    print(json.dumps(asdict(load)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
