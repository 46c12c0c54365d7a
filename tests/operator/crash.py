"""What the crash tests share: an operator behind a chaos proxy that can be killed and replaced, flows, and invariants.

A flow starts from something undisturbed, does one thing, and knows the writes that this takes. After a fault at any of them the
invariants must hold: one key id, one record, dense versions, an unbroken chain, the Secret as the record has it.
"""

from __future__ import annotations

import base64
import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tests.operator import harness
from tests.operator.chaos import Action, ChaosProxy, Request, Rule, Write
from tests.operator.direct import Direct, bytes_of, decoded, path_of
from tests.operator.harness import SYSTEM, Installation, OperatorProcess, condition, wait_for

from keystead.engine.identifiers import RecordKind, record_name
from keystead.engine.record import digest
from keystead.resources import names

TEAM = "team-a"
KEY = "crash-matrix"
LEASE = f"/apis/coordination.k8s.io/v1/namespaces/{SYSTEM}/leases/keystead-operator"
_KINDS = {"KmsKey": RecordKind.KEY, "KmsDataKey": RecordKind.DATAKEY}
_number = itertools.count(1)


@dataclass
class Stage:
    """One operator behind one proxy. A dead operator is replaced at once: its Lease is released in its place.

    Waiting for the Lease instead would cost its duration at each kill; test_failover.py tests exactly that.
    """

    installation: Installation
    proxy: ChaosProxy
    direct: Direct
    settings: dict[str, str] = field(default_factory=dict)
    program: tuple[str, ...] = harness.OPERATOR
    operator: OperatorProcess = field(init=False)

    def __post_init__(self) -> None:
        self.operator = self._start()
        self.operator.wait_leading()
        self.direct.wait_own_key()

    def _start(self) -> OperatorProcess:
        return self.installation.start(f"crash-{next(_number)}", self.proxy.url, self.program, **self.settings)

    def replace(self) -> None:
        """Another process instead of the one that was killed."""
        self.operator.child.wait(10)
        self.operator = self._start()
        self.direct.merge(LEASE, {"spec": {"holderIdentity": ""}})

    def close(self) -> None:
        """End the operator."""
        self.operator.stop()

    def until(self, what: str, check: Callable[[], Any]) -> Any:
        """Wait with the operator's log in the error; an operator that ends by itself is a fault."""
        self.operator.wait(what, check)
        return check()

    def ready(self, kind: str, namespace: str, name: str) -> Any:
        """The object once it is Ready in its own generation."""

        def check() -> Any:
            body = self.direct.object(kind, namespace, name)
            found = condition(body)
            return body if found is not None and found["reason"] == "Available" else None

        return self.until(f"{kind} {namespace}/{name} is Ready", check)

    def ask(self, kind: str, namespace: str, name: str, annotation: str, answer: str) -> Any:
        """Set an annotation to a new value and wait until status answers it; the object then."""
        value = f"ask-{next(_number)}"
        self.direct.annotate(kind, namespace, name, annotation, value)
        return self.answered(kind, namespace, name, answer, value)

    def answered(self, kind: str, namespace: str, name: str, answer: str, value: str) -> Any:
        """The object once status answers `value`."""

        def check() -> Any:
            body = self.direct.object(kind, namespace, name)
            return body if body.get("status", {}).get(answer) == value else None

        return self.until(f"{kind} {namespace}/{name} {answer}={value}", check)

    def settle(self, kind: str, namespace: str, name: str) -> Any:
        """One more whole pass over the object: whatever would still happen has happened."""
        self.ask(kind, namespace, name, names.RECONCILE_REQUESTED_AT, "lastHandledReconcileAt")
        return self.ready(kind, namespace, name)


@dataclass(frozen=True)
class Subject:
    """What a run is about, and how many versions it must have in the end."""

    kind: str
    namespace: str
    name: str
    versions: int = 1
    target: str = ""

    @property
    def record(self) -> str:
        """The name of its record."""
        return record_name(_KINDS[self.kind], self.namespace, self.name)


@dataclass(frozen=True)
class Flow:
    """`prepare` makes what was there before; `act` starts the flow; `finished` waits for its end. `writes`: undisturbed."""

    name: str
    writes: tuple[str, ...]
    prepare: Callable[[Stage, str], Subject]
    act: Callable[[Stage, Subject], None]
    finished: Callable[[Stage, Subject], None]

    def run(self, stage: Stage, fault: Action | None = None, index: int = 0) -> tuple[Subject, Rule | None]:
        """Run the flow with a fault at its write number `index`; replaces the operator that the fault killed."""
        subject = self.prepare(stage, f"{self.name}-{next(_number)}")
        stage.proxy.clear()
        rule = None if fault is None else stage.proxy.rule(is_work, fault, after=index)
        self.act(stage, subject)
        if rule is not None:
            wait_for(f"write {index} of {self.name}", lambda: rule.spent)
            if fault is not None and fault.__name__.startswith("kill"):
                stage.replace()
        self.finished(stage, subject)
        return subject, rule


def is_work(request: Request) -> bool:
    """The writes that a flow counts."""
    return request.is_work and not is_of_the_key(request.path)


def is_of_the_key(path: str) -> bool:
    """Status of the key that all flows share: it says how many data keys it has, some time after each of them."""
    return path.endswith(f"/kmskeys/{KEY}/status")


def label(write: Write) -> str:
    """What a write is about, in one word."""
    if write.path.startswith("/api/v1/namespaces/keystead-records/"):
        name = (write.body or {}).get("metadata", {}).get("name", "")
        return str(name.split("-")[0])
    if write.path.endswith("/status"):
        return "status"
    return "event" if write.path.endswith("/events") else "secret" if "/secrets" in write.path else write.path


def check(stage: Stage, subject: Subject) -> None:
    """All invariants, after one more pass of the operator."""
    body = stage.settle(subject.kind, subject.namespace, subject.name)
    record = _one_record(stage, subject)
    assert record.current == record.n_versions == subject.versions
    assert [version.n for version in record.versions] == list(range(1, subject.versions + 1))
    assert body["status"]["recordSeq"] == record.seq
    _check_chain(stage, subject, record)
    _check_events(stage, subject, body)
    if subject.kind == "KmsKey":
        assert body["status"]["keyId"] == record.key_id
    else:
        check_secret(stage.direct, subject, record)


def _one_record(stage: Stage, subject: Subject) -> Any:
    """The subject's record: the only one of its name, of its key's id; its namespace has one account, the first."""
    pairs = [(secret["metadata"]["name"], decoded(secret)) for secret in stage.direct.records()]
    (record,) = (
        record
        for name, record in pairs
        if name.startswith(f"{_KINDS[subject.kind]}-")
        and (record.namespace, record.name) == (subject.namespace, subject.name)
    )
    assert [found for name, found in pairs if name == subject.record] == [record]
    keys = [found.key_id for name, found in pairs if name.startswith("key-")]
    assert len(keys) == len(set(keys))
    accounts = [found for name, found in pairs if name.startswith("account-") and found.namespace == subject.namespace]
    assert [(found.n, found.account_id) for found in accounts] == [(0, record.account)]
    return record


def _check_chain(stage: Stage, subject: Subject, last: Any) -> None:
    """Every committed write continues the one before: seq + 1, prev, transition never less. The last one is what is stored."""
    committed = [write for write in stage.proxy.writes() if write.committed and _names_record(write, subject.record)]
    chain = [decoded(write.body) for write in committed]
    for before, after, write in zip(chain, chain[1:], committed, strict=False):
        assert after.seq == before.seq + 1
        assert after.prev == digest(bytes_of(write.body))
        assert after.transition >= before.transition
    assert chain[-1] == last
    assert len({tuple(v.n for v in record.versions) for record in chain}) <= 2


def _names_record(write: Write, record: str) -> bool:
    return isinstance(write.body, dict) and write.body.get("metadata", {}).get("name") == record


def _check_events(stage: Stage, subject: Subject, body: Any) -> None:
    """Each thing that happened is told exactly once, however often it was tried."""
    expected = ["Created"] + ["Rotated"] * (subject.versions - 1)
    assert stage.direct.events(subject.namespace, body["metadata"]["uid"]) == expected


def check_secret(direct: Direct, subject: Subject, record: Any) -> None:
    """The Secret holds the blobs of the record and no other ones; what was there before is still there."""
    data = direct.object("Secret", subject.namespace, subject.target)["data"]
    prefix = "" if not record.target.injected else f"kms.keystead.io.{subject.name}."
    blobs = {f"{prefix}ciphertext.{version.n}": version.blob for version in record.versions}
    blobs[f"{prefix}ciphertext"] = record.versions[-1].blob
    found = {key: base64.b64decode(value) for key, value in data.items() if key.startswith(f"{prefix}ciphertext")}
    assert found == blobs
    if record.target.injected:
        assert base64.b64decode(data["password"]) == b"theirs"


# -- the flows


def _first_key(stage: Stage, name: str) -> Subject:
    stage.direct.call("POST", "/api/v1/namespaces", {"metadata": {"name": name}})
    return Subject("KmsKey", name, "first")


def _create_key(stage: Stage, subject: Subject) -> None:
    stage.direct.create(harness.key(subject.namespace, subject.name))


def _finished(stage: Stage, subject: Subject) -> None:
    stage.ready(subject.kind, subject.namespace, subject.name)


def _key_to_rotate(stage: Stage, name: str) -> Subject:
    stage.direct.create(harness.key(TEAM, name))
    stage.ready("KmsKey", TEAM, name)
    return Subject("KmsKey", TEAM, name, versions=2)


def _ask_rotation(stage: Stage, subject: Subject) -> None:
    stage.direct.annotate(subject.kind, subject.namespace, subject.name, names.ROTATE_REQUESTED_AT, subject.name)


def _rotated(stage: Stage, subject: Subject) -> None:
    stage.answered(subject.kind, subject.namespace, subject.name, "lastHandledRotateAt", subject.name)
    _finished(stage, subject)


def _own_secret(stage: Stage, name: str) -> Subject:
    """A data key of the key that all runs share, in a Secret of its own."""
    if stage.direct.object("KmsKey", TEAM, KEY) is None:
        stage.direct.create(harness.key(TEAM, KEY))
        stage.ready("KmsKey", TEAM, KEY)
    return Subject("KmsDataKey", TEAM, name, target=name)


def _foreign_secret(stage: Stage, name: str) -> Subject:
    body = {"apiVersion": "v1", "kind": "Secret", "metadata": {"namespace": TEAM, "name": name}}
    stage.direct.create(body | {"stringData": {"password": "theirs"}})
    return _own_secret(stage, name)


def _create_data_key(stage: Stage, subject: Subject) -> None:
    stage.direct.create(harness.data_key(TEAM, subject.name, KEY, subject.target))


def _data_key_to_rotate(stage: Stage, name: str) -> Subject:
    subject = _own_secret(stage, name)
    _create_data_key(stage, subject)
    _finished(stage, subject)
    return Subject("KmsDataKey", TEAM, name, versions=2, target=name)


FLOWS = (
    Flow("create-key", ("account", "key", "event", "status"), _first_key, _create_key, _finished),
    Flow("rotate-key", ("key", "event", "status"), _key_to_rotate, _ask_rotation, _rotated),
    Flow(
        "create-data-key",
        ("datakey", "secret", "datakey", "event", "status"),
        _own_secret,
        _create_data_key,
        _finished,
    ),
    Flow("inject", ("datakey", "secret", "datakey", "event", "status"), _foreign_secret, _create_data_key, _finished),
    Flow("rotate-data-key", ("datakey", "secret", "event", "status"), _data_key_to_rotate, _ask_rotation, _rotated),
)
FLOW = {flow.name: flow for flow in FLOWS}
__all__ = ["FLOW", "FLOWS", "Flow", "Stage", "Subject", "check", "check_secret", "is_of_the_key", "is_work", "label", "path_of"]
