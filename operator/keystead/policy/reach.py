"""What of a policy is left to look at when one caller asks for an action: statements about others are gone, and with them all conditions
that only look at the caller and at how the call came (conditionkeys.STEADY), decided once.

A caller asks the same again and again, from the same address: that is remembered, with the policy. Pure: the memory changes no answer.
Called by evaluate.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Final, NamedTuple, TypeVar
from weakref import WeakValueDictionary

from keystead.policy.compiled import Policy, Rule
from keystead.policy.question import Question

T = TypeVar("T")
_MOST: Final = 10_000


class Reach(NamedTuple):
    """Denies that are about the caller; Allows that name it itself; Allows that name its account."""

    deny: tuple[Rule, ...]
    named: tuple[Rule, ...]
    account: tuple[Rule, ...]


class Memory:
    """Bounds what all policies remember together: then it is forgotten everywhere."""

    def __init__(self, most: int = _MOST) -> None:
        self._most = most
        self._count = 0
        self._policies: WeakValueDictionary[int, Policy] = WeakValueDictionary()

    def add(self, policy: Policy) -> None:
        """One entry more."""
        if self._count >= self._most:
            for each in list(self._policies.values()):
                each.reached.clear()
            self._policies.clear()
            self._count = 0
        self._count += 1
        self._policies[id(policy)] = policy


_memory: Final = Memory()


def remembered(policy: Policy, question: Question, make: Callable[[Question, Reach], T]) -> T:
    """What `make` makes of a policy's reach: of nothing in the question but the action, the caller, the way it came, and whose the key is.

    By the caller's id(): the entry keeps the object, so that the number cannot be another's.
    """
    caller, key, carried = question.caller, question.key, question.facts.carried
    place = (
        question.action, key.account, key.namespace,
        id(caller), carried.source_ip, carried.secure, carried.via_service, carried.source_arn,
    )  # fmt: skip
    known = policy.reached.get(place)
    if known is None:
        _memory.add(policy)
        known = policy.reached[place] = make(question, reach_of(policy, question)), caller
    made: T = known[0]
    return made


def reach_of(policy: Policy, question: Question) -> Reach:
    """Of the policy what is left."""
    deny, allow = policy[question.action]
    caller = question.caller
    found = deny.reaching(caller), allow.naming(caller), allow.consenting(caller)
    return Reach(*(tuple(_left(rules, question)) for rules in found))


def _left(rules: Iterable[Rule], question: Question) -> Iterator[Rule]:
    for rule in rules:
        if all(test(question) for test in rule.steady):
            tests = tuple(test for test in rule.tests if test not in rule.steady)
            yield rule._replace(tests=tests, steady=()) if rule.steady else rule
