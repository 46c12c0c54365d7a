"""The statements of 'Condition keys for AWS KMS' (AWS KMS developer guide), section by section, where no other table has them.

Rebuilt from the page: effect, actions and condition are AWS's; principals are ours. What the page takes and Keystead refuses is at the end,
with the words of the refusal.
"""

from __future__ import annotations

from typing import Any

import pytest
from tests.builders import ACCOUNT
from tests.policy.documents import ask, policy, role, statement

from keystead.errors import MalformedPolicyDocumentError
from keystead.policy import Action, Decision, compile_policy
from keystead.resources.vocabulary import KeySpec, KeyUsage

ARN = f"arn:aws:kms:cluster-1:{ACCOUNT}:key/1234abcd-12ab-34cd-56ef-1234567890ab"
SIGNING = {"spec": KeySpec.ECC_NIST_P256, "usage": KeyUsage.SIGN_VERIFY}
USE = ["kms:Encrypt", "kms:Decrypt", "kms:ReEncrypt*", "kms:GenerateDataKey*", "kms:CreateGrant", "kms:ListGrants", "kms:DescribeKey"]
VIA = {"StringEquals": {"kms:ViaService": ["ec2.us-west-2.amazonaws.com", "rds.us-west-2.amazonaws.com"]}}
LAMBDA = {"StringEquals": {"kms:ViaService": ["lambda.us-west-2.amazonaws.com"]}}
APP_NAME = {"ForAnyValue:StringEquals": {"kms:EncryptionContext:AppName": "ExampleApp"}}
BOTH = {"ForAnyValue:StringEquals": {"kms:EncryptionContextKeys": "AppName", "kms:EncryptionContext:AppName": "ExampleApp"}}
RETIRE = {"StringEquals": {"kms:RetiringPrincipal": [role("LimitedAdminRole"), f"arn:aws:iam::{ACCOUNT}:user/OpsAdmin"]}}


def asked(**members: Any) -> dict[str, Any]:
    return {"request": members}


def context(**pairs: str) -> dict[str, Any]:
    return {"context": pairs}


def made_with(**constraints: Any) -> dict[str, Any]:
    whole = {"encryption_context_equals": None, "encryption_context_subset": None, "source_arn": None} | constraints
    return asked(constraints=type("Constraints", (), whole)())


# section, effect, actions, condition, and for calls of an action: whether the statement is about them
EXAMPLES: list[tuple[str, str, list[str], dict[str, Any], list[tuple[Action, dict[str, Any], bool]]]] = [
    (
        "kms:CustomerMasterKeySpec", "Allow", ["kms:Encrypt", "kms:Decrypt", "kms:ReEncrypt*", "kms:DescribeKey"],
        {"StringEquals": {"kms:CustomerMasterKeySpec": "SYMMETRIC_DEFAULT"}},
        [(Action.DESCRIBE_KEY, {}, True), (Action.DESCRIBE_KEY, {"record": SIGNING}, False)],
    ),
    (
        "kms:CustomerMasterKeyUsage", "Allow", ["kms:CreateGrant", "kms:DescribeKey", "kms:GetPublicKey", "kms:ScheduleKeyDeletion"],
        {"StringEquals": {"kms:CustomerMasterKeyUsage": "SIGN_VERIFY"}},
        [(Action.GET_PUBLIC_KEY, {"record": SIGNING}, True), (Action.GET_PUBLIC_KEY, {}, False)],
    ),
    (
        "kms:EncryptionAlgorithm, one with this key", "Deny", ["kms:Encrypt", "kms:Decrypt", "kms:ReEncrypt*"],
        {"StringNotEquals": {"kms:EncryptionAlgorithm": "RSAES_OAEP_SHA_256"}},
        [
            (Action.ENCRYPT, asked(encryption_algorithm="RSAES_OAEP_SHA_1"), True),
            (Action.ENCRYPT, asked(encryption_algorithm="RSAES_OAEP_SHA_256"), False),
            (Action.DESCRIBE_KEY, {}, False),
        ],
    ),
    (
        "kms:EncryptionAlgorithm, symmetric only", "Deny",
        ["kms:Encrypt", "kms:Decrypt", "kms:ReEncrypt*", "kms:GenerateDataKey*", "kms:GenerateDataKeyPair*"],
        {"StringNotEquals": {"kms:EncryptionAlgorithm": "SYMMETRIC_DEFAULT"}},
        [(Action.GENERATE_DATA_KEY, {}, False), (Action.ENCRYPT, asked(encryption_algorithm="RSAES_OAEP_SHA_1"), True)],
    ),
    (
        "kms:EncryptionContext:", "Allow", ["kms:GenerateDataKey"], APP_NAME,
        [
            (Action.GENERATE_DATA_KEY, context(AppName="ExampleApp"), True),
            (Action.GENERATE_DATA_KEY, context(AppName="ExampleApp", FilePath="/var"), True),
            (Action.GENERATE_DATA_KEY, context(AppName="exampleapp"), False),
            (Action.GENERATE_DATA_KEY, {}, False),
            (Action.DECRYPT, context(AppName="ExampleApp"), False),
        ],
    ),
    (
        "Case sensitivity: key and value together", "Allow", ["kms:GenerateDataKey"], BOTH,
        [
            (Action.GENERATE_DATA_KEY, context(AppName="ExampleApp"), True),
            (Action.GENERATE_DATA_KEY, context(appname="ExampleApp"), False),
            (Action.GENERATE_DATA_KEY, context(AppName="EXAMPLEAPP"), False),
        ],
    ),
    (
        "kms:EncryptionContextKeys, one of them", "Allow", ["kms:Encrypt", "kms:GenerateDataKey*"],
        {"ForAnyValue:StringEquals": {"kms:EncryptionContextKeys": "AppName"}},
        [
            (Action.ENCRYPT, context(AppName="x", More="y"), True),
            (Action.ENCRYPT, context(appname="x"), False),
            (Action.ENCRYPT, {}, False),
        ],
    ),
    (
        "kms:EncryptionContextKeys, no others", "Allow", ["kms:Encrypt", "kms:GenerateDataKey*"],
        {"ForAllValues:StringEquals": {"kms:EncryptionContextKeys": ["AppName", "FilePath"]}},
        [
            (Action.GENERATE_DATA_KEY, context(AppName="x", FilePath="y"), True),
            (Action.GENERATE_DATA_KEY, context(FilePath="y"), True),
            (Action.GENERATE_DATA_KEY, context(AppName="x", Stage="y"), False),
        ],
    ),
    (
        "kms:GrantConstraintType", "Allow", ["kms:CreateGrant"],
        {"StringEquals": {"kms:GrantConstraintType": "EncryptionContextEquals"}},
        [
            (Action.CREATE_GRANT, made_with(encryption_context_equals={"a": "b"}), True),
            (Action.CREATE_GRANT, made_with(encryption_context_subset={"a": "b"}), False),
            (Action.CREATE_GRANT, asked(constraints=None), False),
        ],
    ),
    (
        "kms:GranteePrincipal", "Allow", ["kms:CreateGrant"], {"StringEquals": {"kms:GranteePrincipal": role("LimitedAdminRole")}},
        [
            (Action.CREATE_GRANT, asked(grantee_principal=role("LimitedAdminRole")), True),
            (Action.CREATE_GRANT, asked(grantee_principal=role("app")), False),
        ],
    ),
    (
        "kms:KeyOrigin", "Allow", ["kms:Encrypt", "kms:Decrypt", "kms:GenerateDataKey*", "kms:ReEncrypt*"],
        {"StringEquals": {"kms:KeyOrigin": "AWS_CLOUDHSM"}},
        [(Action.ENCRYPT, {}, False)],
    ),
    (
        "kms:ReEncryptOnSameKey", "Allow", ["kms:ReEncrypt*"], {"Bool": {"kms:ReEncryptOnSameKey": True}},
        [(Action.RE_ENCRYPT_FROM, {"other_key": "another"}, False), (Action.RE_ENCRYPT_TO, {"other_key": "another"}, False)],
    ),
    (
        "kms:RetiringPrincipal", "Allow", ["kms:CreateGrant"], RETIRE,
        [
            (Action.CREATE_GRANT, asked(retiring_principal=f"arn:aws:iam::{ACCOUNT}:user/OpsAdmin"), True),
            (Action.CREATE_GRANT, asked(retiring_principal=role("LimitedAdminRole")), True),
            (Action.CREATE_GRANT, asked(retiring_principal=role("app")), False),
            (Action.CREATE_GRANT, asked(retiring_principal=None), False),
        ],
    ),
    (
        "kms:SigningAlgorithm", "Allow", ["kms:Sign"], {"StringLike": {"kms:SigningAlgorithm": "RSASSA_PSS*"}},
        [
            (Action.SIGN, asked(signing_algorithm="RSASSA_PSS_SHA_512"), True),
            (Action.SIGN, asked(signing_algorithm="RSASSA_PKCS1_V1_5_SHA_512"), False),
        ],
    ),
    (
        "kms:ViaService", "Allow", USE, VIA,
        [
            (Action.CREATE_GRANT, {"via_service": "rds.us-west-2.amazonaws.com"}, True),
            (Action.DECRYPT, {"via_service": "s3.us-west-2.amazonaws.com"}, False),
            (Action.DECRYPT, {}, False),
            (Action.DISABLE_KEY, {"via_service": "rds.us-west-2.amazonaws.com"}, False),
        ],
    ),
    (
        "kms:ViaService, not from one", "Deny", ["kms:Encrypt"], LAMBDA,
        [
            (Action.ENCRYPT, {"via_service": "lambda.us-west-2.amazonaws.com"}, True),
            (Action.DECRYPT, {"via_service": "lambda.us-west-2.amazonaws.com"}, False),
            (Action.ENCRYPT, {}, False),
        ],
    ),
]  # fmt: skip
CASES = [(name, effect, actions, when, *case) for name, effect, actions, when, cases in EXAMPLES for case in cases]


@pytest.mark.parametrize(
    ("effect", "actions", "when", "action", "how", "about"), [case[1:] for case in CASES], ids=[case[0] for case in CASES]
)
def test_the_statement_is_about_the_calls_that_the_guide_says(effect, actions, when, action, how, about):
    one = statement(role("app"), actions, effect=effect, Condition=when)
    answer = ask(policy(one) if effect == "Allow" else policy(one, statement(role("app"))), action, **how)
    assert isinstance(answer, Decision)
    assert answer.allowed is (about if effect == "Allow" else not about)


IMPORT, FOR_IMPORT = "kms:ImportKeyMaterial", "kms:GetParametersForImport"


@pytest.mark.parametrize(
    ("action", "when"),
    [
        (IMPORT, {"StringEquals": {"kms:ExpirationModel": "KEY_MATERIAL_DOES_NOT_EXPIRE"}}),
        (IMPORT, {"Null": {"kms:ExpirationModel": True}}),
        (FOR_IMPORT, {"StringNotEquals": {"kms:WrappingAlgorithm": "RSAES_OAEP_SHA_1"}}),
        (FOR_IMPORT, {"StringEquals": {"kms:WrappingKeySpec": "RSA_2048"}}),
    ],
)
def test_statements_about_operations_that_are_not_served_are_taken(action, when):
    compile_policy(policy(statement(role("app"), action, Condition=when)), ARN)


@pytest.mark.parametrize(
    ("when", "words"),
    [
        (
            {"ForAllValues:StringEquals": {"kms:EncryptionContext:AppName": "ExampleApp", "kms:EncryptionContext:FilePath": "/var"}},
            "OverlyPermissiveCondition",
        ),
        ({"ForAnyValue:StringEquals": {"kms:EncryptionContextKey": "AppName"}}, "kms:EncryptionContextKey is not implemented"),
        ({"ForAnyValue:StringEquals": {"kms:EncryptionContext:user": "${aws:username}"}}, "policy variables are not implemented"),
    ],
)
def test_what_the_guide_shows_and_is_refused_here_is_refused_by_name(when, words):
    with pytest.raises(MalformedPolicyDocumentError) as caught:
        compile_policy(policy(statement(role("app"), "kms:GenerateDataKey", Condition=when)), ARN)
    assert words in caught.value.message


def test_a_time_is_compared_as_a_number_too():
    """kms:ValidTo, in Unix time."""
    when = {"NumericLessThanEquals": {"kms:ValidTo": "1546257599.0"}}
    compile_policy(policy(statement(role("app"), IMPORT, Condition=when)), ARN)
