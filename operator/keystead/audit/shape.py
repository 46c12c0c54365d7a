"""One record in CloudTrail's shape: what it says of a call, or of what Keystead did by itself. Pure, and fast.

    record_of(event, trail)           of a call; `trail`: what of the event's it may tell of
    service_record(event, identity)   of Keystead's own deed
    encoded(record)                   its text

Called by cloudtrail.py, which says whose record it is, and by usual.py. What of requests and answers is written: table.py. Of the headers
only User-Agent, Host and X-Keystead-Justification are looked at.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Final

import msgspec
from msgspec import UNSET, Raw, UnsetType

from keystead.audit.identity import facts_of, identity_of
from keystead.audit.table import TABLE, members_of
from keystead.audit.text import encode, json_of, printable, said
from keystead.engine.clock import format_time
from keystead.engine.identifiers import account_in, alias_arn, key_arn
from keystead.engine.record import KeyRecord
from keystead.operations.trail import Actor, CallEvent, ServiceEvent, TlsFacts
from keystead.operations.world import Judged
from keystead.policy import Action, Decision
from keystead.resources.vocabulary import KeySpec

VERSION: Final = "1.11"
KMS: Final = "kms.amazonaws.com"
JUSTIFICATION: Final = b"x-keystead-justification"
_JUSTIFICATION_MAX: Final = 256
_AGENT_MAX: Final = 512
_MESSAGE_MAX: Final = 1024
# CloudTrail leaves out requestParameters of more than 100 KB too. A policy has 32 KB at most.
PARAMETERS_MAX: Final = 100 * 1024
_TOO_LARGE: Final = {"omitted": "larger than 100 KiB"}
# The API's name -> CloudTrail's: what looks for refusals in a trail looks for this one.
_CODES: Final = {"AccessDeniedException": "AccessDenied"}
# What an operation is that has no row, since it is not served: by its name.
_READS: Final = ("Describe", "Get", "List")
_ALIAS: Final = re.compile(r"alias/[a-zA-Z0-9:/_-]{1,250}\Z")
_KEPT: Final = 10_000
PARAMETERS: Final = {operation: members_of(row) for operation, row in TABLE.items()}
ALIASED: Final = frozenset(operation for operation, row in TABLE.items() if "alias_name" in row.kept.values())


class Record(msgspec.Struct):
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


def _known_of(actor: Actor) -> _Known:
    known = _known.get(id(actor))
    if known is None:
        if len(_known) >= _KEPT:
            _known.clear()
        known = _known[id(actor)] = _Known(actor)
    return known


def record_of(event: CallEvent, trail: Sequence[Judged]) -> Record:
    """Of a call, eventType AwsApiCall."""
    operation, caller, headers, response = event.operation, event.actor.caller, event.headers, event.response
    row, known = TABLE.get(operation), _known_of(event.actor)
    data = dict(known.facts)
    first: KeyRecord | None = None
    last: KeyRecord | None = None
    if trail:
        first, last = trail[0].key, trail[-1].key
        data["decision"] = decided(trail[-1])
        if len(trail) > 1:
            data["decisions"] = [decided(judged) for judged in trail]
    if response is not None:
        _materials(data, operation, response, first)
    why = headers.get(JUSTIFICATION)
    if why is not None:
        data["justification"] = said(why, _JUSTIFICATION_MAX)
    answer = None
    if row is not None and response is not None:
        answer = row.answer(response, "" if last is None else key_arn(last.region, last.account, last.key_id))
    return Record(
        "call",
        VERSION,
        known.identity,
        second(int(event.time.timestamp())),
        KMS,
        operation,
        event.region,
        event.source_ip,
        said(headers.get(b"user-agent", b""), _AGENT_MAX),
        _code(event.code),
        event.message[:_MESSAGE_MAX] if event.code else UNSET,
        None if row is None or event.request is None else PARAMETERS[operation](event.request),
        answer,
        data,
        event.request_id,
        event.event_id,
        operation.startswith(_READS) if row is None else row.read_only,
        resources_of(event, trail),
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


def encoded(record: Record) -> bytes:
    """The text of a record, in one line."""
    text = json_of(record)
    if len(text) > PARAMETERS_MAX and len(json_of(record.requestParameters)) > PARAMETERS_MAX:
        record.requestParameters = _TOO_LARGE
        text = json_of(record)
    return printable(text)


def material_of(operation: str, response: Any, key: KeyRecord | None) -> str | None:  # noqa: ANN401
    """additionalEventData.keyMaterialId: what the answer says; Encrypt's says nothing, and it used the current one."""
    if operation != "Encrypt":
        return getattr(response, "key_material_id", None)
    return key.versions[key.current - 1].material_id if key is not None and key.spec is KeySpec.SYMMETRIC_DEFAULT else None


def _materials(data: dict[str, Any], operation: str, response: Any, key: KeyRecord | None) -> None:  # noqa: ANN401
    found = material_of(operation, response, key)
    if found is not None:
        data["keyMaterialId"] = found
    elif operation == "ReEncrypt":
        sides = (("sourceKeyMaterialId", response.source_key_material_id), ("keyMaterialId", response.destination_key_material_id))
        data.update({name: material for name, material in sides if material is not None})
    elif operation == "RetireGrant":
        data["grantId"] = response.grant_id


def decided(judged: Judged) -> Raw:
    """Why, with all details. The same for many calls: statements and answers of RBAC have one Decision each."""
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


def resources_of(event: CallEvent, trail: Sequence[Judged]) -> list[Raw]:
    """The keys of a trail, and the alias or key that the call was about."""
    found = [key_resource(judged.key.region, judged.key.account, judged.key.key_id) for judged in trail if judged.key is not None]
    if len(found) > 1 and event.operation != "ReEncrypt":  # AWS: two, also where it is one key
        found = list({bytes(each): each for each in found}.values())
    alias = getattr(event.request, "alias_name", None) if event.operation in ALIASED else None
    if isinstance(alias, str) and _ALIAS.match(alias):
        account = event.actor.caller.account
        found.append(Raw(resource(alias_arn(event.region, account, alias), account, "AWS::KMS::Alias")))
    elif event.operation == "CreateKey" and event.response is not None:
        made = event.response.key_metadata  # type: ignore[attr-defined]  # CreateKeyResponse
        found.append(Raw(resource(made.arn, made.aws_account_id, "AWS::KMS::Key")))
    return found


@lru_cache(maxsize=4096)
def key_resource(region: str, account: str, key_id: str) -> Raw:
    """A key among `resources`."""
    return Raw(resource(key_arn(region, account, key_id), account, "AWS::KMS::Key"))


def resource(arn: str, account: str, kind: str) -> bytes:
    """One of `resources`."""
    return encode({"ARN": arn, "accountId": account, "type": kind})


@lru_cache(maxsize=16)
def second(moment: int) -> str:
    """eventTime: CloudTrail tells whole seconds."""
    return format_time(datetime.fromtimestamp(moment, UTC))


@lru_cache(maxsize=4096)
def _tls(tls: TlsFacts, host: bytes) -> Raw:
    """keyExchange is left out: Python's ssl does not tell it."""
    return Raw(
        encode({"tlsVersion": tls.version, "cipherSuite": tls.cipher, "clientProvidedHostHeader": said(host, _JUSTIFICATION_MAX)})
    )


def service_record(event: ServiceEvent, identity: dict[str, Any]) -> Record:
    """Of what Keystead did by itself, eventType AwsServiceEvent. identity: on whose behalf."""
    resources = [Raw(resource(event.key_arn, account_in(event.key_arn), "AWS::KMS::Key"))] if event.key_arn else []
    return Record(
        "service",
        VERSION,
        Raw(encode(identity)),
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
