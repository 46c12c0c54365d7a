"""A document made ready to be asked: for each action the statements that can matter to it, with their conditions as tests.

`compile_policy` is for who has a new document (PutKeyPolicy, CreateKey, the operator); `policy_of` for each decision about a record: it
remembers what it compiled, by the very bytes of the record and its key's ARN. Pure: the memory changes no answer.
"""

from __future__ import annotations

import json
from functools import lru_cache
from typing import Final, NamedTuple

from msgspec import UNSET

from keystead.engine.identifiers import key_arn
from keystead.engine.plan.key_settings import default_policy
from keystead.engine.record import KeyRecord
from keystead.errors import MalformedPolicyDocumentError
from keystead.policy.actions import Action
from keystead.policy.caller import Caller
from keystead.policy.conditions import Test, test_of
from keystead.policy.documents import Document, Effect, Statement, check_covers, parse
from keystead.policy.principals import Principals
from keystead.policy.question import By, Decision, Ground, Question

_REMEMBERED: Final = 8192


class Rule(NamedTuple):
    """A statement for one action. `decision`: what it answers where it decides."""

    principals: Principals
    except_principals: bool
    tests: tuple[Test, ...]
    decision: Decision
    label: str

    def reaches(self, caller: Caller) -> bool:
        """Whether a Deny is about this caller, itself or by its account."""
        return not self.principals.spare(caller) if self.except_principals else self.principals.reach(caller)

    def holds(self, question: Question) -> bool:
        """Whether all its conditions do."""
        for test in self.tests:  # noqa: SIM110 - a generator would cost more than most tests
            if not test(question):
                return False
        return True


class Rules(NamedTuple):
    """The statements for one action, in the order of the document."""

    deny: tuple[Rule, ...]
    allow: tuple[Rule, ...]


class Policy(dict[Action, Rules]):
    """The rules by action; those of an action are made when it is first asked for."""

    __slots__ = ("document",)

    def __init__(self, document: Document) -> None:
        super().__init__()
        self.document = document

    def __missing__(self, action: Action) -> Rules:
        rules = self[action] = Rules(
            tuple(_rules(self.document, action, Effect.DENY)), tuple(_rules(self.document, action, Effect.ALLOW))
        )
        return rules


def compile_policy(text: str | bytes, arn: str) -> Policy:
    """The policy of the key of this ARN. MalformedPolicyDocumentError names the place."""
    document = parse(text)
    check_covers(document, arn)
    return Policy(document)


def policy_of(key: KeyRecord) -> Policy | None:
    """The policy that a key is served by; None where its record has one that cannot be read (written before policies were enforced)."""
    if key.policy is UNSET:
        return _default(key.account)
    return _own(key.policy, key.region, key.account, key.key_id)


def default_of(key: KeyRecord) -> Policy:
    """The default policy of a key's account: the account decides."""
    return _default(key.account)


@lru_cache(maxsize=_REMEMBERED)
def _own(text: bytes, region: str, account: str, key_id: str) -> Policy | None:
    try:
        return compile_policy(text, key_arn(region, account, key_id))
    except MalformedPolicyDocumentError:
        return None


@lru_cache(maxsize=_REMEMBERED)
def _default(account: str) -> Policy:
    return Policy(parse(json.dumps(default_policy(account))))


def _rules(document: Document, action: Action, effect: Effect) -> list[Rule]:
    rules = []
    for statement in document.statements:
        if statement.effect is effect and action in statement.actions:
            tests = _tests(statement, action)
            if tests is not None:
                rules.append(_rule(statement, tests))
    return rules


def _tests(statement: Statement, action: Action) -> tuple[Test, ...] | None:
    """The conditions that must be looked at; None where one of them never holds for this action."""
    made: list[Test] = []
    for condition in statement.conditions:
        test = test_of(condition, action, statement.effect is Effect.DENY)
        if test is False:
            return None
        if not isinstance(test, bool):
            made.append(test)
    return tuple(made)


def _rule(statement: Statement, tests: tuple[Test, ...]) -> Rule:
    deny = statement.effect is Effect.DENY
    words = "denies" if deny else "allows"
    by = By(Ground.STATEMENT, statement.label)
    decision = Decision(not deny, f"statement {statement.label} of the key policy {words} it", by, explicit=deny)
    return Rule(statement.principals, statement.except_principals, tests, decision, statement.label)
