"""`GET /audit?key=<name|id|ARN>[&since=][&limit=][&marker=]`: tenants read the records about their own keys, of this replica.

    who        a Bearer token with the audience `keystead`, over TLS (identity.by_bearer)
    may        RBAC: the verb `audit` on kmskeys/<name> in the key's namespace, by SubjectAccessReview; no key policy: it is no KMS action
    answer     {"records": [...], "nextMarker": ..., "from": how far the records reach back, "replica": ...}
    refusal    one and the same 403 for a key that is unknown, of a namespace that is gone, Keystead's own, or not allowed

Each read is recorded before it is answered, a refused one too (in the reader's account). It reads in a thread, two at once at most: 429.
What may never enter: a folder, a chain or an offset in an answer; markers are sealed.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import logging
import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final, Protocol
from urllib.parse import parse_qs

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from msgspec import Raw

from keystead.engine.clock import read_time
from keystead.engine.identifiers import RECORDS_NAMESPACE, key_arn, key_id_bytes, parse_kms_arn
from keystead.engine.labels import Label, domain_mac
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
    ValidationError,
)
from keystead.operations.trail import Audit, ServiceEvent
from keystead.policy import Action, Caller, SubjectAccessReview
from keystead.policy.evaluate import review_of
from keystead.server.identity import Identity, Recognise, by_bearer
from keystead.server.message import Asked, Reply
from keystead.server.wire_errors import error_body

log = logging.getLogger(__name__)
PATH: Final = b"/audit"
NAME: Final = "ReadAuditRecords"
SERVICE: Final = "audit.kms.keystead.io"
VERB: Final = "audit"
MOST_RECORDS: Final = 1000
_USUAL: Final = 100
_AT_ONCE: Final = 2
_JSON: Final = b"application/json"
_NONCE: Final = 12
_PARAMETERS: Final = frozenset({"key", "since", "limit", "marker"})
_TOO_LONG: Final = 2048
_SHOWN: Final = 256
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


class Trail(Protocol):
    """The records of this replica. Blocks: for a thread."""

    def page(self, key_arn: str, account: str, since: datetime | None, limit: int, place: bytes | None) -> Page:
        """Records that the account has about the key. InvalidMarkerError."""


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

    A marker fits the folder that it is of: another replica that is asked by it refuses, instead of leaving out what it has.
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


@dataclass(frozen=True, slots=True)
class _Wish:
    key: str
    since: datetime | None
    limit: int
    marker: str


class AuditRoute:
    """One a worker; goes into `House.routes` under PATH."""

    def __init__(self, reading: Reading) -> None:
        self._on = reading
        self._reading = 0

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
        wish = _wish(asked.target)
        stale = on.stale()
        if stale is not None or on.audit.stopped:
            raise AuditUnavailableError if on.audit.stopped else KmsInternalError("The records are not read yet. Try again.")
        record = await self._allowed(identity.caller, wish.key)
        if record is None:
            await self._recorded(identity, None, wish, denied=True)
            raise AccessDeniedError(f"User: {identity.caller.arn} is not authorized to read the audit records of this key")
        arn = key_arn(record.region, record.account, record.key_id)
        if self._reading >= _AT_ONCE:
            raise ThrottlingError
        place = self._open(wish.marker, arn) if wish.marker else None
        self._reading += 1
        try:
            page = await asyncio.to_thread(on.trail.page, arn, record.account, wish.since, wish.limit, place)
        finally:
            self._reading -= 1
        await self._recorded(identity, record, wish, count=len(page.records))
        return msgspec.json.encode(
            {
                "records": [Raw(text) for text in page.records],
                "nextMarker": None if page.place is None else self._seal(page.place, arn),
                "from": page.reaches_back or None,
                "replica": on.replica,
            }
        )

    async def _allowed(self, caller: Caller, key: str) -> KeyRecord | None:
        """The key's record where this caller may read. The API server is asked as often whether or not there is one."""
        record = self._find(caller, key)
        namespace, name = (caller.namespace, "none") if record is None else (record.namespace, record.name)
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
        found: KeyRecord | None = None
        with suppress(ValueError):
            found = self._on.model.by_id(key_id_bytes(resource))
        if arn is not None:
            return found if found is not None and (found.region, found.account) == (arn.region, arn.account) else None
        return found or self._on.model.key_named(caller.namespace, key)

    async def _recorded(
        self, identity: Identity, record: KeyRecord | None, wish: _Wish, *, denied: bool = False, count: int = 0
    ) -> None:
        """Durable before the answer. A refused read is a record of the reader's account: it tells the key's account nothing."""
        caller, on = identity.caller, self._on
        told = {"principal": caller.principal, "readerNamespace": caller.namespace, "key": wish.key[:_SHOWN], "replica": on.replica}
        if not denied:
            told |= {"records": str(count), "podName": identity.actor.pod_name}
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
            details={name: text for name, text in told.items() if text},
        )
        recorded = on.audit.service(event)
        if recorded is not None:
            await recorded

    def _box(self) -> AESGCM:
        return AESGCM(domain_mac(self._on.domain().mac, Label.AUDIT, b"read-marker"))

    def _bound(self, arn: str) -> bytes:
        return "\0".join((arn, self._on.replica, self._on.trail_id)).encode()

    def _seal(self, place: bytes, arn: str) -> str:
        nonce = os.urandom(_NONCE)
        return base64.urlsafe_b64encode(nonce + self._box().encrypt(nonce, place, self._bound(arn))).decode()

    def _open(self, marker: str, arn: str) -> bytes:
        try:
            raw = base64.b64decode(marker, altchars=b"-_", validate=True)
            return self._box().decrypt(raw[:_NONCE], raw[_NONCE:], self._bound(arn))
        except (binascii.Error, ValueError, InvalidTag):
            raise InvalidMarkerError("The marker is not valid, or of another key or replica.") from None


def _wish(target: bytes) -> _Wish:
    """ValidationError names the parameter."""
    query = target.partition(b"?")[2]
    if len(query) > _TOO_LONG:
        raise ValidationError("the query is too long")
    try:
        sent = parse_qs(query.decode("ascii"), keep_blank_values=True, strict_parsing=bool(query), errors="strict", max_num_fields=8)
    except ValueError:
        raise ValidationError("the query cannot be read") from None
    if not sent.keys() <= _PARAMETERS or any(len(values) > 1 for values in sent.values()):
        raise ValidationError("give key, since, limit and marker, each once, and nothing else")
    one = {name: values[0] for name, values in sent.items()}
    if not one.get("key"):
        raise ValidationError("key: give the name of a KmsKey, a key id or an ARN")
    return _Wish(one["key"], _since(one.get("since")), _limit(one.get("limit")), one.get("marker", ""))


def _since(text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        return read_time(text)
    except (ValueError, OverflowError):
        raise ValidationError("since: give a time such as 2026-11-26T08:00:00Z") from None


def _limit(text: str | None) -> int:
    if text is None:
        return _USUAL
    if not (text.isascii() and text.isdigit() and 1 <= int(text[:5]) <= MOST_RECORDS and len(text) <= 4):
        raise ValidationError(f"limit: 1 to {MOST_RECORDS}")
    return int(text)


def _status(error: KmsError) -> int:
    if error.code in _UNAUTHENTICATED:
        return 401
    return next((status for kind, status in _STATUS.items() if isinstance(error, kind)), 400)


def _reply(status: int, body: bytes, request_id: str, *headers: tuple[bytes, bytes]) -> Reply:
    return Reply(status, body, _JSON, ((b"x-amzn-requestid", request_id.encode()), *headers))
