"""A cluster in memory for `kubectl kms`: objects by path, rights of the person who asks, RBAC by the matching that is under test elsewhere.

Stands in for store.kube.Kube (request, list_pages, clock). The same commands run against a real API server in
tests/serving/test_kubectl_kms_why.py and test_kubectl_kms_impact.py.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, cast

from tests.builders import ACCOUNT, NAMESPACE, NOW, REGION, a_key_id

from keystead.app.kms.view import View
from keystead.errors import ForbiddenError, NotFoundError
from keystead.policy.rbac import Right, holdings
from keystead.resources.names import API_VERSION
from keystead.store.kube import Kube

Body = dict[str, Any]
_PLURALS = {
    "KmsKey": f"/apis/{API_VERSION}/namespaces/{{}}/kmskeys",
    "KmsAlias": f"/apis/{API_VERSION}/namespaces/{{}}/kmsaliases",
    "KmsGrant": f"/apis/{API_VERSION}/namespaces/{{}}/kmsgrants",
    "KmsDataKey": f"/apis/{API_VERSION}/namespaces/{{}}/kmsdatakeys",
    "Pod": "/api/v1/namespaces/{}/pods",
    "ServiceAccount": "/api/v1/namespaces/{}/serviceaccounts",
    "ReplicaSet": "/apis/apps/v1/namespaces/{}/replicasets",
    "CronJob": "/apis/batch/v1/namespaces/{}/cronjobs",
    "Role": "/apis/rbac.authorization.k8s.io/v1/namespaces/{}/roles",
    "RoleBinding": "/apis/rbac.authorization.k8s.io/v1/namespaces/{}/rolebindings",
    "ClusterRole": "/apis/rbac.authorization.k8s.io/v1/clusterroles",
    "ClusterRoleBinding": "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings",
}


class Clock:
    """Kube.clock."""

    def now(self) -> datetime:
        return NOW


@dataclass
class FakeKube:
    """`forbidden`: parts of paths that this person may not read, or reviews that he may not make."""

    objects: dict[str, Body] = field(default_factory=dict)
    forbidden: set[str] = field(default_factory=set)
    me: Body = field(default_factory=lambda: {"username": "jane", "groups": ["ops"]})
    clock: Clock = field(default_factory=Clock)

    def view(self) -> View:
        """What the commands use."""
        return View(cast(Kube, self))

    def put(self, kind: str, name: str, namespace: str = NAMESPACE, **members: Any) -> Body:
        """An object."""
        place = _PLURALS[kind].format(namespace)
        meta: Body = {"name": name, "uid": str(uuid.uuid4()), "generation": 1}
        if "{}" in _PLURALS[kind]:
            meta["namespace"] = namespace
        meta |= members.pop("metadata", {})
        self.objects[f"{place}/{name}"] = body = {"apiVersion": API_VERSION, "kind": kind, "metadata": meta, **members}
        if not kind.startswith("Kms"):
            body["apiVersion"] = "v1"
        return body

    def key(self, name: str = "app", namespace: str = NAMESPACE, account: str = ACCOUNT, state: str = "Enabled", **spec: Any) -> Body:
        """A KmsKey that has its key."""
        key_id = a_key_id(1, name, namespace)
        arn = f"arn:aws:kms:{REGION}:{account}:key/{key_id}"
        status = {"observedGeneration": 1, "keyId": key_id, "keyArn": arn, "keyState": state, "conditions": []}
        return self.put("KmsKey", name, namespace, spec=spec, status=status)

    def bind(self, name: str, rule: Body, *subjects: Body, namespace: str = NAMESPACE) -> None:
        """A Role, or without a namespace a ClusterRole, and its binding."""
        where = "" if namespace else "Cluster"
        self.put(f"{where}Role", name, namespace, rules=[rule])
        self.put(f"{where}RoleBinding", name, namespace, roleRef={"kind": f"{where}Role", "name": name}, subjects=list(subjects))

    async def request(self, method: str, path: str, query: Mapping[str, str] | None = None, body: Any = None) -> Any:
        self._check(path)
        if method == "POST":
            return self._review(path, body)
        if path not in self.objects:
            raise NotFoundError(f"GET {path}: 404")
        return self.objects[path]

    async def list_pages(self, path: str, query: Mapping[str, str] | None = None) -> tuple[list[Body], str]:
        self._check(path)
        plural = path.rsplit("/", 1)[1]
        everywhere = "/namespaces/" not in path and plural.startswith("kms")
        found = [body for place, body in self.objects.items() if place.rsplit("/", 1)[0] == path or (everywhere and f"/{plural}/" in place)]
        return found, "1"

    def _check(self, path: str) -> None:
        for part in self.forbidden:
            if part in path:
                raise ForbiddenError(f"GET {path}: 403 forbidden")

    def _review(self, path: str, body: Any) -> Body:
        if path.endswith("selfsubjectreviews"):
            return {"status": {"userInfo": self.me}}
        spec = body["spec"]
        about = spec["resourceAttributes"]
        right = Right(about["verb"], about["group"], about["resource"], about["namespace"], about["name"])
        user, groups = spec.get("user", self.me["username"]), spec.get("groups", self.me["groups"])
        roles = {}
        for each in self.objects.values():
            if each["kind"] in ("Role", "ClusterRole"):
                roles[each["kind"], each["metadata"].get("namespace", ""), each["metadata"]["name"]] = each
        bindings = [each for each in self.objects.values() if each["kind"].endswith("RoleBinding")]
        held = [each for each in holdings(bindings, roles, right) if any(subject.is_about(user, groups) for subject in each.subjects)]
        return {"status": {"allowed": bool(held), "reason": f"RBAC: allowed by {held[0].binding}" if held else ""}}


def account(name: str, namespace: str = NAMESPACE) -> Body:
    """A subject."""
    return {"kind": "ServiceAccount", "name": name, "namespace": namespace}


def rule(*verbs: str, names: tuple[str, ...] = (), group: str = "kms.keystead.io", resource: str = "kmskeys") -> Body:
    """A rule of a role."""
    return {"verbs": list(verbs), "apiGroups": [group], "resources": [resource], **({"resourceNames": list(names)} if names else {})}
