"""A load generator that keeps a pace, whatever the server does: so many requests a second, each on a connection that is free then.

Called by quota.py as a process of its own (`python -m tests.bench.server.paced`). http_load.py sends the next request when an answer has
come, and so could neither stay within a limit nor go ten times beyond it.
"""

from __future__ import annotations

import argparse
import json
import pickle
import select
import socket
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

MOST = 64


class _Line:
    def __init__(self, address: tuple[str, int]) -> None:
        self.socket = socket.create_connection(address, timeout=10)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sent = 0.0
        self.received = b""

    def answered(self) -> bool:
        """Whether the answer is whole."""
        self.received += self.socket.recv(65536)
        head, found, body = self.received.partition(b"\r\n\r\n")
        if not found:
            return False
        (length,) = (int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
        return len(body) >= length


def run(address: tuple[str, int], requests: Sequence[bytes], rate: float, seconds: float) -> tuple[list[float], dict[str, int]]:
    """Times in ms from send to answer, and statuses. With MOST requests under way the pace is lost: it waits for an answer then."""
    poll, idle, lines = select.epoll(), [], {}
    times: list[float] = []
    statuses: Counter[str] = Counter()
    start = time.perf_counter()
    sent, total = 0, int(rate * seconds)
    while len(times) < total:
        now = time.perf_counter()
        if now > start + seconds:
            total = sent
        while sent < total and start + sent / rate <= now:
            if not idle:
                if len(lines) == MOST:
                    break
                line = _Line(address)
                lines[line.socket.fileno()] = line
                poll.register(line.socket.fileno(), select.EPOLLIN)
                idle.append(line)
            line = idle.pop()
            line.received, line.sent = b"", time.perf_counter()
            line.socket.sendall(requests[sent % len(requests)])
            sent += 1
        wait = start + sent / rate - time.perf_counter() if sent < total and (idle or len(lines) < MOST) else 1.0
        for number, _ in poll.poll(max(wait, 0.0)):
            line = lines[number]
            if line.answered():
                times.append((time.perf_counter() - line.sent) * 1000)
                statuses[line.received[9:12].decode()] += 1
                idle.append(line)
    return times, dict(statuses)


def main() -> int:
    """Run, and print the result as JSON."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.server.paced")
    parser.add_argument("address")
    parser.add_argument("--requests", type=Path, required=True)
    parser.add_argument("--rate", type=float, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    options = parser.parse_args()
    host, _, port = options.address.rpartition(":")
    times, statuses = run((host, int(port)), pickle.loads(options.requests.read_bytes()), options.rate, options.seconds)
    print(json.dumps({"times": times, "statuses": statuses}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
