"""The step of the demo that calls the AWS endpoint: `keystead server`, a ServiceAccount's token, an unmodified boto3."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError
from tests.serving.harness import Workload, assume, kms, make_authority, start

if TYPE_CHECKING:
    from examples.demo import Demo

NAMESPACE = "orders"
VERBS = ("createkey", "describekey", "encrypt", "decrypt", "disablekey", "enablekey")
CONTEXT = {"app": "orders"}


def call_endpoint(demo: Demo, pid_file: Path) -> str:
    """A key made by boto3 is a KmsKey; DisableKey refuses from its answer on; the server stays up for you."""
    authority = make_authority(demo.made.folder / "tls")
    server = start(demo.made, authority)
    pid_file.write_text(str(server.child.pid))
    workload = Workload(demo.made, NAMESPACE, "api-client").create(*VERBS)
    server.wait_ready()
    client = kms(server, authority, assume(server, authority, workload, demo.account()))
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


def refusal(call: Callable[[], object]) -> str:
    """The code with which a call is refused, "" where it is not."""
    try:
        call()
    except ClientError as error:
        return str(error.response["Error"]["Code"])
    return ""
