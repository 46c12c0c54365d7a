"""Two operators and one Lease: who leads, how fast the other one takes over, and that never two of them write."""

from __future__ import annotations

import signal

import pytest
from tests.operator import harness
from tests.operator.chaos import ChaosProxy, Gate, answer, drop_reply, hold, kill_after
from tests.operator.crash import LEASE, label
from tests.operator.direct import Direct
from tests.operator.harness import Installation, wait_for
from tests.operator.replicas import FENCED, SHORT, released, running

pytestmark = [pytest.mark.cluster, pytest.mark.powers("disposable")]

TEAM = "team-b"


@pytest.fixture(scope="module")
def direct(installation: Installation) -> Direct:
    return Direct(installation.cluster)


def test_new_key_takes_three_writes_and_the_first_of_a_namespace_one_more(
    installation: Installation, direct: Direct
) -> None:
    with running(installation, direct, TEAM) as pair:
        pair.create("first")
        pair.ready("first")
        assert [label(w) for w in pair.leader.proxy.writes()] == ["account", "key", "event", "status"]
        pair.leader.proxy.clear()
        pair.create("second")
        pair.ready("second")
        assert [label(w) for w in pair.leader.proxy.writes()] == ["key", "event", "status"]
        assert pair.standby.proxy.writes() == []


def test_standby_leads_within_twenty_seconds_after_kill_9(installation: Installation, direct: Direct) -> None:
    with running(installation, direct, TEAM) as pair:
        pair.leader.process.kill()
        pair.create("after-kill")
        assert pair.taken_over(20) < 20
        pair.ready("after-kill")


def test_standby_leads_within_five_seconds_after_sigterm(installation: Installation, direct: Direct) -> None:
    with running(installation, direct, TEAM) as pair:
        pair.create("after-term")
        pair.leader.process.signal(signal.SIGTERM)
        assert pair.taken_over(5) < 5
        assert pair.leader.process.child.wait(10) == 0
        pair.ready("after-term")
        assert pair.versions("after-term") == [1]


def test_stopped_leader_writes_nothing_when_it_wakes_up_and_ends(installation: Installation, direct: Direct) -> None:
    with running(installation, direct, TEAM, **SHORT) as pair:
        pair.leader.process.signal(signal.SIGSTOP)
        pair.create("while-stopped")
        pair.taken_over(harness.DEADLINE)
        pair.ready("while-stopped")
        pair.leader.proxy.clear()
        pair.leader.process.signal(signal.SIGCONT)
        assert pair.leader.process.child.wait(20) == FENCED
        assert pair.leader.proxy.writes() == []


def test_write_of_a_stopped_leader_that_arrives_late_is_refused(installation: Installation, direct: Direct) -> None:
    """The leader is stopped with a rotation under way; the other one rotates; then the old write arrives."""
    with running(installation, direct, TEAM, **SHORT) as pair:
        pair.create("late")
        pair.ready("late")
        gate = Gate()
        pair.leader.proxy.clear()
        pair.leader.proxy.rule(lambda r: r.is_record, hold(gate))
        pair.rotate("late")
        assert gate.reached.wait(harness.DEADLINE)
        pair.leader.process.signal(signal.SIGSTOP)
        pair.taken_over(harness.DEADLINE)
        pair.rotated("late")
        gate.go.set()
        wait_for("the late write is answered", lambda: pair.leader.proxy.writes()[0].status == 409)
        pair.leader.process.signal(signal.SIGCONT)
        assert pair.leader.process.child.wait(20) == FENCED
        assert pair.leader.records() == ["key"]
        assert pair.versions("late") == [1, 2]


def test_one_request_rotates_once_while_both_are_alive(installation: Installation, direct: Direct) -> None:
    with running(installation, direct, TEAM) as pair:
        pair.create("both")
        pair.ready("both")
        pair.rotate("both")
        pair.rotated("both")
        assert pair.versions("both") == [1, 2]
        assert pair.standby.proxy.writes() == []


def test_rotation_that_a_dying_leader_recorded_is_not_done_again(installation: Installation, direct: Direct) -> None:
    with running(installation, direct, TEAM, **SHORT) as pair:
        pair.create("handed-over")
        pair.ready("handed-over")
        pair.leader.proxy.rule(lambda r: r.is_record, kill_after(lambda: pair.leader.process))
        pair.rotate("handed-over")
        pair.taken_over(harness.DEADLINE)
        pair.rotated("handed-over")
        assert pair.versions("handed-over") == [1, 2]
        assert pair.standby.records() == []


@pytest.mark.parametrize("fault", [drop_reply(), answer(409), answer(500, after_commit=True)])
def test_lost_answer_to_a_renewal_does_not_cost_the_lead(
    installation: Installation, direct: Direct, fault: object
) -> None:
    """The next renewal finds its own write in the Lease and goes on under the same transition."""
    with ChaosProxy(installation.cluster) as proxy, installation.operator("renewing", proxy.url) as operator:
        released(direct)
        operator.wait_leading()
        before = direct.get(LEASE)["spec"]["leaseTransitions"]
        rule = proxy.rule(lambda r: r.is_lease and r.write, fault)
        operator.wait("the fault", lambda: rule.spent)
        faulty = len(proxy.log)

        def renewed() -> bool:
            return sum(w.told == 200 for w in proxy.log[faulty:] if "/leases/" in w.path) >= 2

        operator.wait("two renewals after it", renewed)
        assert direct.get(LEASE)["spec"]["leaseTransitions"] == before


def test_leader_that_cannot_renew_ends_before_anyone_may_take_over(installation: Installation, direct: Direct) -> None:
    # Between its last write and the end of the Lease is all the time in which the process itself must end, on a loaded machine, too.
    with running(installation, direct, TEAM, **SHORT | {"lease_duration": "6"}) as pair:
        pair.leader.proxy.rule(lambda r: r.is_lease, answer(500), times=None)
        assert pair.leader.process.child.wait(20) == FENCED
        assert not pair.standby.leads()
        pair.taken_over(harness.DEADLINE)
