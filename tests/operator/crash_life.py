"""Flows of aliases, grants and the life of a key for the crash tests: like those of crash.py, each about one object.

A run counts the writes about its own object only: its records, its events, its status and itself. What else goes on (the status of a key
that counts its dependants) has no fixed place among them.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from msgspec import UNSET
from tests.operator import fastclock, harness
from tests.operator.chaos import Action, Request, Write
from tests.operator.crash import Stage
from tests.operator.direct import bytes_of, decoded, path_of
from tests.operator.harness import RECORDS, condition, wait_for

from keystead.engine.identifiers import RecordKind, orphan_name, record_name
from keystead.engine.record import KeyRecord, digest
from keystead.resources import names
from keystead.resources.vocabulary import KeyState

TEAM, ADOPTION = "crash-life", "crash-adoption"
SCHEDULED = {"deletionPolicy": "ScheduleDeletion", "pendingWindowInDays": 7}
SOON = {"scheduledDeletion": {"pendingWindowInDays": 7}}
EIGHT_DAYS = 8 * 86400.0
KEY, ALIAS, GRANT, DATA_KEY = "KmsKey", "KmsAlias", "KmsGrant", "KmsDataKey"
_SECRETS = f"/api/v1/namespaces/{RECORDS}/secrets"
_number = itertools.count(1)


@dataclass(frozen=True)
class Subject:
    """One object, and the names of the records that are about it. `before`: the key record as it was."""

    kind: str
    name: str
    records: tuple[str, ...]
    namespace: str = TEAM
    before: KeyRecord | None = None

    def concerns(self, method: str, path: str, body: Any) -> bool:
        """Whether a write is about it."""
        if path.startswith(_SECRETS):
            return (path.rpartition("/")[2] if method != "POST" else body["metadata"]["name"]) in self.records
        if path.endswith("/events"):
            about = body["involvedObject"]
            return (about["kind"], about["name"]) == (self.kind, self.name)
        if self.kind == DATA_KEY and path == path_of("Secret", self.namespace, self.name):
            return True
        return path.removesuffix("/status") == path_of(self.kind, self.namespace, self.name)

    def matches(self, request: Request) -> bool:
        """A write that a run counts."""
        return request.is_work and self.concerns(request.method, request.path, request.body)


def label(write: Write) -> str:
    """What a write is about, in one word."""
    if write.path.startswith(_SECRETS):
        name = write.path.rpartition("/")[2] if write.method != "POST" else write.body["metadata"]["name"]
        return f"{'drop-' if write.method == 'DELETE' else ''}{name.split('-')[0]}"
    if "/secrets/" in write.path:
        return "secret"
    tail = write.path.rpartition("/")[2]
    return {"status": "status", "events": "event"}.get(tail, "object")


@dataclass(frozen=True)
class Flow:
    """As crash.Flow. `outcome` asserts what must be true in the end; `events`: reasons that are told exactly once.

    `stock`: what it takes from the stock. `passes_time`: it needs days to pass.
    """

    name: str
    writes: tuple[str, ...]
    prepare: Callable[[Stage, str], Subject]
    act: Callable[[Stage, Subject], None]
    finished: Callable[[Stage, Subject], object]
    events: tuple[str, ...] = ()
    stock: str = ""
    passes_time: bool = False

    def run(self, stage: Stage, fault: Action | None = None, index: int = 0) -> Subject:
        """Run the flow with a fault at its write number `index`; replaces the operator that the fault killed."""
        subject = self.prepare(stage, f"{self.name}-{next(_number)}")
        stage.proxy.clear()
        rule = None if fault is None else stage.proxy.rule(subject.matches, fault, after=index)
        self.act(stage, subject)
        if rule is not None:
            wait = let_time_run if self.passes_time else _wait
            wait(stage, f"write {index} of {self.name}", lambda: rule.spent)
            if fault is not None and fault.__name__.startswith("kill"):
                stage.replace()
        try:
            self.finished(stage, subject)
        finally:
            stage.proxy.shift_date(0)
        return subject

    def check(self, stage: Stage, subject: Subject) -> None:
        """The outcome, after one more look; one key record an id; unbroken chains; each event once."""
        body = stage.direct.object(subject.kind, subject.namespace, subject.name)
        if body is not None:
            stage.ask(subject.kind, subject.namespace, subject.name, names.RECONCILE_REQUESTED_AT, "lastHandledReconcileAt")
        self.finished(stage, subject)
        found = {secret["metadata"]["name"]: decoded(secret) for secret in stage.direct.records()}
        keys = [record.key_id for name, record in found.items() if name.startswith("key-")]
        assert len(keys) == len(set(keys))
        for name in subject.records:
            _check_chain(stage, name)
        if body is not None:
            told = stage.direct.events(subject.namespace, body["metadata"]["uid"])
            assert [told.count(reason) for reason in self.events] == [1] * len(self.events), told


def _check_chain(stage: Stage, name: str) -> None:
    """Every committed write of a record continues the one before."""
    writes = [w for w in stage.proxy.writes() if w.committed and w.method != "DELETE" and w.path.startswith(_SECRETS)]
    bodies = [w.body for w in writes if w.body["metadata"]["name"] == name]
    for before, after in itertools.pairwise(bodies):
        old, new = decoded(before), decoded(after)
        assert (new.seq, new.prev) == (old.seq + 1, digest(bytes_of(before)))
        assert new.transition >= old.transition


# -- what flows begin with


def _key(stage: Stage, name: str, annotations: dict[str, str] | None = None, **spec: Any) -> Subject:
    """A key that is Ready."""
    body = harness.key(TEAM, name, **spec)
    body["metadata"]["annotations"] = annotations or {}
    stage.direct.create(body)
    stage.ready(KEY, TEAM, name)
    return _of_key(stage, name)


def _of_key(stage: Stage, name: str, namespace: str = TEAM) -> Subject:
    record = key_record(stage, name, namespace)
    own = record_name(RecordKind.KEY, namespace, name)
    return Subject(KEY, name, (own, orphan_name(record.key_id)), namespace, record)


def key_record(stage: Stage, name: str, namespace: str = TEAM) -> KeyRecord:
    record: KeyRecord = _at(stage, record_name(RecordKind.KEY, namespace, name))
    return record


def _at(stage: Stage, name: str) -> Any:
    """The record of this name, which is there."""
    found = stage.direct.get(f"{_SECRETS}/{name}")
    assert found is not None, f"record {name} is not there"
    return decoded(found)


def _ours(kind: str, name: str, **spec: Any) -> dict[str, Any]:
    return {"apiVersion": names.API_VERSION, "kind": kind, "metadata": {"namespace": TEAM, "name": name}, "spec": spec}


def _alias_of(stage: Stage, name: str, **key: Any) -> Subject:
    """An alias that does not exist yet, and its key `<name>-k`."""
    record = _key(stage, f"{name}-k", **key).before
    assert record is not None
    return Subject(ALIAS, name, (record_name(RecordKind.ALIAS, record.account, record.region, f"alias/{name}"),), before=record)


def _grant_of(stage: Stage, name: str) -> Subject:
    record = _key(stage, f"{name}-k").before
    return Subject(GRANT, name, (record_name(RecordKind.GRANT, TEAM, name),), before=record)


def _make_alias(stage: Stage, subject: Subject) -> None:
    stage.direct.create(_ours(ALIAS, subject.name, aliasName=f"alias/{subject.name}", keyRef={"name": f"{subject.name}-k"}))


def _make_grant(stage: Stage, subject: Subject) -> None:
    spec = {"keyRef": {"name": f"{subject.name}-k"}, "serviceAccountRef": {"name": "app"}, "operations": ["Decrypt"]}
    stage.direct.create(_ours(GRANT, subject.name, **spec))


def _alias(stage: Stage, name: str, **key: Any) -> Subject:
    """An alias that is Ready."""
    subject = _alias_of(stage, name, **key)
    _make_alias(stage, subject)
    stage.ready(ALIAS, TEAM, name)
    return subject


def _grant(stage: Stage, name: str) -> Subject:
    subject = _grant_of(stage, name)
    _make_grant(stage, subject)
    stage.ready(GRANT, TEAM, name)
    return subject


def _two_keys(stage: Stage, name: str) -> Subject:
    subject = _alias(stage, name)
    _key(stage, f"{name}-2")
    return subject


def _held_key(stage: Stage, name: str) -> Subject:
    """The key `<name>-k` in use: the subject is the key, and the alias is gone by the act."""
    _alias(stage, name, **SCHEDULED)
    stage.until("the finalizer", lambda: names.IN_USE in _finalizers(stage, f"{name}-k"))
    return _of_key(stage, f"{name}-k")


def _finalizers(stage: Stage, name: str) -> list[str]:
    return list(stage.direct.object(KEY, TEAM, name)["metadata"].get("finalizers") or [])


def _pending(stage: Stage, name: str) -> Subject:
    stage.direct.create(harness.key(TEAM, name, **SOON))
    _reason(stage, name, "PendingDeletion")
    return _of_key(stage, name)


@dataclass
class Stock:
    """What is made once for all runs, because it takes time: destroyed keys, and keys of an earlier namespace."""

    destroyed: list[str] = field(default_factory=list)
    earlier: list[str] = field(default_factory=list)


STOCK = Stock()


def fill(stage: Stage, destroyed: int, earlier: int) -> None:
    """Make the stock. Namespace TEAM is the installation's (data keys may lie there)."""
    space = {"kind": "Namespace", "metadata": {"name": ADOPTION}}
    stage.direct.create(space)
    STOCK.destroyed = [f"destroyed-{n}" for n in range(destroyed)]
    STOCK.earlier = [f"earlier-{n}" for n in range(earlier + 1)]
    for name in STOCK.destroyed:
        stage.direct.create(harness.key(TEAM, name, **SOON))
    for name in STOCK.earlier:
        stage.direct.create(harness.key(ADOPTION, name))
    for name in STOCK.earlier:
        stage.ready(KEY, ADOPTION, name)
    stage.direct.call("DELETE", path_of("Namespace", "", ADOPTION))
    for name in STOCK.destroyed:
        _reason(stage, name, "PendingDeletion")
    dead = lambda: all(key_record(stage, name).state is KeyState.DESTROYED for name in STOCK.destroyed)  # noqa: E731
    let_time_run(stage, "the stock is destroyed", dead)
    stage.proxy.shift_date(0)
    stage.until("the namespace is gone", lambda: stage.direct.object("Namespace", "", ADOPTION) is None)
    stage.direct.create(space)
    first = Subject(KEY, STOCK.earlier.pop(), (), ADOPTION)  # takes the account over, which the others find there
    _apply_adopting(stage, first, names.ADOPT_TRUE)
    stage.ready(KEY, ADOPTION, first.name)


def _wait(_: Stage, what: str, check: Callable[[], bool]) -> None:
    wait_for(what, check)


def let_time_run(stage: Stage, what: str, check: Callable[[], bool]) -> None:
    """Eight days in one step, then 600 times as fast as it is, until `check` holds."""
    began = time.monotonic()

    def passed() -> bool:
        stage.proxy.shift_date(EIGHT_DAYS + fastclock.FASTER * (time.monotonic() - began))
        return check()

    wait_for(what, passed)


def _apply_adopting(stage: Stage, subject: Subject, how: str) -> None:
    body = harness.key(ADOPTION, subject.name)
    body["metadata"]["annotations"] = {names.ADOPT: how}
    stage.direct.create(body)


def _of_earlier(stage: Stage, _: str) -> Subject:
    return _of_key(stage, STOCK.earlier.pop(), ADOPTION)


def _of_destroyed(stage: Stage, _: str) -> Subject:
    return _of_key(stage, STOCK.destroyed.pop())


def _data_key(stage: Stage, name: str) -> Subject:
    """A data key that is Ready under `<name>-k`, in a Secret of its own."""
    _key(stage, f"{name}-k")
    stage.direct.create(harness.data_key(TEAM, name, f"{name}-k", name))
    stage.ready(DATA_KEY, TEAM, name)
    return Subject(DATA_KEY, name, (record_name(RecordKind.DATAKEY, TEAM, name),))


# -- acts


def _delete(stage: Stage, subject: Subject) -> None:
    stage.direct.call("DELETE", path_of(subject.kind, TEAM, subject.name))


def _retarget(stage: Stage, subject: Subject) -> None:
    stage.direct.merge(path_of(ALIAS, TEAM, subject.name), {"spec": {"keyRef": {"name": f"{subject.name}-2"}}})


def _use(stage: Stage, subject: Subject) -> None:
    stage.direct.create(_ours(ALIAS, subject.name, aliasName=f"alias/{subject.name}", keyRef={"name": subject.name}))


def _unuse(stage: Stage, subject: Subject) -> None:
    stage.direct.call("DELETE", path_of(ALIAS, TEAM, subject.name.removesuffix("-k")))


def _annotate(annotation: str, value: str) -> Callable[[Stage, Subject], None]:
    return lambda stage, subject: stage.direct.annotate(KEY, subject.namespace, subject.name, annotation, value)


def _renew(stage: Stage, subject: Subject) -> None:
    """A new key after the destroyed one."""
    assert subject.before is not None
    patch = {"metadata": {"annotations": {names.NEW_KEY_AFTER_DESTRUCTION: subject.before.key_id}}, "spec": {"scheduledDeletion": None}}
    stage.direct.merge(path_of(KEY, TEAM, subject.name), patch)


def _rotate_key(stage: Stage, subject: Subject) -> None:
    stage.direct.annotate(KEY, TEAM, f"{subject.name}-k", names.ROTATE_REQUESTED_AT, subject.name)


# -- ends


def _reason(stage: Stage, name: str, reason: str, namespace: str = TEAM) -> Any:
    def check() -> Any:
        body = stage.direct.object(KEY, namespace, name)
        return body if (condition(body) or {}).get("reason") == reason else None

    return stage.until(f"{name} is {reason}", check)


def _record(stage: Stage, subject: Subject, what: str, holds: Callable[[KeyRecord], bool]) -> None:
    """The key's record becomes so, and it is the same key."""
    stage.until(what, lambda: holds(key_record(stage, subject.name, subject.namespace)))
    assert subject.before is not None
    assert key_record(stage, subject.name, subject.namespace).key_id == subject.before.key_id


def _target(stage: Stage, subject: Subject, key: str) -> None:
    wanted = key_record(stage, key).key_id
    (name,) = subject.records
    stage.until("the record names the key", lambda: _at(stage, name).key_id == wanted)
    stage.until("so does the status", lambda: stage.ready(ALIAS, TEAM, subject.name)["status"].get("targetKeyId") == wanted)


def _granted(stage: Stage, subject: Subject) -> None:
    status = stage.ready(GRANT, TEAM, subject.name)["status"]
    assert _at(stage, record_name(RecordKind.GRANT, TEAM, subject.name)).grant_id == status["grantId"]


def _dropped(stage: Stage, subject: Subject) -> None:
    (name,) = subject.records
    stage.until("its record is gone", lambda: stage.direct.get(f"{_SECRETS}/{name}") is None)


def _destroyed(stage: Stage, subject: Subject) -> None:
    let_time_run(stage, "it is destroyed", lambda: key_record(stage, subject.name).state is KeyState.DESTROYED)
    _record(stage, subject, "no material", lambda r: all(version.wrapped is UNSET for version in r.versions))
    _reason(stage, subject.name, "KeyDestroyed")


def _renewed(stage: Stage, subject: Subject) -> None:
    """Exactly one new key, and the old record beside it."""
    assert subject.before is not None
    status = stage.ready(KEY, subject.namespace, subject.name)["status"]
    new = key_record(stage, subject.name, subject.namespace)
    assert (status["keyId"], new.bound, new.n_versions) == (new.key_id, True, 1)
    assert new.key_id != subject.before.key_id
    moved = _at(stage, orphan_name(subject.before.key_id))
    assert (moved.key_id, moved.bound, moved.versions) == (subject.before.key_id, False, subject.before.versions)


def _adopted(stage: Stage, subject: Subject) -> None:
    uid = stage.direct.object("Namespace", "", ADOPTION)["metadata"]["uid"]
    _record(stage, subject, "it is this namespace's", lambda record: record.namespace_uid == uid)
    stage.ready(KEY, ADOPTION, subject.name)


def _rewrapped(stage: Stage, subject: Subject) -> None:
    def current() -> bool:
        material = key_record(stage, f"{subject.name}-k").current_version.material_id
        record = _at(stage, record_name(RecordKind.DATAKEY, TEAM, subject.name))
        return [version.key_material_id for version in record.versions] == [material]

    stage.until("the key rotated", lambda: key_record(stage, f"{subject.name}-k").n_versions == 2)
    stage.until("it is under the current material", current)
    record = _at(stage, record_name(RecordKind.DATAKEY, TEAM, subject.name))
    data = lambda: bytes_of(stage.direct.object("Secret", TEAM, subject.name), "ciphertext")  # noqa: E731
    stage.until("so is the Secret", lambda: data() == record.versions[0].blob)
    stage.until("the status says so", lambda: stage.direct.object(DATA_KEY, TEAM, subject.name)["status"]["recordSeq"] == record.seq)


def _is(what: str, holds: Callable[[KeyRecord], bool], reason: str = "") -> Callable[[Stage, Subject], None]:
    def finished(stage: Stage, subject: Subject) -> None:
        _record(stage, subject, what, holds)
        if reason:
            _reason(stage, subject.name, reason)

    return finished


def _finalizer(present: bool) -> Callable[[Stage, Subject], None]:
    def finished(stage: Stage, subject: Subject) -> None:
        stage.until(f"the finalizer is there: {present}", lambda: (names.IN_USE in _finalizers(stage, subject.name)) is present)
        counted = lambda: ("dependents" in stage.direct.object(KEY, TEAM, subject.name)["status"]) is present  # noqa: E731
        stage.until("the status counts it", counted)

    return finished


FLOWS = (
    Flow("create-alias", ("alias", "event", "status"), _alias_of, _make_alias, lambda s, a: _target(s, a, f"{a.name}-k"), ("Created",)),
    Flow("retarget", ("alias", "event", "status"), _two_keys, _retarget, lambda s, a: _target(s, a, f"{a.name}-2"), ("Retargeted",)),
    Flow("delete-alias", ("drop-alias",), _alias, _delete, _dropped),
    Flow("create-grant", ("grant", "event", "status"), _grant_of, _make_grant, _granted, ("Created",)),
    Flow("delete-grant", ("drop-grant",), _grant, _delete, _dropped),
    Flow("orphan", ("key",), _key, _delete, _is("an orphan", lambda r: not r.bound and r.state is KeyState.ENABLED)),
    Flow(
        "window",
        ("key",),
        lambda stage, name: _key(stage, name, **SCHEDULED),
        _delete,
        _is("its window runs", lambda r: not r.bound and r.state is KeyState.PENDING_DELETION),
    ),
    Flow("finalizer", ("object", "status"), lambda stage, name: _key(stage, name, **SCHEDULED), _use, _finalizer(True), ("Created",)),
    Flow("no-finalizer", ("object", "status"), _held_key, _unuse, _finalizer(False), ("Created",)),
    Flow(
        "hold",
        ("key", "event", "status"),
        _key,
        _annotate(names.HOLD, "incident"),
        _is("held", lambda r: r.hold is not UNSET, "Held"),
        ("Held",),
    ),
    Flow(
        "cancel",
        ("key", "event", "status"),
        _pending,
        _annotate(names.CANCEL_DELETION, "true"),
        _is("cancelled", lambda r: r.state is KeyState.DISABLED, "Disabled"),
        ("DeletionScheduled", "DeletionCancelled"),
    ),
    Flow(
        "adopt",
        ("key", "key", "event", "status"),
        _of_earlier,
        lambda s, k: _apply_adopting(s, k, names.ADOPT_TRUE),
        _adopted,
        ("Adopted",),
        stock="earlier",
    ),
    Flow(
        "as-new",
        ("orphan", "key", "event", "status"),
        _of_earlier,
        lambda s, k: _apply_adopting(s, k, names.ADOPT_AS_NEW),
        _renewed,
        ("Created",),
        stock="earlier",
    ),
    Flow(
        "destroy",
        ("key", "event", "status"),
        _pending,
        lambda s, _: s.proxy.shift_date(EIGHT_DAYS),
        _destroyed,
        ("Destroyed",),
        passes_time=True,
    ),
    Flow("renew", ("orphan", "key", "event", "status"), _of_destroyed, _renew, _renewed, stock="destroyed"),
    Flow("re-wrap", ("datakey", "secret", "event", "status"), _data_key, _rotate_key, _rewrapped, ("Rewrapped",)),
)
# Those that need neither a stock nor time.
PLAIN = tuple(flow for flow in FLOWS if not flow.stock and not flow.passes_time)
