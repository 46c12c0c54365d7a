"""Two operators at work, judged by the API server's audit log: what a stopped leader can still do, one rotation by two clocks, fences.

`HA_STOP_SECONDS=60` keeps the leader stopped for a whole minute; otherwise it is stopped for as long as the other one takes over and works.
"""

from __future__ import annotations

import base64
import contextlib
import os
import signal
import time
from collections.abc import Iterator
from typing import Any

import pytest
from tests.operator import harness
from tests.operator.auditlog import AuditLog, Request
from tests.operator.chaos import Gate, hold
from tests.operator.desk import DATA_KEY, DAY, KEY, SECRET, Desk
from tests.operator.direct import Direct, decoded, path_of
from tests.operator.harness import Installation, wait_for
from tests.operator.opener import opened
from tests.operator.replicas import FENCED, SHORT, Pair, running

from keystead.engine.identifiers import RecordKind
from keystead.engine.record import DataKeyRecord, KeyRecord
from keystead.resources import names

pytestmark = [pytest.mark.cluster, pytest.mark.powers("disposable", "audit")]

TEAM = "replicas"
STOP_SECONDS = float(os.environ.get("HA_STOP_SECONDS", "0"))
ROUND = 12  # keys that rotate in each half of the work
HOUR = 3600.0


@pytest.fixture(scope="module")
def direct(installation: Installation) -> Direct:
    return Direct(installation.cluster)


@pytest.fixture
def log(installation: Installation) -> AuditLog:
    return AuditLog(installation.cluster)


@contextlib.contextmanager
def pair_of(installation: Installation, direct: Direct, *, proxied: bool = True, **settings: str) -> Iterator[Pair]:
    """Two replicas; the objects of the test go while the one that leads in the end is still there."""
    with running(installation, direct, TEAM, proxied=proxied, **settings) as pair:
        yield pair
        last = next(each for each in (pair.standby, pair.leader) if each.leads() and each.process.child.poll() is None)
        last.proxy.shift_date(0)
        Desk(installation, direct, last.proxy, last.process, TEAM).clean()


def foreign_secret(direct: Direct, name: str, **data: bytes) -> None:
    """Somebody's Secret, to inject into."""
    content = {key: base64.b64encode(value).decode() for key, value in data.items()}
    metadata = {"namespace": TEAM, "name": name}
    direct.create({"apiVersion": "v1", "kind": SECRET, "metadata": metadata, "data": content})


def ours(direct: Direct) -> list[Any]:
    """The record Secrets of this namespace's keys and data keys, with those that tests before left."""
    pairs = [(secret, decoded(secret)) for secret in direct.records()]
    return [secret for secret, record in pairs if isinstance(record, KeyRecord | DataKeyRecord) and record.namespace == TEAM]


def versions_of_everything(direct: Direct) -> dict[str, str]:
    """resourceVersion of every record and of every Secret of the namespace: equal means that nobody wrote."""
    secrets = direct.get(path_of(SECRET, TEAM))["items"]
    every = [*direct.records(), *secrets]
    return {f"{s['metadata'].get('namespace')}/{s['metadata']['name']}": s["metadata"]["resourceVersion"] for s in every}


class Work:
    """Keys that rotate, their data keys in Secrets of both kinds, and new ones: half of it before the stop, half after."""

    def __init__(self, direct: Direct, pair: Pair) -> None:
        self.direct, self.pair = direct, pair
        self.keys = [f"k{n}" for n in range(2 * ROUND)]
        self.data_keys = [f"d{n}" for n in range(ROUND)]
        self.new = [f"n{n}" for n in range(8)]

    def prepare(self) -> None:
        """What is there before: all Ready."""
        for name in self.keys:
            self.pair.create(name)
        for n, name in enumerate(self.data_keys):
            if n % 2:
                foreign_secret(self.direct, name, password=b"theirs")
            self.direct.create(harness.data_key(TEAM, name, self.keys[n], name))
        for name in self.data_keys:
            self.pair.ready(name, DATA_KEY)
        for name in self.keys:
            self.pair.ready(name)

    def ask(self, half: int) -> None:
        """Rotations (with a re-wrap for each data key), and new keys."""
        for name in self.keys[half::2]:
            self.pair.rotate(name)
        for name in self.new[half::2]:
            self.pair.create(name)

    def done(self) -> None:
        """Every request is answered, every Secret has the re-wrapped blob."""
        for name in self.keys:
            self.pair.rotated(name)
        for name in self.new:
            self.pair.ready(name)
        for key, name in zip(self.keys, self.data_keys, strict=False):
            wait_for(f"the re-wrap of {name}", lambda key=key, name=name: self._rewrapped(key, name))

    def _rewrapped(self, key: str, name: str) -> bool:
        material = self.direct.object(KEY, TEAM, key)["status"]["currentKeyMaterialId"]
        record = decoded(self.direct.record(RecordKind.DATAKEY, TEAM, name))
        shown = self.direct.object(DATA_KEY, TEAM, name)["status"]
        field = "ciphertext" if not record.target.injected else f"kms.keystead.io.{name}.ciphertext"
        blob = base64.b64decode(self.direct.object(SECRET, TEAM, name)["data"][field])
        return shown["keyMaterialId"] == material and blob == record.current_version.blob

    def check(self) -> None:
        """Exactly one new version for each rotation, one for each birth."""
        assert {name: self.pair.versions(name) for name in self.keys} == {name: [1, 2] for name in self.keys}
        assert {name: self.pair.versions(name) for name in self.new} == {name: [1] for name in self.new}


def writes_after(log: AuditLog, process: str, moment: Any) -> list[Request]:
    """What a process sent to records and Secrets from a moment on."""
    return log.requests(process, lambda r: r.changes_secret and r.received > moment)


def test_a_leader_that_was_stopped_at_work_changes_nothing_when_it_goes_on(
    installation: Installation, direct: Direct, log: AuditLog
) -> None:
    """The Lease's real times. The leader is stopped with half of the work begun; the other one does it all."""
    with pair_of(installation, direct, proxied=False, workers="1") as pair:
        work = Work(direct, pair)
        work.prepare()
        before = opened(installation, ours(direct))
        mark = log.requests()[-1].answered
        work.ask(0)
        old, new = pair.leader, pair.standby
        wait_for("the leader is at work", lambda: len(writes_after(log, old.name, mark)) >= 3, every=0.005)
        old.process.signal(signal.SIGSTOP)
        stopped = time.monotonic()
        finished = sum(pair.versions(name) == [1, 2] for name in work.keys)
        assert finished < ROUND  # it was in the middle
        work.ask(1)
        pair.taken_over(harness.DEADLINE)
        work.done()
        wait_for("the time is up", lambda: time.monotonic() - stopped >= STOP_SECONDS, STOP_SECONDS + 1)
        left = versions_of_everything(direct)
        took_over = log.requests(new.name, lambda r: r.changes_secret)[0].received
        old.process.signal(signal.SIGCONT)
        away = time.monotonic() - stopped
        assert old.process.child.wait(20) == FENCED
        late = writes_after(log, old.name, took_over)
        assert [(r.verb, r.what, r.code) for r in late if r.code != 409] == []
        assert versions_of_everything(direct) == left
        assert writes_after(log, new.name, took_over)
        work.check()
        after = opened(installation, ours(direct))
        assert {name: after[name] for name in before} == before
        print(f"\nstopped for {away:.1f} s after {finished} of {ROUND} rotations; {len(late)} late writes, all refused")


def test_late_writes_of_every_kind_are_refused(installation: Installation, direct: Direct, log: AuditLog) -> None:
    """A record's PUT, a Secret's create and an injection: sent by the leader, stopped, and there after the other one's."""
    with pair_of(installation, direct, **SHORT) as pair:
        foreign_secret(direct, "late-foreign", password=b"theirs")
        for name in ("late-rotation", "late-key"):
            pair.create(name)
            pair.ready(name)
        held = {
            lambda r: r.is_record and r.method == "PUT" and decoded(r.body).name == "late-rotation": Gate(),
            lambda r: r.method == "POST" and r.path.endswith(f"/{TEAM}/secrets"): Gate(),
            lambda r: r.method == "PATCH" and r.path.endswith("/secrets/late-foreign"): Gate(),
        }
        for match, gate in held.items():
            pair.leader.proxy.rule(match, hold(gate))
        pair.rotate("late-rotation")
        direct.create(harness.data_key(TEAM, "late-own", "late-key", "late-own"))
        direct.create(harness.data_key(TEAM, "late-foreign", "late-key", "late-foreign"))
        for gate in held.values():
            assert gate.reached.wait(harness.DEADLINE)
        pair.leader.process.signal(signal.SIGSTOP)
        pair.taken_over(harness.DEADLINE)
        pair.rotated("late-rotation")
        for name in ("late-own", "late-foreign"):
            pair.ready(name, DATA_KEY)
        left = versions_of_everything(direct)
        for gate in held.values():
            gate.go.set()
        took_over = log.requests(pair.standby.name, lambda r: r.changes_secret)[0].received
        wait_for("the late writes", lambda: len(writes_after(log, pair.leader.name, took_over)) == len(held))
        pair.leader.process.signal(signal.SIGCONT)
        assert pair.leader.process.child.wait(20) == FENCED
        late = writes_after(log, pair.leader.name, took_over)
        assert sorted((r.verb, r.code) for r in late) == [("create", 409), ("patch", 409), ("update", 409)]
        assert versions_of_everything(direct) == left
        assert pair.versions("late-rotation") == [1, 2]


def test_a_due_rotation_happens_once_by_two_operators_whose_clocks_step(
    installation: Installation, direct: Direct, log: AuditLog
) -> None:
    """The leader's clock steps a year ahead and two hours back; then the other one leads, whose clock is late."""
    with pair_of(installation, direct, **SHORT) as pair:
        one, two = pair.leader, pair.standby
        direct.create(harness.key(TEAM, "clocked", rotation={"enabled": True, "periodInDays": 365}))
        direct.create(harness.data_key(TEAM, "clocked", "clocked", "clocked"))
        pair.ready("clocked", DATA_KEY)
        young = direct.record(RecordKind.DATAKEY, TEAM, "clocked")  # its blob is of the first material
        for seconds, expected in ((364 * DAY, [1]), (370 * DAY, [1, 2]), (370 * DAY - 2 * HOUR, [1, 2]), (0, [1, 2]), (370 * DAY, [1, 2])):
            one.proxy.shift_date(seconds)
            assert looked(pair, "clocked") == expected, seconds
        two.proxy.shift_date(370 * DAY - 2 * HOUR)
        one.process.signal(signal.SIGTERM)
        pair.taken_over(harness.DEADLINE)
        for seconds, expected in ((370 * DAY - 2 * HOUR, [1, 2]), (734 * DAY, [1, 2]), (736 * DAY, [1, 2, 3]), (0, [1, 2, 3])):
            two.proxy.shift_date(seconds)
            assert looked(pair, "clocked") == expected, seconds
        record = direct.record(RecordKind.KEY, TEAM, "clocked")
        name = record["metadata"]["name"]
        updates = log.requests(None, lambda r: r.is_record and r.verb == "update" and r.name == name)
        assert [(r.process, r.code) for r in updates] == [(one.name, 200), (two.name, 200)]
        assert opened(installation, [young, record])[young["metadata"]["name"]]  # and opens under the key as it is now


def looked(pair: Pair, name: str) -> list[int]:
    """The versions of a key after a pass that began from now on."""
    value = f"look-{time.monotonic_ns()}"
    pair.direct.annotate(KEY, TEAM, name, names.RECONCILE_REQUESTED_AT, value)
    status = lambda: pair.direct.object(KEY, TEAM, name)["status"]  # noqa: E731
    wait_for("the pass", lambda: status().get("lastHandledReconcileAt") == value)
    return pair.versions(name)


def test_leader_and_standby_are_alive_and_ready_and_say_who_leads(installation: Installation, direct: Direct) -> None:
    with pair_of(installation, direct, proxied=False, **SHORT) as pair:
        for replica in (pair.leader, pair.standby):
            assert [replica.process.get(f"/{page}") for page in ("healthz", "readyz")] == [(200, "ok\n")] * 2
        replicas = (pair.leader, pair.standby)
        assert [replica.metric("keystead_leader") for replica in replicas] == [1, 0]
        assert all(replica.metric("keystead_lease_age_seconds") < float(SHORT["lease_duration"]) for replica in replicas)
        pair.leader.process.signal(signal.SIGTERM)
        pair.taken_over(harness.DEADLINE)
        assert pair.standby.metric("keystead_leader") == 1
        assert pair.standby.process.get("/readyz")[0] == 200
