"""A fault at any write of create, rotate and inject: the same key id and exactly one version (RELIABILITY 6)."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from tests.operator.chaos import ChaosProxy, answer, drop_reply, kill_after, kill_before
from tests.operator.crash import FLOWS, Flow, Stage, check, label
from tests.operator.direct import Direct
from tests.operator.harness import Installation

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
    assert tuple(label(write) for write in stage.proxy.writes()) == flow.writes
    check(stage, subject)


@pytest.mark.parametrize(("flow", "index", "fault"), cases())
def test_fault_at_a_write_changes_nothing_about_the_outcome(stage: Stage, flow: Flow, index: int, fault: str) -> None:
    subject, _ = flow.run(stage, FAULTS[fault](stage), index)
    check(stage, subject)
