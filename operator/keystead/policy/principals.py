"""The principals of a statement: what a document may write (RECORDS, Identity), and whom it means.

    "*"  or  {"AWS": "*"}                                   everybody
    {"AWS": "111122223333"}                                 the account, as {"AWS": "arn:aws:iam::111122223333:root"}
    {"AWS": "arn:aws:iam::<account>:role/<serviceaccount>"} a ServiceAccount, in every session
    {"AWS": "arn:aws:sts::<account>:assumed-role/<sa>/<s>"} one session of it
    {"AWS": "arn:aws:iam::<account>:user/<name>"}           a person, of the install's own account
    {"AWS": "arn:aws:iam::<account>:group/<name>"}          the people of a group, as RBAC knows it; never ServiceAccounts
    {"Service": "<name>.keystead.io"}                       a controller of ours

Names of people and groups are percent-encoded beyond `[A-Za-z0-9_+=,.@-]`: `system:masters` is `group/system%3Amasters`, `oidc/jane` is
`user/oidc%2Fjane`. Wildcards inside a principal are refused, as by AWS. An account consents for its people and ServiceAccounts; it names
none of them (IAM, 'AWS JSON policy elements: Principal').
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from keystead.engine.identifiers import SESSION_ARN, decoded_name, encoded_name, user_arn
from keystead.policy.caller import Caller, CallerKind
from keystead.policy.malformed import malformed, shown

INVALID: Final = "Policy contains a statement with one or more invalid principals"
_ACCOUNT: Final = re.compile(r"\d{12}\Z", re.ASCII)
_ARN: Final = re.compile(r"arn:aws:iam::(\d{12}):(root|role/|user/|group/)(.*)\Z", re.ASCII | re.DOTALL)
_ROLE: Final = re.compile(r"[\w+=,.@-]{1,253}\Z", re.ASCII)
_SERVICE: Final = re.compile(r"[a-z0-9-]{1,63}(?:\.[a-z0-9-]{1,63}){1,8}\Z")
# What every ServiceAccount is a member of: a group of people it is not, and a Deny of it would not reach whom it seems to.
_SERVICE_ACCOUNTS: Final = re.compile(r"system:(?:serviceaccounts(?:\Z|:)|authenticated\Z|unauthenticated\Z)")


@dataclass(frozen=True, slots=True)
class Principals:
    """Whom a statement is about. names: principals, sessions and services; groups: (account, group); accounts: their ids."""

    everybody: bool = False
    accounts: frozenset[str] = frozenset()
    names: frozenset[str] = frozenset()
    groups: frozenset[tuple[str, str]] = frozenset()

    def name(self, caller: Caller) -> bool:
        """Whether the caller itself is named: as everybody, as a principal, as its session, by a group."""
        if self.everybody or caller.principal in self.names or caller.arn in self.names:
            return True
        return bool(self.groups) and any((caller.account, group) in self.groups for group in caller.groups)

    def consent(self, caller: Caller) -> bool:
        """Whether the caller's account is named. The caller is then that account's to decide about."""
        return caller.account in self.accounts and caller.kind is not CallerKind.SERVICE

    def reach(self, caller: Caller) -> bool:
        """Named in one way or the other: what a Deny asks."""
        return self.name(caller) or self.consent(caller)

    def spare(self, caller: Caller) -> bool:
        """What a NotPrincipal asks: the caller is named, and its account beside it (IAM, 'NotPrincipal': the account is validated first).

        The account alone spares its root only. No account stands above a service, nor beside `*`.
        """
        if self.everybody or caller.kind is CallerKind.SERVICE:
            return self.name(caller)
        return caller.account in self.accounts and (caller.kind is CallerKind.ROOT or self.name(caller))


EVERYBODY: Final = Principals(everybody=True)


def parse_principals(given: Any, place: str) -> Principals:  # noqa: ANN401 - JSON enters here
    """The value of Principal or NotPrincipal. MalformedPolicyDocumentError for anything that names nobody for sure."""
    if given == "*":
        return EVERYBODY
    if not isinstance(given, Mapping) or not given:
        raise malformed(place, f'{INVALID}: "*" or an object with the members AWS and Service')
    parts: list[Principals] = []
    for kind, names in given.items():
        where = f"{place}.{shown(kind)}"
        if kind not in _KINDS:
            raise malformed(where, f"{INVALID}: there are no such principals here, only AWS and Service")
        parts.extend(_KINDS[kind](name, spot) for name, spot in listed(names, where))
    return _together(parts)


def listed(names: Any, place: str) -> Iterator[tuple[str, str]]:  # noqa: ANN401
    """The principals of one kind, each with its place."""
    if isinstance(names, str):
        yield names, place
        return
    if not isinstance(names, list) or not names:
        raise malformed(place, f"{INVALID}: a principal, or a list of some")
    for n, name in enumerate(names):
        if not isinstance(name, str):
            raise malformed(f"{place}[{n}]", f"{INVALID}: not a text")
        yield name, f"{place}[{n}]"


def _aws(text: str, place: str) -> Principals:
    if text == "*":
        return EVERYBODY
    if _ACCOUNT.match(text):
        return Principals(accounts=frozenset((text,)))
    if SESSION_ARN.match(text):
        return Principals(names=frozenset((text,)))
    match = _ARN.match(text)
    if match is None:
        raise malformed(place, f"{INVALID}: {shown(text)} is no principal (account, role/, user/, group/ or session ARN)")
    account, kind, name = match.groups()
    if kind == "root" and not name:
        return Principals(accounts=frozenset((account,)))
    if kind == "role/" and _ROLE.match(name):
        return Principals(names=frozenset((text,)))
    if kind in ("user/", "group/"):
        return _person(account, kind, name, place)
    path = "; paths are not supported: role/<serviceaccount>" if kind == "role/" and "/" in name else ""
    raise malformed(place, f"{INVALID}: {shown(text)} is no principal{path}")


def _person(account: str, kind: str, name: str, place: str) -> Principals:
    """A user or group. Two spellings of one name are one principal: `%3a` is `%3A`, and `%61` is `a`."""
    plain = decoded_name(name)
    if plain is None:
        fix = encoded_name(name) if "%" not in name else "its name"
        raise malformed(place, f"{INVALID}: {shown(kind + name)} must be percent-encoded: {shown(kind + fix)}")
    if kind == "user/":
        return Principals(names=frozenset((user_arn(account, plain),)))
    if _SERVICE_ACCOUNTS.match(plain):
        words = f"{shown(plain)} is a group of ServiceAccounts; name them by role/<serviceaccount> or by their account"
        raise malformed(place, f"{INVALID}: {words}")
    return Principals(groups=frozenset(((account, plain),)))


def _service(text: str, place: str) -> Principals:
    if not _SERVICE.match(text):
        raise malformed(place, f"{INVALID}: {shown(text)} is not the name of a service, like datakeys.kms.keystead.io")
    return Principals(names=frozenset((text,)))


_KINDS: Final = {"AWS": _aws, "Service": _service}


def _together(parts: Iterable[Principals]) -> Principals:
    parts = list(parts)
    return Principals(
        any(part.everybody for part in parts),
        frozenset().union(*(part.accounts for part in parts)),
        frozenset().union(*(part.names for part in parts)),
        frozenset().union(*(part.groups for part in parts)),
    )
