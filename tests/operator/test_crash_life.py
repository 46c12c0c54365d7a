"""A fault at the writes of aliases, grants and the life of a key changes nothing about the outcome (crash_life.py has the flows)."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from tests.operator import fastclock
from tests.operator.chaos import ChaosProxy
from tests.operator.crash import Stage
from tests.operator.crash_life import ADOPTION, FLOWS, TEAM, Flow, fill, label
from tests.operator.direct import Direct
from tests.operator.harness import Installation
from tests.operator.test_crash import FAULTS

pytestmark = [pytest.mark.cluster, pytest.mark.powers("disposable")]
FULL = os.environ.get("CRASH_MATRIX") == "full"
# What a fault must not do twice or half: the writes of records, and of the object itself.
NOTED = ("event", "status")


def cases() -> list[tuple[Flow, int, str]]:
    """By default a kill at each write of a record or an object, and a lost reply and a conflict where there are several of them.
    CRASH_MATRIX=full: every fault at every write."""
    found = []
    for flow in FLOWS:
        writes = [n for n, what in enumerate(flow.writes) if FULL or what not in NOTED]
        faults = tuple(FAULTS) if FULL else ("kill_after", "drop_reply", "conflict") if len(writes) > 1 else ("kill_after",)
        found += [(flow, n, fault) for n in writes for fault in faults]
    return found


CASES = [pytest.param(*case, id=f"{case[0].name}-{case[1]}-{case[0].writes[case[1]]}-{case[2]}") for case in cases()]


@pytest.fixture(scope="module")
def stage(installation: Installation) -> Iterator[Stage]:
    """One operator with a fast clock for windows, which looks at its two namespaces each second."""
    settings = {"watch_namespaces": f"{TEAM},{ADOPTION}", "refresh_period": "1"}
    stock = [flow.stock for flow in [*FLOWS, *(flow for flow, _, _ in cases())]]
    with ChaosProxy(installation.cluster) as proxy:
        made = Stage(installation, proxy, Direct(installation.cluster), settings, fastclock.PROGRAM)
        fill(made, stock.count("destroyed"), stock.count("earlier"))
        yield made
        made.close()


@pytest.mark.parametrize("flow", FLOWS, ids=lambda flow: flow.name)
def test_undisturbed_flow_takes_exactly_these_writes(stage: Stage, flow: Flow) -> None:
    subject = flow.run(stage)
    writes = stage.proxy.writes(lambda write: subject.concerns(write.method, write.path, write.body))
    assert tuple(label(write) for write in writes) == flow.writes
    flow.check(stage, subject)


@pytest.mark.parametrize(("flow", "index", "fault"), CASES)
def test_fault_at_a_write_changes_nothing_about_the_outcome(stage: Stage, flow: Flow, index: int, fault: str) -> None:
    subject = flow.run(stage, FAULTS[fault](stage), index)
    flow.check(stage, subject)
