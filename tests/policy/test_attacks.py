"""What a hostile author of a policy, or a hostile caller, tries: to hold a worker up, to fill its memory, to be taken for somebody else."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from tests.builders import ACCOUNT, NAMESPACE, OTHER_ACCOUNT, OTHER_NAMESPACE, a_key_id
from tests.policy.documents import ROOT, ask, holds, policy, role, statement

from keystead.engine.context import encode_context
from keystead.engine.identifiers import key_arn
from keystead.errors import MalformedPolicyDocumentError
from keystead.operations.control.grants import GrantConstraints
from keystead.policy import Action, Decision, compile_policy, root_caller, service_account_caller
from keystead.policy.caller import service_caller
from keystead.policy.compiled import Remembered
from keystead.policy.documents import MAX_BYTES
from keystead.policy.request import MOST_VALUES

ARN = key_arn("cluster-1", ACCOUNT, a_key_id())
KEYS, VALUE = "kms:EncryptionContextKeys", "kms:EncryptionContext:a"
# The most that a request can say: 8 KiB of context.
SHORT = {chr(33 + n % 90) + chr(33 + n // 90): "" for n in range(4000)}
ARNS = {f"arn:::::k{n:03x}": "" for n in range(680)}
MOST = {f"arn:::::{n:023x}": "" for n in range(MOST_VALUES)}


def allowed(answer: Any) -> bool:
    return isinstance(answer, Decision) and answer.allowed


def compact(*statements: dict[str, Any]) -> bytes:
    return json.dumps({"Version": "2012-10-17", "Statement": statements}, separators=(",", ":")).encode()


def fullest(make: Callable[[int], bytes]) -> bytes:
    """The largest document of this kind."""
    low, high = 1, MAX_BYTES
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if len(make(middle)) <= MAX_BYTES else (low, middle)
    return make(low)


def test_on(operator: str, key: str, value: Callable[[int], str], count: int) -> bytes:
    """A Deny with this one condition, beside an Allow."""
    deny = statement(effect="Deny", action="*", Condition={operator: {key: [value(n) for n in range(count)]}})
    return compact(deny, statement(action="*"))


test_on.__test__ = False  # type: ignore[attr-defined]

PATTERNS = {
    "many names": (test_on("ForAnyValue:StringLike", KEYS, lambda n: f"*{n:x}Z*", 64), [SHORT, ARNS, MOST]),
    "many ARNs": (test_on("ForAnyValue:ArnLike", KEYS, lambda n: f"arn:::::{n:x}?"[: 10 + (n < 16)], 64), [ARNS, MOST]),
    "one long value": (test_on("StringLike", VALUE, lambda n: f"*a{n:x}b*", 64), [{"a": "a" * 8000}]),
    "question marks": (test_on("StringLike", VALUE, lambda n: "*?" + "a" * 500 + "b*", 16), [{"a": "a" * 8000}]),
}
WITHOUT = {
    "conditions": lambda n: compact(statement(Condition={"StringNotEquals": {f"kms:EncryptionContext:{i:x}": "" for i in range(n)}})),
    "statements": lambda n: compact(*[statement(effect="Deny", Condition={"ForAnyValue:StringEqualsIgnoreCase": {KEYS: "?"}})] * n),
    "addresses": lambda n: compact(statement(Condition={"NotIpAddress": {"aws:SourceIp": ["1::"] * n}})),
}


def hostile(kind: str) -> tuple[bytes, list[dict[str, str]]]:
    """A policy and the contexts that it is asked about."""
    return PATTERNS[kind] if kind in PATTERNS else (fullest(WITHOUT[kind]), [SHORT, ARNS, MOST])


@pytest.mark.parametrize("kind", [*PATTERNS, *WITHOUT])
def test_no_policy_and_no_request_hold_a_worker_up(kind, steps_of):
    document, contexts = hostile(kind)
    compile_policy(document, ARN)
    for context in contexts:
        asked = {"context": context, "source_ip": "192.0.2.1"}
        ask(document, **asked)
        assert 0 < steps_of(lambda asked=asked: ask(document, **asked)) < 1_000_000  # 20 ms, by tests/bench/server/hostile.py


@pytest.mark.parametrize(("key", "value"), [(KEYS, "x"), (VALUE, "x"), ("aws:ResourceTag/a", "x")])
@pytest.mark.parametrize("count", [64, 65])
def test_patterns_on_what_a_caller_says_at_length_are_bounded(key, value, count):
    operator = "ForAnyValue:StringLike" if key == KEYS else "StringLike"
    made = test_on(operator, key, lambda n: value * (n + 1), count)
    if count == 64:
        compile_policy(made, ARN)
        compile_policy(test_on("StringLike", "aws:PrincipalArn", str, 500), ARN)
    else:
        with pytest.raises(MalformedPolicyDocumentError, match="65 patterns in conditions on contexts and tags"):
            compile_policy(made, ARN)


def test_question_marks_on_a_context_are_fewer():
    compile_policy(test_on("StringLike", VALUE, lambda _: "?", 16), ARN)
    with pytest.raises(MalformedPolicyDocumentError, match="17 question marks in conditions on contexts"):
        compile_policy(test_on("StringLike", VALUE, lambda _: "?", 17), ARN)


@pytest.mark.parametrize(
    ("operator", "key"),
    [
        ("StringEquals", VALUE),
        ("StringNotEquals", VALUE),
        ("StringNotEqualsIfExists", "kms:EncryptionContext:absent"),
        ("ForAnyValue:StringEquals", KEYS),
        ("ForAllValues:StringLike", KEYS),
        ("ForAnyValue:StringNotLike", KEYS),
        ("Null", VALUE),
    ],
)
def test_a_context_of_more_pairs_than_anybody_means_opens_nothing(operator, key):
    value = "false" if operator == "Null" else "*"
    many = {"a": "*", **{f"k{n}": "" for n in range(MOST_VALUES)}}
    assert not holds(operator, key, value, context=many)
    assert holds(operator, key, value, effect="Deny", context=many)


def test_a_grant_operation_a_thousand_times_is_none_of_those_that_may_be_granted():
    condition = {"ForAllValues:StringEquals": {"kms:GrantOperations": "Decrypt"}}
    made = policy(statement(role("app"), "kms:CreateGrant", Condition=condition))
    for count, may in ((1, True), (1000, False)):
        assert allowed(ask(made, Action.CREATE_GRANT, request={"operations": ("Decrypt",) * count})) is may


# -- memory


def test_statements_are_made_once_for_all_actions():
    made = compile_policy(compact(statement(), statement(effect="Deny", Condition={"StringEquals": {VALUE: "x"}})), ARN)
    first, second = made[Action.DECRYPT], made[Action.ENCRYPT]
    assert first.allow.rules[0] is second.allow.rules[0]
    assert first.deny.rules[0].decision is second.deny.rules[0].decision and first.deny.rules[0].tests[0] is second.deny.rules[0].tests[0]


def test_policies_that_are_written_again_and_again_are_forgotten_by_their_bytes():
    remembered = Remembered(most=10_000)
    documents = [policy(statement(role("app"), Sid=f"{n} {'x' * 1000}")) for n in range(50)]
    for document in documents:
        assert remembered.of(document, "cluster-1", ACCOUNT, a_key_id()) is not None
        assert remembered.of(b"{", "cluster-1", ACCOUNT, a_key_id()) is None
    assert 5 < len(remembered) <= 10
    again = remembered.of(documents[-1], "cluster-1", ACCOUNT, a_key_id())
    assert again is remembered.of(documents[-1], "cluster-1", ACCOUNT, a_key_id())
    assert again is not remembered.of(documents[-1], "cluster-1", ACCOUNT, a_key_id(2))


# -- who is meant


def test_constraints_that_constrain_nothing_are_none():
    wanted = {"StringEquals": {"kms:GrantConstraintType": ["EncryptionContextEquals", "EncryptionContextSubset", "SourceArn"]}}
    must = policy(statement(role("app"), Condition=wanted))
    unless = policy(statement(role("app")), statement(effect="Deny", Condition={"Null": {"kms:GrantConstraintType": "true"}}))
    for document in (must, unless):
        for given, may in ((GrantConstraints(), False), (None, False), (GrantConstraints(source_arn="arn:x"), True)):
            assert allowed(ask(document, Action.CREATE_GRANT, request={"constraints": given})) is may, given


@pytest.mark.parametrize("caller", [root_caller, lambda *place: service_account_caller(*place, "app", session="s-1")])
def test_a_policy_lets_no_other_account_retire_grants(caller):
    answer = ask(policy(statement([ROOT, OTHER_ACCOUNT])), Action.RETIRE_GRANT, caller(OTHER_ACCOUNT, OTHER_NAMESPACE))
    assert answer == Decision(False, answer.reason)
    assert allowed(ask(policy(statement(ROOT)), Action.RETIRE_GRANT, root_caller(ACCOUNT, NAMESPACE)))


def test_a_deny_of_all_but_some_reaches_services_sessions_and_accounts_that_are_not_named():
    def spared(names: Any, caller: Any) -> bool:
        document = policy(statement(), {**statement(effect="Deny"), "Principal": None, "NotPrincipal": names})
        written = json.loads(document)
        del written["Statement"][1]["Principal"]
        return not getattr(ask(json.dumps(written).encode(), caller=caller), "explicit", False)

    app = service_account_caller(ACCOUNT, NAMESPACE, "app", session="s-1")
    service = service_caller("999988887777", "keystead-records", "datakeys.kms.keystead.io")
    assert spared({"AWS": [role("app"), ROOT]}, app) and spared({"AWS": [app.arn, ACCOUNT]}, app)
    for names in ({"AWS": role("app")}, {"AWS": app.arn}, {"AWS": [role("app"), OTHER_ACCOUNT]}, {"AWS": [role("app2"), ROOT]}):
        assert not spared(names, app), names
    for names in ({"AWS": ROOT}, {"AWS": app.arn + "2"}, {"AWS": role("app2")}, {"AWS": role("app", OTHER_ACCOUNT)}, {"Service": "app.x"}):
        assert not spared(names, app), names
    assert not spared({"AWS": role("app")}, service) and spared({"Service": service.principal}, service)


LOOK_ALIKES = ["１１１１２２２２３３３３", "arn:aws:iam::*:root", "ARN:aws:iam::111122223333:root", "*\u200b", f"{ROOT}/", "**"]


@pytest.mark.parametrize("text", LOOK_ALIKES)
def test_a_text_that_only_looks_like_a_principal_is_none(text):
    with pytest.raises(MalformedPolicyDocumentError):
        compile_policy(policy(statement(text)), ARN)


@pytest.mark.parametrize(
    ("network", "address"),
    [
        ("0.0.0.0/0", "::1"),
        ("::/0", "192.0.2.1"),
        ("::/0", "::ffff:192.0.2.1"),
        ("192.0.2.0/24", "::192.0.2.1"),
        ("192.0.2.0/24", "64:ff9b::c000:201"),
    ],
)
def test_an_address_of_one_family_is_in_no_range_of_the_other(network, address):
    assert not holds("IpAddress", "aws:SourceIp", network, source_ip=address)
    assert holds("NotIpAddress", "aws:SourceIp", network, effect="Deny", source_ip=address)


def test_texts_are_compared_as_they_are_written_and_not_as_they_look():
    assert not holds("StringEquals", VALUE, "\u00e9", context={"a": "e\u0301"})
    assert not holds("StringEquals", VALUE, "a", context={"a": "\u0430"})
    assert not holds("StringLike", VALUE, "a?c", context={"a": "ac"})
    assert holds("StringLike", VALUE, "a*c", context={"a": "a\n\x00c"})


def test_the_contexts_of_these_tests_are_such_as_a_request_may_have():
    assert all(encode_context(each) for each in (SHORT, ARNS, MOST))
