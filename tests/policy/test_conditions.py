"""Conditions: every operator and every key, with values that fit, that do not, and that are absent.

Sources of the tables: IAM user guide, 'IAM JSON policy elements: Condition operators' and 'Single-valued vs. multivalued context keys';
AWS KMS developer guide, 'Condition keys for AWS KMS'.
"""

from __future__ import annotations

import itertools
from datetime import UTC, datetime

import pytest
from msgspec import UNSET
from tests.builders import ACCOUNT, APP, NOW, a_grant, a_key, an_app
from tests.policy.documents import HSM, Request, ask, policy, role, statement

from keystead.errors import MalformedPolicyDocumentError
from keystead.policy import Action, Decision, compile_policy
from keystead.policy.actions import KEYLESS
from keystead.policy.conditionkeys import KEYS, NAMED, Type, condition_key
from keystead.policy.operators import OPERATORS, moment
from keystead.resources.vocabulary import GrantOperation, KeySpec, KeyUsage

ARN = f"arn:aws:kms:cluster-1:{ACCOUNT}:key/1234abcd-12ab-34cd-56ef-1234567890ab"
CONTEXT = "kms:EncryptionContext:x"


def holds(operator, key, values, action=Action.DECRYPT, *, effect="Allow", **how) -> bool:
    """Whether a statement with this one condition applies to `app`."""
    one = statement(role("app"), effect=effect, Condition={operator: {key: values}})
    every = statement(role("app"))
    answer = ask(policy(one) if effect == "Allow" else policy(one, every), action, **how)
    if isinstance(answer, Decision):
        return answer.allowed if effect == "Allow" else not answer.allowed
    raise AssertionError(answer)


# operator, what the policy says, what the request says, does it hold
COMPARISONS = [
    ("StringEquals", "Ab", "Ab", True),
    ("StringEquals", "Ab", "ab", False),
    ("StringEquals", ["x", "Ab"], "Ab", True),
    ("StringEquals", "A*", "Ab", False),
    ("StringEquals", "", "", True),
    ("StringNotEquals", "Ab", "ab", True),
    ("StringNotEquals", ["x", "Ab"], "Ab", False),
    ("StringEqualsIgnoreCase", "STRASSE", "stra\u00dfe", True),
    ("StringEqualsIgnoreCase", "a", "b", False),
    ("StringNotEqualsIgnoreCase", "AB", "ab", False),
    ("StringNotEqualsIgnoreCase", "AB", "ac", True),
    ("StringLike", "a*c?", "abcd", True),
    ("StringLike", ["x*", "a*"], "abcd", True),
    ("StringLike", "A*", "abcd", False),
    ("StringNotLike", ["x*", "a*"], "abcd", False),
    ("StringNotLike", "x*", "abcd", True),
    ("StringLike", "${*}", "*", True),
    ("StringLike", "${*}", "a", False),
    ("NumericEquals", "10", "10.0", True),
    ("NumericEquals", 10, "11", False),
    ("NumericNotEquals", "10", "11", True),
    ("NumericNotEquals", [10, 11], "11", False),
    ("NumericLessThan", "10", "9", True),
    ("NumericLessThan", "10", "10", False),
    ("NumericLessThanEquals", "10", "10", True),
    ("NumericGreaterThan", "10", "9", False),
    ("NumericGreaterThan", "-1.5", "-1.25", True),
    ("NumericGreaterThanEquals", ["10", "1"], "5", True),
    ("DateEquals", "2026-01-01", "2026-01-01T00:00:00Z", True),
    ("DateEquals", "2026-01-01T01:00:00+01:00", "2026-01-01T00:00:00Z", True),
    ("DateNotEquals", "2026-01-01T00:00:00Z", "2026-01-01T00:00:01Z", True),
    ("DateLessThan", "2026-01", "2025-12-31T23:59:59Z", True),
    ("DateLessThanEquals", "2026", "2026-01-01T00:00:00Z", True),
    ("DateGreaterThan", "1767225600", "2026-01-01T00:00:01Z", True),
    ("DateGreaterThan", "1767225600", "2026-01-01T00:00:00Z", False),
    ("DateGreaterThanEquals", "1767225600", "2026-01-01T00:00:00Z", True),
    ("Bool", True, "TRUE", True),
    ("Bool", "false", "true", False),
    ("IpAddress", "203.0.113.0/24", "203.0.113.77", True),
    ("IpAddress", "203.0.113.0/24", "203.0.114.0", False),
    ("IpAddress", "203.0.113.5", "203.0.113.5", True),
    ("IpAddress", ["10.0.0.0/8", "2001:db8::/32"], "2001:db8:1::1", True),
    ("IpAddress", "10.0.0.0/8", "::ffff:10.1.2.3", True),
    ("IpAddress", "::ffff:10.0.0.0/104", "10.1.2.3", True),
    ("IpAddress", "0.0.0.0/0", "::1", False),
    ("NotIpAddress", "203.0.113.0/24", "203.0.113.77", False),
    ("NotIpAddress", "203.0.113.0/24", "198.51.100.1", True),
    ("ArnLike", "arn:aws:iam::*:role/a*", "arn:aws:iam::1:role/ab", True),
    ("ArnEquals", "arn:aws:iam::*:role/a*", "arn:aws:iam::1:role/ab", True),
    ("ArnLike", "arn:aws:iam::*role/a", "arn:aws:iam::1:role/a", None),
    ("ArnLike", "arn:*:x:y:z:role", "arn:aws:iam:x:y:z:role", False),
    ("ArnLike", "arn:aws:logs:*:*:log-group:x", "arn:aws:logs:r:1:log-group:x", True),
    ("ArnNotEquals", "arn:aws:iam::*:role/a*", "arn:aws:iam::1:role/ab", False),
    ("ArnNotLike", "arn:aws:iam::*:role/a*", "arn:aws:iam::1:role/b", True),
]


@pytest.mark.parametrize(
    ("operator", "wanted", "given", "expected"), [row for row in COMPARISONS if row[3] is not None]
)
def test_operators_compare(operator, wanted, given, expected):
    for effect in ("Allow", "Deny"):
        assert holds(operator, CONTEXT, wanted, effect=effect, context={"x": given}) is expected
        assert holds(f"{operator}IfExists", CONTEXT, wanted, effect=effect, context={"x": given}) is expected


def test_every_operator_is_compared():
    assert {row[0] for row in COMPARISONS} == set(OPERATORS)


@pytest.mark.parametrize("operator", sorted(OPERATORS))
def test_without_the_key_a_negated_operator_holds_and_any_with_if_exists(operator):
    value = next(row[1] for row in COMPARISONS if row[0] == operator and row[3] is not None)
    assert holds(operator, CONTEXT, value) is OPERATORS[operator].negated
    assert holds(f"{operator}IfExists", CONTEXT, value)


@pytest.mark.parametrize(
    ("operator", "value"),
    [
        ("NumericLessThan", "10"),
        ("NumericNotEquals", "10"),
        ("DateLessThan", "2026"),
        ("Bool", "true"),
        ("IpAddress", "0.0.0.0/0"),
        ("NotIpAddress", "10.0.0.0/8"),
    ],
)
def test_what_cannot_be_compared_closes(operator, value):
    context = {"x": "neither"}
    assert not holds(operator, CONTEXT, value, context=context)
    assert holds(operator, CONTEXT, value, effect="Deny", context=context)


@pytest.mark.parametrize("operator", ["StringEquals", "StringNotEquals"])
def test_of_two_values_under_one_name_neither_opens(operator):
    context = {"x": "1", "X": "2"}
    assert not holds(operator, CONTEXT, "1", context=context)
    assert holds(operator, CONTEXT, "1", effect="Deny", context=context)


NULL = [
    ("true", {}, True),
    ("true", {"x": "1"}, False),
    ("false", {}, False),
    ("false", {"X": ""}, True),
    (True, {}, True),
    (False, {"x": "1"}, True),
]


@pytest.mark.parametrize(("value", "context", "expected"), NULL)
def test_null_asks_whether_a_key_is_absent(value, context, expected):
    assert holds("Null", CONTEXT, value, context=context) is expected
    assert holds("Null", "kms:EncryptionContextKeys", value, context=context) is expected


SETS = [
    # quantifier:operator, policy, request's keys, holds
    ("ForAnyValue:StringEquals", ["AppName"], {"AppName", "Project"}, True),
    ("ForAnyValue:StringEquals", ["AppName"], {"appname"}, False),
    ("ForAnyValue:StringEquals", ["AppName"], set(), False),
    ("ForAllValues:StringEquals", ["Department", "Project"], {"Department"}, True),
    ("ForAllValues:StringEquals", ["Department", "Project"], {"Department", "Stage"}, False),
    ("ForAllValues:StringEquals", ["Department", "Project"], set(), True),
    ("ForAnyValue:StringNotEquals", ["a"], {"a", "b"}, True),
    ("ForAnyValue:StringNotEquals", ["a"], {"a"}, False),
    ("ForAnyValue:StringNotEquals", ["a"], set(), False),
    ("ForAllValues:StringNotEquals", ["a"], {"a", "b"}, False),
    ("ForAllValues:StringNotEquals", ["a"], {"b"}, True),
    ("ForAllValues:StringNotEquals", ["a"], set(), True),
    ("ForAnyValue:StringLikeIfExists", ["a*"], set(), True),
    ("ForAnyValue:StringLikeIfExists", ["a*"], {"b"}, False),
    ("ForAllValues:StringEqualsIgnoreCase", ["APP"], {"app"}, True),
]


@pytest.mark.parametrize(("operator", "values", "keys", "expected"), SETS)
def test_sets_of_values_are_compared(operator, values, keys, expected):
    context = dict.fromkeys(keys, "v")
    for effect in ("Allow", "Deny"):
        assert holds(operator, "kms:EncryptionContextKeys", values, effect=effect, context=context) is expected


def test_for_any_value_on_a_single_valued_key_is_the_comparison_itself_and_fails_without_it():
    assert holds("ForAnyValue:StringEquals", CONTEXT, "1", context={"x": "1"})
    assert not holds("ForAnyValue:StringNotEquals", CONTEXT, "1")


@pytest.mark.parametrize(
    ("operator", "key", "value", "words"),
    [
        (
            "StringMatches",
            "kms:KeySpec",
            "x",
            "Statement[0].Condition.StringMatches: the condition operator StringMatches is not implemented",
        ),
        ("stringequals", "kms:KeySpec", "x", "operator stringequals"),
        ("BinaryEquals", "kms:KeySpec", "eA==", "operator BinaryEquals"),
        ("ForSomeValues:StringLike", "kms:KeySpec", "x", "operator ForSomeValues:StringLike"),
        ("ForAllValues:Null", "aws:TagKeys", "true", "operator ForAllValues:Null"),
        ("NullIfExists", "kms:KeySpec", "true", "operator NullIfExists"),
        ("StringEquals", "aws:PrincipalOrgID", "o-1", "the condition key aws:PrincipalOrgID is not implemented"),
        ("StringEquals", "aws:PrincipalTag/team", "a", "the condition key aws:PrincipalTag/team is not implemented"),
        ("StringEquals", "kms:EncryptionContext:", "a", "the condition key kms:EncryptionContext: is not implemented"),
        ("StringEquals", "kms:RecipientAttestation:ImageSha384", "a", "is not implemented"),
        ("StringEquals", "kms:Nothing", "a", "is not implemented"),
        ("ForAllValues:StringEquals", CONTEXT, "a", "OverlyPermissiveCondition: Using the ForAllValues set operator"),
        ("ForAllValues:StringEquals", "aws:RequestTag/a", "a", "OverlyPermissiveCondition"),
        ("ForAllValues:StringEquals", "kms:CallerAccount", "a", "OverlyPermissiveCondition"),
        ("StringEquals", "kms:GrantOperations", "Decrypt", "say ForAnyValue:StringEquals or ForAllValues:StringEquals"),
        ("StringNotLike", "aws:TagKeys", "a", "say ForAnyValue:StringNotLike"),
        ("NumericEquals", "kms:KeySpec", "1", "NumericEquals does not compare kms:KeySpec, whose type is String"),
        ("Bool", "aws:SourceIp", "true", "does not compare"),
        ("IpAddress", "aws:PrincipalArn", "10.0.0.0/8", "does not compare"),
        ("DateLessThan", "kms:RotationPeriodInDays", "2026", "does not compare"),
        ("StringEquals", "aws:PrincipalArn", "${aws:username}", "policy variables are not implemented"),
        ("StringLike", CONTEXT, "a${*}${aws:PrincipalTag/x}", "policy variables are not implemented"),
        ("Null", "kms:KeySpec", "maybe", "Null compares with true"),
        ("Null", "kms:KeySpec", ["true", "false"], "Null compares with true"),
        ("Bool", "kms:MultiRegion", "yes", "yes is not true or false"),
        *(
            ("NumericEquals", "kms:RotationPeriodInDays", text, "is not a number")
            for text in ("", "1e3", "0x1", "NaN", "1" * 30, "\u0661", "1\n")
        ),
        *(
            ("DateEquals", "aws:CurrentTime", text, "is not a date")
            for text in ("", "now", "2026-13-01", "2026-01-01T00:00:00", "2026-01-01 00:00:00Z", "0000", "2026-01-01Z")
        ),
        *(
            ("IpAddress", "aws:SourceIp", text, "is not an IP address")
            for text in ("", "10", "10.0.0.0/33", "10.0.0.0/255.0.0.0", "::/129", "fe80::1%eth0", "a.b")
        ),
        *(
            ("ArnLike", "aws:PrincipalArn", text, "is not an ARN")
            for text in ("*", "arn:aws:iam::*role/a", "x:aws:iam::1:role/a")
        ),
    ],
)
def test_what_is_not_implemented_or_not_comparable_is_refused_by_name(operator, key, value, words):
    with pytest.raises(MalformedPolicyDocumentError) as caught:
        compile_policy(policy(statement(Condition={operator: {key: value}})), ARN)
    assert words in caught.value.message
    assert caught.value.message.startswith(f"Statement[0].Condition.{operator}")


def test_variables_are_literals_in_the_old_version():
    document = policy(
        statement(role("app"), Condition={"StringEquals": {CONTEXT: "${aws:username}"}}), version="2008-10-17"
    )
    assert ask(document, context={"x": "${aws:username}"}).allowed


# -- keys

FORTY = {
    "kms:" + name
    for name in [
        "BypassPolicyLockoutSafetyCheck",
        "CallerAccount",
        "CustomerMasterKeySpec",
        "CustomerMasterKeyUsage",
        "DataKeyPairSpec",
        "EncryptionAlgorithm",
        "EncryptionContextKeys",
        "ExpirationModel",
        "GrantConstraintType",
        "GrantIsForAWSResource",
        "GrantOperations",
        "GranteePrincipal",
        "KeyOrigin",
        "KeySpec",
        "KeyUsage",
        "MacAlgorithm",
        "MessageType",
        "MultiRegion",
        "MultiRegionKeyType",
        "PrimaryRegion",
        "ReEncryptOnSameKey",
        "ReplicaRegion",
        "RequestAlias",
        "ResourceAliases",
        "RetiringPrincipal",
        "SigningAlgorithm",
        "ValidTo",
        "ViaService",
        "WrappingAlgorithm",
        "WrappingKeySpec",
        "KeyAgreementAlgorithm",
        "RotationPeriodInDays",
        "ScheduleKeyDeletionPendingWindowInDays",
    ]
}
AWS = {
    "aws:" + name
    for name in [
        "CurrentTime",
        "EpochTime",
        "PrincipalAccount",
        "PrincipalArn",
        "SecureTransport",
        "SourceIp",
        "TagKeys",
    ]
}


def test_every_key_of_the_design_has_a_row():
    assert {row.name for row in KEYS.values()} == FORTY | AWS
    assert set(NAMED) == {"kms:EncryptionContext:", "aws:RequestTag/", "aws:ResourceTag/"}
    multi = {row.name for row in KEYS.values() if row.multi}
    assert multi == {"kms:EncryptionContextKeys", "kms:GrantOperations", "kms:ResourceAliases", "aws:TagKeys"}


def test_names_of_keys_are_compared_without_case():
    assert condition_key("KMS:keyspec") is KEYS["kms:keyspec"]
    row = condition_key("kms:encryptioncontext:AppName")
    assert row is not None and row.type is Type.TEXT


PAIR = {"request": {"key_pair_spec": "RSA_2048"}}
GRANT = {
    "operations": ("Decrypt", "Encrypt"),
    "grantee_principal": f"arn:aws:sts::{ACCOUNT}:assumed-role/app/s-1",
    "retiring_principal": role("reader"),
    "constraints": Request(encryption_context_equals=None, encryption_context_subset={"App": "x"}, source_arn=None),
}
TAGS = {"tags": (Request(tag_key="Team", tag_value="a"), Request(tag_key="env", tag_value="b"))}
# key, action, how the call is, what the key is then (None: absent)
VALUES = [
    (
        "kms:BypassPolicyLockoutSafetyCheck",
        Action.PUT_KEY_POLICY,
        {"request": {"bypass_policy_lockout_safety_check": True}},
        "true",
    ),
    (
        "kms:BypassPolicyLockoutSafetyCheck",
        Action.PUT_KEY_POLICY,
        {"request": {"bypass_policy_lockout_safety_check": False}},
        None,
    ),
    ("kms:CallerAccount", Action.SIGN, {}, ACCOUNT),
    ("kms:CustomerMasterKeySpec", Action.DECRYPT, {}, "SYMMETRIC_DEFAULT"),
    ("kms:CustomerMasterKeyUsage", Action.DECRYPT, {}, "ENCRYPT_DECRYPT"),
    (
        "kms:KeySpec",
        Action.DESCRIBE_KEY,
        {"record": {"spec": KeySpec.ECC_NIST_P256, "usage": KeyUsage.SIGN_VERIFY}},
        "ECC_NIST_P256",
    ),
    (
        "kms:KeyUsage",
        Action.DESCRIBE_KEY,
        {"record": {"spec": KeySpec.ECC_NIST_P256, "usage": KeyUsage.SIGN_VERIFY}},
        "SIGN_VERIFY",
    ),
    ("kms:KeyOrigin", Action.DISABLE_KEY, {}, "AWS_KMS"),
    ("kms:MultiRegion", Action.DECRYPT, {}, "false"),
    ("kms:MultiRegionKeyType", Action.DECRYPT, {}, None),
    ("kms:MultiRegionKeyType", Action.DECRYPT, {"record": {"multi_region": True}}, "PRIMARY"),
    ("kms:DataKeyPairSpec", Action.GENERATE_DATA_KEY_PAIR, PAIR, "RSA_2048"),
    ("kms:DataKeyPairSpec", Action.GENERATE_DATA_KEY_PAIR_WITHOUT_PLAINTEXT, PAIR, "RSA_2048"),
    ("kms:DataKeyPairSpec", Action.GENERATE_DATA_KEY, PAIR, None),
    ("kms:EncryptionAlgorithm", Action.GENERATE_DATA_KEY, {}, "SYMMETRIC_DEFAULT"),
    (
        "kms:EncryptionAlgorithm",
        Action.ENCRYPT,
        {"request": {"encryption_algorithm": "RSAES_OAEP_SHA_256"}},
        "RSAES_OAEP_SHA_256",
    ),
    (
        "kms:EncryptionAlgorithm",
        Action.RE_ENCRYPT_FROM,
        {"request": {"source_encryption_algorithm": "a", "destination_encryption_algorithm": "b"}},
        "a",
    ),
    (
        "kms:EncryptionAlgorithm",
        Action.RE_ENCRYPT_TO,
        {"request": {"source_encryption_algorithm": "a", "destination_encryption_algorithm": "b"}},
        "b",
    ),
    ("kms:EncryptionContext:app", Action.ENCRYPT, {"context": {"App": "X"}}, "X"),
    ("kms:EncryptionContext:app", Action.CREATE_GRANT, {"request": GRANT}, "x"),
    ("kms:EncryptionContext:app", Action.SIGN, {"context": {"App": "X"}}, None),
    ("kms:EncryptionContextKeys", Action.RE_ENCRYPT_TO, {"context": {"App": "X"}}, ("App",)),
    ("kms:EncryptionContextKeys", Action.CREATE_GRANT, {"request": GRANT}, ("App",)),
    ("kms:GrantConstraintType", Action.CREATE_GRANT, {"request": GRANT}, "EncryptionContextSubset"),
    ("kms:GrantConstraintType", Action.CREATE_GRANT, {"request": {**GRANT, "constraints": None}}, None),
    ("kms:GrantIsForAWSResource", Action.CREATE_GRANT, {}, "false"),
    ("kms:GrantIsForAWSResource", Action.REVOKE_GRANT, {"via_service": "datakeys.kms.keystead.io"}, "true"),
    ("kms:GrantIsForAWSResource", Action.DECRYPT, {"via_service": "datakeys.kms.keystead.io"}, None),
    ("kms:GrantOperations", Action.CREATE_GRANT, {"request": GRANT}, ("Decrypt", "Encrypt")),
    ("kms:GranteePrincipal", Action.CREATE_GRANT, {"request": GRANT}, APP),
    ("kms:RetiringPrincipal", Action.CREATE_GRANT, {"request": GRANT}, role("reader")),
    ("kms:RetiringPrincipal", Action.CREATE_GRANT, {"request": {**GRANT, "retiring_principal": None}}, None),
    (
        "kms:KeyAgreementAlgorithm",
        Action.DERIVE_SHARED_SECRET,
        {"request": {"key_agreement_algorithm": "ECDH"}},
        "ECDH",
    ),
    ("kms:MacAlgorithm", Action.VERIFY_MAC, {"request": {"mac_algorithm": "HMAC_SHA_256"}}, "HMAC_SHA_256"),
    ("kms:MessageType", Action.SIGN, {"request": {"message_type": "DIGEST"}}, "DIGEST"),
    ("kms:SigningAlgorithm", Action.VERIFY, {"request": {"signing_algorithm": "ECDSA_SHA_256"}}, "ECDSA_SHA_256"),
    ("kms:ReEncryptOnSameKey", Action.RE_ENCRYPT_FROM, {"other_key": "another"}, "false"),
    ("kms:ReEncryptOnSameKey", Action.RE_ENCRYPT_TO, {"other_key": a_key(HSM).key_id}, "true"),
    ("kms:ReEncryptOnSameKey", Action.DECRYPT, {}, None),
    ("kms:RequestAlias", Action.DECRYPT, {"alias": "alias/app"}, "alias/app"),
    ("kms:RequestAlias", Action.DECRYPT, {}, None),
    ("kms:RequestAlias", Action.DISABLE_KEY, {"alias": "alias/app"}, None),
    ("kms:ResourceAliases", Action.DISABLE_KEY, {"aliases": ("alias/a", "alias/b")}, ("alias/a", "alias/b")),
    ("kms:ResourceAliases", Action.DISABLE_KEY, {}, None),
    ("kms:RotationPeriodInDays", Action.ENABLE_KEY_ROTATION, {"request": {"rotation_period_in_days": 180}}, "180"),
    ("kms:RotationPeriodInDays", Action.ENABLE_KEY_ROTATION, {"request": {"rotation_period_in_days": None}}, "365"),
    (
        "kms:ScheduleKeyDeletionPendingWindowInDays",
        Action.SCHEDULE_KEY_DELETION,
        {"request": {"pending_window_in_days": 7}},
        "7",
    ),
    (
        "kms:ScheduleKeyDeletionPendingWindowInDays",
        Action.SCHEDULE_KEY_DELETION,
        {"request": {"pending_window_in_days": None}},
        "30",
    ),
    ("kms:ViaService", Action.DECRYPT, {"via_service": "datakeys.kms.keystead.io"}, "datakeys.kms.keystead.io"),
    ("kms:ViaService", Action.DECRYPT, {}, None),
    *(
        (f"kms:{name}", action, {}, None)
        for name in (
            "ExpirationModel",
            "PrimaryRegion",
            "ReplicaRegion",
            "ValidTo",
            "WrappingAlgorithm",
            "WrappingKeySpec",
        )
        for action in (Action.DECRYPT,)
    ),
    ("aws:CurrentTime", Action.DECRYPT, {}, "2026-11-26T08:00:00Z"),
    ("aws:EpochTime", Action.DECRYPT, {}, "1795680000"),
    ("aws:PrincipalAccount", Action.DECRYPT, {}, ACCOUNT),
    ("aws:PrincipalArn", Action.DECRYPT, {}, APP),
    ("aws:SecureTransport", Action.DECRYPT, {"secure": False}, "false"),
    ("aws:SecureTransport", Action.DECRYPT, {}, None),
    ("aws:SourceIp", Action.DECRYPT, {"source_ip": "10.0.0.1"}, "10.0.0.1"),
    ("aws:SourceIp", Action.DECRYPT, {}, None),
    ("aws:TagKeys", Action.TAG_RESOURCE, {"request": TAGS}, ("Team", "env")),
    ("aws:TagKeys", Action.UNTAG_RESOURCE, {"request": {"tag_keys": ("Team",)}}, ("Team",)),
    ("aws:RequestTag/team", Action.TAG_RESOURCE, {"request": TAGS}, "a"),
    ("aws:RequestTag/team", Action.UNTAG_RESOURCE, {"request": {"tag_keys": ("Team",)}}, None),
    ("aws:ResourceTag/team", Action.DECRYPT, {"record": {"tags": {"Team": "a"}}}, "a"),
    ("aws:ResourceTag/team", Action.DECRYPT, {}, None),
]


@pytest.mark.parametrize(("key", "action", "how", "expected"), VALUES)
def test_a_key_has_the_value_that_the_call_gives_it(key, action, how, expected):
    assert holds("Null", key, "true", action, **how) is (expected is None)
    if isinstance(expected, tuple):
        assert holds("ForAllValues:StringEquals", key, list(expected), action, **how)
        assert all(holds("ForAnyValue:StringEquals", key, value, action, **how) for value in expected)
    elif expected is not None:
        assert holds("StringEquals", key, expected, action, **how)
        assert not holds("StringEquals", key, expected + "x", action, **how)


def test_every_key_is_in_the_table_of_values():
    named = {"kms:EncryptionContext:app", "aws:RequestTag/team", "aws:ResourceTag/team"}
    assert {row[0] for row in VALUES} == FORTY | AWS | named


def test_the_context_of_a_grant_that_is_retired_is_its_constraints():
    key = a_key(HSM)
    grant = a_grant(key, GrantOperation.RETIRE_GRANT, equals={"App": "x"})
    free = a_grant(key, GrantOperation.RETIRE_GRANT)
    deny = statement(effect="Deny", Condition={"StringEquals": {"kms:EncryptionContext:app": "x"}})
    assert not ask(policy(deny), Action.RETIRE_GRANT, grant=grant, grants=[free]).allowed
    assert ask(policy(deny), Action.RETIRE_GRANT, grant=free, grants=[free]).allowed
    assert free.constraints is UNSET


FED = sorted({row[0] for row in VALUES if "request" in row[2]} - {"kms:GrantIsForAWSResource"})


@pytest.mark.parametrize("key", FED)
def test_what_nobody_said_of_a_request_closes(key):
    from keystead.policy import Question
    from keystead.policy.compiled import Policy
    from keystead.policy.documents import parse
    from keystead.policy.evaluate import decide

    action = next(row[1] for row in VALUES if row[0] == key and "request" in row[2])
    row = condition_key(key)
    assert row is not None
    operators = (
        ("ForAnyValue:StringLike", "ForAllValues:StringNotLike")
        if row.multi
        else ("StringLike", "StringNotLike", "Null")
    )
    for operator, effect in itertools.product(operators, ("Allow", "Deny")):
        for value in ("true", "false"):
            one = statement(effect=effect, Condition={operator: {key: value}})
            made = Policy(parse(policy(one, *([statement()] if effect == "Deny" else []))))
            answer = decide(Question(an_app(), action, a_key(HSM), (), {}, NOW), made)
            assert isinstance(answer, Decision)
            assert not answer.allowed


def test_no_key_depends_on_what_keyless_actions_lack():
    assert all(KEYS["kms:keyspec"].source(action) is None for action in KEYLESS)


def test_a_date_is_an_instant():
    assert moment("1970-01-01T00:00:01.5Z") == 1.5
    assert moment("2026-11-26T08:00:00Z") == datetime(2026, 11, 26, 8, tzinfo=UTC).timestamp()
