"""The decision: an ordered list of rules; the first one that has an answer gives it (STYLE 6). The order is tested.

Source: IAM, 'Policy evaluation logic'; AWS KMS, 'Determining access to AWS KMS keys'. The order:

    1  unreadable  a policy that cannot be read serves nobody. What shows or replaces it goes on below by the default policy, so that the
                   key can be opened again
    2  misplaced   account and namespace of caller and key agree in one and differ in the other: a namespace made again. Denied
    3  not abroad  a caller of another account, and an action that AWS allows within the account only: denied, whatever the policy says
    4  deny        an explicit Deny statement that reaches the caller, itself or by its account
    5  only grant  `--grant ID` was given: that grant or nothing
    6  named       an Allow statement that names the caller itself
    7  grant       a grant that allows it
    8  account     an Allow statement that names the caller's account: the account decides
    9  anybody else: denied

Rules 6 to 8 are the KEY'S side. In the key's own account 6 and 7 are enough, and 8 means: the root may, RBAC decides for a ServiceAccount.
A caller of another account needs its OWN side too (dual control): the root may; for anybody else RBAC is asked in the namespace of
the caller's account, for the verb on kmskeys with the key's ARN as the name. No object of Kubernetes can have that name, so that a Role
that lists names of keys never reaches abroad by chance, and one that is to reach there says the ARN, or names no resource at all, as
`"Resource": "*"` at AWS. No account decides about a service: for it, the key's side is enough.

What the rules come to for one caller is worked out once, as steps (reach.py): a call runs through those that are left.

An empty list never means allow. Decisions carry a reason for people and logs; public texts are in operations.refusals.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import lru_cache, partial
from typing import Final, NamedTuple, TypeAlias
from urllib.parse import unquote

from keystead.engine.clock import format_time
from keystead.engine.identifiers import key_arn
from keystead.policy.actions import ABROAD, ACTIONS, BY_GRANT_ONLY, Action
from keystead.policy.caller import Caller, CallerKind
from keystead.policy.compiled import Policy, Rule, default_of, policy_of
from keystead.policy.conditions import Test
from keystead.policy.grants import GrantQuestion, allows
from keystead.policy.question import (
    NO_FACTS,
    Answer,
    By,
    Carried,
    Decision,
    Ground,
    NeedReview,
    Question,
    RequestFacts,
)
from keystead.policy.reach import Reach, remembered
from keystead.policy.review import SubjectAccessReview, service_account_groups, service_account_user

__all__ = [
    "NO_FACTS",
    "RULES",
    "Answer",
    "By",
    "Carried",
    "Decision",
    "Ground",
    "NeedReview",
    "Question",
    "RequestFacts",
    "decide",
    "evaluate",
    "evaluate_keyless",
    "review_of",
    "reviewed",
]

# A caller asks the same again and again, and facts are found by the review.
_REVIEWS: Final = 4096
_OF_POLICY: Final = frozenset({Action.DESCRIBE_KEY, Action.GET_KEY_POLICY, Action.PUT_KEY_POLICY})
_PERSON: Final = ":user/"
_BACKUP: Final = Decision(True, "the root of the account ends what was granted in it", By(Ground.ACCOUNT))


Ask: TypeAlias = Callable[[Question], Answer | None]


class Step(NamedTuple):
    """The answer to calls that pass its tests, or whom to ask for it: grants and RBAC, which are others for each call and key."""

    tests: tuple[Test, ...]
    answer: Decision | Ask


Steps: TypeAlias = Iterable[Step]
Decide: TypeAlias = Callable[[Question, Reach], Steps]


def _is_foreign(question: Question) -> bool:
    return question.caller.account != question.key.account


def _misplaced(question: Question, _: Reach) -> Steps:
    caller, key = question.caller, question.key
    if (caller.account == key.account) is not (caller.namespace == key.namespace):
        yield Step((), Decision(False, "the caller's account and namespace are not both those of the key, nor both others"))


def _not_abroad(question: Question, _: Reach) -> Steps:
    if _is_foreign(question) and question.action not in ABROAD and question.caller.kind is not CallerKind.SERVICE:
        yield Step((), Decision(False, f"the key belongs to another account, which no policy can let do {question.action}"))


def _deny(_: Question, reach: Reach) -> Steps:
    for rule in reach.deny:
        yield Step(rule.tests, rule.decision)


def _only_grant(question: Question, _: Reach) -> Steps:
    only = question.caller.only_grant
    if only is not None:
        yield Step((), _by_grants)
        yield Step((), Decision(False, f"grant {only} does not allow {question.action} here"))


def _named(question: Question, reach: Reach) -> Steps:
    if question.action in BY_GRANT_ONLY:
        return
    for rule in reach.named:
        yield Step(rule.tests, rule.decision if not _is_foreign(question) else _callers_side(question, rule.decision))


def _grant(_question: Question, _: Reach) -> Steps:
    yield Step((), _by_grants)


def _account(question: Question, reach: Reach) -> Steps:
    if question.action in BY_GRANT_ONLY:
        # AWS, 'Retiring and revoking grants': the account can, as a backup, and what a key policy allows has no effect on it.
        if _is_foreign(question):
            return
        if question.caller.kind is CallerKind.ROOT:
            yield Step((), _BACKUP)
    for rule in reach.account:
        answer = _of_account(question, rule) if not _is_foreign(question) else _callers_side(question, rule.decision)
        if answer is not None:
            yield Step(rule.tests, answer)


def _of_account(question: Question, rule: Rule) -> Decision | Ask | None:
    """The key's own account decides about its principals."""
    kind = question.caller.kind
    if kind is CallerKind.ROOT:
        return rule.root
    return partial(_by_rbac, rule.left) if kind is CallerKind.SERVICE_ACCOUNT else None


def _callers_side(question: Question, consent: Decision) -> Decision | Ask:
    """The key's side has consented; the caller's own account must, too."""
    caller = question.caller
    if caller.kind is CallerKind.SERVICE:
        return consent
    if caller.kind is CallerKind.ROOT:
        return Decision(True, f"{consent.reason}; the caller is the root of its account", consent.by)
    return partial(_by_rbac_at_home, f"{consent.reason} on the key's side")


def _by_rbac(because: str, question: Question) -> Answer:
    key = question.key
    return asked_of(question.caller, question.action, key.namespace, key.name, because)


def _by_rbac_at_home(because: str, question: Question) -> Answer:
    caller, key = question.caller, question.key
    return asked_of(caller, question.action, caller.namespace, key_arn(key.region, key.account, key.key_id), because)


def _by_grants(question: Question) -> Answer | None:
    if not question.grants:
        return None
    now, carried = format_time(question.now), question.facts.carried
    asked = GrantQuestion(question.caller, question.action, question.key, question.context, now, carried)
    for grant in question.grants:
        if allows(grant, asked):
            consent = _granted(grant.grant_id)
            side = consent if not _is_foreign(question) else _callers_side(question, consent)
            return side if isinstance(side, Decision) else side(question)
    return None


@lru_cache(maxsize=_REVIEWS)
def _granted(grant_id: str) -> Decision:
    return Decision(True, f"grant {grant_id}", By(Ground.GRANT, grant_id))


RULES: tuple[Decide, ...] = (_misplaced, _not_abroad, _deny, _only_grant, _named, _grant, _account)


def _steps(question: Question, reach: Reach) -> tuple[Step, ...]:
    """What RULES come to for one caller and one account's keys: the same in each call, but for what tests, grants and RBAC say."""
    return tuple(step for rule in RULES for step in rule(question, reach))


def evaluate(question: Question) -> Answer:
    """The answer by the key's own policy: that of its record, else the default one."""
    policy = policy_of(question.key)
    if policy is not None:
        return decide(question, policy)
    if question.action in _OF_POLICY:
        return decide(question, default_of(question.key))
    return Decision(
        False, "the key's policy cannot be read by this version: the key serves nobody until it has another", By(Ground.POLICY_UNREADABLE)
    )


def decide(question: Question, policy: Policy) -> Answer:
    """The first answer of RULES, else no. `policy` need not be the key's."""
    for tests, answer in remembered(policy, question, _steps):
        for test in tests:
            if not test(question):
                break
        else:
            found = answer if isinstance(answer, Decision) else answer(question)
            if found is not None:
                return found
    return Decision(False, f"no rule allows {question.caller.principal} to do {question.action}")


def evaluate_keyless(caller: Caller, action: Action) -> Answer:
    """For actions without a key (GenerateRandom): root may, RBAC decides for a ServiceAccount in its own namespace."""
    if caller.only_grant is None:
        if caller.kind is CallerKind.ROOT:
            return Decision(True, "the root of the account", By(Ground.ACCOUNT))
        if caller.kind is CallerKind.SERVICE_ACCOUNT:
            return asked_of(caller, action, caller.namespace, "", "no key policy is asked about this action")
    return Decision(False, f"no rule allows {caller.principal} to do {action}")


def reviewed(asked: NeedReview, allowed: bool) -> Decision:
    """The Decision that RBAC's answer makes of a NeedReview. The same one each time: a caller's NeedReview is."""
    known = asked.decisions.get(allowed)
    if known is None:
        known = asked.decisions[allowed] = _reviewed(asked, allowed)
    return known


def _reviewed(asked: NeedReview, allowed: bool) -> Decision:
    review = asked.review
    what = f"{review.verb} {review.resource}{'/' if review.name else ''}{review.name}"
    gives = "gives" if allowed else "does not give"
    reason = f"RBAC {gives} {review.user} the verb {review.verb} on {review.name or review.resource} in {review.namespace}"
    return Decision(allowed, f"{reason} ({asked.because})" if asked.because else reason, By(Ground.RBAC, what))


@lru_cache(maxsize=_REVIEWS)
def asked_of(caller: Caller, action: Action, namespace: str, name: str, because: str) -> NeedReview:
    """RBAC is asked; `because`: what left it to RBAC."""
    return NeedReview(review_of(caller, action, namespace, name), because)


def review_of(caller: Caller, action: Action, namespace: str, name: str) -> SubjectAccessReview:
    """The SubjectAccessReview of a ServiceAccount or a person for an action on a key."""
    person = caller.kind is CallerKind.USER
    return SubjectAccessReview(
        user=unquote(caller.principal.partition(_PERSON)[2]) if person else service_account_user(caller.namespace, caller.name),
        uid=caller.uid,
        groups=caller.groups if person else service_account_groups(caller.namespace),
        verb=ACTIONS[action].verb,
        namespace=namespace,
        name=name,
        extra=caller.extra,
    )
