"""`kubectl kms who-can`: everybody whom the policy, the grants and RBAC give an action with a key.

Three sources, each with its own rows: the Allow statements, the grants, and, where the policy leaves it to the account, the bindings of the
key's namespace and of the cluster. Each row is put to the evaluator as a question of its own, so that a Deny or a condition is seen. What
may not be read is named: the list is then not whole.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, replace
from typing import Final

from keystead.app.kms.byobject import FOR_DATA_KEYS, ON_ALIASES, by_object, stopped
from keystead.app.kms.changes import obstacles_of
from keystead.app.kms.keys import find
from keystead.app.kms.people import SERVICE_ACCOUNT_NAME, UNKNOWN_ACCOUNT, Accounts, service_account_path
from keystead.app.kms.view import View
from keystead.app.kms.why import Inquiry
from keystead.cli.kms_services import Considered, Holder, May, Question, WhoCanAnswer
from keystead.engine.identifiers import RECORDS_NAMESPACE, account_in
from keystead.engine.plan.grant_terms import stranger
from keystead.engine.record.grant import grantee_of
from keystead.errors import InvalidSpecError
from keystead.policy.actions import ABROAD, ACTIONS, KEYLESS
from keystead.policy.caller import (
    Caller,
    CallerKind,
    caller_of,
    root_caller,
    service_account_caller,
    service_caller,
    user_caller,
)
from keystead.policy.documents import Effect
from keystead.policy.explain import Explanation, Standing, document_of, whom
from keystead.policy.question import Answer, Decision, Ground, NeedReview
from keystead.policy.rbac import Holding, Right, Subject, holdings
from keystead.policy.review import RESOURCE, SERVICE_ACCOUNT, service_account_groups
from keystead.policy.supposed import action_named
from keystead.resources.names import GROUP

_SERVICE: Final = re.compile(r"[a-z0-9-]+(\.[a-z0-9-]+)+")
_ANYBODY: Final = "*"
"""A ServiceAccount whom no policy can name: stands for all whom none names."""


@dataclass(frozen=True, slots=True)
class _Row:
    """Somebody to ask about. held: RBAC gives it already, so that a review is answered yes. grant: the id of the one that names him."""

    who: str
    caller: Caller
    through: str
    wildcard: str = ""
    note: str = ""
    held: bool = False
    grant: str = ""


async def who_can(view: View, namespace: str, question: Question) -> WhoCanAnswer:
    """The whole answer."""
    action = action_named(question.action)
    if action in KEYLESS:
        raise InvalidSpecError("ACTION", f"{action.value} is about no key; hint: kubectl auth can-i --list")
    target = await find(view, namespace, question.key)
    inquiry = Inquiry(view, target, action, question)
    await inquiry.gather()
    listing = Listing(inquiry, Accounts(view, target))
    holders = [holder async for holder in listing.holders()]
    record = target.record
    return WhoCanAnswer(
        action=f"kms:{action.value}",
        key=f"{record.namespace}/{record.name}",
        key_arn=target.arn,
        holders=tuple(_sorted(holders)),
        denies=tuple(listing.denies()),
        obstacles=obstacles_of(action, target),
        notes=target.notes,
        unread=tuple(f"you may not {what}" for what in view.unread),
    )


class Listing:
    """The rows of one answer."""

    def __init__(self, inquiry: Inquiry, accounts: Accounts) -> None:
        self._inquiry = inquiry
        self._accounts = accounts
        self._key = inquiry.target.record
        root = root_caller(self._key.account, self._key.namespace)
        self._question, self._of_root = inquiry.about(root)
        self._statements = document_of(self._question).statements
        self._unreadable = not self._of_root.statements
        self._left = self._leaves()
        self._by_object = by_object(inquiry.action, self._key)
        self._stopped = stopped(inquiry.action, self._key, inquiry.about) if self._by_object else ""
        self._missing: dict[str, bool] = {}

    async def holders(self) -> AsyncIterator[Holder]:
        """Each principal and what gives it the action."""
        people = await self._accounts.of(RECORDS_NAMESPACE)
        for row in (*self._named(people), *self._granted(people)):
            yield await self._there(row, self._asked(row, people))
        if self._left or self._by_object:
            async for holder in self._bound(people):
                yield holder

    def denies(self) -> Iterator[Considered]:
        """The Deny statements about the action, whoever they reach."""
        for statement, note in zip(self._statements, self._of_root.statements, strict=False):
            if statement.effect is Effect.DENY and self._inquiry.action in statement.actions:
                yield Considered(note.name, note.effect.value, note.standing.value, f"denies it to {whom(statement)}")

    def _leaves(self) -> bool:
        """Whether a statement leaves the action to the key's account, as far as can be said."""
        standings = (Standing.LEAVES, Standing.DEPENDS)
        notes, best = self._of_root.statements, self._of_root.best
        if self._unreadable:  # the default policy answers, for what can mend it
            return isinstance(best, Decision) and best.allowed
        return any(note.effect is Effect.ALLOW and note.standing in standings for note in notes)

    def _named(self, people: str) -> Iterator[_Row]:
        for statement in self._statements:
            if statement.effect is Effect.DENY or self._inquiry.action not in statement.actions:
                continue
            through = f'statement "{statement.label}"{" of the default policy" if self._unreadable else ""}'
            about = statement.principals
            if about.everybody:
                note = "of other accounts those whom their own RBAC lets"
                yield _Row("everybody", self._anybody(), through, "every principal", note)
            for account in sorted(about.accounts):
                yield self._of_account(account, through)
            for name in sorted(about.names):
                yield _Row(name, self._caller(name, people), through)
            for account, group in sorted(about.groups):
                caller = user_caller(account, RECORDS_NAMESPACE, _ANYBODY, groups=(group,))
                yield _Row(f"group {group}", caller, through, note="people, not ServiceAccounts")

    def _of_account(self, account: str, through: str) -> _Row:
        if account == self._key.account:
            made = self._inquiry.action in FOR_DATA_KEYS
            note = "KmsDataKeys of the namespace are judged as it" if made else "its ServiceAccounts stand in this list by RBAC"
            return _Row(f"account {account} (root)", root_caller(account, self._key.namespace), through, note=note)
        caller = service_account_caller(account, f"account {account}", _ANYBODY)
        return _Row(f"account {account}", caller, through, note="whom its own RBAC lets, for the key's ARN")

    def _granted(self, people: str) -> Iterator[_Row]:
        operation = ACTIONS[self._inquiry.action].grantable
        for grant in self._inquiry.grants.records:
            if operation is None or operation not in grant.operations:
                continue
            name = grantee_of(grant)
            through = f"KmsGrant {self._inquiry.grants.objects[grant.grant_id]}"
            # One of before such names were refused is nobody's: any caller will do to ask for.
            caller = self._anybody() if name.startswith("arn:") and stranger(name) else self._caller(name, people)
            yield _Row(name, caller, through, note=f"grant {grant.grant_id[:8]}", grant=grant.grant_id)

    def _caller(self, name: str, people: str) -> Caller:
        """The caller that a principal is. A foreign account's namespace is not looked for: its side is its own."""
        if not name.startswith("arn:"):
            return service_caller(people, RECORDS_NAMESPACE, name)
        account = account_in(name)
        own = account == self._key.account
        return caller_of(name, self._key.namespace if own else f"account {account}")

    def _anybody(self) -> Caller:
        return service_account_caller(self._key.account, self._key.namespace, _ANYBODY)

    def _asked(self, row: _Row, people: str) -> Holder:
        _, explained = self._inquiry.about(row.caller, row.caller.account != UNKNOWN_ACCOUNT)
        may, why = self._may(explained, row)
        nobody = _nobody(row.who, people) or _ungranted(row)
        if nobody:
            may, why = May.NO, nobody
        served = not (self._unreadable and may is May.NO)
        note = "; ".join(filter(None, (row.note if served and not self._barred(row) else "", why)))
        return Holder(who=row.who, may=may, through=row.through, wildcard=row.wildcard, note=note)

    def _may(self, explained: Explanation, row: _Row) -> tuple[May, str]:
        worst, best = (_allows(answer, row.held) for answer in (explained.worst, explained.best))
        if worst:
            return May.YES, ""
        if best is False:
            decision = explained.best
            return May.NO, decision.reason if isinstance(decision, Decision) and self._says_why(decision, row) else ""
        if explained.needs:
            return May.DEPENDS, f"on {', '.join(explained.needs)}"
        if row.grant and row.caller.account == self._key.account:  # it gives nothing; what RBAC gives stands in rows of its own
            return May.NO, next((note.words for note in explained.grants if note.name == row.grant), "")
        return May.DEPENDS, "on RBAC of its own account, for the key's ARN"

    def _says_why(self, decision: Decision, row: _Row) -> bool:
        """Whether a no is more than that nothing allows it."""
        return self._barred(row) or decision.explicit or decision.by.ground is Ground.POLICY_UNREADABLE

    def _barred(self, row: _Row) -> bool:
        """Whether the action cannot be done from the account of this one, whatever any policy says."""
        caller = row.caller
        return caller.account != self._key.account and caller.kind is not CallerKind.SERVICE and self._inquiry.action not in ABROAD

    async def _bound(self, people: str) -> AsyncIterator[Holder]:
        action, key = self._inquiry.action, self._key
        read = await self._inquiry.rights.bindings(key.namespace)
        right = Right(ACTIONS[action].verb, GROUP, RESOURCE, key.namespace, key.name)
        for held in holdings(read.bindings, read.roles, right):
            for subject in held.subjects:
                yield await self._by_rbac(held, subject, people)

    async def _by_rbac(self, held: Holding, subject: Subject, people: str) -> Holder:
        through = f"{held.binding} of {held.role}"
        wild = ", ".join(held.wild)
        row = await self._row_of(subject, people, through, wild)
        holder = self._asked(row, people)
        if self._by_object and (not self._left or holder.may is not May.YES):
            holder = self._writing(holder)
        return await self._there(row, holder)

    def _writing(self, holder: Holder) -> Holder:
        """Who is let by no binding at the endpoint, and may write the object that does the same."""
        if self._stopped:
            return replace(holder, may=May.NO, note=f"the key's policy stops the object, whoever writes it: {self._stopped}")
        also = ", and for it on the KmsAlias" if self._inquiry.action in ON_ALIASES else ""
        return replace(holder, may=May.KUBECTL, note=f"by writing the object, if RBAC lets them: admission asks for this verb{also}")

    async def _there(self, row: _Row, holder: Holder) -> Holder:
        """With a note where it is a ServiceAccount that is known not to exist."""
        caller = row.caller
        known = all(map(SERVICE_ACCOUNT_NAME.match, (caller.namespace, caller.name)))  # not: abroad, or everybody
        if caller.kind is not CallerKind.SERVICE_ACCOUNT or not known:
            return holder
        words = f"ServiceAccount {caller.namespace}/{caller.name}"
        if words not in self._missing:
            self._missing[words] = await self._inquiry.view.lacks(service_account_path(caller.namespace, caller.name))
        return replace(holder, note="; ".join(filter(None, (holder.note, f"there is no {words}")))) if self._missing[words] else holder

    async def _row_of(self, subject: Subject, people: str, through: str, wild: str) -> _Row:
        key = self._key
        if subject.kind == "User" and subject.name.startswith(SERVICE_ACCOUNT):
            namespace, _, name = subject.name.removeprefix(SERVICE_ACCOUNT).partition(":")
            subject = Subject("ServiceAccount", name, namespace)
        if subject.kind == "ServiceAccount":
            account = await self._accounts.of(subject.namespace)
            own = subject.namespace == key.namespace
            caller = service_account_caller(account, subject.namespace, subject.name)
            note = "" if own else "a binding here does not reach ServiceAccounts of other namespaces"
            return _Row(f"ServiceAccount {subject.namespace}/{subject.name}", caller, through, wild, note, held=own)
        if subject.kind == "Group" and subject.name in service_account_groups(key.namespace):
            note = f"every ServiceAccount of {key.namespace}"
            return _Row(f"group {subject.name}", self._anybody(), through, wild, note, held=True)
        if subject.kind == "Group":
            caller = user_caller(people, RECORDS_NAMESPACE, _ANYBODY, groups=(subject.name,))
            return _Row(f"group {subject.name}", caller, through, wild, _PEOPLE)
        return _Row(f"user {subject.name}", user_caller(people, RECORDS_NAMESPACE, subject.name), through, wild, _PEOPLE)


_PEOPLE: Final = "RBAC alone does not let people use a key of a namespace: its policy must name user/ or group/"


def _nobody(who: str, people: str) -> str:
    """Why nobody can ever be the principal that a statement or grant names; "" where somebody can."""
    if who.startswith("arn:") and ":user/" in who and people != UNKNOWN_ACCOUNT and account_in(who) != people:
        return f"nobody is this: people are of account {people}"
    if who.startswith("arn:") and ":role/" in who and not SERVICE_ACCOUNT_NAME.match(who.partition(":role/")[2]):
        return "nobody is this: no ServiceAccount can have such a name"
    if _SERVICE.fullmatch(who) and not who.endswith(f".{GROUP}"):
        return f"nobody is this: services here are of {GROUP}"
    return ""


def _ungranted(row: _Row) -> str:
    """The same of a grant from before its name would have been refused."""
    why = stranger(row.who) if row.grant and row.who.startswith("arn:") else ""
    return f"nobody is this: {why}" if why else ""


def _allows(answer: Answer, held: bool) -> bool | None:
    """None: it hangs on a review that RBAC's bindings here do not answer."""
    if isinstance(answer, NeedReview):
        return True if held else None
    return answer.allowed


def _sorted(holders: list[Holder]) -> list[Holder]:
    order = list(May)
    return sorted(dict.fromkeys(holders), key=lambda holder: (order.index(holder.may), holder.who, holder.through))
