"""`keystead records adopt`: the annotation on objects that are there, and objects made from their records where there are none.

`decide` is pure: what is done about one record, and why. Doing it is idempotent: a run that was cut short is run again.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from msgspec import UNSET

from keystead.app.records import SHORT, Catalogue, Found, Holder, read
from keystead.cli.services import AdoptRequest
from keystead.engine.managed import is_managed, is_own
from keystead.engine.record import AliasRecord, AnyRecord, DataKeyRecord, GrantRecord, KeyRecord
from keystead.engine.view.manifest import (
    NO_PROTECTION,
    alias_manifest,
    data_key_manifest,
    grant_manifest,
    key_manifest,
    may_have_protection,
)
from keystead.errors import ConflictError, KeysteadError, NotFoundError, RefusedError
from keystead.hsm.backend import Hsm
from keystead.reconciler.ports import Kind
from keystead.resources import names
from keystead.resources.vocabulary import KeyState
from keystead.settings import Settings
from keystead.store.kube import Kube
from keystead.store.requests import KubeRequests

_AT_ONCE: Final = 8
# An object that changes between look and write is looked at again this often: the operator writes its status meanwhile.
_TRIES: Final = 5
_TELL_EVERY: Final = 50
# Keys first: what names them waits for them.
_ORDER: Final = ((Kind.KEY,), (Kind.ALIAS, Kind.GRANT, Kind.DATA_KEY))


class Action(StrEnum):
    """What is done about one record."""

    ANNOTATE = "annotated"
    WRITE = "written"
    NOTHING = "nothing to do"
    LEAVE = "left"
    FAIL = "failed"


@dataclass(frozen=True, slots=True)
class Decision:
    """An action and its reason; `body`: the object to create."""

    action: Action
    why: str
    body: dict[str, Any] | None = None


def decide(catalogue: Catalogue, item: Found, *, as_new: bool, named: bool) -> Decision:
    """What to do about one record. `named`: it was asked for by its name, which also brings an object of this very namespace back."""
    record, live = item.record, catalogue.objects.get(item.ref)
    holder = catalogue.holder(item)
    if holder is Holder.ASIDE:
        return Decision(Action.LEAVE, "its name belongs to another key")
    if holder is Holder.ANEW:
        return Decision(Action.NOTHING, "its name is claimed anew")
    if item.record.namespace not in catalogue.namespaces:
        return Decision(
            Action.LEAVE, f"there is no namespace {record.namespace}; hint: kubectl create namespace {record.namespace}"
        )
    if as_new:
        return _decide_as_new(item, holder, live)
    if isinstance(record, KeyRecord) and record.state is KeyState.DESTROYED:
        return Decision(Action.LEAVE, "its material is destroyed; hint: --as-new frees the name")
    if holder is Holder.YES or (holder is Holder.NONE and not named):
        return Decision(Action.NOTHING, "it is this namespace's already")
    if live is not None and holder is Holder.EARLIER:
        return _annotation(live, names.ADOPT_TRUE)
    if live is not None:
        return Decision(Action.LEAVE, "the object of its name holds another alias")
    return _from_record(catalogue, record)


def _decide_as_new(item: Found, holder: Holder, live: dict[str, Any] | None) -> Decision:
    if item.kind is Kind.DATA_KEY:
        return Decision(
            Action.LEAVE,
            "a new data key under this name would strand what the old one encrypted; hint: adopt it, or choose another name",
        )
    if holder is not Holder.EARLIER:
        return Decision(Action.NOTHING, "it is this namespace's already")
    if live is None:
        return Decision(
            Action.LEAVE, f"there is no {item.kind} of this name; hint: apply the manifest of the new one first"
        )
    return _annotation(live, names.ADOPT_AS_NEW)


def _annotation(live: dict[str, Any], value: str) -> Decision:
    if (live["metadata"].get("annotations") or {}).get(names.ADOPT) == value:
        return Decision(Action.NOTHING, "it is asked already; the operator does it")
    return Decision(Action.ANNOTATE, f"{names.ADOPT}={value}")


def _from_record(catalogue: Catalogue, record: AnyRecord) -> Decision:
    annotations = {names.ADOPT: names.ADOPT_TRUE}
    if isinstance(record, KeyRecord) and (is_managed(record) or is_own(record.namespace)):
        return Decision(Action.LEAVE, "the operator makes this object by itself, when it is needed; hint: adopt it then")
    if isinstance(record, KeyRecord):
        pending = record.state is KeyState.PENDING_DELETION
        why = "from its record; its deletion stays scheduled" if pending else "from its record"
        return Decision(Action.WRITE, why, key_manifest(record, annotations))
    key = catalogue.key(record.key_id)
    if key is None or key.aside or key.record.namespace != record.namespace:
        return Decision(Action.LEAVE, f"its key {record.key_id} has no name in this namespace")
    name = key.record.name
    if isinstance(record, GrantRecord) and record.expires_at is not UNSET:
        # The record has the moment, a manifest perhaps a ttl: written with the one, the object would refuse the other as immutable.
        return Decision(Action.LEAVE, f"it ends at {record.expires_at}; hint: apply its manifest, then adopt again")
    match record:
        case AliasRecord():
            body = alias_manifest(record, name, annotations)
        case GrantRecord():
            body = grant_manifest(record, name, annotations)
        case DataKeyRecord():
            body = data_key_manifest(record, name, annotations)
    return Decision(Action.WRITE, "from its record", body)


def select(catalogue: Catalogue, request: AdoptRequest) -> list[Found]:
    """The records that a request is about. NotFoundError where there is none of that name."""
    if request.everything:
        return [item for item in catalogue.found if catalogue.holder(item) is Holder.EARLIER]
    if request.key_id:
        found = catalogue.key(request.key_id)
        return [found] if found is not None else _none(f"key record with the id {request.key_id}")
    here = [item for item in catalogue.found if item.record.namespace == request.namespace and not item.aside]
    if request.name is None:
        return [item for item in here if catalogue.holder(item) is Holder.EARLIER]
    named = [item for item in here if (SHORT[item.kind], item.record.name) == (request.kind.value, request.name)]
    # An alias that has moved between accounts has several claims; the one that is not this namespace's is meant.
    named.sort(key=lambda item: catalogue.holder(item) is not Holder.EARLIER)
    return named[:1] or _none(f"{request.kind} record for {request.namespace}/{request.name}")


def _none(what: str) -> list[Found]:
    raise NotFoundError(f"there is no {what}; hint: keystead records list --kind all")


async def adopt(
    settings: Settings, kube: Kube, hsm: Hsm, request: AdoptRequest, tell: Callable[[str], None]
) -> list[dict[str, str]]:
    """A row a record: what was done, or why not. A single record that cannot be adopted is an error."""
    catalogue = await read(settings, kube, hsm.domain)
    return await adopt_all(KubeRequests(kube, dry=request.dry_run), catalogue, request, tell)


async def adopt_all(
    requests: KubeRequests, catalogue: Catalogue, request: AdoptRequest, tell: Callable[[str], None]
) -> list[dict[str, str]]:
    """The same, with what was read."""
    chosen = select(catalogue, request)
    named = request.name is not None or bool(request.key_id)
    work = Adoption(requests, catalogue, request.as_new, named)
    done: list[tuple[Found, Decision]] = []
    for kinds in _ORDER:
        async for pair in work.all([item for item in chosen if item.kind in kinds]):
            done.append(pair)
            if _loses_protection(*pair):
                tell(f"note: {pair[0].ref}: {NO_PROTECTION}")
            if len(done) % _TELL_EVERY == 0:
                tell(f"{len(done)} of {len(chosen)}")
    if not named:
        _tell_of_the_deleted(catalogue, request, tell)
    if named and done[0][1].action is Action.LEAVE:
        raise RefusedError(f"{done[0][0].ref}: {done[0][1].why}")
    return [_row(item, decision) for item, decision in done]


def _loses_protection(item: Found, decision: Decision) -> bool:
    return decision.action is Action.WRITE and isinstance(item.record, KeyRecord) and may_have_protection(item.record)


def _tell_of_the_deleted(catalogue: Catalogue, request: AdoptRequest, tell: Callable[[str], None]) -> None:
    """Somebody deleted these objects on purpose, in this very namespace, so they are not brought back unasked; but their time runs."""
    for item in catalogue.found:
        record = item.record
        pending = isinstance(record, KeyRecord) and record.state is KeyState.PENDING_DELETION
        meant = pending and (request.everything or record.namespace == request.namespace)
        if meant and catalogue.holder(item) is Holder.NONE:
            cancel = f"keystead records schedule-deletion {record.namespace} {record.name} --cancel"
            tell(f"note: {item.ref} was deleted and is PendingDeletion; it is not adopted unasked; to bring it back: {cancel}")


def _row(item: Found, decision: Decision) -> dict[str, str]:
    return {
        "kind": SHORT[item.kind],
        "namespace": item.record.namespace,
        "name": item.record.name,
        "keyId": item.record.key_id,
        "action": decision.action.value,
        "why": decision.why,
    }


@dataclass(frozen=True, slots=True)
class Adoption:
    """Decides and does, eight at once."""

    requests: KubeRequests
    catalogue: Catalogue
    as_new: bool
    named: bool

    async def all(self, chosen: list[Found]) -> AsyncIterator[tuple[Found, Decision]]:
        """Each record with what was done, in the order in which it was done."""
        gate = asyncio.Semaphore(_AT_ONCE)

        async def one(item: Found) -> tuple[Found, Decision]:
            async with gate:
                return item, await self._one(item)

        for next_done in asyncio.as_completed([one(item) for item in chosen]):
            yield await next_done

    async def _one(self, item: Found) -> Decision:
        try:
            for _ in range(_TRIES):
                decision = decide(self.catalogue, item, as_new=self.as_new, named=self.named)
                try:
                    await self._do(item, decision)
                except ConflictError as error:
                    conflict = error
                else:
                    return decision
                live = await self.requests.get(item.ref)
                if live is None:
                    self.catalogue.objects.pop(item.ref, None)
                else:
                    self.catalogue.objects[item.ref] = live
        except KeysteadError as error:
            if self.named:
                raise
            return Decision(Action.FAIL, str(error))
        if self.named:
            raise conflict
        return Decision(Action.FAIL, str(conflict))

    async def _do(self, item: Found, decision: Decision) -> None:
        if decision.action is Action.ANNOTATE:
            value = names.ADOPT_AS_NEW if self.as_new else names.ADOPT_TRUE
            await self.requests.annotate(item.ref, self.catalogue.objects[item.ref], {names.ADOPT: value})
        elif decision.action is Action.WRITE:
            assert decision.body is not None
            await self.requests.create(item.ref, decision.body)
