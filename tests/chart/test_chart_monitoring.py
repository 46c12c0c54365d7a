"""The alerts of the chart: about metrics that operator and server have, with labels that these have.

There is no PromQL parser here: an expression is read word by word, and every word must be known.
"""

from __future__ import annotations

import re

import pytest
from tests.chart.rendering import EXTERNAL, Object, Renderer, of_kind, one

from keystead.errors import KmsInternalError
from keystead.resources.metrics import METRICS, OPERATOR, SERVER, Metric
from keystead.settings import ServerSettings
from keystead.store.pulse import FRESH_FOR

pytestmark = pytest.mark.helm

ALERTS = "operator.prometheusRule.enabled=true"
FUNCTIONS = {"min", "max", "absent", "time", "sum", "rate"}
WORDS = {"by", "or"}
TELLS = {"operator": OPERATOR, "server": SERVER}
both = pytest.mark.parametrize("who", TELLS)


def rules(render: Renderer, who: str) -> list[Object]:
    objects = render(*EXTERNAL, f"{who}.prometheusRule.enabled=true")
    (group,) = one(objects, "PrometheusRule", f"keystead-{who}")["spec"]["groups"]
    found: list[Object] = group["rules"]
    return found


def chosen(rule: Object) -> set[str]:
    """The labels that the expression selects by."""
    return {label for text in re.findall(r"{([^}]*)}", rule["expr"]) for label in re.findall(r'(\w+)="', text)}


def kept(rule: Object) -> set[str]:
    """The labels that the expression's answer has."""
    found = re.findall(r"by \(([^)]*)\)", rule["expr"])
    return {label.strip() for text in found for label in text.split(",")}


def metrics(rule: Object) -> set[Metric]:
    """The expression's metrics. Any other word, and an unknown metric, is an error."""
    rest = re.sub(r"by \([^)]*\)|{[^}]*}|\[5m\]", " ", rule["expr"])
    assert rest.count("(") == rest.count(")"), rule["expr"]
    words = set(re.findall(r"[A-Za-z_][A-Za-z_0-9]*", rest)) - FUNCTIONS - WORDS
    return {Metric(word) for word in words}


@both
def test_an_alert_asks_for_metrics_and_labels_that_its_process_has(render: Renderer, who: str) -> None:
    found = rules(render, who)
    asked = {rule["alert"]: metrics(rule) for rule in found}
    assert all(asked.values())
    for rule in found:
        assert metrics(rule) <= TELLS[who], rule["alert"]
        for metric in metrics(rule):
            assert kept(rule) | chosen(rule) <= set(METRICS[metric].labels), rule["alert"]


@both
def test_an_alert_tells_only_labels_that_its_expression_keeps(render: Renderer, who: str) -> None:
    for rule in rules(render, who):
        text = " ".join(rule["annotations"].values())
        assert set(re.findall(r"\$labels\.(\w+)", text)) == kept(rule), rule["alert"]


def asked_by(render: Renderer, who: str) -> dict[str, tuple[set[Metric], str, str]]:
    return {rule["alert"]: (metrics(rule), rule.get("for", ""), rule["labels"]["severity"]) for rule in rules(render, who)}


def test_there_is_an_alert_for_each_thing_of_the_server_that_nobody_may_miss(render: Renderer) -> None:
    assert asked_by(render, "server") == {
        "KeysteadNoServer": ({Metric.SERVER_STREAM_AGE}, "1m", "critical"),
        "KeysteadServerStreamSilent": ({Metric.SERVER_STREAM_AGE}, "1m", "warning"),
        "KeysteadServerInternalErrors": ({Metric.SERVER_REQUESTS}, "5m", "warning"),
        "KeysteadServerRecordsRefused": ({Metric.SERVER_RECORDS_REFUSED}, "5m", "critical"),
    }
    expressions = {rule["alert"]: rule["expr"] for rule in rules(render, "server")}
    assert f'code="{KmsInternalError.code}"' in expressions["KeysteadServerInternalErrors"]
    assert f"> {FRESH_FOR:g}" in expressions["KeysteadServerStreamSilent"], "that old, a worker is unready"
    assert f"> {ServerSettings().max_stale:g} or" in expressions["KeysteadNoServer"], "that old, it refuses all"


def test_there_is_an_alert_for_each_thing_that_nobody_may_miss(render: Renderer) -> None:
    asked = asked_by(render, "operator")
    assert asked == {
        "KeysteadLeaseOld": ({Metric.LEASE_AGE}, "", "critical"),
        "KeysteadKeyDeletionNear": ({Metric.KEY_DELETION}, "", "warning"),
        "KeysteadRecordsOrphaned": ({Metric.RECORDS_ORPHANED}, "1h", "info"),
        "KeysteadKeyNotReady": ({Metric.KEY_READY}, "15m", "warning"),
    }
    expressions = {rule["alert"]: rule["expr"] for rule in rules(render, "operator")}
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
