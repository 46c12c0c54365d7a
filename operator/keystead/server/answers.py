"""Answers as bytes: the head of every HTTP answer, and the fixed answers to what never reaches the door.

Called by http.py. Pure apart from the wall clock for `Date`, which every answer carries: an AWS SDK with a wrong clock corrects itself
by it. Nothing of a request may enter an answer made here.
"""

from __future__ import annotations

from dataclasses import dataclass
from email.utils import formatdate
from enum import Enum
from http import HTTPStatus
from time import time

from keystead.server.message import Reply

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
KEEP = b""
KEEP_OLD = b"Connection: keep-alive\r\n"  # an HTTP/1.0 client keeps a connection only when told so
CLOSE = b"Connection: close\r\n"


@dataclass(frozen=True, slots=True)
class Refused:
    """Why a request was not handed to the door. `type` is the `__type` of the JSON body."""

    status: int
    type: str
    message: str


class Refusal(Enum):
    """Every refusal of the HTTP layer. All end the connection: after each, where the next request starts is not certain."""

    BAD_REQUEST = Refused(400, "BadRequestException", "The request is not valid HTTP/1.1.")
    SLOW = Refused(408, "RequestTimeoutException", "The request did not arrive in time.")
    NO_LENGTH = Refused(411, "MissingContentLength", "A body needs a Content-Length; chunked bodies are not accepted.")
    BODY_TOO_LONG = Refused(413, "RequestEntityTooLargeException", "The request body is too long.")
    BAD_EXPECTATION = Refused(417, "ExpectationFailedException", "The only expectation met is 100-continue.")
    HEAD_TOO_LONG = Refused(
        431, "RequestHeaderSectionTooLargeException", "The request headers are too long or too many."
    )
    INTERNAL = Refused(500, "KMSInternalException", "The request was rejected because an internal exception occurred.")
    UPGRADE = Refused(501, "NotImplementedException", "The connection stays HTTP/1.1: no upgrade and no CONNECT.")
    TOO_BUSY = Refused(503, "ServiceUnavailableException", "The service is busy. Try again later.")
    BAD_VERSION = Refused(505, "HTTPVersionNotSupportedException", "The HTTP version is not supported.")


def _reply(refused: Refused) -> Reply:
    body = f'{{"__type":"{refused.type}","message":"{refused.message}"}}'
    return Reply(refused.status, body.encode(), close=True)


REPLIES = {refusal: _reply(refusal.value) for refusal in Refusal}
BROKEN_DOOR = Reply(
    REPLIES[Refusal.INTERNAL].status, REPLIES[Refusal.INTERNAL].body
)  # the request was whole: keep-alive is safe


class Renderer:
    """Reply -> bytes. Status line and `Date` are made once a second for each status."""

    __slots__ = ("_heads", "_second")

    def __init__(self) -> None:
        self._second = 0
        self._heads: dict[int, bytes] = {}

    def render(self, reply: Reply, connection: bytes, *, without_body: bool = False) -> bytes:
        """The whole answer. `without_body`: to HEAD, which is told the length and sent nothing."""
        second = int(time())
        if second != self._second:
            self._second, self._heads = second, {}
        head = self._heads.get(reply.status) or self._head(reply.status)
        fields = b"".join([b"%b: %b\r\n" % field for field in reply.headers])
        return b"%bContent-Type: %b\r\nContent-Length: %d\r\n%b%b\r\n%b" % (
            head,
            reply.content_type,
            len(reply.body),
            fields,
            connection,
            b"" if without_body else reply.body,
        )

    def _head(self, status: int) -> bytes:
        try:
            phrase = HTTPStatus(status).phrase
        except ValueError:
            phrase = ""
        head = f"HTTP/1.1 {status} {phrase}\r\nDate: {formatdate(self._second, usegmt=True)}\r\n".encode()
        self._heads[status] = head
        return head
