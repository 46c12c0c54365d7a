"""Builders of what the audit is told, with changes: `a_call("Decrypt", code="AccessDeniedException")`.

Requests and responses of every operation are made from the types of their members, so that a new operation is in every test by itself.
`SECRET`: what may be written nowhere; it stands in every member that holds bytes or a token, and in every header that holds a secret.
"""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Mapping
from datetime import UTC, datetime
from enum import Enum
from typing import Any

from tests.builders import ACCOUNT, NAMESPACE, REGION, a_key, an_app
from tests.hsm.fake import FakeHsm

from keystead.app.frontdoor import SERVED
from keystead.audit.table import TABLE
from keystead.engine.record import KeyRecord
from keystead.operations.trail import Actor, CallEvent, ServiceEvent, TlsFacts
from keystead.operations.world import Judged
from keystead.policy import Action, Decision, root_caller
from keystead.policy.question import By, Ground

NOW = datetime(2026, 11, 26, 8, 0, 0, 123456, tzinfo=UTC)
SECRET = b"canary-7Jq2vLx0Zr-canary"
HSM = FakeHsm(b"audit")
KEY = a_key(HSM)
ROOT = Actor(root_caller(ACCOUNT, NAMESPACE), "AKIDROOT")
APP = Actor(
    an_app(uid="5e9d8c2a-0000-4000-8000-00000000000a"),
    "ASIAQ3EGTOIWZ7QK4XYZ",
    1795680000,
    "s-1",
    "payments-6c8d7f9b5-x2x9z",
    "0f8fad5b-d9cb-469f-a165-70867728950e",
)
TLS = TlsFacts("TLSv1.3", "TLS_AES_256_GCM_SHA384")
TOKENS = ("grant_token", "grant_tokens", "marker", "next_marker")
HEADERS = {
    b"user-agent": b"Boto3/1.44.5 md/Botocore#1.44.5",
    b"host": b"keystead-server.keystead-system.svc:8443",
    b"authorization": b"AWS4-HMAC-SHA256 Credential=AKID, Signature=" + SECRET,
    b"x-amz-security-token": SECRET,
    b"cookie": SECRET,
}


def filled(kind: Any, name: str = "", secret: bytes = SECRET) -> Any:
    """A value of a type: words where texts are, the secret where bytes or tokens are."""
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        return filled(next(each for each in inner if each is not type(None)), name, secret)
    if origin is tuple:
        return (filled(inner[0], name, secret),)
    if origin is not None and issubclass(origin, Mapping):
        return {"tenant": "acme"}
    if name in TOKENS:
        return secret.decode()
    if dataclasses.is_dataclass(kind):
        hints = typing.get_type_hints(kind)
        return kind(**{each.name: filled(hints[each.name], each.name, secret) for each in dataclasses.fields(kind)})
    if isinstance(kind, type) and issubclass(kind, Enum):
        return next(iter(kind))
    values: dict[Any, Any] = {str: f"a {name}", int: 7, bool: True, bytes: secret, datetime: NOW, object: {"AttestationDocument": secret}}
    return values[kind]


def a_request(operation: str, secret: bytes = SECRET, **changes: Any) -> Any:
    """A request with every member filled."""
    return dataclasses.replace(filled(SERVED[operation].request, secret=secret), **changes)


def a_response(operation: str, secret: bytes = SECRET) -> Any:
    """A response with every member filled."""
    return filled(SERVED[operation].response, secret=secret)


def a_decision(allowed: bool = True, **changes: Any) -> Decision:
    """By RBAC."""
    return Decision(
        **{"allowed": allowed, "reason": "RBAC gives it" if allowed else "no rule", "by": By(Ground.RBAC, "encrypt kmskeys/a"), **changes}
    )


def judged(key: KeyRecord | None = KEY, action: Action = Action.ENCRYPT, allowed: bool = True, **changes: Any) -> Judged:
    """One decision of a call."""
    return Judged(key, action, a_decision(allowed, **changes))


def a_call(operation: str = "Encrypt", **changes: Any) -> CallEvent:
    """A call that succeeded, unless it has a code."""
    refused = bool(changes.get("code"))
    members: dict[str, Any] = {
        "time": NOW,
        "event_id": "0a4c2d3e-0000-4000-a000-0000000000e1",
        "request_id": "0a4c2d3e-0000-4000-a000-0000000000c1",
        "operation": operation,
        "actor": APP,
        "region": REGION,
        "source_ip": "10.244.1.17",
        "tls": TLS,
        "request": a_request(operation) if operation in TABLE else None,
        "response": None if refused or operation not in TABLE else a_response(operation),
        "code": "",
        "message": "",
        "trail": (judged(),),
        "headers": HEADERS,
    }
    return CallEvent(**{**members, **changes})


def a_service_event(**changes: Any) -> ServiceEvent:
    """A rotation."""
    members: dict[str, Any] = {
        "time": NOW,
        "event_id": "0a4c2d3e-0000-4000-a000-0000000000e2",
        "name": "RotateKey",
        "service": "keys.kms.keystead.io",
        "account": ACCOUNT,
        "namespace": NAMESPACE,
        "region": REGION,
        "key_arn": f"arn:aws:kms:{REGION}:{ACCOUNT}:key/{KEY.key_id}",
        "details": {"version": "2"},
    }
    return ServiceEvent(**{**members, **changes})


