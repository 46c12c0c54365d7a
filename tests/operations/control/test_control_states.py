"""Every control-plane operation on a key x every key state, holds and orphans: what AWS's table and RECORDS say, before anything is written.

The records are made by hand: some states (PendingImport, Unavailable, ...) are reached by nothing yet.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.builders import Rbac, a_control_world, a_key, an_alias, an_app, root_of
from tests.hsm.fake import FakeHsm
from tests.operations.control.steps import REQUESTS

from keystead.engine.identifiers import key_arn
from keystead.errors import DisabledError, InvalidStateError, KmsError, UnsupportedOperationError
from keystead.operations.control.registry import CONTROL
from keystead.operations.effects import Await, Change, Need
from keystead.operations.rules import RULES
from keystead.policy.actions import KEYLESS
from keystead.resources.vocabulary import KeyState

HSM = FakeHsm()
PUBLISHED = json.loads((Path(__file__).resolve().parents[2] / "vectors" / "key_states.json").read_text())
ALWAYS = ["Y"] * 7
# Newer than the table we hold: assumed to be as their siblings.
ROWS = {
    **PUBLISHED["rows"],
    "RotateKeyOnDemand": PUBLISHED["rows"]["EnableKeyRotation"],
    "ListKeyRotations": PUBLISHED["rows"]["GetKeyRotationStatus"],
    "GetKeyLastUsage": ALWAYS,
}
WITH_KEY = sorted(name for name, row in CONTROL.items() if not set(row.actions) & KEYLESS)
CELLS = [
    (name, KeyState(state), mark)
    for name in WITH_KEY
    for state, mark in zip(PUBLISHED["columns"], ROWS[name], strict=True)
]
KINDS = {"X[1]": DisabledError, "X[1][7]": DisabledError, "X[6]": UnsupportedOperationError, "X[7]": UnsupportedOperationError}


def arn(key) -> str:
    return key_arn(key.region, key.account, key.key_id)


def outcome(name, key, *more, rbac=None, caller=None) -> object:
    """The answer, the first Change, or the KmsError."""
    world = a_control_world(HSM, key, *more)
    running = CONTROL[name].function(world, caller or root_of(key), REQUESTS[name](key))
    try:
        effect = next(running)
        while not isinstance(effect, Change):
            assert isinstance(effect, Need | Await)
            effect = running.send((rbac or Rbac())(effect.review) if isinstance(effect, Need) else None)
        running.close()
        return effect
    except StopIteration as stop:
        return stop.value
    except KmsError as error:
        return error


def records_for(name, key):
    """What else must be there for the operation."""
    return [an_alias(key)] if name in ("UpdateAlias", "DeleteAlias") else []


@pytest.mark.parametrize(("name", "state", "mark"), CELLS)
def test_a_state_does_to_an_operation_what_aws_says(name, state, mark):
    key = a_key(HSM, state=state)
    found = outcome(name, key, *records_for(name, key))
    if mark.startswith(("Y", "?")):
        assert not isinstance(found, DisabledError | InvalidStateError), found
        return
    assert type(found) is KINDS.get(mark, InvalidStateError)
    assert found.message.startswith(arn(key))


@pytest.mark.parametrize("name", WITH_KEY)
@pytest.mark.parametrize("state", [KeyState.ENABLED, KeyState.DISABLED])
def test_a_held_key_is_disabled(name, state):
    key = a_key(HSM, state=state, held=True)
    found = outcome(name, key, *records_for(name, key))
    if ROWS[name][1].startswith("X[1]"):
        assert (type(found), found.message) == (DisabledError, f"{arn(key)} is disabled.")
    else:
        assert not isinstance(found, DisabledError)


@pytest.mark.parametrize("name", WITH_KEY)
def test_an_enabled_orphan_is_read_and_ended_and_not_changed(name):
    key = a_key(HSM, bound=False)
    found = outcome(name, key, *records_for(name, key))
    orphans = {rule.operation for rule in RULES.values() if rule.orphan} - {"CancelKeyDeletion"}
    if name in orphans:
        assert not isinstance(found, InvalidStateError), found
    else:
        assert isinstance(found, InvalidStateError)
        text = "is not pending deletion." if name == "CancelKeyDeletion" else "has no KmsKey object."
        assert found.message == f"{arn(key)} {text}"


@pytest.mark.parametrize("name", ["DisableKey", "ScheduleKeyDeletion"])
def test_a_record_whose_name_is_another_keys_is_not_written_over(name):
    aside, other = a_key(HSM, bound=False), a_key(HSM, n=2, name="key-1")
    world = a_control_world(HSM, other, aside)
    world.keys.keys = {k: v for k, v in reversed(world.keys.keys.items())}
    world.keys.key_named = lambda namespace, name: other
    running = CONTROL[name].function(world, root_of(aside), REQUESTS[name](aside))
    with pytest.raises(InvalidStateError, match="has no KmsKey object"):
        next(running)


@pytest.mark.parametrize("name", WITH_KEY)
@pytest.mark.parametrize("state", [KeyState.DISABLED, KeyState.PENDING_DELETION])
def test_state_is_not_told_to_who_may_not(name, state):
    key = a_key(HSM, state=state)
    found = outcome(name, key, *records_for(name, key), rbac=Rbac(answer=False), caller=an_app())
    assert isinstance(found, KmsError)
    assert found.code in ("AccessDeniedException", "NotFoundException")
