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
    check_lockout,
    parse_policy,
)
from keystead.operations.control.state import DisableKeyRequest
from keystead.operations.describe import DescribeKeyRequest
from keystead.operations.encryption import EncryptRequest
from keystead.policy import compile_policy, root_caller

OWN = {"Version": "2012-10-17", "Statement": [{"Effect": "Deny", "Principal": "*", "Action": "kms:*", "Resource": "*"}]}


def refusal(desk, request, **how) -> KmsError:
    with pytest.raises(KmsError) as caught:
        desk.call(request, **how)
    return caught.value


def policy(desk, key):
    return json.loads(desk.call(GetKeyPolicyRequest(key_id=key.key_id)).policy)


def put(desk, key, document, caller=None, **members):
    desk.call(PutKeyPolicyRequest(key_id=key.key_id, policy=json.dumps(document), **members), caller=caller)


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
    document = a_policy(allow(desk.account, "kms:*"), allow(desk.app.principal, "kms:Encrypt"))
    put(desk, key, document, policy_name="default")
    assert policy(desk, key) == document
    (change,) = desk.changes
    assert change.narrows


def allow(principal, *actions, effect="Allow", **members):
    return {"Effect": effect, "Principal": {"AWS": principal}, "Action": list(actions), "Resource": "*", **members}


def a_policy(*statements):
    return {"Version": "2012-10-17", "Statement": list(statements)}


def test_a_key_is_served_by_its_own_policy(desk):
    key = desk.apply("k")
    put(desk, key, a_policy(allow(desk.app.principal, "kms:Encrypt"), allow(desk.account, "kms:*Policy")))
    desk.rbac.answer = False
    desk.call(EncryptRequest(key_id=key.key_id, plaintext=b"x"))
    assert desk.rbac.asked[1:] == []
    error = refusal(desk, DescribeKeyRequest(key_id=key.key_id))
    assert error.message.endswith("because no resource-based policy allows the kms:DescribeKey action")
    assert refusal(desk, DisableKeyRequest(key_id=key.key_id), caller=desk.root).code == "AccessDeniedException"
    put(desk, key, default(desk), caller=desk.root)
    desk.call(DisableKeyRequest(key_id=key.key_id), caller=desk.root)


def test_an_explicit_deny_is_told_as_one(desk):
    key = desk.apply("k")
    put(desk, key, a_policy(allow(desk.account, "kms:*"), allow("*", "kms:Encrypt", effect="Deny")))
    error = refusal(desk, EncryptRequest(key_id=key.key_id, plaintext=b"x"), caller=desk.root)
    assert error.message.endswith("with an explicit deny in a resource-based policy")


def test_a_policy_that_locks_its_author_out_is_refused_unless_it_asks_to(desk):
    key = desk.apply("k")
    error = refusal(desk, PutKeyPolicyRequest(key_id=key.key_id, policy=json.dumps(OWN)))
    assert (error.code, error.message) == (
        "MalformedPolicyDocumentException",
        "The new key policy will not allow you to update the key policy in the future. "
        'Statement "Statement[0]" of the new policy denies it.',
    )
    assert desk.changes == []
    put(desk, key, OWN, bypass_policy_lockout_safety_check=True)
    assert desk.body("k")["metadata"]["annotations"] == {"kms.keystead.io/bypass-policy-lockout-safety-check": "true"}
    for caller in (desk.app, desk.root):
        assert refusal(desk, GetKeyPolicyRequest(key_id=key.key_id), caller=caller).code == "AccessDeniedException"


def test_a_check_that_is_not_bypassed_is_false_where_it_is_said_and_absent_where_it_is_not(desk):
    # AWS KMS, kms:BypassPolicyLockoutSafetyCheck: Null allows "only when the request does not include" it
    key = desk.apply("k")
    unsaid = {"Null": {"kms:BypassPolicyLockoutSafetyCheck": "true"}}
    document = a_policy(allow(desk.account, "kms:*Policy", Condition=unsaid))
    put(desk, key, document)
    request = PutKeyPolicyRequest(key_id=key.key_id, policy=json.dumps(document), bypass_policy_lockout_safety_check=False)
    assert refusal(desk, request).code == "AccessDeniedException"
    said = {"Bool": {"kms:BypassPolicyLockoutSafetyCheck": "false"}}
    document = a_policy(allow(desk.account, "kms:*Policy", Condition=said))
    told = refusal(desk, PutKeyPolicyRequest(key_id=key.key_id, policy=json.dumps(document))).message
    assert told.endswith('The conditions of statement "Statement[0]" of the new policy do not hold for this request.')


def test_the_lockout_check_knows_the_conditions_of_this_very_call(desk):
    key = desk.apply("k")
    met = {"StringEquals": {"kms:KeySpec": "SYMMETRIC_DEFAULT"}}
    unmet = {"StringEquals": {"kms:KeySpec": "RSA_2048"}}
    put(desk, key, a_policy(allow(desk.account, "kms:*", Condition=met)))
    document = json.dumps(a_policy(allow(desk.account, "kms:*", Condition=unmet)))
    told = refusal(desk, PutKeyPolicyRequest(key_id=key.key_id, policy=document)).message
    assert told.endswith('in the future. The conditions of statement "Statement[0]" of the new policy do not hold for this request.')


def test_a_caller_of_another_account_is_told_nothing_of_the_policy(desk):
    compiled = compile_policy(json.dumps(OWN), f"arn:aws:kms:r:{desk.account}:key/k")
    with pytest.raises(KmsError) as caught:
        check_lockout(compiled, root_caller("444455556666", "there"), desk.account)
    assert caught.value.message == "The new key policy will not allow you to update the key policy in the future."


def test_a_deny_that_locks_its_author_out_is_named(desk):
    key = desk.apply("k")
    document = a_policy(allow(desk.account, "kms:*"), allow("*", "kms:Put*", effect="Deny", Sid="tls"))
    told = refusal(desk, PutKeyPolicyRequest(key_id=key.key_id, policy=json.dumps(document))).message
    assert told.endswith('in the future. Statement "tls" of the new policy denies it.')


@pytest.mark.parametrize("name", ["role/KeyAdmin", "role/a_b"])
@pytest.mark.parametrize("effect", ["Allow", "Deny"])
def test_a_policy_that_names_whom_nobody_can_be_is_not_put_and_one_that_stands_is_served(desk, name, effect):
    desk.apply("k")
    statement = allow(f"arn:aws:iam::{desk.account}:{name}", "kms:Sign", effect=effect)
    document = a_policy(allow(desk.account, "kms:*"), statement)
    key = desk.rewrite("k", policy=json.dumps(document).encode())
    error = refusal(desk, PutKeyPolicyRequest(key_id=key.key_id, policy=json.dumps(document)))
    assert error.message.startswith("Statement[1].Principal.AWS: Policy contains a statement with one or more invalid principals")
    assert desk.changes == []
    desk.call(EncryptRequest(key_id=key.key_id, plaintext=b"x"))


def test_a_policy_from_before_they_were_read_serves_nobody_and_can_be_replaced_by_the_account(desk):
    desk.apply("k")
    key = desk.rewrite("k", policy=b'{"Statement":[{"x":1}]}')
    assert refusal(desk, EncryptRequest(key_id=key.key_id, plaintext=b"x"), caller=desk.root).code == "AccessDeniedException"
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
        json.dumps({f"m{n}": 1 for n in range(17)}),
        "{}",
        '{"Id": null, "Statement": []}',
        '{"Statement": [{"Condition": {}}]}',
    ],
)
def test_what_is_no_policy_is_malformed_and_never_written(desk, text):
    key = desk.apply("k")
    error = refusal(desk, PutKeyPolicyRequest(key_id=key.key_id, policy=text))
    assert error.code == "MalformedPolicyDocumentException"
    assert desk.changes == []


def test_a_policy_that_is_too_long_is_over_a_limit_as_at_aws(desk):
    key = desk.apply("k")
    error = refusal(desk, PutKeyPolicyRequest(key_id=key.key_id, policy=json.dumps({"a": "x" * MAX_POLICY})))
    assert error.code == "LimitExceededException"
    assert desk.changes == []


def test_text_that_grows_over_the_limit_in_a_record_is_malformed():
    text = json.dumps({"a": "\u00e9" * (MAX_POLICY // 4)}, ensure_ascii=False)
    assert len(text.encode()) < MAX_POLICY
    with pytest.raises(KmsError) as caught:
        parse_policy(text)
    assert caught.value.code == "MalformedPolicyDocumentException"


def test_numbers_that_json_keeps_are_taken():
    assert parse_policy('{"a": [1, 1.5, true, null]}') == {"a": [1, 1.5, True, None]}


def test_a_policy_is_stored_as_it_was_sent(desk):
    key = desk.apply("k")
    condition = {"NumericEquals": {"aws:EpochTime": 1.5}, "Bool": {"kms:MultiRegion": False}}
    statement = allow(desk.account, "kms:Sign", Condition=condition, Sid="\u00e9\u00ff")
    document = {"Id": "", "Statement": [statement, allow(desk.account, "kms:*Policy")]}
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
