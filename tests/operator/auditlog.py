"""The API server's audit log as evidence: which operator process asked for what, in which order, and what it was told.

The rig records metadata of every request (tests/cluster/flags.py): who, verb, object, code, times; never a body. Processes share one
ServiceAccount and are told apart by their User-Agent, which carries the identity that the Lease has (store/kube.py). Use:

    log = AuditLog(cluster)               # from now on; what was before is not read
    ...
    assert [r.code for r in log.requests("ha-one") if r.changes_secret] == [409]
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from tests.cluster.cluster import Cluster
from tests.operator.harness import RECORDS

WRITES = frozenset({"create", "update", "patch", "delete", "deletecollection"})
_AGENT = re.compile(r"keystead-operator/\S+ \(([^)]*)\)\Z")


@dataclass(frozen=True, slots=True)
class Request:
    """One answered request. `process`: the operator's identity, empty for everybody else. A watch counts when it is opened."""

    process: str
    user: str
    verb: str
    resource: str
    namespace: str
    name: str
    resource_version: str
    code: int
    allowed: bool
    received: datetime
    answered: datetime

    @property
    def is_write(self) -> bool:
        """It asks to change something."""
        return self.verb in WRITES

    @property
    def is_secret(self) -> bool:
        """A record, or a data key's Secret."""
        return self.resource == "secrets"

    @property
    def is_record(self) -> bool:
        """A sealed record."""
        return self.is_secret and self.namespace == RECORDS

    @property
    def changes_secret(self) -> bool:
        """A write to a record or Secret, done or refused."""
        return self.is_secret and self.is_write

    @property
    def done(self) -> bool:
        """The API server did it."""
        return 200 <= self.code < 300

    @property
    def what(self) -> str:
        """For messages, and to compare objects."""
        return f"{self.namespace}/{self.resource}/{self.name}"


@dataclass
class AuditLog:
    """What was logged since this was made. Reads on from where it was: a long session costs nothing."""

    cluster: Cluster
    _end: int = field(init=False)
    _seen: list[Request] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._end = self.cluster.audit_end()

    def requests(self, process: str | None = None, match: Callable[[Request], bool] = lambda _: True) -> list[Request]:
        """All requests so far, of one operator process or of everybody, in the order in which they were answered."""
        self._seen += self._fresh()
        return [each for each in self._seen if process in (None, each.process) and match(each)]

    def _fresh(self) -> Iterator[Request]:
        events, self._end = self.cluster.audit_since(self._end)
        return (parsed(event) for event in events if _is_answer(event))


def _is_answer(event: dict[str, Any]) -> bool:
    """One line a request: a watch is logged when it begins and again when it ends."""
    return "objectRef" in event and event["stage"] == ("ResponseStarted" if event["verb"] == "watch" else "ResponseComplete")


def parsed(event: dict[str, Any]) -> Request:
    """An Event of audit.k8s.io/v1."""
    ref = event["objectRef"]
    agent = _AGENT.match(event.get("userAgent", ""))
    return Request(
        process=agent[1] if agent else "",
        user=event["user"].get("username", ""),
        verb=event["verb"],
        resource="/".join(part for part in (ref.get("resource"), ref.get("subresource")) if part),
        namespace=ref.get("namespace", ""),
        name=ref.get("name", ""),
        resource_version=ref.get("resourceVersion", ""),
        code=event.get("responseStatus", {}).get("code", 0),
        allowed=event.get("annotations", {}).get("authorization.k8s.io/decision") == "allow",
        received=datetime.fromisoformat(event["requestReceivedTimestamp"]),
        answered=datetime.fromisoformat(event["stageTimestamp"]),
    )
