"""From an event to the texts of its records: whose they are, and what of the event each may tell. Pure, and fast: it runs once a call.

    call(event)      one record; of a call that another account's key was used in, one more for that account
    service(event)   what Keystead did by itself

What a record says: shape.py; of a call like its caller's last one: usual.py.

A record belongs to an account (recipientAccountId): what it says, that account's people may read. Of a refused call with another
account's key they must not learn whether that key exists, let alone why its policy refused: that stands under `operatorOnly`, which only
readers of the whole trail are shown (audit/reading).
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from hashlib import sha256
from typing import Any

from msgspec import UNSET, Raw

from keystead.audit import sessions, sides
from keystead.audit.identity import identity_of
from keystead.audit.shape import (
    Record,
    decided,
    encoded,
    key_resource,
    record_of,
    resource,
    resources_of,
    service_record,
)
from keystead.audit.text import encode
from keystead.audit.usual import usual
from keystead.operations.trail import CallEvent, ServiceEvent
from keystead.operations.world import Judged
from keystead.policy.caller import Caller, user_id


def call(event: CallEvent) -> tuple[bytes, ...]:
    """The caller's record, and one for each other account whose key was used with its consent."""
    known = usual(event)
    if known is not None:
        return (known,)
    account = event.actor.caller.account
    trail = event.trail
    for judged in trail:
        if judged.key is not None and judged.key.account != account:
            return _across(event, account)
    record = record_of(event, trail)
    if not trail and event.operation in sessions.ROWS:
        _of_sts(record, event)
    return (encoded(record),)


def _of_sts(record: Record, event: CallEvent) -> None:
    record.eventSource, record.readOnly = sessions.SOURCE, True
    record.responseElements = sessions.answer(event)
    role = sessions.role(event)
    if event.operation == sessions.ASSUME:
        record.userIdentity = Raw(encode(sessions.holder(event.actor)))
        record.requestParameters = sessions.parameters(event)
    if role is not None:
        record.resources = [Raw(resource(*role, sessions.ROLE))]


def _across(event: CallEvent, account: str) -> tuple[bytes, ...]:
    allowed = all(judged.decision.allowed is True for judged in event.trail)
    if not allowed:
        record = record_of(event, [judged for judged in event.trail if _is_of(judged, account)])
        record.operatorOnly = {
            "resources": resources_of(event, event.trail),
            "decisions": [decided(judged) for judged in event.trail],
        }
        return (encoded(record),)
    shared = _derived(event.event_id, "shared")
    mine = record_of(event, event.trail)
    mine.sharedEventID = shared
    mine.operatorOnly = {"decisions": [decided(judged) for judged in event.trail]}
    _decide(mine, [decided(each) if _is_of(each, account) else Raw(encode(sides.callers_side(each))) for each in event.trail])
    owners = sorted({judged.key.account for judged in event.trail if judged.key is not None} - {account})
    return (encoded(mine), *(encoded(_owners(event, owner, shared)) for owner in owners))


def _owners(event: CallEvent, owner: str, shared: str) -> Record:
    """For the account of the key: who came from abroad, and nothing of what else that account has."""
    theirs = [judged for judged in event.trail if judged.key is not None and judged.key.account == owner]
    record, caller = record_of(event, theirs), event.actor.caller
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


def _decide(record: Record, decisions: Sequence[Raw]) -> None:
    record.additionalEventData["decision"] = decisions[-1]
    if len(decisions) > 1:
        record.additionalEventData["decisions"] = list(decisions)


def _derived(event_id: str, what: str) -> str:
    """Another id of the same event: the same each time, so that nothing random is needed here."""
    return str(uuid.UUID(bytes=sha256(f"{event_id}\0{what}".encode()).digest()[:16], version=4))


def service(event: ServiceEvent) -> bytes:
    """eventType AwsServiceEvent."""
    record = service_record(event, _who(event))
    abroad = [judged.key for judged in event.trail if judged.key is not None and judged.key.account != event.account]
    refused = any(judged.decision.allowed is not True for judged in event.trail)
    if abroad:
        keys = {"resources": [key_resource(key.region, key.account, key.key_id) for key in abroad]} if refused else {}
        record.operatorOnly = {**keys, "decisions": [decided(judged) for judged in event.trail]}
    if event.trail and not (abroad and refused):
        _decide(record, [_of_service(event, judged) for judged in event.trail])
    return encoded(record)


def _of_service(event: ServiceEvent, judged: Judged) -> Raw:
    """Why, as far as this account may read it."""
    if not _is_of(judged, event.account):
        return Raw(encode(sides.callers_side(judged)))
    return decided(judged) if _is_own(event) else Raw(encode(sides.keys_side(judged)))


def _is_own(event: ServiceEvent) -> bool:
    return event.actor is None or event.actor.caller.account == event.account


def _who(event: ServiceEvent) -> dict[str, Any]:
    if event.actor is None:
        return {"accountId": event.account, "invokedBy": event.service}
    who = identity_of(event.actor) if _is_own(event) else _from_abroad(event.actor.caller)
    return {**who, "invokedBy": event.service}
