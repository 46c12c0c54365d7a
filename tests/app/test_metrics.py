"""The operator's metrics: exactly those of the table; a key's series follow its object and vanish with it; calls are counted."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, get_args

import pytest
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families
from tests.hsm.fake import FakeHsm
from tests.hsm.work import new_material

from keystead import errors
from keystead.app.counting import RESULTS, SLOW, CountedFastLane, counted
from keystead.app.metrics import Metrics
from keystead.engine.algorithms import MacAlgorithm
from keystead.engine.ports import SlowCall
from keystead.reconciler.ports import Kind, ObjectRef
from keystead.reconciler.queue import Class, WorkQueue
from keystead.resources.metrics import AUDIT, METRICS, OPERATOR, Metric, MetricType
from keystead.resources.vocabulary import KeySpec

# The others are the audit trail's: tests/audit/test_trail.py.
OWN = OPERATOR - AUDIT
READY = [{"type": "Ready", "status": "True"}]
LATER = "2031-05-06T07:08:09Z"
LATER_UNIX = datetime(2031, 5, 6, 7, 8, 9, tzinfo=UTC).timestamp()


@dataclass
class Lease:
    """What the metrics ask of a Lease."""

    leading: bool = True
    age: float = 1.5


@dataclass
class Scene:
    """The metrics, and what they read."""

    queue: WorkQueue = field(default_factory=WorkQueue)
    lease: Lease = field(default_factory=Lease)
    orphans: int = 0
    sessions: int = 0
    windows: list[tuple[ObjectRef, datetime]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.metrics = Metrics(
            self.queue, lambda: self.orphans, self.lease, lambda: self.sessions, lambda: iter(self.windows)
        )

    def page(self) -> str:
        return generate_latest(self.metrics.registry).decode()

    def values(self, metric: str) -> dict[tuple[str, ...], float]:
        """Label values in the table's order -> value of the samples of this name."""
        labels = METRICS[Metric(metric.removesuffix("_sum"))].labels
        families = text_string_to_metric_families(self.page())
        samples = (sample for family in families for sample in family.samples if sample.name == metric)
        return {tuple(sample.labels[label] for label in labels): sample.value for sample in samples}

    def see(self, name: str, event: str | None = "MODIFIED", kind: Kind = Kind.KEY, **status: Any) -> None:
        self.metrics.seen(kind, event, {"metadata": {"namespace": "team-a", "name": name}, "status": status})


@pytest.fixture
def scene() -> Scene:
    return Scene()


def used(scene: Scene) -> Scene:
    """Every metric has a sample."""
    scene.see("k", conditions=READY, nextRotationTime=LATER)
    scene.see("dying", keyState="PendingDeletion", deletionTime=LATER)
    scene.metrics.reconciled(Kind.KEY, 0.1, "ok")
    scene.metrics.called("derive", "ok")
    scene.metrics.crd_state(Kind.KEY, present=True)
    return scene


def test_the_page_has_the_metrics_of_the_table_with_type_and_labels(scene: Scene) -> None:
    found = {}
    for family in text_string_to_metric_families(used(scene).page()):
        assert family.samples, family.name
        name = f"{family.name}_total" if family.type == "counter" else family.name
        labels = {label for sample in family.samples for label in sample.labels} - {"le"}
        found[name] = (family.type, labels, family.documentation)
    assert found == {name.value: (row.type.value, set(row.labels), row.meaning) for name, row in METRICS.items() if name in OWN}


def test_no_metric_has_series_that_its_row_does_not_declare(scene: Scene) -> None:
    suffixes = {MetricType.HISTOGRAM: ("_bucket", "_count", "_sum")}
    declared = {f"{name}{suffix}" for name, row in METRICS.items() if name in OWN for suffix in suffixes.get(row.type, ("",))}
    assert {line.split("{")[0].split(" ")[0] for line in used(scene).page().splitlines() if line[0] != "#"} == declared


def test_a_key_is_ready_while_its_condition_says_so(scene: Scene) -> None:
    scene.see("k", "ADDED")
    assert scene.values(Metric.KEY_READY) == {("team-a", "k"): 0}
    scene.see("k", conditions=READY)
    assert scene.values(Metric.KEY_READY) == {("team-a", "k"): 1}
    scene.see("k", conditions=[{"type": "Ready", "status": "Unknown"}])
    assert scene.values(Metric.KEY_READY) == {("team-a", "k"): 0}


def test_the_next_rotation_is_shown_where_one_is_due(scene: Scene) -> None:
    scene.see("k", nextRotationTime=LATER)
    assert scene.values(Metric.KEY_NEXT_ROTATION) == {("team-a", "k"): LATER_UNIX}
    scene.see("k", conditions=READY)
    assert scene.values(Metric.KEY_NEXT_ROTATION) == {}


@pytest.mark.parametrize(("state", "shown"), [("PendingDeletion", True), ("Disabled", False), ("Destroyed", False)])
def test_the_end_of_a_window_is_shown_while_it_runs(scene: Scene, state: str, shown: bool) -> None:
    scene.see("k", keyState=state, deletionTime=LATER)
    assert scene.values(Metric.KEY_DELETION) == ({("team-a", "k"): LATER_UNIX} if shown else {})


def test_series_vanish_with_the_object(scene: Scene) -> None:
    for name in ("k", "other"):
        scene.see(name, None, conditions=READY, nextRotationTime=LATER, keyState="PendingDeletion", deletionTime=LATER)
    scene.see("k", "DELETED")
    for metric in (Metric.KEY_READY, Metric.KEY_NEXT_ROTATION, Metric.KEY_DELETION):
        assert set(scene.values(metric)) == {("team-a", "other")}


def test_series_vanish_where_the_record_says_that_the_object_is_gone(scene: Scene) -> None:
    scene.see("k", conditions=READY)
    scene.metrics.forget(ObjectRef(Kind.KEY, "team-a", "k"))
    scene.metrics.forget(ObjectRef(Kind.KEY, "team-a", "never-seen"))
    assert scene.values(Metric.KEY_READY) == {}


def test_the_window_of_a_key_without_an_object_is_shown_as_long_as_its_record_has_it(scene: Scene) -> None:
    scene.windows.append((ObjectRef(Kind.KEY, "team-a", "gone"), datetime.fromtimestamp(LATER_UNIX, UTC)))
    assert scene.values(Metric.KEY_DELETION) == {("team-a", "gone"): LATER_UNIX}
    assert scene.values(Metric.KEY_READY) == {}
    scene.windows.clear()
    assert scene.values(Metric.KEY_DELETION) == {}


def test_other_kinds_have_no_series_of_a_key(scene: Scene) -> None:
    for kind in set(Kind) - {Kind.KEY}:
        scene.see("x", kind=kind, conditions=READY, nextRotationTime=LATER)
    assert scene.values(Metric.KEY_READY) == scene.values(Metric.KEY_NEXT_ROTATION) == {}


@pytest.mark.parametrize("text", ["soon", "", 7, "9999-99-99T00:00:00Z", "0001-01-01T00:00:00"])
def test_a_time_that_cannot_be_read_does_not_break_the_page(scene: Scene, text: object) -> None:
    scene.see("k", conditions=READY, nextRotationTime=text)
    scene.see("well", nextRotationTime=LATER)
    assert scene.values(Metric.KEY_NEXT_ROTATION) == {("team-a", "well"): LATER_UNIX}
    assert scene.values(Metric.KEY_READY)[("team-a", "k")] == 1


def test_no_member_of_a_status_but_times_and_readiness_reaches_the_page(scene: Scene) -> None:
    scene.see("k", keyId="canary-id", keyArn="canary-arn", publicKey="canary-key", conditions=[*READY, {"message": "canary"}])
    assert "canary" not in scene.page()


async def test_the_queue_is_shown_by_class(scene: Scene) -> None:
    for number in range(3):
        scene.queue.add(ObjectRef(Kind.KEY, "team-a", f"new-{number}"), Class.NEW)
    scene.queue.add(ObjectRef(Kind.KEY, "team-a", "old"), Class.REFRESH)
    assert scene.values(Metric.QUEUE_DEPTH) == {("new",): 3, ("refresh",): 1}
    await scene.queue.get()
    assert scene.values(Metric.QUEUE_DEPTH) == {("new",): 2, ("refresh",): 1}


def test_gauges_are_read_when_they_are_asked(scene: Scene) -> None:
    scene.orphans, scene.sessions, scene.lease.age, scene.lease.leading = 4, 3, 31.0, False
    found = [scene.values(name)[()] for name in (Metric.RECORDS_ORPHANED, Metric.HSM_SESSIONS, Metric.LEASE_AGE, Metric.LEADER)]
    assert found == [4, 3, 31, 0]


def test_an_absent_crd_is_told_until_it_is_back(scene: Scene) -> None:
    assert scene.values(Metric.CRD_ABSENT) == {}
    scene.metrics.crd_state(Kind.KEY, present=False)
    scene.metrics.crd_state(Kind.GRANT, present=True)
    assert scene.values(Metric.CRD_ABSENT) == {("KmsKey",): 1, ("KmsGrant",): 0}
    scene.metrics.crd_state(Kind.KEY, present=True)
    assert scene.values(Metric.CRD_ABSENT)[("KmsKey",)] == 0


def test_reconciles_are_timed_by_kind_and_result(scene: Scene) -> None:
    scene.metrics.reconciled(Kind.ALIAS, 0.25, "ok")
    scene.metrics.reconciled(Kind.ALIAS, 0.5, "obstacle")
    assert scene.values(f"{Metric.RECONCILE_DURATION}_sum") == {("KmsAlias", "ok"): 0.25, ("KmsAlias", "obstacle"): 0.5}


def test_fast_calls_are_counted_and_answer_as_before(scene: Scene) -> None:
    hsm = FakeHsm()
    lane = CountedFastLane(hsm, scene.metrics.called)
    key, mac_key = new_material(hsm), new_material(hsm, KeySpec.HMAC_256)
    assert lane.derive(key, b"m") == hsm.derive(key, b"m")
    mac = lane.generate_mac(mac_key, MacAlgorithm.HMAC_SHA_256, b"m")
    assert lane.verify_mac(mac_key, MacAlgorithm.HMAC_SHA_256, b"m", mac)
    assert not lane.verify_mac(mac_key, MacAlgorithm.HMAC_SHA_256, b"n", mac)
    assert scene.values(Metric.ENGINE_REQUESTS) == {
        ("derive", "ok"): 1,
        ("generate_mac", "ok"): 1,
        ("verify_mac", "ok"): 2,  # a wrong MAC is an answer, not a failure
    }


def test_a_token_that_is_away_is_counted_as_unavailable(scene: Scene) -> None:
    hsm = FakeHsm()
    lane, key = CountedFastLane(hsm, scene.metrics.called), new_material(hsm)
    hsm.down = True
    with pytest.raises(errors.HsmUnavailableError):
        lane.derive(key, b"m")
    assert scene.values(Metric.ENGINE_REQUESTS) == {("derive", "unavailable"): 1}


def tree(kind: type[Exception]) -> Iterable[type[Exception]]:
    for below in kind.__subclasses__():
        yield below
        yield from tree(below)


@pytest.mark.parametrize("kind", sorted({*tree(errors.HsmError), errors.ThrottlingError}, key=lambda kind: kind.__name__))
def test_every_error_of_the_token_has_a_result_of_its_own(scene: Scene, kind: type[Exception]) -> None:
    def work() -> None:
        with counted(scene.metrics.called, "generate"):
            raise kind("no")

    with pytest.raises(kind):
        work()
    [(_, result)] = scene.values(Metric.ENGINE_REQUESTS)
    assert result == dict(RESULTS)[kind] != "error"


def test_every_slow_call_and_result_is_named_in_the_table() -> None:
    assert set(SLOW) == set(get_args(SlowCall))
    words = METRICS[Metric.ENGINE_REQUESTS].meaning
    named = {*SLOW.values(), "derive", "generate_mac", "verify_mac", "ok", *(word for _, word in RESULTS)}
    assert [name for name in named if name not in words] == []
