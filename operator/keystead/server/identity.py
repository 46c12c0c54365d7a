"""Who calls: from a request to an authenticated Caller. SigV4 with a static key (dev) or a temporary one, or a Bearer token.

The order of AWS.md: the signature before everything that the body says. Whether the ServiceAccount is still the one that the credentials
were made for, only the API server knows: that is remembered for seconds (`Alive`), and only where it is not is there anything to await.

A Bearer token is a ServiceAccount token with our audience, for clients that are no AWS SDKs (RECORDS, Identity). Never on plain HTTP.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, Protocol

from keystead.engine.ports import Domain
from keystead.errors import (
    IdentityTokenError,
    IdentityTokenExpiredError,
    InvalidRequestSignatureError,
    MissingAuthenticationTokenError,
    UnrecognizedClientError,
)
from keystead.operations.trail import Actor
from keystead.policy import Caller, root_caller, service_account_caller
from keystead.server.credentials import Session, SessionCache, TokenIdentity, expired, unrecognized
from keystead.server.message import Asked
from keystead.server.sigv4 import Signed, Verifier, parse

_AUTHORIZATION: Final = b"authorization"
_BEARER: Final = re.compile(rb"bearer +([!-~]{1,16384})", re.IGNORECASE)
_REGION: Final = re.compile(r"[a-z]([a-z0-9-]{0,30}[a-z0-9])?\Z")
# Identities are the same for all calls of a session: made once.
_IDENTITIES: Final = 10_000


@dataclass(frozen=True, slots=True)
class StaticKey:
    """An access key of `keystead dev`: the root of one account."""

    secret: str = field(repr=False)
    account: str
    namespace: str
    namespace_uid: str


@dataclass(frozen=True, slots=True)
class Identity:
    """An authenticated call. `namespace_uid`: of the caller's live namespace."""

    caller: Caller
    region: str
    namespace_uid: str
    actor: Actor


class Alive(Protocol):
    """Is a session's ServiceAccount, with its uid, in its namespace, with its uid? `known` answers None where it has to be asked for."""

    def known(self, who: TokenIdentity) -> bool | None: ...
    async def ask(self, who: TokenIdentity) -> bool: ...


Identify = Callable[[str], Awaitable[TokenIdentity]]
"""Whose ServiceAccount token it is. IdentityTokenError, IdentityTokenExpiredError."""
Recognise = Callable[[str], Awaitable[tuple[Actor, str]]]
"""Whose Bearer token it is: the actor, and the uid of the namespace that its account stands for. IdentityTokenError."""


class Identities:
    """Implements `door.Authenticator`, for one service of the scope: `kms`, or `sts` for GetCallerIdentity.

    region     the only one there is; None: any (dev)
    recognise  whose Bearer token it is; None: Bearer is refused here (dev)
    """

    def __init__(
        self,
        *,
        service: str,
        region: str | None,
        static: Mapping[str, StaticKey],
        domain: Callable[[], Domain],
        alive: Alive,
        recognise: Recognise | None,
    ) -> None:
        self._verifier = Verifier(region=region, service=service)
        self._region = region
        self._static = static
        self._domain = domain
        self._alive = alive
        self._recognise = recognise
        self._sessions = SessionCache()
        self._made: dict[tuple[str, str], Identity] = {}

    def authenticate(self, asked: Asked, now: datetime) -> Identity | Awaitable[Identity]:
        """Who signed. KmsError by AWS.md's table; an awaitable where the API server has to be asked."""
        if self._recognise is not None and self._region is not None:
            bearer = _bearer(asked)
            if bearer is not None:
                return _by_token(asked, bearer, self._recognise, self._region)
        signed = parse(asked)
        access_key_id = signed.scope.access_key_id
        static = self._static.get(access_key_id)
        if static is not None:
            self._verifier.check(asked, signed, static.secret, now)
            return self._root(signed, static)
        token = signed.session_token
        if token is None:
            raise unrecognized()
        session = self._sessions.open(self._domain(), token, access_key_id, now)
        self._verifier.check(asked, signed, session.secret_access_key, now)
        known = self._alive.known(session)
        if known is None:
            return self._when_alive(session, signed)
        if not known:
            raise unrecognized()
        return self._of(session, signed)

    async def _when_alive(self, session: Session, signed: Signed) -> Identity:
        if not await self._alive.ask(session):
            raise unrecognized()
        return self._of(session, signed)

    def _root(self, signed: Signed, static: StaticKey) -> Identity:
        region = signed.scope.region
        made = self._made.get((signed.scope.access_key_id, region))
        if made is None:
            _check_region(region)
            caller = root_caller(static.account, static.namespace)
            actor = Actor(caller, signed.access_key_id)
            made = self._keep(Identity(caller, region, static.namespace_uid, actor))
        return made

    def _of(self, session: Session, signed: Signed) -> Identity:
        region = signed.scope.region
        made = self._made.get((session.access_key_id, region))
        if made is None:
            _check_region(region)
            caller = service_account_caller(
                session.account, session.namespace, session.service_account, uid=session.uid, session=session.session_name
            )
            made = self._keep(Identity(caller, region, session.namespace_uid, _actor(session, caller)))
        return made

    def _keep(self, identity: Identity) -> Identity:
        if len(self._made) >= _IDENTITIES:
            self._made.clear()
        self._made[identity.actor.access_key_id, identity.region] = identity
        return identity


async def by_bearer(asked: Asked, recognise: Recognise, region: str) -> Identity:
    """Who holds the Bearer token, for what is no operation of AWS KMS (auditroute.py). KmsError: there is none, or it is nobody's."""
    token = _bearer(asked)
    if token is None:
        raise MissingAuthenticationTokenError("Missing Authentication Token")
    return await _by_token(asked, token, recognise, region)


async def _by_token(asked: Asked, token: str, recognise: Recognise, region: str) -> Identity:
    if not asked.secure:
        raise UnrecognizedClientError("A Bearer token is refused on plain HTTP.")
    try:
        actor, namespace_uid = await recognise(token)
    except IdentityTokenExpiredError:
        raise expired() from None
    except IdentityTokenError:
        raise unrecognized() from None
    return Identity(actor.caller, region, namespace_uid, actor)


def _actor(session: Session, caller: Caller) -> Actor:
    return Actor(caller, session.access_key_id, session.issued, session.session_name, session.pod_name, session.pod_uid)


def _check_region(region: str) -> None:
    if not _REGION.match(region):
        raise InvalidRequestSignatureError("Credential should be scoped to a valid region.")


def _bearer(asked: Asked) -> str | None:
    last = dict(asked.headers).get(_AUTHORIZATION, b"")
    if last.startswith(b"AWS4"):  # the usual: one look-up. A second header would make it no Bearer token either
        return None
    sent = [value for name, value in asked.headers if name == _AUTHORIZATION]
    match = _BEARER.fullmatch(sent[0]) if len(sent) == 1 else None
    return None if match is None else match[1].decode()


async def actor_of(identities: Identities, asked: Asked, now: datetime) -> Actor:
    """For GetCallerIdentity."""
    found = identities.authenticate(asked, now)
    identity = found if isinstance(found, Identity) else await found
    return identity.actor

