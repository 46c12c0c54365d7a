"""`keystead records list` and `show`: every sealed record beside the object that holds it, or none, and what to type.

Nothing is believed but the records themselves; what does not verify is named in `refused`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

from msgspec import UNSET

from keystead.cli.services import KeyTarget, RecordKinds
from keystead.engine.clock import format_time, parse_time
from keystead.engine.identifiers import key_arn
from keystead.engine.ports import Domain
from keystead.engine.record import AliasRecord, AnyRecord, DataKeyRecord, GrantRecord, KeyRecord, open_sealed
from keystead.engine.rotation import next_rotation
from keystead.errors import KeysteadError, NotFoundError
from keystead.hsm.backend import Hsm
from keystead.reconciler.index import INDEXED, form_of
from keystead.reconciler.ports import Kind, ObjectRef, StoredRecord
from keystead.resources.vocabulary import KeyState
from keystead.settings import Settings
from keystead.store.kube import Kube
from keystead.store.records import KubeRecords
from keystead.store.requests import KubeRequests

SHORT: Final[dict[Kind, str]] = {Kind.KEY: "key", Kind.ALIAS: "alias", Kind.GRANT: "grant", Kind.DATA_KEY: "datakey"}


class Holder(StrEnum):
    """Which object holds a record: the column `object`."""

    YES = "yes"
    NONE = "none"
    EARLIER = "earlier"
    """It is an earlier namespace's of that name: nobody may use it until it is adopted."""
    ASIDE = "aside"
    """It lies under `orphan-<id>`: its name belongs to another key."""
    ANEW = "anew"
    """An earlier namespace's alias, whose name an object of this one has claimed in an account of its own: nothing is to be done."""


@dataclass(frozen=True, slots=True)
class Found:
    """One record that was verified, and the Secret that it lies in."""

    kind: Kind
    record: AnyRecord
    secret: str
    digest: str

    @property
    def ref(self) -> ObjectRef:
        """The object that it belongs to by its name."""
        return ObjectRef(self.kind, self.record.namespace, self.record.name)

    @property
    def aside(self) -> bool:
        """Whether its name belongs to another key."""
        return self.secret.startswith("orphan-")


@dataclass(slots=True)
class Catalogue:
    """All records, the live objects by name, the live namespaces' uids."""

    found: list[Found] = field(default_factory=list)
    objects: dict[ObjectRef, dict[str, Any]] = field(default_factory=dict)
    namespaces: dict[str, str] = field(default_factory=dict)
    refused: list[str] = field(default_factory=list)
    claims: dict[tuple[str, str, str], list[Found]] = field(default_factory=dict)
    """Alias records by namespace, region and alias name: one of each account."""

    def add(self, domain: Domain, stored: StoredRecord) -> None:
        """Open a record. An archive of a data key is no record of its own."""
        sealed = stored.sealed
        known = form_of(sealed.name)
        if known is None:
            return
        try:
            record = open_sealed(domain, sealed, known[1])
        except KeysteadError as error:
            self.refused.append(str(error))
            return
        if not (isinstance(record, DataKeyRecord) and record.part):
            self.found.append(Found(known[0], record, sealed.name, sealed.digest))

    def settle(self) -> None:
        """Of two records with one key id the higher seq counts: a move that was cut short leaves both."""
        keys = {
            item.record.key_id: item
            for item in sorted(self.found, key=lambda item: (item.record.seq, not item.aside))
            if item.kind is Kind.KEY
        }
        self.found = [item for item in self.found if item.kind is not Kind.KEY or keys[item.record.key_id] is item]
        order = list(SHORT)
        self.found.sort(key=lambda item: (item.record.namespace, order.index(item.kind), item.record.name, item.secret))
        for item in self.found:
            if isinstance(item.record, AliasRecord):
                self.claims.setdefault(_claim(item.record), []).append(item)

    def key(self, key_id: str) -> Found | None:
        """The key with this id, or with the id of this ARN."""
        wanted = key_id.rpartition("/")[2]
        return next((item for item in self.keys() if item.record.key_id == wanted), None)

    def keys(self) -> Iterator[Found]:
        """Key records."""
        return (item for item in self.found if item.kind is Kind.KEY)

    def target(self, target: KeyTarget) -> Found:
        """The key record that is meant. NotFoundError."""
        if target.key_id:
            found = self.key(target.key_id)
        else:
            named = ObjectRef(Kind.KEY, target.namespace, target.name)
            found = next((item for item in self.keys() if item.ref == named and not item.aside), None)
        if found is None:
            what = f"with the id {target.key_id}" if target.key_id else f"for {target.namespace}/{target.name}"
            raise NotFoundError(f"there is no key record {what}; hint: keystead records list")
        return found

    def holder(self, item: Found) -> Holder:
        """Which object holds a record, by what is live; an alias also by the alias name, of which an object has one."""
        if item.aside:
            return Holder.ASIDE
        if self.namespaces.get(item.record.namespace) != item.record.namespace_uid:
            return Holder.ANEW if self._claimed_anew(item.record) else Holder.EARLIER
        body = self.objects.get(item.ref)
        held = body is not None and (
            not isinstance(item.record, AliasRecord)
            or (body.get("spec") or {}).get("aliasName") == item.record.alias_name
        )
        return Holder.YES if held else Holder.NONE

    def _claimed_anew(self, record: AnyRecord) -> bool:
        """Only a record of this very namespace is asked for its holder here, so that this ends."""
        live = self.namespaces.get(record.namespace)
        return isinstance(record, AliasRecord) and any(
            other.record.namespace_uid == live and self.holder(other) is Holder.YES
            for other in self.claims.get(_claim(record), ())
        )


def _claim(record: AliasRecord) -> tuple[str, str, str]:
    return record.namespace, record.region, record.alias_name


async def read(settings: Settings, kube: Kube, domain: Domain) -> Catalogue:
    """Everything, once."""
    catalogue = Catalogue()
    stored, _ = await KubeRecords(kube, settings.cluster.records_namespace).list_all(INDEXED)
    for item in stored:
        catalogue.add(domain, item)
    catalogue.settle()
    requests = KubeRequests(kube)
    catalogue.namespaces = await requests.namespaces()
    for kind in Kind:
        for body in await requests.list_all(kind):
            catalogue.objects[ObjectRef(kind, body["metadata"]["namespace"], body["metadata"]["name"])] = body
    return catalogue


async def list_records(
    settings: Settings, kube: Kube, hsm: Hsm, kinds: RecordKinds
) -> tuple[list[dict[str, str]], list[str]]:
    """A row a record, by namespace, kind and name; and what was refused."""
    catalogue = await read(settings, kube, hsm.domain)
    wanted = set(Kind) if kinds is RecordKinds.ALL else {kind for kind, short in SHORT.items() if short == kinds.value}
    now = kube.clock.now()
    return [row(catalogue, item, now) for item in catalogue.found if item.kind in wanted], catalogue.refused


def row(catalogue: Catalogue, item: Found, now: datetime) -> dict[str, str]:
    """One record for people."""
    record = item.record
    holder = catalogue.holder(item)
    return {
        "kind": SHORT[item.kind],
        "namespace": record.namespace,
        "name": record.name,
        "keyId": record.key_id,
        "account": record.account,
        "state": _state(record, now),
        "object": holder.value,
        "spec": _spec(record),
        "versions": str(record.n_versions if isinstance(record, KeyRecord | DataKeyRecord) else 1),
        "seq": str(record.seq),
        "secret": item.secret,
        "next": what_next(item, holder, catalogue.namespaces),
    }


def _state(record: AnyRecord, now: datetime) -> str:
    match record:
        case KeyRecord():
            return "Held" if record.hold is not UNSET else record.state.value
        case GrantRecord():
            return "Expired" if record.expires_at is not UNSET and parse_time(record.expires_at) <= now else "Active"
        case _:
            return "Active"


def _spec(record: AnyRecord) -> str:
    match record:
        case KeyRecord():
            return record.spec.value
        case AliasRecord():
            return record.alias_name
        case GrantRecord():
            grantee = (
                record.grantee_principal if record.grantee_principal is not UNSET else record.grantee_service_principal
            )
            return str(grantee)
        case DataKeyRecord():
            return str(record.number_of_bytes if record.data_key_spec is UNSET else record.data_key_spec)


def what_next(item: Found, holder: Holder, namespaces: Mapping[str, str]) -> str:
    """What to type about a record that no object holds."""
    record = item.record
    destroyed = isinstance(record, KeyRecord) and record.state is KeyState.DESTROYED
    if destroyed and holder is not Holder.YES:
        return "nothing: its material is gone"
    match holder:
        case Holder.YES:
            return ""
        case Holder.ANEW:
            return "nothing: its name is claimed anew"
        case Holder.ASIDE:
            return f"keystead records show --key-id {record.key_id}"
        case Holder.EARLIER if record.namespace not in namespaces:
            return f"kubectl create namespace {record.namespace}, then {adopt_command(item)}"
        case Holder.EARLIER:
            return adopt_command(item)
        case Holder.NONE:
            return f"apply its manifest again, or {adopt_command(item)}"


def adopt_command(item: Found) -> str:
    """The command that takes this record over."""
    kind = "" if item.kind is Kind.KEY else f" --kind {SHORT[item.kind]}"
    return f"keystead records adopt {item.record.namespace} {item.record.name}{kind}"


async def show_record(settings: Settings, kube: Kube, hsm: Hsm, target: KeyTarget) -> dict[str, str | int]:
    """The members of one key record that are for people."""
    catalogue = await read(settings, kube, hsm.domain)
    return facts_of(catalogue, catalogue.target(target), kube.clock.now())


def facts_of(catalogue: Catalogue, found: Found, now: datetime) -> dict[str, str | int]:
    """Its row and more; what is empty is left out."""
    record = found.record
    assert isinstance(record, KeyRecord)
    due = next_rotation(record)
    return {
        **{member: text for member, text in row(catalogue, found, now).items() if text},
        "arn": key_arn(record.region, record.account, record.key_id),
        "usage": record.usage.value,
        "protection": record.protection.value,
        "created": record.created,
        "currentKeyMaterialId": record.current_version.material_id,
        "nextRotation": format_time(due) if due else "none",
        "deletionDate": "none" if record.deletion_date is UNSET else record.deletion_date,
        "hold": "none" if record.hold is UNSET else f"since {record.hold.since}: {record.hold.by}",
        "digest": found.digest,
    }
