"""The operator's metrics (names: RECORDS, Metrics). One registry a process."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from keystead.reconciler.ports import Kind
from keystead.reconciler.queue import Class, WorkQueue


class Metrics:
    """Implements `reconciler.workers.Observer`; gauges read their value when they are asked."""

    def __init__(self, queue: WorkQueue, orphans: Callable[[], int], lease_age: Callable[[], float]) -> None:
        self.registry = CollectorRegistry()
        self._duration = Histogram(
            "keystead_reconcile_duration_seconds", "Time of one reconcile.", ["kind", "result"], registry=self.registry
        )
        self._engine = Counter(
            "keystead_engine_requests", "Calls of the engine.", ["operation", "result"], registry=self.registry
        )
        depth = Gauge("keystead_queue_depth", "Objects that wait for a worker.", ["class"], registry=self.registry)
        for kind in Class:
            depth.labels(kind.name.lower()).set_function(lambda kind=kind: queue.depth(kind))  # type: ignore[misc]
        self.sessions = Gauge("keystead_hsm_sessions", "Open sessions with the token.", registry=self.registry)
        Gauge("keystead_records_orphaned", "Key records without an object.", registry=self.registry).set_function(orphans)
        Gauge("keystead_lease_age_seconds", "Seconds since the Lease moved.", registry=self.registry).set_function(lease_age)

    def reconciled(self, kind: Kind, seconds: float, result: str) -> None:
        """One reconcile ended."""
        self._duration.labels(kind.value, result).observe(seconds)

    def called(self, operation: str, result: str) -> None:
        """One engine call ended."""
        self._engine.labels(operation, result).inc()
