"""The tables of operations, rules and faults are total."""

from __future__ import annotations

import dataclasses
import inspect
import json
from pathlib import Path

import pytest
from tests.operations.requests import DRY_RUN, KEYS

from keystead import errors
from keystead.engine.keystate import KEY_STATES
from keystead.errors import KeysteadError, KmsError, KmsInternalError
from keystead.operations import OPERATIONS
from keystead.operations.describe import KeyMetadata
from keystead.operations.faults import FAULTS, public_error
from keystead.operations.rules import RULES
from keystead.policy import Action
from keystead.policy.actions import ACTIONS, Constraint

rows = pytest.mark.parametrize("name", sorted(OPERATIONS))
MODEL = json.loads((Path(__file__).resolve().parents[1] / "vectors" / "kms_members.json").read_text())
NOT_OPERATIONS = {Action.CREATE_GRANT, Action.RETIRE_GRANT}
ERRORS = [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, KeysteadError)]


def test_every_action_belongs_to_one_operation():
    actions = [action for row in OPERATIONS.values() for action in row.actions]
    assert sorted(actions) == sorted(set(Action) - NOT_OPERATIONS)


def test_every_action_with_a_key_has_a_rule():
    assert set(RULES) == set(Action) - NOT_OPERATIONS - {Action.GENERATE_RANDOM}
    assert all(RULES[action].action is action for action in RULES)


def test_a_rule_names_the_operation_of_its_action():
    for action, rule in RULES.items():
        assert action in OPERATIONS[rule.operation].actions


def test_every_operation_with_a_key_has_a_row_of_key_states_and_a_request_in_these_tests():
    assert {rule.operation for rule in RULES.values()} == set(KEYS) == set(OPERATIONS) - {"GenerateRandom"}
    assert set(KEYS) <= set(KEY_STATES)


def test_orphans_answer_what_records_says():
    assert {action.value for action, rule in RULES.items() if rule.orphan} == {
        "Decrypt",
        "ReEncryptFrom",
        "DeriveSharedSecret",
        "Verify",
        "VerifyMac",
        "GetPublicKey",
        "DescribeKey",
    }


@rows
def test_requests_and_responses_are_frozen_and_named_as_in_aws(name):
    row = OPERATIONS[name]
    assert (row.request.__name__, row.response.__name__) == (f"{name}Request", f"{name}Response")
    for kind in (row.request, row.response):
        assert kind.__dataclass_params__.frozen
    assert inspect.isgeneratorfunction(row.function)


@rows
def test_an_operation_uses_a_context_exactly_where_a_grant_compares_one(name):
    row = OPERATIONS[name]
    members = {member.name for member in dataclasses.fields(row.request)}
    assert row.uses_context == any("encryption_context" in member for member in members)
    assert row.uses_context == any(ACTIONS[action].constraint is Constraint.COMPARED for action in row.actions)


@rows
def test_secrets_are_not_in_a_repr(name):
    secret = {"plaintext", "private_key_plaintext", "shared_secret", "message", "mac", "grant_tokens"}
    for kind in (OPERATIONS[name].request, OPERATIONS[name].response):
        for member in dataclasses.fields(kind):
            assert not (member.name in secret and member.repr), f"{kind.__name__}.{member.name}"


def members(kind: type) -> set[str]:
    return {member.name.replace("_", "") for member in dataclasses.fields(kind)}


@rows
def test_members_are_those_of_botocore(name):
    row, shape = OPERATIONS[name], MODEL[name]
    lower = {side: {member.lower() for member in shape[side]} for side in ("input", "output", "required")}
    assert members(row.request) == lower["input"] - {"dryrunmodifiers"}
    assert members(row.response) == lower["output"] - {"ciphertextforrecipient"}
    required = {m.name.replace("_", "") for m in dataclasses.fields(row.request) if m.default is dataclasses.MISSING}
    # Decrypt and ReEncrypt may leave the blob out only with DryRunModifiers, which we do not have.
    assert required - {"ciphertextblob"} == lower["required"]


def test_key_metadata_has_no_member_that_aws_does_not_have():
    assert members(KeyMetadata) <= {member.lower() for member in MODEL["KeyMetadata"]["output"]}


def test_dry_run_is_where_aws_has_it():
    with_member = {
        name
        for name, row in OPERATIONS.items()
        if "dry_run" in {member.name for member in dataclasses.fields(row.request)}
    }
    assert with_member == set(DRY_RUN)


def test_every_error_of_ours_has_an_answer_of_the_api():
    for kind in ERRORS:
        error = kind("field", "text") if kind is errors.InvalidSpecError else kind("PIN 1234")
        answer = public_error(error)
        assert isinstance(answer, KmsError)
        if not isinstance(error, KmsError):
            assert "1234" not in answer.message


def test_every_branch_of_the_error_tree_has_a_row():
    branches = {kind for kind in ERRORS if kind.__base__ is KeysteadError} - {KmsError}
    assert branches <= set(FAULTS)


def test_an_error_nobody_knows_is_internal():
    assert isinstance(public_error(KeysteadError("x")), KmsInternalError)
