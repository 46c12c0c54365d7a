"""HTTP as clients must not speak it: each is refused with a dated answer that ends the connection, and harms no other."""

from __future__ import annotations

import json
import random
import select
import socket
from collections.abc import Iterator

import pytest
from tests.server.http_harness import WAIT, Client, Running, a_server, post, quick

from keystead.server.answers import REPLIES, Refusal
from keystead.server.shared import Limits

START = b"POST /now HTTP/1.1\r\nHost: a\r\n"
SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"

SMUGGLING = {
    "length and chunked": START + b"Content-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunked and length": START + b"Transfer-Encoding: chunked\r\nContent-Length: 6\r\n\r\n0\r\n\r\n",
    "two equal lengths": START + b"Content-Length: 0\r\nContent-Length: 0\r\n\r\n",
    "two lengths": START + b"Content-Length: 0\r\nContent-Length: 37\r\n\r\n",
    "a list of lengths": START + b"Content-Length: 0, 0\r\n\r\n",
    "a signed length": START + b"Content-Length: +0\r\n\r\n",
    "a negative length": START + b"Content-Length: -1\r\n\r\n",
    "a hexadecimal length": START + b"Content-Length: 0x0\r\n\r\n",
    "two words of length": START + b"Content-Length: 0 0\r\n\r\n",
    "an empty length": START + b"Content-Length:\r\n\r\n",
    "a length beyond 64 bits": START + b"Content-Length: 18446744073709551616\r\n\r\n",
    "a space before the colon": START + b"Content-Length : 0\r\n\r\n",
    "other coding": START + b"Transfer-Encoding: chunked, gzip\r\n\r\n",
    "odd coding": START + b"Transfer-Encoding: \x0bchunked\r\n\r\n",
    "twice chunked": START + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
    "line feeds alone": b"POST /now HTTP/1.1\nHost: a\n\n",
    "one line feed alone": START + b"X: y\nContent-Length: 0\r\n\r\n",
    "a line feed ends the head": START + b"\n",
    "a carriage return alone": START + b"X: y\rContent-Length: 0\r\n\r\n",
    "a folded header": START + b"X: y\r\n z\r\n\r\n",
    "a fold at once": b"POST /now HTTP/1.1\r\n Host: a\r\n\r\n",
    "NUL in a value": START + b"X: y\0z\r\n\r\n",
    "NUL in a name": START + b"X\0: y\r\n\r\n",
    "no name": START + b": y\r\n\r\n",
    "no colon": START + b"Content-Length\r\n\r\n",
    "two hosts": START + b"Host: b\r\n\r\n",
    "no host": b"POST /now HTTP/1.1\r\n\r\n",
    "a space in the target": b"POST /a b HTTP/1.1\r\nHost: a\r\n\r\n",
    "a tab as space": b"POST\t/now\tHTTP/1.1\r\nHost: a\r\n\r\n",
    "another method": b"SMUGGLE /now HTTP/1.1\r\nHost: a\r\n\r\n",
    "HTTP/2's first words": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "a TLS hello": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
}

OTHERS = {
    411: START + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    413: START + b"Content-Length: 262145\r\n\r\n",
    417: START + b"Expect: the-unexpected\r\nContent-Length: 0\r\n\r\n",
    431: START + b"X: " + b"x" * 16_384 + b"\r\n\r\n",
    501: START + b"Connection: Upgrade\r\nUpgrade: h2c\r\nContent-Length: 1\r\n\r\nx",
    505: b"GET /now HTTP/2.0\r\nHost: a\r\n\r\n",
}


@pytest.fixture(scope="module")
def server() -> Iterator[Running]:
    with a_server() as running:
        yield running


def refused(client: Client) -> int:
    """The status of an answer as every refusal must be, after which the connection ends."""
    answer = client.answer()
    assert (answer.headers["connection"], "date" in answer.headers) == ("close", True)
    assert set(json.loads(answer.body)) == {"__type", "message"}
    if client.socket.fileno() >= 0:
        client.socket.shutdown(socket.SHUT_WR)
    assert client.rest() == b""
    return answer.status


@pytest.mark.parametrize("case", SMUGGLING)
@pytest.mark.parametrize("cut", [False, True], ids=["whole", "in pieces"])
def test_no_request_is_smuggled(server, case, cut):
    client = server.connect()
    data = SMUGGLING[case] + SMUGGLED
    for piece in [data[n : n + 7] for n in range(0, len(data), 7)] if cut else [data]:
        client.send(piece)
    assert refused(client) in {400, 411}
    assert not [each for each in server.door.asked if each.target == b"/smuggled"]
    assert server.connect().ask().status == 200


@pytest.mark.parametrize("status", OTHERS)
def test_what_is_valid_and_not_served_is_refused_by_name(server, status):
    assert refused(server.connect().send(OTHERS[status])) == status


def test_every_refusal_has_an_answer_without_anything_of_the_request():
    assert {reply.status for reply in REPLIES.values()} == {refusal.value.status for refusal in Refusal}
    for refusal, reply in REPLIES.items():
        assert json.loads(reply.body) == {"__type": refusal.value.type, "message": refusal.value.message}


def test_connect_is_refused(server):
    assert refused(server.connect().send(b"CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\nxyz")) == 501


def test_a_hundred_headers_pass_and_one_more_is_refused(server):
    rest = [f"X-{n}: y" for n in range(98)]
    assert server.connect().ask("/now", b"", *rest).status == 200
    assert refused(server.connect().send(post("/now", b"", *rest, "X-More: y"))) == 431


def test_16_kib_of_headers_pass_and_more_is_refused(server):
    room = 16_384 - len(post("/now", b"", "X-Long: "))
    assert server.connect().ask("/now", b"", "X-Long: " + "x" * room).status == 200
    assert refused(server.connect().send(post("/now", b"", "X-Long: " + "x" * (room + 64)))) == 431


@pytest.mark.parametrize(
    "endless", [b"X: ", b"", b"POST /", b"\r\n"], ids=["a value", "a name", "a target", "empty lines"]
)
def test_an_endless_head_is_refused(server, endless):
    client = server.connect().send((START if not endless or endless == b"X: " else b"") + endless)
    more = b"\r\n" if endless == b"\r\n" else b"xx"
    client.send(more * 16_384)
    assert refused(client) == 431


def test_a_second_request_is_bounded_like_the_first(server):
    client = server.connect().send(post("/now", b"a" * 200_000) + post("/now", b"", "X: " + "x" * 20_000))
    assert len(client.answer().body) == 200_000
    assert refused(client) == 431


def test_a_body_of_256_kib_passes(server):
    assert len(server.connect().ask("/now", b"x" * 262_144).body) == 262_144


def test_a_body_of_100_mb_is_refused_before_it_is_read(server):
    """The client sends on regardless, and still reads the answer."""
    client = server.connect().send(START + b"Content-Length: 104857600\r\n\r\n")
    piece = b"x" * 1_048_576
    for _ in range(100):
        client.send(piece)
    assert refused(client) == 413
    assert not [each for each in server.door.asked if len(each.body) > 262_144]


def test_a_large_body_with_100_continue_is_refused_instead_of_asked_for(server):
    client = server.connect().send(START + b"Content-Length: 104857600\r\nExpect: 100-continue\r\n\r\n")
    assert refused(client) == 413


def test_a_refusal_waits_for_the_answers_before_it():
    with a_server() as server:
        client = server.connect().send(post("/later", b"good") + b"nonsense\r\n\r\n")
        assert server.door.waiting.acquire(timeout=WAIT)
        server.door.open_gate()
        assert client.answer().body == b"good"
        assert refused(client) == 400


@pytest.mark.parametrize(
    "part", [b"POST /now HT", START, START + b"Content-Length: 5\r\n\r\nhal"], ids=["line", "head", "body"]
)
def test_a_request_that_stops_half_way_times_out(part):
    with a_server(quick()) as server:
        client = server.connect().send(part)
        assert refused(client) == 408
        assert not server.door.asked


def test_a_slow_request_is_cut_off_however_steadily_it_drips():
    with a_server(quick()) as server:
        client = server.connect()
        client.socket.settimeout(0.02)
        sent = 0
        try:
            while sent < 200:
                client.send(b"x" if sent else b"POST /")
                sent += 1
                try:
                    if client.socket.recv(4096):
                        break
                except TimeoutError:
                    continue
        except OSError:
            pass
        assert 5 < sent < 60
        assert server.connect().ask().status == 200


def test_a_client_that_never_takes_its_refusal_is_cut_off():
    with a_server(quick()) as server:
        client = server.connect().send(b"nonsense\r\n\r\n")
        assert client.answer().status == 400
        with pytest.raises(OSError):
            while True:
                client.send(b"x" * 1000)


def test_unfinished_requests_are_bounded_together():
    with a_server(Limits(unfinished=330_000)) as server:
        slow = [server.connect().send(START + b"Content-Length: 200000\r\n\r\n" + b"x" * 120_000) for _ in range(3)]
        by_socket = {client.socket: client for client in slow}
        (first, *others), _, _ = select.select(by_socket, [], [], 5)
        assert not others
        assert refused(by_socket.pop(first)) == 503
        assert server.connect().ask().status == 200
        for client in by_socket.values():
            assert len(client.send(b"x" * 80_000).answer().body) == 200_000
        assert len(server.connect().ask("/now", b"x" * 250_000).body) == 250_000


def test_10000_mixed_requests_and_every_good_one_is_answered_right():
    """Promise 12 of the security design: a malformed request never harms the next, on its connection or another."""
    chance = random.Random(12)
    bad = [*SMUGGLING.values(), *OTHERS.values(), START + b"Content-Length: 9\r\n\r\nhalf"]
    with a_server() as server:
        kept = [server.connect() for _ in range(8)]
        for number in range(10_000):
            if chance.random() < 0.2:
                with Client(server.port) as client:
                    client.send(chance.choice(bad))
            else:
                body = b"%d" % number + b"x" * chance.choice((0, 10, 5000))
                target = chance.choice(("/now", "/now", "/yield"))
                answer = chance.choice(kept).ask(target, body)
                assert (answer.status, answer.body) == (200, body)
        assert {each.target for each in server.door.asked} <= {b"/now", b"/yield"}
