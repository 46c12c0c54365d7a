"""How a server stops: nothing that a client retries is lost, and it ends within its grace."""

from __future__ import annotations

import socket
import threading
import time

import pytest
from tests.server.http_harness import WAIT, Client, a_server, post

from keystead.server.http import Listen


def listening(**changes: float) -> Listen:
    return Listen(host="127.0.0.1", **changes)


def test_an_idle_server_stops_at_once():
    with a_server(listen=listening(quiet=2 * WAIT, grace=3 * WAIT)) as server:
        server.stop()
        server.thread.join(WAIT)
        assert not server.thread.is_alive()


def test_idle_connections_are_closed_after_the_quiet_time():
    with a_server(listen=listening(quiet=0.1)) as server:
        client = server.connect()
        assert client.ask().status == 200
        server.stop()
        assert client.rest() == b""


def test_a_request_under_way_is_answered_and_told_to_close():
    with a_server(listen=listening(quiet=0.0)) as server:
        client = server.connect().send(post("/later", b"precious"))
        assert server.door.waiting.acquire(timeout=WAIT)
        server.stop()
        with pytest.raises(OSError):
            while True:
                socket.create_connection(("127.0.0.1", server.port), timeout=1).close()
        server.door.open_gate()
        answer = client.answer()
        assert (answer.body, answer.headers["connection"]) == (b"precious", "close")
        assert client.rest() == b""


def test_a_request_that_arrives_during_the_drain_is_answered_and_told_to_close():
    with a_server(listen=listening(quiet=5.0)) as server:
        client, other = server.connect(), server.connect()
        assert client.ask().status == other.ask().status == 200
        other.send(post("/later"))
        assert server.door.waiting.acquire(timeout=WAIT)
        server.stop()
        with pytest.raises(OSError):
            while True:
                socket.create_connection(("127.0.0.1", server.port), timeout=1).close()
        answer = client.ask("/now", b"late")
        assert (answer.body, answer.headers["connection"]) == (b"late", "close")
        server.door.open_gate()
        assert other.answer().headers["connection"] == "close"


def test_all_pipelined_requests_are_answered_during_the_drain():
    with a_server(listen=listening(quiet=0.0)) as server:
        client = server.connect().send(post("/later", b"0") + b"".join(post("/now", b"%d" % n) for n in range(1, 5)))
        assert server.door.waiting.acquire(timeout=WAIT)
        server.stop()
        server.door.open_gate()
        answers = [client.answer() for _ in range(5)]
        assert [each.body for each in answers] == [b"%d" % n for n in range(5)]
        assert [each.headers.get("connection") for each in answers] == [None] * 4 + ["close"]


def test_the_grace_ends_what_does_not_end_itself():
    with a_server(listen=listening(grace=0.2, quiet=0.0)) as server:
        client = server.connect().send(post("/later"))
        assert server.door.waiting.acquire(timeout=WAIT)
        start = time.monotonic()
        server.stop()
        server.thread.join(WAIT)
        assert not server.thread.is_alive()
        assert time.monotonic() - start > 0.1
        assert client.rest() == b""


def test_a_client_that_retries_loses_nothing_over_a_restart_under_load():
    """A new server takes the address over (SO_REUSEPORT) while the old one drains, as workers and Pods do."""
    with a_server(listen=listening(reuse_port=True, quiet=0.2, grace=5)) as old:
        shared = Listen(host="127.0.0.1", port=old.port, reuse_port=True, quiet=0.0)
        done, results, retries = threading.Event(), [], []

        def caller(name: int) -> None:
            client, number = None, 0
            while not done.is_set():
                number += 1
                body = b"%d-%d" % (name, number)
                for _ in range(3):
                    try:
                        client = client or Client(old.port)
                        answer = client.ask("/yield" if number % 3 else "/now", body)
                    except (OSError, EOFError):
                        client = client and client.socket.close()
                        retries.append(body)
                        continue
                    results.append((answer.status, answer.body == body))
                    if answer.headers.get("connection") == "close":
                        client = client.socket.close()
                    break
                else:
                    results.append((0, False))
            if client:
                client.socket.close()

        callers = [threading.Thread(target=caller, args=(name,), daemon=True) for name in range(8)]
        for each in callers:
            each.start()
        with a_server(listen=shared) as new:
            old.stop()
            old.thread.join(WAIT)
            assert not old.thread.is_alive()
            before = len(new.door.asked)
            deadline = time.monotonic() + WAIT
            while len(new.door.asked) < before + 200 and time.monotonic() < deadline:
                threading.Event().wait(0.001)
            done.set()
            for each in callers:
                each.join(WAIT)
            assert len(new.door.asked) >= before + 200
        assert len(old.door.asked) > 0
        assert set(results) == {(200, True)}
        assert len(retries) < 50
