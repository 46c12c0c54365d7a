"""What is written of a call of STS: who got credentials, and which. Called by cloudtrail.py, once a session and never once a call.

CloudTrail's shape: eventSource sts.amazonaws.com, userIdentity WebIdentityUser of AssumeRoleWithWebIdentity. The access key id joins it
with every later record of that session. What may never enter: the web identity token, the secret access key, the session token (of which
CloudTrail writes the last).
"""

from __future__ import annotations

from typing import Any, Final

from keystead.audit.table import Row, members_of
from keystead.engine.clock import format_time
from keystead.engine.identifiers import role_arn, session_arn
from keystead.operations.trail import Actor, CallEvent
from keystead.policy.caller import role_id
from keystead.policy.review import service_account_user

SOURCE: Final = "sts.amazonaws.com"
ASSUME: Final = "AssumeRoleWithWebIdentity"
ROLE: Final = "AWS::IAM::Role"
_PROVIDER: Final = "kubernetes"


def _session(session: Any, _arn: str) -> dict[str, Any]:  # noqa: ANN401 - server/credentials.Session
    """responseElements."""
    arn = session_arn(session.account, session.service_account, session.session_name)
    return {
        "credentials": {"accessKeyId": session.access_key_id, "expiration": format_time(session.expiration)},
        "subjectFromWebIdentityToken": service_account_user(session.namespace, session.service_account),
        "assumedRoleUser": {"assumedRoleId": f"{role_id(session.uid)}:{session.session_name}", "arn": arn},
        "provider": _PROVIDER,
    }


def _nothing(_response: Any, _arn: str) -> None:  # noqa: ANN401
    return None


ROWS: Final = {
    ASSUME: Row(
        {"roleArn": "role_arn", "roleSessionName": "session_name", "durationSeconds": "duration_seconds"},
        frozenset({"web_identity_token", "life"}),
        _session,
        read_only=True,
        durable=True,
    ),
    "GetCallerIdentity": Row({}, frozenset(), _nothing, read_only=True, durable=False),
}
"""Operation -> row, as table.TABLE."""
DURABLE: Final = frozenset(operation for operation, row in ROWS.items() if row.durable)
_MEMBERS: Final = members_of(ROWS[ASSUME])


def parameters(event: CallEvent) -> dict[str, Any] | None:
    """requestParameters."""
    return None if event.request is None else _MEMBERS(event.request)


def answer(event: CallEvent) -> dict[str, Any] | None:
    """responseElements."""
    return None if event.response is None else ROWS[event.operation].answer(event.response, "")


def holder(actor: Actor) -> dict[str, Any]:
    """userIdentity of who holds a web identity token."""
    caller = actor.caller
    subject = service_account_user(caller.namespace, caller.name)
    return {"type": "WebIdentityUser", "principalId": f"{_PROVIDER}:{subject}", "userName": subject, "identityProvider": _PROVIDER}


def role(event: CallEvent) -> tuple[str, str] | None:
    """The resource, ARN and account: the role that was assumed; of one that was refused nothing is known."""
    caller = event.actor.caller
    if event.operation != ASSUME or event.response is None:
        return None
    return role_arn(caller.account, caller.name), caller.account
