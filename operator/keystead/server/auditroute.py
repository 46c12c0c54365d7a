"""`GET /audit?key=<name|id|ARN>[&since=][&limit=][&marker=]`: tenants read the records about their own keys, of all replicas.

    who        a Bearer token with the audience `keystead`, over TLS (identity.by_bearer); of each principal 5 a second (RATE)
    may        RBAC: the verb `audit` on kmskeys/<name> in the key's namespace, by SubjectAccessReview; no key policy: it is no KMS action
    answer     {"records": [...], "nextMarker": ..., "replicas": [who told, and from when it has records], "notAsked": [who could not be
               asked, and why], "askedSiblings": false where this replica knows of no others}
    refusal    one and the same 403 for a key that is unknown, of a namespace that is gone, Keystead's own, or not allowed

The replica that is asked asks its siblings with the caller's own token (auditwhole.py, auditpeers.py); each of them does all of the above
itself, and tells of its own records only: a question that a sibling sent (auditquery.SHARE) is never sent on, so there is no loop.

Each read is recorded before it is answered, a refused one too (in the reader's account). It reads in a thread, three at once,
two of one account: else 429.
What may never enter: a folder, a chain or an offset in an answer; markers are sealed (auditmarker.py).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final, Protocol

from keystead.engine.clock import format_time
from keystead.engine.identifiers import RECORDS_NAMESPACE, key_arn, key_id_bytes, parse_kms_arn
from keystead.engine.ports import Domain
from keystead.engine.record import KeyRecord
from keystead.errors import (
    AccessDeniedError,
    AuditUnavailableError,
    InvalidMarkerError,
    KeysteadError,
    KmsError,
    KmsInternalError,
    StoreError,
    ThrottlingError,
)
from keystead.operations.trail import Audit, ServiceEvent
from keystead.policy import Action, Caller, SubjectAccessReview
from keystead.policy.evaluate import review_of
from keystead.server.auditmarker import Marker, Seals, replica_id
from keystead.server.auditquery import PATH, Wish, read_wish
from keystead.server.auditwhole import NotAsked, Peers, Told, ask_siblings, part_of, still_to_ask, whole
from keystead.server.identity import Identity, Recognise, by_bearer
from keystead.server.message import Asked, Reply
from keystead.server.quota import Places, Quota
from keystead.server.wire_errors import error_body

log = logging.getLogger(__name__)
__all__ = ["BURST", "NAME", "PATH", "RATE", "AuditRoute", "Facts", "Model", "Reading"]
NAME: Final = "ReadAuditRecords"
SERVICE: Final = "audit.kms.keystead.io"
VERB: Final = "audit"
RATE: Final = 5.0
"""Reads a second of one principal in a process: one read has each replica look through its files."""
BURST: Final = 10
# A page may take 5 s: two loops of one tenant would leave no other a place. Of an account, or a person, there are fewer.
_AT_ONCE: Final = 3
_OF_ONE: Final = 2
_WHOLE_AT_ONCE: Final = 6
_WHOLE_OF_ONE: Final = 4
_JSON: Final = b"application/json"
_SHOWN: Final = 256
_LONGEST_NAME: Final = 253
_UNAUTHENTICATED: Final = frozenset(
    {"MissingAuthenticationTokenException", "UnrecognizedClientException", "ExpiredTokenException"}
)
_STATUS: Final[Mapping[type[KmsError], int]] = {AccessDeniedError: 403, ThrottlingError: 429, KmsInternalError: 500}


class Page(Protocol):
    """audit/reading/tenant.py."""

    @property
    def records(self) -> tuple[bytes, ...]: ...
    @property
    def place(self) -> bytes | None: ...
    @property
    def reaches_back(self) -> str: ...
    @property
    def damaged(self) -> bool: ...


class Trail(Protocol):
    """The records of this replica. Blocks: for a thread."""

    def page(
        self, key_arn: str, account: str, since: datetime | None, limit: int, place: bytes | None, until: str, parts: int
    ) -> Page:
        """Records that the account has about the key, up to `until` ("": no end); one of `parts` pages. InvalidMarkerError."""


class Facts(Protocol):
    """server/facts.py."""

    async def ask(self, review: SubjectAccessReview) -> bool: ...
    async def namespace(self, namespace: str) -> str | None: ...


class Model(Protocol):
    """store/model.py."""

    def by_id(self, key_id: bytes) -> KeyRecord | None: ...
    def key_named(self, namespace: str, name: str) -> KeyRecord | None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What the route stands on. `stale`: why the read model may not be believed now. `replica`: the Pod, `trail_id`: its folder.

    peers: the other replicas; None: this one tells of its own records only, and refuses the marker of another one instead of leaving out
    what it has. quota: of each principal.
    """

    recognise: Recognise
    region: str
    facts: Facts
    model: Model
    trail: Trail
    audit: Audit
    domain: Callable[[], Domain]
    stale: Callable[[], str | None]
    now: Callable[[], datetime]
    new_id: Callable[[], str]
    replica: str
    trail_id: str
    quota: Quota
    peers: Peers | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Read:
    """A read that was allowed. until: when its first page was asked."""

    identity: Identity
    record: KeyRecord
    arn: str
    wish: Wish
    marker: Marker
    seals: Seals
    own_id: str
    until: str


class AuditRoute:
    """One a worker; goes into `House.routes` under PATH."""

    def __init__(self, reading: Reading) -> None:
        self._on = reading
        self._reading = Places(_AT_ONCE, _OF_ONE)
        self._whole = Places(_WHOLE_AT_ONCE, _WHOLE_OF_ONE)

    async def __call__(self, asked: Asked) -> Reply:
        """The answer. Never raises."""
        request_id = self._on.new_id()
        if asked.method != b"GET":
            return _reply(405, b'{"__type":"MethodNotAllowed","message":"GET"}', request_id, (b"allow", b"GET"))
        try:
            body = await self._answer(asked)
        except KmsError as error:
            return _reply(_status(error), error_body(error), request_id)
        except KeysteadError as error:
            log.error("%s %s: %s: %s", NAME, request_id, type(error).__name__, error)
        except Exception as error:  # noqa: BLE001 - the outermost loop of a request, as in door.py
            log.error("%s %s: unexpected %s", NAME, request_id, type(error).__name__)
        else:
            return _reply(200, body, request_id)
        return _reply(500, error_body(KmsInternalError("The request failed because of an internal error. Try it again.")), request_id)

    async def _answer(self, asked: Asked) -> bytes:
        on = self._on
        identity = await by_bearer(asked, on.recognise, on.region)
        on.quota.charge(NAME, None, identity.caller, identity.region)
        wish = read_wish(asked)
        stale = on.stale()
        if stale is not None or on.audit.stopped:
            raise AuditUnavailableError if on.audit.stopped else KmsInternalError("The records are not read yet. Try again.")
        record = await self._allowed(identity.caller, wish.key)
        if record is None:
            await self._recorded(identity, None, wish, denied=True)
            raise AccessDeniedError(f"User: {identity.caller.arn} is not authorized to read the audit records of this key")
        read = self._begin(identity, record, wish)
        if wish.share or on.peers is None:
            told = await self._own(read, wish.share or 1, "")
            if wish.share:
                return part_of(told, read.until, read.seals)
            return whole([told], read.marker, read.until, read.seals, asked_siblings=False)
        with self._whole.taken(identity.caller):
            return await self._of_all(read, on.peers, asked)

    def _begin(self, identity: Identity, record: KeyRecord, wish: Wish) -> _Read:
        on, arn = self._on, key_arn(record.region, record.account, record.key_id)
        seals, own_id = Seals(on.domain(), arn), replica_id(on.domain(), on.replica, on.trail_id)
        marker = seals.open(wish.marker) if wish.marker else Marker()
        if wish.marker and own_id not in marker.spots and on.peers is None and not wish.share:
            raise InvalidMarkerError("The marker is not valid, or of another key or replica.")
        return _Read(
            identity=identity,
            record=record,
            arn=arn,
            wish=wish,
            marker=marker,
            seals=seals,
            own_id=own_id,
            until=marker.until or format_time(on.now()),
        )

    async def _of_all(self, read: _Read, peers: Peers, asked: Asked) -> bytes:
        """Our own first: whoever is told to wait by us makes nobody else work."""
        found = await peers.find()
        addresses, unasked = still_to_ask(found, read.marker)
        parts = 1 + len(addresses)
        authorization = next(value for name, value in asked.headers if name == b"authorization")  # one, and a Bearer token: by_bearer
        own: list[Told | NotAsked] = []
        spot = read.marker.spots.get(read.own_id)
        if spot is None or spot.place is not None:
            own.append(await self._own(read, parts, found.own))
        target = read.wish.target
        told = await ask_siblings(addresses, lambda address: peers.ask(address, target, authorization, parts), read.seals)
        return await asyncio.to_thread(whole, [*own, *told, *unasked], read.marker, read.until, read.seals, asked_siblings=True)

    async def _own(self, read: _Read, parts: int, address: str) -> Told:
        """Of this replica's records. A replica that has told everything has nothing to read, and nothing to record."""
        on, spot = self._on, read.marker.spots.get(read.own_id)
        if spot is not None and spot.place is None:
            return Told(read.own_id, on.replica, address, (), "", None)
        place, wish = None if spot is None else spot.place, read.wish
        with self._reading.taken(read.identity.caller):
            page = await asyncio.to_thread(
                on.trail.page, read.arn, read.record.account, wish.since, wish.limit, place, read.marker.until, parts
            )
        await self._recorded(read.identity, read.record, wish, count=len(page.records))
        return Told(read.own_id, on.replica, address, page.records, page.reaches_back, page.place, page.damaged)

    async def _allowed(self, caller: Caller, key: str) -> KeyRecord | None:
        """The key's record where this caller may read. The API server is asked as often whether or not there is one."""
        record = self._find(caller, key)
        # Answers are remembered: of what does not exist it is asked the same that it would be asked if it did, or the time would tell.
        namespace, name = (caller.namespace, key[:_LONGEST_NAME]) if record is None else (record.namespace, record.name)
        uid = await self._on.facts.namespace(namespace)
        review = replace(review_of(caller, Action.DESCRIBE_KEY, namespace, name), verb=VERB)
        try:
            allowed = await self._on.facts.ask(review)
        except StoreError:
            raise KmsInternalError("The API server does not answer. Try again.") from None
        if record is None or record.namespace == RECORDS_NAMESPACE or uid != record.namespace_uid:
            return None
        holder = self._on.model.key_named(record.namespace, record.name)  # the name may be another key's by now, and so the right
        return record if allowed is True and holder is not None and holder.key_id == record.key_id else None

    def _find(self, caller: Caller, key: str) -> KeyRecord | None:
        """By ARN, by id, or by the name of a KmsKey in the caller's namespace."""
        arn = parse_kms_arn(key)
        resource = key if arn is None else arn.resource.removeprefix("key/")
        try:
            key_id = key_id_bytes(resource)
        except ValueError:
            found = None
        else:
            found = self._on.model.by_id(key_id)
        if arn is not None:
            return found if found is not None and (found.region, found.account) == (arn.region, arn.account) else None
        return found or self._on.model.key_named(caller.namespace, key)

    async def _recorded(
        self, identity: Identity, record: KeyRecord | None, wish: Wish, *, denied: bool = False, count: int = 0
    ) -> None:
        """Durable before the answer. A refused read is a record of the reader's account: it tells the key's account nothing. One from
        another account is a record of both, as a call with the key would be, and the key's is told nothing of the reader's Pod."""
        caller, on = identity.caller, self._on
        abroad = record is not None and record.account != caller.account
        told = {"principal": caller.principal, "readerNamespace": caller.namespace, "key": wish.key[:_SHOWN], "replica": on.replica}
        if not denied:
            told |= {"records": str(count), "podName": identity.actor.pod_name}
        details = {name: text for name, text in told.items() if text}
        event = ServiceEvent(
            time=on.now(),
            event_id=on.new_id(),
            name=NAME,
            service=SERVICE,
            account=caller.account if record is None else record.account,
            namespace=caller.namespace if record is None else record.namespace,
            region=identity.region,
            key_arn="" if record is None else key_arn(record.region, record.account, record.key_id),
            code="AccessDeniedException" if denied else "",
            message="The verb audit on this key was not given, or there is no such key." if denied else "",
            actor=identity.actor,
            details={name: text for name, text in details.items() if not abroad or name != "podName"},
            shared_id=on.new_id() if abroad else "",
        )
        events = [event]
        if abroad:
            events.append(replace(event, event_id=on.new_id(), account=caller.account, namespace=caller.namespace, details=details))
        waits = [wait for wait in map(on.audit.service, events) if wait is not None]
        for wait in waits:
            await wait


def _status(error: KmsError) -> int:
    if error.code in _UNAUTHENTICATED:
        return 401
    return next((status for kind, status in _STATUS.items() if isinstance(error, kind)), 400)


def _reply(status: int, body: bytes, request_id: str, *headers: tuple[bytes, bytes]) -> Reply:
    return Reply(status, body, _JSON, ((b"x-amzn-requestid", request_id.encode()), *headers))
