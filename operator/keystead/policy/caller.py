"""Who calls: an authenticated principal in canonical form (RECORDS, Identity). Front doors make it, never a request.

Its forms:

    arn:aws:iam::<account>:root                            a whole account
    arn:aws:iam::<account>:role/<serviceaccount>           a ServiceAccount
    arn:aws:sts::<account>:assumed-role/<sa>/<session>     its session; canonical form is the role above
    arn:aws:iam::<account>:user/<name>                     a person; of the install's own account
    <name>.kms.keystead.io                                 a controller of ours
"""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from keystead.engine.identifiers import (
    SESSION_ARN,
    GrantId,
    canonical_principal,
    role_arn,
    root_arn,
    session_arn,
    user_arn,
)
from keystead.errors import InvalidSpecError
from keystead.policy.bearer import Extra

_ROLE: Final = re.compile(r"arn:aws:iam::(\d{12}):role/([\w+=,.@%-]+)\Z", re.ASCII)
_USER: Final = re.compile(r"arn:aws:iam::(\d{12}):user/([\w+=,.@%-]+)\Z", re.ASCII)
_ROOT: Final = re.compile(r"arn:aws:iam::(\d{12}):root\Z", re.ASCII)


class CallerKind(StrEnum):
    """What the principal is."""

    ROOT = "root"
    SERVICE_ACCOUNT = "service-account"
    USER = "user"
    SERVICE = "service"
    """A controller of ours: key policies and grants name it, no account decides about it."""


@dataclass(frozen=True, slots=True)
class Caller:
    """`arn` as refusals show it, `principal` in canonical form; `namespace` is the one that `account` stands for.

    `only_grant`: nothing but this grant may allow the call (`keystead crypt --grant ID`). `groups`, `extra`: of a person, as RBAC has them.
    """

    kind: CallerKind
    account: str
    namespace: str
    arn: str
    principal: str
    name: str = ""
    uid: str = ""
    only_grant: GrantId | None = None
    groups: tuple[str, ...] = ()
    extra: Extra = ()

    def __hash__(self) -> int:
        """Of what tells callers apart already: a call looks several things up by its caller."""
        return hash(self.arn)


def root_caller(account: str, namespace: str) -> Caller:
    """The root of an account."""
    arn = root_arn(account)
    return Caller(CallerKind.ROOT, account, namespace, arn, arn)


def service_account_caller(
    account: str, namespace: str, name: str, *, uid: str = "", session: str | None = None
) -> Caller:
    """A ServiceAccount, with its session where it has one."""
    role = role_arn(account, name)
    arn = session_arn(account, name, session) if session else role
    return Caller(CallerKind.SERVICE_ACCOUNT, account, namespace, arn, role, name, uid)


def user_caller(
    account: str, namespace: str, name: str, uid: str = "", groups: tuple[str, ...] = (), extra: Extra = ()
) -> Caller:
    """A person, by the name that RBAC knows; of the install's own account."""
    arn = user_arn(account, name)
    return Caller(CallerKind.USER, account, namespace, arn, arn, name, uid, groups=groups, extra=extra)


def service_caller(account: str, namespace: str, name: str) -> Caller:
    """A controller of ours, by the name that policies have for it (`datakeys.kms.keystead.io`); of the install's own account."""
    return Caller(CallerKind.SERVICE, account, namespace, name, name, name)


def role_id(uid: str) -> str:
    """AWS's unique id of a role, `AROA` and 17 characters: of the ServiceAccount's uid, so a made-again one has another."""
    return "AROA" + base64.b32encode(hashlib.sha256(b"keystead/v1/role-id\0" + uid.encode()).digest())[:17].decode()


def user_id(caller: Caller) -> str:
    """AWS's UserId and principalId: the account of a root, `<role id>:<session>` of a session, else of the role or the user."""
    if caller.kind is CallerKind.ROOT:
        return caller.account
    if caller.kind is CallerKind.USER:
        return "AIDA" + role_id(caller.uid or caller.principal)[4:]
    unique = role_id(caller.uid)
    return unique if caller.arn == caller.principal else f"{unique}:{caller.arn.rsplit('/', 1)[1]}"


def account_of(arn: str) -> str:
    """The account id in a principal ARN. InvalidSpecError for any other text."""
    for pattern in (SESSION_ARN, _ROLE, _USER, _ROOT):
        match = pattern.match(arn)
        if match:
            return match[1]
    raise InvalidSpecError(
        "--as", "not an ARN of the form arn:aws:iam::<account>:role/<serviceaccount>, ...:user/<name> or ...:root"
    )


def caller_of(arn: str, namespace: str, *, only_grant: GrantId | None = None) -> Caller:
    """The caller that an ARN names, for `keystead crypt --as ARN`. `namespace` is that of the ARN's account.

    InvalidSpecError for a text that is no principal.
    """
    account = account_of(arn)
    principal = canonical_principal(arn)
    for kind, pattern in ((CallerKind.SERVICE_ACCOUNT, _ROLE), (CallerKind.USER, _USER)):
        match = pattern.match(principal)
        if match:
            return Caller(kind, account, namespace, arn, principal, match[2], only_grant=only_grant)
    return Caller(CallerKind.ROOT, account, namespace, arn, principal, only_grant=only_grant)
