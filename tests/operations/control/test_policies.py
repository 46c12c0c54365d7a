"""GetKeyPolicy, PutKeyPolicy, ListKeyPolicies."""

from __future__ import annotations

import json

import pytest

from keystead.engine.identifiers import root_arn
from keystead.engine.plan.key_settings import MAX_POLICY, MAX_POLICY_DEPTH
from keystead.errors import KmsError
from keystead.operations.control.policies import (
    GetKeyPolicyRequest,
    ListKeyPoliciesRequest,
    PutKeyPolicyRequest,
    parse_policy,
)
from keystead.operations.control.state import DisableKeyRequest
from keystead.operations.describe import DescribeKeyRequest
from keystead.operations.encryption import EncryptRequest

OWN = {"Version": "2012-10-17", "Statement": [{"Effect": "Deny", "Principal": "*", "Action": "kms:*", "Resource": "*"}]}


def refusal(desk, request, **how) -> KmsError:
    with pytest.raises(KmsError) as caught:
        desk.call(request, **how)
    return caught.value


def policy(desk, key):
    return json.loads(desk.call(GetKeyPolicyRequest(key_id=key.key_id)).policy)


def put(desk, key, document, **members):
    desk.call(PutKeyPolicyRequest(key_id=key.key_id, policy=json.dumps(document), **members))


def default(desk):
    statement = {
        "Sid": "Enable IAM User Permissions",
        "Effect": "Allow",
        "Principal": {"AWS": root_arn(desk.account)},
        "Action": "kms:*",
        "Resource": "*",
    }
    return {"Version": "2012-10-17", "Id": "key-default-1", "Statement": [statement]}


@pytest.mark.parametrize("name", [None, "default"])
def test_a_key_without_a_policy_of_its_own_has_the_default_one(desk, name):
    key = desk.apply("k")
    answer = desk.call(GetKeyPolicyRequest(key_id=key.key_id, policy_name=name))
    assert json.loads(answer.policy) == default(desk)
    assert answer.policy == json.dumps(default(desk), sort_keys=True, separators=(",", ":"))
    assert answer.policy_name == "default"


def test_a_policy_is_put_and_shown(desk):
    key = desk.apply("k")
    put(desk, key, OWN, policy_name="default", bypass_policy_lockout_safety_check=True)
    assert policy(desk, key) == OWN
    (change,) = desk.changes
    assert change.narrows


def test_a_key_with_a_policy_of_its_own_serves_nobody_until_the_default_one_is_put_back(desk):
    key = desk.apply("k")
    put(desk, key, OWN)
    use = EncryptRequest(key_id=key.key_id, plaintext=b"x")
    for caller in (desk.app, desk.root):
        assert refusal(desk, use, caller=caller).code == "AccessDeniedException"
        assert refusal(desk, DisableKeyRequest(key_id=key.key_id), caller=caller).code == "AccessDeniedException"
    assert desk.call(DescribeKeyRequest(key_id=key.key_id)).key_metadata.key_id == key.key_id
    put(desk, key, default(desk))
    desk.call(use)


def test_the_policy_of_a_closed_key_is_shown_and_changed_by_who_may(desk):
    key = desk.apply("k", policy=OWN)
    desk.rbac.answer = False
    assert refusal(desk, GetKeyPolicyRequest(key_id=key.key_id)).code == "AccessDeniedException"
    request = PutKeyPolicyRequest(key_id=key.key_id, policy=json.dumps(default(desk)))
    assert refusal(desk, request).code == "AccessDeniedException"
    assert [review.verb for review in desk.rbac.asked] == ["getkeypolicy", "putkeypolicy"]
    desk.call(request, caller=desk.root)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "null",
        '"x"',
        "1",
        "{} {}",
        '{"a": 1, "a": 2}',
        '{"Statement": [{"x": 1, "x": 1}]}',
        '{"a": NaN}',
        '{"a": Infinity}',
        '{"a": 1e999}',
        '{"a": 9007199254740993}',
        '{"a": ' + "1" * 5000 + "}",
        '{"a": ' * (MAX_POLICY_DEPTH + 1) + "1" + "}" * (MAX_POLICY_DEPTH + 1),
        '{"a": ' + "[" * 3000 + "]" * 3000 + "}",
        json.dumps({"a": "x" * MAX_POLICY}),
        json.dumps({f"m{n}": 1 for n in range(17)}),
    ],
)
def test_what_is_no_policy_is_malformed_and_never_written(desk, text):
    key = desk.apply("k")
    error = refusal(desk, PutKeyPolicyRequest(key_id=key.key_id, policy=text))
    assert error.code == "MalformedPolicyDocumentException"
    assert desk.changes == []


def test_text_that_grows_over_the_limit_in_a_record_is_malformed():
    text = json.dumps({"a": "\u00e9" * (MAX_POLICY // 4)}, ensure_ascii=False)
    assert len(text.encode()) < MAX_POLICY
    with pytest.raises(KmsError) as caught:
        parse_policy(text)
    assert caught.value.code == "MalformedPolicyDocumentException"


def test_numbers_that_json_keeps_are_taken():
    assert parse_policy('{"a": [1, 1.5, true, null]}') == {"a": [1, 1.5, True, None]}


@pytest.mark.parametrize("document", [{}, {"Statement": [{"Condition": {"NumericEquals": {"a": 1.5}}}]}, {"Id": "\u00e9\u00ff"}])
def test_a_policy_is_stored_as_it_was_sent(desk, document):
    key = desk.apply("k")
    put(desk, key, document)
    assert policy(desk, key) == document


@pytest.mark.parametrize("name", ["other", "Default"])
def test_there_is_no_other_policy_than_default(desk, name):
    key = desk.apply("k")
    for request in (
        GetKeyPolicyRequest(key_id=key.key_id, policy_name=name),
        PutKeyPolicyRequest(key_id=key.key_id, policy_name=name, policy="{}"),
    ):
        error = refusal(desk, request)
        assert (error.code, error.message) == ("NotFoundException", "No such policy exists")


def test_policies_are_listed(desk):
    key = desk.apply("k")
    answer = desk.call(ListKeyPoliciesRequest(key_id=key.key_id, limit=1))
    assert (answer.policy_names, answer.truncated, answer.next_marker) == (("default",), False, None)


def test_a_policy_with_a_null_in_it_is_stored_as_it_was_sent(desk):
    key = desk.apply("k")
    put(desk, key, {"Id": None, "Statement": []})
    assert policy(desk, key) == {"Id": None, "Statement": []}
