"""What KeyState, holds and orphans do to every operation on a key itself: AWS's table and RECORDS, before anything is written.

The records are made by hand: some states (PendingImport, Unavailable, ...) are reached by nothing yet. Aliases and grants: their own tests.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.builders import ACCOUNT, Rbac, a_control_world, a_key, an_app, root_of
from tests.hsm.fake import FakeHsm
from tests.operations.control.steps import Run

from keystead.engine.identifiers import key_arn
from keystead.errors import DisabledError, InvalidStateError, KmsError, UnsupportedOperationError
from keystead.operations.control import keys, policies, rotation, state, tags
from keystead.operations.control.registry import CONTROL
from keystead.operations.effects import Change
from keystead.operations.rules import RULES
from keystead.policy.actions import KEYLESS
from keystead.resources.vocabulary import KeyState

HSM = FakeHsm()
PUBLISHED = json.loads((Path(__file__).resolve().parents[2] / "vectors" / "key_states.json").read_text())
# Newer than the table we hold: assumed to be as their siblings.
ROWS = {
    **PUBLISHED["rows"],
    "RotateKeyOnDemand": PUBLISHED["rows"]["EnableKeyRotation"],
    "ListKeyRotations": PUBLISHED["rows"]["GetKeyRotationStatus"],
}
MEMBERS = {
    "UpdateKeyDescription": {"description": "new"},
    "PutKeyPolicy": {
        "policy": json.dumps(
            {"Statement": {"Effect": "Allow", "Principal": {"AWS": ACCOUNT}, "Action": "kms:Put*", "Resource": "*"}}
        )
    },
    "TagResource": {"tags": (tags.Tag(tag_key="a", tag_value="b"),)},
    "UntagResource": {"tag_keys": ("a",)},
}
MINE = {keys, policies, rotation, state, tags}
NAMES = sorted(
    name
    for name, row in CONTROL.items()
    if row.request.__module__ in {module.__name__ for module in MINE} and not set(row.actions) & KEYLESS
)
CELLS = [
    (name, KeyState(column), mark)
    for name in NAMES
    for column, mark in zip(PUBLISHED["columns"], ROWS[name], strict=True)
]
KINDS = {"X[1]": DisabledError, "X[1][7]": DisabledError, "X[6]": UnsupportedOperationError, "X[7]": UnsupportedOperationError}
ORPHANS = {rule.operation for rule in RULES.values() if rule.orphan}
operations = pytest.mark.parametrize("name", NAMES)


def arn(key) -> str:
    return key_arn(key.region, key.account, key.key_id)


def a_request(name, key):
    return CONTROL[name].request(key_id=key.key_id, **MEMBERS.get(name, {}))


def run(*records, **how) -> Run:
    return Run(HSM, a_control_world(HSM, *records), **how)


def refusal(name, key) -> KmsError:
    return run(key).refusal(a_request(name, key), root_of(key))


def test_these_are_all_the_operations_on_a_key_itself():
    assert len(NAMES) == 16


@pytest.mark.parametrize(("name", "state", "mark"), CELLS)
def test_a_state_does_to_an_operation_what_aws_says(name, state, mark):
    key = a_key(HSM, state=state)
    if mark.startswith(("Y", "?")):
        run(key)(a_request(name, key), root_of(key))
        return
    error = refusal(name, key)
    assert type(error) is KINDS.get(mark, InvalidStateError)
    assert error.message.startswith(arn(key))


@operations
@pytest.mark.parametrize("state", [KeyState.ENABLED, KeyState.DISABLED])
def test_a_held_key_is_disabled(name, state):
    key = a_key(HSM, state=state, held=True)
    if name == "EnableKey":
        assert "is held since" in refusal(name, key).message
    elif name == "CancelKeyDeletion":
        assert refusal(name, key).message == f"{arn(key)} is not pending deletion."
    elif ROWS[name][1].startswith("X[1]"):
        error = refusal(name, key)
        assert (type(error), error.message) == (DisabledError, f"{arn(key)} is disabled.")
    else:
        run(key)(a_request(name, key), root_of(key))


@operations
def test_an_orphan_is_read_and_ended_and_not_changed(name):
    pending = name == "CancelKeyDeletion"
    key = a_key(HSM, bound=False, state=KeyState.PENDING_DELETION if pending else KeyState.ENABLED)
    if name in ORPHANS:
        run(key)(a_request(name, key), root_of(key))
        return
    error = refusal(name, key)
    assert (type(error), error.message) == (InvalidStateError, f"{arn(key)} has no KmsKey object.")


@pytest.mark.parametrize("name", ["DisableKey", "ScheduleKeyDeletion"])
def test_an_orphan_gets_its_object_back_under_its_own_name(name):
    key = a_key(HSM, bound=False)
    change = run(key)(a_request(name, key), root_of(key))
    assert isinstance(change, Change)
    assert (change.write.target.name, change.write.target.uid) == (key.name, "")
    assert change.write.manifest["metadata"] == {"namespace": key.namespace, "name": key.name}
    assert change.write.fields.items() <= change.write.manifest["spec"].items()


@pytest.mark.parametrize("name", ["DisableKey", "ScheduleKeyDeletion"])
def test_a_record_that_was_set_aside_does_not_write_over_the_key_that_has_its_name(name):
    aside, other = a_key(HSM, bound=False), a_key(HSM, n=2, name="key-1")
    found = run(other, aside)
    assert found.world.keys.key_named(aside.namespace, aside.name) == other
    error = found.refusal(a_request(name, aside), root_of(aside))
    assert error.message == f"{arn(aside)} has no KmsKey object."


@operations
def test_a_change_is_of_the_object_that_was_authorised(name):
    key = a_key(HSM, state=KeyState.PENDING_DELETION if name == "CancelKeyDeletion" else KeyState.ENABLED)
    found = run(key)(a_request(name, key), root_of(key))
    if isinstance(found, Change):
        assert found.write.target.uid == key.object_uid
        assert (found.write.target.namespace, found.write.target.name) == (key.namespace, key.name)


@operations
@pytest.mark.parametrize("state", [KeyState.DISABLED, KeyState.PENDING_DELETION])
def test_state_is_not_told_to_who_may_not(name, state):
    key = a_key(HSM, state=state)
    found = run(key, rbac=Rbac(answer=False))
    assert found.refusal(a_request(name, key), an_app()).code == "AccessDeniedException"
    assert [review.verb for review in found.rbac.asked] == [name.lower()]


@operations
def test_a_destroyed_key_is_not_found(name):
    key = a_key(HSM, state=KeyState.DESTROYED)
    error = refusal(name, key)
    assert (error.code, error.message) == ("NotFoundException", f"Key '{arn(key)}' does not exist")


@operations
def test_an_alias_is_no_key_id(name):
    request = CONTROL[name].request(key_id="alias/app", **MEMBERS.get(name, {}))
    error = run().refusal(request)
    assert (error.code, error.message) == ("NotFoundException", "Invalid keyId 'alias/app'")


@operations
@pytest.mark.parametrize("key_id", ["", "x" * 2049])
def test_a_key_id_has_1_to_2048_characters(name, key_id):
    request = CONTROL[name].request(key_id=key_id, **MEMBERS.get(name, {}))
    assert run().refusal(request).code == "ValidationException"
