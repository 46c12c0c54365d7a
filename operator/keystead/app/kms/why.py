"""`kubectl kms why`: what decided, what was considered, and what would change it.

Gathers what the person may read, asks the evaluator (policy.explain) and the API server, and puts both together. Where something that could
change the answer was not said or may not be read, the answer is `undecided`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from keystead.app.kms.byobject import ON_ALIASES, by_object, stopped
from keystead.app.kms.changes import changes, needs_home, obstacles_of
from keystead.app.kms.keys import Grants, Target, aliases_of, find, grants_of
from keystead.app.kms.people import UNKNOWN_ACCOUNT, Accounts, Named, Who, myself, named, who
from keystead.app.kms.rights import Rights, Ruling, Settled, ruled
from keystead.app.kms.view import Unread, View
from keystead.cli.kms_services import Considered, Question, Review, Rule, Subject, Verdict, WhyAnswer
from keystead.engine.identifiers import RECORDS_NAMESPACE, account_in
from keystead.errors import InvalidSpecError
from keystead.policy.actions import KEYLESS, Action
from keystead.policy.caller import Caller, CallerKind
from keystead.policy.evaluate import evaluate_keyless, review_of
from keystead.policy.explain import Explanation, Note, document_of, explain
from keystead.policy.question import Answer, Decision, NeedReview
from keystead.policy.question import Question as Asked
from keystead.policy.somebody import names_people, strangers
from keystead.policy.supposed import action_named, said_of, suppose
from keystead.reconciler.ports import Kind

_FOREIGN_FACTS: Final = frozenset({"aws:principalaccount", "aws:principalarn", "kms:calleraccount"})


class Inquiry:
    """One person's question about one key, with what was read for it."""

    def __init__(self, view: View, target: Target, action: Action, question: Question) -> None:
        self.view, self.target, self.action = view, target, action
        self.rights = Rights(view)
        self._question = question
        self.grants = Grants()
        self._aliases: tuple[str, ...] | Unread = ()
        self.strangers: tuple[str, ...] = ()

    async def gather(self) -> None:
        """Grants and aliases of the key."""
        self.grants = await grants_of(self.view, self.target)
        self._aliases = await aliases_of(self.view, self.target)

    async def look_for_strangers(self, accounts: Accounts) -> None:
        """Whom the policy names that nobody can be."""
        document = document_of(self.about(_NOBODY)[0])
        people = await accounts.of(RECORDS_NAMESPACE) if names_people(document) else UNKNOWN_ACCOUNT
        self.strangers = strangers(document, "" if people == UNKNOWN_ACCOUNT else people)

    def about(self, caller: Caller, account_known: bool = True) -> tuple[Asked, Explanation]:
        """What the evaluator says of a caller."""
        said = said_of(self._question.facts)
        aliases = None if isinstance(self._aliases, Unread) else self._aliases
        alias = said.alias if said.alias is not None else self.target.alias
        tags_known = "tags" in self.target.body["spec"]
        asked = suppose(self.action, self.target.record, replace(said, alias=alias, aliases=aliases, tags_known=tags_known))
        unsaid = asked.unsaid if account_known else asked.unsaid | _FOREIGN_FACTS
        now = self.view.kube.clock.now()
        question = Asked(caller, self.action, self.target.record, self.grants.records, asked.context, now, asked.facts)
        return question, explain(question, unsaid)

    async def settle(self, answer: Answer, own: bool = False) -> Settled:
        """With what the API server says of a right that it hangs on."""
        if isinstance(answer, Decision):
            return Settled(answer.allowed, answer.reason, answer.by.ground.value, answer.by.name, explicit=answer.explicit)
        ruling = await self.rights.ask(answer.review, own)
        return ruled(answer, ruling)

    def other_accounts(self) -> set[str]:
        """Accounts that the policy and the grants speak of, but for the key's own."""
        found: set[str] = set()
        for statement in document_of(self.about(_NOBODY)[0]).statements:
            found |= statement.principals.accounts | {account for account, _ in statement.principals.groups}
            found |= {account for name in statement.principals.names if (account := account_in(name))}
        found |= {account for grant in self.grants.records if (account := account_in(str(grant.grantee_principal)))}
        return found - {self.target.record.account}


_NOBODY: Final = Caller(CallerKind.SERVICE, UNKNOWN_ACCOUNT, "", "", "")


async def why(view: View, namespace: str, subject: Subject, question: Question) -> WhyAnswer:
    """The whole answer."""
    action = action_named(question.action)
    asked = await myself(view) if subject.name is None else named(subject.name, subject.groups, namespace)
    if action in KEYLESS:
        return await _keyless(view, asked, subject, action)
    if not question.key:
        raise InvalidSpecError("KEY", f"{action.value} is about a key: say which")
    target = await find(view, namespace, question.key)
    accounts = Accounts(view, target, subject.install_account)
    about = await who(view, asked, accounts)
    inquiry = Inquiry(view, target, action, question)
    await inquiry.gather()
    await inquiry.look_for_strangers(accounts)
    worst, best, first = await _both(inquiry, about)
    alias = await _alias_side(inquiry, about, question.key)
    verdict = _verdict(worst, best, alias, inquiry.grants.unread is not None)
    return await _answer(inquiry, about, first, _Outcome(verdict, worst, best, alias))


@dataclass(frozen=True, slots=True)
class _Outcome:
    verdict: Verdict
    worst: Settled
    best: Settled
    alias: Settled | None


async def _both(inquiry: Inquiry, about: Who) -> tuple[Settled, Settled, tuple[Asked, Explanation]]:
    """The answers with what is not known taken against the caller, and for it: over every account that could be the caller's."""
    account = about.caller.account
    known = account != UNKNOWN_ACCOUNT
    callers = [about.caller] if known else [about.at(each) for each in (UNKNOWN_ACCOUNT, *sorted(inquiry.other_accounts()))]
    found = [inquiry.about(caller, known) for caller in callers]
    worst = [await inquiry.settle(explained.worst, about.own) for _, explained in found]
    best = [await inquiry.settle(explained.best, about.own) for _, explained in found]
    return min(worst, key=_rank), max(best, key=_rank), found[0]


def _rank(settled: Settled) -> int:
    return {False: 0, None: 1, True: 2}[settled.allowed]


def _verdict(worst: Settled, best: Settled, alias: Settled | None, grants_unread: bool) -> Verdict:
    """A no needs all grants to be known, unless a Deny says it; a yes needs every side."""
    if alias is not None and alias.allowed is False:
        return Verdict.DENIED
    if best.allowed is False and (best.explicit or not grants_unread):
        return Verdict.DENIED
    if worst.allowed is True and (alias is None or alias.allowed):
        return Verdict.ALLOWED
    return Verdict.UNDECIDED


async def _alias_side(inquiry: Inquiry, about: Who, named_as: str) -> Settled | None:
    """CreateAlias and its kin need the verb on the alias too (operations.control.aliases)."""
    if inquiry.action not in ON_ALIASES:
        return None
    caller = about.caller
    if caller.kind is not CallerKind.SERVICE_ACCOUNT:
        return Settled(False, f"only a ServiceAccount can do {inquiry.action.value} by the endpoint", "nothing", "")
    name = ""
    if inquiry.action is not Action.CREATE_ALIAS:
        objects = await inquiry.view.objects(Kind.ALIAS, inquiry.target.record.namespace)
        found = () if isinstance(objects, Unread) else objects
        name = next((body["metadata"]["name"] for body in found if body["spec"].get("aliasName") == named_as), "")
        if not name:
            return Settled(None, "the right on the alias is needed too; say KEY as alias/NAME to have it looked at", "", "")
    review = replace(review_of(caller, inquiry.action, caller.namespace, name), resource=Kind.ALIAS.plural)
    return ruled(NeedReview(review, "the right on the alias is needed beside that on the key"), await inquiry.rights.ask(review, about.own))


async def _answer(inquiry: Inquiry, about: Who, first: tuple[Asked, Explanation], outcome: _Outcome) -> WhyAnswer:
    question, explained = first
    record, target = inquiry.target.record, inquiry.target
    told = _deciding(outcome)
    account_known = about.caller.account != UNKNOWN_ACCOUNT
    notes = _notes(inquiry, about)
    decided = outcome.verdict is not Verdict.UNDECIDED
    depends = () if decided else _depends(inquiry, explained, account_known)
    grants = [note for note in explained.grants if note.standing.value != "another principal"]
    others = len(explained.grants) - len(grants)
    if others:
        notes.append(f"{others} grant(s) of the key are for others")
    rulings = [settled.ruling for settled in (outcome.worst, outcome.best, outcome.alias) if settled is not None and settled.ruling]
    written = await _by_object(inquiry, about, outcome.verdict)
    if written is not None and written not in rulings:
        notes.append(_of_object(inquiry, about, written))
        rulings.append(written)
    home = await _home(inquiry, about, question) if outcome.verdict is Verdict.DENIED and told.ruling is None else None
    if home is not None and home.allowed:
        rulings.append(home)
    refusals = tuple(f"you may not {what}" for what in inquiry.view.unread)
    return WhyAnswer(
        verdict=outcome.verdict,
        who=about.words,
        principal=about.caller.principal if account_known else "",
        action=f"kms:{inquiry.action.value}",
        key=f"{record.namespace}/{record.name}",
        key_arn=target.arn,
        decided_by=_by(told, inquiry.grants) if decided else "",
        reason=told.reason if account_known else told.reason.replace(about.caller.principal, about.words),
        statements=tuple(_considered(explained.statements)),
        grants=tuple(_considered(grants, inquiry.grants.objects)),
        reviews=tuple(dict.fromkeys(map(_review, rulings))),
        depends_on=depends,
        obstacles=obstacles_of(inquiry.action, target) if outcome.verdict is not Verdict.DENIED else (),
        changes=changes(question, explained, told, target, inquiry.grants, outcome.verdict, home=home),
        notes=tuple(notes),
        unread=refusals,
    )


def _notes(inquiry: Inquiry, about: Who) -> list[str]:
    """What is to be known of the question, whatever the answer."""
    caller, notes = about.caller, [*about.notes, *inquiry.target.notes]
    if caller.account == UNKNOWN_ACCOUNT:
        notes.append(f"the account of {caller.namespace} is not known to you: the answer counts with every one that it could be")
    if inquiry.action is Action.UPDATE_ALIAS:
        notes.append("UpdateAlias needs the right on the key that the alias has and on the one that it gets: this is about one of them")
    if caller.namespace != inquiry.target.record.namespace:
        notes.append("a key of another namespace is named by its ARN in a request")
    return [*notes, *inquiry.strangers]


_MAY: Final = {True: "may", False: "may not", None: "may or may not, which you may not ask"}


async def _by_object(inquiry: Inquiry, about: Who, verdict: Verdict) -> Ruling | None:
    """What RBAC says of the object, where writing it does the same. Of a ServiceAccount that is allowed already it is not asked."""
    caller, record = about.caller, inquiry.target.record
    asks = caller.kind is CallerKind.USER or (caller.kind is CallerKind.SERVICE_ACCOUNT and verdict is not Verdict.ALLOWED)
    if not asks or not by_object(inquiry.action, record):
        return None
    return await inquiry.rights.ask(review_of(caller, inquiry.action, record.namespace, record.name), about.own)


def _of_object(inquiry: Inquiry, about: Who, written: Ruling) -> str:
    whom = "this person" if about.caller.kind is CallerKind.USER else "it"
    also = ", and for the same verb on the KmsAlias" if inquiry.action in ON_ALIASES else ""
    words = f"by kubectl, writing the object, {whom} {_MAY[written.allowed]}: admission asks RBAC for {written.asked}{also}"
    stops = stopped(inquiry.action, inquiry.target.record, inquiry.about) if written.allowed is not False else ""
    return f"{words}; the key's policy stops what is written, whoever writes it: {stops}" if stops else words


async def _home(inquiry: Inquiry, about: Who, question: Asked) -> Ruling | None:
    """Whether a caller of another account has the right at home already: it is not advised then."""
    if not needs_home(question):
        return None
    review = review_of(about.caller, inquiry.action, about.caller.namespace, inquiry.target.arn)
    return await inquiry.rights.ask(review, about.own)


def _deciding(outcome: _Outcome) -> Settled:
    """What is certain: of a no the one that is left in the best case, else what stands in the worst."""
    settled = outcome.best if outcome.verdict is Verdict.DENIED else outcome.worst
    alias = outcome.alias
    return alias if alias is not None and alias.allowed is not True and settled.allowed is not False else settled


def _by(settled: Settled, grants: Grants) -> str:
    """`statement "x"`, `grant <id> (KmsGrant y)`, `rbac: RoleBinding ...`."""
    if settled.decided_by == "grant":
        return f"grant {settled.name} (KmsGrant {grants.objects.get(settled.name, '?')})"
    if settled.decided_by == "rbac" and settled.ruling is not None and settled.ruling.rules:
        return "; ".join(f"{held.binding} of {held.role} ({held.rule})" for held in settled.ruling.rules)
    if settled.decided_by == "nothing":
        return "nothing allows it"
    return f'{settled.decided_by} "{settled.name}"' if settled.name else settled.decided_by


def _depends(inquiry: Inquiry, explained: Explanation, account_known: bool) -> tuple[str, ...]:
    found = list(explained.needs)
    if not account_known:
        found.append("the account of the caller")
    if inquiry.grants.unread is not None:
        found.append("the grants of the key, which you may not read")
    return tuple(found)


def _considered(notes: Iterable[Note], objects: dict[str, str] | None = None) -> Iterable[Considered]:
    for note in notes:
        yield Considered(note.name, note.effect.value, note.standing.value, note.words, (objects or {}).get(note.name, ""))


def _review(ruling: Ruling) -> Review:
    rules = tuple(Rule(held.binding, held.role, held.rule, held.wild) for held in ruling.rules)
    return Review(ruling.asked, ruling.allowed, ruling.reason, rules)


async def _keyless(view: View, asked: Named, subject: Subject, action: Action) -> WhyAnswer:
    """GenerateRandom and the like: no policy, RBAC in the caller's own namespace."""
    about = await who(view, asked, Accounts(view, None, subject.install_account))
    answer = evaluate_keyless(about.caller, action)
    rulings: Sequence[Ruling] = ()
    if isinstance(answer, NeedReview):
        rulings = (await Rights(view).ask(answer.review, about.own),)
        settled = ruled(answer, rulings[0])
    else:
        settled = Settled(answer.allowed, answer.reason, answer.by.ground.value, answer.by.name)
    verdicts = {True: Verdict.ALLOWED, False: Verdict.DENIED, None: Verdict.UNDECIDED}
    return WhyAnswer(
        verdict=verdicts[settled.allowed],
        who=about.words,
        principal=about.caller.principal if about.caller.account != UNKNOWN_ACCOUNT else "",
        action=f"kms:{action.value}",
        key="",
        key_arn="",
        decided_by=_by(settled, Grants()) if settled.allowed is not None else "",
        reason=settled.reason,
        reviews=tuple(map(_review, rulings)),
        changes=changes(None, None, settled, None, Grants(), verdicts[settled.allowed], about.caller, action),
        notes=about.notes,
        unread=tuple(f"you may not {what}" for what in view.unread),
    )
