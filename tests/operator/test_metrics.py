"""/metrics of a running operator: the series of a key come with it, follow it and vanish with it; calls of the token are counted."""

from __future__ import annotations

import pytest
from prometheus_client.parser import text_string_to_metric_families
from tests.operator.harness import Installation, OperatorProcess, key, wait_for, wait_reason

from keystead.resources.metrics import METRICS, OPERATOR, Metric

pytestmark = pytest.mark.cluster
NAMESPACE = "team-c"


def value(operator: OperatorProcess, metric: Metric, **labels: str) -> float | None:
    """The sample with these labels, or None."""
    for family in text_string_to_metric_families(operator.get("/metrics")[1]):
        for sample in family.samples:
            if sample.name == metric and labels.items() <= sample.labels.items():
                return sample.value
    return None


def test_metrics_follow_a_key_from_its_birth_to_its_deletion(installation: Installation) -> None:
    cluster, labels = installation.cluster, {"namespace": NAMESPACE, "name": "measured"}
    with installation.operator() as operator:
        operator.wait_ready()
        before = value(operator, Metric.ENGINE_REQUESTS, operation="generate", result="ok") or 0
        cluster.apply(key(NAMESPACE, "measured", rotation={"enabled": True}))
        wait_reason(cluster, "kmskey", NAMESPACE, "measured", "Available")
        wait_for("the key in the metrics", lambda: value(operator, Metric.KEY_READY, **labels) == 1)
        wait_for("its rotation", lambda: value(operator, Metric.KEY_NEXT_ROTATION, **labels))
        assert value(operator, Metric.KEY_DELETION, **labels) is None
        assert (value(operator, Metric.ENGINE_REQUESTS, operation="generate", result="ok") or 0) > before
        assert (value(operator, Metric.HSM_SESSIONS) or 0) >= 1
        assert value(operator, Metric.LEADER) == 1
        cluster.kubectl("delete", "kmskey", "measured", "-n", NAMESPACE)
        wait_for("no series of the key", lambda: value(operator, Metric.KEY_READY, **labels) is None)
        assert value(operator, Metric.KEY_NEXT_ROTATION, **labels) is None


def test_another_replica_shows_the_same_keys_and_does_not_lead(installation: Installation) -> None:
    cluster = installation.cluster
    with installation.operator("first") as first:
        first.wait_leading()
        cluster.apply(key(NAMESPACE, "seen-by-both"))
        wait_reason(cluster, "kmskey", NAMESPACE, "seen-by-both", "Available")
        with installation.operator("second") as second:
            second.wait_ready()
            labels = {"namespace": NAMESPACE, "name": "seen-by-both"}
            wait_for("the key at the standby", lambda: value(second, Metric.KEY_READY, **labels) == 1)
            assert (value(first, Metric.LEADER), value(second, Metric.LEADER)) == (1, 0)
        assert {metric for metric in METRICS if metric.value in first.get("/metrics")[1]} == OPERATOR
