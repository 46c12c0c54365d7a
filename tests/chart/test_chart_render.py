"""What the rendered objects say: Pods, hooks, CRDs, the records' namespace."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import click
import pytest
import yaml
from tests.chart.rendering import CHART, EXTERNAL, JOB, Object, Renderer, containers, of_kind, one, pod_templates
from tests.chart.rights import KINDS, KMS, RECORDS, RELEASE
from tests.cluster import toolset

from keystead import settings
from keystead.cli.main import cli
from keystead.hsm.softhsm import unpack_token

pytestmark = pytest.mark.helm

CRDS = toolset.ROOT / "crds"
POLICIES = {"ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding"}
CLUSTER_SCOPED = {"Namespace", "CustomResourceDefinition", "ClusterRole", "ClusterRoleBinding"} | POLICIES
ALERTS = "operator.prometheusRule.enabled=true"


def operator_pod(render: Renderer, *sets: str) -> Object:
    return pod_templates(render(*EXTERNAL, *sets))["Deployment/keystead-operator"]


def container(pod: Object, name: str) -> Object:
    (found,) = [each for each in containers(pod) if each["name"] == name]
    return found


def mounts(one_container: Object) -> dict[str, tuple[str, bool]]:
    return {m["name"]: (m["mountPath"], m.get("readOnly", False)) for m in one_container["volumeMounts"]}


def environment(one_container: Object) -> dict[str, str]:
    return {each["name"]: each.get("value", RELEASE) for each in one_container["env"]}


def test_the_chart_carries_byte_equal_copies_of_the_crds() -> None:
    ours = {path.name: path.read_bytes() for path in (CHART / "crd-bases").glob("*.yaml")}
    assert len(ours) == len(KINDS)
    assert ours == {path.name: path.read_bytes() for path in CRDS.glob("*.yaml")}


def test_rendered_crds_are_the_copies_with_one_more_annotation(render: Renderer) -> None:
    rendered = {each["metadata"]["name"]: each for each in of_kind(render(*EXTERNAL), "CustomResourceDefinition")}
    assert set(rendered) == {f"{kind}.{KMS}" for kind in KINDS}
    for path in (CHART / "crd-bases").glob("*.yaml"):
        expected = yaml.safe_load(path.read_text())
        expected["metadata"].setdefault("annotations", {})["helm.sh/resource-policy"] = "keep"
        assert rendered[expected["metadata"]["name"]] == expected


def test_crds_can_be_left_out(render: Renderer) -> None:
    assert not of_kind(render(*EXTERNAL, "crds.install=false"), "CustomResourceDefinition")


def test_every_object_says_its_namespace_and_its_chart(render: Renderer) -> None:
    monitors = ("operator.serviceMonitor.enabled=true", "server.serviceMonitor.enabled=true", "server.prometheusRule.enabled=true")
    for each in render(*JOB, *monitors, "dataKeys.namespaces={team-a}", ALERTS):
        name = f"{each['kind']}/{each['metadata']['name']}"
        assert ("namespace" in each["metadata"]) == (each["kind"] not in CLUSTER_SCOPED), name
        if each["kind"] != "CustomResourceDefinition":
            assert each["metadata"]["labels"]["app.kubernetes.io/name"] == "keystead", name


@pytest.mark.parametrize("setup", [EXTERNAL, JOB], ids=["external", "job"])
def test_the_records_namespace_is_kept_and_restricted(render: Renderer, setup: tuple[str, ...]) -> None:
    namespace = one(render(*setup), "Namespace", RECORDS)["metadata"]
    assert namespace["annotations"]["helm.sh/resource-policy"] == "keep"
    assert namespace["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"


def test_the_records_namespace_is_never_deleted_as_a_hook(render: Renderer) -> None:
    annotations = one(render(*JOB), "Namespace", RECORDS)["metadata"]["annotations"]
    known = {"before-hook-creation", "hook-succeeded", "hook-failed"}
    policies = set(annotations["helm.sh/hook-delete-policy"].split(","))
    assert policies, "without one, Helm deletes before it creates"
    assert not policies & known
    assert annotations["argocd.argoproj.io/hook"] == "Skip"


def hooks(objects: list[Object], event: str) -> list[Object]:
    """The hooks of an event, in Helm's order of weights."""
    found = [each for each in objects if each["metadata"].get("annotations", {}).get("helm.sh/hook") == event]
    return sorted(found, key=lambda each: int(each["metadata"]["annotations"]["helm.sh/hook-weight"]))


@pytest.mark.parametrize("setup", [EXTERNAL, JOB], ids=["external", "job"])
def test_hooks_are_for_the_ceremony_and_for_the_uninstall_only(render: Renderer, setup: tuple[str, ...]) -> None:
    objects = render(*setup)
    events = {each["metadata"].get("annotations", {}).get("helm.sh/hook") for each in objects} - {None}
    assert events == ({"pre-delete"} if setup is EXTERNAL else {"pre-install", "pre-delete"})


def test_hooks_come_in_the_order_namespace_rights_job(render: Renderer) -> None:
    found = hooks(render(*JOB), "pre-install")
    assert (found[0]["kind"], found[-1]["kind"]) == ("Namespace", "Job")


@pytest.mark.parametrize("sets", [(), ("operator.namespaces={team-a,team-b}",)], ids=["everywhere", "namespaces"])
def test_what_the_uninstall_hook_makes_is_gone_with_its_success(render: Renderer, sets: tuple[str, ...]) -> None:
    objects = render(*EXTERNAL, *sets)
    found = hooks(objects, "pre-delete")
    assert found[-1]["kind"] == "Job"
    assert {each["kind"] for each in found[:-1]} <= {
        *("ServiceAccount", "Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding")
    }
    assert [each for each in objects if each["metadata"]["name"].startswith("keystead-uninstall") and each not in found] == []
    for each in found:
        policies = each["metadata"]["annotations"]["helm.sh/hook-delete-policy"].split(",")
        assert sorted(policies) == ["before-hook-creation", "hook-succeeded"]


def test_the_uninstall_hook_has_neither_token_nor_pin(render: Renderer) -> None:
    pod = pod_templates(render(*EXTERNAL))["Job/keystead-uninstall"]
    (only,) = containers(pod)
    assert only["args"] == ["release-finalizers"]
    assert {volume["name"] for volume in pod["volumes"]} == {"account", "tmp"}
    assert pod["serviceAccountName"] == "keystead-uninstall"


def test_the_uninstall_hook_serves_the_operators_namespaces_under_its_lease(render: Renderer) -> None:
    pods = pod_templates(render(*EXTERNAL, "operator.namespaces={team-a}", "operator.lease.renewDeadlineSeconds=7"))
    hook = settings.from_environment(environment(container(pods["Job/keystead-uninstall"], "uninstall")))
    operator = settings.from_environment(environment(container(pods["Deployment/keystead-operator"], "operator")))
    assert hook.cluster == operator.cluster
    assert (hook.operator.renew_deadline, hook.operator.lease_name) == (7.0, operator.operator.lease_name)


def test_the_job_encrypts_the_recovery_key_or_says_the_risk(render: Renderer, tmp_path: Path) -> None:
    (tmp_path / "c.pem").write_text("-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n")
    recipient = ("--set-file", f"hsm.init.recoveryRecipient={tmp_path}/c.pem")
    for arguments, last in (
        (recipient, ["--recovery-recipient", "/etc/keystead/recovery.pem"]),
        ((), ["--accept-risk"]),
    ):
        objects = render(*JOB, arguments=arguments)
        pod = pod_templates(objects)["Job/keystead-hsm-init"]
        place = ["--softhsm-dir", "/run/keystead/ceremony/token"]
        assert container(pod, "hsm-init")["args"] == ["hsm", "init", *place, "--to-cluster", *last]
    with_recipient = one(render(*JOB, arguments=recipient), "ConfigMap", "keystead-hsm-init")
    assert with_recipient["data"]["recovery.pem"] == (tmp_path / "c.pem").read_text()


def test_the_ceremony_is_tried_once(render: Renderer) -> None:
    job = one(render(*JOB), "Job", "keystead-hsm-init")["spec"]
    assert (job["backoffLimit"], job["template"]["spec"]["restartPolicy"]) == (0, "Never")


@pytest.mark.parametrize("setup", [EXTERNAL, JOB], ids=["external", "job"])
def test_every_container_is_restricted(render: Renderer, setup: tuple[str, ...]) -> None:
    for pod in pod_templates(render(*setup)).values():
        context = pod["securityContext"]
        assert (context["runAsUser"], context["fsGroup"], context["runAsNonRoot"]) == (65532, 65532, True)
        assert pod["automountServiceAccountToken"] is False
        for each in containers(pod):
            own = each["securityContext"]
            assert own["readOnlyRootFilesystem"] is True
            assert own["allowPrivilegeEscalation"] is False
            assert own["capabilities"] == {"drop": ["ALL"]}
            assert own["seccompProfile"] == {"type": "RuntimeDefault"}
            assert each["resources"]["limits"]["memory"]


def test_the_operator_sees_copies_of_token_and_pin_only_and_read_only(render: Renderer) -> None:
    pod = operator_pod(render)
    assert mounts(container(pod, "operator")) == {
        "account": ("/var/run/secrets/kubernetes.io/serviceaccount", True),
        "token": ("/run/keystead/token", True),
        "pin": ("/run/keystead/pin", True),
        "tmp": ("/tmp", False),
        "audit": ("/var/lib/keystead/audit", False),
    }
    memory = {v["name"] for v in pod["volumes"] if v.get("emptyDir", {}).get("medium") == "Memory"}
    assert memory == {"token", "pin", "tmp"}


def test_init_containers_copy_without_the_accounts_token(render: Renderer) -> None:
    pod = operator_pod(render)
    unpack, pin = container(pod, "unpack-token"), container(pod, "copy-pin")
    assert unpack["args"] == ["hsm", "unpack-token", "/secret/token", "/run/keystead/token"]
    assert pin["command"] == ["cp", "-L", "/secret/pin/pin", "/run/keystead/pin/pin"]
    assert mounts(unpack) == {"token-secret": ("/secret/token", True), "token": ("/run/keystead/token", False)}
    assert mounts(pin) == {"pin-secret": ("/secret/pin", True), "pin": ("/run/keystead/pin", False)}


def test_a_missing_secret_keeps_the_pod_waiting(render: Renderer) -> None:
    secrets = [v["secret"] for v in operator_pod(render)["volumes"] if "secret" in v]
    assert {each["secretName"] for each in secrets} == {"keystead-token", "keystead-pin"}
    assert not [each for each in secrets if each.get("optional")]


def test_settings_understand_the_operators_environment(render: Renderer) -> None:
    changed = (
        "operator.region=eu-1",
        "operator.namespaces={team-a,team-b}",
        "operator.workers=4",
        "operator.refreshPeriodSeconds=60",
        "operator.keysPerNamespace=500",
        "operator.lease.durationSeconds=9",
        "operator.lease.renewDeadlineSeconds=6",
        "operator.lease.retryPeriodSeconds=1",
        "hsm.slowLanes=3",
        "hsm.softwareProtection=Allowed",
        "hsm.tokenLabel=other",
        "hsm.pinSecret=other-pin",
    )
    found = settings.from_environment(environment(container(operator_pod(render, *changed), "operator")))
    assert found.cluster == settings.ClusterSettings(
        region="eu-1", watch_namespaces=("team-a", "team-b"), pin_secret="other-pin", keys_per_namespace=500
    )
    assert found.operator == settings.OperatorSettings(
        workers=4, refresh_period=60.0, lease_duration=9.0, renew_deadline=6.0, retry_period=1.0
    )
    assert (found.hsm.slow_lanes, found.hsm.token_label) == (3, "other")
    assert found.hsm.software_protection is settings.SoftwareProtection.ALLOWED


def test_the_default_environment_is_the_default_settings(render: Renderer) -> None:
    found = settings.from_environment(environment(container(operator_pod(render), "operator")))
    assert replace(found, audit=settings.AuditSettings()) == settings.Settings()  # the volume's: test_chart_audit.py


def test_no_variable_is_set_that_settings_do_not_read(render: Renderer) -> None:
    source = Path(settings.__file__).read_text()
    known = set(re.findall(r'"(KEYSTEAD_[A-Z_]+)"', source)) | {"SOFTHSM2_CONF"}
    for pod in pod_templates(render(*JOB)).values():
        for each in pod["containers"]:
            assert set(environment(each)) <= known


def test_softhsm_is_pointed_at_what_the_init_container_writes(render: Renderer, tmp_path: Path) -> None:
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret" / "tokens__0f__token.object").write_bytes(b"x")
    unpack_token(tmp_path / "secret", tmp_path / "token")
    pod = operator_pod(render)
    folder = container(pod, "unpack-token")["args"][-1]
    assert environment(container(pod, "operator"))["SOFTHSM2_CONF"] == f"{folder}/softhsm2.conf"
    assert (tmp_path / "token" / "softhsm2.conf").exists()
    assert environment(container(pod, "operator"))["KEYSTEAD_HSM_PIN_FILE"] == container(pod, "copy-pin")["command"][-1]


def test_the_command_line_knows_every_argument(render: Renderer, tmp_path: Path) -> None:
    (tmp_path / "c.pem").write_text("-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n")
    recipient = ("--set-file", f"hsm.init.recoveryRecipient={tmp_path}/c.pem")
    for arguments in ((), recipient):
        for pod in pod_templates(render(*JOB, arguments=arguments)).values():
            for each in containers(pod):
                if "command" not in each:  # else it does not start `keystead`
                    parse(each["args"])


def parse(words: list[str]) -> None:
    """Reads a command line as `keystead` does, without running it; click raises for what it does not know."""
    command: click.Command = cli
    while isinstance(command, click.Group) and words:
        command, words = command.commands[words[0]], words[1:]
    command.make_context("keystead", list(words))


def test_the_pin_marker_is_empty(render: Renderer) -> None:
    marker = one(render(*EXTERNAL), "ConfigMap", "keystead-pin-refused")
    assert not {"data", "binaryData", "immutable"} & set(marker)


def test_probes_ask_the_operators_port(render: Renderer) -> None:
    operator = container(operator_pod(render), "operator")
    assert operator["ports"] == [{"name": "probes", "containerPort": 8080}]
    paths = {probe: operator[probe]["httpGet"] for probe in ("livenessProbe", "readinessProbe")}
    assert paths == {
        "livenessProbe": {"path": "/healthz", "port": "probes"},
        "readinessProbe": {"path": "/readyz", "port": "probes"},
    }


def test_selectors_find_the_operators_pods(render: Renderer) -> None:
    objects = render(*EXTERNAL, "operator.serviceMonitor.enabled=true")
    deployment = one(objects, "Deployment", "keystead-operator")["spec"]
    labels = deployment["template"]["metadata"]["labels"].items()
    selectors = [
        deployment["selector"]["matchLabels"],
        one(objects, "PodDisruptionBudget", "keystead-operator")["spec"]["selector"]["matchLabels"],
        one(objects, "NetworkPolicy", "keystead-operator")["spec"]["podSelector"]["matchLabels"],
        one(objects, "Service", "keystead-operator-metrics")["spec"]["selector"],
        *(c["labelSelector"]["matchLabels"] for c in deployment["template"]["spec"]["topologySpreadConstraints"]),
    ]
    assert all(selector.items() <= labels for selector in selectors)
    assert "version" not in str(selectors), "a selector that changes with the version refuses every upgrade"


@pytest.mark.parametrize("job", ["keystead-hsm-init", "keystead-uninstall"])
def test_a_job_is_no_pod_of_the_operator(render: Renderer, job: str) -> None:
    objects = render(*JOB)
    selector = one(objects, "Deployment", "keystead-operator")["spec"]["selector"]["matchLabels"]
    labels = one(objects, "Job", job)["spec"]["template"]["metadata"]["labels"]
    assert not selector.items() <= labels.items()


def test_one_replica_has_no_disruption_budget(render: Renderer) -> None:
    left = of_kind(render(*EXTERNAL, "operator.replicas=1"), "PodDisruptionBudget")
    assert [each["metadata"]["name"] for each in left] == ["keystead-server"]


def test_the_network_policy_lets_only_probes_in(render: Renderer) -> None:
    spec = one(render(*EXTERNAL), "NetworkPolicy", "keystead-operator")["spec"]
    assert spec["policyTypes"] == ["Ingress", "Egress"]
    assert spec["ingress"] == [{"ports": [{"port": "probes", "protocol": "TCP"}]}]
    assert {port["port"] for rule in spec["egress"] for port in rule["ports"]} == {53, 443, 6443, 8443, 16443}


def test_a_digest_wins_over_a_tag(render: Renderer) -> None:
    digest = "sha256:" + "0" * 64
    pod = operator_pod(
        render, "operator.image.repository=r/keystead", "operator.image.tag=v1", f"operator.image.digest={digest}"
    )
    assert {each["image"] for each in containers(pod)} == {f"r/keystead@{digest}"}


@pytest.mark.parametrize("setup", [EXTERNAL, JOB], ids=["external", "job"])
def test_the_only_secret_of_the_chart_besides_tls_is_an_empty_heartbeat(render: Renderer, setup: tuple[str, ...]) -> None:
    found = of_kind(render(*setup), "Secret")
    (secret,) = (each for each in found if each["metadata"]["name"] != "keystead-server-tls")
    assert not {"data", "stringData", "immutable"} & set(secret)
    assert (secret["metadata"]["namespace"], secret["metadata"]["name"]) == (RECORDS, "heartbeat")
    assert secret["type"] == "kms.keystead.io/heartbeat"
    assert secret["metadata"]["labels"]["kms.keystead.io/record"] == "heartbeat"
    assert secret["metadata"]["annotations"] == {"helm.sh/resource-policy": "keep"}


@pytest.mark.parametrize(("sets", "policy"), [((), "rbac"), (("policies.namespaceDefaultPolicy=strict",), "strict")])
def test_the_policy_at_birth_reaches_the_operator_as_a_setting(render: Renderer, sets: tuple[str, ...], policy: str) -> None:
    found = settings.from_environment(environment(container(operator_pod(render, *sets), "operator")))
    assert found.operator.namespace_default_policy == policy
