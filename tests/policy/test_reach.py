"""What a policy remembers of its callers: only what is the same in all calls of a caller that come one way, and each caller's own."""

from __future__ import annotations

from datetime import timedelta
from itertools import product

import pytest
from tests.builders import ACCOUNT, NOW, OTHER_ACCOUNT, a_grant, a_key, an_app
from tests.policy.documents import HSM, ROOT, Request, ask, policy, role, statement

from keystead.policy import Action, Decision, NeedReview, Question, compile_policy
from keystead.policy.conditionkeys import KEYS, STEADY
from keystead.policy.evaluate import decide, evaluate
from keystead.policy.question import Carried, RequestFacts
from keystead.policy.reach import Memory, reach_of
from keystead.resources.vocabulary import GrantOperation, KeySpec, KeyUsage

KEY = a_key(HSM)
ARN = f"arn:aws:kms:eu-central-1:{ACCOUNT}:key/{KEY.key_id}"
SENT = Carried("10.0.0.1", True, "datakeys.eu-central-1.amazonaws.com", f"arn:aws:kms:eu-central-1:{OTHER_ACCOUNT}:datakey/x")


def test_a_steady_key_looks_at_nothing_but_the_caller_and_the_way():
    other_key = a_key(HSM, spec=KeySpec.RSA_2048, usage=KeyUsage.ENCRYPT_DECRYPT, account=OTHER_ACCOUNT, tags={"a": "b"})
    grant = a_grant(KEY, GrantOperation.DECRYPT)
    for name, action in product(STEADY, (Action.DECRYPT, Action.DESCRIBE_KEY, Action.CREATE_GRANT)):
        take = KEYS[name.lower()].source(action)
        assert take is not None
        facts = RequestFacts(Request(), SENT, "alias/a", lambda: ["alias/b"], "other", grant)
        one = Question(an_app(), action, KEY, (), {}, NOW, RequestFacts(carried=SENT))
        two = Question(an_app(), action, other_key, (grant,), {"tenant": "a"}, NOW + timedelta(days=400), facts)
        assert take(one) == take(two) is not None, name


def from_inside_only() -> bytes:
    inside = {"NotIpAddress": {"aws:SourceIp": "10.0.0.0/8"}, "StringEquals": {"kms:EncryptionContext:tenant": ["a", "b"]}}
    return policy(statement(action="kms:Decrypt", effect="Deny", Condition=inside), statement(ROOT), statement(role("app")))


@pytest.mark.parametrize("order", [(0, 1, 2, 3), (3, 2, 1, 0), (1, 1, 0, 0, 3, 2)])
def test_what_is_remembered_of_one_way_is_not_believed_of_another(order):
    calls = [("10.0.0.1", "a", True), ("192.0.2.1", "a", False), ("192.0.2.1", "c", True), ("10.0.0.1", "c", True)]
    compiled, caller = compile_policy(from_inside_only(), ARN), an_app()
    for ip, tenant, allowed in (calls[number] for number in order):
        question = Question(caller, Action.DECRYPT, KEY, (), {"tenant": tenant}, NOW, RequestFacts(carried=Carried(ip)))
        answer = decide(question, compiled)
        assert isinstance(answer, Decision) and answer.allowed is allowed, (ip, tenant)


def test_each_caller_has_its_own_and_no_number_is_believed_of_an_object_that_is_gone():
    not_the_other = {"ArnEquals": {"aws:PrincipalArn": role("other")}}
    document = policy(statement(effect="Deny", Condition=not_the_other), statement([role("app"), role("other")]))
    for _ in range(50):
        for name, allowed in (("app", True), ("other", False)):
            answer = ask(document, caller=an_app(name=name))  # whose object is gone afterwards
            assert isinstance(answer, Decision) and answer.allowed is allowed


def test_what_is_remembered_of_a_caller_keeps_it_so_that_no_other_gets_its_number():
    compiled, caller = compile_policy(from_inside_only(), ARN), an_app()
    decide(Question(caller, Action.DECRYPT, KEY, (), {}, NOW, RequestFacts(carried=SENT)), compiled)
    [(_, kept)] = compiled.reached.values()
    assert kept is caller


def test_keys_that_share_a_policy_have_each_its_own_answer():
    caller = an_app()
    for name in ("one", "other", "one"):
        key = a_key(HSM, name=name)  # without a policy of its own: the account's default one
        answer = evaluate(Question(caller, Action.DECRYPT, key, (), {}, NOW))
        assert isinstance(answer, NeedReview) and answer.review.name == name
    answer = evaluate(Question(caller, Action.DECRYPT, a_key(HSM, namespace="elsewhere"), (), {}, NOW))
    assert isinstance(answer, Decision) and answer.allowed is False


def test_what_is_decided_once_is_not_looked_at_again():
    compiled = compile_policy(from_inside_only(), ARN)
    inside, outside = (
        reach_of(compiled, Question(an_app(), Action.DECRYPT, KEY, (), {}, NOW, RequestFacts(carried=Carried(ip))))
        for ip in ("10.0.0.1", "192.0.2.1")
    )
    assert inside.deny == ()
    assert [len(rule.tests) for rule in outside.deny] == [1]


def test_what_is_remembered_is_bounded_over_all_policies():
    memory = Memory(most=3)
    policies = [compile_policy(from_inside_only(), ARN) for _ in range(4)]
    for each in policies[:3]:
        memory.add(each)
        each.reached["some"] = "thing"
    gone = policies.pop(0)
    del gone, each
    memory.add(policies[-1])
    assert [len(each.reached) for each in policies] == [0, 0, 0]
