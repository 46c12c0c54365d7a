"""The lock-out check (AWS KMS, 'CreateKey' and 'PutKeyPolicy', BypassPolicyLockoutSafetyCheck)."""

from __future__ import annotations

from typing import Any

import pytest
from tests.builders import ACCOUNT, NAMESPACE, NOW, OTHER_ACCOUNT, OTHER_NAMESPACE, a_key, an_app
from tests.policy.documents import HSM, ROOT, policy, role, statement

from keystead.policy import Action, Question, compile_policy, root_caller, service_account_caller
from keystead.policy.lockout import closes, lockout

ARN = f"arn:aws:kms:cluster-1:{ACCOUNT}:key/x"
PUT = "kms:PutKeyPolicy"
MET = {"StringEquals": {"kms:KeySpec": "SYMMETRIC_DEFAULT"}}
CASES = [
    ("the account", [statement(ROOT)], False, False),
    ("the role", [statement(role("app"), PUT)], False, True),
    ("everybody", [statement(action="kms:*Policy")], False, False),
    ("another role", [statement(role("other"))], True, True),
    ("another action", [statement(ROOT, "kms:GetKeyPolicy")], True, True),
    ("another account", [statement(OTHER_ACCOUNT)], True, True),
    ("a deny of the role", [statement(ROOT), statement(role("app"), PUT, "Deny")], True, False),
    ("a deny of everybody", [statement(ROOT), statement("*", "kms:*", "Deny")], True, True),
    ("a deny of something else", [statement(ROOT), statement("*", "kms:Decrypt", "Deny")], False, False),
    (
        "a deny of all but the role",
        [statement(ROOT), {"Effect": "Deny", "NotPrincipal": {"AWS": role("app")}, "Action": "*", "Resource": "*"}],
        True,
        True,
    ),
    (
        "a deny of all but the role and its account",
        [statement(ROOT), {"Effect": "Deny", "NotPrincipal": {"AWS": [role("app"), ROOT]}, "Action": "*", "Resource": "*"}],
        False,
        False,
    ),
    (
        "a deny of all but the account",
        [statement(ROOT), {"Effect": "Deny", "NotPrincipal": {"AWS": ROOT}, "Action": "*", "Resource": "*"}],
        True,
        False,
    ),
]


def locks_out(*asked: Any) -> bool:
    return lockout(*asked) != ""


@pytest.mark.parametrize(
    ("statements", "role_is_out", "root_is_out"), [case[1:] for case in CASES], ids=[case[0] for case in CASES]
)
def test_who_could_not_put_the_next_policy_is_locked_out(statements, role_is_out, root_is_out):
    made = compile_policy(policy(*statements), ARN)
    assert locks_out(made, an_app(), ACCOUNT) is role_is_out
    assert locks_out(made, root_caller(ACCOUNT, NAMESPACE), ACCOUNT) is root_is_out


def test_another_account_is_always_locked_out():
    made = compile_policy(policy(statement()), ARN)
    assert locks_out(made, service_account_caller(OTHER_ACCOUNT, OTHER_NAMESPACE, "app"), ACCOUNT)


@pytest.mark.parametrize(("condition", "out"), [(MET, False), ({"StringEquals": {"kms:KeySpec": "RSA_2048"}}, True)])
def test_conditions_are_asked_as_of_this_call(condition, out):
    asked = Question(an_app(), Action.PUT_KEY_POLICY, a_key(HSM), (), {}, NOW)
    only = compile_policy(policy(statement(ROOT, Condition=condition)), ARN)
    assert locks_out(only, an_app(), ACCOUNT, asked) is out
    denying = compile_policy(policy(statement(ROOT), statement("*", PUT, "Deny", Condition=condition)), ARN)
    assert locks_out(denying, an_app(), ACCOUNT, asked) is not out


def test_without_a_call_conditions_count_against_the_author():
    assert locks_out(compile_policy(policy(statement(ROOT, Condition=MET)), ARN), an_app(), ACCOUNT)
    denying = compile_policy(policy(statement(ROOT), statement("*", PUT, "Deny", Condition=MET)), ARN)
    assert locks_out(denying, an_app(), ACCOUNT)


def deny(principal="*", action=PUT, **members):
    return statement(principal, action, "Deny", **members)


@pytest.mark.parametrize(
    ("statements", "closed"),
    [
        ([statement(ROOT)], False),
        ([statement(role("app"), PUT)], False),
        ([statement(f"arn:aws:sts::{ACCOUNT}:assumed-role/app/one", PUT)], False),
        ([statement([f"arn:aws:iam::{ACCOUNT}:group/admins", f"arn:aws:iam::{ACCOUNT}:user/jane"], PUT)], True),
        ([statement(f"arn:aws:iam::{ACCOUNT}:group/admins", PUT), statement(role("app"), PUT)], False),
        ([statement()], False),
        ([statement(ROOT, "kms:Decrypt")], True),
        ([statement(OTHER_ACCOUNT), statement(role("app", OTHER_ACCOUNT))], True),
        ([statement({"Service": "datakeys.kms.keystead.io"})], True),
        ([statement(role("app")), deny()], True),
        ([statement(role("app")), deny(ROOT)], True),
        ([statement(role("app")), deny(role("other"))], False),
        ([statement([role("app"), role("other")]), deny(role("app"))], False),
        ([statement(ROOT), statement(role("app")), deny(role("app"))], False),
        ([statement(role("app"), Condition=MET)], False),
        ([statement(role("app")), deny(Condition=MET)], False),
        ([statement(role("app")), {**deny(), "Principal": None, "NotPrincipal": {"AWS": role("app")}}], True),
        ([statement(role("app")), {**deny(), "Principal": None, "NotPrincipal": {"AWS": [role("app"), ROOT]}}], False),
        ([statement(role("app")), {**deny(), "Principal": None, "NotPrincipal": {"AWS": ROOT}}], True),
        ([statement(role("app")), {**deny(), "Principal": None, "NotPrincipal": {"AWS": role("other")}}], True),
    ],
)
def test_a_document_closes_a_key_where_nobody_of_its_account_could_ever_put_the_next_one(statements, closed):
    whole = [{name: value for name, value in each.items() if value is not None} for each in statements]
    assert closes(compile_policy(policy(*whole), ARN), ACCOUNT) is closed
