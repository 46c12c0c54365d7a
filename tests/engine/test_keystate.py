"""The key state table against AWS's published one (tests/vectors/key_states.json)."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from keystead.engine.keystate import ASSUMED, KEY_STATES, STATES, Cell, lets, state_error
from keystead.errors import DisabledError, InvalidStateError, UnsupportedOperationError
from keystead.resources.vocabulary import KeyState

PUBLISHED = json.loads((Path(__file__).resolve().parents[1] / "vectors" / "key_states.json").read_text())
ARN = "arn:aws:kms:cluster-1:111122223333:key/x"


def test_states_are_the_published_columns():
    assert [state.value for state in STATES] == PUBLISHED["columns"]


def test_every_state_but_destroyed_has_a_column():
    assert set(STATES) == set(KeyState) - {KeyState.DESTROYED}


def test_rows_are_the_published_ones_and_the_assumed_ones():
    assert set(KEY_STATES) == set(PUBLISHED["rows"]) | ASSUMED
    assert not ASSUMED & set(PUBLISHED["rows"])


@pytest.mark.parametrize("operation", sorted(PUBLISHED["rows"]))
def test_every_cell_is_the_published_one(operation):
    assert [KEY_STATES[operation][state].value for state in STATES] == PUBLISHED["rows"][operation]


def test_every_cell_is_used():
    assert {cell for row in KEY_STATES.values() for cell in row.values()} == set(Cell)


@pytest.mark.parametrize("operation", sorted(KEY_STATES))
@pytest.mark.parametrize("state", STATES)
def test_an_allowed_cell_has_no_error_and_a_refusal_names_the_key(operation, state):
    error = state_error(operation, state, ARN)
    mark = KEY_STATES[operation][state].value
    assert lets(operation, state) is (error is None)
    if mark.startswith(("Y", "?")):
        assert error is None
    else:
        assert error is not None
        assert error.message.startswith(ARN)


@pytest.mark.parametrize(
    ("operation", "state", "kind", "message"),
    [
        ("Encrypt", KeyState.DISABLED, DisabledError, f"{ARN} is disabled."),
        (
            "Decrypt",
            KeyState.PENDING_DELETION,
            InvalidStateError,
            f"{ARN} is pending deletion (or pending replica deletion).",
        ),
        ("Encrypt", KeyState.PENDING_IMPORT, InvalidStateError, f"{ARN} is pending import."),
        ("Encrypt", KeyState.UNAVAILABLE, InvalidStateError, f"{ARN} is unavailable."),
        ("EnableKey", KeyState.UPDATING, InvalidStateError, f"{ARN} is updating."),
        ("CancelKeyDeletion", KeyState.ENABLED, InvalidStateError, f"{ARN} is not pending deletion."),
        ("RotateKeyOnDemand", KeyState.DISABLED, DisabledError, f"{ARN} is disabled."),
        (
            "EnableKeyRotation",
            KeyState.PENDING_IMPORT,
            UnsupportedOperationError,
            f"{ARN} origin is EXTERNAL which is not valid for this operation.",
        ),
    ],
)
def test_errors_are_those_of_aws(operation, state, kind, message):
    error = state_error(operation, state, ARN)
    assert type(error) is kind
    assert error.message == message
