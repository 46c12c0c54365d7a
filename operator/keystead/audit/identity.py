"""userIdentity of a record, and what else is known of whoever called. Pure; made once an actor (shape.py).

Sources: CloudTrail, 'userIdentity element'; AWS.md, CloudTrail record.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from keystead.engine.clock import format_time
from keystead.operations.trail import Actor
from keystead.policy.caller import Caller, CallerKind, role_id, user_id


def identity_of(actor: Actor) -> dict[str, Any]:
    """userIdentity."""
    caller = actor.caller
    key = {"accessKeyId": actor.access_key_id} if actor.access_key_id else {}
    who = {"principalId": user_id(caller), "arn": caller.arn, "accountId": caller.account, **key}
    match caller.kind:
        case CallerKind.ROOT:
            return {"type": "Root", **who}
        case CallerKind.USER:
            return {"type": "IAMUser", **who, "userName": caller.name}
        case CallerKind.SERVICE:
            return {"type": "AWSService", "invokedBy": caller.arn}
    return {"type": "AssumedRole", **who, "sessionContext": _session(actor, caller)}


def _session(actor: Actor, caller: Caller) -> dict[str, Any]:
    context: dict[str, Any] = {
        "sessionIssuer": {
            "type": "Role",
            "principalId": role_id(caller.uid),
            "arn": caller.principal,
            "accountId": caller.account,
            "userName": caller.name,
        },
        "webIdFederationData": {"federatedProvider": "kubernetes", "attributes": {}},
    }
    if actor.issued:
        context["attributes"] = {"creationDate": _since_epoch(actor.issued), "mfaAuthenticated": "false"}
    return context


def _since_epoch(seconds: int) -> str:
    return format_time(datetime.fromtimestamp(seconds, UTC))


def facts_of(actor: Actor) -> dict[str, Any]:
    """additionalEventData of an actor."""
    caller = actor.caller
    found = {
        "namespace": caller.namespace,
        "serviceAccountUid": caller.uid if caller.kind is CallerKind.SERVICE_ACCOUNT else "",
        "podName": actor.pod_name,
        "podUid": actor.pod_uid,
    }
    return {name: text for name, text in found.items() if text}
