"""The tables of operations, rules and faults are total."""

from __future__ import annotations

import dataclasses
import inspect

import pytest
from botocore.session import get_session
from tests.operations.requests import DRY_RUN, KEYS

from keystead import errors
from keystead.engine.keystate import KEY_STATES
from keystead.errors import KeysteadError, KmsError, KmsInternalError
from keystead.operations import OPERATIONS
from keystead.operations.control.keys import KeyListEntry
from keystead.operations.control.registry import CONTROL
from keystead.operations.control.rotation import IncludeKeyMaterial, RotationsListEntry, RotationType
from keystead.operations.control.tags import Tag
from keystead.operations.describe import KeyMetadata
from keystead.operations.faults import FAULTS, public_error
from keystead.operations.rules import RULES
from keystead.policy import Action
from keystead.policy.actions import ACTIONS, KEYLESS, Constraint

ALL = OPERATIONS | CONTROL
rows = pytest.mark.parametrize("name", sorted(ALL))
MODEL = get_session().get_service_model("kms")
LISTS = {"ListKeys", "ListResourceTags", "ListKeyPolicies", "ListKeyRotations", "ListAliases", "ListGrants", "ListRetirableGrants"}
ERRORS = [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, KeysteadError)]


def test_every_action_belongs_to_one_operation():
    actions = [action for row in ALL.values() for action in row.actions]
    assert sorted(actions) == sorted(set(Action))


def test_no_operation_is_in_both_tables():
    assert not OPERATIONS.keys() & CONTROL.keys()


def test_every_action_with_a_key_has_a_rule():
    assert set(RULES) == set(Action) - KEYLESS
    assert all(RULES[action].action is action for action in RULES)


def test_a_rule_names_the_operation_of_its_action():
    for action, rule in RULES.items():
        assert action in ALL[rule.operation].actions


def test_every_operation_with_a_key_has_a_row_of_key_states():
    with_key = {rule.operation for rule in RULES.values()}
    assert with_key == set(ALL) - {action.value for action in KEYLESS}
    assert with_key <= set(KEY_STATES)


def test_every_cryptographic_operation_with_a_key_has_a_request_in_these_tests():
    assert set(KEYS) == set(OPERATIONS) - {"GenerateRandom"}


def test_orphans_answer_what_records_says():
    using = {"Decrypt", "ReEncryptFrom", "DeriveSharedSecret", "Verify", "VerifyMac", "GetPublicKey"}
    reading = {action.value for action in Action if action.value.startswith(("Get", "List", "Describe"))}
    ending = {"RevokeGrant", "RetireGrant", "DeleteAlias", "DisableKey", "ScheduleKeyDeletion", "CancelKeyDeletion"}
    keyless = {action.value for action in KEYLESS}
    assert {action.value for action, rule in RULES.items() if rule.orphan} == (using | reading | ending) - keyless


@rows
def test_requests_and_responses_are_frozen_and_named_as_in_aws(name):
    row = ALL[name]
    # The model gives both lists of grants one answer.
    answer = name.replace("Retirable", "")
    assert (row.request.__name__, row.response.__name__) == (f"{name}Request", f"{answer}Response")
    for kind in (row.request, row.response):
        assert kind.__dataclass_params__.frozen
    assert inspect.isgeneratorfunction(row.function)


@rows
def test_an_operation_uses_a_context_exactly_where_a_grant_compares_one(name):
    row = ALL[name]
    members = {member.name for member in dataclasses.fields(row.request)}
    compared = any(ACTIONS[action].constraint is Constraint.COMPARED for action in row.actions)
    assert compared == any("encryption_context" in member for member in members)


@rows
def test_secrets_are_not_in_a_repr(name):
    secret = {"plaintext", "private_key_plaintext", "shared_secret", "message", "mac", "grant_tokens", "grant_token"}
    for kind in (ALL[name].request, ALL[name].response):
        for member in dataclasses.fields(kind):
            assert not (member.name in secret and member.repr), f"{kind.__name__}.{member.name}"


def members(kind: type) -> set[str]:
    return {member.name.replace("_", "") for member in dataclasses.fields(kind)}


def in_model(shape) -> set[str]:
    return {member.lower() for member in shape.members} if shape is not None else set()


# What an answer says to the audit record alone. RetireGrant has no output shape: nothing of it goes out (server/encode.py).
NOT_ON_THE_WIRE = {"RetireGrant": {"grantid"}}


@rows
def test_members_are_those_of_botocore(name):
    row, model = ALL[name], MODEL.operation_model(name)
    assert members(row.request) == in_model(model.input_shape) - {"dryrunmodifiers"}
    # Encapsulation belongs to ML_KEM keys, Recipient to enclaves: we have neither.
    assert members(row.response) - NOT_ON_THE_WIRE.get(name, set()) == in_model(model.output_shape) - {
        "ciphertextforrecipient",
        "encapsulationalgorithms",
    }
    required = {m.name.replace("_", "") for m in dataclasses.fields(row.request) if has_no_default(m)}
    # Decrypt and ReEncrypt may leave the blob out only with DryRunModifiers, which we do not have.
    assert required - {"ciphertextblob"} == {member.lower() for member in model.input_shape.required_members}


def has_no_default(member: dataclasses.Field) -> bool:
    return member.default is dataclasses.MISSING and member.default_factory is dataclasses.MISSING


@pytest.mark.parametrize(("kind", "shape"), [(KeyMetadata, "KeyMetadata"), (RotationsListEntry, "RotationsListEntry")])
def test_an_answer_has_no_member_that_aws_does_not_have(kind, shape):
    assert members(kind) <= in_model(MODEL.shape_for(shape))


@pytest.mark.parametrize(("kind", "shape"), [(Tag, "Tag"), (KeyListEntry, "KeyListEntry")])
def test_small_shapes_are_those_of_botocore(kind, shape):
    assert members(kind) == in_model(MODEL.shape_for(shape))


@pytest.mark.parametrize("kind", [RotationType, IncludeKeyMaterial])
def test_words_are_those_of_botocore(kind):
    assert {word.value for word in kind} == set(MODEL.shape_for(kind.__name__).enum)


def test_every_list_has_pages():
    assert {name for name, row in ALL.items() if "marker" in members(row.request)} == LISTS & set(ALL)


def test_dry_run_is_where_aws_has_it():
    with_member = {
        name
        for name, row in ALL.items()
        if "dry_run" in {member.name for member in dataclasses.fields(row.request)}
    }
    in_aws = {name for name in ALL if "DryRun" in MODEL.operation_model(name).input_shape.members}
    assert with_member == in_aws
    assert set(DRY_RUN) == in_aws & set(OPERATIONS)


def test_every_error_of_ours_has_an_answer_of_the_api():
    for kind in ERRORS:
        error = kind("field", "text") if kind is errors.InvalidSpecError else kind("PIN 1234")
        answer = public_error(error)
        assert isinstance(answer, KmsError)
        # Who keeps a field is what its text is for.
        if not isinstance(error, KmsError | errors.ForeignOwnerError):
            assert "1234" not in answer.message


def test_every_branch_of_the_error_tree_has_a_row():
    branches = {kind for kind in ERRORS if kind.__base__ is KeysteadError} - {KmsError}
    assert branches <= set(FAULTS)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.ForeignOwnerError("x"), "KMSInvalidStateException"),
        (errors.ConflictError("x"), "ThrottlingException"),
        (errors.RefusedError("x"), "ValidationException"),
        (errors.NotFoundError("x"), "KMSInternalException"),
        (errors.ForbiddenError("x"), "KMSInternalException"),
        (errors.StoreUnavailableError("x"), "KMSInternalException"),
    ],
)
def test_what_a_writer_meets_has_an_answer(error, code):
    assert public_error(error).code == code


def test_who_keeps_a_field_is_named():
    assert public_error(errors.ForeignOwnerError("spec.tags belongs to kubectl")).message == "spec.tags belongs to kubectl"


def test_an_error_nobody_knows_is_internal():
    assert isinstance(public_error(KeysteadError("x")), KmsInternalError)
