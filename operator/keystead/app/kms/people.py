"""Who is asked about: a ServiceAccount, a person, a service of ours, or who asks; as the endpoint would see them.

    app                                a ServiceAccount of the namespace
    team-b:app                         of another one
    system:serviceaccount:team-b:app   the same, as RBAC calls it
    user:jane, jane@example.com        a person; any name that no ServiceAccount can have, or one with --as-group
    service:datakeys.kms.keystead.io   a controller of ours

An account is that of a namespace, and is read from the keys in it. Where it cannot be, nothing is assumed (`UNKNOWN_ACCOUNT`).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from keystead.app.kms.keys import Target
from keystead.app.kms.view import Unread, View
from keystead.engine.identifiers import RECORDS_NAMESPACE, parse_kms_arn
from keystead.errors import ForbiddenError, InvalidSpecError
from keystead.policy.caller import Caller, CallerKind, service_account_caller, service_caller, user_caller
from keystead.policy.review import SERVICE_ACCOUNT
from keystead.reconciler.ports import Kind

UNKNOWN_ACCOUNT: Final = "000000000000"
"""Stands for an account that could not be read; no account has this id (engine.identifiers.account_id)."""
SERVICE_ACCOUNT_NAME: Final = re.compile(r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?\Z")
_USER: Final = "user:"
_SERVICE: Final = "service:"
_AUTHENTICATED: Final = "system:authenticated"
_GUESSED: Final = "user {0}: no ServiceAccount can have this name; write user:{0} if a person is meant"
_UNCLAIMED: Final = (
    "{} has no key that shows its account: until its first KmsKey or KmsDataKey has made the account, keys of other namespaces serve "
    "nobody there, whatever their policies say"
)


@dataclass(frozen=True, slots=True)
class Who:
    """`caller` as the endpoint would make it, but for an account that is not known. own: it is who asks, who may review itself."""

    caller: Caller
    words: str
    own: bool = False
    notes: tuple[str, ...] = ()

    def at(self, account: str) -> Caller:
        """The same in another account."""
        caller = self.caller
        if caller.kind is CallerKind.SERVICE_ACCOUNT:
            return service_account_caller(account, caller.namespace, caller.name, uid=caller.uid)
        if caller.kind is CallerKind.USER:
            return user_caller(account, caller.namespace, caller.name, caller.uid, caller.groups, caller.extra)
        return service_caller(account, caller.namespace, caller.name)


@dataclass(frozen=True, slots=True)
class Named:
    """Who is meant by a text, before anything is looked up. user, uid and groups as RBAC has them."""

    kind: CallerKind
    name: str
    namespace: str = ""
    uid: str = ""
    groups: tuple[str, ...] = ()
    own: bool = False
    guessed: bool = False
    """A person only because no ServiceAccount can have the name."""


def named(text: str, groups: Sequence[str], namespace: str) -> Named:
    """Who is meant by --as. InvalidSpecError for a text that is nobody."""
    if text.startswith(_SERVICE) and not groups:
        return Named(CallerKind.SERVICE, text.removeprefix(_SERVICE))
    if text.startswith(SERVICE_ACCOUNT):
        return _service_account(text.removeprefix(SERVICE_ACCOUNT))
    person = text.removeprefix(_USER)
    parts = text.split(":")
    if not groups and person == text and len(parts) <= 2 and all(map(SERVICE_ACCOUNT_NAME.match, parts)):
        return _service_account(text if len(parts) == 2 else f"{namespace}:{text}")
    if not person:
        raise InvalidSpecError("--as", "the name of a ServiceAccount, NAMESPACE:NAME, or user:NAME")
    guessed = not groups and person == text and "@" not in text
    return Named(CallerKind.USER, person, groups=tuple(dict.fromkeys((*groups, _AUTHENTICATED))), guessed=guessed)


def _service_account(text: str, uid: str = "", own: bool = False) -> Named:
    namespace, _, name = text.partition(":")
    if not SERVICE_ACCOUNT_NAME.match(namespace) or not SERVICE_ACCOUNT_NAME.match(name):
        raise InvalidSpecError("--as", f"{text} is not NAMESPACE:NAME of a ServiceAccount")
    return Named(CallerKind.SERVICE_ACCOUNT, name, namespace, uid, own=own)


async def myself(view: View) -> Named:
    """Who asks, as the API server knows them."""
    body = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
    found = await view.post("/apis/authentication.k8s.io/v1/selfsubjectreviews", body, "ask who you are")
    if isinstance(found, Unread):
        raise ForbiddenError(f"{found}; hint: say who is meant with --as")
    user = found["status"]["userInfo"]
    name, uid = str(user["username"]), str(user.get("uid") or "")
    if name.startswith(SERVICE_ACCOUNT):
        return _service_account(name.removeprefix(SERVICE_ACCOUNT), uid, own=True)
    return Named(CallerKind.USER, name, uid=uid, groups=tuple(user.get("groups") or ()), own=True)


class Accounts:
    """The account ids of namespaces, as the ARNs of their keys show them. One a command."""

    def __init__(self, view: View, target: Target | None, given: str | None = None) -> None:
        self._view = view
        self._known: dict[str, str] = {}
        self.keyless: set[str] = set()
        """Namespaces whose keys may be read, and of which none shows an account."""
        if given is not None:
            self._known[RECORDS_NAMESPACE] = given
        if target is not None:
            self._known[target.record.namespace] = target.record.account

    async def of(self, namespace: str) -> str:
        """UNKNOWN_ACCOUNT where it has no key that may be read, or its keys are of several."""
        if namespace not in self._known:
            found = await self._view.objects(Kind.KEY, namespace)
            arns = [] if isinstance(found, Unread) else [parse_kms_arn((body.get("status") or {}).get("keyArn", "")) for body in found]
            accounts = {arn.account for arn in arns if arn is not None}
            if not accounts and not isinstance(found, Unread):
                self.keyless.add(namespace)
            self._known[namespace] = accounts.pop() if len(accounts) == 1 else UNKNOWN_ACCOUNT
        return self._known[namespace]


async def who(view: View, asked: Named, accounts: Accounts) -> Who:
    """The caller of a name."""
    if asked.kind is CallerKind.SERVICE_ACCOUNT:
        found = await _existing(view, asked, await accounts.of(asked.namespace))
        return replace(found, notes=(*found.notes, _UNCLAIMED.format(asked.namespace))) if asked.namespace in accounts.keyless else found
    account = await accounts.of(RECORDS_NAMESPACE)
    if asked.kind is CallerKind.SERVICE:
        return Who(service_caller(account, RECORDS_NAMESPACE, asked.name), f"service {asked.name}")
    caller = user_caller(account, RECORDS_NAMESPACE, asked.name, asked.uid, asked.groups)
    return Who(caller, f"user {asked.name}", asked.own, (_GUESSED.format(asked.name),) if asked.guessed else ())


def service_account_path(namespace: str, name: str) -> str:
    """Where the API server has it."""
    return f"/api/v1/namespaces/{namespace}/serviceaccounts/{name}"


async def _existing(view: View, asked: Named, account: str) -> Who:
    words = f"ServiceAccount {asked.namespace}/{asked.name}"
    what = f"get serviceaccounts/{asked.name} in {asked.namespace}"
    found = await view.get(service_account_path(asked.namespace, asked.name), what)
    uid = asked.uid or (str(found["metadata"]["uid"]) if isinstance(found, dict) else "")
    notes = (f"there is no {words}",) if found is None else ()
    return Who(service_account_caller(account, asked.namespace, asked.name, uid=uid), words, asked.own, notes)
