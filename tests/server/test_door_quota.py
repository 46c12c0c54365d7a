"""Where the door asks for the quota: once an authenticated, well-formed call, before the operation looks at anything."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tests.server.doors import IDENTITY, House, ask

from keystead.errors import AccessDeniedError, HsmUnavailableError, ThrottlingError, UnrecognizedClientError
from keystead.server.message import Reply
from keystead.server.wire_errors import SerializationError


class Full:
    """`quota.Quota` that lets nothing through."""

    def __init__(self) -> None:
        self.asked: list[tuple[Any, ...]] = []

    def charge(self, *call: Any) -> None:
        self.asked.append(call)
        raise ThrottlingError


def told(house: House, quota: Full) -> tuple[int, str, str]:
    reply = house.door(quota=quota).handle(ask(body=b"hello"))
    assert isinstance(reply, Reply)
    body = json.loads(reply.body)
    return reply.status, body["__type"], body["message"]


def test_a_call_too_many_is_refused_with_awss_words_and_runs_nothing() -> None:
    house, quota = House(), Full()
    text = "You have exceeded the rate at which you may call KMS. Reduce the frequency of your calls."
    assert told(house, quota) == (400, "ThrottlingException", text)
    assert quota.asked == [("Echo", "hello", IDENTITY.caller, IDENTITY.region)]
    assert (house.seen, house.served) == (["signature", "body"], [("Echo", "ThrottlingException")])


@pytest.mark.parametrize("early", ["signature", "body"])
def test_what_is_refused_earlier_is_not_counted(early: str) -> None:
    house, quota = House(), Full()
    if early == "signature":
        house.who.error = UnrecognizedClientError("who")
    else:
        house.wire.error = SerializationError("body")
    assert told(house, quota)[1] in ("UnrecognizedClientException", "SerializationException")
    assert quota.asked == []


def test_it_is_told_before_what_the_operation_or_the_token_would_say() -> None:
    house = House(fault=AccessDeniedError("no"), away=HsmUnavailableError("away"))
    assert told(house, Full())[1] == "ThrottlingException"
