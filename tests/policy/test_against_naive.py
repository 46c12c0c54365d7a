"""The evaluator against a second one that was written only for this (tests/policy/naive.py): any policy, any caller, any call."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import UNSET
from tests.builders import ACCOUNT, NAMESPACE, NOW, OTHER_ACCOUNT, OTHER_NAMESPACE, a_grant, a_key, an_app
from tests.policy import naive
from tests.policy.documents import HSM, Request, policy, role

from keystead.engine.identifiers import data_key_arn
from keystead.engine.record import GrantConstraints
from keystead.policy import (
    Action,
    CallerKind,
    Decision,
    NeedReview,
    Question,
    evaluate,
    root_caller,
    service_account_caller,
)
from keystead.policy.caller import service_caller, user_caller
from keystead.policy.question import Answer, Carried, RequestFacts
from keystead.resources.vocabulary import GrantOperation

SERVICE = "datakeys.kms.keystead.io"
SOURCE = data_key_arn("cluster-1", ACCOUNT, "app")
INSTALL = "999988887777"
CALLERS = [
    an_app(),
    an_app(session=None),
    an_app(name="other", session="s-2"),
    root_caller(ACCOUNT, NAMESPACE),
    service_account_caller(OTHER_ACCOUNT, OTHER_NAMESPACE, "app", session="s-1"),
    root_caller(OTHER_ACCOUNT, OTHER_NAMESPACE),
    service_account_caller(ACCOUNT, OTHER_NAMESPACE, "app"),
    service_account_caller(OTHER_ACCOUNT, NAMESPACE, "app"),
    user_caller(INSTALL, "keystead-records", "jane", groups=("devs",)),
    user_caller(ACCOUNT, NAMESPACE, "jane", groups=("ops", "devs")),
    service_caller(INSTALL, "keystead-records", SERVICE),
]
PRINCIPALS = [
    "*",
    ACCOUNT,
    OTHER_ACCOUNT,
    f"arn:aws:iam::{ACCOUNT}:root",
    f"arn:aws:iam::{OTHER_ACCOUNT}:root",
    INSTALL,
    role("app"),
    role("app", OTHER_ACCOUNT),
    role("other"),
    f"arn:aws:sts::{ACCOUNT}:assumed-role/app/s-1",
    f"arn:aws:sts::{ACCOUNT}:assumed-role/other/s-1",
    f"arn:aws:iam::{INSTALL}:user/jane",
    f"arn:aws:iam::{ACCOUNT}:user/jane",
    f"arn:aws:iam::{INSTALL}:group/devs",
    f"arn:aws:iam::{ACCOUNT}:group/devs",
]
ACTIONS = [
    "kms:*",
    "*",
    "kms:Decrypt",
    "kms:decrypt",
    "kms:*crypt*",
    "kms:Describe*",
    "kms:?ncrypt",
    "kms:Put*",
    "kms:RetireGrant",
    "kms:CreateGrant",
]
TEXT = st.text("aAb", max_size=3)
PATTERN = st.text("aAb*?", max_size=4)
several = lambda values, most=2: st.one_of(values, st.lists(values, min_size=1, max_size=most))  # noqa: E731

STRINGS = ["StringEquals", "StringNotEquals", "StringEqualsIgnoreCase", "StringNotEqualsIgnoreCase"]
NUMBERS = [
    "NumericEquals",
    "NumericNotEquals",
    "NumericLessThan",
    "NumericLessThanEquals",
    "NumericGreaterThan",
    "NumericGreaterThanEquals",
]
CONTEXT_KEY = "kms:EncryptionContext:x"
SINGLE = st.sampled_from(["", "ForAnyValue:"])
MULTI = st.sampled_from(["ForAllValues:", "ForAnyValue:"])
IF = st.sampled_from(["", "IfExists"])


def block(prefix, operators, keys, values):
    return st.builds(
        lambda first, operator, last, key, value: (f"{first}{operator}{last}", key, value),
        prefix,
        st.sampled_from(operators),
        IF,
        st.sampled_from(keys),
        several(values),
    )


CONDITIONS = st.one_of(
    block(SINGLE, STRINGS, [CONTEXT_KEY, "kms:RequestAlias"], TEXT),
    block(SINGLE, ["StringLike", "StringNotLike"], [CONTEXT_KEY, "kms:CallerAccount"], PATTERN),
    block(MULTI, [*STRINGS, "StringLike", "StringNotLike"], ["kms:EncryptionContextKeys", "kms:ResourceAliases"], TEXT),
    block(SINGLE, NUMBERS, ["aws:ResourceTag/n"], st.integers(-2, 4) | st.sampled_from(["1.5", "2"])),
    block(SINGLE, ["Bool"], ["aws:SecureTransport", "kms:MultiRegion"], st.booleans()),
    block(
        SINGLE,
        ["ArnLike", "ArnEquals", "ArnNotLike"],
        ["aws:PrincipalArn"],
        st.sampled_from(["arn:aws:iam::*:role/a*", "arn:*:*:*:*:root", f"arn:aws:iam::{ACCOUNT}:*"]),
    ),
    st.tuples(
        st.just("Null"), st.sampled_from([CONTEXT_KEY, "kms:ResourceAliases", "aws:SecureTransport"]), st.booleans()
    ),
)


@st.composite
def statements(draw):
    deny = draw(st.booleans())
    names = draw(st.lists(st.sampled_from(PRINCIPALS), min_size=1, max_size=3))
    principal = draw(st.sampled_from([{"AWS": names}, {"AWS": names}, {"AWS": names[0], "Service": SERVICE}, "*"]))
    made = {
        "Effect": "Deny" if deny else "Allow",
        "NotPrincipal" if deny and draw(st.integers(0, 3)) == 0 else "Principal": principal,
        "NotAction" if draw(st.integers(0, 4)) == 0 else "Action": draw(several(st.sampled_from(ACTIONS))),
        "Resource": "*",
        "Condition": {},
    }
    for operator, key, value in draw(st.lists(CONDITIONS, max_size=2)):
        made["Condition"].setdefault(operator, {})[key] = value
    return made


@st.composite
def calls(draw):
    context = draw(st.dictionaries(st.sampled_from(["x", "y"]), TEXT, max_size=2))
    tags = draw(st.dictionaries(st.just("n"), st.sampled_from(["-1", "1", "1.5", "3"]), max_size=1))
    aliases = draw(st.lists(TEXT.map(lambda text: f"alias/{text}"), max_size=2, unique=True))
    return (
        context,
        tags,
        aliases,
        draw(st.sampled_from(["", "alias/a", "a"])),
        draw(st.sampled_from([None, True, False])),
    )


def whom(caller):
    if caller.kind is not CallerKind.SERVICE:
        return {"to": caller.principal}
    source = GrantConstraints(source_arn=SOURCE)
    return {"grantee_principal": UNSET, "grantee_service_principal": caller.principal, "constraints": source}


def said(answer: Answer) -> str:
    if isinstance(answer, NeedReview):
        return "ask there" if answer.review.name.startswith("arn:") else "ask here"
    return "allow" if answer.allowed else "deny"


ASKED = [
    Action.DECRYPT,
    Action.ENCRYPT,
    Action.DESCRIBE_KEY,
    Action.PUT_KEY_POLICY,
    Action.CREATE_GRANT,
    Action.RETIRE_GRANT,
    Action.DISABLE_KEY,
]


@settings(max_examples=400, deadline=None)
@given(
    st.lists(statements(), min_size=1, max_size=4),
    st.sampled_from(CALLERS),
    st.sampled_from(ASKED),
    calls(),
    st.booleans(),
)
def test_both_say_the_same(made, caller, action, called, granted):
    context, tags, aliases, alias, secure = called
    document = policy(*made)
    key = a_key(HSM, policy=document, tags=tags)
    grants = [a_grant(key, *GrantOperation, **whom(caller))] if granted else []
    source = SOURCE if caller.kind is CallerKind.SERVICE else ""
    request = Request(
        constraints=None,
        operations=("Decrypt",),
        grantee_principal=role("x"),
        retiring_principal=None,
        bypass_policy_lockout_safety_check=False,
    )
    facts = RequestFacts(
        request, Carried("", secure, source_arn=source), alias, lambda: aliases, grant=a_grant(key, GrantOperation.DECRYPT)
    )
    answer = evaluate(Question(caller, action, key, grants, context, NOW, facts))

    uses_context = action in (Action.DECRYPT, Action.ENCRYPT)
    plain = {
        CONTEXT_KEY: context.get("x") if uses_context else None,
        "kms:EncryptionContextKeys": list(context) or None if uses_context else None,
        "kms:RequestAlias": alias or None if action in (Action.DECRYPT, Action.ENCRYPT, Action.DESCRIBE_KEY) else None,
        "kms:ResourceAliases": aliases or None,
        "kms:CallerAccount": caller.account,
        "kms:MultiRegion": "false",
        "aws:PrincipalArn": caller.principal,
        "aws:SecureTransport": None if secure is None else str(secure).lower(),
        "aws:ResourceTag/n": tags.get("n"),
    }
    grantable = action.value in set(GrantOperation)
    expected = naive.decide(document, caller, action, (ACCOUNT, NAMESPACE), plain, granted and grantable)
    assert said(answer) == expected
    if isinstance(answer, Decision):
        assert answer.reason
    else:
        assert answer.because
