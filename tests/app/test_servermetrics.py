"""Metrics of a server worker: their labels are words of ours, and their number does not grow with what clients send."""

from __future__ import annotations

from prometheus_client import generate_latest
from tests.server.doors import House, ask

from keystead.app.server.metrics import ServerMetrics
from keystead.resources.metrics import METRICS, Metric


def test_made_up_operations_are_one_series() -> None:
    metrics, house = ServerMetrics(), House()
    door = house.door(served=metrics.served)
    for number in range(50):
        door.handle(ask(f"TrentService.Made{number}"))
    door.handle(ask())
    lines = generate_latest(metrics.registry).decode().splitlines()
    series = [line for line in lines if line.startswith(f"{Metric.SERVER_REQUESTS.value}{{")]
    assert len(series) == 2
    assert not any("Made" in line for line in lines)


def test_no_label_names_a_key_or_a_caller() -> None:
    for metric in (Metric.SERVER_REQUESTS, Metric.ENGINE_REQUESTS, Metric.QUOTA_THROTTLED):
        assert not {"key", "key_id", "namespace", "account", "caller", "principal"} & set(METRICS[metric].labels)


def test_a_gauge_is_read_when_it_is_asked() -> None:
    metrics, values = ServerMetrics(), [1.0]
    metrics.gauge(Metric.SERVER_RECORDS, lambda: values[-1])
    values.append(7.0)
    assert f"{Metric.SERVER_RECORDS.value} 7.0" in generate_latest(metrics.registry).decode()
