"""What the chart renders of `keystead server`: Pods, Service, NetworkPolicy (what it stops, no test sees), certificate."""

from __future__ import annotations

import asyncio
import base64
import ssl
from dataclasses import replace
from pathlib import Path

import pytest
from tests.chart.rendering import EXTERNAL, JOB, Object, Renderer, containers, of_kind, one, pod_templates
from tests.chart.rights import RELEASE

from keystead import settings
from keystead.app.quota import read_limits
from keystead.server.quota import aws_limits
from keystead.server.tls import trust_of

pytestmark = pytest.mark.helm

SERVER = "keystead-server"
NAMES = [SERVER, f"{SERVER}.{RELEASE}", f"{SERVER}.{RELEASE}.svc", f"{SERVER}.{RELEASE}.svc.cluster.local"]
MODES = {
    "selfMade": ((), "keystead-server-tls"),
    "certManager": (("server.tls.mode=certManager", "server.tls.issuerRef.name=ca"), "keystead-server-cert"),
    "existingSecret": (("server.tls.mode=existingSecret", "server.tls.existingSecret=mine"), "mine"),
}


def pod(objects: list[Object]) -> Object:
    return pod_templates(objects)[f"Deployment/{SERVER}"]


def server(objects: list[Object]) -> Object:
    (found,) = pod(objects)["containers"]
    return found


def environment(container: Object) -> dict[str, str]:
    return {each["name"]: each.get("value", RELEASE) for each in container["env"]}


def test_the_default_environment_is_the_default_settings(render: Renderer) -> None:
    found = settings.from_environment(environment(server(render(*EXTERNAL))))
    assert replace(found, audit=settings.AuditSettings()) == settings.Settings()  # the volume's: test_chart_audit.py


def test_settings_understand_the_servers_environment(render: Renderer) -> None:
    sets = ("server.workers=4", "server.maxStaleSeconds=0", "server.drainSeconds=30", "server.lameDuckSeconds=3", "operator.region=eu-1")
    found = settings.from_environment(environment(server(render(*EXTERNAL, *sets))))
    assert found.server == settings.ServerSettings(workers=4, max_stale=0.0, drain=30.0, lame_duck=3.0)
    assert found.cluster.region == "eu-1"


def test_quotas_reach_the_server_with_the_number_of_its_pods(render: Renderer) -> None:
    """Off, there is nothing of them: the default environment is the default settings."""
    sets = ("server.quota.preset=aws", "server.quota.limits.CreateKey=20", "server.quota.limits.Cryptographic/symmetric=500",
            "server.replicas=3", "operator.keysPerNamespace=1000000")  # fmt: skip
    found = settings.from_environment(environment(server(render(*EXTERNAL, *sets))))
    limits = read_limits(found.server.quota, "x").of(found.cluster.region)
    assert limits == {**aws_limits(), "CreateKey": 20.0, "Cryptographic/symmetric": 500.0}
    assert (found.server.quota_share, found.cluster.keys_per_namespace) == (3, 1_000_000)


@pytest.mark.parametrize(("lame_duck", "drain"), [(5, 20), (0, 0), (60, 600)])
def test_a_pod_has_time_to_drain(render: Renderer, lame_duck: int, drain: int) -> None:
    objects = render(*EXTERNAL, f"server.lameDuckSeconds={lame_duck}", f"server.drainSeconds={drain}")
    assert pod(objects)["terminationGracePeriodSeconds"] >= lame_duck + drain + 5
    assert "lifecycle" not in server(objects)


def test_a_new_pod_is_ready_before_an_old_one_goes(render: Renderer) -> None:
    strategy = one(render(*EXTERNAL), "Deployment", SERVER)["spec"]["strategy"]
    assert strategy["rollingUpdate"] == {"maxSurge": 1, "maxUnavailable": 0}


def test_probes_and_ports_are_those_of_the_settings(render: Renderer) -> None:
    container = server(render(*EXTERNAL))
    ports = {each["name"]: each["containerPort"] for each in container["ports"]}
    assert ports == {"https": settings.ServerSettings().port, "probes": settings.ServerSettings().probe_port}
    assert {container[probe]["httpGet"]["port"] for probe in ("livenessProbe", "readinessProbe")} == {"probes"}
    assert container["args"] == ["server"]


def test_the_server_opens_the_token_as_the_operator_does(render: Renderer) -> None:
    """Copies of token and PIN in memory, read-only; the account's token in the one container that needs it."""
    pods = pod_templates(render(*EXTERNAL, *(f"{who}.audit.volume.type=none" for who in ("operator", "server"))))
    ours, operators = pods[f"Deployment/{SERVER}"], pods["Deployment/keystead-operator"]
    assert ours["initContainers"] == operators["initContainers"]
    tls = [each for each in ours["volumes"] if each["name"] == "tls"]
    assert ours["volumes"] == [*operators["volumes"], *tls]
    mounts = ours["containers"][0]["volumeMounts"]
    assert mounts[:-1] == operators["containers"][0]["volumeMounts"]
    assert mounts[-1] == {"name": "tls", "mountPath": "/run/keystead/tls", "readOnly": True}
    assert (ours["serviceAccountName"], ours["automountServiceAccountToken"]) == (SERVER, False)


def test_the_server_runs_where_its_own_values_say(render: Renderer) -> None:
    sets = ("server.nodeSelector.hsm=near", "server.priorityClassName=high", "operator.nodeSelector.hsm=far", "server.replicas=5")
    objects = render(*EXTERNAL, *sets)
    assert (pod(objects)["nodeSelector"], pod(objects)["priorityClassName"]) == ({"hsm": "near"}, "high")
    assert one(objects, "Deployment", SERVER)["spec"]["replicas"] == 5


def test_selectors_find_the_servers_pods_and_nobody_elses(render: Renderer) -> None:
    objects = render(*JOB, "server.serviceMonitor.enabled=true")
    deployment = one(objects, "Deployment", SERVER)["spec"]
    selectors = [
        deployment["selector"]["matchLabels"],
        one(objects, "PodDisruptionBudget", SERVER)["spec"]["selector"]["matchLabels"],
        one(objects, "NetworkPolicy", SERVER)["spec"]["podSelector"]["matchLabels"],
        one(objects, "Service", SERVER)["spec"]["selector"],
        one(objects, "Service", f"{SERVER}-metrics")["spec"]["selector"],
        *(c["labelSelector"]["matchLabels"] for c in deployment["template"]["spec"]["topologySpreadConstraints"]),
    ]
    for each in of_kind(objects, "Deployment", "Job"):
        labels = each["spec"]["template"]["metadata"]["labels"].items()
        assert {selector.items() <= labels for selector in selectors} == {each["metadata"]["name"] == SERVER}
    assert "version" not in str(selectors), "a selector that changes with the version refuses every upgrade"
    operators = one(objects, "Deployment", "keystead-operator")["spec"]["selector"]["matchLabels"]
    assert not operators.items() <= deployment["template"]["metadata"]["labels"].items()


def test_the_service_leads_to_tls(render: Renderer) -> None:
    spec = one(render(*EXTERNAL), "Service", SERVER)["spec"]
    assert (spec["type"], spec["ports"]) == (
        "ClusterIP",
        [{"name": "https", "port": 443, "targetPort": "https", "appProtocol": "https"}],
    )
    outside = one(render(*EXTERNAL, "server.service.type=LoadBalancer", "server.service.annotations.a=b"), "Service", SERVER)
    assert (outside["spec"]["type"], outside["metadata"]["annotations"]) == ("LoadBalancer", {"a": "b"})


def to_peers(objects: list[Object]) -> Object:
    labels = one(objects, "Deployment", SERVER)["spec"]["selector"]["matchLabels"]
    return {"ports": [{"port": 8443, "protocol": "TCP"}], "to": [{"podSelector": {"matchLabels": labels}}]}


def test_a_pod_finds_the_others_by_a_service_that_has_an_address_for_each(render: Renderer) -> None:
    """Their audit records: those of a Pod that is not ready, too."""
    objects = render(*EXTERNAL)
    spec = one(objects, "Service", f"{SERVER}-peers")["spec"]
    assert (spec["clusterIP"], spec["publishNotReadyAddresses"]) == ("None", True)
    assert spec["selector"] == one(objects, "Deployment", SERVER)["spec"]["selector"]["matchLabels"]
    assert [(port["port"], port["targetPort"]) for port in spec["ports"]] == [(8443, "https")]
    found = settings.from_environment(environment(server(objects)))
    assert found.audit.peers == ((f"{SERVER}-peers.{RELEASE}.svc", settings.ServerSettings().port),)


@pytest.mark.parametrize("sets", [("none",), ("existingClaim", "server.audit.volume.claimName=a")])
def test_pods_that_share_a_volume_or_have_none_ask_nobody(render: Renderer, sets: tuple[str, ...]) -> None:
    volume = (f"server.audit.volume.type={sets[0]}", *sets[1:])
    objects = render(*EXTERNAL, *volume, "server.networkPolicy.from[0].namespaceSelector.matchLabels.kms=yes")
    assert settings.from_environment(environment(server(objects))).audit.peers == ()
    assert f"{SERVER}-peers" not in {each["metadata"]["name"] for each in of_kind(objects, "Service")}
    ours, operators = (one(objects, "NetworkPolicy", name)["spec"] for name in (SERVER, "keystead-operator"))
    assert ours["egress"] == operators["egress"]
    assert ours["ingress"][0]["from"] == [{"namespaceSelector": {"matchLabels": {"kms": "yes"}}}]


def test_the_network_policy_lets_callers_and_probes_in(render: Renderer) -> None:
    objects = render(*EXTERNAL)
    spec = one(objects, "NetworkPolicy", SERVER)["spec"]
    https, probes = ({"ports": [{"port": port, "protocol": "TCP"}]} for port in ("https", "probes"))
    assert (spec["policyTypes"], spec["ingress"]) == (["Ingress", "Egress"], [https, probes])
    assert spec["egress"] == [*one(objects, "NetworkPolicy", "keystead-operator")["spec"]["egress"], to_peers(objects)]
    chosen = render(*EXTERNAL, "server.networkPolicy.from[0].namespaceSelector.matchLabels.kms=yes")
    peers = [{"namespaceSelector": {"matchLabels": {"kms": "yes"}}}, *to_peers(objects)["to"]]
    assert one(chosen, "NetworkPolicy", SERVER)["spec"]["ingress"] == [https | {"from": peers}, probes]
    names = {each["metadata"]["name"] for each in of_kind(render(*EXTERNAL, "server.networkPolicy.enabled=false"), "NetworkPolicy")}
    assert names == {"keystead-operator"}


def test_one_replica_has_no_disruption_budget(render: Renderer) -> None:
    left = of_kind(render(*EXTERNAL, "server.replicas=1"), "PodDisruptionBudget")
    assert [each["metadata"]["name"] for each in left] == ["keystead-operator"]


@pytest.mark.parametrize("mode", MODES)
def test_the_pod_waits_for_the_secret_of_its_mode_and_mounts_no_more_of_it(render: Renderer, mode: str) -> None:
    sets, name = MODES[mode]
    objects = render(*EXTERNAL, *sets)
    (volume,) = (each["secret"] for each in pod(objects)["volumes"] if each["name"] == "tls")
    assert volume["secretName"] == name
    assert {each["key"] for each in volume["items"]} == {"tls.crt", "tls.key"}
    assert not volume.get("optional")
    made = {each["metadata"]["name"] for each in of_kind(objects, "Secret", "Certificate", "ConfigMap")}
    expected = {"selfMade": {"keystead-server-tls", "keystead-ca"}, "certManager": {SERVER}, "existingSecret": set()}[mode]
    assert made == {"heartbeat", "keystead-pin-refused"} | expected


def test_a_certificate_is_asked_for_with_the_names_of_the_service(render: Renderer) -> None:
    sets = (*MODES["certManager"][0], "server.tls.issuerRef.kind=ClusterIssuer", "server.tls.dnsNames={kms.example.com}")
    spec = one(render(*EXTERNAL, *sets), "Certificate", SERVER)["spec"]
    assert spec["dnsNames"] == [*NAMES, "kms.example.com"]
    assert spec["issuerRef"] == {"name": "ca", "kind": "ClusterIssuer", "group": "cert-manager.io"}
    assert "server auth" in spec["usages"]


def data(objects: list[Object]) -> dict[str, bytes]:
    secret = one(objects, "Secret", "keystead-server-tls")
    assert secret["type"] == "kubernetes.io/tls"
    assert secret["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep"
    return {name: base64.b64decode(value) for name, value in secret["data"].items()}


def test_a_self_made_certificate_is_trusted_by_its_ca_under_every_name(render: Renderer, tmp_path: Path) -> None:
    """By a real handshake, and as strictly as OpenSSL can."""
    objects = render(*EXTERNAL, "server.tls.dnsNames={kms.example.com}")
    for name, value in data(objects).items():
        (tmp_path / name).write_bytes(value)
    authority = one(objects, "ConfigMap", "keystead-ca")["data"]["ca.crt"]
    assert authority.strip() == (tmp_path / "ca.crt").read_text().strip()
    assert "PRIVATE" not in authority
    for name in (*NAMES, "kms.example.com"):
        assert asyncio.run(handshake(tmp_path, authority, name)) == "TLSv1.3"
    with pytest.raises(ssl.SSLCertVerificationError, match="Hostname mismatch"):
        asyncio.run(handshake(tmp_path, authority, "kms.example.org"))


def test_pods_trust_each_other_by_the_certificate_that_all_of_them_mount(render: Renderer, tmp_path: Path) -> None:
    for name, value in data(render(*EXTERNAL)).items():
        (tmp_path / name).write_bytes(value)
    trust = trust_of((tmp_path / "tls.crt").read_bytes())
    assert trust.name == SERVER
    assert asyncio.run(handshake(tmp_path, trust.context, trust.name)) == "TLSv1.3"
    other = trust_of(data(render(*EXTERNAL))["tls.crt"])
    with pytest.raises(ssl.SSLCertVerificationError):
        asyncio.run(handshake(tmp_path, other.context, other.name))


async def handshake(folder: Path, authority: str | ssl.SSLContext, name: str) -> str:
    ours = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ours.load_cert_chain(folder / "tls.crt", folder / "tls.key")
    theirs = ssl.create_default_context(cadata=authority) if isinstance(authority, str) else authority
    theirs.verify_flags |= ssl.VERIFY_X509_STRICT
    listener = await asyncio.start_server(lambda _reader, writer: writer.close(), "127.0.0.1", 0, ssl=ours)
    async with listener:
        _, writer = await asyncio.open_connection(*listener.sockets[0].getsockname(), ssl=theirs, server_hostname=name)
        version = str(writer.get_extra_info("ssl_object").version())
        writer.close()
    return version


def test_the_key_of_the_ca_is_nowhere(render: Renderer) -> None:
    text = render.text(*EXTERNAL)
    found = data(render(*EXTERNAL))
    assert [name for name, value in found.items() if b"PRIVATE KEY" in value] == ["tls.key"]
    assert "PRIVATE KEY-----" not in text.split("kind: CustomResourceDefinition")[0]


def test_a_server_that_is_left_out_leaves_nothing(render: Renderer) -> None:
    left = render(*EXTERNAL, "server.enabled=false", "server.serviceMonitor.enabled=true", "server.prometheusRule.enabled=true")
    kinds = {each["kind"] for each in left if "server" in each["metadata"]["name"]}
    assert kinds <= {"ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding"}
    assert "keystead-ca" not in {each["metadata"]["name"] for each in left}


def test_a_not_ready_server_is_scraped(render: Renderer) -> None:
    objects = render(*EXTERNAL, "server.serviceMonitor.enabled=true")
    service = one(objects, "Service", f"{SERVER}-metrics")["spec"]
    assert (service["publishNotReadyAddresses"], service["ports"]) == (True, [{"name": "metrics", "port": 8081, "targetPort": "probes"}])
    (endpoint,) = one(objects, "ServiceMonitor", SERVER)["spec"]["endpoints"]
    assert (endpoint["port"], endpoint["path"]) == ("metrics", "/metrics")


def test_every_container_has_the_same_image(render: Renderer) -> None:
    images = {each["image"] for spec in pod_templates(render(*JOB)).values() for each in containers(spec)}
    assert len(images) == 1
