"""A document made ready to be asked: for each action the statements that can matter to it, with their conditions as tests.

`compile_policy` is for who has a new document (PutKeyPolicy, CreateKey, the operator); `policy_of` for each decision about a record: it
remembers what it compiled, by the very bytes of the record and its key's ARN. Pure: the memory changes no answer.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from typing import Any, Final, NamedTuple, TypeVar

from msgspec import UNSET

from keystead.engine.identifiers import key_arn
from keystead.engine.plan.key_settings import default_policy
from keystead.engine.record import KeyRecord
from keystead.errors import MalformedPolicyDocumentError
from keystead.policy.actions import Action
from keystead.policy.caller import Caller, CallerKind
from keystead.policy.conditionkeys import STEADY
from keystead.policy.conditions import Test, test_of
from keystead.policy.documents import Document, Effect, Statement, check_covers, parse, read
from keystead.policy.principals import Principals
from keystead.policy.question import By, Decision, Ground, Question
from keystead.policy.request import Take
from keystead.policy.somebody import check_somebody

_REMEMBERED: Final = 8192
_REMEMBERED_BYTES: Final = 4 * 2**20
"""Of documents; what is made of them takes up to 60 times as much. Any tenant may write some of 32 KB, again and again."""


class Rule(NamedTuple):
    """A statement for one action. decision: where it decides; left, root: where it leaves it to the account, and to whose root.

    steady: those of its tests that look at the caller and at how the call came, and at nothing else (policy/reach.py)
    """

    principals: Principals
    except_principals: bool
    tests: tuple[Test, ...]
    decision: Decision
    left: str
    root: Decision
    steady: tuple[Test, ...] = ()

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
    """The rules by action; those of an action are made when it is first asked for. reached: what policy/reach.py remembers."""

    __slots__ = ("__weakref__", "_plain", "_steady", "_tests", "document", "reached")

    def __init__(self, document: Document) -> None:
        super().__init__()
        self.document = document
        # Actions share what does not differ: there are many.
        self._plain: dict[int, Rule] = {}
        self._tests: dict[tuple[int, int, Take | None], Test | bool] = {}
        self._steady: set[Test] = set()
        self.reached: dict[Any, Any] = {}

    def __missing__(self, action: Action) -> Rules:
        rules = self[action] = Rules(Index(self._rules(action, Effect.DENY)), Index(self._rules(action, Effect.ALLOW)))
        return rules

    def _rules(self, action: Action, effect: Effect) -> list[Rule]:
        rules = []
        for statement in self.document.statements:
            if statement.effect is effect and action in statement.actions:
                tests = self._tests_of(statement, action)
                if tests is not None:
                    plain = self._plain.get(statement.index)
                    if plain is None:
                        plain = self._plain[statement.index] = _rule(statement)
                    steady = tuple(test for test in tests if test in self._steady)
                    rules.append(plain._replace(tests=tests, steady=steady) if tests else plain)
        return rules

    def _tests_of(self, statement: Statement, action: Action) -> tuple[Test, ...] | None:
        """The conditions that must be looked at; None where one of them never holds for this action."""
        made: list[Test] = []
        for number, condition in enumerate(statement.conditions):
            place = statement.index, number, condition.key.source(action)
            test = self._tests.get(place)
            if test is None:
                test = self._tests[place] = test_of(condition, action, statement.effect is Effect.DENY)
            if test is False:
                return None
            if not isinstance(test, bool):
                made.append(test)
                if condition.key.name in STEADY:
                    self._steady.add(test)
        return tuple(made)


def compile_policy(text: str | bytes, arn: str) -> Policy:
    """A new policy of the key of this ARN. MalformedPolicyDocumentError names the place."""
    policy = recorded_policy(text, arn)
    check_somebody(read(text))
    return policy


def recorded_policy(text: str | bytes, arn: str) -> Policy:
    """The same of one that is in force: it may name whom no new one may (policy/somebody.py)."""
    document = parse(text)
    check_covers(document, arn)
    return Policy(document)


def policy_of(key: KeyRecord) -> Policy | None:
    """The policy that a key is served by; None where its record has one that cannot be read (written before policies were enforced)."""
    if key.policy is UNSET:
        return _default(key.account)
    return _own.of(key.policy, key.region, key.account, key.key_id)


def default_of(key: KeyRecord) -> Policy:
    """The default policy of a key's account: the account decides."""
    return _default(key.account)


class Remembered:
    """Policies by the bytes that they were made of, and their keys. most: bytes of all documents; the oldest go first."""

    __slots__ = ("_found", "_held", "_most")

    def __init__(self, most: int = _REMEMBERED_BYTES) -> None:
        self._found: dict[tuple[bytes, str, str, str], Policy | None] = {}
        self._held = 0
        self._most = most

    def __len__(self) -> int:
        return len(self._found)

    def of(self, text: bytes, region: str, account: str, key_id: str) -> Policy | None:
        """The policy of the key; None for one that cannot be read."""
        key = text, region, account, key_id
        try:
            return self._found[key]
        except KeyError:
            pass
        try:
            made: Policy | None = recorded_policy(text, key_arn(region, account, key_id))
        except MalformedPolicyDocumentError:
            made = None
        if key not in self._found:
            self._held += len(text)
        self._found[key] = made
        while self._held > self._most or len(self._found) > _REMEMBERED:
            oldest = next(iter(self._found))
            del self._found[oldest]
            self._held -= len(oldest[0])
        return made


_own: Final = Remembered()


@lru_cache(maxsize=_REMEMBERED)
def _default(account: str) -> Policy:
    return Policy(parse(json.dumps(default_policy(account))))


def _rule(statement: Statement) -> Rule:
    """Without its conditions."""
    deny = statement.effect is Effect.DENY
    words = "denies" if deny else "allows"
    label = statement.label
    by = By(Ground.STATEMENT, label)
    left = f'statement "{label}" of the key policy leaves it to the account'
    return Rule(
        statement.principals,
        statement.except_principals,
        (),
        Decision(not deny, f'statement "{label}" of the key policy {words} it', by, explicit=deny),
        left,
        Decision(True, f"{left}, whose root calls", by),
    )
