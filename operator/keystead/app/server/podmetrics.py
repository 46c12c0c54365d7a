"""One page of metrics of several workers. Each sample keeps its own series, with the label `worker`.

Not summed: a worker that is started anew counts from 0, and a sum that falls looks like a reset of all of them to Prometheus. A query sums
with `sum without (worker)`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from prometheus_client import CollectorRegistry, Metric, generate_latest
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

LABEL = "worker"


def merged_page(pages: Mapping[str, str]) -> bytes:
    """Worker -> its page, empty where it gave none; the page of all."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Workers(pages))
    return generate_latest(registry)


class _Workers(Collector):
    def __init__(self, pages: Mapping[str, str]) -> None:
        self._pages = pages

    def collect(self) -> Iterable[Metric]:
        """Each family once."""
        found: dict[str, Metric] = {}
        for worker, page in self._pages.items():
            for family in _families(page):
                whole = found.setdefault(family.name, Metric(family.name, family.documentation, family.type))
                for sample in family.samples:
                    whole.add_sample(sample.name, {**sample.labels, LABEL: worker}, sample.value)
        return found.values()


def _families(page: str) -> Iterator[Metric]:
    yield from text_string_to_metric_families(page)
