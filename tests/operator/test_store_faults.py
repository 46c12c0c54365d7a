"""The API server misbehaves, or somebody touches the records: bounded waits, no hot loop, and nothing generated in place of a record."""

from __future__ import annotations

import base64
import time
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from tests.operator import crash_life, harness
from tests.operator.chaos import ChaosProxy, Gate, answer, delay, hold, stall_watch
from tests.operator.crash import FLOW, FLOWS, Flow, Stage, check, is_work, label
from tests.operator.crash import TEAM as TEAM_OF_FLOWS
from tests.operator.direct import Direct, decoded
from tests.operator.harness import Installation, condition, wait_for

from keystead.engine.identifiers import RecordKind, record_name
from keystead.resources import names

pytestmark = [pytest.mark.cluster, pytest.mark.powers("disposable")]

TEAM = "team-c"
RECORDS = "/api/v1/namespaces/keystead-records/secrets"
# Kopf gives a watch up that said nothing for 70 s (not even a bookmark), and goes on from where it was.
SILENCE = 70.0
# An API server that restarts must not cost the lead: another test's subject.
SETTINGS = {"lease_duration": "90", "renew_deadline": "60"}


@pytest.fixture(scope="module")
def stage(installation: Installation) -> Iterator[Stage]:
    with ChaosProxy(installation.cluster) as proxy:
        made = Stage(installation, proxy, Direct(installation.cluster), SETTINGS)
        yield made
        made.close()


@pytest.fixture(autouse=True)
def no_rules(stage: Stage) -> Iterator[None]:
    """Each test begins with an honest proxy and a living operator."""
    stage.proxy.clear()
    yield
    stage.proxy.clear()


@pytest.fixture
def name() -> str:
    return f"faults-{uuid.uuid4().hex[:8]}"


@pytest.mark.long
def test_silent_watches_delay_every_flow_by_a_bounded_time(stage: Stage) -> None:
    """All watches go silent at once, without a FIN; what is asked for then is done when they are given up."""
    runs = [(flow, flow.prepare(stage, f"silent-{flow.name}-{uuid.uuid4().hex[:6]}")) for flow in FLOWS]
    lives = [(flow, flow.prepare(stage, f"silent-{flow.name}-{uuid.uuid4().hex[:6]}")) for flow in crash_life.PLAIN]
    stage.proxy.clear()
    stall = stage.proxy.rule(lambda r: r.watch, stall_watch(), times=stage.proxy.streams)
    began = time.monotonic()
    for flow, subject in (*runs, *lives):
        flow.act(stage, subject)  # type: ignore[arg-type]
    wait_for("the watches are given up", lambda: len(stage.proxy.writes()) >= len(FLOWS), SILENCE + 20)
    for flow, subject in (*runs, *lives):
        flow.finished(stage, subject)  # type: ignore[arg-type]
    assert stall.hits > 0
    assert time.monotonic() - began < SILENCE + 20
    for _, subject in runs:
        check(stage, subject)
    for life, subject in lives:
        life.check(stage, subject)


@pytest.mark.parametrize("what", ["account", "key"])
def test_conflict_for_ever_on_a_record_is_no_hot_loop(stage: Stage, what: str) -> None:
    """0.2, 0.4, 0.8, 1.6 s between attempts, each a quarter shorter or longer, and a few requests an attempt."""
    subject = FLOW["create-key"].prepare(stage, f"conflict-{what}-{uuid.uuid4().hex[:6]}")
    stage.proxy.clear()
    about = (subject.name, record_name(RecordKind.KEY, subject.namespace, subject.name))
    conflict = stage.proxy.rule(lambda r: r.is_record and f"'{what}-" in str(r.body), answer(409), times=None)
    # What other tests left is looked at meanwhile: only what is about this key counts.
    asked = stage.proxy.rule(lambda r: any(name in r.path or name in str(r.body) for name in about), delay(0.0), times=None)
    FLOW["create-key"].act(stage, subject)
    wait_for("the first attempt", lambda: conflict.hits)
    began, before = time.monotonic(), asked.hits
    wait_for("five attempts", lambda: conflict.hits >= 5)
    assert time.monotonic() - began >= 0.75 * (0.2 + 0.4 + 0.8 + 1.6) - 0.1
    assert asked.hits - before < 60
    assert stage.direct.record(RecordKind.KEY, subject.namespace, subject.name) is None
    stage.proxy.clear()
    stage.ready("KmsKey", subject.namespace, subject.name)
    check(stage, subject)


@pytest.mark.parametrize("flow", FLOWS, ids=lambda flow: flow.name)
def test_overloaded_server_is_asked_again_until_it_is_well(stage: Stage, flow: Flow) -> None:
    """Each write is refused once, in one run."""
    subject = flow.prepare(stage, f"busy-{flow.name}-{uuid.uuid4().hex[:6]}")
    stage.proxy.clear()
    refused: set[str] = set()

    def first_of_its_kind(request: Any) -> bool:
        kind = f"{request.method} {request.path}"
        return request.is_work and kind not in refused and not refused.add(kind)

    stage.proxy.rule(first_of_its_kind, answer(429, {"Retry-After": "3600"}), times=None)
    flow.act(stage, subject)
    flow.finished(stage, subject)
    assert refused
    check(stage, subject)


@pytest.mark.parametrize("flow", [FLOW["create-key"], FLOW["inject"]], ids=lambda flow: flow.name)
def test_write_that_arrives_after_its_caller_gave_up_makes_no_second_version(stage: Stage, flow: Flow) -> None:
    """The first attempt is held past the operator's patience; the second succeeds; then the first arrives."""
    subject = flow.prepare(stage, f"late-{flow.name}-{uuid.uuid4().hex[:6]}")
    stage.proxy.clear()
    gate = Gate()
    stage.proxy.rule(lambda r: r.is_record and subject.record in str(r.body), hold(gate))
    flow.act(stage, subject)
    flow.finished(stage, subject)
    held = next(w for w in stage.proxy.writes() if w.fault == "hold")
    gate.go.set()
    wait_for("the late write is refused", lambda: held.status == 409)
    check(stage, subject)


def test_status_that_arrives_late_is_put_right(stage: Stage) -> None:
    """A status of the first version is held; the key is rotated; then the old status lands on the newer one."""
    subject = FLOW["rotate-key"].prepare(stage, f"late-status-{uuid.uuid4().hex[:6]}")
    stage.proxy.clear()
    gate = Gate()
    held = stage.proxy.rule(lambda r: r.path.endswith(f"/{subject.name}/status"), hold(gate))
    stage.direct.annotate("KmsKey", TEAM_OF_FLOWS, subject.name, names.RECONCILE_REQUESTED_AT, "late")
    assert gate.reached.wait(harness.DEADLINE)
    FLOW["rotate-key"].act(stage, subject)
    FLOW["rotate-key"].finished(stage, subject)
    gate.go.set()
    wait_for("the late status", lambda: next(w for w in stage.proxy.writes() if w.fault == "hold").committed)
    FLOW["rotate-key"].finished(stage, subject)
    assert held.hits == 1
    check(stage, subject)


@pytest.mark.powers("restart")
@pytest.mark.parametrize("index", [0, 1])
def test_restart_of_the_api_server_in_the_middle_of_an_injection(stage: Stage, index: int) -> None:
    """At the write of the record, and at that of the Secret."""
    flow = FLOW["inject"]
    subject = flow.prepare(stage, f"restart-{index}-{uuid.uuid4().hex[:6]}")
    stage.proxy.clear()
    gate = Gate()
    stage.proxy.rule(is_work, hold(gate), after=index)
    flow.act(stage, subject)
    assert gate.reached.wait(harness.DEADLINE)
    stage.installation.cluster.restart()
    gate.go.set()
    flow.finished(stage, subject)
    check(stage, subject)


# -- records that are not what they were


@pytest.fixture
def issued(stage: Stage, name: str) -> str:
    """A key with one rotation behind it, and a data key of it, of one name."""
    stage.direct.create(harness.key(TEAM, name))
    stage.direct.create(harness.data_key(TEAM, name, name, name))
    stage.ready("KmsDataKey", TEAM, name)
    stage.proxy.clear()
    return name


def unbelieved(stage: Stage, kind: str, name: str) -> None:
    """One whole pass says RecordIntegrity, and nothing but the status and its event was written."""
    value = uuid.uuid4().hex
    stage.proxy.clear()
    stage.direct.annotate(kind, TEAM, name, names.RECONCILE_REQUESTED_AT, value)
    body = stage.answered(kind, TEAM, name, "lastHandledReconcileAt", value)
    found = condition(body)
    assert found is not None
    assert found["reason"] == "RecordIntegrity"
    assert {label(write) for write in stage.proxy.writes()} <= {"event", "status"}


def put_back(stage: Stage, secret: Any) -> None:
    """These data over whatever is stored under the name now."""
    path = f"{RECORDS}/{secret['metadata']['name']}"
    stage.direct.merge(path, {"data": secret["data"]})


def restart(stage: Stage) -> None:
    """A fresh process, which has seen nothing."""
    stage.operator.stop()
    stage.replace()
    stage.operator.wait_leading()


KINDS = [
    pytest.param("KmsKey", RecordKind.KEY, id="key"),
    pytest.param("KmsDataKey", RecordKind.DATAKEY, id="data-key"),
]


@pytest.mark.parametrize(("kind", "record"), KINDS)
def test_record_that_is_gone_is_not_made_again(stage: Stage, issued: str, kind: str, record: RecordKind) -> None:
    """By a process that had seen it, and by a fresh one that only has the status; with the data key's Secret gone too."""
    secret = stage.direct.record(record, TEAM, issued)
    path = f"{RECORDS}/{secret['metadata']['name']}"
    stage.direct.annotate("Secret", "keystead-records", secret["metadata"]["name"], names.ALLOW_DELETION, "true")
    stage.direct.call("DELETE", path)
    stage.direct.call("DELETE", f"/api/v1/namespaces/{TEAM}/secrets/{issued}")
    unbelieved(stage, kind, issued)
    restart(stage)
    unbelieved(stage, kind, issued)
    assert stage.direct.record(record, TEAM, issued) is None
    if kind == "KmsDataKey":
        assert stage.direct.object("Secret", TEAM, issued) is None
    metadata = {"name": secret["metadata"]["name"], "labels": secret["metadata"]["labels"]}
    stage.direct.call("POST", RECORDS, {**secret, "metadata": metadata})
    stage.settle(kind, TEAM, issued)


@pytest.mark.parametrize(("kind", "record"), KINDS)
@pytest.mark.parametrize("fresh", [False, True], ids=["who-saw-it", "fresh"])
def test_older_record_under_a_newer_status_is_refused(
    stage: Stage, issued: str, kind: str, record: RecordKind, fresh: bool
) -> None:
    older = stage.direct.record(record, TEAM, issued)
    stage.ask(kind, TEAM, issued, names.ROTATE_REQUESTED_AT, "lastHandledRotateAt")
    stage.settle("KmsDataKey", TEAM, issued)  # its re-wrap is over
    newer = stage.direct.record(record, TEAM, issued)
    put_back(stage, older)
    if fresh:
        restart(stage)
    unbelieved(stage, kind, issued)
    assert decoded(stage.direct.record(record, TEAM, issued)) == decoded(older)
    put_back(stage, newer)
    stage.settle(kind, TEAM, issued)


@pytest.mark.parametrize(("kind", "record"), KINDS)
@pytest.mark.parametrize("member", ["record", "seal"])
def test_flipped_byte_is_refused_and_never_repaired(
    stage: Stage, issued: str, kind: str, record: RecordKind, member: str
) -> None:
    good = stage.direct.record(record, TEAM, issued)
    raw = bytearray(base64.b64decode(good["data"][member]))
    raw[len(raw) // 2] ^= 1
    bad = {**good, "data": {**good["data"], member: base64.b64encode(raw).decode()}}
    put_back(stage, bad)
    unbelieved(stage, kind, issued)
    assert stage.direct.record(record, TEAM, issued)["data"] == bad["data"]
    put_back(stage, good)
    stage.settle(kind, TEAM, issued)


def test_two_swapped_records_are_refused(stage: Stage, issued: str, name: str) -> None:
    other = f"{name}-other"
    stage.direct.create(harness.key(TEAM, other))
    stage.ready("KmsKey", TEAM, other)
    one, two = (stage.direct.record(RecordKind.KEY, TEAM, each) for each in (issued, other))
    put_back(stage, {**one, "data": two["data"]})
    unbelieved(stage, "KmsKey", issued)
    put_back(stage, one)
    stage.settle("KmsKey", TEAM, issued)
