"""The permission table is what the pipeline asks: every operation of the endpoint, run, with RBAC's questions in order."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest
from tests.operations.control.desk import Desk
from tests.serving.test_rbac import CALLS, stage_by

from keystead.app.frontdoor import SERVED
from keystead.operations.permissions import API, On, by_grant, by_policy, is_abroad
from keystead.policy.actions import ABROAD, ACTIONS
from keystead.server.codec import Codec

WIRE = Codec(SERVED)


def run(desk: Desk, operation: str, **members: Any) -> Any:
    """The wire's JSON, there and back, as a client has it."""
    sent = json.dumps(members, default=lambda data: b64encode(data).decode())
    return json.loads(WIRE.encode(operation, desk.call(WIRE.decode(operation, sent.encode()))) or b"{}")


@pytest.fixture(scope="module")
def asked() -> Iterator[dict[str, list[tuple[str, str]]]]:
    """Operation -> the verbs and resources that RBAC was asked for."""
    desk = Desk()
    try:
        stage, found = stage_by(partial(run, desk)), {}
        for operation, members in CALLS.items():
            desk.rbac.asked.clear()
            run(desk, operation, **members(stage))
            found[operation] = [(review.verb, review.resource) for review in desk.rbac.asked]
        yield found
    finally:
        desk.close()


def test_every_operation_has_a_row() -> None:
    assert API.keys() == SERVED.keys()
    assert {name: set(row.actions) for name, row in SERVED.items()} == {
        name: {right.action for right in rights} for name, rights in API.items()
    }


def test_every_action_is_somebodys_right() -> None:
    assert {right.action for rights in API.values() for right in rights} == set(ACTIONS)


@pytest.mark.parametrize("operation", API)
def test_an_operation_asks_for_its_rights_and_no_other(asked: dict[str, list[tuple[str, str]]], operation: str) -> None:
    rights = [(right.verb, On.ALIAS.value if right.on is On.ALIAS else On.KEY.value) for right in API[operation]]
    assert asked[operation] == rights


def test_what_is_on_no_key_is_given_by_rbac_alone() -> None:
    for rights in API.values():
        for right in rights:
            if right.on is not On.KEY:
                assert (by_policy(right), by_grant(right), is_abroad(right)) == (False, False, False)


def test_only_awss_actions_go_abroad() -> None:
    assert {right.action for rights in API.values() for right in rights if is_abroad(right)} == ABROAD
