"""Condition keys: the value that each call gives a key (AWS KMS developer guide, 'Condition keys for AWS KMS')."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime

import pytest
from msgspec import UNSET
from tests.builders import ACCOUNT, APP, NOW, a_grant, a_key, an_app
from tests.policy.documents import HSM, Request, ask, holds, policy, role, statement

from keystead.engine.identifiers import data_key_arn
from keystead.policy import Action, Decision
from keystead.policy.actions import KEYLESS
from keystead.policy.conditionkeys import KEYS, NAMED, Type, condition_key
from keystead.policy.operators import moment
from keystead.resources.vocabulary import GrantOperation, KeySpec, KeyUsage

KMS = [
    "BypassPolicyLockoutSafetyCheck", "CallerAccount", "CustomerMasterKeySpec", "CustomerMasterKeyUsage",
    "DataKeyPairSpec", "EncryptionAlgorithm", "EncryptionContextKeys", "ExpirationModel",
    "GrantConstraintType", "GrantIsForAWSResource", "GrantOperations", "GranteePrincipal", "KeyOrigin",
    "KeySpec", "KeyUsage", "MacAlgorithm", "MessageType", "MultiRegion", "MultiRegionKeyType",
    "PrimaryRegion", "ReEncryptOnSameKey", "ReplicaRegion", "RequestAlias", "ResourceAliases",
    "RetiringPrincipal", "SigningAlgorithm", "ValidTo", "ViaService", "WrappingAlgorithm", "WrappingKeySpec",
    "KeyAgreementAlgorithm", "RotationPeriodInDays", "ScheduleKeyDeletionPendingWindowInDays",
    "GrantConstraintSourceArn", "GranteeServicePrincipal", "RetiringServicePrincipal",
]  # fmt: skip
FORTY = {f"kms:{name}" for name in KMS}
AWS = {
    "aws:" + name
    for name in [
        "CurrentTime",
        "EpochTime",
        "PrincipalAccount",
        "PrincipalArn",
        "SecureTransport",
        "SourceAccount",
        "SourceArn",
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


SERVICE = "datakeys.kms.keystead.io"
SOURCE = data_key_arn("cluster-1", ACCOUNT, "app")
PAIR = {"request": {"key_pair_spec": "RSA_2048"}}
GRANT = {
    "operations": ("Decrypt", "Encrypt"),
    "grantee_principal": f"arn:aws:sts::{ACCOUNT}:assumed-role/app/s-1",
    "retiring_principal": role("reader"),
    "grantee_service_principal": None,
    "retiring_service_principal": None,
    "constraints": Request(encryption_context_equals=None, encryption_context_subset={"App": "x"}, source_arn=None),
}
SERVED = {
    **GRANT,
    "grantee_principal": None,
    "retiring_principal": None,
    "grantee_service_principal": SERVICE,
    "retiring_service_principal": SERVICE,
    "constraints": Request(encryption_context_equals=None, encryption_context_subset=None, source_arn=SOURCE),
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
        "false",
    ),
    (
        "kms:BypassPolicyLockoutSafetyCheck",
        Action.PUT_KEY_POLICY,
        {"request": {"bypass_policy_lockout_safety_check": None}},
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
    ("kms:GrantConstraintType", Action.CREATE_GRANT, {"request": SERVED}, "SourceArn"),
    ("kms:GrantConstraintSourceArn", Action.CREATE_GRANT, {"request": SERVED}, SOURCE),
    ("kms:GrantConstraintSourceArn", Action.CREATE_GRANT, {"request": GRANT}, None),
    ("kms:GrantConstraintSourceArn", Action.CREATE_GRANT, {"request": {**GRANT, "constraints": None}}, None),
    ("kms:GranteeServicePrincipal", Action.CREATE_GRANT, {"request": SERVED}, SERVICE),
    ("kms:GranteeServicePrincipal", Action.CREATE_GRANT, {"request": GRANT}, None),
    ("kms:RetiringServicePrincipal", Action.CREATE_GRANT, {"request": SERVED}, SERVICE),
    ("kms:RetiringServicePrincipal", Action.CREATE_GRANT, {"request": GRANT}, None),
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
    ("aws:SourceArn", Action.DECRYPT, {"source_arn": SOURCE}, SOURCE),
    ("aws:SourceArn", Action.DECRYPT, {}, None),
    ("aws:SourceAccount", Action.DECRYPT, {"source_arn": SOURCE}, ACCOUNT),
    ("aws:SourceAccount", Action.DECRYPT, {}, None),
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


SESSION = f"arn:aws:sts::{ACCOUNT}:assumed-role/app/s-1"
JANE, JANE_AS_WRITTEN = f"arn:aws:iam::{ACCOUNT}:user/oidc%2Fjane", f"arn:aws:iam::{ACCOUNT}:user/o%69dc%2fjane"
EXACT = ["StringEquals", "ForAnyValue:StringEquals", "StringEqualsIgnoreCase", "StringEqualsIfExists"]


@pytest.mark.parametrize("operator", EXACT)
@pytest.mark.parametrize("key", ["kms:GranteePrincipal", "kms:RetiringPrincipal"])
@pytest.mark.parametrize(("given", "written"), [(SESSION, SESSION), (APP, SESSION), (SESSION, APP), (JANE, JANE_AS_WRITTEN)])
def test_a_principal_that_a_condition_names_is_brought_to_the_form_that_grants_have(operator, key, given, written):
    member = "grantee_principal" if "Grantee" in key else "retiring_principal"
    call = {"request": {**GRANT, member: given}}
    negated = operator.replace("StringEquals", "StringNotEquals")
    for effect in ("Allow", "Deny"):
        assert holds(operator, key, [role("else"), written], Action.CREATE_GRANT, effect=effect, **call)
        assert not holds(negated, key, [role("else"), written], Action.CREATE_GRANT, effect=effect, **call)
    assert not holds(operator, key, SESSION.replace("/app/", "/else/"), Action.CREATE_GRANT, **call)


def test_patterns_of_principals_are_taken_as_they_are_and_so_are_other_keys():
    call = {"request": {**GRANT, "grantee_principal": SESSION}}
    assert not holds("StringLike", "kms:GranteePrincipal", "arn:aws:sts::*:assumed-role/app/*", Action.CREATE_GRANT, **call)
    assert not holds("StringLike", "kms:GranteePrincipal", SESSION, Action.CREATE_GRANT, **call)
    assert holds("StringLike", "kms:GranteePrincipal", "*:role/ap?", Action.CREATE_GRANT, **call)
    assert not holds("StringEquals", "aws:PrincipalArn", SESSION, Action.CREATE_GRANT, **call)


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
