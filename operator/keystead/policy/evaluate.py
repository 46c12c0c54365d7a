"""The decision: an ordered list of rules; the first one that has an answer gives it (STYLE 6). The order is tested.

    1  a key with a policy of its own serves nobody: this version does not enforce policies (PolicyEnforced=False). What shows or
       replaces that policy goes on below, so that the key can be opened again
    2  a caller of another account: denied, until both sides can consent (SECURITY: dual control)
    3  a grant that allows it
    4  `--grant ID` was given: nothing else may allow
    5  the root of the key's own account, by the default policy
    6  a ServiceAccount of the key's own namespace: RBAC decides
    7  anybody else: denied

An empty list never means allow. Decisions carry a reason for people and logs; public texts are in operations.refusals.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Final, TypeAlias

from msgspec import UNSET

from keystead.engine.clock import format_time
from keystead.engine.record import GrantRecord, KeyRecord
from keystead.engine.values import per_call
from keystead.policy.actions import ACTIONS, Action
from keystead.policy.caller import Caller, CallerKind
from keystead.policy.grants import GrantQuestion, allows
from keystead.policy.review import SubjectAccessReview, service_account_groups, service_account_user


@per_call
class Question:
    """May `caller` do `action` with `key`? `context` is the request's encryption context (empty: none)."""

    caller: Caller
    action: Action
    key: KeyRecord
    grants: Sequence[GrantRecord]
    context: Mapping[str, str]
    now: datetime


@per_call
class Decision:
    """The answer, and why."""

    allowed: bool
    reason: str


@per_call
class NeedReview:
    """RBAC decides: ask, and only an explicit yes allows."""

    review: SubjectAccessReview


Answer: TypeAlias = Decision | NeedReview
Rule: TypeAlias = Callable[[Question], Answer | None]


# A caller asks the same again and again, and facts are found by the review.
_REVIEWS: Final = 4096
_ROOT_MAY: Final = Decision(True, "default key policy: the root of the key's own account")
_OF_POLICY: Final = frozenset({Action.DESCRIBE_KEY, Action.GET_KEY_POLICY, Action.PUT_KEY_POLICY})


def _own_policy(question: Question) -> Answer | None:
    if question.key.policy is UNSET or question.action in _OF_POLICY:
        return None
    return Decision(False, "the key has a policy of its own, which this version does not enforce: it serves nobody")


def _foreign(question: Question) -> Answer | None:
    caller, key = question.caller, question.key
    if caller.account == key.account and caller.namespace == key.namespace:
        return None
    return Decision(False, "the key belongs to another account")


def _grant(question: Question) -> Answer | None:
    principal = question.caller.principal
    # `allows` asks this first, too. Here it costs a call for each grant of the caller, not for each of the key's.
    own = [grant for grant in question.grants if grant.grantee_principal == principal]
    if not own:
        return None
    asked = GrantQuestion(question.caller, question.action, question.key, question.context, format_time(question.now))
    for grant in own:
        if allows(grant, asked):
            return Decision(True, f"grant {grant.grant_id}")
    return None


def _only_grant(question: Question) -> Answer | None:
    if question.caller.only_grant is None:
        return None
    return Decision(False, f"grant {question.caller.only_grant} does not allow {question.action} here")


def _root(question: Question) -> Answer | None:
    if question.caller.kind is not CallerKind.ROOT:
        return None
    return _ROOT_MAY


def _rbac(question: Question) -> Answer | None:
    if question.caller.kind is not CallerKind.SERVICE_ACCOUNT:
        return None
    return NeedReview(review_of(question.caller, question.action, question.key.namespace, question.key.name))


RULES: tuple[Rule, ...] = (_own_policy, _foreign, _grant, _only_grant, _root, _rbac)


def evaluate(question: Question) -> Answer:
    """The first answer of RULES, else no."""
    for rule in RULES:
        answer = rule(question)
        if answer is not None:
            return answer
    return Decision(False, f"no rule allows {question.caller.principal} to do {question.action}")


def evaluate_keyless(caller: Caller, action: Action) -> Answer:
    """For actions without a key (GenerateRandom): root may, RBAC decides for a ServiceAccount in its own namespace."""
    if caller.only_grant is None:
        if caller.kind is CallerKind.ROOT:
            return Decision(True, "the root of the account")
        if caller.kind is CallerKind.SERVICE_ACCOUNT:
            return NeedReview(review_of(caller, action, caller.namespace, ""))
    return Decision(False, f"no rule allows {caller.principal} to do {action}")


@lru_cache(maxsize=_REVIEWS)
def review_of(caller: Caller, action: Action, namespace: str, name: str) -> SubjectAccessReview:
    """The SubjectAccessReview of a ServiceAccount for an action on a key."""
    return SubjectAccessReview(
        user=service_account_user(caller.namespace, caller.name),
        uid=caller.uid,
        groups=service_account_groups(caller.namespace),
        verb=ACTIONS[action].verb,
        namespace=namespace,
        name=name,
    )
