"""One condition of a statement: parsed from the document, then made into a test for one action (IAM, 'Condition operators').

    {"<quantifier>:<Operator>IfExists": {"<key>": [values]}}

* The values are alternatives; several keys and operators must all hold.
* A key that the request does not have: a condition fails, one with a negated operator (`...Not...`) or with IfExists holds.
* A multi-valued key needs a quantifier. ForAnyValue: some value of the request passes; without values it fails. ForAllValues: none of the
  request's values fails; without values it holds. AWS refuses ForAllValues on a single-valued key, and so do we.
* `Null`: {"<key>": "true"} holds where the key is absent.
* A value that cannot be compared, that is not known, or of which there are two, holds in a Deny and fails in an Allow, negated or not;
  so do more values than anybody means (request.MOST_VALUES).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, TypeAlias

from keystead.policy.actions import Action
from keystead.policy.conditionkeys import ConditionKey, condition_key
from keystead.policy.malformed import malformed, shown
from keystead.policy.operators import OPERATORS, Match, Operator, Values, truth
from keystead.policy.question import Question
from keystead.policy.request import MOST_VALUES, UNKNOWN, Take, Value

Test: TypeAlias = Callable[[Question], bool]
_NULL: Final = "Null"
_IF_EXISTS: Final = "IfExists"
_VARIABLE: Final = re.compile(r"\$\{(?![*?$]\})")
_PERMISSIVE: Final = (
    "OverlyPermissiveCondition: Using the ForAllValues set operator with a single-valued condition key matches requests "
    "without the specified key or with an unspecified value. To fix, remove ForAllValues."
)


class Quantifier(StrEnum):
    """How the values of a multi-valued key are taken together."""

    FOR_ALL = "ForAllValues"
    FOR_ANY = "ForAnyValue"


@dataclass(frozen=True, slots=True)
class Condition:
    """One operator, one key. operator None: `Null`, whose one value is `true` or `false`."""

    operator: Operator | None
    quantifier: Quantifier | None
    if_exists: bool
    key: ConditionKey = field(compare=False)
    name: str
    values: tuple[str, ...]
    match: Match = field(compare=False, repr=False)


def parse_condition(operator: str, key: str, values: Sequence[str], place: str, escapes: bool) -> Condition:
    """`place` is the operator's. MalformedPolicyDocumentError for what is not implemented: it names the operator or the key."""
    quantifier, name, if_exists = _operator_parts(operator, place)
    row = condition_key(key)
    if row is None:
        raise malformed(place, f"the condition key {shown(key)} is not implemented")
    where = f"{place}.{shown(key)}"
    if escapes and any(_VARIABLE.search(text) for text in values):
        raise malformed(where, "policy variables are not implemented")
    if name == _NULL:
        return _null(row, key, values, where)
    known = OPERATORS[name]
    if row.type not in known.types:
        raise malformed(where, f"{name} does not compare {row.name}, whose type is {row.type.value}")
    if row.multi and quantifier is None:
        raise malformed(where, f"{row.name} has several values: say ForAnyValue:{name} or ForAllValues:{name}")
    if not row.multi and quantifier is Quantifier.FOR_ALL:
        raise malformed(where, _PERMISSIVE)
    # Grants are made to principals in one form, which requests are compared in: a Deny of another would never hold.
    wanted = values if row.spelled is None or known.wild else tuple(map(row.spelled, values))
    match = known.prepare(Values(wanted, where, escapes))
    return Condition(known, quantifier, if_exists, row, key, tuple(values), match)


def _operator_parts(operator: str, place: str) -> tuple[Quantifier | None, str, bool]:
    first, colon, rest = operator.partition(":")
    quantifier = Quantifier(first) if colon and first in Quantifier.__members__.values() else None
    name = rest if quantifier is not None else operator
    if name == _NULL and quantifier is None:
        return None, name, False
    if_exists = name.endswith(_IF_EXISTS)
    name = name.removesuffix(_IF_EXISTS)
    if name not in OPERATORS:
        raise malformed(place, f"the condition operator {shown(operator)} is not implemented")
    return quantifier, name, if_exists


def _null(row: ConditionKey, key: str, values: Sequence[str], where: str) -> Condition:
    wanted = {truth(text) for text in values}
    if len(wanted) != 1 or None in wanted:
        raise malformed(where, "Null compares with true (the key is absent) or with false")
    absent = wanted == {"true"}
    return Condition(None, None, False, row, key, ("true" if absent else "false",), lambda _: absent)


def test_of(condition: Condition, action: Action, deny: bool) -> Test | bool:
    """The condition for one action, in a statement of this effect. A bool where the action decides it already."""
    take = condition.key.source(action)
    if condition.operator is None:
        return _presence(take, condition.values == ("true",), deny)
    absent = _if_absent(condition, condition.operator)
    if take is None:
        return absent
    if condition.quantifier is None:
        return _single(take, condition.match, condition.operator.negated, absent, deny)
    every = condition.quantifier is Quantifier.FOR_ALL
    return _several(take, condition.match, condition.operator.negated, (every, absent), deny)


def _if_absent(condition: Condition, operator: Operator) -> bool:
    if condition.quantifier is None:
        return condition.if_exists or operator.negated
    return condition.if_exists or condition.quantifier is Quantifier.FOR_ALL


def _presence(take: Take | None, absent: bool, deny: bool) -> Test | bool:
    if take is None:
        return absent

    def test(question: Question) -> bool:
        given = take(question)
        return deny if given is UNKNOWN else (given is None) is absent

    return test


def _single(take: Take, match: Match, negated: bool, absent: bool, deny: bool) -> Test:
    def test(question: Question) -> bool:
        given = take(question)
        if given is None:
            return absent
        if not isinstance(given, str):
            return deny
        found = match(given)
        return deny if found is None else found is not negated

    return test


def _several(take: Take, match: Match, negated: bool, sort: tuple[bool, bool], deny: bool) -> Test:
    every, absent = sort

    def passes(text: str) -> bool:
        found = match(text)
        return deny if found is None else found is not negated

    def test(question: Question) -> bool:
        given: Value = take(question)
        if given is None:
            return absent
        if isinstance(given, str):
            given = (given,)
        if not isinstance(given, tuple) or len(given) > MOST_VALUES:
            return deny
        return all(map(passes, given)) if every else any(map(passes, given))

    return test
