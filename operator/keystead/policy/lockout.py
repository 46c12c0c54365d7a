"""The lock-out check: whether a new policy leaves its author able to replace it (AWS KMS, 'CreateKey', BypassPolicyLockoutSafetyCheck).

Asked by PutKeyPolicy and CreateKey before anything is written. "Able" is what the policy can tell: a statement that names the author, or
one that leaves it to the author's account, whose RBAC can be mended; and no Deny. Conditions are asked as of the very call that puts the
policy; without one, those of an Allow do not hold and those of a Deny do.
"""

from __future__ import annotations

from keystead.policy.actions import Action
from keystead.policy.caller import Caller
from keystead.policy.compiled import Policy, Rule
from keystead.policy.question import Question


def locks_out(policy: Policy, caller: Caller, account: str, question: Question | None = None) -> bool:
    """Whether `caller` could no longer do PutKeyPolicy on a key of `account`. question: the call, as a question about PutKeyPolicy."""
    if caller.account != account:
        return True  # no other account can ever put a policy
    rules = policy[Action.PUT_KEY_POLICY]
    if any(_holds(rule, question, unknown=True) for rule in rules.deny.reaching(caller)):
        return True
    return not any(_holds(rule, question, unknown=False) for rule in rules.allow.reaching(caller))


def _holds(rule: Rule, question: Question | None, *, unknown: bool) -> bool:
    if not rule.tests:
        return True
    return unknown if question is None else rule.holds(question)
