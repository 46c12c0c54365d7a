"""People with exactly the rights that a test gives them, on a real API server: impersonated users whose groups are their rights.

`kubectl --as` does the same with the same headers; a matrix of some hundred questions needs calls of milliseconds. A right is written
`verb resource/name in namespace` (a subresource `kmskeys+status`); each has a Role (a ClusterRole where it says `everywhere`) and a
binding to a group of that name.
"""

from __future__ import annotations

import hashlib
import http.client
import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from tests.cluster.cluster import Cluster
from tests.operator.chaos import server_of

KMS = "kms.keystead.io"
GROUPS = {"secrets": "", "configmaps": "", "namespaces": "", "deployments": "apps", "statefulsets": "apps", "daemonsets": "apps"}
EVERYWHERE = "everywhere"
MASTER = "system:masters"  # past RBAC: what then refuses is a policy or a schema
_RIGHT = re.compile(r"(?P<verb>\S+) (?P<resource>[a-z+]+)(?:/(?P<name>[a-z0-9.-]+))?(?: in (?P<where>\S+)| (?P<all>everywhere))?\Z")
Object = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Answer:
    """What the API server said."""

    status: int
    body: Object

    @property
    def ok(self) -> bool:
        return self.status < 300

    @property
    def message(self) -> str:
        """Why not; empty where it was allowed."""
        return "" if self.ok else str(self.body.get("message", ""))

    @property
    def by_policy(self) -> bool:
        """Whether an admission policy refused it."""
        return self.status == 403 and "ValidatingAdmissionPolicy" in self.message


@dataclass
class People:
    """One API server, asked as whom you like."""

    cluster: Cluster
    namespace: str

    def __post_init__(self) -> None:
        url, self._tls = server_of(self.cluster)
        self._host = urlsplit(url).netloc
        self.cluster.kubectl("create", "serviceaccount", "people", "-n", "default")
        who = "--serviceaccount=default:people"
        self.cluster.kubectl("create", "clusterrolebinding", "people", "--clusterrole=cluster-admin", who)
        self._token = self.cluster.kubectl("create", "token", "people", "-n", "default", "--duration", "2h").strip()

    def ask(
        self,
        rights: Iterable[str],
        method: str,
        path: str,
        body: object = None,
        *,
        user: str = "somebody",
        dry: bool = True,
        apply: bool = False,
    ) -> Answer:
        """One request of a user with these rights. `dry`: judged as any other, but nothing is stored. `apply`: on the server's side."""
        query = (["dryRun=All"] if dry and method != "GET" else []) + (["fieldManager=test", "force=true"] if apply else [])
        kind = {"PATCH": "application/apply-patch+yaml" if apply else "application/json-patch+json"}.get(method, "application/json")
        data = b"" if body is None else json.dumps(body).encode()
        headers = [("Authorization", f"Bearer {self._token}"), ("Content-Type", kind), ("Content-Length", str(len(data)))]
        headers += [("Impersonate-User", user), *(("Impersonate-Group", right) for right in rights)]
        connection = http.client.HTTPSConnection(self._host, context=self._tls, timeout=20)
        try:
            connection.putrequest(method, path + ("?" + "&".join(query) if query else ""))
            for header, value in headers:
                connection.putheader(header, value)
            connection.endheaders(data)
            response = connection.getresponse()
            return Answer(response.status, json.loads(response.read()))
        finally:
            connection.close()

    def must(self, method: str, path: str, body: object = None) -> Object:
        """One request past RBAC that is really carried out; what is not there need not be deleted."""
        answer = self.ask([MASTER], method, path, body, user="root", dry=False)
        assert answer.ok or (method, answer.status) == ("DELETE", 404), f"{method} {path}: {answer.status} {answer.message}"
        return answer.body

    def give(self, rights: Iterable[str]) -> None:
        """Roles and bindings of these rights; who has which is said when he asks."""
        self.cluster.apply(*(part for right in sorted(set(rights)) for part in _bound(right, self.namespace)))


def path_of(resource: str, namespace: str = "", name: str = "", subresource: str = "") -> str:
    """The API path of an object, or of its collection."""
    group = GROUPS.get(resource, KMS)
    base = {"": "/api/v1", "apps": "/apis/apps/v1"}.get(group, f"/apis/{group}/v1alpha1")
    parts = [base, *(["namespaces", namespace] if namespace else []), resource, name, subresource]
    return "/".join(part for part in parts if part)


def _bound(right: str, namespace: str) -> Iterator[Object]:
    match = _RIGHT.match(right)
    assert match is not None, right
    kind = "ClusterRole" if match["all"] else "Role"
    metadata = {"name": f"test-{hashlib.sha256(right.encode()).hexdigest()[:16]}"}
    metadata |= {} if match["all"] else {"namespace": match["where"] or namespace}
    resource = match["resource"].replace("+", "/")
    rule: Object = {"apiGroups": [GROUPS.get(resource.split("/")[0], KMS)], "resources": [resource], "verbs": [match["verb"]]}
    rule |= {"resourceNames": [match["name"]]} if match["name"] else {}
    api = "rbac.authorization.k8s.io"
    yield {"apiVersion": f"{api}/v1", "kind": kind, "metadata": metadata, "rules": [rule]}
    subject = {"apiGroup": api, "kind": "Group", "name": right}
    ref = {"apiGroup": api, "kind": kind, "name": metadata["name"]}
    yield {"apiVersion": f"{api}/v1", "kind": f"{kind}Binding", "metadata": metadata, "roleRef": ref, "subjects": [subject]}
