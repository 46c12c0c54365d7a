"""How a replica asks another one: over real TLS on this machine, by its own certificate's trust; and what it makes of what comes back."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest
from tests.certificates import SelfSigned, make_self_signed

from keystead.server import auditpeers
from keystead.server.auditpeers import Address, TlsPeers, reason_of
from keystead.server.auditquery import SHARE
from keystead.server.http import Listen, serve
from keystead.server.message import Asked, Reply
from keystead.server.tls import Tls, trust_of

NOW = datetime.now(UTC)
NAME = "keystead-server.keystead-system.svc"
BEARER = b"Bearer a-token"


def put(folder: Path, name: str, made: SelfSigned) -> Tls:
    """As a Secret is mounted."""
    (folder / f"{name}.crt").write_bytes(made.certificate)
    (folder / f"{name}.key").write_bytes(made.key)
    return Tls(certificate=folder / f"{name}.crt", key=folder / f"{name}.key")


class Sibling:
    """The real HTTP server with a door that answers as it is told."""

    def __init__(self, reply: Reply) -> None:
        self.reply = reply
        self.asked: list[Asked] = []

    def handle(self, asked: Asked) -> Reply:
        self.asked.append(asked)
        return self.reply


@asynccontextmanager
async def running(door: Sibling, tls: Tls | None) -> AsyncIterator[int]:
    stop, ports = asyncio.Event(), asyncio.Queue[int]()
    listen = Listen(host="127.0.0.1", tls=tls, grace=1, quiet=0)
    task = asyncio.create_task(serve(door, listen, stop, ports.put_nowait))
    port = asyncio.create_task(ports.get())
    await asyncio.wait({task, port}, return_when=asyncio.FIRST_COMPLETED)
    try:
        yield port.result()
    finally:
        stop.set()
        await task


@asynccontextmanager
async def answering(raw: bytes, tls: Tls) -> AsyncIterator[int]:
    """A server that says this, whatever it is asked."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tls.certificate, tls.key)

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(raw)
        writer.close()

    listener = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=context)
    async with listener:
        yield listener.sockets[0].getsockname()[1]


@pytest.fixture(scope="module")
def made() -> SelfSigned:
    return make_self_signed([NAME, "127.0.0.1"], NOW)


def peers(tls: Tls, *places: tuple[str, int], port: Callable[[], int] = lambda: 0) -> TlsPeers:
    return TlsPeers(places, tls.certificate, port)


async def test_a_sibling_gets_the_question_the_token_and_the_mark_and_nothing_else(tmp_path: Path, made: SelfSigned) -> None:
    tls, door = put(tmp_path, "tls", made), Sibling(Reply(200, b"x" * 300_000))
    async with running(door, tls) as port:
        assert await peers(tls).ask(Address("127.0.0.1", port), b"/audit?key=k", BEARER, 3) == (200, b"x" * 300_000)
    (asked,) = door.asked
    assert (asked.method, asked.target, asked.body, asked.secure) == (b"GET", b"/audit?key=k", b"", True)
    assert dict(asked.headers) == {b"host": NAME.encode(), b"authorization": BEARER, SHARE: b"3", b"connection": b"close"}


async def test_a_renewed_certificate_of_the_same_authority_is_trusted_by_its_chain(tmp_path: Path, made: SelfSigned) -> None:
    """Two Pods get a new one a minute apart. Where the Secret has no chain, they trust each other when both have it."""
    new = make_self_signed([NAME], NOW, renews=made)
    old, fresh = put(tmp_path, "old", made), put(tmp_path, "new", new)
    async with running(Sibling(Reply(200, b"")), fresh) as port:
        with pytest.raises(ssl.SSLCertVerificationError):
            await peers(old).ask(Address("127.0.0.1", port), b"/audit", BEARER, 1)
        asking = peers(old)
        old.certificate.write_bytes(made.certificate + made.authority)
        assert await asking.ask(Address("127.0.0.1", port), b"/audit", BEARER, 1) == (200, b"")
        old.certificate.write_bytes(new.certificate)
        assert await asking.ask(Address("127.0.0.1", port), b"/audit", BEARER, 1) == (200, b"")


@pytest.mark.parametrize("names", [[NAME, "127.0.0.1"], ["elsewhere.svc", "127.0.0.1"]])
async def test_nobody_else_gets_the_token(tmp_path: Path, made: SelfSigned, names: list[str]) -> None:
    """Another authority for our name; our authority for another name. Neither sees a byte of the question."""
    ours = put(tmp_path, "ours", made)
    ours.certificate.write_bytes(made.certificate + made.authority)
    stranger = make_self_signed(names, NOW, renews=made if NAME not in names else None)
    door = Sibling(Reply(200, b""))
    async with running(door, put(tmp_path, "theirs", stranger)) as port:
        with pytest.raises(ssl.SSLCertVerificationError) as refused:
            await peers(ours).ask(Address("127.0.0.1", port), b"/audit", BEARER, 1)
    assert door.asked == []
    assert reason_of(refused.value) == "its certificate is not this server's, nor of the same authority and name"


async def test_the_token_is_never_sent_without_tls(tmp_path: Path, made: SelfSigned) -> None:
    door = Sibling(Reply(200, b""))
    async with running(door, None) as port:
        with pytest.raises(OSError):
            await peers(put(tmp_path, "tls", made)).ask(Address("127.0.0.1", port), b"/audit", BEARER, 1)
    assert door.asked == []


@pytest.mark.parametrize(
    "raw",
    [
        b"HTTP/1.1 200 OK\r\ncontent-length: 8000001\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nxx",
        b"HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.0 200 OK\r\ncontent-length: 0\r\n\r\n",
        b"HTTP/1.1 xx OK\r\ncontent-length: 0\r\n\r\n",
        b"nothing\r\n\r\n",
        b"x" * 100_000,
        b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nshort",
        b"",
    ],
)
async def test_what_is_no_whole_answer_of_bounded_size_is_none(tmp_path: Path, made: SelfSigned, raw: bytes) -> None:
    tls = put(tmp_path, "tls", made)
    async with answering(raw, tls) as port:
        with pytest.raises((ValueError, EOFError)):
            await peers(tls).ask(Address("127.0.0.1", port), b"/audit", BEARER, 1)


async def test_siblings_are_all_addresses_but_this_process_and_a_name_that_leads_nowhere_is_told(
    tmp_path: Path, made: SelfSigned, monkeypatch: pytest.MonkeyPatch
) -> None:
    tls, loop = put(tmp_path, "tls", made), asyncio.get_running_loop()
    told = {"peers": ["127.0.0.1", "127.0.0.1", "192.0.2.7"], "others": ["127.0.0.1"]}

    async def resolve(host: str, port: int, **_more: object) -> list[object]:
        if host not in told:
            raise OSError("no such name")
        return [(0, 0, 0, "", (each, port)) for each in told[host]]

    monkeypatch.setattr(loop, "getaddrinfo", resolve, raising=False)
    found = await peers(tls, ("peers", 8443), ("others", 8444), ("gone", 8443), port=lambda: 8443).find()
    assert found.others == (Address("127.0.0.1", 8444), Address("192.0.2.7", 8443))
    assert (found.own, found.unresolved) == ("127.0.0.1:8443", ("gone:8443",))


async def test_a_name_is_resolved_in_bounded_time(tmp_path: Path, made: SelfSigned, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(auditpeers, "_RESOLVE_SECONDS", 0.02)

    async def never(*_: object, **_more: object) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", never, raising=False)
    assert (await peers(put(tmp_path, "tls", made), ("peers", 1)).find()).unresolved == ("peers:1",)


async def test_a_real_name_is_resolved(tmp_path: Path, made: SelfSigned) -> None:
    found = await peers(put(tmp_path, "tls", made), ("localhost", 8443)).find()
    assert Address("127.0.0.1", 8443) in found.others
    assert [str(each) for each in (Address("fd00::1", 1), Address("10.0.0.1", 1))] == ["[fd00::1]:1", "10.0.0.1:1"]


@pytest.mark.parametrize(("names", "asked"), [(["*.kms.example", "a.example"], "server.kms.example"), (["127.0.0.1"], "127.0.0.1")])
def test_it_asks_for_the_first_name_of_its_own_certificate(names: list[str], asked: str) -> None:
    assert trust_of(make_self_signed(names, NOW).certificate).name == asked
