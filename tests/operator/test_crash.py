"""A fault at any write of create, rotate and inject: the same key id and exactly one version (RELIABILITY 6)."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest
from tests.operator.chaos import ChaosProxy, answer, drop_reply, kill_after, kill_before
from tests.operator.crash import FLOWS, KEY, TEAM, Flow, Stage, check, is_of_the_key, label
from tests.operator.direct import Direct, decoded
from tests.operator.harness import Installation, wait_for
from tests.operator.opener import opened

from keystead.resources import names

pytestmark = [pytest.mark.cluster, pytest.mark.powers("disposable")]

FAULTS = {
    "kill_after": lambda stage: kill_after(lambda: stage.operator),
    "drop_reply": lambda stage: drop_reply(),
    "kill_before": lambda stage: kill_before(lambda: stage.operator),
    "conflict": lambda stage: answer(409),
    "error_after_commit": lambda stage: answer(500, after_commit=True),
}
EVERYWHERE = ("kill_after", "drop_reply")


@pytest.fixture(scope="module")
def stage(installation: Installation) -> Iterator[Stage]:
    """One operator behind a proxy for the whole matrix, replaced where a fault killed it."""
    with ChaosProxy(installation.cluster) as proxy:
        made = Stage(installation, proxy, Direct(installation.cluster))
        yield made
        made.close()


def cases() -> list[object]:
    """Every write with the two faults that commit, the writes of records with all; CRASH_MATRIX=full: all with all."""
    full = os.environ.get("CRASH_MATRIX") == "full"
    return [
        pytest.param(flow, index, fault, id=f"{flow.name}-{index}-{what}-{fault}")
        for flow in FLOWS
        for index, what in enumerate(flow.writes)
        for fault in FAULTS
        if full or fault in EVERYWHERE or what in ("account", "key", "datakey")
    ]


@pytest.mark.parametrize("flow", FLOWS, ids=lambda flow: flow.name)
def test_undisturbed_flow_takes_exactly_these_writes(stage: Stage, flow: Flow) -> None:
    subject, _ = flow.run(stage)
    assert tuple(label(write) for write in stage.proxy.writes() if not is_of_the_key(write.path)) == flow.writes
    check(stage, subject)


@pytest.mark.parametrize(("flow", "index", "fault"), cases())
def test_fault_at_a_write_changes_nothing_about_the_outcome(stage: Stage, flow: Flow, index: int, fault: str) -> None:
    subject, _ = flow.run(stage, FAULTS[fault](stage), index)
    check(stage, subject)


def test_everything_issued_before_a_crash_still_opens_to_the_same_bytes(stage: Stage) -> None:
    """Runs last: all that the matrix left, before and after a rotation of its key that is killed in the middle."""
    before = opened(stage.installation, stage.direct.records())
    assert before
    value = stage.operator.log.name
    stage.proxy.clear()
    kill = stage.proxy.rule(lambda r: r.is_record, kill_after(lambda: stage.operator), after=1 + len(before) // 2)
    stage.direct.annotate("KmsKey", TEAM, KEY, names.ROTATE_REQUESTED_AT, value)
    wait_for("the re-wrap is under way", lambda: kill.spent)
    stage.replace()
    status = stage.answered("KmsKey", TEAM, KEY, "lastHandledRotateAt", value)["status"]
    key_id, material = status["keyId"], status["currentKeyMaterialId"]

    def stale() -> list[Any]:
        records = [decoded(s) for s in stage.direct.records() if s["metadata"]["name"].startswith("datakey-")]
        return [v for r in records if r.key_id == key_id for v in r.versions if v.key_material_id != material]

    stage.until("all data keys are re-wrapped", lambda: not stale())
    assert opened(stage.installation, stage.direct.records()) == before
