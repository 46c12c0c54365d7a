"""The audit trail of a real server and a real operator: who called, by which rule, and what the operator did; signed, and whole."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError
from tests.operator.canaries import found_in
from tests.operator.harness import Installation, OperatorProcess, wait_for
from tests.serving.harness import Authority, ServerProcess, Workload, account_of, assume, kms, server

from keystead.audit.reading.report import Verdict
from keystead.audit.reading.signatures import as_pem, read_keys
from keystead.audit.reading.verify import verify

pytestmark = pytest.mark.cluster
NAMESPACE = "serve-c"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(tmp_path_factory.mktemp("audit")) / "server"


@pytest.fixture(scope="module")
def pod(installation: Installation, leader: OperatorProcess, authority: Authority, folder: Path) -> Iterator[ServerProcess]:
    with server(installation, authority, "audited", server_workers="2", audit_folder=str(folder)) as process:
        process.wait_ready()
        yield process


def records(text: str) -> list[dict[str, Any]]:
    """What is on a process's standard output, among what it logs."""
    return [json.loads(line) for line in text.splitlines() if line.startswith('{"keysteadType"') and line.endswith("}")]


def named(text: str, event: str, /, **members: str) -> list[dict[str, Any]]:
    """Records of an event, whose details or parameters have these members."""
    found = [record for record in records(text) if record.get("eventName") == event]
    return [each for each in found if members.items() <= (each.get("serviceEventDetails") or each.get("requestParameters") or {}).items()]


def test_calls_are_on_record_with_the_session_and_the_rule_that_decided(
    installation: Installation, pod: ServerProcess, authority: Authority
) -> None:
    account = account_of(installation, NAMESPACE)
    allowed = Workload(installation, NAMESPACE, "audited").create("encrypt", "decrypt", "describekey")
    refused = Workload(installation, NAMESPACE, "audited-not").create()
    credentials = assume(pod, authority, allowed, account)
    client = kms(pod, authority, credentials, attempts=5)
    key = installation.cluster.get("kmskey", "first", "-n", NAMESPACE)["status"]["keyId"]
    blob = client.encrypt(KeyId=key, Plaintext=b"a canary plaintext", EncryptionContext={"audit": "yes"})["CiphertextBlob"]
    answer = client.decrypt(CiphertextBlob=blob, EncryptionContext={"audit": "yes"})
    with pytest.raises(ClientError, match="AccessDenied"):
        kms(pod, authority, assume(pod, authority, refused, account)).describe_key(KeyId=key)
    (decrypt,) = named(pod.text, "Decrypt")  # it was answered, so it is on record
    assert decrypt["requestID"] == answer["ResponseMetadata"]["RequestId"]
    assert decrypt["userIdentity"]["arn"] == f"arn:aws:sts::{account}:assumed-role/audited/tests"
    assert decrypt["userIdentity"]["sessionContext"]["webIdFederationData"]["federatedProvider"] == "kubernetes"
    told = decrypt["additionalEventData"]
    assert (told["namespace"], told["decision"]["by"]) == (NAMESPACE, "rbac")
    assert decrypt["tlsDetails"]["tlsVersion"] == "TLSv1.3"
    (denied,) = wait_for("the refusal on record", lambda: named(pod.text, "DescribeKey", keyId=key) or None)
    assert denied["errorCode"] == "AccessDenied"  # CloudTrail's, not the API's
    assert denied["additionalEventData"]["decision"]["allowed"] is False
    (session,) = named(pod.text, "AssumeRoleWithWebIdentity", roleArn=f"arn:aws:iam::{account}:role/audited")
    assert session["responseElements"]["credentials"]["accessKeyId"] == decrypt["userIdentity"]["accessKeyId"]
    secrets = [b"a canary plaintext", *(credentials[name].encode() for name in ("aws_secret_access_key", "aws_session_token")), blob]
    secrets.append((installation.token / "pin").read_bytes().strip())
    assert [number for number, secret in enumerate(secrets) if found_in(pod.text.encode(), secret)] == []


def test_what_the_operator_does_is_on_record(installation: Installation, leader: OperatorProcess) -> None:
    account_of(installation, NAMESPACE)
    arn = installation.cluster.get("kmskey", "first", "-n", NAMESPACE)["status"]["keyArn"]
    created = wait_for(
        "the key's making on record",
        lambda: [each for each in named(leader.text, "CreateKey", name="first") if each["resources"][0]["ARN"] == arn] or None,
    )
    assert created[0]["eventType"] == "AwsServiceEvent"
    assert created[0]["additionalEventData"] == {"namespace": NAMESPACE}


def test_the_trail_is_signed_by_keysteads_own_key_and_whole(installation: Installation, pod: ServerProcess, folder: Path) -> None:
    """Last: it ends the server."""
    get = installation.cluster.get
    pem = wait_for(
        "the signing key", lambda: (get("kmskey", "audit-signing", "-n", "keystead-records").get("status") or {}).get("publicKey")
    )

    def signing() -> bool:
        return len({record["chain"]["id"] for record in records(pod.text) if "signature" in record}) == 2

    wait_for("a signature of each worker", signing)  # the first one starts a process; the last one is not waited for as long
    pod.stop()
    assert verify([folder], read_keys(as_pem(pem).encode())).verdict is Verdict.WHOLE
    assert len({record["chain"]["id"] for record in records(pod.text)}) == 2
    signed = [record for record in records(pod.text) if "signature" in record]
    assert {record["keyArn"] for record in signed} == {get("kmskey", "audit-signing", "-n", "keystead-records")["status"]["keyArn"]}
