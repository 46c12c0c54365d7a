"""A key policy other than the default one is stored, not enforced yet: such a key answers AccessDenied to all but what opens it again."""

from __future__ import annotations

import json

import pytest
from botocore import xform_name
from tests.protocol.harness import House, refused
from tests.protocol.test_key_states import NO_KEY, Case
from tests.server.cases import SERVED

pytestmark = pytest.mark.token
OPEN = {"DescribeKey", "GetKeyPolicy", "PutKeyPolicy"}
# They ask for aliases, not for the key; and DeleteAlias asks for the right on both.
LISTS = {"ListAliases"}


def wide_open(house: House) -> str:
    """What would let everybody in, were it enforced."""
    statement = {"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": "kms:*", "Resource": "*"}
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


def default(kms, key: str) -> str:
    policy: str = kms.get_key_policy(KeyId=key)["Policy"]
    return policy


@pytest.mark.parametrize("operation", sorted(SERVED.keys() - NO_KEY - OPEN - LISTS))
def test_such_a_key_serves_nobody(house, kms, operation):
    case = Case(house, operation)
    kms.put_key_policy(KeyId=case.arn, Policy=wide_open(house))
    assert refused(getattr(kms, xform_name(operation)), **case.members).code == "AccessDeniedException"


def test_such_a_key_is_described_and_opened_again(house, kms):
    key = house.fresh()
    blob = kms.encrypt(KeyId=key, Plaintext=b"x")["CiphertextBlob"]
    before = default(kms, key)
    kms.put_key_policy(KeyId=key, Policy=wide_open(house))
    assert kms.describe_key(KeyId=key)["KeyMetadata"]["KeyState"] == "Enabled"
    assert json.loads(default(kms, key)) == json.loads(wide_open(house))
    assert refused(kms.decrypt, CiphertextBlob=blob).code == "AccessDeniedException"
    kms.put_key_policy(KeyId=key, Policy=before)
    assert kms.decrypt(CiphertextBlob=blob)["Plaintext"] == b"x"


def test_a_key_that_is_made_with_such_a_policy_serves_nobody_from_the_start(house, kms, other):
    key = kms.create_key(Policy=wide_open(house))["KeyMetadata"]["Arn"]
    assert refused(kms.encrypt, KeyId=key, Plaintext=b"x").code == "AccessDeniedException"
    assert refused(other.encrypt, KeyId=key, Plaintext=b"x").code == "AccessDeniedException"
    assert refused(house.client(house.workload("anybody")).encrypt, KeyId=key, Plaintext=b"x").code == "AccessDeniedException"


def test_the_default_policy_given_in_full_is_the_default_policy(house, kms):
    key = kms.create_key(Policy=default(kms, house.key()))["KeyMetadata"]["Arn"]
    assert kms.encrypt(KeyId=key, Plaintext=b"x")["CiphertextBlob"]
    statement = json.loads(default(kms, key))["Statement"]
    assert statement[0]["Principal"] == {"AWS": house.first.root}


def test_a_grant_does_not_open_such_a_key(house, kms):
    key, app = house.fresh(), house.client(house.workload("granted"))
    kms.create_grant(KeyId=key, GranteePrincipal=f"arn:aws:iam::{house.first.id}:role/granted", Operations=["Encrypt"])
    assert app.encrypt(KeyId=key, Plaintext=b"x")["CiphertextBlob"]
    kms.put_key_policy(KeyId=key, Policy=wide_open(house))
    assert refused(app.encrypt, KeyId=key, Plaintext=b"x").code == "AccessDeniedException"


@pytest.mark.parametrize("policy", ["{", "[]", '{"a": 1, "a": 2}', '{"a": NaN}', '"x"'])
def test_a_policy_that_is_none_is_refused(house, kms, policy):
    assert refused(kms.put_key_policy, KeyId=house.key(), Policy=policy).code == "MalformedPolicyDocumentException"
    assert refused(kms.create_key, Policy=policy).code == "MalformedPolicyDocumentException"


def test_a_policy_has_32_kilobytes_at_most(house, kms):
    big = json.dumps({"Version": "2012-10-17", "Statement": [], "Id": "x" * 32768})
    assert refused(kms.create_key, Policy=big).code in ("MalformedPolicyDocumentException", "ValidationException")
