"""HTTP as clients speak it when nothing is wrong: answers, their headers, order, keep-alive, bounds on what a client may hold."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from email.utils import parsedate_to_datetime
from typing import Any

import pytest
from tests.server.http_harness import WAIT, Running, a_server, post, quick

from keystead.server.shared import Limits

GET = b"GET /now HTTP/1.1\r\nHost: a\r\n\r\n"


@pytest.fixture(scope="module")
def server() -> Iterator[Running]:
    with a_server() as running:
        yield running


def test_an_answer_carries_what_the_door_said_and_the_date(server):
    answer = server.connect().ask("/now", b"hello")
    assert (answer.status, answer.body) == (200, b"hello")
    assert answer.headers["content-type"] == "application/x-amz-json-1.1"
    assert answer.headers["x-amzn-requestid"] == "one"
    assert "connection" not in answer.headers
    assert abs(parsedate_to_datetime(answer.headers["date"]).timestamp() - time.time()) < 60


def test_the_door_gets_the_request_as_sent(server):
    server.connect().ask(
        "/p%20q?a=1&A", b"\x00\xff", "X-Amz-Target:  TrentService.Encrypt \t", "x-twice: 1", "X-Twice: 2"
    )
    asked = server.door.asked[-1]
    assert (asked.method, asked.target, asked.body) == (b"POST", b"/p%20q?a=1&A", b"\x00\xff")
    assert list(asked.headers) == [
        (b"host", b"kms.local"),
        (b"content-length", b"2"),
        (b"x-amz-target", b"TrentService.Encrypt"),
        (b"x-twice", b"1"),
        (b"x-twice", b"2"),
    ]
    assert (asked.peer, asked.secure) == ("127.0.0.1", False)


def test_a_request_may_come_byte_by_byte(server):
    client = server.connect()
    for byte in post("/slow", b"abc", "X-Long: " + "v" * 50):
        client.send(bytes([byte]))
    assert client.answer().body == b"abc"
    assert server.door.asked[-1].target == b"/slow"


@pytest.mark.parametrize("target", ["/now", "/yield"])
def test_a_connection_serves_many_requests(server, target):
    client = server.connect()
    assert [client.ask(target, b"%d" % n).body for n in range(100)] == [b"%d" % n for n in range(100)]


def test_pipelined_requests_are_answered_in_order(server):
    client = server.connect()
    targets = ["/now", "/yield", "/now", "/yield", "/now"] * 6
    client.send(b"".join(post(target, b"%d" % n) for n, target in enumerate(targets)))
    assert [client.answer().body for _ in targets] == [b"%d" % n for n in range(len(targets))]


def test_the_requests_behind_a_slow_answer_wait_for_it():
    with a_server() as server:
        client = server.connect()
        client.send(post("/later", b"first") + post("/now", b"second"))
        client.send(post("/now", b"third"))
        assert server.door.waiting.acquire(timeout=WAIT)
        assert server.connect().ask("/now", b"other").body == b"other"
        assert [each.body for each in server.door.asked] == [b"first", b"other"]
        server.door.open_gate()
        assert [client.answer().body for _ in range(3)] == [b"first", b"second", b"third"]


def test_what_is_sent_during_a_slow_answer_is_not_read_before_it_ends():
    with a_server() as server:
        client = server.connect().send(post("/later", b"0"))
        assert server.door.waiting.acquire(timeout=WAIT)
        client.send(b"".join(post("/now", b"%d" % n) for n in range(1, 300)))
        server.connect().ask()
        server.door.open_gate()
        assert [client.answer().body for _ in range(300)] == [b"%d" % n for n in range(300)]


def test_requests_that_waited_no_longer_count_as_waiting():
    with a_server(Limits(unfinished=50_000)) as server:
        client = server.connect()
        for _ in range(50):
            client.send(post("/yield", b"first") + post("/now", b"x" * 5000) * 3)
            assert [len(client.answer().body) for _ in range(4)] == [5, 5000, 5000, 5000]


def test_more_pipelined_requests_than_may_wait_end_the_connection_after_the_answers():
    with a_server() as server:
        client = server.connect()
        client.send(post("/later", b"0") + b"".join(post("/now", b"%d" % n) for n in range(1, 1000)))
        assert server.door.waiting.acquire(timeout=WAIT)
        server.door.open_gate()
        bodies = [answer.split(b"\r\n\r\n")[1] for answer in client.rest().split(b"HTTP/1.1 200 OK\r\n")[1:]]
        assert len(bodies) < 1000
        assert bodies == [b"%d" % n for n in range(len(bodies))]


def test_a_client_that_closes_its_half_still_gets_the_answers():
    with a_server() as server:
        client = server.connect().send(post("/later", b"one") + post("/now", b"two"))
        assert server.door.waiting.acquire(timeout=WAIT)
        client.socket.shutdown(socket.SHUT_WR)
        server.door.open_gate()
        assert [client.answer().body for _ in range(2)] == [b"one", b"two"]
        assert client.rest() == b""


def test_a_client_that_leaves_during_a_slow_answer_harms_nobody():
    with a_server() as server:
        with server.connect() as client:
            client.send(post("/later"))
            assert server.door.waiting.acquire(timeout=WAIT)
        server.door.open_gate()
        assert server.connect().ask().status == 200


@pytest.mark.parametrize("target", ["/raise", "/raise-later"])
def test_a_fault_of_the_door_is_a_bland_500_and_the_connection_lives(server, caplog, target):
    client = server.connect()
    answer = client.ask(target, b"top-secret")
    assert (answer.status, "date" in answer.headers) == (500, True)
    assert answer.body.startswith(b'{"__type":"KMSInternalException"')
    assert client.ask("/now", b"still here").body == b"still here"
    (line,) = [record.getMessage() for record in caplog.records]
    assert "the door raised KeyError in EchoDoor." in line
    assert "top-secret" not in caplog.text


def test_head_is_told_the_length_and_sent_nothing(server):
    client = server.connect().send(b"HEAD /long HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    assert client.answer(to_head=True).headers["content-length"] == "50000"
    assert client.rest() == b""


def test_expect_100_continue_is_answered_before_the_body(server):
    client = server.connect()
    head, body = post("/now", b"large", "Expect: 100-continue").split(b"\r\n\r\n")
    assert client.send(head + b"\r\n\r\n").answer().status == 100
    assert client.send(body).answer().body == b"large"


def test_100_continue_waits_for_the_answers_before_it():
    with a_server() as server:
        client = server.connect()
        head, body = post("/now", b"large", "Expect: 100-continue").split(b"\r\n\r\n")
        client.send(post("/later", b"first") + head + b"\r\n\r\n")
        assert server.door.waiting.acquire(timeout=WAIT)
        server.door.open_gate()
        assert client.answer().body == b"first"
        assert client.answer().status == 100
        assert client.send(body).answer().body == b"large"


def test_connection_close_is_honoured_and_said(server):
    client = server.connect()
    assert client.ask("/now", b"", "Connection: close").headers["connection"] == "close"
    assert client.rest() == b""


def test_the_door_can_end_a_connection(server):
    client = server.connect()
    assert client.ask("/end").headers["connection"] == "close"
    assert client.rest() == b""


def test_http_1_0_ends_unless_it_asks_to_be_kept(server):
    client = server.connect().send(b"GET /now HTTP/1.0\r\n\r\n")
    assert client.answer().headers["connection"] == "close"
    assert client.rest() == b""
    client = server.connect()
    for _ in range(2):
        client.send(b"GET /now HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
        assert client.answer().headers["connection"] == "keep-alive"


def test_an_upgrade_header_alone_changes_nothing(server):
    assert server.connect().ask("/now", b"x", "Upgrade: h2c").body == b"x"


def test_an_idle_connection_is_closed_without_a_word():
    with a_server(quick(keep_alive=2.0)) as server:
        used, unused = server.connect(), server.connect()
        assert used.ask().status == 200
        assert (used.rest(), unused.rest()) == (b"", b"")


def test_keep_alive_is_longer_than_the_pools_of_the_sdks():
    assert quick().__class__().keep_alive >= 75


def test_a_client_that_does_not_read_is_not_answered_further_and_then_dropped():
    with a_server(quick(request=0.5)) as server:
        client = server.connect(receive_buffer=4096)
        with pytest.raises(OSError):
            client.send(post("/long") * 100_000)
        assert len(server.door.asked) < 500
        assert server.connect().ask().status == 200


def test_a_client_that_reads_late_gets_everything():
    with a_server() as server:
        client = server.connect(receive_buffer=4096)
        client.send(post("/long") * 25 + post("/now", b"end"))
        assert {len(client.answer().body) for _ in range(25)} == {50_000}
        assert client.answer().body == b"end"


@contextmanager
def steps_of_threads() -> Iterator[Callable[[], int]]:
    """How many lines of Python the threads have run that begin in here. A processor's time would hang on the machine's neighbours."""
    steps = 0

    def line(_frame: Any, event: str, _argument: Any) -> Any:
        nonlocal steps
        steps += event == "line"
        return line

    before = threading.gettrace()
    threading.settrace(line)
    try:
        yield lambda: steps
    finally:
        threading.settrace(before)  # type: ignore[arg-type]


def steps_beside(count: int) -> int:
    """What the server does for 200 requests of one client, beside so many idle connections."""
    with steps_of_threads() as steps, a_server(Limits(sweep=3600.0)) as server:
        idle = [server.connect() for _ in range(count)]
        busy = server.connect()
        assert busy.ask().status == 200  # the last one: all others are accepted
        before = steps()
        assert {busy.ask("/now", b"x").status for _ in range(200)} == {200}
        taken = steps() - before
        assert {client.ask().status for client in idle[::100]} <= {200}
    return taken


def test_a_thousand_idle_connections_slow_nobody():
    assert 0 < steps_beside(1000) < 1.2 * steps_beside(0)


def test_connections_beyond_the_bound_are_told_so():
    with a_server(quick(connections=2, keep_alive=60, request=60)) as server:
        first, second = server.connect(), server.connect()
        assert first.ask().status == second.ask().status == 200
        answer = server.connect().answer()
        assert (answer.status, answer.headers["connection"]) == (503, "close")
        assert first.ask().status == 200
