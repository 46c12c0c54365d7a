"""Who holds a token, in the words of the door: made of facts that the API server tells and of the account records. Cluster only.

An account's id is claimed by the operator, when a namespace's first key is made (RECORDS, Identity). A server writes no records: of a
namespace without an account it takes the id that the claim will find, so that credentials issued before the first key fit it.
"""

from __future__ import annotations

from typing import Final

from keystead.engine.identifiers import RECORDS_NAMESPACE, account_id
from keystead.errors import IdentityTokenError, KmsInternalError
from keystead.operations.trail import Actor
from keystead.policy import service_account_caller
from keystead.policy.bearer import Bearer
from keystead.policy.caller import user_caller
from keystead.server.credentials import TokenIdentity
from keystead.server.facts import Facts, WebIdentity
from keystead.store.model import RecordModel

_MOST: Final = 64
_ACTORS: Final = 10_000


class Accounts:
    """Account ids of namespaces."""

    def __init__(self, model: RecordModel) -> None:
        self._model = model

    def account_of(self, namespace: str, uid: str) -> str:
        """The id that the namespace of this uid has, or that it will get. KmsInternalError while the install record is not known."""
        known = self._model.account_of(namespace, uid)
        if known:
            return known
        install = self._model.install()
        if install is None:
            raise KmsInternalError("The records are not read yet. Try again.")
        install_id = bytes.fromhex(install.install_id)
        for n in range(_MOST):
            candidate = account_id(install_id, namespace, n)
            # The install's own account stays the first one: it follows keystead-records when that is restored.
            if namespace == RECORDS_NAMESPACE or self._model.account(candidate) is None:
                return candidate
        raise KmsInternalError("No account id is free.")


class StillThere:
    """Implements `server.identity.Alive`: the ServiceAccount and its namespace have the uids that the credentials were made for.

    Facts live 10 s: credentials end within that time of the ServiceAccount's deletion.
    """

    def __init__(self, facts: Facts, accounts: Accounts) -> None:
        self._facts = facts
        self._accounts = accounts

    def known(self, who: TokenIdentity) -> bool | None:
        """What is remembered; None where something has to be asked for."""
        namespace = self._facts.known_namespace(who.namespace)
        account = self._facts.known_service_account(who.namespace, who.service_account)
        if namespace is None or account is None:
            return None
        return self._is(who, namespace, account)

    async def ask(self, who: TokenIdentity) -> bool:
        """The API server's word."""
        namespace = await self._facts.namespace(who.namespace)
        account = await self._facts.service_account(who.namespace, who.service_account)
        return namespace is not None and account is not None and self._is(who, namespace, account)

    def _is(self, who: TokenIdentity, namespace_uid: str, uid: str) -> bool:
        if (namespace_uid, uid) != (who.namespace_uid, who.uid):
            return False
        return self._accounts.account_of(who.namespace, who.namespace_uid) == who.account


class Recogniser:
    """Bearer tokens: ServiceAccounts as themselves, people as users of the install's own account."""

    def __init__(self, facts: Facts, accounts: Accounts) -> None:
        self._facts = facts
        self._accounts = accounts
        self._actors: dict[tuple[WebIdentity | Bearer, str], Actor] = {}

    async def identify(self, token: str) -> WebIdentity:
        """For AssumeRoleWithWebIdentity.

        The API server answers a TokenReview from a cache of its own, of 10 s: the account itself must be there, too, or a token
        would outlive it for as long as both caches together.
        """
        who = await self._facts.token(token)
        if await self._facts.service_account(who.namespace, who.service_account) != who.uid:
            raise IdentityTokenError("the ServiceAccount of this token is gone")
        return who

    async def recognise(self, token: str) -> tuple[Actor, str]:
        """For calls with a Bearer token."""
        bearer = await self._facts.bearer(token)
        if bearer.name:
            who = await self.identify(token)
            return self._actor(who, who.account), who.namespace_uid
        uid = await self._facts.namespace(RECORDS_NAMESPACE)
        if uid is None:
            raise IdentityTokenError("the namespace of the records is gone")
        return self._actor(bearer, self._accounts.account_of(RECORDS_NAMESPACE, uid)), uid

    def _actor(self, who: WebIdentity | Bearer, account: str) -> Actor:
        """The same one each time: what policies and the audit remember of callers goes by the object, and has room for so many only."""
        made = self._actors.get((who, account))
        if made is None:
            if len(self._actors) >= _ACTORS:
                self._actors.clear()
            made = self._actors[who, account] = _made(who, account)
        return made


def _made(who: WebIdentity | Bearer, account: str) -> Actor:
    if isinstance(who, Bearer):
        return Actor(user_caller(account, RECORDS_NAMESPACE, who.user, who.uid, who.groups, who.extra))
    caller = service_account_caller(account, who.namespace, who.service_account, uid=who.uid)
    return Actor(caller, pod_name=who.pod_name, pod_uid=who.pod_uid)
