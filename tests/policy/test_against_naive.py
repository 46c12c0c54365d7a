"""The evaluator against a second one that was written only for this (tests/policy/naive.py): any policy, any caller, any call."""

from __future__ import annotations

from datetime import timedelta
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import UNSET
from tests.builders import ACCOUNT, NAMESPACE, NOW, OTHER_ACCOUNT, OTHER_NAMESPACE, a_grant, a_key, an_app
from tests.policy import naive
from tests.policy.documents import HSM, Request, policy, role

from keystead.engine.clock import format_time
from keystead.engine.identifiers import data_key_arn
from keystead.engine.record import GrantConstraints
from keystead.operations.control.child_grants import parents_of
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
from keystead.policy.question import Answer, Carried, Ground, RequestFacts
from keystead.resources.vocabulary import GrantOperation

SERVICE = "datakeys.kms.keystead.io"
SOURCE, OTHER_SOURCE = (data_key_arn("cluster-1", account, "app") for account in (ACCOUNT, OTHER_ACCOUNT))
SESSION = f"arn:aws:sts::{ACCOUNT}:assumed-role/app/s-1"
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
STRINGS = ["StringEquals", "StringNotEquals", "StringEqualsIgnoreCase", "StringNotEqualsIgnoreCase"]
LIKE = ["StringLike", "StringNotLike"]
ORDERED = ["Equals", "NotEquals", "LessThan", "LessThanEquals", "GreaterThan", "GreaterThanEquals"]
NUMBERS, DATES = ([f"{kind}{order}" for order in ORDERED] for kind in ("Numeric", "Date"))
ARNS = ["ArnLike", "ArnEquals", "ArnNotLike", "ArnNotEquals"]
CONTEXT_KEYS = ["kms:EncryptionContext:x", "kms:encryptioncontext:X", "kms:EncryptionContext:y"]
TAG_KEYS = ["aws:ResourceTag/n", "AWS:resourcetag/N"]
TIMES = ["2026-11-26T08:00:00Z", "2026-11-26T09:00:00+01:00", "2026-11-26", "2026-11-27", "1795680000", "1795680000.5"]
RANGES = ["10.0.0.0/8", "10.1.2.3", "::ffff:10.1.0.0/112", "0.0.0.0/0", "::/0", "2001:db8::/32"]
ADDRESSES = ["", "10.1.2.3", "::ffff:10.1.2.3", "192.0.2.1", "2001:db8::1"]
TAGGED = ["-1", "1", "1.5", "3", "red", "true", "10.1.2.3", "2026-11-26T08:00:00Z"]
WILD_ARNS = ["arn:aws:iam::*:role/a*", "arn:*:*:*:*:root", f"arn:aws:iam::{ACCOUNT}:*", SOURCE, "arn:*:*:*:*:datakey/?pp"]
ANY_KEYS = [
    *CONTEXT_KEYS, *TAG_KEYS, "kms:EncryptionContextKeys", "kms:RequestAlias", "kms:ResourceAliases", "kms:ViaService",
    "kms:BypassPolicyLockoutSafetyCheck", "kms:GranteePrincipal", "aws:CurrentTime", "aws:SecureTransport", "aws:SourceArn", "aws:SourceIp",
]  # fmt: skip


def text(chance, letters="aAb", most=3):
    return "".join(chance.choices(letters, k=chance.randint(0, most)))


def pattern(chance):
    return text(chance, "aAb*?", 4)


def one_of(values):
    return lambda chance: chance.choice(values)


def several(chance, draw, most=2):
    """One, or a list of some."""
    values = [draw(chance) for _ in range(chance.randint(1, most))]
    return values if len(values) > 1 or chance.random() < 0.3 else values[0]


SINGLE, MULTI = ["", "", "ForAnyValue:"], ["ForAllValues:", "ForAnyValue:"]
# quantifiers, operators, keys, what the document says
BLOCKS = [
    (SINGLE, STRINGS, [*CONTEXT_KEYS, "kms:RequestAlias"], text),
    (SINGLE, LIKE, [*CONTEXT_KEYS, *TAG_KEYS, "kms:CallerAccount"], pattern),
    (SINGLE, STRINGS, ["kms:ViaService", "KMS:viaservice"], one_of([SERVICE, "other.keystead.io"])),
    (SINGLE, STRINGS, ["kms:GranteePrincipal"], one_of([SESSION, role("app"), role("x"), SESSION + "x"])),
    (MULTI, [*STRINGS, *LIKE], ["kms:EncryptionContextKeys", "kms:ResourceAliases"], text),
    (SINGLE, NUMBERS, TAG_KEYS, one_of([-2, -1, 0, 1, 2, 3, 4, "1.5", "2"])),
    (SINGLE, DATES, ["aws:CurrentTime", "aws:CurrentTime", "aws:EpochTime", *TAG_KEYS], one_of(TIMES)),
    (SINGLE, ["IpAddress", "NotIpAddress"], ["aws:SourceIp", *TAG_KEYS], one_of(RANGES)),
    (
        SINGLE,
        ["Bool"],
        ["aws:SecureTransport", "kms:MultiRegion", "kms:BypassPolicyLockoutSafetyCheck", *TAG_KEYS],
        one_of([True, False]),
    ),
    (SINGLE, ARNS, ["aws:PrincipalArn", "aws:SourceArn", *TAG_KEYS], one_of(WILD_ARNS)),
]


def condition(chance):
    if chance.random() < 0.15:
        return "Null", chance.choice(ANY_KEYS), chance.choice([True, False])
    quantifiers, operators, keys, values = chance.choice(BLOCKS)
    operator = chance.choice(quantifiers) + chance.choice(operators) + chance.choice(["", "", "IfExists"])
    return operator, chance.choice(keys), several(chance, values)


def statement(chance, caller, action):
    """Every other one is about the caller, or spares it, and about what it asks: else most calls would be nobody's."""
    deny = chance.random() < 0.4
    names = chance.sample(PRINCIPALS, chance.randint(1, 2))
    if caller.kind is not CallerKind.SERVICE and chance.random() < 0.5:
        names += chance.choice([[caller.principal], [caller.arn, caller.account], [f"arn:aws:iam::{caller.account}:root"]])
    actions = [*ACTIONS, f"kms:{action.value}"] if deny else ["*", f"kms:{action.value}"]
    principal = chance.choice([{"AWS": names}, {"AWS": names}, {"AWS": names[0], "Service": SERVICE}, "*"])
    made = {
        "Effect": "Deny" if deny else "Allow",
        "NotPrincipal" if deny and chance.random() < 0.4 else "Principal": principal,
        "NotAction" if chance.random() < 0.2 else "Action": several(chance, one_of(actions)),
        "Resource": "*",
        "Condition": {},
    }
    for operator, key, value in (condition(chance) for _ in range(chance.choice([1, 1, 2] if deny else [0, 1, 1, 2]))):
        block = made["Condition"].setdefault(operator, {})
        if key.lower() not in map(str.lower, block):  # twice is refused
            block[key] = value
    return made


def case(chance):
    """A caller, what it asks, statements, the call, grants. What decides is by turns one condition, a Deny, an Allow, a grant."""
    caller, action = chance.choice(CALLERS), chance.choice(ASKED)
    open_to = {"Service": SERVICE} if caller.kind is CallerKind.SERVICE else {"AWS": chance.choice([caller.principal, caller.account])}
    everything = {"Effect": "Allow", "Principal": open_to, "Action": "*", "Resource": "*"}
    some = [statement(chance, caller, action) for _ in range(chance.randint(1, 3))]
    grants = [granted(chance, caller, action) for _ in range(chance.randint(1, 2))]
    match chance.randrange(5):
        case 0 | 1:
            operator, key, value = condition(chance)
            one = {**everything, "Effect": chance.choice(["Allow", "Deny"]), "Condition": {operator: {key: value}}}
            return caller, action, [one, everything][: 2 if one["Effect"] == "Deny" else 1], call(chance), []
        case 2:
            return caller, action, [everything, *some], call(chance), []
        case 3:
            return caller, action, some, call(chance), grants[1:]
        case _:
            return caller, action, [{**everything, "Principal": {"AWS": role("nobody")}}], call(chance), grants


def pairs(chance, names, values, least=0):
    """At most two; of two the names may differ in case only."""
    return {name: values(chance) for name in chance.sample(names, chance.randint(least, 2))}


def limits(chance):
    """The constraints of a grant, as CreateGrant says them."""
    kind = chance.choice(["", "", "EncryptionContextEquals", "EncryptionContextSubset"])
    made = {kind: pairs(chance, ["x", "X", "y"], lambda more: text(more, "ab", 1), 1)} if kind else {}
    return made | ({"SourceArn": chance.choice([SOURCE, SOURCE, OTHER_SOURCE])} if chance.random() < 0.4 else {})


def call(chance):
    return {
        "context": pairs(chance, ["x", "X", "y"], lambda more: text(more, "ab", 1)),
        "tags": pairs(chance, ["n", "N"], one_of(TAGGED)),
        "aliases": sorted({f"alias/{text(chance)}" for _ in range(chance.randint(0, 2))}),
        "alias": chance.choice(["", "alias/a", "a"]),
        "secure": chance.choice([None, True, False]),
        "via": chance.choice(["", SERVICE]),
        "ip": chance.choice(ADDRESSES),
        "source": chance.choice(["", SOURCE, SOURCE, OTHER_SOURCE]),
        "now": NOW + timedelta(seconds=chance.choice([0, -1, 1])),
        "bypass": chance.choice([None, True, False]),
        "grantee": chance.choice([SESSION, role("x")]),
        "limits": limits(chance),
    }


def granted(chance, caller, action):
    """A grant as CreateGrant says it, mostly to this caller and of this action."""
    member = "GranteeServicePrincipal" if caller.kind is CallerKind.SERVICE else "GranteePrincipal"
    operations = set(chance.sample([each.value for each in ASKED[:5]], chance.randint(1, 4)))
    if action in ASKED[:5] and chance.random() < 0.6:
        operations |= {action.value, "Decrypt"}
    return {
        **({member: caller.principal} if chance.random() < 0.85 else {"GranteePrincipal": role("nobody")}),
        "Operations": sorted(operations),
        "Constraints": limits(chance),
        "Ends": chance.choice([None, None, NOW, NOW + timedelta(seconds=1)]),
    }


def constraints(given):
    """As records have them."""
    if not given:
        return UNSET
    return GrantConstraints(
        encryption_context_equals=given.get("EncryptionContextEquals", UNSET),
        encryption_context_subset=given.get("EncryptionContextSubset", UNSET),
        source_arn=given.get("SourceArn", UNSET),
    )


def recorded(key, grant):
    service = grant.get("GranteeServicePrincipal", UNSET)
    return a_grant(
        key,
        *map(GrantOperation, grant["Operations"]),
        grantee_principal=grant.get("GranteePrincipal", UNSET),
        grantee_service_principal=service,
        constraints=constraints(grant["Constraints"]),
        expires_at=UNSET if grant["Ends"] is None else format_time(grant["Ends"]),
    )


def said(answer: Answer) -> str:
    if isinstance(answer, NeedReview):
        return "ask there" if answer.review.name.startswith("arn:") else "ask here"
    return "allow" if answer.allowed else "deny"


ASKED = [
    Action.DECRYPT,
    Action.ENCRYPT,
    Action.DESCRIBE_KEY,
    Action.CREATE_GRANT,
    Action.RETIRE_GRANT,
    Action.PUT_KEY_POLICY,
    Action.DISABLE_KEY,
]
ALIASED = (Action.DECRYPT, Action.ENCRYPT, Action.DESCRIBE_KEY)


def asked(document, caller, action, called, grants) -> Answer:
    """What the evaluator answers."""
    key = a_key(HSM, policy=document, tags=called["tags"])
    wanted = constraints(called["limits"])
    request = Request(
        constraints=None if wanted is UNSET else wanted,
        operations=("Decrypt",),
        grantee_principal=called["grantee"],
        retiring_principal=None,
        bypass_policy_lockout_safety_check=called["bypass"],
    )
    carried = Carried(called["ip"], called["secure"], called["via"], called["source"])
    retired = a_grant(key, GrantOperation.DECRYPT, constraints=wanted)
    facts = RequestFacts(request, carried, called["alias"], lambda: called["aliases"], grant=retired)
    context = called["context"] if action in (Action.DECRYPT, Action.ENCRYPT) else {}
    records = [recorded(key, grant) for grant in grants]
    if action is Action.CREATE_GRANT:  # as CreateGrant asks
        records = parents_of(records, [GrantOperation.DECRYPT], wanted)
    return evaluate(Question(caller, action, key, records, context, called["now"], facts))


def told(caller, action, called) -> naive.Call:
    """The same call in the words of the second evaluator."""
    wanted = called["limits"]
    of_grant = wanted.get("EncryptionContextEquals", wanted.get("EncryptionContextSubset", {}))
    context = {
        Action.DECRYPT: called["context"],
        Action.ENCRYPT: called["context"],
        Action.CREATE_GRANT: of_grant,
        Action.RETIRE_GRANT: of_grant,
    }.get(action)
    facts = {
        "kms:EncryptionContextKeys": list(context or {}) or None,
        "kms:RequestAlias": called["alias"] or None if action in ALIASED else None,
        "kms:ResourceAliases": called["aliases"] or None,
        "kms:CallerAccount": caller.account,
        "kms:MultiRegion": "false",
        "kms:ViaService": called["via"] or None,
        "kms:GranteePrincipal": naive.role_of(called["grantee"]) if action is Action.CREATE_GRANT else None,
        "kms:BypassPolicyLockoutSafetyCheck": None,
        "aws:PrincipalArn": caller.principal,
        "aws:SecureTransport": None if called["secure"] is None else str(called["secure"]).lower(),
        "aws:SourceArn": called["source"] or None,
        "aws:SourceIp": called["ip"] or None,
        "aws:CurrentTime": called["now"].isoformat(),
        "aws:EpochTime": str(int(called["now"].timestamp())),
    }
    if action is Action.PUT_KEY_POLICY and called["bypass"] is not None:
        facts["kms:BypassPolicyLockoutSafetyCheck"] = str(called["bypass"]).lower()
    return naive.Call(called["now"], facts, context, called["tags"], {"Operations": ["Decrypt"], "Constraints": wanted})


@settings(max_examples=4000, deadline=None)
@given(st.integers(0, 2**48))
def test_both_say_the_same(seed):
    # By chance and not by strategies: ten times as many in the same time.
    caller, action, made, called, grants = case(Random(seed))
    document = policy(*made)
    answer = asked(document, caller, action, called, grants)
    expected = naive.decide(document, caller, action, (ACCOUNT, NAMESPACE), told(caller, action, called), grants)
    assert said(answer) == expected, (made, caller.arn, action, called, grants)
    if isinstance(answer, Decision):
        assert answer.reason and answer.by.ground is not Ground.POLICY_UNREADABLE
    else:
        assert answer.because
