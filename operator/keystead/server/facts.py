"""What the front door must know besides the records, from the API server, remembered for seconds (AWS.md, Facts that need I/O).

Called by the driver (RBAC) and by identity.py (who calls). `known*` answers at once or not at all; the others ask. A no of the API server
is a no; an API server that does not answer is KMSInternalException, which clients try again. What may never enter: a token as a key of a
table, or in a log.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final, Protocol

from keystead.errors import IdentityTokenError, IdentityTokenExpiredError, ThrottlingError
from keystead.policy import SubjectAccessReview
from keystead.policy.bearer import Bearer, NotBearer
from keystead.server.factcache import MOST, FactCache

_TOKENS_AT_ONCE: Final = 32
"""Tokens that the API server is asked about at a time. Whoever reaches the port may send any, and the other questions need room."""
_REVIEWS_AT_ONCE: Final = 16
"""Rights of a namespace that are asked for at a time: with many keys it has ten thousands of them, and a no is forgotten in 2 s."""
_PLACES: Final = 256
# Well before a question is given up (factcache.DEADLINE_SECONDS), which would pass for an API server that is away.
_TURN_SECONDS: Final = 0.4
_REFUSED: Final = "no web identity token of a ServiceAccount with the audience keystead"


class ClusterFacts(Protocol):
    """Asks the API server (store/reviews.py). StoreError where it cannot answer."""

    async def review(self, question: SubjectAccessReview) -> bool: ...
    async def namespace_uid(self, namespace: str) -> str | None: ...
    async def service_account_uid(self, namespace: str, name: str) -> str | None: ...
    async def token_review(self, token: str) -> Bearer | NotBearer: ...


@dataclass(frozen=True, slots=True)
class WebIdentity:
    """The ServiceAccount that a token is of. `account`: "" where its namespace has none yet. A credentials.TokenIdentity."""

    namespace: str
    namespace_uid: str
    account: str
    service_account: str
    uid: str
    pod_name: str
    pod_uid: str


class Facts:
    """One a worker. `account_of`: the account id of the namespace of a name and uid. `stretch`: factcache.py."""

    def __init__(
        self,
        cluster: ClusterFacts,
        account_of: Callable[[str, str], str],
        monotonic: Callable[[], float] = time.monotonic,
        most: int = MOST,
        stretch: float = 0.0,
    ) -> None:
        self._cluster = cluster
        self._account_of = account_of
        self._reviews: FactCache[SubjectAccessReview, bool] = FactCache(lambda allowed: allowed is True, monotonic, most, stretch)
        self._namespaces: FactCache[str, str | None] = FactCache(_is_there, monotonic, most, stretch)
        self._service_accounts: FactCache[tuple[str, str], str | None] = FactCache(_is_there, monotonic, most, stretch)
        # A namespace may share its place with a few others, by chance.
        self._reviews_at_once = [asyncio.Semaphore(_REVIEWS_AT_ONCE) for _ in range(_PLACES)]
        self._tokens_at_once = asyncio.Semaphore(_TOKENS_AT_ONCE)
        self._tokens: FactCache[bytes, Bearer | NotBearer] = FactCache(lambda who: isinstance(who, Bearer), monotonic, most, stretch)

    def known(self, review: SubjectAccessReview) -> bool | None:
        """RBAC's answer, None where it has to be asked for."""
        fact = self._reviews.known(review, self._review)
        return None if fact is None else fact.value

    async def ask(self, review: SubjectAccessReview) -> bool:
        """RBAC's answer."""
        return await self._reviews.ask(review, self._review)

    async def _review(self, review: SubjectAccessReview) -> bool:
        async with _turn(self._reviews_at_once[hash(review.namespace) % _PLACES]):
            return await self._cluster.review(review)

    def known_namespace(self, namespace: str) -> str | None:
        """The uid of the live namespace of this name, None where it has to be asked for."""
        fact = self._namespaces.known(namespace, self._cluster.namespace_uid)
        return None if fact is None else fact.value

    async def namespace(self, namespace: str) -> str | None:
        """The uid of the live namespace of this name."""
        return await self._namespaces.ask(namespace, self._cluster.namespace_uid)

    def known_service_account(self, namespace: str, name: str) -> str | None:
        """The uid of the live ServiceAccount of this name, None where it has to be asked for."""
        fact = self._service_accounts.known((namespace, name), self._service_account_uid)
        return None if fact is None else fact.value

    async def service_account(self, namespace: str, name: str) -> str | None:
        """The uid of the live ServiceAccount of this name."""
        return await self._service_accounts.ask((namespace, name), self._service_account_uid)

    async def _service_account_uid(self, place: tuple[str, str]) -> str | None:
        return await self._cluster.service_account_uid(*place)

    async def bearer(self, token: str) -> Bearer:
        """Whose token it is, a person's too. IdentityTokenError where it is nobody's, or not for us."""
        found = await self._tokens.ask(_digest(token), lambda _: self._token_review(token))
        if isinstance(found, NotBearer):
            raise (IdentityTokenExpiredError if found.expired else IdentityTokenError)(_REFUSED)
        return found

    async def _token_review(self, token: str) -> Bearer | NotBearer:
        async with _turn(self._tokens_at_once):
            return await self._cluster.token_review(token)

    async def token(self, token: str) -> WebIdentity:
        """The ServiceAccount that a token is of. IdentityTokenError where there is none, or its namespace has gone."""
        found = await self.bearer(token)
        namespace_uid = await self.namespace(found.namespace) if found.namespace else None
        if namespace_uid is None:
            raise IdentityTokenError(_REFUSED)
        return WebIdentity(
            namespace=found.namespace,
            namespace_uid=namespace_uid,
            account=self._account_of(found.namespace, namespace_uid),
            service_account=found.name,
            uid=found.uid,
            pod_name=found.pod_name,
            pod_uid=found.pod_uid,
        )


@asynccontextmanager
async def _turn(turns: asyncio.Semaphore) -> AsyncIterator[None]:
    """ThrottlingError where none comes in time."""
    try:
        async with asyncio.timeout(_TURN_SECONDS):
            await turns.acquire()
    except TimeoutError:
        raise ThrottlingError from None
    try:
        yield
    finally:
        turns.release()


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()


def _is_there(uid: str | None) -> bool:
    return uid is not None
