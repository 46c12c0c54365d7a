"""The tests' own administrator: JSON over HTTPS to the real API server, past every proxy. A call costs milliseconds.

kubectl is what people use and what the other tests use; a crash matrix asks thousands of questions.
"""

from __future__ import annotations

import base64
import http.client
import json
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from tests.cluster.cluster import Cluster
from tests.operator.chaos import server_of
from tests.operator.harness import RECORDS, condition, wait_for

from keystead.engine.identifiers import RecordKind, record_name
from keystead.engine.managed import AUDIT_KEY
from keystead.engine.record import AccountRecord, AliasRecord, DataKeyRecord, GrantRecord, KeyRecord, decode
from keystead.reconciler.ports import Kind
from keystead.resources import names

ACCOUNT = "crash-tests"
_RECORDS: dict[str, Any] = {
    "key": KeyRecord,
    "orphan": KeyRecord,
    "alias": AliasRecord,
    "grant": GrantRecord,
    "datakey": DataKeyRecord,
    "account": AccountRecord,
}
_SECRETS = f"/api/v1/namespaces/{RECORDS}/secrets"


class CallError(AssertionError):
    """The API server refused a call of a test."""


@dataclass
class Direct:
    """Calls with the rights of cluster-admin."""

    cluster: Cluster

    def __post_init__(self) -> None:
        self.url, self._tls = server_of(self.cluster)
        if not self.cluster.kubectl("get", "serviceaccount", ACCOUNT, "-n", "default", "--ignore-not-found"):
            who = f"--serviceaccount=default:{ACCOUNT}"
            self.cluster.kubectl("create", "serviceaccount", ACCOUNT, "-n", "default")
            self.cluster.kubectl("create", "clusterrolebinding", ACCOUNT, "--clusterrole=cluster-admin", who)
        token = self.cluster.kubectl("create", "token", ACCOUNT, "-n", "default", "--duration", "8h").strip()
        self._headers = {"Authorization": f"Bearer {token}", "Accept": "application/json"}

    def call(self, method: str, path: str, body: object = None, kind: str = "application/json") -> Any:
        """The JSON of the answer; None for 404."""
        connection = self.connect()
        try:
            return self.send(connection, method, path, body, kind)
        finally:
            connection.close()

    def connect(self) -> http.client.HTTPSConnection:
        """For calls in quick succession; whoever asks for it closes it."""
        return http.client.HTTPSConnection(urlsplit(self.url).netloc, context=self._tls, timeout=20)

    def send(
        self, connection: http.client.HTTPSConnection, method: str, path: str, body: object = None, kind: str = "application/json"
    ) -> Any:
        """`call` on a connection that stays open."""
        data = None if body is None else json.dumps(body)
        connection.request(method, path, data, self._headers | {"Content-Type": kind})
        response = connection.getresponse()
        text = response.read()
        if response.status == 404 and method == "GET":
            return None
        if response.status >= 300:
            raise CallError(f"{method} {path}: {response.status} {text.decode()[:300]}")
        return json.loads(text)

    def get(self, path: str) -> Any:
        """The object, or None."""
        return self.call("GET", path)

    def merge(self, path: str, patch: object) -> Any:
        """A merge patch."""
        return self.call("PATCH", path, patch, "application/merge-patch+json")

    def create(self, body: dict[str, Any]) -> Any:
        """A new object of one of our kinds, a Secret or a namespace."""
        return self.call("POST", path_of(body["kind"], body["metadata"].get("namespace", "")), body)

    def annotate(self, kind: str, namespace: str, name: str, annotation: str, value: str) -> None:
        """Set one annotation."""
        self.merge(path_of(kind, namespace, name), {"metadata": {"annotations": {annotation: value}}})

    def object(self, kind: str, namespace: str, name: str) -> Any:
        """An object of one of our kinds, a Secret or a namespace, or None."""
        return self.get(path_of(kind, namespace, name))

    def wait_own_key(self) -> None:
        """Until Keystead's own key is made: what tests count afterwards has no write of that in it."""

        def ready() -> bool:
            body = self.object("KmsKey", RECORDS, AUDIT_KEY)
            found = None if body is None else condition(body)
            return found is not None and found["reason"] == "Available"

        wait_for("KmsKey audit-signing", ready)

    def record(self, kind: RecordKind, namespace: str, name: str) -> Any:
        """The Secret of a record, or None."""
        return self.get(f"{_SECRETS}/{record_name(kind, namespace, name)}")

    def records(self) -> list[Any]:
        """All record Secrets. The heartbeat has the label, and is none."""
        found: list[Any] = self.get(f"{_SECRETS}?labelSelector={names.RECORD},{names.RECORD}!=heartbeat")["items"]
        return found

    def events(self, namespace: str, uid: str) -> list[str]:
        """The reasons of an object's events."""
        items = self.get(f"/api/v1/namespaces/{namespace}/events")["items"]
        return sorted(item["reason"] for item in items if item["involvedObject"].get("uid") == uid)


def path_of(kind: str, namespace: str, name: str = "") -> str:
    """The API path of an object, or (without a name) of its collection."""
    if kind == "Namespace":
        return f"/api/v1/namespaces/{name}".rstrip("/")
    base = "/api/v1" if kind == "Secret" else f"/apis/{names.API_VERSION}"
    plural = "secrets" if kind == "Secret" else Kind(kind).plural
    return f"{base}/namespaces/{namespace}/{plural}/{name}".rstrip("/")


def bytes_of(secret: Any, member: str = "record") -> bytes:
    """A member of a Secret's data."""
    return base64.b64decode(secret["data"][member])


def decoded(secret: Any) -> Any:
    """The record in a record Secret or in the body of a write of one; None for a kind that no test looks into."""
    kind = _RECORDS.get(secret["metadata"]["name"].split("-")[0])
    return None if kind is None else decode(bytes_of(secret), kind)
