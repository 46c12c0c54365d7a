"""Slow lanes hold a login: none outlives an operator that was killed."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.operator.harness import Installation, key, wait_for, wait_reason

pytestmark = pytest.mark.cluster


def children(pid: int) -> set[int]:
    """The processes that this one started, as the kernel knows them."""
    found = set()
    for task in Path(f"/proc/{pid}/task").iterdir():
        found |= {int(text) for text in (task / "children").read_text().split()}
    return found


def test_lanes_end_with_an_operator_that_is_killed(installation: Installation) -> None:
    with installation.operator("with-lanes") as operator:
        operator.wait_leading()
        installation.cluster.apply(key("team-a", "slow", keySpec="RSA_2048", keyUsage="SIGN_VERIFY"))
        wait_reason(installation.cluster, "kmskey", "team-a", "slow", "Available")
        lanes = children(operator.child.pid)
        assert lanes
        assert "memory: no core" in operator.text
        operator.kill()
        wait_for("the lanes gone", lambda: not any(Path(f"/proc/{lane}").exists() for lane in lanes), seconds=20)
