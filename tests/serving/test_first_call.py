"""The main job in a cluster: a ServiceAccount's token in, credentials out, and an unmodified boto3 that uses a key."""

from __future__ import annotations

import pytest
from botocore.exceptions import ClientError
from tests.operator.harness import Installation, wait_reason
from tests.serving.harness import Authority, ServerProcess, Workload, account_of, assume, kms

pytestmark = pytest.mark.cluster
NAMESPACE = "serve-a"


@pytest.fixture(scope="module")
def account(installation: Installation, serving: ServerProcess) -> str:
    return account_of(installation, NAMESPACE)


@pytest.fixture(scope="module")
def admin(installation: Installation, serving: ServerProcess, authority: Authority, account: str):
    """A client that RBAC lets do everything in its namespace."""
    workload = Workload(installation, NAMESPACE, "admin").create("*")
    return kms(serving, authority, assume(serving, authority, workload, account))


def test_what_the_api_creates_kubectl_shows(installation, admin):
    made = admin.create_key(Description="by the API", Tags=[{"TagKey": "team", "TagValue": "a"}])["KeyMetadata"]
    shown = [
        body
        for body in installation.cluster.get("kmskey", "-n", NAMESPACE)["items"]
        if (body.get("status") or {}).get("keyId") == made["KeyId"]
    ]
    assert [body["spec"]["description"] for body in shown] == ["by the API"]
    assert shown[0]["metadata"]["labels"]["kms.keystead.io/created-by"] == "api"


def test_what_kubectl_creates_the_api_uses(installation, admin):
    body = {
        "apiVersion": "kms.keystead.io/v1alpha1",
        "kind": "KmsKey",
        "metadata": {"namespace": NAMESPACE, "name": "by-hand"},
        "spec": {},
    }
    installation.cluster.apply(body)
    key_id = wait_reason(installation.cluster, "kmskey", NAMESPACE, "by-hand", "Available")["status"]["keyId"]
    blob = admin.encrypt(KeyId=key_id, Plaintext=b"hello", EncryptionContext={"a": "b"})["CiphertextBlob"]
    assert admin.decrypt(CiphertextBlob=blob, EncryptionContext={"a": "b"})["Plaintext"] == b"hello"


def test_a_disabled_key_refuses_from_the_answer_on(admin):
    key_id = admin.create_key()["KeyMetadata"]["KeyId"]
    admin.disable_key(KeyId=key_id)
    with pytest.raises(ClientError, match="DisabledException"):
        admin.encrypt(KeyId=key_id, Plaintext=b"x")
    admin.enable_key(KeyId=key_id)
    assert admin.encrypt(KeyId=key_id, Plaintext=b"x")["CiphertextBlob"]


def test_without_rbac_nothing_is_allowed(installation, serving, authority, account, admin):
    key_id = admin.create_key()["KeyMetadata"]["KeyId"]
    nobody = Workload(installation, NAMESPACE, "nobody").create()
    client = kms(serving, authority, assume(serving, authority, nobody, account))
    with pytest.raises(ClientError, match="AccessDeniedException"):
        client.encrypt(KeyId=key_id, Plaintext=b"x")
