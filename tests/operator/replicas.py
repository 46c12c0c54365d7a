"""Two replicas of the operator under one Lease: a leader, and a standby that is ready. Each behind a proxy of its own, or behind none.

A replica's name is the identity in its Lease and in the API server's audit log (auditlog.py).
"""

from __future__ import annotations

import contextlib
import itertools
import time
from collections.abc import Iterator
from dataclasses import dataclass

from tests.operator import harness
from tests.operator.chaos import ChaosProxy
from tests.operator.crash import LEASE, label
from tests.operator.direct import Direct, decoded
from tests.operator.harness import Installation, OperatorProcess, condition, wait_for

from keystead.engine.identifiers import RecordKind
from keystead.resources import names

SHORT = {"lease_duration": "2", "renew_deadline": "1.2", "retry_period": "0.3"}
FENCED = 3
_number = itertools.count(1)


@dataclass
class Replica:
    """One operator. Its proxy sees what it writes apart from what the other one writes."""

    name: str
    proxy: ChaosProxy
    process: OperatorProcess

    def leads(self) -> bool:
        """Whether it ever got the Lease."""
        return "leading as" in self.process.text

    def records(self) -> list[str]:
        """Writes of records that it sent since the proxy was cleared."""
        return [label(w) for w in self.proxy.writes(lambda w: "/keystead-records/" in w.path)]

    def metric(self, name: str) -> float:
        """A sample of /metrics, by its name and labels as they are printed there."""
        lines = [line for line in self.process.get("/metrics")[1].splitlines() if line.startswith(f"{name} ")]
        assert len(lines) == 1, f"{name} is not in /metrics of {self.name}"
        return float(lines[0].split()[-1])


@dataclass
class Pair:
    """A leader and a standby that is ready, and what tests ask of them in one namespace."""

    leader: Replica
    standby: Replica
    direct: Direct
    namespace: str

    def create(self, name: str) -> None:
        """A new KmsKey."""
        self.direct.create(harness.key(self.namespace, name))

    def rotate(self, name: str) -> None:
        """Ask for one rotation."""
        self.direct.annotate("KmsKey", self.namespace, name, names.ROTATE_REQUESTED_AT, name)

    def ready(self, name: str, kind: str = "KmsKey") -> None:
        """Wait until an object is Ready."""

        def check() -> bool:
            found = condition(self.direct.object(kind, self.namespace, name))
            return found is not None and found["reason"] == "Available"

        wait_for(f"{kind} {self.namespace}/{name} is Ready", check)

    def rotated(self, name: str) -> None:
        """Wait until the request is answered."""
        status = lambda: self.direct.object("KmsKey", self.namespace, name)["status"]  # noqa: E731
        wait_for("the rotation is answered", lambda: status().get("lastHandledRotateAt") == name)

    def versions(self, name: str) -> list[int]:
        """The version numbers in the record."""
        return [v.n for v in decoded(self.direct.record(RecordKind.KEY, self.namespace, name)).versions]

    def taken_over(self, seconds: float) -> float:
        """Wait until the standby leads; the seconds that it took from now."""
        began = time.monotonic()
        self.standby.process.wait("the standby leads", self.standby.leads, seconds)
        return time.monotonic() - began


def released(direct: Direct) -> None:
    """Nobody holds the Lease that a test before left behind: the next operator need not wait for its end."""
    if direct.get(LEASE) is not None:
        direct.merge(LEASE, {"spec": {"holderIdentity": ""}})


@contextlib.contextmanager
def running(
    installation: Installation, direct: Direct, namespace: str, *, proxied: bool = True, **settings: str
) -> Iterator[Pair]:
    """Both, under names that nobody had before. They start together; who leads is the leader."""
    with contextlib.ExitStack() as stack:
        replicas = []
        released(direct)
        number = next(_number)
        for role in ("a", "b"):
            name = f"replica-{number}{role}"
            proxy = stack.enter_context(ChaosProxy(installation.cluster))
            server = proxy.url if proxied else None
            process = stack.enter_context(installation.operator(name, server, **settings))
            replicas.append(Replica(name, proxy, process))
        for replica in replicas:
            replica.process.wait_ready()
        leader = wait_for("one of two leads", lambda: next((replica for replica in replicas if replica.leads()), None))
        (standby,) = (replica for replica in replicas if replica is not leader)
        direct.wait_own_key()
        for replica in replicas:
            replica.proxy.clear()
        yield Pair(leader, standby, direct, namespace)
