"""The table of what is written down is total: over all operations, over all members of their requests."""

from __future__ import annotations

import dataclasses

import pytest
from tests.audit.events import a_request, a_response

from keystead.app.frontdoor import SERVED
from keystead.audit.table import DURABLE, TABLE, camel, members_of
from keystead.operations.control.registry import CONTROL

operations = pytest.mark.parametrize("operation", sorted(SERVED))
# AWS: readOnly is false for what changes something. Lists and what shows something change nothing.
_SHOWS = ("List", "Get")


def test_every_operation_has_a_row_and_no_row_is_of_none():
    assert sorted(TABLE) == sorted(SERVED)


@operations
def test_every_member_of_a_request_is_written_or_never_written(operation):
    row = TABLE[operation]
    members = {each.name for each in dataclasses.fields(SERVED[operation].request)}
    kept = set(row.kept.values())
    assert not kept & row.never
    assert kept | row.never == members


@operations
def test_no_member_that_holds_bytes_or_a_token_is_written(operation):
    kinds = {each.name: str(each.type) for each in dataclasses.fields(SERVED[operation].request)}
    kept = TABLE[operation].kept.values()
    assert [name for name in kept if "bytes" in kinds[name] or "object" in kinds[name] or "token" in name or "marker" in name] == []


@operations
def test_members_are_written_in_camel_case_as_aws_does(operation):
    members = members_of(TABLE[operation])(a_request(operation))
    assert set(members) == set(TABLE[operation].kept)
    for wire, name in TABLE[operation].kept.items():
        assert wire == camel(name)
        assert wire[0].islower()


@operations
def test_what_changes_something_is_not_read_only_and_is_durable(operation):
    changes = operation in CONTROL and not operation.startswith(_SHOWS)
    assert TABLE[operation].read_only is not changes
    assert not changes or operation in DURABLE


def test_what_is_durable_besides_changes_is_what_can_be_used_without_keystead_or_is_believed_by_others():
    changes = {operation for operation, row in TABLE.items() if not row.read_only}
    assert DURABLE - changes == {
        "Decrypt",
        "ReEncrypt",
        "GenerateDataKey",
        "GenerateDataKeyWithoutPlaintext",
        "GenerateDataKeyPair",
        "GenerateDataKeyPairWithoutPlaintext",
        "GenerateMac",
        "Sign",
        "DeriveSharedSecret",
    }


@operations
def test_the_answer_of_what_only_reads_is_null_and_of_a_change_names_the_key(operation):
    row, arn = TABLE[operation], "arn:aws:kms:cluster-1:111122223333:key/k"
    answer = row.answer(a_response(operation), arn)
    if row.read_only:
        assert answer is None
    elif operation == "CreateKey":
        assert set(answer) == {"keyMetadata"}
        assert "aWSAccountId" in answer["keyMetadata"]
    else:
        assert answer["keyId"] == arn


def test_a_grants_answer_has_its_id_and_never_its_token():
    assert TABLE["CreateGrant"].answer(a_response("CreateGrant"), "arn") == {"grantId": "a grant_id", "keyId": "arn"}


def test_what_was_not_sent_is_not_written():
    request = a_request("GenerateDataKey", number_of_bytes=None, dry_run=False, encryption_context=None)
    assert set(members_of(TABLE["GenerateDataKey"])(request)) == {"keyId", "keySpec"}
