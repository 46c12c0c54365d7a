"""From an event to the text of its record, in CloudTrail's shape. Pure, and fast: it runs once a call (docs/performance.md).

    call(event)      one record; of a call that another account's key was used in, one more for that account
    service(event)   what Keystead did by itself

What of requests and answers is written: table.py. Of the headers only User-Agent, Host and X-Keystead-Justification are looked at.

A record belongs to an account (recipientAccountId): what it says, that account's people may read. Of a refused call with another
account's key they must not learn whether that key exists, let alone why its policy refused: that stands under `operatorOnly`, which only
readers of the whole trail are shown (audit/reading).
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import lru_cache
from hashlib import sha256
from typing import Any, Final

import msgspec
from msgspec import UNSET, Raw, UnsetType

from keystead.audit import sessions, sides
from keystead.audit.identity import facts_of, identity_of
from keystead.audit.table import TABLE, members_of, nothing
from keystead.audit.text import encode, json_of, printable, said
from keystead.engine.clock import format_time
from keystead.engine.identifiers import alias_arn, key_arn
from keystead.engine.record import KeyRecord
from keystead.operations.trail import Actor, CallEvent, ServiceEvent, TlsFacts
from keystead.operations.world import Judged
from keystead.policy import Action, Decision
from keystead.policy.caller import Caller, user_id
from keystead.resources.vocabulary import KeySpec

VERSION: Final = "1.11"
KMS: Final = "kms.amazonaws.com"
JUSTIFICATION: Final = b"x-keystead-justification"
_JUSTIFICATION_MAX: Final = 256
_AGENT_MAX: Final = 512
_MESSAGE_MAX: Final = 1024
# CloudTrail leaves out requestParameters of more than 100 KB too. A policy has 32 KB at most.
_PARAMETERS_MAX: Final = 100 * 1024
_TOO_LARGE: Final = {"omitted": "larger than 100 KiB"}
# The API's name -> CloudTrail's: what looks for refusals in a trail looks for this one.
_CODES: Final = {"AccessDeniedException": "AccessDenied"}
# What an operation is that has no row, since it is not served: by its name.
_READS: Final = ("Describe", "Get", "List")
_ALIAS: Final = re.compile(r"alias/[a-zA-Z0-9:/_-]{1,250}\Z")
_KEPT: Final = 10_000
_PARAMETERS: Final = {operation: members_of(row) for operation, row in TABLE.items()}
_ALIASED: Final = frozenset(operation for operation, row in TABLE.items() if "alias_name" in row.kept.values())
# Their records say nothing of the answer: for one caller, key and decision they differ in time, parameters and ids alone.
_USUAL: Final = frozenset(operation for operation, row in TABLE.items() if row.answer is nothing) - _ALIASED - {"ReEncrypt"}
_FRAMES: Final = 2048
# What is left open of a record, to be filled in: no JSON has this byte.
_OPEN: Final = b"\0"
_OPEN_TEXT, _OPEN_VALUE = Raw(b'"\0"'), Raw(_OPEN)


class _Record(msgspec.Struct):
    """Names as CloudTrail has them, in its order."""

    keysteadType: str
    eventVersion: str
    userIdentity: Raw
    eventTime: str
    eventSource: str
    eventName: str
    awsRegion: str
    sourceIPAddress: str
    userAgent: str
    errorCode: str | UnsetType
    errorMessage: str | UnsetType
    requestParameters: dict[str, Any] | None
    responseElements: dict[str, Any] | None
    additionalEventData: dict[str, Any]
    requestID: str | UnsetType
    eventID: str
    readOnly: bool
    resources: list[Raw]
    eventType: str
    managementEvent: bool
    recipientAccountId: str
    eventCategory: str
    sharedEventID: str | UnsetType = UNSET
    serviceEventDetails: dict[str, Any] | UnsetType = UNSET
    tlsDetails: Raw | UnsetType = UNSET
    operatorOnly: dict[str, Any] | UnsetType = UNSET


class _Known:
    """What is the same in all records of an actor."""

    __slots__ = ("actor", "facts", "identity")

    def __init__(self, actor: Actor) -> None:
        self.actor = actor
        self.identity = Raw(encode(identity_of(actor)))
        self.facts = facts_of(actor)


# By id(): the value keeps the object, so the number cannot be another's. A look-up by value would hash fifteen texts.
_known: dict[int, _Known] = {}
_decisions: dict[int, tuple[Decision, Action, Raw]] = {}
# The same: what stands between the open places of a record, and the objects that the ids are of.
_frames: dict[tuple[Any, ...], tuple[list[bytes], Actor, Decision]] = {}


def _known_of(actor: Actor) -> _Known:
    known = _known.get(id(actor))
    if known is None:
        if len(_known) >= _KEPT:
            _known.clear()
        known = _known[id(actor)] = _Known(actor)
    return known


def call(event: CallEvent) -> tuple[bytes, ...]:
    """The caller's record, and one for each other account whose key was used with its consent."""
    usual = _usual(event)
    if usual is not None:
        return (usual,)
    account = event.actor.caller.account
    trail = event.trail
    for judged in trail:
        if judged.key is not None and judged.key.account != account:
            return _across(event, account)
    record = _record(event, trail)
    if not trail and event.operation in sessions.ROWS:
        _of_sts(record, event)
    return (_encoded(record),)


def _usual(event: CallEvent) -> bytes | None:
    """The record of a call that succeeded like its caller's last one, put together from what stays; None for any other call.

    By what _record looks at: whatever it is told of an answer, a key or a header must be among `place`, or make it None.
    """
    trail, operation, headers = event.trail, event.operation, event.headers
    if event.response is None or event.request is None or event.code or len(trail) != 1 or operation not in _USUAL:
        return None
    judged, actor = trail[0], event.actor
    key, decision = judged.key, judged.decision
    if key is None or key.account != actor.caller.account or JUSTIFICATION in headers:
        return None
    parameters = printable(json_of(_PARAMETERS[operation](event.request)))
    if len(parameters) > _PARAMETERS_MAX:
        return None
    place = (
        operation, id(actor), id(decision), judged.action, event.region, event.source_ip, event.tls, headers.get(b"user-agent"),
        headers.get(b"host"), key.region, key.account, key.key_id, _material(operation, event.response, key),
    )  # fmt: skip
    known = _frames.get(place)
    if known is None:
        if len(_frames) >= _FRAMES:
            _frames.clear()
        known = _frames[place] = _frame(event), actor, decision
    start, before_parameters, before_request, before_event, end = known[0]
    return b"".join(
        (
            start, _second(int(event.time.timestamp())).encode(), before_parameters, parameters,
            before_request, event.request_id.encode(), before_event, event.event_id.encode(), end,
        )
    )  # fmt: skip


def _frame(event: CallEvent) -> list[bytes]:
    """A record cut at what _usual fills in."""
    record: Any = _record(event, event.trail)
    record.eventTime = record.requestID = record.eventID = _OPEN_TEXT
    record.requestParameters = _OPEN_VALUE
    return printable(json_of(record)).split(_OPEN)


def _of_sts(record: _Record, event: CallEvent) -> None:
    record.eventSource, record.readOnly = sessions.SOURCE, True
    record.responseElements = sessions.answer(event)
    role = sessions.role(event)
    if event.operation == sessions.ASSUME:
        record.userIdentity = Raw(encode(sessions.holder(event.actor)))
        record.requestParameters = sessions.parameters(event)
    if role is not None:
        record.resources = [Raw(_resource(*role, sessions.ROLE))]


def _across(event: CallEvent, account: str) -> tuple[bytes, ...]:
    allowed = all(judged.decision.allowed is True for judged in event.trail)
    if not allowed:
        record = _record(event, [judged for judged in event.trail if _is_of(judged, account)])
        record.operatorOnly = {
            "resources": _resources(event, event.trail),
            "decisions": [_decided(judged) for judged in event.trail],
        }
        return (_encoded(record),)
    shared = _derived(event.event_id, "shared")
    mine = _record(event, event.trail)
    mine.sharedEventID = shared
    mine.operatorOnly = {"decisions": [_decided(judged) for judged in event.trail]}
    _decide(mine, [_decided(each) if _is_of(each, account) else Raw(encode(sides.callers_side(each))) for each in event.trail])
    owners = sorted({judged.key.account for judged in event.trail if judged.key is not None} - {account})
    return (_encoded(mine), *(_encoded(_owners(event, owner, shared)) for owner in owners))


def _owners(event: CallEvent, owner: str, shared: str) -> _Record:
    """For the account of the key: who came from abroad, and nothing of what else that account has."""
    theirs = [judged for judged in event.trail if judged.key is not None and judged.key.account == owner]
    record, caller = _record(event, theirs), event.actor.caller
    record.userIdentity = Raw(encode(_from_abroad(caller)))
    for private in ("serviceAccountUid", "podName", "podUid"):
        record.additionalEventData.pop(private, None)
    assert theirs[0].key is not None
    record.additionalEventData["namespace"] = theirs[0].key.namespace
    _decide(record, [Raw(encode(sides.keys_side(judged))) for judged in theirs])
    if event.operation == "ReEncrypt":
        actions = [judged.action for judged in theirs]
        record.additionalEventData = sides.of_one_key(record.additionalEventData, actions)
        record.requestParameters = sides.of_one_key(record.requestParameters or {}, actions)
        record.errorMessage = UNSET  # it may speak of the other key
    record.eventID, record.sharedEventID, record.recipientAccountId = _derived(event.event_id, owner), shared, owner
    return record


def _from_abroad(caller: Caller) -> dict[str, str]:
    """userIdentity of who came, as the key's account sees it."""
    return {"type": "AWSAccount", "principalId": user_id(caller), "arn": caller.arn, "accountId": caller.account}


def _is_of(judged: Judged, account: str) -> bool:
    return judged.key is None or judged.key.account == account


def _decide(record: _Record, decisions: Sequence[Raw]) -> None:
    record.additionalEventData["decision"] = decisions[-1]
    if len(decisions) > 1:
        record.additionalEventData["decisions"] = list(decisions)


def _derived(event_id: str, what: str) -> str:
    """Another id of the same event: the same each time, so that nothing random is needed here."""
    return str(uuid.UUID(bytes=sha256(f"{event_id}\0{what}".encode()).digest()[:16], version=4))


def _record(event: CallEvent, trail: Sequence[Judged]) -> _Record:
    operation, caller, headers, response = event.operation, event.actor.caller, event.headers, event.response
    row, known = TABLE.get(operation), _known_of(event.actor)
    data = dict(known.facts)
    first: KeyRecord | None = None
    last: KeyRecord | None = None
    if trail:
        first, last = trail[0].key, trail[-1].key
        data["decision"] = _decided(trail[-1])
        if len(trail) > 1:
            data["decisions"] = [_decided(judged) for judged in trail]
    if response is not None:
        _materials(data, operation, response, first)
    why = headers.get(JUSTIFICATION)
    if why is not None:
        data["justification"] = said(why, _JUSTIFICATION_MAX)
    answer = None
    if row is not None and response is not None:
        answer = row.answer(response, "" if last is None else key_arn(last.region, last.account, last.key_id))
    return _Record(
        "call",
        VERSION,
        known.identity,
        _second(int(event.time.timestamp())),
        KMS,
        operation,
        event.region,
        event.source_ip,
        said(headers.get(b"user-agent", b""), _AGENT_MAX),
        _code(event.code),
        event.message[:_MESSAGE_MAX] if event.code else UNSET,
        None if row is None or event.request is None else _PARAMETERS[operation](event.request),
        answer,
        data,
        event.request_id,
        event.event_id,
        operation.startswith(_READS) if row is None else row.read_only,
        _resources(event, trail),
        "AwsApiCall",
        True,
        caller.account,
        "Management",
        UNSET,
        UNSET,
        UNSET if event.tls is None else _tls(event.tls, headers.get(b"host", b"")),
    )


def _code(code: str) -> str | UnsetType:
    return _CODES.get(code, code) or UNSET


def _encoded(record: _Record) -> bytes:
    text = json_of(record)
    if len(text) > _PARAMETERS_MAX and len(json_of(record.requestParameters)) > _PARAMETERS_MAX:
        record.requestParameters = _TOO_LARGE
        text = json_of(record)
    return printable(text)


def _material(operation: str, response: Any, key: KeyRecord | None) -> str | None:  # noqa: ANN401
    """additionalEventData.keyMaterialId: what the answer says; Encrypt's says nothing, and it used the current one."""
    if operation != "Encrypt":
        return getattr(response, "key_material_id", None)
    return key.versions[key.current - 1].material_id if key is not None and key.spec is KeySpec.SYMMETRIC_DEFAULT else None


def _materials(data: dict[str, Any], operation: str, response: Any, key: KeyRecord | None) -> None:  # noqa: ANN401
    found = _material(operation, response, key)
    if found is not None:
        data["keyMaterialId"] = found
    elif operation == "ReEncrypt":
        sides = (("sourceKeyMaterialId", response.source_key_material_id), ("keyMaterialId", response.destination_key_material_id))
        data.update({name: material for name, material in sides if material is not None})
    elif operation == "RetireGrant":
        data["grantId"] = response.grant_id


def _decided(judged: Judged) -> Raw:
    """The same for many calls: statements and answers of RBAC have one Decision each."""
    decision, action = judged.decision, judged.action
    known = _decisions.get(id(decision))
    if known is not None and known[1] is action:
        return known[2]
    told: dict[str, Any] = {"action": f"kms:{action.value}", "allowed": decision.allowed is True, "by": decision.by.ground}
    if decision.by.name:
        told["name"] = decision.by.name
    if decision.explicit:
        told["explicit"] = True
    told["reason"] = decision.reason
    if len(_decisions) >= _KEPT:
        _decisions.clear()
    made = Raw(encode(told))
    _decisions[id(decision)] = decision, action, made
    return made


def _resources(event: CallEvent, trail: Sequence[Judged]) -> list[Raw]:
    found = [_key_resource(judged.key.region, judged.key.account, judged.key.key_id) for judged in trail if judged.key is not None]
    if len(found) > 1 and event.operation != "ReEncrypt":  # AWS: two, also where it is one key
        found = list({bytes(each): each for each in found}.values())
    alias = getattr(event.request, "alias_name", None) if event.operation in _ALIASED else None
    if isinstance(alias, str) and _ALIAS.match(alias):
        account = event.actor.caller.account
        found.append(Raw(_resource(alias_arn(event.region, account, alias), account, "AWS::KMS::Alias")))
    elif event.operation == "CreateKey" and event.response is not None:
        made = event.response.key_metadata  # type: ignore[attr-defined]  # CreateKeyResponse
        found.append(Raw(_resource(made.arn, made.aws_account_id, "AWS::KMS::Key")))
    return found


@lru_cache(maxsize=4096)
def _key_resource(region: str, account: str, key_id: str) -> Raw:
    return Raw(_resource(key_arn(region, account, key_id), account, "AWS::KMS::Key"))


def _resource(arn: str, account: str, kind: str) -> bytes:
    return encode({"ARN": arn, "accountId": account, "type": kind})


@lru_cache(maxsize=16)
def _second(moment: int) -> str:
    return format_time(datetime.fromtimestamp(moment, UTC))


@lru_cache(maxsize=4096)
def _tls(tls: TlsFacts, host: bytes) -> Raw:
    """keyExchange is left out: Python's ssl does not tell it."""
    return Raw(
        encode({"tlsVersion": tls.version, "cipherSuite": tls.cipher, "clientProvidedHostHeader": said(host, _JUSTIFICATION_MAX)})
    )


def service(event: ServiceEvent) -> bytes:
    """eventType AwsServiceEvent."""
    record = _service(event)
    abroad = [judged.key for judged in event.trail if judged.key is not None and judged.key.account != event.account]
    refused = any(judged.decision.allowed is not True for judged in event.trail)
    if abroad:
        keys = {"resources": [_key_resource(key.region, key.account, key.key_id) for key in abroad]} if refused else {}
        record.operatorOnly = {**keys, "decisions": [_decided(judged) for judged in event.trail]}
    if event.trail and not (abroad and refused):
        _decide(record, [_of_service(event, judged) for judged in event.trail])
    return _encoded(record)


def _of_service(event: ServiceEvent, judged: Judged) -> Raw:
    """Why, as far as this account may read it."""
    if not _is_of(judged, event.account):
        return Raw(encode(sides.callers_side(judged)))
    return _decided(judged) if _is_own(event) else Raw(encode(sides.keys_side(judged)))


def _is_own(event: ServiceEvent) -> bool:
    return event.actor is None or event.actor.caller.account == event.account


def _who(event: ServiceEvent) -> dict[str, Any]:
    if event.actor is None:
        return {"accountId": event.account, "invokedBy": event.service}
    who = identity_of(event.actor) if _is_own(event) else _from_abroad(event.actor.caller)
    return {**who, "invokedBy": event.service}


def _service(event: ServiceEvent) -> _Record:
    resources = [Raw(_resource(event.key_arn, event.key_arn.split(":")[4], "AWS::KMS::Key"))] if event.key_arn else []
    return _Record(
        "service",
        VERSION,
        Raw(encode(_who(event))),
        format_time(event.time),
        KMS,
        event.name,
        event.region,
        event.service,
        event.service,
        _code(event.code),
        event.message[:_MESSAGE_MAX] if event.code else UNSET,
        None,
        None,
        {"namespace": event.namespace},
        UNSET,
        event.event_id,
        False,
        resources,
        "AwsServiceEvent",
        True,
        event.account,
        "Management",
        event.shared_id or UNSET,
        dict(event.details) if event.details else UNSET,
    )
