"""New objects never wait behind refreshes: with a queue of refreshes that never empties, a new key is next.

No clock is read: what counts is how many refreshes were begun (the audit log's GETs of other keys) while the new object was on its way.
The proxy makes each pass slow enough that the refreshes of a few keys cannot be done within their period.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.operator.auditlog import AuditLog
from tests.operator.chaos import delay
from tests.operator.desk import DATA_KEY, KEY, Desk, desk
from tests.operator.harness import Installation

pytestmark = [pytest.mark.cluster, pytest.mark.powers("audit")]
OLD = 80
SETTINGS = {"refresh_period": "1", "workers": "2", "watch_namespaces": "replicas"}
SLOW = 0.05  # seconds a pass: 2 workers do 40 passes a second, of 80 that are due


@pytest.fixture(scope="module")
def at(installation: Installation) -> Iterator[Desk]:
    """An operator that is never done."""
    with desk(installation, "replicas", **SETTINGS) as made:
        for n in range(OLD):
            made.key(f"old-{n}")
        for n in range(OLD):
            made.ready(KEY, f"old-{n}")
        made.proxy.rule(lambda r: r.method == "GET" and not r.watch and "/kmskeys/old-" in r.path, delay(SLOW), times=None)
        yield made
        made.proxy.clear()


def waiting(at: Desk) -> int:
    """Refreshes that wait for a worker, once there are many."""

    def depth() -> int | None:
        lines = at.operator.get("/metrics")[1].splitlines()
        line = next(line for line in lines if line.startswith('keystead_queue_depth{class="refresh"}'))
        found = int(float(line.split()[-1]))
        return found if found >= OLD // 4 else None

    return at.until("a queue of refreshes", depth)


def begun(log: AuditLog, key: str, shown: str, name: str) -> int:
    """Passes over old keys that began between the creation of a key and the last status of an object (`shown`: its resource)."""
    requests = log.requests()
    created = next(r.answered for r in requests if (r.resource, r.name, r.process) == ("kmskeys", key, "") and r.is_write)
    ends = [r.received for r in requests if (r.resource, r.name, r.verb) == (f"{shown}/status", name, "patch")]
    old = [r.received for r in requests if r.resource == "kmskeys" and r.verb == "get" and r.process and r.name.startswith("old-")]
    return sum(created < moment < ends[-1] for moment in old)


def test_a_new_key_overtakes_the_refreshes_that_wait(at: Desk, installation: Installation) -> None:
    """In order of arrival it would be 1 or more of the queue; two workers end what they have in hand."""
    overtaken = []
    for n in range(5):
        depth, log = waiting(at), AuditLog(installation.cluster)
        at.key(f"new-{n}")
        at.ready(KEY, f"new-{n}")
        overtaken.append(begun(log, f"new-{n}", "kmskeys", f"new-{n}") / depth)
    assert max(overtaken) < 0.5, overtaken


def test_a_data_key_that_waited_for_its_new_key_overtakes_them_too(at: Desk, installation: Installation) -> None:
    """As in `kubectl apply` of both, the data key first."""
    at.data_key("early", "late")
    at.reason(DATA_KEY, "early", "DependencyNotFound")
    depth, log = waiting(at), AuditLog(installation.cluster)
    at.key("late")
    at.ready(DATA_KEY, "early")
    assert begun(log, "late", "kmsdatakeys", "early") < depth / 2
