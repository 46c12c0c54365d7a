"""Whether the principals that a policy names can be anybody here: one from AWS reads as applied while a statement of it matches nobody.

`check_somebody` is for new documents (compiled.compile_policy): AWS too refuses principals that do not exist, in an Allow as in a Deny.
What is recorded is taken as it is: `strangers` tells of it (reconciler/keypolicy.py, app/kms/why.py), and of people of an account that has
none, which only who knows the install's account can see. Pure. What may never enter: who exists at the moment; only who could.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from keystead.engine.identifiers import SERVICE_ACCOUNT, account_in
from keystead.engine.managed import AUDIT_SERVICE, DATA_KEYS_SERVICE
from keystead.policy.documents import Document, Statement
from keystead.policy.malformed import malformed, shown
from keystead.policy.principals import INVALID, listed

SERVICES: Final = (AUDIT_SERVICE, DATA_KEYS_SERVICE)
"""Who calls as a service here."""
_ROLE: Final = re.compile(r"arn:aws:(?:iam::\d{12}:role|sts::\d{12}:assumed-role)/([^/]+)", re.ASCII)
_PERSON: Final = re.compile(r"arn:aws:iam::(\d{12}):user/", re.ASCII)


def check_somebody(document: Mapping[str, Any]) -> None:
    """MalformedPolicyDocumentError with the place of a role or service that nobody can be. `document`: as read; it parses."""
    statements = document["Statement"]
    for n, statement in enumerate(statements if isinstance(statements, list) else [statements]):
        for member in ("Principal", "NotPrincipal"):
            for name, place in _names(statement.get(member), f"Statement[{n}].{member}"):
                why = _nobody(name)
                if why:
                    raise malformed(place, f"{INVALID}: {shown(name)} is nobody: {why}")


def strangers(document: Document, people: str = "") -> tuple[str, ...]:
    """In words, whom statements name that nobody can be, or name in vain. people: the account that people are of, "" if it is not known."""
    found = []
    for statement in document.statements:
        about = statement.principals
        names = [(name, _nobody(name, people)) for name in sorted(about.names)]
        names += [(f"group/{group} of account {of}", _elsewhere(of, people)) for of, group in sorted(about.groups)]
        found += [f'statement "{statement.label}" names {shown(name)}, who is nobody: {why}' for name, why in names if why]
        found += _unspared(statement)
    return tuple(found)


def _unspared(statement: Statement) -> Iterator[str]:
    """Whom a NotPrincipal names without the account: it denies them (Principals.spare)."""
    about = statement.principals
    if not statement.except_principals or about.everybody:
        return
    named = [(account_in(name), name) for name in sorted(about.names)]
    for account, name in (*named, *((account, f"group/{group} of account {account}") for account, group in sorted(about.groups))):
        if account and account not in about.accounts:
            yield f'statement "{statement.label}" does not spare {shown(name)}: NotPrincipal must name account {account} beside it'


def names_people(document: Document) -> bool:
    """Whether `strangers` has a use for the account that people are of."""
    return any(
        statement.principals.groups or any(map(_PERSON.match, statement.principals.names)) for statement in document.statements
    )


def _names(given: Any, place: str) -> Iterator[tuple[str, str]]:  # noqa: ANN401 - JSON
    if isinstance(given, Mapping):
        for kind, names in given.items():
            yield from listed(names, f"{place}.{shown(kind)}")


def _nobody(name: str, people: str = "") -> str:
    """Why nobody can be this principal; "" where somebody can."""
    role = _ROLE.match(name)
    if role is not None and not SERVICE_ACCOUNT.match(role[1]):
        return "a role is a ServiceAccount, whose name has small letters, digits, - and . only"
    person = _PERSON.match(name)
    if person is not None:
        return _elsewhere(person[1], people)
    is_service = name != "*" and not name.startswith("arn:") and not name.isdigit()
    if is_service and name not in SERVICES:
        return f"the services here are {', '.join(SERVICES)}; a workload is named by role/<serviceaccount>"
    return ""


def _elsewhere(account: str, people: str) -> str:
    return f"people and groups are of account {people}" if people and account != people else ""
