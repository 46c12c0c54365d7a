"""What the controller does, told to the audit trail: one event for each record that it writes, and one for each data key that it delivers.

Called by the record book, in the one place that every write passes. While no record of it can be kept nothing is written, and a key's
material is destroyed only once it is on record that this begins. A change that came by the endpoint has the caller's record too (server/):
these say what the controller made of it.

What is done with another account's key is told to both, as of a call (audit/sides.py): to the account that it was done for with all
details, to the key's owner who it was, which key, and why its own side let it. A refusal is told to the account that asked, to nobody else.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Final

from msgspec import UNSET

from keystead.engine.identifiers import key_arn
from keystead.engine.record import AliasRecord, DataKeyRecord, GrantRecord, KeyRecord
from keystead.engine.record.common import RecordBase
from keystead.engine.record.grant import grantee_of
from keystead.errors import AccessDeniedError, AuditUnavailableError
from keystead.operations.trail import Actor, Audit, NoAudit, ServiceEvent
from keystead.operations.world import Judged
from keystead.policy import root_caller
from keystead.resources.vocabulary import KeyState

Told = tuple[str, dict[str, str]]
"""Name of an event, and its details."""
_OWN: Final = frozenset({"seq", "prev", "transition", "ext"})
_SERVICES: Final[Mapping[type[RecordBase], str]] = {
    KeyRecord: "keys.kms.keystead.io",
    AliasRecord: "aliases.kms.keystead.io",
    GrantRecord: "grants.kms.keystead.io",
    DataKeyRecord: "datakeys.kms.keystead.io",
}
# What an owner may read of a data key under its key that is another account's: what is its own.
_OWNERS: Final = frozenset({"keyMaterialId"})
UNKNOWN: Final = "OutcomeUnknown"
_LOST: Final = "The store's answer was lost: it may be done, and is tried again."
_WORDS: Final = "no audit record can be kept now, and nothing is done that could not be recorded"


@dataclass(frozen=True, slots=True, kw_only=True)
class Deed:
    """How something was done. trail: what was decided; account: of a data key whose key is abroad, its own; home: that key's namespace."""

    trail: Sequence[Judged] = ()
    account: str = ""
    home: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """What a data key was refused. account, namespace: who asked; key_arn: "" of a key abroad, which may not even be there."""

    account: str
    namespace: str
    region: str
    key_arn: str
    told: Told
    words: str
    trail: Sequence[Judged]


PLAIN: Final = Deed()
"""Nothing had to be decided, and the key is of the record's own account."""


class Chronicle:
    """One a controller. `entropy`: for the ids of events."""

    def __init__(self, audit: Audit, now: Callable[[], datetime], entropy: Callable[[int], bytes]) -> None:
        self._audit = audit
        self._now = now
        self._entropy = entropy

    def check(self) -> None:
        """AuditUnavailableError while nothing can be recorded."""
        if self._audit.stopped:
            raise AuditUnavailableError(_WORDS)

    async def begins(self, before: RecordBase, after: RecordBase) -> None:
        """Before a write: a key that ends is on record first, durable. AuditUnavailableError: then it may not end."""
        self.check()
        if _ends(before, after):
            assert isinstance(before, KeyRecord)
            (event,) = self._events(before, ("DeleteKey", {"name": before.name, "phase": "begins"}), PLAIN)
            recorded = self._audit.service(event)
            if recorded is not None:
                await recorded

    async def wrote(
        self, before: RecordBase | None, after: RecordBase | None, *, known: bool = True, deed: Deed = PLAIN
    ) -> None:
        """After a write. What cannot be recorded now stays with the journal, and the next write waits until it can.

        known: False where the store's answer was lost, so that nobody can tell yet whether it was done.
        """
        told, record = told_of(before, after), after or before
        if told is None or record is None:
            return
        for event in self._events(record, told, deed):
            await self._tell(event if known else replace(event, code=UNKNOWN, message=_LOST))

    async def delivered(self, record: DataKeyRecord, secret: str, deed: Deed = PLAIN) -> None:
        """A copy of a data key was written into a Secret."""
        details = {"name": record.name, "secretName": secret, "version": str(record.current)}
        for event in self._events(record, ("InjectDataKey", details), deed):
            await self._tell(event)

    async def refused(self, refusal: Refusal) -> None:
        """Something was not done, because a policy does not let it."""
        name, details = refusal.told
        await self._tell(
            ServiceEvent(
                time=self._now(),
                event_id=self._id(),
                name=name,
                service=_SERVICES[DataKeyRecord],
                account=refusal.account,
                namespace=refusal.namespace,
                region=refusal.region,
                key_arn=refusal.key_arn,
                code=AccessDeniedError.code,
                message=refusal.words,
                trail=refusal.trail,
                details=details,
            )
        )

    async def _tell(self, event: ServiceEvent) -> None:
        try:
            recorded = self._audit.service(event)
            if recorded is not None:
                await recorded
        except AuditUnavailableError:
            pass  # it is done already; the journal says why it stopped, and keeps the record

    def _id(self) -> str:
        return str(uuid.UUID(bytes=self._entropy(16), version=4))

    def _events(self, record: RecordBase, told: Told, deed: Deed) -> tuple[ServiceEvent, ...]:
        """One, or one for each account. What a record says of the key, its owner is told; of what it is for, the account that asked."""
        assert isinstance(record, KeyRecord | AliasRecord | GrantRecord | DataKeyRecord)
        name, details = told
        event = ServiceEvent(
            time=self._now(),
            event_id=self._id(),
            name=name,
            service=_SERVICES[type(record)],
            account=record.account,
            namespace=record.namespace,
            region=record.region,
            key_arn=key_arn(record.region, record.account, record.key_id),
            trail=deed.trail,
            details=details,
        )
        if not deed.account:
            return (event,)
        own = replace(event, account=deed.account, shared_id=self._id())
        asked = Actor(root_caller(deed.account, record.namespace))
        owners = {each: text for each, text in details.items() if each in _OWNERS}
        return own, replace(own, event_id=self._id(), account=record.account, namespace=deed.home, actor=asked, details=owners)


UNRECORDED: Final = Chronicle(NoAudit(), lambda: datetime.now(UTC), bytes)
"""Where no trail is kept."""


def _ends(before: RecordBase, after: RecordBase) -> bool:
    destroyed = KeyState.DESTROYED
    return (
        isinstance(before, KeyRecord) and isinstance(after, KeyRecord) and before.state is not destroyed and after.state is destroyed
    )


def told_of(before: RecordBase | None, after: RecordBase | None) -> Told | None:
    """What a write was; None for what is nobody's business (accounts, archives). Pure."""
    match before, after:
        case KeyRecord() | None, KeyRecord():
            return _key(before, after)
        case AliasRecord() | None, AliasRecord():
            return f"{_verb(before)}Alias", {"name": after.name, "aliasName": after.alias_name, **_changes(before, after)}
        case AliasRecord(), None:
            return "DeleteAlias", {"name": before.name, "aliasName": before.alias_name}
        case GrantRecord() | None, GrantRecord():
            return f"{_verb(before)}Grant", {**_grant(after), **_changes(before, after)}
        case GrantRecord(), None:
            return "RevokeGrant", _grant(before)
        case DataKeyRecord() | None, DataKeyRecord() if not after.part:
            return _data_key(before, after)
    return None


def _verb(before: RecordBase | None) -> str:
    return "Create" if before is None else "Update"


def _grant(grant: GrantRecord) -> dict[str, str]:
    return {
        "name": grant.name,
        "grantId": grant.grant_id,
        "grantee": grantee_of(grant),
        "operations": ",".join(operation.value for operation in grant.operations),
    }


def _changes(before: RecordBase | None, after: RecordBase) -> dict[str, str]:
    """The names of the members that are others now, never what they hold."""
    if before is None:
        return {}
    names = [name for name in after.__struct_fields__ if name not in _OWN and getattr(before, name) != getattr(after, name)]
    return {"changed": ",".join(names)} if names else {}


def _key(before: KeyRecord | None, after: KeyRecord) -> Told:
    names = {"name": after.name}
    if before is None or before.key_id != after.key_id:
        made = {"keySpec": after.spec.value, "keyUsage": after.usage.value, "keyMaterialId": after.current_version.material_id}
        return "CreateKey", names | made
    if _ends(before, after):
        return "DeleteKey", names | {"phase": "done"}
    if after.n_versions > before.n_versions:
        on_demand = after.last_rotate_request != before.last_rotate_request
        kind = "ON_DEMAND" if on_demand else "AUTOMATIC"
        return "RotateKey", names | {"rotationType": kind, "keyMaterialId": after.current_version.material_id}
    if after.namespace_uid != before.namespace_uid:
        return "AdoptKey", names
    return _setting(before, after, names)


def _setting(before: KeyRecord, after: KeyRecord, names: dict[str, str]) -> Told:
    """The weightiest of what changed gives the name; `changed` has all."""
    details = names | _changes(before, after)
    if after.deletion_date != before.deletion_date:
        if isinstance(after.deletion_date, str):
            return "ScheduleKeyDeletion", details | {"deletionDate": after.deletion_date}
        return "CancelKeyDeletion", details
    if (after.hold is UNSET) != (before.hold is UNSET):
        return ("ReleaseKey" if after.hold is UNSET else "HoldKey"), details
    if after.enabled != before.enabled:
        return ("EnableKey" if after.enabled else "DisableKey"), details
    return ("PutKeyPolicy" if after.policy != before.policy else "UpdateKey"), details


def _data_key(before: DataKeyRecord | None, after: DataKeyRecord) -> Told:
    version = after.current_version
    details = {"name": after.name, "version": str(after.current), "keyMaterialId": version.key_material_id}
    if before is None or after.n_versions > before.n_versions:
        return "IssueDataKey", details
    known = {each.n: each.blob for each in before.versions}
    again = [each.n for each in after.versions if known.get(each.n, each.blob) != each.blob]
    if again:
        return "ReWrapDataKey", details | {"versions": ",".join(map(str, again))}
    return "UpdateDataKey", details | _changes(before, after)
