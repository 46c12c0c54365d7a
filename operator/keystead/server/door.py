"""The front door: one request in, one answer out. The order of the checks is AWS's (AWS.md, Authentication errors) and is tested:

    path, method    404, 405
    target          UnknownOperationException: the name of no operation at all
    signature       identity.py
    operation       UnsupportedOperationException with a reason: AWS has it, this version does not
    body            SerializationException, ValidationException: codec, from botocore's model
    quota           ThrottlingException (quota.py)
    the operation   resolve, authorise, state, act: operations/

Every authenticated call is recorded (operations/trail.py) before it is answered; where that fails, it is not answered.

Never raises. What is not a KmsError is a bland KMSInternalException here and a line in the log, without anything of the request.
"""

from __future__ import annotations

import hashlib
import logging
import os
import traceback
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from types import CoroutineType
from typing import Any, Final, Protocol

from keystead.engine.bounds import KEYS_PER_NAMESPACE
from keystead.errors import (
    AuditUnavailableError,
    InvalidMacError,
    InvalidSignatureError,
    KeysteadError,
    KmsError,
    KmsInternalError,
    UnsupportedOperationError,
)
from keystead.operations.calling import CALL
from keystead.operations.faults import public_error
from keystead.operations.refusals import DryRunError
from keystead.operations.registry import OperationRow
from keystead.operations.trail import Audit, CallEvent, NoAudit
from keystead.operations.world import Call, Catalogue, ControlWorld, Judged
from keystead.policy.question import Carried
from keystead.server.calls import Counter, Uncounted
from keystead.server.driver import Driver, Engine
from keystead.server.identity import Identity
from keystead.server.message import Asked, Reply
from keystead.server.quota import Quota, Unlimited
from keystead.server.wire_errors import error_body, status_of

log = logging.getLogger(__name__)
_TARGET: Final = b"x-amz-target"
_PREFIX: Final = b"TrentService."
_INVOCATION: Final = b"amz-sdk-invocation-id"
_REQUEST_ID: Final = b"x-amzn-requestid"
_MAX_INVOCATION: Final = 256
_FORM: Final = b"application/x-www-form-urlencoded"
_NO_CALL: Final = Call()
# Ids are cut from one piece of randomness for many: a system call each would cost more than the rest of an id. No worker is forked.
_BATCH: Final = 256
_batch: list[str] = []
# What they write is named by the call (AWS.md, Creates are idempotent): an object, or the request to rotate.
_CREATES: Final = frozenset({"CreateKey", "CreateGrant", "RotateKeyOnDemand"})
_READS_USES: Final = "GetKeyLastUsage"
# The work was done, and this is its answer: counted as an answered call (docs/usage.md).
_DONE: Final = frozenset({DryRunError.code, InvalidSignatureError.code, InvalidMacError.code})
_BLAND: Final = "The request failed because of an internal error. Try it again."


class StaleError(KmsInternalError):
    """The read model may not be believed now: the client finds another replica on a new connection."""


class UnknownOperationError(KmsError):
    """No operation of AWS KMS has this name, or none was named."""

    code = "UnknownOperationException"


class Authenticator(Protocol):
    """identity.py. Raises KmsError; an awaitable where a fact is not known yet."""

    def authenticate(self, asked: Asked, now: datetime) -> Identity | Awaitable[Identity]: ...


class Wire(Protocol):
    """The codec (codec.py)."""

    def row(self, operation: str) -> OperationRow | None: ...
    def unsupported(self, operation: str) -> str | None: ...
    def decode(self, operation: str, body: bytes) -> Any: ...  # noqa: ANN401 - the operation's request
    def encode(self, operation: str, response: Any) -> bytes: ...  # noqa: ANN401 - the operation's response


class Stream(Protocol):
    """Whether what the read model says may be believed now (store/heartbeat.py)."""

    @property
    def refusal(self) -> str | None:
        """Why not; None: it may."""


class Sts(Protocol):
    """The STS half of the same address (sts.py)."""

    def handle(self, asked: Asked, request_id: str) -> Reply | Awaitable[Reply]: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What a door stands on; made by app. `served(operation, code)`: one call ended, "" without an error.

    `used(operation, response, request_id, event_id, now)`: a call succeeded. audit: keeps a record of every authenticated call.
    """

    authenticator: Authenticator
    wire: Wire
    driver: Driver
    token: Callable[[], Engine]
    keys: Callable[[Identity], Catalogue]
    stream: Stream
    sts: Sts
    now: Callable[[], datetime]
    tracking_since: Callable[[], datetime | None]
    served: Callable[[str, str], None]
    used: Callable[[str, Any, str, str, datetime], None]
    audit: Audit = field(default_factory=NoAudit)
    calls: Counter = field(default_factory=Uncounted)
    quota: Quota = field(default_factory=Unlimited)
    keys_per_namespace: int = KEYS_PER_NAMESPACE
    routes: Mapping[bytes, Callable[[Asked], Awaitable[Reply]]] = field(default_factory=dict)


class AwsDoor:
    """Implements `message.Door`."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._names: dict[bytes, str] = {}

    def handle(self, asked: Asked) -> Reply | Awaitable[Reply]:
        """The answer, at once wherever nothing has to be awaited."""
        request_id = new_id()
        path = asked.target.partition(b"?")[0]
        if path != b"/":
            route = self._parts.routes.get(path)
            return _plain(404, b"not found", request_id) if route is None else route(asked)
        if asked.method != b"POST":
            return _plain(405, b"method not allowed", request_id, (b"allow", b"POST"))
        headers = dict(asked.headers)
        target = headers.get(_TARGET)
        if target is None and _is_form(asked):
            return self._parts.sts.handle(asked, request_id)
        passage = _Passage(asked, headers, request_id, self._parts.now())
        try:
            if len(headers) != len(asked.headers) and _is_twice(asked):
                target = None
            passage.operation = self._names.get(target or b"") or self._operation(target)
            identity = self._parts.authenticator.authenticate(asked, passage.now)
            if not isinstance(identity, Identity):
                return self._finish(passage, self._later(passage, identity))
            answer = self._call(passage, identity)
            if isinstance(answer, CoroutineType):
                return self._finish(passage, answer)
            return self._answered(passage, answer)
        except Exception as error:  # noqa: BLE001 - the outermost loop of a request: nothing may kill the connection
            return self._refused(passage, error)

    def _operation(self, target: bytes | None) -> str:
        if target is None or not target.startswith(_PREFIX):
            raise UnknownOperationError
        operation = target[len(_PREFIX) :].decode("ascii", "replace")
        wire = self._parts.wire
        if wire.row(operation) is None and wire.unsupported(operation) is None:
            raise UnknownOperationError
        self._names[target] = operation  # a name of the model: there are not many
        return operation

    def _call(self, passage: _Passage, identity: Identity) -> Any:  # noqa: ANN401 - or a coroutine of it
        parts, operation, asked = self._parts, passage.operation, passage.asked
        passage.identity = identity
        row = parts.wire.row(operation)
        if row is None:
            raise UnsupportedOperationError(parts.wire.unsupported(operation) or "")
        stale = parts.stream.refusal
        if stale is not None:
            raise StaleError(stale)
        if parts.audit.stopped:
            raise AuditUnavailableError
        passage.request = request = parts.wire.decode(operation, asked.body)
        parts.quota.charge(operation, request, identity.caller, identity.region)
        token = parts.token()
        world = ControlWorld(
            domain=token.domain,
            fast=token.fast,
            capabilities=token.capabilities,
            keys=parts.keys(identity),
            region=identity.region,
            now=passage.now,
            entropy=os.urandom,
            call=_call_of(asked) if operation in _CREATES else _NO_CALL,
            tracking_since=parts.tracking_since() if operation == _READS_USES else None,
            carried=Carried(asked.peer, asked.secure),
            trail=passage.trail,
            keys_per_namespace=parts.keys_per_namespace,
        )
        return parts.driver.run(row.function(world, identity.caller, request))

    async def _later(self, passage: _Passage, identity: Awaitable[Identity]) -> Any:  # noqa: ANN401 - the operation's
        answer = self._call(passage, await identity)
        return await answer if isinstance(answer, CoroutineType) else answer

    async def _finish(self, passage: _Passage, answer: Awaitable[Any]) -> Reply:
        CALL.set(passage.request_id)
        try:
            reply = self._answered(passage, await answer)
        except Exception as error:  # noqa: BLE001 - as in handle
            reply = self._refused(passage, error)
        return reply if isinstance(reply, Reply) else await reply

    def _answered(self, passage: _Passage, response: Any) -> Reply | Awaitable[Reply]:  # noqa: ANN401 - the operation's
        parts, operation = self._parts, passage.operation
        reply = Reply(200, parts.wire.encode(operation, response), headers=((_REQUEST_ID, passage.request_id.encode()),))
        recorded = parts.audit.call(passage.event(response))
        parts.used(operation, response, passage.request_id, passage.event_id, passage.now)
        if recorded is not None:
            return self._when_recorded(passage, recorded, reply, "")
        self._count(passage, "")
        return reply

    def _refused(self, passage: _Passage, error: Exception) -> Reply | Awaitable[Reply]:
        public = public_error(error) if isinstance(error, KeysteadError) else KmsInternalError(_BLAND)
        if passage.identity is None or isinstance(error, AuditUnavailableError):
            return self._unrecorded(passage, public, error)
        reply = self._refusal(passage, public, error)
        try:
            recorded = self._parts.audit.call(passage.event(None, public.code, str(public)))
        except AuditUnavailableError as away:
            return self._unrecorded(passage, away, away)
        if recorded is not None:
            return self._when_recorded(passage, recorded, reply, public.code)
        self._count(passage, public.code)
        return reply

    def _unrecorded(self, passage: _Passage, public: KmsError, error: Exception) -> Reply:
        """Counted as what its caller gets, and for nobody's usage: that has what the trail has."""
        self._parts.served(passage.operation, public.code)
        return self._refusal(passage, public, error)

    def _refusal(self, passage: _Passage, public: KmsError, error: Exception) -> Reply:
        status = status_of(public)
        if status >= 500 and not isinstance(error, AuditUnavailableError):  # the audit itself says once why
            _say(passage.operation, passage.request_id, error)
        return Reply(
            status,
            error_body(public),
            headers=((_REQUEST_ID, passage.request_id.encode()),),
            close=isinstance(error, StaleError),
        )

    async def _when_recorded(self, passage: _Passage, recorded: Awaitable[None], reply: Reply, code: str) -> Reply:
        try:
            await recorded
        except Exception as error:  # noqa: BLE001 - whatever it is, there is no record: nothing is answered
            public = error if isinstance(error, AuditUnavailableError) else KmsInternalError(_BLAND)
            return self._unrecorded(passage, public, error)
        self._count(passage, code)
        return reply

    def _count(self, passage: _Passage, code: str) -> None:
        """A call that is recorded, once, by what its caller gets. Never before: a record may fail when the answer was made already."""
        parts, identity = self._parts, passage.identity
        assert identity is not None
        if code and code not in _DONE:
            parts.calls.refused(identity.caller.namespace, passage.now)
        else:
            parts.calls.answered(passage.operation, identity.caller.namespace, passage.request, passage.trail, passage.now)
        parts.served(passage.operation, code)


def new_id() -> str:
    """A random UUID, as text. Names a request in answers and records, nothing else: a nonce or a key never comes from here."""
    if not _batch:
        for digits in os.urandom(16 * _BATCH).hex("-", 16).split("-"):
            _batch.append(f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-a{digits[17:20]}-{digits[20:]}")
    return _batch.pop()


@dataclass(slots=True)
class _Passage:
    """A call on its way through the door: what is known of it so far."""

    asked: Asked
    headers: dict[bytes, bytes]
    request_id: str
    now: datetime
    operation: str = ""
    identity: Identity | None = None
    request: object = None
    event_id: str = field(default_factory=new_id)
    trail: list[Judged] = field(default_factory=list)

    def event(self, response: object, code: str = "", message: str = "") -> CallEvent:
        """Its audit record to be."""
        assert self.identity is not None
        return CallEvent(
            self.now,
            self.event_id,
            self.request_id,
            self.operation,
            self.identity.actor,
            self.identity.region,
            self.asked.peer,
            self.asked.tls,
            self.request,
            response,
            code,
            message,
            self.trail,
            self.headers,
        )


def _is_twice(asked: Asked) -> bool:
    return sum(name == _TARGET for name, _ in asked.headers) > 1


def _is_form(asked: Asked) -> bool:
    return any(name == b"content-type" and value.lower().startswith(_FORM) for name, value in asked.headers)


def _call_of(asked: Asked) -> Call:
    """The SDK sends one invocation id with all attempts of a call."""
    sent = next((value for name, value in asked.headers if name == _INVOCATION), b"")
    return Call(hashlib.sha256(asked.body).digest(), sent.decode("latin-1")[:_MAX_INVOCATION])


def _plain(status: int, text: bytes, request_id: str, *headers: tuple[bytes, bytes]) -> Reply:
    return Reply(status, text + b"\n", b"text/plain; charset=utf-8", ((_REQUEST_ID, request_id.encode()), *headers))


def _say(operation: str, request_id: str, error: Exception) -> None:
    """A fault, for people: its kind and its cause's words, which carry no input (errors.py).

    Of what is unexpected its kind and place: the words of an exception that is not ours may quote the request.
    """
    if isinstance(error, KeysteadError):
        cause = error.__cause__ or error
        notes = "; ".join(getattr(error, "__notes__", ()))
        log.error("%s %s: %s: %s%s", operation, request_id, type(cause).__name__, cause, f" ({notes})" if notes else "")
    else:
        place = "".join(traceback.format_tb(error.__traceback__)).rstrip()
        log.error("%s %s: unexpected %s\n%s", operation, request_id, type(error).__name__, place)
