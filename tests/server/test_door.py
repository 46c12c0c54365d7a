"""The front door on fakes: the order of its checks, and that every way to fail is an answer that tells nothing."""

from __future__ import annotations

import json
import logging
from types import CoroutineType
from typing import Any

import pytest
from tests.server.doors import IDENTITY, SECRET_WORDS, Away, House, ask

from keystead.engine.ports import Generate
from keystead.errors import (
    AccessDeniedError,
    HsmAuthError,
    HsmUnavailableError,
    RecordIntegrityError,
    StoreUnavailableError,
    UnrecognizedClientError,
)
from keystead.operations.effects import Slow
from keystead.operations.world import Call
from keystead.resources.vocabulary import KeySpec, KeyUsage, Protection
from keystead.server.door import new_id
from keystead.server.message import Asked, Reply
from keystead.server.wire_errors import SerializationError

SLOW = Slow(Generate(bytes(16), KeySpec.SYMMETRIC_DEFAULT, Protection.TOKEN, KeyUsage.ENCRYPT_DECRYPT))


async def answer(house: House, asked: Asked, **changes: Any) -> Reply:
    coming = house.door(**changes).handle(asked)
    return coming if isinstance(coming, Reply) else await coming


def code(reply: Reply) -> str:
    return str(json.loads(reply.body)["__type"])


async def test_a_call_is_answered_at_once_where_nothing_is_awaited() -> None:
    house = House()
    reply = house.door().handle(ask(body=b"hello"))
    assert isinstance(reply, Reply)
    assert (reply.status, reply.body, house.served, house.used) == (200, b"('hello',)", [("Echo", "")], [("Echo", ("hello",))])


async def test_every_check_comes_before_the_next_one() -> None:
    """All fail at once; each is mended in turn, and the next one is told."""
    house, asked = House(away=HsmUnavailableError("away"), fault=AccessDeniedError("no")), ask("TrentService.Nothing")
    house.who.error, house.wire.error = UnrecognizedClientError("who"), SerializationError("body")
    house.stream.refusal = "behind"
    told = [(await answer(house, ask("TrentService.Nothing", path=b"/x", method=b"PUT"))).status]
    told.append((await answer(house, ask("TrentService.Nothing", method=b"PUT"))).status)
    codes = [code(await answer(house, asked))]
    codes.append(code(await answer(house, ask("TrentService.Import"))))
    house.who.error = None
    codes.append(code(await answer(house, ask("TrentService.Import"))))
    codes.append(code(await answer(house, ask())))
    house.stream.refusal = None
    codes.append(code(await answer(house, ask())))
    house.wire.error = None
    codes.append(code(await answer(house, ask())))
    house.away = None
    codes.append(code(await answer(house, ask())))
    assert told == [404, 405]
    assert codes == [
        "UnknownOperationException", "UnrecognizedClientException", "UnsupportedOperationException", "KMSInternalException",
        "SerializationException", "KMSInternalException", "AccessDeniedException",
    ]  # fmt: skip


@pytest.mark.parametrize("target", ["", "Echo", "trentservice.Echo", "TrentService.", "TrentService.Echo.Echo", "TrentService.\xff"])
async def test_a_target_that_names_no_operation_is_unknown(target: str) -> None:
    house = House()
    reply = await answer(house, ask(target))
    assert (reply.status, code(reply), house.seen) == (400, "UnknownOperationException", [])
    assert house.served == [("", "UnknownOperationException")]  # a metric never has a name that a client made up


async def test_two_targets_are_none() -> None:
    asked = Asked(b"POST", b"/", ((b"x-amz-target", b"TrentService.Echo"),) * 2, b"")
    assert code(await answer(House(), asked)) == "UnknownOperationException"


async def test_a_form_without_a_target_is_for_sts() -> None:
    assert (await answer(House(), ask(None, content_type="Application/X-WWW-Form-Urlencoded; charset=utf-8"))).body == b"sts"
    assert (await answer(House(), ask(content_type="application/x-www-form-urlencoded"))).body == b"('x',)"
    assert code(await answer(House(), ask(None, content_type="text/plain"))) == "UnknownOperationException"


async def test_a_query_is_for_the_signature_to_judge() -> None:
    assert (await answer(House(), ask(path=b"/?a=b"))).status == 200


async def test_a_route_answers_its_path_only() -> None:
    async def route(asked: Asked) -> Reply:
        return Reply(200, asked.method)

    house = House(routes={b"/reset": route})
    assert (await answer(house, ask(path=b"/reset?x", method=b"GET"))).body == b"GET"
    assert (await answer(house, ask(path=b"/reset/"))).status == 404


@pytest.mark.parametrize("error", [HsmUnavailableError(SECRET_WORDS), HsmAuthError(SECRET_WORDS), StoreUnavailableError(SECRET_WORDS)])
@pytest.mark.parametrize("where", ["token", "signature", "signature later", "operation", "slow call"])
async def test_what_is_away_is_an_answer_that_clients_try_again(error: Exception, where: str) -> None:
    house = House()
    match where:
        case "token":
            house.away = error
        case "signature":
            house.who.error = error
        case "signature later":
            house.who.later = Away(error=error)
        case "operation":
            house.fault = error
        case "slow call":
            house.effects = [SLOW]
            house.hsm.slow = _raiser(error)  # type: ignore[method-assign]
    reply = await answer(house, ask())
    assert (reply.status, code(reply)) == (500, "KMSInternalException")
    assert SECRET_WORDS.encode() not in reply.body
    assert house.served == [("Echo", "KMSInternalException")]


def _raiser(error: Exception) -> Any:
    async def slow(_call: object) -> Any:
        raise error

    return slow


async def test_an_identity_that_is_no_coroutine_is_awaited_too() -> None:
    house = House()
    house.who.later = Away(IDENTITY)
    coming = house.door().handle(ask())
    assert isinstance(coming, CoroutineType)
    assert (await coming).status == 200


async def test_an_operation_that_must_wait_is_finished_after_a_late_identity() -> None:
    async def slow(_call: object) -> bytes:
        return b"made"

    house = House(effects=[SLOW])
    house.hsm.slow = slow  # type: ignore[method-assign,assignment]
    house.who.later = Away(IDENTITY)
    assert (await answer(house, ask())).body == b"('x', b'made')"


@pytest.mark.parametrize("where", ["signature", "body", "operation", "answer", "record"])
async def test_a_defect_is_a_bland_answer_and_its_words_are_nowhere(where: str, caplog: pytest.LogCaptureFixture) -> None:
    house, error = House(), ValueError(f"invalid literal: {SECRET_WORDS}")
    match where:
        case "signature":
            house.who.error = error
        case "body":
            house.wire.error = error
        case "operation":
            house.fault = error
        case "answer":
            house.wire.unfit = error
        case "record":
            house.fault = RecordIntegrityError("record key-1 must not be believed")
    with caplog.at_level(logging.DEBUG):
        reply = await answer(house, ask())
    assert (reply.status, code(reply)) == (500, "KMSInternalException")
    assert SECRET_WORDS not in caplog.text + reply.body.decode()
    assert ("key-1" if where == "record" else "ValueError") in caplog.text
    assert "key-1" not in reply.body.decode()
    (name, request_id), *_ = reply.headers
    assert (name, request_id.decode() in caplog.text) == (b"x-amzn-requestid", True)


async def test_a_note_on_a_fault_is_for_the_log_alone(caplog: pytest.LogCaptureFixture) -> None:
    error = StoreUnavailableError("away")
    error.add_note("Suspended: told to people")
    reply = await answer(House(fault=error), ask())
    assert "told to people" in caplog.text
    assert b"told to people" not in reply.body


async def test_a_refusal_is_no_line_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        assert (await answer(House(fault=AccessDeniedError("no")), ask())).status == 400
    assert not caplog.records


async def test_a_stale_read_model_ends_the_connection_and_nothing_else_does() -> None:
    house = House()
    house.stream.refusal = "records: the stream is silent"
    reply = await answer(house, ask())
    assert (reply.status, code(reply), reply.close) == (500, "KMSInternalException", True)
    house.stream.refusal, house.away = None, HsmUnavailableError("away")
    assert not (await answer(house, ask())).close


async def test_only_what_creates_knows_of_the_retry_and_its_body() -> None:
    house = House()
    sent = {"amz_sdk_invocation_id": "i" * 300}
    await answer(house, ask(**sent))
    assert house.call == Call()
    await answer(house, ask("TrentService.CreateKey", **sent))
    first = house.call
    assert first is not None
    assert (len(first.body_digest), first.invocation_id) == (32, "i" * 256)
    await answer(house, ask("TrentService.CreateKey", body=b"y", **sent))
    assert house.call is not None
    assert house.call.body_digest != first.body_digest
    await answer(house, ask("TrentService.CreateKey"))
    assert house.call.invocation_id == ""


async def test_a_failed_call_is_no_use_of_a_key() -> None:
    house = House(fault=AccessDeniedError("no"))
    await answer(house, ask())
    assert house.used == []


def test_request_ids_are_random_uuids() -> None:
    made = {new_id() for _ in range(100)}
    assert len(made) == 100
    assert all(len(text) == 36 and text[14] == "4" and text[19] == "a" for text in made)


def test_the_keys_are_those_that_the_caller_may_see() -> None:
    seen: list[Any] = []
    House().door(keys=seen.append).handle(ask())
    assert seen == [IDENTITY]
