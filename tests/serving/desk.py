"""What the data plane tests share: ServiceAccounts that call, by boto3 or by hand, and an administrator's hands. No kubectl: it is slow.

    Desk    installation, administrator, server
    Worker  a ServiceAccount with verbs; its tokens, sessions and clients
    Raw     one HTTPS connection without an SDK: Bearer tokens, forms, whatever is to be refused
"""

from __future__ import annotations

import base64
import http.client
import json
import re
import ssl
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

import boto3
import jwt
import pytest
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from tests.cluster.kinds import BuiltControl
from tests.operator.direct import Direct, path_of
from tests.operator.harness import Installation, condition, wait_for
from tests.serving.harness import REGION, Authority, ServerProcess

KEY, ALIAS, GRANT = "KmsKey", "KmsAlias", "KmsGrant"
RBAC = "/apis/rbac.authorization.k8s.io/v1/namespaces"
BOTH = ("kmskeys", "kmsaliases")
_ROLE = re.compile(r"arn:aws:iam::\d{12}:role/[\w.-]+")
_FORM = "application/x-www-form-urlencoded"


@dataclass(frozen=True)
class Answer:
    """What came back. `code`: AWS's name of an error, "" for none."""

    status: int
    headers: http.client.HTTPMessage
    text: str

    @property
    def json(self) -> Any:
        """The body."""
        return json.loads(self.text) if self.text else {}

    @property
    def code(self) -> str:
        """AWS's name of the error."""
        return str(self.json.get("__type", "")) if self.status != 200 else ""


@dataclass
class Raw:
    """A client that signs nothing. `token`: sent as Bearer. `keep`: the connection, which whoever asks for it closes."""

    port: int
    context: ssl.SSLContext
    token: str = ""
    keep: bool = False

    def __post_init__(self) -> None:
        self._open: http.client.HTTPSConnection | None = None

    def post(self, body: bytes, headers: Mapping[str, str]) -> Answer:
        """One request, on the connection of the last one where it still stands."""
        if self._open is None:
            self._open = http.client.HTTPSConnection("localhost", self.port, context=self.context, timeout=15)
        try:
            self._open.request("POST", "/", body, dict(headers))
            response = self._open.getresponse()
            answer = Answer(response.status, response.headers, response.read().decode())
        except (OSError, http.client.HTTPException):
            self.close()
            raise
        if response.will_close or not self.keep:
            self.close()
        return answer

    def call(self, operation: str, **members: Any) -> Answer:
        """A call of KMS."""
        headers = {"X-Amz-Target": f"TrentService.{operation}", "Content-Type": "application/x-amz-json-1.1"}
        if self.token:
            headers["Authorization"] = f"Bearer {self.token}"
        return self.post(json.dumps(members, default=_blob).encode(), headers)

    def form(self, **fields: str) -> Answer:
        """A call of STS; the answer is XML."""
        return self.post(urlencode({"Version": "2011-06-15", **fields}).encode(), {"Content-Type": _FORM})

    def close(self) -> None:
        """End the connection."""
        if self._open is not None:
            self._open.close()
            self._open = None


def _blob(value: object) -> str:
    assert isinstance(value, bytes)
    return base64.b64encode(value).decode()


@dataclass
class Desk:
    """One server, and who may do everything behind it."""

    installation: Installation
    direct: Direct
    authority: Authority
    server: ServerProcess

    def at(self, server: ServerProcess) -> Desk:
        """The same before another server."""
        return Desk(self.installation, self.direct, self.authority, server)

    def worker(self, namespace: str, name: str, *verbs: str) -> Worker:
        """A new ServiceAccount with these verbs."""
        body = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name, "namespace": namespace}}
        made = self.direct.call("POST", f"/api/v1/namespaces/{namespace}/serviceaccounts", body)
        worker = Worker(self, namespace, name, made["metadata"]["uid"])
        if verbs:
            worker.may(*verbs)
        return worker

    def trust(self) -> ssl.SSLContext:
        """What clients trust."""
        return ssl.create_default_context(cafile=str(self.authority.bundle))

    def raw(self, token: str = "", *, keep: bool = False) -> Raw:
        """A client without an SDK."""
        return Raw(self.server.endpoint_port, self.trust(), token, keep)

    def client(self, service: str, attempts: int = 1, url: str = "", **credentials: str) -> Any:
        """An unmodified boto3 client."""
        given = credentials or {"aws_access_key_id": "unused", "aws_secret_access_key": "unused"}
        retries = {"total_max_attempts": attempts, "mode": "standard"}
        config = Config(retries=retries, connect_timeout=5, read_timeout=15, max_pool_connections=32)
        return boto3.client(
            service,
            endpoint_url=url or self.server.url,
            region_name=REGION,
            verify=str(self.authority.bundle),
            config=config,
            **given,
        )

    def object(self, kind: str, namespace: str, name: str) -> Any:
        """The live object, or None."""
        return self.direct.object(kind, namespace, name)

    def named(self, namespace: str, key_id: str) -> Any:
        """The KmsKey that has this key id in its status, as kubectl shows it."""

        def look() -> Any:
            return next((item for item in self.direct.get(path_of(KEY, namespace))["items"] if _id_of(item) == key_id), None)

        # The record is what the API answers by; the status follows it.
        return wait_for(f"a KmsKey of {key_id}", look, 5, 0.02)

    def apply(self, kind: str, namespace: str, name: str, manager: str = "kubectl", **spec: Any) -> Any:
        """kubectl apply --server-side, then Ready."""
        body = {"apiVersion": "kms.keystead.io/v1alpha1", "kind": kind, "metadata": {"name": name, "namespace": namespace}}
        path = f"{path_of(kind, namespace, name)}?fieldManager={manager}&force=true"
        self.direct.call("PATCH", path, {**body, "spec": spec}, "application/apply-patch+yaml")

        def ready() -> Any:
            found = self.object(kind, namespace, name)
            said = condition(found)
            return found if said is not None and said["status"] != "Unknown" else None

        return wait_for(f"{kind} {namespace}/{name} was looked at", ready)

    def delete(self, kind: str, namespace: str, name: str) -> None:
        """kubectl delete."""
        self.direct.call("DELETE", path_of(kind, namespace, name))


def _id_of(item: Any) -> str:
    return str((item.get("status") or {}).get("keyId", ""))


@dataclass
class Worker:
    """A ServiceAccount that calls."""

    desk: Desk
    namespace: str
    name: str
    uid: str

    def at(self, server: ServerProcess) -> Worker:
        """The same before another server."""
        return Worker(self.desk.at(server), self.namespace, self.name, self.uid)

    def may(self, *verbs: str, resources: tuple[str, ...] = BOTH, names: tuple[str, ...] = ()) -> str:
        """A Role and its binding, whose name is answered."""
        name = f"{self.name}-{uuid.uuid4().hex[:8]}"
        rule: dict[str, Any] = {"apiGroups": ["kms.keystead.io"], "resources": list(resources), "verbs": list(verbs)}
        if names:
            rule["resourceNames"] = list(names)
        group = "rbac.authorization.k8s.io"
        metadata = {"name": name, "namespace": self.namespace}
        base = {"apiVersion": f"{group}/v1", "metadata": metadata}
        self.desk.direct.call("POST", f"{RBAC}/{self.namespace}/roles", {**base, "kind": "Role", "rules": [rule]})
        self.bind(name, "Role", name)
        return name

    def bind(self, name: str, kind: str, role: str) -> None:
        """A RoleBinding to a Role or ClusterRole."""
        group = "rbac.authorization.k8s.io"
        subject = {"kind": "ServiceAccount", "name": self.name, "namespace": self.namespace}
        body = {
            "apiVersion": f"{group}/v1",
            "kind": "RoleBinding",
            "metadata": {"name": name, "namespace": self.namespace},
            "roleRef": {"apiGroup": group, "kind": kind, "name": role},
            "subjects": [subject],
        }
        self.desk.direct.call("POST", f"{RBAC}/{self.namespace}/rolebindings", body)

    def token(self, *audiences: str) -> str:
        """A token of the TokenRequest API, like a projected one. Without an audience: what every Pod has."""
        path = f"/api/v1/namespaces/{self.namespace}/serviceaccounts/{self.name}/token"
        body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"audiences": list(audiences)}}
        return str(self.desk.direct.call("POST", path, body)["status"]["token"])

    def forged(self, **claims: Any) -> str:
        """A token as the API server signs it, with other claims: it gives none that lives less than 10 minutes."""
        control = self.desk.installation.cluster.control
        if not isinstance(control, BuiltControl):
            pytest.skip("needs the key with which the API server signs tokens")
        key = (control.plane.folder / "pki/sa.key").read_text()
        now = int(time.time())
        account = {"name": self.name, "uid": self.uid}
        told = {
            "iss": "https://kubernetes.default.svc.cluster.local",
            "aud": ["keystead"],
            "sub": f"system:serviceaccount:{self.namespace}:{self.name}",
            "iat": now - 700,
            "nbf": now - 700,
            "exp": now + 700,
            "kubernetes.io": {"namespace": self.namespace, "serviceaccount": account},
        }
        header = jwt.get_unverified_header(self.token("keystead"))
        return jwt.encode({**told, **claims}, key, algorithm=header["alg"], headers={"kid": header["kid"]})

    def assume(self, role: str, token: str | None = None, **more: Any) -> Any:
        """AssumeRoleWithWebIdentity."""
        sent = self.token("keystead") if token is None else token
        asked = {"RoleArn": role, "RoleSessionName": "tests", "WebIdentityToken": sent + "\n", **more}
        return self.desk.client("sts").assume_role_with_web_identity(**asked)

    @property
    def role(self) -> str:
        """Its role ARN, which the refusal of a wrong one tells to the token's own holder."""
        asked = {"RoleArn": "arn:aws:iam::000000000000:role/not-mine", "WebIdentityToken": self.token("keystead")}
        answer = self.desk.raw().form(Action="AssumeRoleWithWebIdentity", RoleSessionName="tests", **asked)
        found = _ROLE.search(answer.text)
        assert answer.status == 403 and found, answer.text
        return found[0]

    @property
    def account(self) -> str:
        """Its account id."""
        return self.role.split(":")[4]

    def session(self, **more: Any) -> dict[str, str]:
        """Temporary credentials."""
        found = self.assume(self.role, **more)["Credentials"]
        return {
            "aws_access_key_id": found["AccessKeyId"],
            "aws_secret_access_key": found["SecretAccessKey"],
            "aws_session_token": found["SessionToken"],
        }

    def kms(self, attempts: int = 1) -> Any:
        """A boto3 client with credentials of its own."""
        return self.desk.client("kms", attempts, **self.session())

    def raw(self, *, keep: bool = False) -> Raw:
        """A client with a Bearer token."""
        return self.desk.raw(self.token("keystead"), keep=keep)

    def delete(self) -> None:
        """The ServiceAccount goes."""
        self.desk.direct.call("DELETE", f"/api/v1/namespaces/{self.namespace}/serviceaccounts/{self.name}")


def code_of(call: Any, *args: Any, **members: Any) -> str:
    """AWS's name of the error of a boto3 call, "" where it succeeds."""
    try:
        call(*args, **members)
    except ClientError as error:
        return str(error.response["Error"]["Code"])
    return ""


def heard(call: Any, **members: Any) -> str:
    """As code_of; the error's own name where nobody answered."""
    try:
        return code_of(call, **members)
    except BotoCoreError as error:
        return type(error).__name__
