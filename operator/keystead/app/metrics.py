"""The operator's metrics, made from the one table (resources/metrics.py). One registry a process."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol, TypeVar

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics

from keystead.app.keyseries import KeySeries, Windows
from keystead.reconciler.ports import Kind, ObjectRef
from keystead.reconciler.queue import Class, WorkQueue
from keystead.resources.metrics import METRICS, Metric

M = TypeVar("M", Counter, Gauge, Histogram)


class Lease(Protocol):
    """What the metrics tell of the Lease."""

    @property
    def leading(self) -> bool: ...
    @property
    def age(self) -> float: ...


class Metrics:
    """Implements `reconciler.workers.Observer`; gauges read their value when they are asked.

    `sessions`: logins that this process holds. `windows`: orphans whose waiting window runs.
    """

    def __init__(
        self, queue: WorkQueue, orphans: Callable[[], int], lease: Lease, sessions: Callable[[], int], windows: Windows
    ) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]  # else each counter has a second series that is in no table
        self.registry = CollectorRegistry()
        self._keys = KeySeries(windows)
        self.registry.register(self._keys)
        self._duration = self._make(Histogram, Metric.RECONCILE_DURATION)
        self._engine = self._make(Counter, Metric.ENGINE_REQUESTS)
        self._absent = self._make(Gauge, Metric.CRD_ABSENT)
        depth = self._make(Gauge, Metric.QUEUE_DEPTH)
        for kind in Class:
            depth.labels(kind.name.lower()).set_function(lambda kind=kind: queue.depth(kind))  # type: ignore[misc]
        self._make(Gauge, Metric.HSM_SESSIONS).set_function(sessions)
        self._make(Gauge, Metric.RECORDS_ORPHANED).set_function(orphans)
        self._make(Gauge, Metric.LEASE_AGE).set_function(lambda: lease.age)
        self._make(Gauge, Metric.LEADER).set_function(lambda: float(lease.leading))

    def _make(self, form: type[M], metric: Metric) -> M:
        row = METRICS[metric]
        return form(metric.value, row.meaning, row.labels, registry=self.registry)

    def reconciled(self, kind: Kind, seconds: float, result: str) -> None:
        """One reconcile ended."""
        self._duration.labels(kind.value, result).observe(seconds)

    def called(self, operation: str, result: str) -> None:
        """One engine call ended."""
        self._engine.labels(operation, result).inc()

    def crd_state(self, kind: Kind, present: bool) -> None:
        """Whether a kind's CRD is there and not being deleted."""
        self._absent.labels(kind.value).set(0 if present else 1)

    def seen(self, kind: Kind, event: str | None, body: Mapping[str, Any]) -> None:
        """One event of the watch: the series of a key follow its status and vanish with it."""
        self._keys.seen(kind, event, body)

    def forget(self, ref: ObjectRef) -> None:
        """A record says that it has no object."""
        self._keys.forget(ref)
