"""`keystead records hold`, `rotate` and `schedule-deletion`: one fenced write on a KmsKey, and its answer where somebody waits for it.

A live object needs the caller's rights on it and nothing else. Only where there is none is the sealed record opened, and the object
written from it, in the same one write: so that nothing else of the key changes.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import Any, Final

from keystead.app.records import Catalogue, Found, Holder, adopt_command, read
from keystead.cli.services import KeyTarget
from keystead.engine.clock import format_time
from keystead.engine.ports import Domain
from keystead.engine.record import KeyRecord
from keystead.engine.view.manifest import NO_PROTECTION, key_manifest, may_have_protection
from keystead.errors import ConflictError, InvalidSpecError, NotFoundError, RefusedError, StoreUnavailableError
from keystead.reconciler.ports import Kind, ObjectRef
from keystead.resources import names
from keystead.resources.vocabulary import KeyState
from keystead.settings import Settings
from keystead.store.kube import Kube
from keystead.store.requests import KubeRequests

FIELD: Final = "scheduledDeletion"
# How long an answer is waited for: a pass takes moments; a new leader after a failure takes 20 s.
ANSWER_SECONDS: Final = 60.0
_POLL_SECONDS: Final = 0.2
_TRIES: Final = 5
Object = dict[str, Any]
Facts = dict[str, str | int]


@dataclass(frozen=True, slots=True)
class Subject:
    """A key that is meant: its live object, or the record of one that has none."""

    ref: ObjectRef
    live: Object | None
    record: KeyRecord | None = None


async def find_live(kube: Kube, target: KeyTarget) -> Subject | None:
    """By the name of a live object; None where there is none, or an id was given: a status is no proof of an id."""
    if target.key_id:
        return None
    ref = ObjectRef(Kind.KEY, target.namespace, target.name)
    live = await KubeRequests(kube).get(ref)
    return None if live is None else Subject(ref, live)


async def find_record(settings: Settings, kube: Kube, domain: Domain, target: KeyTarget) -> Subject:
    """By the sealed record. RefusedError for one that no object of this namespace can hold."""
    catalogue = await read(settings, kube, domain)
    found = catalogue.target(target)
    assert isinstance(found.record, KeyRecord)
    _check_holdable(catalogue, found)
    return Subject(found.ref, catalogue.objects.get(found.ref), found.record)


def _check_holdable(catalogue: Catalogue, found: Found) -> None:
    record = found.record
    holder = catalogue.holder(found)
    if holder is Holder.ASIDE:
        raise RefusedError(
            f"key {record.key_id} was set aside: its name belongs to another key; hint: nobody can use it either"
        )
    if holder is Holder.EARLIER:
        raise RefusedError(
            f"{found.ref} is the key of an earlier namespace of this name, and nobody can use it; hint: {adopt_command(found)}"
        )
    if isinstance(record, KeyRecord) and record.state is KeyState.DESTROYED:
        raise RefusedError(f"key {record.key_id} is destroyed; hint: there is nothing left to hold, rotate or delete")


async def hold(kube: Kube, subject: Subject, reason: str | None, wait: bool) -> Facts:
    """Latch a hold with a reason, or (None) release it."""
    value = names.HOLD_RELEASED if reason is None else reason
    if reason is not None and (not reason.strip() or reason == names.HOLD_RELEASED or len(reason) > 256):
        raise InvalidSpecError(
            "--reason", f"say who and why in 1 to 256 characters; {names.HOLD_RELEASED!r} would lift the hold"
        )
    body, token = await _annotate(kube, subject, {names.HOLD: value}, wait)
    facts: Facts = {"key": str(subject.ref), "asked": f"{names.HOLD}={value}", **_wrote(subject)}
    if wait:
        body = await _answered(kube, subject.ref, token)
        held = _condition(body, "Ready").get("reason") == "Held"
        if held is (reason is None):
            raise RefusedError(
                f"{subject.ref}: the operator answered, but the key is {_said(body)}; hint: kubectl describe kmskey {_place(subject)}"
            )
        facts["answer"] = _said(body)
    return facts


async def rotate(kube: Kube, subject: Subject, wait: bool) -> Facts:
    """Ask for one rotation on demand."""
    if subject.live is None:
        written = f"keystead records adopt {subject.ref.namespace} {subject.ref.name}"
        raise NotFoundError(f"there is no {subject.ref}; hint: apply its manifest again, or {written}; then rotate")
    value = _fresh(kube)
    _, token = await _annotate(kube, subject, {names.ROTATE_REQUESTED_AT: value}, wait)
    facts: Facts = {"key": str(subject.ref), "asked": f"{names.ROTATE_REQUESTED_AT}={value}"}
    if wait:
        body = await _answered(kube, subject.ref, token)
        status = body["status"]
        if status.get("lastHandledRotateAt") != value:
            raise _not_rotated(subject, body)
        facts |= {"currentKeyMaterialId": status["currentKeyMaterialId"], "versions": len(status["keyMaterials"])}
    return facts


def _not_rotated(subject: Subject, body: Object) -> RefusedError:
    """The operator says why in a condition, and answers the request when that has changed."""
    said, ready = _condition(body, "RotationSucceeded"), _condition(body, "Ready")
    why = said["message"] if said.get("reason") == "RotationFailed" else ready.get("message")
    return RefusedError(
        f"{subject.ref} ({ready.get('reason')}) was not rotated: {why}; hint: the request stays on the object until it can be answered; "
        f"to withdraw it: kubectl annotate kmskey {_place(subject)} {names.ROTATE_REQUESTED_AT}-"
    )


async def schedule_deletion(kube: Kube, subject: Subject, days: int, wait: bool) -> Facts:
    """spec.scheduledDeletion: use stops at once, and the window runs. A window that runs already keeps its end."""
    requests, value = KubeRequests(kube), {"pendingWindowInDays": days}
    if subject.live is None:
        assert subject.record is not None
        body = key_manifest(subject.record, {}, bare=True)
        body["spec"][FIELD] = value
        live = await requests.create(subject.ref, body)
    else:
        live = await requests.set_field(subject.ref, subject.live, FIELD, value)
    facts: Facts = {"key": str(subject.ref), "asked": f"spec.{FIELD}.pendingWindowInDays={days}", **_wrote(subject)}
    return facts | (await _state(kube, Subject(subject.ref, live)) if wait else {})


async def cancel_deletion(kube: Kube, subject: Subject, wait: bool) -> Facts:
    """Take spec.scheduledDeletion away, or bring the object back whose deletion began the window."""
    requests = KubeRequests(kube)
    if subject.live is None:
        assert subject.record is not None
        if subject.record.state is not KeyState.PENDING_DELETION:
            raise RefusedError(
                f"{subject.ref}: no deletion is scheduled; hint: keystead records show {subject.ref.namespace} {subject.ref.name}"
            )
        body = key_manifest(subject.record, {}, bare=True)
        del body["spec"][FIELD]
        live = await requests.create(subject.ref, body)
    elif FIELD in subject.live["spec"]:
        live = await requests.drop_field(subject.ref, subject.live, FIELD)
    else:
        raise RefusedError(
            f"{subject.ref}: no deletion is scheduled in its spec; hint: kubectl describe kmskey, and look at its state"
        )
    facts: Facts = {"key": str(subject.ref), "asked": f"no spec.{FIELD}", **_wrote(subject)}
    return facts | (await _state(kube, Subject(subject.ref, live)) if wait else {})


async def _state(kube: Kube, subject: Subject) -> Facts:
    """What the key is after one pass from now on."""
    _, token = await _annotate(kube, subject, {}, True)
    status = (await _answered(kube, subject.ref, token))["status"]
    facts: Facts = {"keyState": status["keyState"]}
    return facts | ({"deletionTime": status["deletionTime"]} if "deletionTime" in status else {})


def _wrote(subject: Subject) -> Facts:
    if subject.live is not None or subject.record is None:
        return {}
    lost: Facts = {"note": NO_PROTECTION} if may_have_protection(subject.record) else {}
    return {"object": "written from its record", **lost}


def _place(subject: Subject) -> str:
    return f"{subject.ref.name} -n {subject.ref.namespace}"


async def _annotate(kube: Kube, subject: Subject, annotations: dict[str, str], wait: bool) -> tuple[Object, str]:
    """(the object, the value that its status will answer). With an orphan the object comes with its annotations in one write."""
    token = _fresh(kube) if wait else ""
    asked = annotations | ({names.RECONCILE_REQUESTED_AT: token} if wait else {})
    requests, live = KubeRequests(kube), subject.live
    if live is None:
        assert subject.record is not None
        return await requests.create(subject.ref, key_manifest(subject.record, asked, bare=True)), token
    for left in reversed(range(_TRIES)):
        try:
            return await requests.annotate(subject.ref, live, asked), token
        except ConflictError:  # the operator wrote its status meanwhile; another uid is another object
            fresh = await requests.get(subject.ref)
            if fresh is None or fresh["metadata"]["uid"] != live["metadata"]["uid"] or not left:
                raise
            live = fresh
    raise AssertionError("unreachable")


def _fresh(kube: Kube) -> str:
    """A value that no annotation had before: the API server's time to the microsecond."""
    now = kube.clock.now()
    return f"{format_time(now).removesuffix('Z')}.{now.microsecond:06}Z"


async def _answered(kube: Kube, ref: ObjectRef, token: str) -> Object:
    """The object after the operator's pass. StoreUnavailableError where none came."""
    requests, end = KubeRequests(kube), time.monotonic() + ANSWER_SECONDS
    while time.monotonic() < end:
        body = await requests.get(ref)
        if body is None:
            raise NotFoundError(f"{ref} was deleted meanwhile")
        if (body.get("status") or {}).get("lastHandledReconcileAt") == token:
            return body
        await asyncio.sleep(_POLL_SECONDS)
    raise StoreUnavailableError(
        f"{ref}: it is asked for, but the operator did not answer in {ANSWER_SECONDS:g} s; hint: look at its Lease and its log"
    )


def _condition(body: Object, kind: str) -> Object:
    return next((item for item in body["status"].get("conditions", []) if item["type"] == kind), {})


def _said(body: Object) -> str:
    ready = _condition(body, "Ready")
    return f"{ready.get('reason')}: {ready.get('message')}"
