"""Runs Helm on the chart and reads what it renders. Used by the chart's tests only."""

from __future__ import annotations

import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from tests.chart.rights import ANY, RELEASE, Grant
from tests.cluster import toolset

CHART = toolset.ROOT / "charts/keystead"
EXTERNAL = ("hsm.softhsm.acceptRisk=true", "hsm.init.mode=external")  # as the demo and the cluster tests install it
JOB = ("hsm.softhsm.acceptRisk=true", "hsm.init.acceptRisk=true")
Object = dict[str, Any]


class RefusedError(Exception):
    """Helm refused the values or the templates; the message is Helm's."""


@dataclass(frozen=True, slots=True)
class Renderer:
    """`helm template` with a chosen binary."""

    helm: Path

    def run(self, *arguments: str) -> str:
        """Helm's stdout; RefusedError with its stderr."""
        done = subprocess.run([str(self.helm), *arguments], capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise RefusedError(done.stderr)
        return done.stdout

    def text(self, *sets: str, namespace: str = RELEASE, arguments: Iterable[str] = ()) -> str:
        """The rendered chart, hooks included."""
        version = toolset.KUBERNETES[toolset.kubernetes_minor()]  # `helm template` alone assumes an old server
        flags = [f"--set={one}" for one in sets]
        where = ["--namespace", namespace, "--kube-version", version]
        return self.run("template", "keystead", str(CHART), *where, *flags, *arguments)

    def __call__(self, *sets: str, namespace: str = RELEASE, arguments: Iterable[str] = ()) -> list[Object]:
        """The rendered objects."""
        text = self.text(*sets, namespace=namespace, arguments=arguments)
        return [document for document in yaml.safe_load_all(text) if document]


def one(objects: Iterable[Object], kind: str, name: str, namespace: str | None = None) -> Object:
    """The only object of that kind and name."""
    (found,) = [
        each
        for each in objects
        if each["kind"] == kind
        and each["metadata"]["name"] == name
        and namespace in (None, each["metadata"].get("namespace"))
    ]
    return found


def of_kind(objects: Iterable[Object], *kinds: str) -> list[Object]:
    """All objects of these kinds."""
    return [each for each in objects if each["kind"] in kinds]


def pod_templates(objects: Iterable[Object]) -> dict[str, Object]:
    """`Kind/name` -> Pod spec of everything that makes Pods."""
    return {
        f"{each['kind']}/{each['metadata']['name']}": each["spec"]["template"]["spec"]
        for each in of_kind(objects, "Deployment", "Job")
    }


def containers(pod: Object) -> list[Object]:
    """Init containers first."""
    return [*pod.get("initContainers", []), *pod["containers"]]


def granted(objects: list[Object], account: str) -> set[Grant]:
    """Everything that RBAC among the objects gives to a ServiceAccount of the release's namespace."""
    subject = {"kind": "ServiceAccount", "name": account, "namespace": RELEASE}
    return {
        grant
        for binding in of_kind(objects, "RoleBinding", "ClusterRoleBinding")
        if subject in binding["subjects"]
        for grant in _of_role(objects, binding)
    }


def _of_role(objects: list[Object], binding: Object) -> Iterable[Grant]:
    namespace = binding["metadata"].get("namespace", ANY)
    ref = binding["roleRef"]
    role = one(objects, ref["kind"], ref["name"], namespace if ref["kind"] == "Role" else None)
    return rules(role, namespace)


def rules(role: Object, namespace: str = ANY) -> list[Grant]:
    """A role's rules one by one, in their order. A rule with other members (nonResourceURLs) is an error."""
    found = []
    for rule in role["rules"]:
        assert set(rule) <= {"apiGroups", "resources", "resourceNames", "verbs"}, rule
        found += [
            Grant(group, resource, verb, namespace, name)
            for group in rule["apiGroups"]
            for resource in rule["resources"]
            for verb in rule["verbs"]
            for name in rule.get("resourceNames", [ANY])
        ]
    return found
