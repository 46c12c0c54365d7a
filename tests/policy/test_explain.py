"""Why the evaluator answers as it does: what each statement and grant came to, and what an answer hangs on."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from tests.builders import (
    ACCOUNT,
    AFTER,
    APP,
    BEFORE,
    NOW,
    OTHER_ACCOUNT,
    OTHER_NAMESPACE,
    a_grant,
    a_key,
    an_app,
    root_of,
)
from tests.policy.documents import HSM, ROOT, policy, role, statement

from keystead.policy import Action, Decision, NeedReview, Question, evaluate
from keystead.policy.caller import service_account_caller, user_caller
from keystead.policy.explain import _WORDS, MAKES_GRANTS, Explanation, Standing, explain
from keystead.policy.grants import CHECKS
from keystead.policy.question import Answer
from keystead.policy.supposed import NONE, said_of, suppose
from keystead.resources.vocabulary import GrantOperation

APPLIES, LEAVES, DEPENDS, CONDITION = Standing.APPLIES, Standing.LEAVES, Standing.DEPENDS, Standing.CONDITION
PRINCIPAL, OTHER, NO_EFFECT, ENDED = Standing.PRINCIPAL, Standing.ACTION, Standing.NO_EFFECT, Standing.ENDED
RED = {"StringEquals": {"kms:EncryptionContext:team": "red"}}
VIA = {"StringEquals": {"kms:ViaService": "datakeys.kms.keystead.io"}}
TLS = {"Bool": {"aws:SecureTransport": "false"}}
FAR = service_account_caller(OTHER_ACCOUNT, OTHER_NAMESPACE, "far")
OTHER_ROLE = role("other")
JANE = user_caller("999988887777", "keystead-records", "jane", groups=("ops",))


def told(document: bytes | None, *, action: Action = Action.DECRYPT, caller: Any = None, grants: Any = (), **facts: str) -> Explanation:
    """The explanation for `app`. facts: condition keys, `_` for what Python's names do not have."""
    key = a_key(HSM, **({} if document is None else {"policy": document}))
    made = [make(key) if callable(make) else make for make in grants]
    asked = suppose(action, key, said_of({NAMES.get(name, name): (value,) for name, value in facts.items()}))
    return explain(Question(caller or an_app(), action, key, made, asked.context, NOW, asked.facts), asked.unsaid)


NAMES = {
    "team": "kms:EncryptionContext:team",
    "via": "kms:ViaService",
    "secure": "aws:SecureTransport",
    "context": "kms:EncryptionContext",
    "source_ip": "aws:SourceIp",
}


def one(document: dict[str, Any], **how: Any) -> Standing:
    return told(policy(document), **how).statements[0].standing


@pytest.mark.parametrize(
    ("written", "how", "standing"),
    [
        (statement(APP, "kms:Decrypt"), {}, APPLIES),
        (statement("*", "kms:Decrypt"), {}, APPLIES),
        (statement(ROOT), {}, LEAVES),
        (statement(APP, "kms:Encrypt"), {}, OTHER),
        (statement(role("other")), {}, PRINCIPAL),
        (statement(APP, Condition=RED), {"team": "red"}, APPLIES),
        (statement(APP, Condition=RED), {"team": "blue"}, CONDITION),
        (statement(APP, Condition=RED), {"context": NONE}, CONDITION),
        (statement(APP, Condition=RED), {}, DEPENDS),
        (statement(APP, Condition=VIA), {}, DEPENDS),
        (statement(APP, Condition=VIA), {"via": NONE}, CONDITION),
        (statement(APP, Condition={**RED, "Bool": {"kms:MultiRegion": "true"}}), {}, CONDITION),
        (statement(ROOT, effect="Deny", Condition=TLS), {}, DEPENDS),
        (statement(ROOT, effect="Deny", Condition=TLS), {"secure": "true"}, CONDITION),
        (statement(ROOT, effect="Deny", Condition=TLS), {"secure": "false"}, APPLIES),
        (statement(APP), {"action": Action.RETIRE_GRANT}, NO_EFFECT),
        (statement(FAR.principal), {"caller": FAR, "action": Action.PUT_KEY_POLICY}, NO_EFFECT),
        (statement(APP, "kms:Sign", Condition=VIA), {}, OTHER),
    ],
)
def test_each_statement_is_told_with_what_it_came_to(written: dict[str, Any], how: dict[str, Any], standing: Standing) -> None:
    assert one(written, **how) is standing


def test_a_not_principal_spares_whom_it_names() -> None:
    written = {**statement(effect="Deny"), "NotPrincipal": {"AWS": [APP, ROOT]}}
    del written["Principal"]
    assert one(written) is PRINCIPAL
    assert one(written, caller=service_account_caller(ACCOUNT, "team-a", "other")) is APPLIES


def test_a_not_principal_that_names_no_account_is_told_to_deny_whom_it_names() -> None:
    written = {**statement(effect="Deny"), "NotPrincipal": {"AWS": APP}}
    del written["Principal"]
    note = told(policy(written)).statements[0]
    assert note.standing is APPLIES
    assert note.words.endswith(f"everybody but {APP}, and the account of {APP}, {ACCOUNT}, is not named beside it")


def test_what_failed_is_said_with_what_the_request_has() -> None:
    note = told(policy(statement(APP, Condition=RED)), team="blue").statements[0]
    assert note.words == 'StringEquals kms:EncryptionContext:team "red" does not hold: the request has "blue"'


def allowed(answer: Answer) -> bool | None:
    return answer.allowed if isinstance(answer, Decision) else None


@pytest.mark.parametrize(
    ("statements", "facts", "worst", "best"),
    [
        ((statement(APP, Condition=RED),), {}, False, True),
        ((statement(APP), statement("*", effect="Deny", Condition=TLS)), {}, False, True),
        ((statement(APP), statement("*", effect="Deny", Condition=TLS)), {"secure": "true"}, True, True),
        ((statement(APP), statement(APP, Condition=RED)), {}, True, True),
        ((statement(role("other"), Condition=RED),), {}, False, False),
        ((statement(APP, effect="Deny"), statement(APP, Condition=RED)), {}, False, False),
        ((statement(ROOT), statement(APP, Condition=RED)), {}, None, True),
    ],
)
def test_an_answer_hangs_on_facts_only_where_they_matter(
    statements: tuple[dict[str, Any], ...], facts: dict[str, str], worst: bool | None, best: bool | None
) -> None:
    found = told(policy(*statements), **facts)
    assert (allowed(found.worst), allowed(found.best)) == (worst, best)


PARTS = [
    statement(ROOT),
    statement(APP, "kms:Decrypt", Condition=RED),
    statement("*", "kms:*", "Deny", Condition=TLS),
    statement(FAR.principal, "kms:Decrypt"),
    statement(APP, "kms:Decrypt", "Deny", Condition=VIA),
]


@pytest.mark.parametrize("caller", [an_app(), FAR, JANE], ids=["own", "far", "person"])
def test_with_all_facts_given_both_answers_are_the_evaluators_own(caller: Any) -> None:
    for size in (1, 2, 3):
        for parts in itertools.combinations(PARTS, size):
            for team, secure, via in itertools.product(("red", "blue"), ("true", "false"), (NONE, "datakeys.kms.keystead.io")):
                key = a_key(HSM, policy=policy(*parts))
                facts = {"kms:EncryptionContext:team": (team,), "aws:SecureTransport": (secure,), "kms:ViaService": (via,)}
                asked = suppose(Action.DECRYPT, key, said_of(facts))
                question = Question(caller, Action.DECRYPT, key, (), asked.context, NOW, asked.facts)
                found = explain(question, asked.unsaid)
                assert found.worst == found.best == evaluate(question)


def test_whatever_the_facts_are_the_answer_lies_between_worst_and_best() -> None:
    rank = {False: 0, None: 1, True: 2}
    for parts in itertools.chain.from_iterable(itertools.combinations(PARTS, size) for size in (1, 2, 3, 4)):
        found = told(policy(*parts))
        for team, secure, via in itertools.product(("red", "blue"), ("true", "false"), (NONE, "datakeys.kms.keystead.io")):
            real = rank[allowed(told(policy(*parts), team=team, secure=secure, via=via).worst)]
            assert rank[allowed(found.worst)] <= real <= rank[allowed(found.best)]


def test_facts_that_nobody_gave_are_named_once() -> None:
    deny = statement(APP, effect="Deny", Condition={**TLS, **VIA})
    found = told(policy(statement(APP, Condition=RED), deny, statement(APP, Condition=VIA)))
    assert found.needs == ("kms:EncryptionContext:team", "aws:SecureTransport", "kms:ViaService")


def test_a_symmetric_key_leaves_no_choice_of_algorithm() -> None:
    only = {"StringEquals": {"kms:EncryptionAlgorithm": "SYMMETRIC_DEFAULT"}}
    assert one(statement(APP, Condition=only)) is APPLIES


@pytest.mark.parametrize(
    ("make", "how", "standing"),
    [
        (lambda key: a_grant(key, GrantOperation.DECRYPT), {}, APPLIES),
        (lambda key: a_grant(key, GrantOperation.ENCRYPT), {}, OTHER),
        (lambda key: a_grant(key, GrantOperation.DECRYPT, to=role("other")), {}, PRINCIPAL),
        (lambda key: a_grant(key, GrantOperation.DECRYPT, expires_at=BEFORE), {}, ENDED),
        (lambda key: a_grant(key, GrantOperation.DECRYPT, subset={"team": "red"}), {}, DEPENDS),
        (lambda key: a_grant(key, GrantOperation.DECRYPT, subset={"team": "red"}), {"team": "red"}, APPLIES),
        (lambda key: a_grant(key, GrantOperation.DECRYPT, equals={"team": "red"}), {"team": "blue"}, CONDITION),
        (lambda key: a_grant(key, GrantOperation.CREATE_GRANT), {"action": Action.CREATE_GRANT}, DEPENDS),
        (lambda key: a_grant(key, GrantOperation.CREATE_GRANT, expires_at=AFTER), {"action": Action.CREATE_GRANT}, NO_EFFECT),
        (lambda key: a_grant(key, GrantOperation.DECRYPT, to=OTHER_ROLE, retiring_principal=APP), {"action": Action.RETIRE_GRANT}, APPLIES),
    ],
)
def test_each_grant_is_told_with_what_it_came_to(make: Any, how: dict[str, Any], standing: Standing) -> None:
    found = told(policy(statement(role("nobody"))), grants=(make,), **how)
    assert found.grants[0].standing is standing
    assert (allowed(found.best) is True) is (standing in (APPLIES, DEPENDS))
    assert (allowed(found.worst) is True) is (standing is APPLIES)


def test_a_grant_that_makes_grants_hangs_on_the_new_ones_terms() -> None:
    found = told(policy(statement(role("x"))), grants=(lambda key: a_grant(key, GrantOperation.CREATE_GRANT),), action=Action.CREATE_GRANT)
    assert found.needs == (MAKES_GRANTS,)


def test_every_check_of_a_grant_has_its_words() -> None:
    assert set(_WORDS) == {check.__name__ for check in CHECKS}


def test_the_default_policy_leaves_it_to_rbac() -> None:
    found = told(None)
    assert isinstance(found.worst, NeedReview) and found.worst == found.best
    assert [note.standing for note in found.statements] == [LEAVES]


def test_a_policy_that_cannot_be_read_has_no_statements() -> None:
    found = told(b"{}")
    assert found.statements == () and allowed(found.best) is False
    assert allowed(told(b"{}", caller=root_of(a_key(HSM)), action=Action.PUT_KEY_POLICY).worst) is True
