"""Why the evaluator answers as it does: every statement and grant with what it came to, and what the answer hangs on. Pure.

Called by app/kms/ (`kubectl kms why`, `who-can`). The decision itself is the evaluator's own: it is asked twice, once with every condition
whose facts nobody gave taken against the caller and once for it. Where both say the same, that is the answer, whatever the facts are; else
the answer depends on them, and they are named. Nothing is guessed. What may never enter: a second opinion on what a policy means.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from msgspec import UNSET, UnsetType
from msgspec.structs import replace as changed

from keystead.engine.clock import format_time
from keystead.engine.record import GrantRecord
from keystead.policy.actions import ABROAD, ACTIONS, BY_GRANT_ONLY, Action, Constraint
from keystead.policy.caller import Caller
from keystead.policy.compiled import Policy, default_of, policy_of
from keystead.policy.conditions import Condition, test_of
from keystead.policy.documents import Document, Effect, Statement
from keystead.policy.evaluate import decide, evaluate
from keystead.policy.grants import CHECKS, GrantQuestion
from keystead.policy.question import Answer, Question
from keystead.resources.vocabulary import GrantOperation

MAKES_GRANTS: Final = "terms-of-the-new-grant"
"""What CreateGrant by a grant depends on: the new one must be within it."""
_CONTEXT: Final = "kms:EncryptionContext"
_SOURCE: Final = "aws:SourceArn"


class Standing(StrEnum):
    """What a statement or grant came to."""

    APPLIES = "applies"
    LEAVES = "leaves it to the account"
    DEPENDS = "depends"
    CONDITION = "condition does not hold"
    PRINCIPAL = "another principal"
    ACTION = "another action"
    NO_EFFECT = "no effect here"
    ENDED = "ended"


@dataclass(frozen=True, slots=True)
class Note:
    """One statement or grant. `name`: its label or id; `needs`: condition keys that decide about it and that nobody spoke of."""

    name: str
    effect: Effect
    standing: Standing
    words: str
    needs: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Explanation:
    """`worst` and `best`: the evaluator's answers with what nobody said taken against the caller, and for it."""

    worst: Answer
    best: Answer
    statements: tuple[Note, ...]
    grants: tuple[Note, ...]
    needs: tuple[str, ...]


def explain(question: Question, unsaid: frozenset[str] = frozenset()) -> Explanation:
    """`unsaid`: condition keys (policy.supposed.Asked). question.grants: all of the key's."""
    policy = policy_of(question.key)
    grants = tuple(_grants_of(question))
    granted = tuple(_of_grant(grant, question, unsaid) for grant in grants)
    if policy is None:
        answer = evaluate(question)
        return Explanation(answer, answer, (), granted, ())
    stood = tuple(_of_statement(statement, question, unsaid) for statement in policy.document.statements)
    answers = [
        decide(
            _with_grants(question, grants, granted, hopeful),
            Policy(_resolved(policy.document, stood, hopeful)),
        )
        for hopeful in (False, True)
    ]
    needs = dict.fromkeys(name for note in (*stood, *granted) for name in note.needs)
    return Explanation(answers[0], answers[1], stood, granted, tuple(needs))


def document_of(question: Question) -> Document:
    """The statements that are asked."""
    policy = policy_of(question.key)
    return default_of(question.key).document if policy is None else policy.document


def _resolved(document: Document, notes: Sequence[Note], hopeful: bool) -> Document:
    """What nobody knows, decided: a statement of which that is said applies without conditions, or is not there."""
    kept = []
    for statement, note in zip(document.statements, notes, strict=True):
        if note.standing is not Standing.DEPENDS:
            kept.append(statement)
        elif (statement.effect is Effect.ALLOW) is hopeful:
            kept.append(replace(statement, conditions=()))
    return replace(document, statements=tuple(kept))


def _of_statement(statement: Statement, question: Question, unsaid: frozenset[str]) -> Note:
    caller, action = question.caller, question.action
    deny = statement.effect is Effect.DENY

    def note(standing: Standing, words: str, needs: tuple[str, ...] = ()) -> Note:
        return Note(statement.label, statement.effect, standing, words, needs)

    if action not in statement.actions:
        return note(Standing.ACTION, f"it is not about kms:{action.value}")
    named, consents = _reaches(statement, caller)
    if not named and not consents:
        return note(Standing.PRINCIPAL, f"it is about {whom(statement)}")
    if not deny and action in BY_GRANT_ONLY and (not consents or caller.account != question.key.account):
        return note(Standing.NO_EFFECT, f"a key policy cannot give kms:{action.value} to whom it names, nor abroad; a grant can")
    fails, needs = _conditions(statement, question, unsaid)
    if fails:
        return note(Standing.CONDITION, "; ".join(fails))
    if needs:
        return note(Standing.DEPENDS, f"it depends on {', '.join(needs)}", needs)
    if deny:
        return note(Standing.APPLIES, f"it denies kms:{action.value} to {whom(statement)}{_unspared(statement, caller)}")
    if caller.account != question.key.account and action not in ABROAD:
        return note(Standing.NO_EFFECT, f"no policy can let another account do kms:{action.value}")
    if named:
        return note(Standing.APPLIES, f"it allows kms:{action.value} to {whom(statement)}")
    return note(Standing.LEAVES, f"it leaves kms:{action.value} to account {caller.account}")


def _reaches(statement: Statement, caller: Caller) -> tuple[bool, bool]:
    """Whether a statement is about the caller itself, and whether it is about its account."""
    if statement.except_principals:
        return not statement.principals.spare(caller), False
    return statement.principals.name(caller), statement.principals.consent(caller)


def _unspared(statement: Statement, caller: Caller) -> str:
    """Why a NotPrincipal reaches whom it names."""
    named = statement.except_principals and statement.principals.name(caller)
    return f", and the account of {caller.principal}, {caller.account}, is not named beside it" if named else ""


def whom(statement: Statement) -> str:
    """The principals of a statement, for people."""
    about = statement.principals
    names = [f"account {name}" for name in sorted(about.accounts)] + sorted(about.names)
    names += [f"group {group} of account {account}" for account, group in sorted(about.groups)]
    listed = "everybody" if about.everybody else ", ".join(names)
    return f"everybody but {listed}" if statement.except_principals else listed


def _conditions(statement: Statement, question: Question, unsaid: frozenset[str]) -> tuple[list[str], tuple[str, ...]]:
    """Conditions that do not hold, in words; and the keys of those of which nobody can say."""
    fails: list[str] = []
    needs: list[str] = []
    for condition in statement.conditions:
        if is_unsaid(condition, question.action, unsaid):
            needs.append(condition.key.name)
            continue
        test = test_of(condition, question.action, statement.effect is Effect.DENY)
        if test is False or (not isinstance(test, bool) and not test(question)):
            fails.append(_failed(condition, question))
    return fails, tuple(dict.fromkeys(needs))


def is_unsaid(condition: Condition, action: Action, unsaid: frozenset[str]) -> bool:
    """Whether the request may have this condition key, and nobody said what it is."""
    if condition.key.source(action) is None:
        return False
    name = condition.key.name.lower()
    return name in unsaid or any(known[-1] in ":/" and name.startswith(known) for known in unsaid)


def _failed(condition: Condition, question: Question) -> str:
    take = condition.key.source(question.action)
    given = None if take is None else take(question)
    has = "the request has none" if given is None else f"the request has {_listed(given)}"
    return f"{condition_text(condition)} does not hold: {has}"


def condition_text(condition: Condition) -> str:
    """As the document says it, in one line."""
    operator = "Null" if condition.operator is None else condition.operator.name
    if condition.quantifier is not None:
        operator = f"{condition.quantifier.value}:{operator}"
    if condition.if_exists:
        operator += "IfExists"
    return f"{operator} {condition.name} {_listed(condition.values)}"


def _listed(value: object) -> str:
    if isinstance(value, tuple):
        return ", ".join(f'"{item}"' for item in value)
    return f'"{value}"' if isinstance(value, str) else "what is not clear"


def _grants_of(question: Question) -> Iterator[GrantRecord]:
    """The key's grants as this action sees them (operations.control.grants, grant_ends)."""
    for grant in question.grants:
        if question.action is Action.RETIRE_GRANT and grant.retiring_principal == question.caller.principal:
            yield changed(
                grant,
                grantee_principal=question.caller.principal,
                grantee_service_principal=UNSET,
                operations=[GrantOperation.RETIRE_GRANT],
                expires_at=UNSET,
            )
        elif question.action is Action.CREATE_GRANT:
            yield changed(grant, constraints=UNSET)
        else:
            yield grant


_WORDS: Final[dict[str, tuple[Standing, str]]] = {
    "_is_for_caller": (Standing.PRINCIPAL, "it is somebody else's"),
    "_is_the_one_asked_for": (Standing.PRINCIPAL, "it is not the one that was asked for"),
    "_is_of_key": (Standing.NO_EFFECT, "it is of an earlier namespace of this name"),
    "_has_operation": (Standing.ACTION, "{operation} is not among its operations"),
    "_is_in_time": (Standing.ENDED, "it ended at {end}"),
    "_constraints_hold": (Standing.CONDITION, "its constraint does not hold for this request"),
}


def _of_grant(grant: GrantRecord, question: Question, unsaid: frozenset[str]) -> Note:
    carried = question.facts.carried
    asked = GrantQuestion(question.caller, question.action, question.key, question.context, format_time(question.now), carried)

    def note(standing: Standing, words: str, needs: tuple[str, ...] = ()) -> Note:
        return Note(grant.grant_id, Effect.ALLOW, standing, words, needs)

    for check in CHECKS:
        needs = _constraint_needs(grant, question.action, unsaid) if check.__name__ == "_constraints_hold" else ()
        if needs:
            return note(Standing.DEPENDS, f"it depends on {', '.join(needs)}", needs)
        if not check(grant, asked):
            standing, words = _WORDS[check.__name__]
            return note(standing, words.format(operation=question.action.value, end=grant.expires_at))
    if question.action is not Action.CREATE_GRANT:
        return note(Standing.APPLIES, f"it allows {question.action.value}")
    if grant.expires_at is not UNSET:
        return note(Standing.NO_EFFECT, "a grant that ends makes no others")
    return note(Standing.DEPENDS, "it allows grants that are no wider than it is", (MAKES_GRANTS,))


def _constraint_needs(grant: GrantRecord, action: Action, unsaid: frozenset[str]) -> tuple[str, ...]:
    """What of the request a grant's constraint looks at, and nobody said."""
    constraints = grant.constraints
    if isinstance(constraints, UnsetType):
        return ()
    needs = []
    in_context = constraints.encryption_context_equals is not UNSET or constraints.encryption_context_subset is not UNSET
    if in_context and ACTIONS[action].constraint is Constraint.COMPARED and f"{_CONTEXT}:".lower() in unsaid:
        needs.append(_CONTEXT)
    if constraints.source_arn is not UNSET and _SOURCE.lower() in unsaid:
        needs.append(_SOURCE)
    return tuple(needs)


def _with_grants(question: Question, grants: Iterable[GrantRecord], notes: Iterable[Note], hopeful: bool) -> Question:
    kept = []
    for grant, note in zip(grants, notes, strict=True):
        if note.standing is Standing.APPLIES:
            kept.append(grant)
        elif note.standing is Standing.DEPENDS and hopeful:
            kept.append(changed(grant, constraints=UNSET))
    return replace(question, grants=tuple(kept))
