"""The alerts of the chart: about metrics that the operator has, with labels that these have.

There is no PromQL parser here: an expression is read word by word, and every word must be known.
"""

from __future__ import annotations

import re

import pytest
from tests.chart.rendering import EXTERNAL, Object, Renderer, of_kind, one

from keystead.resources.metrics import METRICS, Metric

pytestmark = pytest.mark.helm

ALERTS = "operator.prometheusRule.enabled=true"
FUNCTIONS = {"min", "max", "absent", "time"}
WORDS = {"by", "or"}


def rules(render: Renderer) -> list[Object]:
    (group,) = one(render(*EXTERNAL, ALERTS), "PrometheusRule", "keystead-operator")["spec"]["groups"]
    found: list[Object] = group["rules"]
    return found


def kept(rule: Object) -> set[str]:
    """The labels that the expression's answer has."""
    found = re.findall(r"by \(([^)]*)\)", rule["expr"])
    return {label.strip() for text in found for label in text.split(",")}


def metrics(rule: Object) -> set[Metric]:
    """The expression's metrics. Any other word, and an unknown metric, is an error."""
    rest = re.sub(r"by \([^)]*\)", " ", rule["expr"])
    assert rest.count("(") == rest.count(")"), rule["expr"]
    words = set(re.findall(r"[A-Za-z_][A-Za-z_0-9]*", rest)) - FUNCTIONS - WORDS
    return {Metric(word) for word in words}


def test_an_alert_asks_for_metrics_and_labels_that_the_operator_has(render: Renderer) -> None:
    found = rules(render)
    asked = {rule["alert"]: metrics(rule) for rule in found}
    assert all(asked.values())
    for rule in found:
        for metric in metrics(rule):
            assert kept(rule) <= set(METRICS[metric].labels), rule["alert"]


def test_an_alert_tells_only_labels_that_its_expression_keeps(render: Renderer) -> None:
    for rule in rules(render):
        text = " ".join(rule["annotations"].values())
        assert set(re.findall(r"\$labels\.(\w+)", text)) == kept(rule), rule["alert"]


def test_there_is_an_alert_for_each_thing_that_nobody_may_miss(render: Renderer) -> None:
    asked = {rule["alert"]: (metrics(rule), rule.get("for", ""), rule["labels"]["severity"]) for rule in rules(render)}
    assert asked == {
        "KeysteadLeaseOld": ({Metric.LEASE_AGE}, "", "critical"),
        "KeysteadKeyDeletionNear": ({Metric.KEY_DELETION}, "", "warning"),
        "KeysteadRecordsOrphaned": ({Metric.RECORDS_ORPHANED}, "1h", "info"),
        "KeysteadKeyNotReady": ({Metric.KEY_READY}, "15m", "warning"),
    }
    expressions = {rule["alert"]: rule["expr"] for rule in rules(render)}
    assert "> 30 " in expressions["KeysteadLeaseOld"], "RECORDS: a Lease older than 30 s"
    assert "< 3 * 86400" in expressions["KeysteadKeyDeletionNear"]


def test_the_namespace_of_a_key_is_not_overwritten_by_the_pods(render: Renderer) -> None:
    objects = render(*EXTERNAL, "operator.serviceMonitor.enabled=true")
    (endpoint,) = one(objects, "ServiceMonitor", "keystead-operator")["spec"]["endpoints"]
    assert endpoint["honorLabels"] is True


def test_alerts_are_rendered_where_asked_for_and_with_your_labels(render: Renderer) -> None:
    assert not of_kind(render(*EXTERNAL), "PrometheusRule", "ServiceMonitor")
    labelled = one(
        render(*EXTERNAL, ALERTS, "operator.prometheusRule.labels.release=prom"), "PrometheusRule", "keystead-operator"
    )
    assert labelled["metadata"]["labels"]["release"] == "prom"
