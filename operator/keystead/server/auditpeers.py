"""The other replicas of the server, as the route /audit asks them: where they are, and one question over TLS. Made by app.

Where: the names that the setting gives, resolved anew for each answer (the chart's headless Service: one address a Pod). Nothing of a
request chooses an address, a port or a path.

Who a sibling is: it shows this Pod's own certificate, or one that the same authority gave for the same name (`Trust`); all replicas mount
one Secret. So a caller's token goes to nobody who could not have been asked for it in the first place. What may never enter a log or an
exception: the token.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

import aiohttp
from yarl import URL

from keystead.server.auditquery import SHARE
from keystead.server.tls import Trust, trust_of

MOST_BYTES: Final = 8_000_000
"""Of an answer: a page has 5 MB and a record (audit/reading/tenant.py)."""
_RESOLVE_SECONDS: Final = 3.0
_UNSAID: Final = ("User-Agent", "Accept", "Accept-Encoding")


class Address(NamedTuple):
    """An IP address and a port."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Found:
    """own: this Pod's own address, "" where the names do not lead to it; unresolved: names that lead nowhere now."""

    others: tuple[Address, ...]
    own: str
    unresolved: tuple[str, ...] = ()


class TlsPeers:
    """Implements `auditwhole.Peers`. places: host and port of each name; own_port: where this process listens."""

    def __init__(self, places: Sequence[tuple[str, int]], certificate: Path, own_port: Callable[[], int]) -> None:
        self._places = tuple(places)
        self._certificate = certificate
        self._own_port = own_port
        self._trust: tuple[bytes, Trust] | None = None

    async def find(self) -> Found:
        """Where they are now."""
        loop = asyncio.get_running_loop()
        addresses: set[Address] = set()
        unresolved: list[str] = []
        for host, port in self._places:
            try:
                async with asyncio.timeout(_RESOLVE_SECONDS):
                    answers = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            except (OSError, TimeoutError):  # socket.gaierror is an OSError
                unresolved.append(f"{host}:{port}")
            else:
                addresses |= {Address(str(answer[4][0]), port) for answer in answers}
        own = {address for address in addresses if address.port == self._own_port() and _is_here(address)}
        return Found(tuple(sorted(addresses - own)), str(min(own)) if own else "", tuple(unresolved))

    async def ask(self, address: Address, target: bytes, authorization: bytes, share: int) -> tuple[int, bytes]:
        """Status and body. OSError, EOFError or ValueError: it gave none."""
        trust = self._trusted()
        url = URL(f"https://{address}{target.decode('ascii')}", encoded=True)
        headers = {"Host": trust.name, "Authorization": authorization.decode("ascii"), SHARE.decode(): str(share)}
        connector = aiohttp.TCPConnector(ssl=trust.context, force_close=True)
        try:
            async with (
                aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar(), auto_decompress=False) as session,
                session.get(
                    url, headers=headers, skip_auto_headers=_UNSAID, server_hostname=trust.name, allow_redirects=False
                ) as answer,
            ):
                # Our own server always says how long it is.
                if answer.content_length is None or answer.content_length > MOST_BYTES or answer.version != aiohttp.HttpVersion11:
                    raise ValueError("its head cannot be read")
                return answer.status, await answer.read()
        except (aiohttp.ClientPayloadError, aiohttp.ServerDisconnectedError):
            raise EOFError from None
        except aiohttp.ClientResponseError:
            raise ValueError("its head cannot be read") from None

    def _trusted(self) -> Trust:
        """By the certificate as it is now: the server takes a new one as soon as it is mounted."""
        pem = self._certificate.read_bytes()
        if self._trust is None or self._trust[0] != pem:
            self._trust = (pem, trust_of(pem))
        return self._trust[1]


def _is_here(address: Address) -> bool:
    """Whether it is an address of this Pod: the kernel takes it as its own end of a way to itself. Nothing is sent."""
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(address)
        except OSError:
            return False
        return bool(probe.getsockname()[0] == address.host)


def reason_of(error: Exception) -> str:
    """Why it could not be asked, in words without anything of the question."""
    match error:
        case ssl.SSLCertVerificationError():
            return "its certificate is not this server's, nor of the same authority and name"
        case TimeoutError():
            return "it did not answer in time"
        case ConnectionRefusedError() | aiohttp.ClientConnectorError(os_error=ConnectionRefusedError()):
            return "nobody listens there"
        case EOFError():
            return "it broke off"
        case ValueError():
            return "its answer cannot be read: it may be of another version"
    return "it could not be reached"
