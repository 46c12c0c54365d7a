"""values.yaml, values.schema.json and what the templates refuse."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.chart.rendering import CHART, EXTERNAL, JOB, RefusedError, Renderer, one

pytestmark = pytest.mark.helm

CERTIFICATE = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"
FREE = {
    "operator.nodeSelector",
    "operator.podAnnotations",
    "operator.serviceMonitor.labels",
    "operator.prometheusRule.labels",
    "operator.resources",
    "server.nodeSelector",
    "server.podAnnotations",
    "server.service.annotations",
    "server.quota.limits",
    "server.serviceMonitor.labels",
    "server.prometheusRule.labels",
    "server.resources",
}


def schema() -> dict[str, Any]:
    return json.loads((CHART / "values.schema.json").read_text())


def value_paths(values: dict[str, Any], prefix: str = "") -> Iterator[str]:
    for name, value in values.items():
        path = prefix + name
        if isinstance(value, dict) and path not in FREE:
            yield from value_paths(value, path + ".")
        else:
            yield path


def schema_paths(node: dict[str, Any], prefix: str = "") -> Iterator[str]:
    for name, child in node["properties"].items():
        path = prefix + name
        if "properties" in child and path not in FREE:
            yield from schema_paths(child, path + ".")
        elif path != "global":
            yield path


def test_chart_passes_lint(render: Renderer) -> None:
    assert "0 chart(s) failed" in render.run("lint", "--strict", str(CHART))


def test_roots_are_those_of_records() -> None:
    assert set(schema()["properties"]) - {"global"} == {"hsm", "records", "operator", "server", "dataKeys", "policies", "crds"}


def test_schema_and_values_name_the_same(render: Renderer) -> None:
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    assert sorted(schema_paths(schema())) == sorted(value_paths(values))


def test_every_value_has_a_comment() -> None:
    lines = (CHART / "values.yaml").read_text().splitlines()
    bare = []
    for number, line in enumerate(lines):
        below_free = re.match(r"^ {4,}(requests|limits|cpu|memory):", line)
        leaf = re.match(r"^\s+\w+: \S", line) or line.strip() == "resources:"
        if leaf and not below_free and not lines[number - 1].strip().startswith("#"):
            bare.append(line.strip())
    assert bare == []


def objects_of(node: dict[str, Any], path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    if node.get("type") == "object":
        yield path, node
    for name, child in node.get("properties", {}).items():
        yield from objects_of(child, f"{path}.{name}")
    if isinstance(node.get("items"), dict):
        yield from objects_of(node["items"], path + "[]")


def test_schema_is_closed_everywhere_but_where_kubernetes_decides() -> None:
    """A map whose names are listed is closed as well."""
    nodes = [(path, node) for path, node in objects_of(schema()) if "propertyNames" not in node]
    found = {path for path, node in nodes if node.get("additionalProperties") is not False}
    names = ("nodeSelector", "podAnnotations", "serviceMonitor.labels", "prometheusRule.labels")
    free = {f".{root}.{name}" for root in ("operator", "server") for name in names} | {".server.service.annotations"}
    assert found == free | {".global", ".operator.networkPolicy.extraEgress[]", ".server.networkPolicy.from[]"}


BAD = [
    ("nonsense=1", "nonsense"),
    ("webhook.enabled=true", "webhook"),
    ("server.enabled=yes", "/server/enabled"),
    ("server.replicas=0", "/server/replicas"),
    ("server.workers=65", "/server/workers"),
    ("server.maxStaleSeconds=-1", "/server/maxStaleSeconds"),
    ("server.lameDuckSeconds=61", "/server/lameDuckSeconds"),
    ("server.drainSeconds=1.5", "/server/drainSeconds"),
    ("server.quota.preset=azure", "/server/quota/preset"),
    ("server.quota.limits.CreateKey=0", "/server/quota/limits/CreateKey"),
    ("server.quota.limits.Encrypt=5", "Encrypt"),
    ("operator.keysPerNamespace=0", "/operator/keysPerNamespace"),
    ("server.tls.mode=none", "/server/tls/mode"),
    ("server.tls.dnsNames={https://kms}", "/server/tls/dnsNames/0"),
    ("server.tls.issuerRef.kind=issuer", "/server/tls/issuerRef/kind"),
    ("server.service.type=ExternalName", "/server/service/type"),
    ("server.networkPolicy.from={everybody}", "/server/networkPolicy/from/0"),
    ("hsm.softhsm.acceptrisk=true", "acceptrisk"),
    ("hsm.softhsm.acceptRisk=yes", "/hsm/softhsm/acceptRisk"),
    ("hsm.kind=Hardware", "/hsm/kind"),
    ("hsm.module=libsofthsm2.so", "/hsm/module"),
    ("hsm.tokenLabel=", "/hsm/tokenLabel"),
    ("hsm.softwareProtection=true", "/hsm/softwareProtection"),
    ("hsm.slowLanes=0", "/hsm/slowLanes"),
    ("hsm.pinSecret=My_Pin", "/hsm/pinSecret"),
    ("hsm.init.mode=Job", "/hsm/init/mode"),
    ("hsm.init.recoveryRecipient=age1xyz", "/hsm/init/recoveryRecipient"),
    ("operator.replicas=0", "/operator/replicas"),
    ("operator.replicas=two", "/operator/replicas"),
    ("operator.image.digest=abc", "/operator/image/digest"),
    ("operator.region=EU West", "/operator/region"),
    ("operator.namespaces=team-a", "/operator/namespaces"),
    ("operator.namespaces={Team}", "/operator/namespaces/0"),
    ("operator.workers=1000", "/operator/workers"),
    ("operator.lease.durationSeconds=-1", "/operator/lease/durationSeconds"),
    ("operator.resources.limits.memory=lots", "/operator/resources/limits/memory"),
    ("operator.networkPolicy.apiServerPorts={}", "/operator/networkPolicy/apiServerPorts"),
    ("operator.prometheusRule.enabled=yes", "/operator/prometheusRule/enabled"),
    ("dataKeys.namespaces={*}", "/dataKeys/namespaces/0"),
    ("dataKeys.allNamespaces=null", "allNamespaces"),
    ("crds.install=1", "/crds/install"),
    ("policies.enabled=true", "enabled"),
]


@pytest.mark.parametrize(("bad", "named"), BAD, ids=[bad for bad, _ in BAD])
def test_a_bad_value_is_refused_by_name(render: Renderer, bad: str, named: str) -> None:
    with pytest.raises(RefusedError, match=rf"schema(.|\n)*{re.escape(named)}"):
        render(*EXTERNAL, bad)


def refusal(render: Renderer, *sets: str, namespace: str = "keystead-system", arguments: tuple[str, ...] = ()) -> str:
    with pytest.raises(RefusedError) as caught:
        render(*sets, namespace=namespace, arguments=arguments)
    return str(caught.value)


def test_default_values_are_refused_with_the_risk_explained(render: Renderer) -> None:
    message = refusal(render)
    assert "hsm.softhsm.acceptRisk" in message
    assert "keystead-token" in message
    assert "keystead-pin" in message


def test_accepting_the_token_does_not_accept_a_recovery_key_in_the_clear(render: Renderer) -> None:
    assert "hsm.init.recoveryRecipient is empty" in refusal(render, "hsm.softhsm.acceptRisk=true")


def test_a_private_key_is_refused_as_recipient(render: Renderer, tmp_path: Path) -> None:
    key = "-----BEGIN PRIVATE KEY-----\nMIIB\n-----END PRIVATE KEY-----\n"
    for text in (key, CERTIFICATE + key):
        (tmp_path / "both.pem").write_text(text)
        message = refusal(render, JOB[0], arguments=("--set-file", f"hsm.init.recoveryRecipient={tmp_path}/both.pem"))
        assert "recoveryRecipient" in message


REFUSED = [
    (("hsm.kind=HSM",), "hsm.kind is HSM"),
    (("hsm.init.mode=job", "hsm.softhsm.enabled=false"), "hsm.init.mode=job makes a SoftHSM token"),
    (("dataKeys.namespaces={keystead-system}",), "dataKeys.namespaces: keystead-system"),
    (("dataKeys.namespaces={keystead-records}",), "dataKeys.namespaces: keystead-records"),
    (("dataKeys.namespaces={a}", "operator.namespaces={b}"), "a is not in operator.namespaces"),
    (("dataKeys.namespaces={a}", "dataKeys.allNamespaces=true"), "give one of them"),
    (("operator.namespaces={a}", "dataKeys.allNamespaces=true"), "rights outside operator.namespaces"),
    (("operator.lease.renewDeadlineSeconds=15",), "two replicas could lead"),
    (("operator.lease.retryPeriodSeconds=10",), "two replicas could lead"),
    (("server.tls.mode=existingSecret",), "needs server.tls.existingSecret"),
    (("server.tls.existingSecret=mine",), "server.tls.mode is selfMade"),
    (("server.tls.mode=certManager",), "needs server.tls.issuerRef.name"),
    (("server.tls.mode=existingSecret", "server.tls.existingSecret=keystead-pin"), "Keystead's own Secret"),
]


@pytest.mark.parametrize(("sets", "text"), REFUSED, ids=[" ".join(sets) for sets, _ in REFUSED])
def test_values_that_contradict_each_other_are_refused(render: Renderer, sets: tuple[str, ...], text: str) -> None:
    assert text in refusal(render, *EXTERNAL, *sets)


def test_installing_into_the_records_namespace_is_refused(render: Renderer) -> None:
    assert "must not be keystead-records" in refusal(render, *EXTERNAL, namespace="keystead-records")


def test_a_hardware_token_needs_no_accepted_risk(render: Renderer) -> None:
    objects = render(
        "hsm.softhsm.enabled=false", "hsm.kind=HSM", "hsm.module=/opt/hsm/p11.so", "hsm.init.mode=external"
    )
    pod = one(objects, "Deployment", "keystead-operator")["spec"]["template"]["spec"]
    assert {volume["name"] for volume in pod["volumes"]} == {"account", "audit", "pin-secret", "pin", "tmp"}
    assert [each["name"] for each in pod["initContainers"]] == ["copy-pin"]
    server = one(objects, "Deployment", "keystead-server")["spec"]["template"]["spec"]
    assert {volume["name"] for volume in server["volumes"]} == {"account", "audit", "pin-secret", "pin", "tmp", "tls"}
