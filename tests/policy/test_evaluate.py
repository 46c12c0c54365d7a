"""The decision: which rule answers, in which order."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.builders import (
    ACCOUNT,
    APP,
    BEFORE,
    NAMESPACE,
    NOW,
    OTHER_ACCOUNT,
    OTHER_NAMESPACE,
    a_grant,
    a_key,
    an_app,
    another_tenants_key,
)
from tests.hsm.fake import FakeHsm

from keystead.engine.identifiers import key_arn
from keystead.policy import (
    Action,
    Decision,
    NeedReview,
    Question,
    caller_of,
    evaluate,
    root_caller,
    service_account_caller,
)
from keystead.policy.actions import ACTIONS
from keystead.policy.evaluate import RULES, evaluate_keyless
from keystead.resources.vocabulary import GrantOperation

HSM = FakeHsm()
KEY = a_key(HSM)
ROOT = root_caller(ACCOUNT, NAMESPACE)


def ask(caller, key=KEY, *grants, action=Action.DECRYPT, context=None):
    return evaluate(Question(caller, action, key, grants, context or {}, NOW))


def is_denied(answer) -> bool:
    return isinstance(answer, Decision) and answer.allowed is False and bool(answer.reason)


def is_allowed(answer) -> bool:
    return isinstance(answer, Decision) and answer.allowed is True and bool(answer.reason)


def test_the_order_of_the_rules():
    names = ["_misplaced", "_not_abroad", "_deny", "_only_grant", "_named", "_grant", "_account"]
    assert [rule.__name__ for rule in RULES] == names


@pytest.mark.parametrize("caller", [ROOT, an_app()])
def test_a_key_with_a_policy_that_cannot_be_read_serves_nobody(caller):
    key = a_key(HSM, policy=b"{}")
    assert is_denied(ask(caller, key, a_grant(key, *GrantOperation, to=caller.principal)))


OF_POLICY = (Action.DESCRIBE_KEY, Action.GET_KEY_POLICY, Action.PUT_KEY_POLICY)


@pytest.mark.parametrize("action", list(Action))
def test_of_a_key_with_an_unreadable_policy_only_the_policy_is_shown_and_changed(action):
    key = a_key(HSM, policy=b"{}")
    answers = [ask(caller, key, action=action) for caller in (ROOT, an_app())]
    if action in OF_POLICY:
        assert is_allowed(answers[0])
        assert isinstance(answers[1], NeedReview)
        assert answers[1].review.verb == action.value.lower()
    else:
        assert all(is_denied(answer) for answer in answers)


@pytest.mark.parametrize("action", OF_POLICY)
def test_an_unreadable_policy_is_nothing_to_another_account(action):
    key = a_key(HSM, policy=b"{}")
    assert is_denied(ask(root_caller(OTHER_ACCOUNT, OTHER_NAMESPACE), key, action=action))


def test_root_of_the_own_account_is_allowed_by_the_default_policy():
    assert is_allowed(ask(ROOT))


def test_a_service_account_is_a_question_for_rbac():
    answer = ask(service_account_caller(ACCOUNT, NAMESPACE, "app", uid="uid-1", session="s-1"))
    assert isinstance(answer, NeedReview)
    review = answer.review
    assert (review.user, review.uid) == ("system:serviceaccount:team-a:app", "uid-1")
    assert review.groups == ("system:serviceaccounts", "system:serviceaccounts:team-a", "system:authenticated")
    assert (review.group, review.resource, review.verb) == ("kms.keystead.io", "kmskeys", "decrypt")
    assert (review.namespace, review.name) == ("team-a", "key-1")


@pytest.mark.parametrize("action", list(Action))
def test_the_verb_is_that_of_the_action(action):
    answer = ask(an_app(), action=action)
    assert isinstance(answer, NeedReview)
    assert answer.review.verb == ACTIONS[action].verb


def test_a_grant_decides_alone_without_a_question():
    answer = ask(an_app(), KEY, a_grant(KEY, GrantOperation.DECRYPT))
    assert is_allowed(answer)
    assert answer.reason.startswith("grant ")


def test_one_matching_grant_among_many_is_enough():
    others = [a_grant(KEY, GrantOperation.DECRYPT, to=f"{APP}{n}") for n in range(20)]
    assert is_allowed(ask(an_app(), KEY, *others, a_grant(KEY, GrantOperation.DECRYPT)))


def test_a_grant_that_does_not_match_leaves_the_question_to_rbac():
    assert isinstance(ask(an_app(), KEY, a_grant(KEY, GrantOperation.DECRYPT, expires_at=BEFORE)), NeedReview)


def test_only_grant_leaves_out_rbac_and_root():
    grant = a_grant(KEY, GrantOperation.DECRYPT)
    assert is_allowed(ask(replace(an_app(), only_grant=grant.grant_id), KEY, grant))
    assert is_denied(ask(replace(an_app(), only_grant="00" * 32), KEY, grant))
    assert is_denied(ask(replace(ROOT, only_grant="00" * 32), KEY))


@pytest.mark.parametrize(
    "caller",
    [
        root_caller(OTHER_ACCOUNT, OTHER_NAMESPACE),
        service_account_caller(OTHER_ACCOUNT, OTHER_NAMESPACE, "app"),
        # An account that is not the key's, in a namespace of the key's name, and the reverse.
        service_account_caller(OTHER_ACCOUNT, NAMESPACE, "app"),
        service_account_caller(ACCOUNT, OTHER_NAMESPACE, "app"),
        root_caller(ACCOUNT, OTHER_NAMESPACE),
    ],
)
def test_another_account_or_namespace_is_denied(caller):
    assert is_denied(ask(caller))


def test_a_grant_to_another_account_needs_the_consent_of_that_account_too():
    caller = service_account_caller(OTHER_ACCOUNT, OTHER_NAMESPACE, "app")
    grant = a_grant(KEY, GrantOperation.DECRYPT, to=caller.principal)
    answer = ask(caller, KEY, grant)
    assert isinstance(answer, NeedReview)
    review = answer.review
    assert (review.user, review.verb) == ("system:serviceaccount:team-b:app", "decrypt")
    assert (review.namespace, review.name) == (OTHER_NAMESPACE, key_arn(KEY.region, KEY.account, KEY.key_id))
    assert grant.grant_id in answer.because


def test_a_user_is_allowed_by_a_grant_and_by_nothing_else():
    jane = caller_of(f"arn:aws:iam::{ACCOUNT}:user/jane", NAMESPACE)
    assert is_denied(ask(jane))
    assert is_allowed(ask(jane, KEY, a_grant(KEY, GrantOperation.DECRYPT, to=jane.principal)))


def test_no_grants_never_mean_allow():
    assert is_denied(ask(an_app(), another_tenants_key(HSM)))


def test_keyless_actions_ask_rbac_in_the_callers_namespace():
    answer = evaluate_keyless(an_app(), Action.GENERATE_RANDOM)
    assert isinstance(answer, NeedReview)
    assert (answer.review.verb, answer.review.namespace, answer.review.name) == ("generaterandom", NAMESPACE, "")
    assert is_allowed(evaluate_keyless(ROOT, Action.GENERATE_RANDOM))


def test_keyless_actions_are_denied_to_users_and_under_a_single_grant():
    assert is_denied(evaluate_keyless(caller_of(f"arn:aws:iam::{ACCOUNT}:user/x", NAMESPACE), Action.GENERATE_RANDOM))
    assert is_denied(evaluate_keyless(replace(ROOT, only_grant="00" * 32), Action.GENERATE_RANDOM))
