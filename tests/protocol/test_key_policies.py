"""Key policies through boto3: whom a policy lets in, what a refusal says, what PutKeyPolicy and CreateKey refuse, and the ways around that.

`keystead dev` knows no RBAC: a ServiceAccount has what a policy or a grant gives it, and the root of an account has what the policy leaves
to the account. The tables of the evaluator are in tests/policy; RBAC beside a policy is in tests/serving.
"""

from __future__ import annotations

import json
from typing import Any

import pytest
from tests.protocol.harness import House, refused, role

pytestmark = pytest.mark.token
DENIED, MALFORMED = "AccessDeniedException", "MalformedPolicyDocumentException"
LOCKED_OUT = "The new key policy will not allow you to update the key policy in the future."
MOST = 32768
RED, BLUE = {"team": "red"}, {"team": "blue"}


def says(principal: Any, action: str | list[str], effect: str = "Allow", **members: Any) -> dict[str, Any]:
    return {"Effect": effect, "Principal": {"AWS": principal}, "Action": action, "Resource": "*", **members}


def policy(house: House, *statements: dict[str, Any]) -> str:
    """What leaves the key to the account, and more."""
    return json.dumps({"Version": "2012-10-17", "Statement": [says(house.first.root, "kms:*"), *statements]})


def code(call: Any, **members: Any) -> str:
    try:
        call(**members)
    except call.__self__.exceptions.ClientError as error:
        return str(error.response["Error"]["Code"])
    return ""


@pytest.fixture(scope="module")
def reader(house: House) -> Any:
    """boto3 of a ServiceAccount that nothing but policies lets in."""
    return house.client(house.workload("reader"))


@pytest.fixture(scope="module")
def stranger(house: House) -> Any:
    """Another one, that no policy names."""
    return house.client(house.workload("stranger"))


def test_whom_a_policy_names_may_what_it_says_under_its_condition_and_no_more(house, kms, reader, stranger):
    key = house.fresh()
    assert code(reader.encrypt, KeyId=key, Plaintext=b"x", EncryptionContext=RED) == DENIED
    only = {"StringEquals": {"kms:EncryptionContext:team": "red"}}
    kms.put_key_policy(KeyId=key, Policy=policy(house, says(role(house.first, "reader"), ["kms:Encrypt", "kms:Decrypt"], Condition=only)))
    blob = reader.encrypt(KeyId=key, Plaintext=b"x", EncryptionContext=RED)["CiphertextBlob"]
    assert reader.decrypt(CiphertextBlob=blob, EncryptionContext=RED)["Plaintext"] == b"x"
    assert code(reader.encrypt, KeyId=key, Plaintext=b"x", EncryptionContext=BLUE) == DENIED
    assert code(reader.encrypt, KeyId=key, Plaintext=b"x") == DENIED
    assert code(reader.generate_data_key, KeyId=key, KeySpec="AES_256", EncryptionContext=RED) == DENIED
    assert code(stranger.encrypt, KeyId=key, Plaintext=b"x", EncryptionContext=RED) == DENIED
    assert code(kms.encrypt, KeyId=key, Plaintext=b"x", EncryptionContext=BLUE) == ""
    kms.put_key_policy(KeyId=key, Policy=policy(house))
    assert code(reader.encrypt, KeyId=key, Plaintext=b"x", EncryptionContext=RED) == DENIED


def test_a_refusal_says_in_awss_words_whether_a_statement_denied_it(house, kms, reader):
    key, arn = house.fresh(), f"arn:aws:sts::{house.first.id}:assumed-role/reader/protocol"
    start = f"User: {arn} is not authorized to perform: kms:Encrypt on resource: {key} "
    told = refused(reader.encrypt, KeyId=key, Plaintext=b"x")
    assert told.message == f"{start}because no resource-based policy allows the kms:Encrypt action"
    reader_role = role(house.first, "reader")
    kms.put_key_policy(KeyId=key, Policy=policy(house, says(reader_role, "kms:*"), says(reader_role, "kms:Enc*", "Deny")))
    told = refused(reader.encrypt, KeyId=key, Plaintext=b"x")
    assert (told.code, told.message) == (DENIED, f"{start}with an explicit deny in a resource-based policy")
    assert code(reader.generate_data_key, KeyId=key, KeySpec="AES_256") == ""


def test_a_deny_reaches_the_root_of_the_account_and_who_has_a_grant(house, kms, reader):
    key = house.fresh()
    kms.create_grant(KeyId=key, GranteePrincipal=role(house.first, "reader"), Operations=["Encrypt", "Decrypt"])
    assert code(reader.encrypt, KeyId=key, Plaintext=b"x") == ""
    kms.put_key_policy(KeyId=key, Policy=policy(house, says("*", "kms:Encrypt", "Deny")))
    assert [code(who.encrypt, KeyId=key, Plaintext=b"x") for who in (reader, kms)] == [DENIED, DENIED]


def test_a_key_with_a_policy_has_grants_beside_it(house, kms, reader, stranger):
    key = house.fresh()
    kms.put_key_policy(KeyId=key, Policy=policy(house, says(role(house.first, "reader"), "kms:DescribeKey")))
    kms.create_grant(KeyId=key, GranteePrincipal=role(house.first, "stranger"), Operations=["Encrypt"])
    assert code(stranger.encrypt, KeyId=key, Plaintext=b"x") == ""
    assert code(reader.encrypt, KeyId=key, Plaintext=b"x") == DENIED


def test_another_account_uses_a_key_whose_policy_names_it(house, kms, other):
    key = house.fresh()
    nowhere = refused(other.encrypt, KeyId=key[:-12] + "0" * 12, Plaintext=b"x").message
    assert refused(other.encrypt, KeyId=key, Plaintext=b"x").message == nowhere
    kms.put_key_policy(KeyId=key, Policy=policy(house, says(house.second.root, ["kms:Encrypt", "kms:DisableKey"])))
    assert code(other.encrypt, KeyId=key, Plaintext=b"x") == ""
    assert code(other.disable_key, KeyId=key) == DENIED  # not lent by AWS, whatever a policy says


def test_reencrypt_is_two_actions_each_on_its_own_key(house, kms, reader):
    source, target = house.fresh(), house.fresh()
    blob = kms.encrypt(KeyId=source, Plaintext=b"x")["CiphertextBlob"]
    asked = {"CiphertextBlob": blob, "DestinationKeyId": target}
    for first, second, expected in (("From", "From", DENIED), ("To", "To", DENIED), ("To", "From", DENIED), ("From", "To", "")):
        for key, half in ((source, first), (target, second)):
            kms.put_key_policy(KeyId=key, Policy=policy(house, says(role(house.first, "reader"), f"kms:ReEncrypt{half}")))
        assert code(reader.re_encrypt, **asked) == expected, (first, second)


def test_a_policy_is_shown_as_it_was_sent_and_the_default_one_in_full(house, kms):
    key = house.fresh()
    default = kms.get_key_policy(KeyId=key)["Policy"]
    assert json.loads(default)["Statement"][0]["Principal"] == {"AWS": house.first.root}
    own = policy(house, says("*", "kms:Sign", "Deny"))
    kms.put_key_policy(KeyId=key, Policy=own)
    assert json.loads(kms.get_key_policy(KeyId=key)["Policy"]) == json.loads(own)
    assert kms.list_key_policies(KeyId=key)["PolicyNames"] == ["default"]
    kms.put_key_policy(KeyId=key, Policy=default)
    assert code(kms.create_key, Policy=default) == ""


# -- the lock-out check


def test_who_would_lock_himself_out_must_say_so(house, kms):
    key, only = house.fresh(), json.dumps({"Version": "2012-10-17", "Statement": [says(role(house.first, "reader"), "kms:*")]})
    for call, members in ((kms.put_key_policy, {"KeyId": key}), (kms.create_key, {})):
        told = refused(call, Policy=only, **members)
        assert (told.status, told.code) == (400, MALFORMED)
        assert told.message.startswith(f"{LOCKED_OUT} No statement of the new policy allows kms:PutKeyPolicy to ")
        assert refused(call, Policy=only, BypassPolicyLockoutSafetyCheck=False, **members).code == MALFORMED
    assert code(kms.encrypt, KeyId=key, Plaintext=b"x") == ""
    kms.put_key_policy(KeyId=key, Policy=only, BypassPolicyLockoutSafetyCheck=True)
    assert code(kms.encrypt, KeyId=key, Plaintext=b"x") == DENIED
    assert code(kms.put_key_policy, KeyId=key, Policy=policy(house)) == DENIED
    made = kms.create_key(Policy=only, BypassPolicyLockoutSafetyCheck=True)["KeyMetadata"]["Arn"]
    assert code(kms.describe_key, KeyId=made) == DENIED


def test_a_policy_can_forbid_the_bypass(house, kms):
    flag = {"Bool": {"kms:BypassPolicyLockoutSafetyCheck": "true"}}
    guarded = policy(house, says("*", "kms:PutKeyPolicy", "Deny", Condition=flag))
    key = kms.create_key(Policy=guarded)["KeyMetadata"]["Arn"]
    assert code(kms.put_key_policy, KeyId=key, Policy=guarded, BypassPolicyLockoutSafetyCheck=True) == DENIED
    assert code(kms.put_key_policy, KeyId=key, Policy=policy(house)) == ""


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ({"Bool": {"aws:SecureTransport": "true"}}, ""),  # this endpoint is plain HTTP
        ({"Bool": {"aws:SecureTransport": "false"}}, MALFORMED),
        ({"NotIpAddress": {"aws:SourceIp": ["127.0.0.0/8", "::1/128"]}}, ""),
        ({"NotIpAddress": {"aws:SourceIp": "10.0.0.0/8"}}, MALFORMED),
        ({"StringEquals": {"kms:KeySpec": "RSA_2048"}}, ""),
        ({"StringEquals": {"kms:KeySpec": "SYMMETRIC_DEFAULT"}}, MALFORMED),
        ({"StringEquals": {"aws:ResourceTag/team": "red"}}, MALFORMED),
        ({"StringEquals": {"aws:ResourceTag/team": "blue"}}, ""),
    ],
    ids=str,
)
def test_a_deny_locks_out_whose_very_call_it_is_about_when_a_key_is_made_and_when_its_policy_is_put(house, kms, condition, expected):
    guarded, tags = policy(house, says("*", "kms:*", "Deny", Condition=condition)), [{"TagKey": "team", "TagValue": "red"}]
    key = kms.create_key(Tags=tags)["KeyMetadata"]["Arn"]
    assert code(kms.create_key, Policy=guarded, Tags=tags) == expected
    assert code(kms.put_key_policy, KeyId=key, Policy=guarded) == expected


# -- what is no policy


@pytest.mark.parametrize("text", ["{", "[]", '{"a": 1, "a": 2}', '{"a": NaN}', '"x"'])
def test_a_text_that_is_no_policy_is_refused(house, kms, text):
    for call, members in ((kms.put_key_policy, {"KeyId": house.key()}), (kms.create_key, {})):
        assert refused(call, Policy=text, **members).code == MALFORMED


def where(key: str, value: Any = "x", operator: str = "StringEquals") -> dict[str, Any]:
    return says("*", "kms:Encrypt", Condition={operator: {key: value}})


@pytest.mark.parametrize(
    ("statement", "place", "words"),
    [
        (where("aws:PrincipalOrgID"), "Statement[1].Condition.StringEquals", "aws:PrincipalOrgID is not implemented"),
        (where("kms:Nothing"), "Statement[1].Condition.StringEquals", "kms:Nothing is not implemented"),
        (where("kms:KeySpec", operator="StringMatches"), "Statement[1].Condition.StringMatches", "StringMatches is not implemented"),
        (where("kms:CallerAccount", operator="ForAllValues:StringEquals"), "Statement[1].Condition", "OverlyPermissiveCondition"),
        (says("arn:aws:iam::1:role/x", "kms:*"), "Statement[1].Principal.AWS", "one or more invalid principals"),
        (says("*", "kms:NoSuchAction"), "Statement[1].Action", "NoSuchAction"),
        (says("*", "s3:GetObject"), "Statement[1].Action", "s3:GetObject"),
        ({"Effect": "Maybe", "Principal": "*", "Action": "kms:*", "Resource": "*"}, "Statement[1].Effect", ""),
        ({"Effect": "Allow", "Action": "kms:*", "Resource": "*"}, "Statement[1]", "Principal"),
        ({**says("*", "kms:*"), "Else": 1}, "Statement[1].Else", ""),
    ],
)
def test_what_is_wrong_with_a_policy_is_told_with_its_place(house, kms, statement, place, words):
    key = house.key()
    for call, members in ((kms.put_key_policy, {"KeyId": key}), (kms.create_key, {})):
        told = refused(call, Policy=policy(house, statement), **members)
        assert (told.status, told.code) == (400, MALFORMED)
        assert place in told.message and words in told.message


def test_a_policy_has_32_kilobytes_at_most(house, kms):
    def sized(length: int) -> str:
        document = json.loads(policy(house)) | {"Id": ""}
        return json.dumps(document | {"Id": "x" * (length - len(json.dumps(document)))})

    key = house.fresh()
    assert code(kms.put_key_policy, KeyId=key, Policy=sized(MOST)) == ""
    assert len(kms.get_key_policy(KeyId=key)["Policy"]) <= MOST
    for call, members in ((kms.put_key_policy, {"KeyId": key}), (kms.create_key, {})):
        assert refused(call, Policy=sized(MOST + 1), **members).code == "LimitExceededException"
