"""A document made ready to be asked: for each action the statements that can matter to it, with their conditions as tests.

`compile_policy` is for who has a new document (PutKeyPolicy, CreateKey, the operator); `policy_of` for each decision about a record: it
remembers what it compiled, by the very bytes of the record and its key's ARN. Pure: the memory changes no answer.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from typing import Final, NamedTuple, TypeVar

from msgspec import UNSET

from keystead.engine.identifiers import key_arn
from keystead.engine.plan.key_settings import default_policy
from keystead.engine.record import KeyRecord
from keystead.errors import MalformedPolicyDocumentError
from keystead.policy.actions import Action
from keystead.policy.caller import Caller, CallerKind
from keystead.policy.conditions import Test, test_of
from keystead.policy.documents import Document, Effect, Statement, check_covers, parse
from keystead.policy.principals import Principals
from keystead.policy.question import By, Decision, Ground, Question

_REMEMBERED: Final = 8192


class Rule(NamedTuple):
    """A statement for one action. decision: where it decides; left, root: where it leaves it to the account, and to whose root."""

    principals: Principals
    except_principals: bool
    tests: tuple[Test, ...]
    decision: Decision
    left: str
    root: Decision

    def holds(self, question: Question) -> bool:
        """Whether all its conditions do."""
        for test in self.tests:  # noqa: SIM110 - a generator would cost more than most tests
            if not test(question):
                return False
        return True


class Index:
    """The statements of one effect for one action, by whom they are about: most are about somebody else, and cost nothing."""

    __slots__ = ("_accounts", "_everybody", "_except", "_groups", "_names", "rules")

    def __init__(self, rules: Sequence[Rule]) -> None:
        self.rules = tuple(rules)
        plain = [rule for rule in rules if not rule.except_principals]
        self._except = tuple(rule for rule in rules if rule.except_principals)
        self._everybody = tuple(rule for rule in plain if rule.principals.everybody)
        named = _by(plain, lambda rule: rule.principals.names)
        self._names = {name: (*found, *self._everybody) for name, found in named.items()}
        self._groups = _by(plain, lambda rule: rule.principals.groups)
        self._accounts = _by(plain, lambda rule: rule.principals.accounts)

    def naming(self, caller: Caller) -> tuple[Rule, ...]:
        """Those that name the caller itself (Principals.name)."""
        names = self._names
        found = names.get(caller.principal, self._everybody)
        if caller.arn in names and caller.arn != caller.principal:
            found += names[caller.arn]
        if self._groups:
            for group in caller.groups:
                found += self._groups.get((caller.account, group), _NONE)
        return found

    def consenting(self, caller: Caller) -> tuple[Rule, ...]:
        """Those that name the caller's account (Principals.consent)."""
        return _NONE if caller.kind is CallerKind.SERVICE else self._accounts.get(caller.account, _NONE)

    def reaching(self, caller: Caller) -> tuple[Rule, ...]:
        """Those that are about the caller, itself or by its account, or by not sparing it."""
        found = self.naming(caller)
        if self._accounts:
            found = (*found, *self.consenting(caller))
        if self._except:
            found = (*found, *(rule for rule in self._except if not rule.principals.spare(caller)))
        return found


_NONE: Final[tuple[Rule, ...]] = ()
Name = TypeVar("Name")


def _by(rules: Sequence[Rule], names: Callable[[Rule], Iterable[Name]]) -> dict[Name, tuple[Rule, ...]]:
    found: dict[Name, tuple[Rule, ...]] = {}
    for rule in rules:
        for name in names(rule):
            found[name] = (*found.get(name, _NONE), rule)
    return found


class Rules(NamedTuple):
    """The statements for one action."""

    deny: Index
    allow: Index


class Policy(dict[Action, Rules]):
    """The rules by action; those of an action are made when it is first asked for."""

    __slots__ = ("document",)

    def __init__(self, document: Document) -> None:
        super().__init__()
        self.document = document

    def __missing__(self, action: Action) -> Rules:
        rules = self[action] = Rules(
            Index(_rules(self.document, action, Effect.DENY)), Index(_rules(self.document, action, Effect.ALLOW))
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
    label = statement.label
    by = By(Ground.STATEMENT, label)
    left = f'statement "{label}" of the key policy leaves it to the account'
    return Rule(
        statement.principals,
        statement.except_principals,
        tests,
        Decision(not deny, f'statement "{label}" of the key policy {words} it', by, explicit=deny),
        left,
        Decision(True, f"{left}, whose root calls", by),
    )
