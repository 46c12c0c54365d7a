"""The STS query protocol: AssumeRoleWithWebIdentity and GetCallerIdentity, in AWS's words. Every other action is InvalidAction.

    POST / , application/x-www-form-urlencoded, Version 2011-06-15    ->    text/xml

The door calls `StsEndpoint` for requests with that Content-Type (KMS and STS share one host). `parse` and the answers are pure; the
endpoint awaits two ports: `Identify` says whose web identity token it is (TokenReview; dev: JWKS), `Authenticate` who signed
GetCallerIdentity (sigv4.Verifier of service `sts`). The web identity token never enters a message.

What is asked by somebody who is known is recorded before it is answered, as in door.py: no credentials without a record of them.

A parameter that we do not know is refused, not ignored: Policy and PolicyArns narrow what credentials may do, and a caller that sent them
must not get wider ones.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final, TypeAlias
from urllib.parse import parse_qsl
from xml.etree import ElementTree

from keystead.engine.identifiers import role_arn, session_arn
from keystead.engine.ports import Domain
from keystead.errors import (
    AccessDeniedError,
    AuditUnavailableError,
    IdentityTokenError,
    IdentityTokenExpiredError,
    KeysteadError,
    KmsError,
    KmsInternalError,
)
from keystead.operations.trail import Actor, Audit, CallEvent, NoAudit
from keystead.policy import Caller, service_account_caller
from keystead.policy.caller import role_id, user_id
from keystead.policy.review import service_account_user
from keystead.server.credentials import DEFAULT_LIFE, MAX_LIFE, MIN_LIFE, Minted, TokenIdentity, mint
from keystead.server.door import new_id
from keystead.server.message import Asked, Reply

log = logging.getLogger(__name__)

VERSION: Final = "2011-06-15"
NAMESPACE: Final = "https://sts.amazonaws.com/doc/2011-06-15/"
_XML: Final = b"text/xml"
_FORM: Final = re.compile(rb'application/x-www-form-urlencoded(?:\s*;\s*charset="?utf-8"?)?', re.IGNORECASE)
_SESSION_NAME: Final = re.compile(r"[\w+=,.@-]{2,64}\Z", re.ASCII)
_DURATION: Final = re.compile(r"[0-9]{1,6}\Z")
# AWS's bound of WebIdentityToken is 20,000; as %-escapes at most three times as long.
_MAX_BODY: Final = 65_536
_MAX_FIELDS: Final = 32
_SHOWN: Final = 256
# What AWS's own global endpoint is recorded under.
_REGION: Final = "us-east-1"
_ASSUME: Final = "AssumeRoleWithWebIdentity"
_CALLER: Final = "GetCallerIdentity"
# Action -> (required, optional parameters), Action and Version aside.
_ACTIONS: Final[Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]]] = {
    _ASSUME: (("RoleArn", "RoleSessionName", "WebIdentityToken"), ("DurationSeconds",)),
    _CALLER: ((), ()),
}


class StsError(KeysteadError):
    """An answer of STS, by AWS's name. `status` is the HTTP status; below 500 the sender is at fault."""

    def __init__(self, code: str, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.status = status


# The code of a KmsError -> (STS's code, HTTP status). STS has names of its own for what KMS answers as JSON (AWS, STS API Reference,
# Common Errors). What is not here is InternalFailure 500, which every SDK retries.
ERRORS: Final[Mapping[str, tuple[str, int]]] = {
    "MissingAuthenticationTokenException": ("MissingAuthenticationToken", 403),
    "IncompleteSignatureException": ("IncompleteSignature", 400),
    "UnrecognizedClientException": ("InvalidClientTokenId", 403),
    "ExpiredTokenException": ("ExpiredToken", 403),
    "InvalidSignatureException": ("SignatureDoesNotMatch", 403),
    "AccessDeniedException": ("AccessDenied", 403),
    "ValidationException": ("ValidationError", 400),
    "ThrottlingException": ("Throttling", 400),
}


@dataclass(frozen=True, slots=True)
class AssumeRole:
    """AssumeRoleWithWebIdentity, each parameter within its bounds."""

    role_arn: str
    session_name: str
    web_identity_token: str = field(repr=False)
    life: timedelta = DEFAULT_LIFE

    @property
    def duration_seconds(self) -> int:
        """As AWS names it."""
        return int(self.life.total_seconds())


@dataclass(frozen=True, slots=True)
class GetCallerIdentity:
    """GetCallerIdentity. It has no parameters, and must be signed."""


StsRequest: TypeAlias = AssumeRole | GetCallerIdentity
# IdentityTokenError, IdentityTokenExpiredError, AccessDeniedError; anything else is InternalFailure.
Identify: TypeAlias = Callable[[str], Awaitable[TokenIdentity]]
Authenticate: TypeAlias = Callable[[Asked, datetime], Awaitable[Actor]]


def is_sts(asked: Asked) -> bool:
    """Whether the request speaks the query protocol: by its one Content-Type, and never with a KMS target."""
    types = [value for name, value in asked.headers if name == b"content-type"]
    targets = any(name == b"x-amz-target" for name, _ in asked.headers)
    return not targets and len(types) == 1 and _FORM.fullmatch(types[0]) is not None


def parse(body: bytes) -> StsRequest:
    """The request in a form body. StsError: InvalidAction, MissingAction, MissingParameter, ValidationError."""
    fields = _fields(body)
    action, version = fields.pop("Action", ""), fields.pop("Version", "NO_VERSION_SPECIFIED")
    if not action:
        raise StsError("MissingAction", "The request must contain the parameter Action.")
    if action not in _ACTIONS or version != VERSION:
        raise StsError("InvalidAction", f"Could not find operation {_clean(action)} for version {_clean(version)}")
    required, optional = _ACTIONS[action]
    for name in required:
        if not fields.get(name):
            raise StsError("MissingParameter", f"The request must contain the parameter {name}.")
    for name in fields:
        if name not in required and name not in optional:
            raise _invalid(f"The parameter {_clean(name)} is not supported.")
    return GetCallerIdentity() if action == _CALLER else _assume_role(fields)


def _fields(body: bytes) -> dict[str, str]:
    if len(body) > _MAX_BODY:
        raise _invalid(f"The request must have at most {_MAX_BODY} bytes.")
    try:
        pairs = parse_qsl(
            body.decode("ascii"),
            keep_blank_values=True,
            strict_parsing=True,
            errors="strict",
            max_num_fields=_MAX_FIELDS,
        )
    except ValueError:
        raise _invalid("The request body is not a form.") from None
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise _invalid("A parameter was sent more than once.")
    return fields


def _invalid(message: str) -> StsError:
    return StsError("ValidationError", message)


def _unfit(member: str, value: str, constraint: str) -> StsError:
    return _invalid(
        f"1 validation error detected: Value '{_clean(value)}' at '{member}' failed to satisfy constraint: Member must {constraint}"
    )


def _clean(text: str) -> str:
    """At most 256 characters, printable ones: XML cannot hold all others."""
    return "".join(c if c.isprintable() else "?" for c in text[:_SHOWN])


def _assume_role(fields: Mapping[str, str]) -> AssumeRole:
    arn, name = fields["RoleArn"], fields["RoleSessionName"]
    if not 20 <= len(arn) <= 2048:
        bound = "greater than or equal to 20" if len(arn) < 20 else "less than or equal to 2048"
        raise _unfit("roleArn", arn, f"have length {bound}")
    if not _SESSION_NAME.match(name):
        raise _unfit("roleSessionName", name, r"satisfy regular expression pattern: [\w+=,.@-]{2,64}")
    token = fields["WebIdentityToken"].rstrip("\r\n")  # every SDK sends the token file's last newline too
    if not 4 <= len(token) <= 20_000:
        raise _invalid("The WebIdentityToken must have 4 to 20000 characters.")
    return AssumeRole(arn, name, token, _life(fields.get("DurationSeconds")))


def _life(text: str | None) -> timedelta:
    if text is None:
        return DEFAULT_LIFE
    if not _DURATION.match(text):
        raise _unfit("durationSeconds", text, "be an integer")
    life = timedelta(seconds=int(text))
    if life < MIN_LIFE:
        raise _unfit("durationSeconds", text, "have value greater than or equal to 900")
    if life > MAX_LIFE:
        raise _unfit("durationSeconds", text, "have value less than or equal to 43200")
    return life


def assumed(minted: Minted, request_id: str) -> Reply:
    """AssumeRoleWithWebIdentityResponse."""
    session = minted.session
    root, result = _response(_ASSUME, request_id)
    credentials = ElementTree.SubElement(result, "Credentials")
    _text(credentials, "AccessKeyId", session.access_key_id)
    _text(credentials, "SecretAccessKey", session.secret_access_key)
    _text(credentials, "SessionToken", minted.session_token)
    _text(credentials, "Expiration", session.expiration.strftime("%Y-%m-%dT%H:%M:%SZ"))
    _text(result, "SubjectFromWebIdentityToken", service_account_user(session.namespace, session.service_account))
    user = ElementTree.SubElement(result, "AssumedRoleUser")
    _text(user, "AssumedRoleId", f"{role_id(session.uid)}:{session.session_name}")
    _text(user, "Arn", session_arn(session.account, session.service_account, session.session_name))
    return _reply(root, 200, request_id)


def caller_identity(caller: Caller, request_id: str) -> Reply:
    """GetCallerIdentityResponse."""
    root, result = _response(_CALLER, request_id)
    _text(result, "Arn", caller.arn)
    _text(result, "UserId", user_id(caller))
    _text(result, "Account", caller.account)
    return _reply(root, 200, request_id)


def error(fault: KeysteadError, request_id: str) -> Reply:
    """ErrorResponse: StsError as it is, our own errors by the table, everything else the retryable InternalFailure."""
    answer = _answer_to(fault)
    root = ElementTree.Element("ErrorResponse", xmlns=NAMESPACE)
    detail = ElementTree.SubElement(root, "Error")
    _text(detail, "Type", "Sender" if answer.status < 500 else "Receiver")
    _text(detail, "Code", answer.code)
    _text(detail, "Message", answer.message)
    _text(root, "RequestId", request_id)
    return _reply(root, answer.status, request_id)


def _answer_to(fault: KeysteadError) -> StsError:
    match fault:
        case StsError():
            return fault
        case IdentityTokenExpiredError():
            return StsError("ExpiredTokenException", "The web identity token that was passed is expired.")
        case IdentityTokenError():
            return StsError("InvalidIdentityToken", "The web identity token that was passed could not be validated.")
        case KmsError() if fault.code in ERRORS:
            code, status = ERRORS[fault.code]
            return StsError(code, fault.message, status)
        case _:
            return StsError("InternalFailure", "The request could not be served; try again.", 500)


def _response(action: str, request_id: str) -> tuple[ElementTree.Element, ElementTree.Element]:
    root = ElementTree.Element(f"{action}Response", xmlns=NAMESPACE)
    result = ElementTree.SubElement(root, f"{action}Result")
    _text(ElementTree.SubElement(root, "ResponseMetadata"), "RequestId", request_id)
    return root, result


def _text(parent: ElementTree.Element, name: str, text: str) -> None:
    ElementTree.SubElement(parent, name).text = text


def _reply(root: ElementTree.Element, status: int, request_id: str) -> Reply:
    body: bytes = ElementTree.tostring(root, encoding="utf-8")
    return Reply(status, body, _XML, ((b"x-amzn-requestid", request_id.encode()),))


@dataclass(frozen=True, slots=True, kw_only=True)
class StsEndpoint:
    """What the door calls. `domain`: that of the open token; raises HsmError where it is away. `region`: what records say."""

    identify: Identify
    authenticate: Authenticate
    domain: Callable[[], Domain]
    now: Callable[[], datetime]
    entropy: Callable[[int], bytes]
    audit: Audit = field(default_factory=NoAudit)
    region: str | None = None

    async def handle(self, asked: Asked, request_id: str) -> Reply:
        """The answer. Never raises."""
        try:
            return await self._handle(asked, request_id)
        except KeysteadError as fault:
            return error(fault, request_id)
        except Exception as fault:  # noqa: BLE001 - outermost: a defect must be an answer, and its text may hold what was sent
            log.error("sts: %s (request %s)", type(fault).__name__, request_id)
            return error(KmsInternalError(), request_id)

    async def _handle(self, asked: Asked, request_id: str) -> Reply:
        if not is_sts(asked):
            raise _invalid("The request must have one Content-Type, application/x-www-form-urlencoded.")
        request = parse(asked.body)
        if isinstance(request, GetCallerIdentity):
            actor = await self.authenticate(asked, self.now())
            await self._recorded(asked, request_id, actor)
            return caller_identity(actor.caller, request_id)
        identity = await self.identify(request.web_identity_token)
        actor = _actor_of(identity)
        try:
            minted = self._minted(identity, request)
        except KeysteadError as fault:
            await self._recorded(asked, request_id, actor, request, fault=_answer_to(fault))
            raise
        await self._recorded(asked, request_id, actor, request, minted)
        return assumed(minted, request_id)

    def _minted(self, identity: TokenIdentity, request: AssumeRole) -> Minted:
        own = role_arn(identity.account, identity.service_account)
        if request.role_arn != own:
            # Whoever holds the token may know whose it is; of the role that was asked for nothing is said, not even that it exists.
            raise AccessDeniedError(f"Not authorized to perform sts:{_ASSUME}: the token is that of {own}")
        return mint(self.domain(), identity, request.session_name, self.now(), self.entropy, request.life)

    async def _recorded(
        self,
        asked: Asked,
        request_id: str,
        actor: Actor,
        request: AssumeRole | None = None,
        minted: Minted | None = None,
        fault: StsError | None = None,
    ) -> None:
        """Before the answer. AuditUnavailableError: then there is none."""
        if self.audit.stopped:
            raise AuditUnavailableError
        recorded = self.audit.call(
            CallEvent(
                self.now(),
                new_id(),
                request_id,
                _CALLER if request is None else _ASSUME,
                actor,
                self.region or _REGION,
                asked.peer,
                asked.tls,
                request,
                None if minted is None else minted.session,
                "" if fault is None else fault.code,
                "" if fault is None else fault.message,
                (),
                dict(asked.headers),
            )
        )
        if recorded is not None:
            await recorded


def _actor_of(identity: TokenIdentity) -> Actor:
    """Who holds the web identity token."""
    caller = service_account_caller(identity.account, identity.namespace, identity.service_account, uid=identity.uid)
    return Actor(caller, pod_name=identity.pod_name, pod_uid=identity.pod_uid)
