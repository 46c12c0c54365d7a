"""What an audit record is made of: values that the front door and the controller hand to whoever keeps records (audit/). Port `Audit`.

A CallEvent is one call of the endpoint, allowed or denied; a ServiceEvent is something that Keystead did by itself. Neither is text yet:
what of a request may be written down, and what never (plaintexts, blobs, data keys, tokens), audit/ decides by its table.
"""

from __future__ import annotations

from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, Protocol

from keystead.engine.values import per_call
from keystead.operations.world import Judged
from keystead.policy import Caller


@dataclass(frozen=True, slots=True)
class Actor:
    """Who called, the same value for all calls of a session: what is written of it can be made once.

    issued        when the credentials were made, seconds since 1970; 0: they are no temporary ones
    session_name  of AssumeRoleWithWebIdentity
    pod_name, pod_uid   the Pod that the ServiceAccount token was bound to, "" where it was bound to none
    """

    caller: Caller
    access_key_id: str = ""
    issued: int = 0
    session_name: str = ""
    pod_name: str = ""
    pod_uid: str = ""


@dataclass(frozen=True, slots=True)
class TlsFacts:
    """Of the connection: `TLSv1.3`, and the cipher suite by its name in OpenSSL."""

    version: str
    cipher: str


@per_call
class CallEvent:
    """One authenticated call, at its end.

    request    the operation's request dataclass; None: it could not be read
    response   the operation's response dataclass; None: it was refused
    code, message   of the public error; "" where there is none
    trail      what the pipeline decided, in order; empty where the call never reached a key
    headers    as sent (User-Agent, Host, X-Keystead-Justification are of interest; Authorization and tokens must never be written)
    """

    time: datetime
    event_id: str
    request_id: str
    operation: str
    actor: Actor
    region: str
    source_ip: str
    tls: TlsFacts | None
    request: object = field(repr=False)
    response: object = field(repr=False)
    code: str
    message: str
    trail: Sequence[Judged]
    headers: Mapping[bytes, bytes] = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceEvent:
    """What Keystead did by itself with a key (AWS: eventType AwsServiceEvent).

    name      RotateKey, DeleteKey (AWS's), CreateKey, ScheduleKeyDeletion, IssueDataKey, InjectDataKey, ReWrapDataKey, ... (ours)
    service   who: `keys.kms.keystead.io`, `datakeys.kms.keystead.io`, ...
    account, namespace   whose record it is: of the key, or of who used a key abroad
    actor     on whose behalf; None: on that account's own
    trail     what was decided about it, in order; empty where nothing had to be
    details   texts that may be written: names, versions, material ids
    shared_id the same in the events that one deed left in two accounts
    """

    time: datetime
    event_id: str
    name: str
    service: str
    account: str
    namespace: str
    region: str
    key_arn: str = ""
    code: str = ""
    message: str = ""
    actor: Actor | None = None
    trail: Sequence[Judged] = ()
    details: Mapping[str, str] = field(default_factory=dict)
    shared_id: str = ""


EVENTS: Final = frozenset(
    {
        "CreateKey", "RotateKey", "DeleteKey", "AdoptKey", "HoldKey", "ReleaseKey", "EnableKey", "DisableKey",
        "PutKeyPolicy", "UpdateKey", "ScheduleKeyDeletion", "CancelKeyDeletion", "CreateAlias", "UpdateAlias",
        "DeleteAlias", "CreateGrant", "UpdateGrant", "RevokeGrant", "IssueDataKey", "InjectDataKey", "ReWrapDataKey",
        "UpdateDataKey", "ReadAuditRecords",
    }
)  # fmt: skip
"""Names of ServiceEvents: reconciler/chronicle.py and server/auditroute.py make them."""


class Audit(Protocol):
    """Keeps records. Fails closed: what is not recorded is not answered."""

    @property
    def stopped(self) -> bool:
        """Whether records cannot be kept now: then nothing may be answered, and nothing begun."""

    def call(self, event: CallEvent) -> Awaitable[None] | None:
        """Record a call. None: it may be answered now. Else: when this is done; it raises AuditUnavailableError where that fails."""

    def service(self, event: ServiceEvent) -> Awaitable[None] | None:
        """Record what was done without a call."""


class NoAudit:
    """Implements Audit where none is kept."""

    stopped = False

    def call(self, _: CallEvent) -> None:
        """Nothing."""

    def service(self, _: ServiceEvent) -> None:
        """Nothing."""
