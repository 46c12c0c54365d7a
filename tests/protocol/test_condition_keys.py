"""Every condition key, through HTTP: a policy whose only statement for the caller has it lets the call in, and another value does not.

The values that requests of every shape give a key are in tests/policy/test_condition_values.py. Here the request is a real one, as clients
send it and as the service model decodes it: a member that comes in another form than the evaluator expects would close the key, or open it.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from tests.protocol.harness import Account, House, code_of, role

from keystead.policy.conditionkeys import KEYS, NAMED

pytestmark = pytest.mark.token
DENIED = "AccessDeniedException"
SERVICE = "datakeys.kms.keystead.io"
X = base64.b64encode(b"x").decode()
SIGN, MAC, AGREE = ("ECC_NIST_P256", "SIGN_VERIFY"), ("HMAC_256", "GENERATE_VERIFY_MAC"), ("ECC_NIST_P256", "KEY_AGREEMENT")
RSA = ("RSA_2048", "ENCRYPT_DECRYPT")
Members = dict[str, Any] | Callable[["Stage"], dict[str, Any]]


@dataclass(frozen=True)
class Stage:
    """A key of a row's own, and who calls."""

    house: House
    key: str
    statement: dict[str, Any] = field(default_factory=dict)

    @property
    def account(self) -> str:
        return self.house.first.id

    def blob(self, **members: Any) -> str:
        """Sealed under the key by the root of its account."""
        answer = self.house.call("Encrypt", {"KeyId": self.key, "Plaintext": X, **members})
        return str(json.loads(answer.body)["CiphertextBlob"])


def peer(_: Stage) -> dict[str, Any]:
    public = ec.generate_private_key(ec.SECP256R1()).public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return {"KeyAgreementAlgorithm": "ECDH", "PublicKey": base64.b64encode(public).decode()}


def to_self(stage: Stage) -> dict[str, Any]:
    return {"KeyId": None, "CiphertextBlob": stage.blob(), "DestinationKeyId": stage.key}


def a_grant(stage: Stage, **more: Any) -> dict[str, Any]:
    return {"GranteePrincipal": role(stage.house.first, "grantee"), "Operations": ["Decrypt", "Encrypt"], **more}


def to_service(stage: Stage) -> dict[str, Any]:
    principals = {"GranteeServicePrincipal": SERVICE, "RetiringServicePrincipal": SERVICE}
    return {**principals, "Operations": ["Decrypt"], "Constraints": {"SourceArn": source(stage)}}


def source(stage: Stage) -> str:
    return f"arn:aws:kms:eu-central-1:{stage.account}:datakey/app"


def by_alias(stage: Stage) -> dict[str, Any]:
    name = f"alias/condition-{stage.key[-12:]}"
    stage.house.call("CreateAlias", {"AliasName": name, "TargetKeyId": stage.key})
    return {"KeyId": name, "Plaintext": X}


def put_again(stage: Stage) -> dict[str, Any]:
    root = {"Effect": "Allow", "Principal": {"AWS": stage.house.first.root}, "Action": "kms:*", "Resource": "*"}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [root, stage.statement]})
    return {"PolicyName": "default", "Policy": policy, "BypassPolicyLockoutSafetyCheck": True}


def tagged(stage: Stage) -> dict[str, Any]:
    stage.house.call("TagResource", {"KeyId": stage.key, "Tags": [{"TagKey": "team", "TagValue": "red"}]})
    return {}


ENCRYPT, DESCRIBE = ("Encrypt", {"Plaintext": X}), ("DescribeKey", {})
CONTEXT = ("Encrypt", {"Plaintext": X, "EncryptionContext": {"team": "red", "app": "shop"}})
SIGNING = ("Sign", {"Message": X, "MessageType": "RAW", "SigningAlgorithm": "ECDSA_SHA_256"})
TAGGING = ("TagResource", {"Tags": [{"TagKey": "team", "TagValue": "red"}]})
PAIR, MACING = ("GenerateDataKeyPair", {"KeyPairSpec": "ECC_NIST_P256"}), ("GenerateMac", {"Message": X, "MacAlgorithm": "HMAC_SHA_256"})
ABSENT = ("true", "false")
SUBSET = {"Constraints": {"EncryptionContextSubset": {"team": "red"}}}

# condition key, operator, what fits the call, what does not, the call, the key
ROWS: list[tuple[str, str, Any, Any, tuple[str, Members], tuple[str, ...]]] = [
    ("kms:BypassPolicyLockoutSafetyCheck", "Bool", "true", "false", ("PutKeyPolicy", put_again), ()),
    ("kms:CallerAccount", "StringEquals", lambda s: s.account, "444455556666", ENCRYPT, ()),
    ("kms:CustomerMasterKeySpec", "StringEquals", "SYMMETRIC_DEFAULT", "RSA_2048", ENCRYPT, ()),
    ("kms:CustomerMasterKeyUsage", "StringEquals", "ENCRYPT_DECRYPT", "SIGN_VERIFY", ENCRYPT, ()),
    ("kms:DataKeyPairSpec", "StringEquals", "ECC_NIST_P256", "ECC_NIST_P384", PAIR, ()),
    ("kms:EncryptionAlgorithm", "StringEquals", "SYMMETRIC_DEFAULT", "RSAES_OAEP_SHA_1", ENCRYPT, ()),
    (
        "kms:EncryptionAlgorithm", "StringEquals", "RSAES_OAEP_SHA_256", "RSAES_OAEP_SHA_1",
        ("Encrypt", {"Plaintext": X, "EncryptionAlgorithm": "RSAES_OAEP_SHA_256"}), RSA,
    ),
    ("kms:EncryptionAlgorithm", "StringEquals", "SYMMETRIC_DEFAULT", "RSAES_OAEP_SHA_256", ("ReEncrypt", to_self), ()),
    ("kms:EncryptionContext:team", "StringEquals", "red", "blue", CONTEXT, ()),
    ("kms:EncryptionContextKeys", "ForAllValues:StringEquals", ["team", "app"], ["team"], CONTEXT, ()),
    ("kms:ExpirationModel", "Null", *ABSENT, DESCRIBE, ()),
    (
        "kms:GrantConstraintSourceArn", "StringEquals", source, "arn:aws:kms:eu-central-1:111122223333:datakey/other",
        ("CreateGrant", to_service), (),
    ),
    (
        "kms:GrantConstraintType", "StringEquals", "EncryptionContextSubset", "EncryptionContextEquals",
        ("CreateGrant", lambda s: a_grant(s, **SUBSET)), (),
    ),
    ("kms:GrantIsForAWSResource", "Bool", "false", "true", ("CreateGrant", a_grant), ()),
    ("kms:GrantOperations", "ForAllValues:StringEquals", ["Encrypt", "Decrypt"], ["Encrypt"], ("CreateGrant", a_grant), ()),
    ("kms:GranteePrincipal", "StringEquals", lambda s: role(s.house.first, "grantee"), "*", ("CreateGrant", a_grant), ()),
    ("kms:GranteeServicePrincipal", "StringEquals", SERVICE, "other.kms.keystead.io", ("CreateGrant", to_service), ()),
    ("kms:KeyAgreementAlgorithm", "StringEquals", "ECDH", "DH", ("DeriveSharedSecret", peer), AGREE),
    ("kms:KeyOrigin", "StringEquals", "AWS_KMS", "EXTERNAL", DESCRIBE, ()),
    ("kms:KeySpec", "StringEquals", "ECC_NIST_P256", "SYMMETRIC_DEFAULT", DESCRIBE, SIGN),
    ("kms:KeyUsage", "StringEquals", "SIGN_VERIFY", "KEY_AGREEMENT", DESCRIBE, SIGN),
    ("kms:MacAlgorithm", "StringEquals", "HMAC_SHA_256", "HMAC_SHA_512", MACING, MAC),
    ("kms:MessageType", "StringEquals", "RAW", "DIGEST", SIGNING, SIGN),
    ("kms:MultiRegion", "Bool", "false", "true", DESCRIBE, ()),
    ("kms:MultiRegionKeyType", "Null", *ABSENT, DESCRIBE, ()),
    ("kms:PrimaryRegion", "Null", *ABSENT, DESCRIBE, ()),
    ("kms:ReEncryptOnSameKey", "Bool", "true", "false", ("ReEncrypt", to_self), ()),
    ("kms:ReplicaRegion", "Null", *ABSENT, DESCRIBE, ()),
    ("kms:RequestAlias", "StringLike", "alias/condition-*", "alias/other-*", ("Encrypt", by_alias), ()),
    ("kms:ResourceAliases", "ForAnyValue:StringLike", "alias/condition-*", "alias/other-*", ("Encrypt", by_alias), ()),
    (
        "kms:RetiringPrincipal", "StringEquals", lambda s: role(s.house.first, "retirer"), lambda s: role(s.house.first, "grantee"),
        ("CreateGrant", lambda s: a_grant(s, RetiringPrincipal=role(s.house.first, "retirer"))), (),
    ),
    ("kms:RetiringServicePrincipal", "StringEquals", SERVICE, "other.kms.keystead.io", ("CreateGrant", to_service), ()),
    ("kms:RotationPeriodInDays", "NumericLessThanEquals", "180", "179", ("EnableKeyRotation", {"RotationPeriodInDays": 180}), ()),
    (
        "kms:ScheduleKeyDeletionPendingWindowInDays", "NumericGreaterThanEquals", "7", "8",
        ("ScheduleKeyDeletion", {"PendingWindowInDays": 7}), (),
    ),
    ("kms:SigningAlgorithm", "StringEquals", "ECDSA_SHA_256", "ECDSA_SHA_384", SIGNING, SIGN),
    ("kms:ValidTo", "Null", *ABSENT, DESCRIBE, ()),
    ("kms:ViaService", "Null", *ABSENT, ENCRYPT, ()),
    ("kms:WrappingAlgorithm", "Null", *ABSENT, DESCRIBE, ()),
    ("kms:WrappingKeySpec", "Null", *ABSENT, DESCRIBE, ()),
    ("aws:CurrentTime", "DateGreaterThan", "2020-01-01T00:00:00Z", "2220-01-01T00:00:00Z", ENCRYPT, ()),
    ("aws:EpochTime", "NumericLessThan", "7900000000", "1577836800", ENCRYPT, ()),
    ("aws:PrincipalAccount", "StringEquals", lambda s: s.account, "444455556666", ENCRYPT, ()),
    ("aws:PrincipalArn", "ArnLike", "arn:aws:iam::*:role/cond*", "arn:aws:iam::*:user/*", ENCRYPT, ()),
    ("aws:RequestTag/team", "StringEquals", "red", "blue", TAGGING, ()),
    ("aws:ResourceTag/team", "StringEquals", "red", "blue", ("DescribeKey", tagged), ()),
    ("aws:SecureTransport", "Bool", "false", "true", ENCRYPT, ()),  # this endpoint is plain HTTP
    ("aws:SourceAccount", "Null", *ABSENT, ENCRYPT, ()),
    ("aws:SourceArn", "Null", *ABSENT, ENCRYPT, ()),
    ("aws:SourceIp", "IpAddress", "127.0.0.0/8", "10.0.0.0/8", ENCRYPT, ()),
    ("aws:TagKeys", "ForAllValues:StringEquals", ["team"], ["app"], TAGGING, ()),
]  # fmt: skip


@pytest.fixture(scope="module")
def caller(house: House) -> Account:
    """A ServiceAccount that nothing but the row's policy lets in."""
    return house.workload("condition")


@pytest.mark.parametrize(("key", "operator", "fits", "other", "call", "kind"), ROWS, ids=[f"{row[0]}-{row[4][0]}" for row in ROWS])
def test_a_value_that_fits_lets_the_call_in_and_another_does_not(house, caller, key, operator, fits, other, call, kind):
    arn = house.fresh(*kind)
    operation, members = call
    for wanted, expected in ((other, DENIED), (fits, "")):
        stage = Stage(house, arn)
        value = wanted(stage) if callable(wanted) else wanted
        condition = {operator: {key: value}}
        principal = {"AWS": role(house.first, "condition")}
        statement = {"Effect": "Allow", "Principal": principal, "Action": "kms:*", "Resource": "*", "Condition": condition}
        stage = Stage(house, arn, statement)
        assert code_of(house.call("PutKeyPolicy", {"KeyId": arn, **put_again(stage)})) == ""
        sent = {"KeyId": arn, **(members(stage) if callable(members) else members)}
        answer = house.call(operation, {name: given for name, given in sent.items() if given is not None}, who=caller)
        assert code_of(answer) == expected, answer.body


def test_every_condition_key_has_a_row():
    named = {name + "team" for name in NAMED}
    assert {row[0] for row in ROWS} == {row.name for row in KEYS.values()} | named
