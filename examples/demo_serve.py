"""The steps of the demo at the AWS endpoint: `keystead server`, a ServiceAccount, an unmodified boto3; who may, and who did."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError
from tests.operator.harness import wait_for
from tests.serving.harness import Authority, ServerProcess, Workload, assume, kms, make_authority, start
from tests.serving.kubectl import Plugin

if TYPE_CHECKING:
    from examples.demo import Demo

NAMESPACE = "orders"
VERBS = ("createkey", "describekey", "encrypt", "decrypt", "disablekey", "enablekey")
CONTEXT = {"app": "orders"}
CLIENT = "api-client"
AUDITOR = "auditor"
VISITOR = ("--clusterrole=keystead-key-user", f"--serviceaccount={NAMESPACE}:visitor")


@dataclass(frozen=True)
class Serving:
    """A running server, and where its audit trail and the operator's lies."""

    demo: Demo
    authority: Authority
    process: ServerProcess
    trail: Path

    @property
    def public_key(self) -> Path:
        """Where `show_trail` puts the key of the trail's signatures."""
        return self.demo.made.folder / "audit.pem"

    def client(self, workload: Workload) -> Any:  # noqa: ANN401 - boto3 has no types
        """boto3 with the temporary credentials of a ServiceAccount."""
        return kms(self.process, self.authority, assume(self.process, self.authority, workload, self.demo.account()))


def serve(demo: Demo, pid_file: Path, trail: Path) -> Serving:
    """Start a server; it stays up for you."""
    authority = make_authority(demo.made.folder / "tls")
    process = start(demo.made, authority)
    pid_file.write_text(str(process.child.pid))
    return Serving(demo, authority, process, trail)


def call_endpoint(serving: Serving) -> str:
    """A key made by boto3 is a KmsKey; DisableKey refuses from its answer on."""
    demo = serving.demo
    workload = Workload(demo.made, NAMESPACE, CLIENT).create(*VERBS)
    serving.process.wait_ready()
    client = serving.client(workload)
    key_id = client.create_key(Description="made by boto3")["KeyMetadata"]["KeyId"]
    listed = demo.cluster.get("kmskey", "-n", NAMESPACE, "-l", "kms.keystead.io/created-by=api")["items"]
    (name,) = [body["metadata"]["name"] for body in listed if (body.get("status") or {}).get("keyId") == key_id]
    blob = client.encrypt(KeyId=key_id, Plaintext=b"order 1", EncryptionContext=CONTEXT)["CiphertextBlob"]
    client.disable_key(KeyId=key_id)
    assert refusal(lambda: client.decrypt(CiphertextBlob=blob, EncryptionContext=CONTEXT)) == "DisabledException"
    assert demo.key(name)["spec"]["enabled"] is False
    client.enable_key(KeyId=key_id)
    assert client.decrypt(CiphertextBlob=blob, EncryptionContext=CONTEXT)["Plaintext"] == b"order 1"
    return f"CreateKey: kubectl shows {name}; Encrypt; DisableKey: DisabledException; EnableKey: the blob opens"


def deny_and_explain(serving: Serving) -> str:
    """Who has no right is refused, and `kubectl kms why` says what decided and what would change it. Then it does."""
    demo = serving.demo
    client = serving.client(Workload(demo.made, NAMESPACE, "visitor").create())
    blob = demo.blobs()["ciphertext"]
    context = {"app": "orders", "purpose": "database"}
    assert refusal(lambda: client.decrypt(CiphertextBlob=blob, EncryptionContext=context)) == "AccessDeniedException"
    why = Plugin.install(demo.cluster, demo.made.folder / "bin")
    told = why("why", "decrypt", "orders", "--as", "visitor", "-n", NAMESPACE)
    assert told.code == 1 and "change:" in told.out, told.out + told.err
    demo.say(told.out)
    demo.cluster.kubectl("create", "rolebinding", "visitor", "-n", NAMESPACE, *VISITOR)
    wait_for("the right", lambda: refusal(lambda: client.decrypt(CiphertextBlob=blob, EncryptionContext=context)) == "", every=0.5)
    assert why("why", "decrypt", "orders", "--as", "visitor", "-n", NAMESPACE).code == 0
    return "AccessDeniedException; kubectl kms why names the RBAC rule that lacks; with it the same call is answered"


def show_trail(serving: Serving) -> str:
    """Every call of above is on record, the refused one with its reason, and what the operator did; the chains are verified."""
    demo = serving.demo
    summary = ("audit", "summary", str(serving.trail), "--ask-cluster")

    def denied() -> dict[str, Any] | None:
        told: dict[str, Any] = json.loads(demo.made.keystead(*summary, "-o", "json").stdout)
        return told if any("role/visitor" in str(row) for row in told["denied"]) else None

    told = wait_for("the refusal in the trail", denied, every=0.5)
    assert {"IssueDataKey", "Decrypt"} <= {row["action"] for row in told["uses"]}, told["uses"]
    assert {row["name"] for row in told["neverUsed"]} == {"invoices", "sessions"}, told["neverUsed"]
    demo.say(demo.made.keystead(*summary).stdout)
    Workload(demo.made, NAMESPACE, AUDITOR).create("audit")
    serving.public_key.write_text(demo.made.keystead("audit", "key").stdout)
    verify = ("audit", "verify", str(serving.trail), "--public-key", str(serving.public_key), "-o", "json")

    def whole() -> bool:
        verdict = json.loads(demo.made.keystead(*verify, check=False).stdout)["verdict"]
        assert verdict in ("whole", "unsigned"), verdict
        return bool(verdict == "whole")

    wait_for("the first signature, 10 s after the first record", whole, every=1)
    return "who used which key, operator and server; who was refused and why; keystead audit verify: whole"


def refusal(call: Callable[[], object]) -> str:
    """The code with which a call is refused, "" where it is not."""
    try:
        call()
    except ClientError as error:
        return str(error.response["Error"]["Code"])
    return ""
