"""The lock-out check: whether a new policy leaves its author able to replace it (AWS KMS, 'CreateKey', BypassPolicyLockoutSafetyCheck).

`lockout` is asked by PutKeyPolicy and CreateKey before anything is written. "Able" is what the policy can tell: a statement that names
the author, or one that leaves it to the author's account, whose RBAC can be mended; and no Deny. Conditions are asked as of the very call
that puts the policy; without one, those of an Allow do not hold and those of a Deny do.

`closes` is asked by the operator of a spec.policy, which has no calling author.
"""

from __future__ import annotations

from collections.abc import Iterator

from keystead.policy.actions import Action
from keystead.policy.caller import Caller, CallerKind, caller_of, root_caller
from keystead.policy.compiled import Index, Policy, Rule
from keystead.policy.question import Question


def lockout(policy: Policy, caller: Caller, account: str, question: Question | None = None) -> str:
    """What would keep `caller` from PutKeyPolicy on a key of `account`, in words for whoever wrote the policy; "" where nothing does.

    question: the call, as a question about PutKeyPolicy.
    """
    if caller.account != account:
        return "no other account can ever put a policy"
    rules = policy[Action.PUT_KEY_POLICY]
    for rule in rules.deny.reaching(caller):
        if _holds(rule, question, unknown=True):
            return f'statement "{rule.decision.by.name}" of the new policy denies it'
    allowing = rules.allow.reaching(caller)
    if any(_holds(rule, question, unknown=False) for rule in allowing):
        return ""
    if allowing:
        return f'the conditions of statement "{allowing[0].decision.by.name}" of the new policy do not hold for this request'
    return f"no statement of the new policy allows kms:PutKeyPolicy to {caller.principal} or leaves it to its account"


def closes(policy: Policy, account: str) -> bool:
    """Whether nobody of `account` could ever do PutKeyPolicy: what is asked of a document that has no calling author (spec.policy).

    Conditions count for the document: those of an Allow may hold one day, those of a Deny may fail to.
    """
    rules = policy[Action.PUT_KEY_POLICY]
    for caller in _candidates(rules.allow, account):
        denied = any(not rule.tests for rule in rules.deny.reaching(caller))
        if not denied and rules.allow.reaching(caller):
            return False
    return True


def _candidates(allow: Index, account: str) -> Iterator[Caller]:
    """Of the account: its root, for all whom no statement names; and the roles and sessions that an Allow names.

    Its users and groups are nobody: people are of the install's own account, whose keys are Keystead's. Only the Caller's own members are
    looked at.
    """
    yield root_caller(account, "")
    for rule in allow.rules:
        for name in rule.principals.names:
            if f":{account}:" in name and caller_of(name, "").kind is not CallerKind.USER:
                yield caller_of(name, "")


def _holds(rule: Rule, question: Question | None, *, unknown: bool) -> bool:
    if not rule.tests:
        return True
    return unknown if question is None else rule.holds(question)
