"""Decisions by key policies: AWS's documented examples, each cited, and what is ours: dual control, reasons, people, services."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from tests.builders import ACCOUNT, NAMESPACE, OTHER_ACCOUNT, OTHER_NAMESPACE, a_grant, a_key, an_app
from tests.policy.documents import HSM, ROOT, ask, policy, role, statement

from keystead.engine.identifiers import key_arn
from keystead.policy import Action, Decision, NeedReview, root_caller, service_account_caller
from keystead.policy.actions import ABROAD, BY_GRANT_ONLY, KEYLESS
from keystead.policy.caller import service_caller, user_caller
from keystead.policy.evaluate import reviewed
from keystead.policy.question import Ground
from keystead.resources.vocabulary import GrantOperation

FOREIGN = service_account_caller(OTHER_ACCOUNT, OTHER_NAMESPACE, "app", session="s-1")
FOREIGN_ROOT = root_caller(OTHER_ACCOUNT, OTHER_NAMESPACE)
OWN_ROOT = root_caller(ACCOUNT, NAMESPACE)
CRYPTO = ["kms:Encrypt", "kms:Decrypt", "kms:ReEncrypt*", "kms:GenerateDataKey*", "kms:DescribeKey"]


def allowed(answer) -> bool:
    return isinstance(answer, Decision) and answer.allowed


def denied(answer) -> bool:
    return isinstance(answer, Decision) and not answer.allowed


def reviewed_in(answer) -> tuple[str, str]:
    assert isinstance(answer, NeedReview)
    return answer.review.namespace, answer.review.name


# -- AWS: each example is rebuilt from the page that is named

EXAMPLES = [
    # KMS guide, kms:CallerAccount: all identities of the account, through one service only
    (
        "CallerAccount and ViaService",
        statement(
            action=CRYPTO,
            Condition={"StringEquals": {"kms:CallerAccount": ACCOUNT, "kms:ViaService": "ec2.us-west-2.amazonaws.com"}},
        ),
        [
            (Action.DECRYPT, {"via_service": "ec2.us-west-2.amazonaws.com"}, True),
            (Action.DECRYPT, {}, False),
            (Action.DECRYPT, {"via_service": "s3.us-west-2.amazonaws.com"}, False),
            (Action.DISABLE_KEY, {"via_service": "ec2.us-west-2.amazonaws.com"}, False),
        ],
    ),
    # KMS guide, kms:DataKeyPairSpec
    (
        "only RSA pairs",
        statement(
            role("app"),
            ["kms:GenerateDataKeyPair", "kms:GenerateDataKeyPairWithoutPlaintext"],
            Condition={"StringLike": {"kms:DataKeyPairSpec": "RSA*"}},
        ),
        [
            (Action.GENERATE_DATA_KEY_PAIR, {"request": {"key_pair_spec": "RSA_3072"}}, True),
            (Action.GENERATE_DATA_KEY_PAIR, {"request": {"key_pair_spec": "ECC_NIST_P256"}}, False),
        ],
    ),
    # KMS guide, kms:EncryptionContext:context-key: exactly these two pairs
    (
        "two pairs and no others",
        statement(
            role("app"),
            "kms:GenerateDataKey",
            Condition={
                "StringEquals": {"kms:EncryptionContext:Department": "IT", "kms:EncryptionContext:Project": "Alpha"},
                "ForAllValues:StringEquals": {"kms:EncryptionContextKeys": ["Department", "Project"]},
            },
        ),
        [
            (Action.GENERATE_DATA_KEY, {"context": {"Department": "IT", "Project": "Alpha"}}, True),
            (Action.GENERATE_DATA_KEY, {"context": {"Department": "IT"}}, False),
            (Action.GENERATE_DATA_KEY, {"context": {"Department": "IT", "Project": "Alpha", "More": "x"}}, False),
            (Action.GENERATE_DATA_KEY, {"context": {"department": "IT", "Project": "Alpha"}}, False),
        ],
    ),
    # KMS guide, 'Case sensitivity of the encryption context condition'
    (
        "keys without case, values with it",
        statement(
            role("app"), "kms:Decrypt", Condition={"StringEquals": {"kms:EncryptionContext:Appname": "ExampleApp"}}
        ),
        [
            (Action.DECRYPT, {"context": {"AppName": "ExampleApp"}}, True),
            (Action.DECRYPT, {"context": {"APPNAME": "ExampleApp"}}, True),
            (Action.DECRYPT, {"context": {"AppName": "exampleapp"}}, False),
        ],
    ),
    # KMS guide, kms:EncryptionContextKeys with Null: any context at all
    (
        "some encryption context",
        statement(
            role("app"),
            ["kms:Encrypt", "kms:GenerateDataKey*"],
            Condition={"Null": {"kms:EncryptionContextKeys": False}},
        ),
        [(Action.ENCRYPT, {"context": {"a": "b"}}, True), (Action.ENCRYPT, {}, False)],
    ),
    # KMS guide, kms:GrantOperations
    (
        "grants of two operations",
        statement(
            role("app"),
            "kms:CreateGrant",
            Condition={"ForAllValues:StringEquals": {"kms:GrantOperations": ["Encrypt", "ReEncryptTo"]}},
        ),
        [
            (Action.CREATE_GRANT, {"request": {"operations": ("Encrypt",)}}, True),
            (Action.CREATE_GRANT, {"request": {"operations": ("Encrypt", "ReEncryptTo")}}, True),
            (Action.CREATE_GRANT, {"request": {"operations": ("Encrypt", "Decrypt")}}, False),
        ],
    ),
    # KMS guide, kms:GrantIsForAWSResource
    (
        "grants by services only",
        statement(role("app"), "kms:CreateGrant", Condition={"Bool": {"kms:GrantIsForAWSResource": True}}),
        [(Action.CREATE_GRANT, {}, False), (Action.CREATE_GRANT, {"via_service": "datakeys.kms.keystead.io"}, True)],
    ),
    # KMS guide, kms:MessageType
    (
        "messages, not digests",
        statement(role("app"), "kms:Sign", Condition={"StringEquals": {"kms:MessageType": "RAW"}}),
        [
            (Action.SIGN, {"request": {"message_type": "RAW"}}, True),
            (Action.SIGN, {"request": {"message_type": "DIGEST"}}, False),
        ],
    ),
    # KMS guide, kms:BypassPolicyLockoutSafetyCheck
    (
        "no bypass of the lock-out check",
        statement(role("app"), "kms:PutKeyPolicy", Condition={"Null": {"kms:BypassPolicyLockoutSafetyCheck": True}}),
        [
            (Action.PUT_KEY_POLICY, {"request": {"bypass_policy_lockout_safety_check": None}}, True),
            (Action.PUT_KEY_POLICY, {"request": {"bypass_policy_lockout_safety_check": False}}, False),
            (Action.PUT_KEY_POLICY, {"request": {"bypass_policy_lockout_safety_check": True}}, False),
        ],
    ),
    # IAM guide, 'Date condition operators': before a date
    (
        "before a date",
        statement(role("app"), Condition={"DateLessThan": {"aws:CurrentTime": "2026-12-01T00:00:00Z"}}),
        [(Action.DECRYPT, {}, True), (Action.DECRYPT, {"now": datetime(2026, 12, 1, tzinfo=UTC)}, False)],
    ),
    # IAM guide, 'Condition operators', IP address
    (
        "from a range",
        statement(role("app"), Condition={"IpAddress": {"aws:SourceIp": "203.0.113.0/24"}}),
        [
            (Action.DECRYPT, {"source_ip": "203.0.113.9"}, True),
            (Action.DECRYPT, {"source_ip": "198.51.100.9"}, False),
            (Action.DECRYPT, {}, False),
        ],
    ),
    # IAM guide, 'Evaluation logic for multiple context keys or values': AND of keys, OR of values
    (
        "and of keys, or of values",
        statement(
            role("app"),
            Condition={
                "StringEquals": {"aws:ResourceTag/environment": ["prod", "preprod"]},
                "Bool": {"aws:SecureTransport": "true"},
            },
        ),
        [
            (Action.DECRYPT, {"record": {"tags": {"environment": "preprod"}}, "secure": True}, True),
            (Action.DECRYPT, {"record": {"tags": {"environment": "preprod"}}, "secure": False}, False),
            (Action.DECRYPT, {"record": {"tags": {"environment": "test"}}, "secure": True}, False),
        ],
    ),
]
CASES = [(name, one, *case) for name, one, cases in EXAMPLES for case in cases]


@pytest.mark.parametrize(
    ("one", "action", "how", "expected"), [case[1:] for case in CASES], ids=[case[0] for case in CASES]
)
def test_the_examples_of_aws_decide_as_documented(one, action, how, expected):
    answer = ask(policy(one), action, **how)
    assert allowed(answer) is expected
    assert denied(answer) is not expected


# -- the order (IAM guide, 'Policy evaluation logic'): an explicit deny overrides everything


@pytest.mark.parametrize("principal", ["*", role("app"), ROOT, ACCOUNT])
def test_an_explicit_deny_overrides_names_grants_and_the_account(principal):
    one = statement(principal, "kms:Decrypt", "Deny", Sid="no")
    document = policy(statement(role("app")), statement(ROOT), one)
    answer = ask(document, grants=[a_grant(a_key(HSM), GrantOperation.DECRYPT)])
    assert denied(answer)
    assert (answer.explicit, answer.by.ground, answer.by.name) == (True, Ground.STATEMENT, "no")
    assert allowed(ask(document, Action.ENCRYPT))


def test_a_deny_of_the_account_reaches_its_root_and_its_roles():
    document = policy(statement(), statement(ROOT, effect="Deny"))
    assert denied(ask(document, caller=OWN_ROOT))
    assert denied(ask(document))


def test_what_nothing_allows_is_denied_and_no_explicit_deny():
    answer = ask(policy(statement(role("other"))))
    assert denied(answer)
    assert (answer.explicit, answer.by.ground) == (False, Ground.NOTHING)


def test_a_principal_that_the_policy_names_needs_no_rbac():
    answer = ask(policy(statement(role("app"), Sid="app"), statement(ROOT)))
    assert allowed(answer)
    assert answer.by.name == "app"


def test_a_statement_without_a_sid_is_named_by_its_place():
    answer = ask(policy(statement(role("x")), statement(role("app"))))
    assert (answer.by.name, answer.reason) == ("Statement[1]", 'statement "Statement[1]" of the key policy allows it')


@pytest.mark.parametrize("account", [ROOT, ACCOUNT])
def test_the_account_leaves_a_service_account_to_rbac_and_its_root_may(account):
    document = policy(statement(account, "kms:Decrypt", Sid="account"))
    answer = ask(document)
    assert reviewed_in(answer) == (NAMESPACE, "key-1")
    assert "account" in answer.because
    assert allowed(ask(document, caller=OWN_ROOT))
    assert denied(ask(document, Action.ENCRYPT))


def test_without_a_statement_for_the_account_its_root_has_nothing():
    assert denied(ask(policy(statement(role("app"))), caller=OWN_ROOT))


def test_a_grant_allows_beside_the_policy():
    key = a_key(HSM)
    grant = a_grant(key, GrantOperation.DECRYPT)
    answer = ask(policy(statement(role("x"))), grants=[grant])
    assert (answer.allowed, answer.by.ground, answer.by.name) == (True, Ground.GRANT, grant.grant_id)


def test_not_principal_denies_all_but_those_named():
    document = policy(
        statement(),
        {"Effect": "Deny", "NotPrincipal": {"AWS": [role("app"), ROOT]}, "Action": "kms:*", "Resource": "*"},
    )
    assert allowed(ask(document))
    assert allowed(ask(document, caller=OWN_ROOT))
    assert denied(ask(document, caller=an_app(name="other")))
    assert denied(ask(document, caller=FOREIGN))


def test_not_action_is_about_all_others():
    document = policy(
        {"Effect": "Allow", "Principal": {"AWS": role("app")}, "NotAction": "kms:*crypt*", "Resource": "*"}
    )
    assert allowed(ask(document, Action.SIGN))
    assert denied(ask(document, Action.DECRYPT))


def test_retire_grant_is_not_given_by_a_policy_that_names_a_principal():
    # AWS KMS permissions, RetireGrant: "not effective in a key policy"
    assert denied(ask(policy(statement(role("app"))), Action.RETIRE_GRANT))
    assert reviewed_in(ask(policy(statement(ROOT)), Action.RETIRE_GRANT)) == (NAMESPACE, "key-1")


# -- another account: both sides (KMS guide, 'Allowing users in other accounts to use a KMS key')


def test_another_account_needs_the_keys_side_and_its_own():
    arn = key_arn("cluster-1", ACCOUNT, a_key(HSM).key_id)
    for principal in (OTHER_ACCOUNT, role("app", OTHER_ACCOUNT), "*"):
        document = policy(statement(principal, CRYPTO))
        answer = ask(document, caller=FOREIGN)
        assert reviewed_in(answer) == (OTHER_NAMESPACE, arn)
        assert answer.review.user == "system:serviceaccount:team-b:app"
        assert allowed(ask(document, caller=FOREIGN_ROOT)) is (principal != role("app", OTHER_ACCOUNT))
    assert denied(ask(policy(statement(ROOT), statement(role("app"))), caller=FOREIGN))


@pytest.mark.parametrize("action", sorted(set(Action) - KEYLESS))
def test_abroad_only_what_aws_lets_other_accounts_do(action):
    answer = ask(policy(statement(OTHER_ACCOUNT)), action, FOREIGN)
    assert isinstance(answer, NeedReview) is (action in ABROAD - BY_GRANT_ONLY)
    assert denied(answer) is (action not in ABROAD - BY_GRANT_ONLY)


def test_the_keys_deny_reaches_abroad():
    assert denied(ask(policy(statement(), statement(OTHER_ACCOUNT, effect="Deny")), caller=FOREIGN))


@pytest.mark.parametrize(
    "caller",
    [service_account_caller(ACCOUNT, OTHER_NAMESPACE, "app"), service_account_caller(OTHER_ACCOUNT, NAMESPACE, "app")],
)
def test_a_namespace_that_was_made_again_gets_nothing_even_from_a_star(caller):
    assert denied(ask(policy(statement()), caller=caller))


# -- people and services


def test_a_person_is_allowed_by_name_or_group_and_by_rbac_in_the_installs_namespace():
    jane = user_caller("999988887777", "keystead-records", "oidc:jane/1", "uid", ("devs",), (("a", ("b",)),))
    for principal in ("user/oidc%3Ajane%2F1", "group/devs"):
        answer = ask(policy(statement(f"arn:aws:iam::999988887777:{principal}")), caller=jane)
        assert reviewed_in(answer)[0] == "keystead-records"
        assert (answer.review.user, answer.review.uid, answer.review.groups) == ("oidc:jane/1", "uid", ("devs",))
        assert answer.review.extra == (("a", ("b",)),)
    assert denied(ask(policy(statement("arn:aws:iam::999988887777:group/ops")), caller=jane))


def test_a_service_is_allowed_by_name_alone():
    service = service_caller("999988887777", "keystead-records", "datakeys.kms.keystead.io")
    assert allowed(
        ask(
            policy(statement({"Service": "datakeys.kms.keystead.io"}, "kms:Generate*")),
            Action.GENERATE_DATA_KEY,
            service,
        )
    )
    assert denied(ask(policy(statement(ROOT), statement("999988887777")), Action.GENERATE_DATA_KEY, service))


# -- what RBAC's answer makes of it


@pytest.mark.parametrize("answer", [True, False])
def test_rbacs_answer_is_a_decision_with_its_reason(answer):
    asked = ask(policy(statement(ROOT, Sid="account")))
    decision = reviewed(asked, answer)
    assert (decision.allowed, decision.by.ground, decision.by.name) == (answer, Ground.RBAC, "decrypt kmskeys/key-1")
    assert "system:serviceaccount:team-a:app" in decision.reason
    assert 'statement "account"' in decision.reason


def test_every_decision_has_a_reason_and_what_decided():
    for caller in (an_app(), OWN_ROOT, FOREIGN, FOREIGN_ROOT):
        for action in set(Action) - KEYLESS:
            answer = ask(policy(statement(ROOT), statement(OTHER_ACCOUNT, CRYPTO)), action, caller)
            decision = answer if isinstance(answer, Decision) else reviewed(answer, allowed=False)
            assert decision.reason
            assert decision.by.ground in Ground
