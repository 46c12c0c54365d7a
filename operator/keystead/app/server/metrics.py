"""The metrics of one server worker, made from the one table (resources/metrics.py). No label names a tenant's key."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, disable_created_metrics
from prometheus_client.core import CounterMetricFamily
from prometheus_client.registry import Collector

from keystead.resources.metrics import METRICS, Metric


class ServerMetrics:
    """One registry a worker. Gauges read their value when they are asked."""

    def __init__(self) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]  # else each counter has a second series that is in no table
        self.registry = CollectorRegistry()
        self._requests = self._counter(Metric.SERVER_REQUESTS)
        self._engine = self._counter(Metric.ENGINE_REQUESTS)
        self._throttled = self._counter(Metric.QUOTA_THROTTLED)
        # A child for each pair of labels: looking one up costs more than counting.
        self._served: dict[tuple[str, str], Counter] = {}
        self._called: dict[tuple[str, str], Counter] = {}

    def _counter(self, metric: Metric) -> Counter:
        row = METRICS[metric]
        return Counter(metric.value, row.meaning, row.labels, registry=self.registry)

    def gauge(self, metric: Metric, value: Callable[[], float]) -> None:
        """A gauge of the table."""
        row = METRICS[metric]
        Gauge(metric.value, row.meaning, row.labels, registry=self.registry).set_function(value)

    def served(self, operation: str, code: str) -> None:
        """A call was answered; `code` "": without an error."""
        child = self._served.get((operation, code))
        if child is None:
            child = self._served[operation, code] = self._requests.labels(operation, code or "OK")
        child.inc()

    def called(self, operation: str, result: str) -> None:
        """An engine call ended."""
        child = self._called.get((operation, result))
        if child is None:
            child = self._called[operation, result] = self._engine.labels(operation, result)
        child.inc()

    def calls(self, totals: Callable[[], Mapping[tuple[str, str], int]]) -> None:
        """Calls by namespace and price class, read when they are asked for: what the door counts anyway."""
        self.registry.register(_Calls(totals))

    def throttled(self, name: str) -> None:
        """A call of this class was one too many for its account."""
        self._throttled.labels(name).inc()


class _Calls(Collector):
    def __init__(self, totals: Callable[[], Mapping[tuple[str, str], int]]) -> None:
        self._totals = totals

    def collect(self) -> Iterator[CounterMetricFamily]:
        row = METRICS[Metric.CALLS]
        family = CounterMetricFamily(Metric.CALLS.value, row.meaning, labels=row.labels)
        for labels, calls in sorted(self._totals().items()):
            family.add_metric(labels, calls)
        yield family
