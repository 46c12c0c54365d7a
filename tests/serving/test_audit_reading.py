"""Reading the audit trail of a real server on a real API server: tenants' records, the whole trail, and the API server's log beside it."""

from __future__ import annotations

import http.client
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from tests.operator.harness import Installation, wait_for
from tests.serving.desk import Desk, Worker, code_of
from tests.serving.harness import Authority, ServerProcess, server

pytestmark = pytest.mark.cluster
NAMESPACE, OTHER = "serve-c", "serve-b"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the server's records lie."""
    return tmp_path_factory.mktemp("trail")


@pytest.fixture(scope="module")
def recorded(installation: Installation, leader: object, authority: Authority, desk: Desk, folder: Path) -> Iterator[Desk]:
    """A server that keeps files of records."""
    with server(installation, authority, "audited", audit_folder=str(folder), audit_stdout="false") as process:
        process.wait_ready()
        yield desk.at(process)


@pytest.fixture(scope="module")
def app(recorded: Desk) -> Worker:
    return recorded.worker(NAMESPACE, "audit-app", "*")


@pytest.fixture(scope="module")
def arn(app: Worker) -> str:
    """A key with some use, and one refused call."""
    made = app.kms()
    found = str(made.create_key()["KeyMetadata"]["Arn"])
    for number in range(3):
        made.encrypt(KeyId=found, Plaintext=b"x", EncryptionContext={"row": str(number)})
    weak = app.desk.worker(NAMESPACE, "audit-weak", "describekey")
    assert code_of(weak.kms().encrypt, KeyId=found, Plaintext=b"x") == "AccessDeniedException"
    return found


def get(reader: Worker, process: ServerProcess, **query: str) -> tuple[int, Any]:
    """GET /audit."""
    connection = http.client.HTTPSConnection("localhost", process.endpoint_port, context=reader.desk.trust(), timeout=15)
    headers = {"Authorization": f"Bearer {reader.token('keystead')}"}
    connection.request("GET", "/audit?" + urlencode(query), headers=headers)
    response = connection.getresponse()
    body = json.loads(response.read())
    connection.close()
    return response.status, body


def keystead(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """A command on this machine."""
    command = [sys.executable, "-m", *arguments]
    return subprocess.run(command, env=dict(os.environ) | environment, capture_output=True, text=True, timeout=120, check=False)


def test_the_holder_of_the_verb_reads_its_keys_records_and_nobody_else_does(recorded: Desk, app: Worker, arn: str) -> None:
    reader, stranger = recorded.worker(NAMESPACE, "audit-reader", "audit"), recorded.worker(OTHER, "audit-stranger", "*")

    def refused_on_record() -> Any:  # Encrypt is answered before its record is on the disk
        status, told = get(reader, recorded.server, key=arn)
        assert status in (200, 429), told  # 429: asked too often
        return told if status == 200 and any("errorCode" in record for record in told["records"]) else None

    told = wait_for("the refusal on record", refused_on_record, 5)
    assert {record["eventName"] for record in told["records"]} >= {"CreateKey", "Encrypt"}
    assert [record["errorCode"] for record in told["records"] if "errorCode" in record] == ["AccessDenied"]
    assert {record["recipientAccountId"] for record in told["records"]} == {app.account}
    weak = recorded.worker(NAMESPACE, "audit-user", "encrypt")
    refusals = [get(stranger, recorded.server, key=arn), get(stranger, recorded.server, key="none")]
    assert refusals[0] == refusals[1]
    assert [get(weak, recorded.server, key=arn)[0], refusals[0][0]] == [403, 403]
    assert get(reader, recorded.server, key=arn)[1]["records"][-1]["eventName"] == "ReadAuditRecords"


def test_kubectl_kms_audit_shows_them_with_a_token_of_its_own(
    recorded: Desk, installation: Installation, arn: str, authority: Authority
) -> None:
    recorded.worker(NAMESPACE, "kubectl-reader", "audit")
    done = keystead(
        "keystead.app.kms.main", "audit", arn, "-n", NAMESPACE, "--as-serviceaccount", "kubectl-reader", "--endpoint", recorded.server.url,
        "--ca-file", str(authority.bundle), "--kubeconfig", str(installation.cluster.kubeconfig), "-o", "json",
        PYTHONPATH=str(installation.code),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert [record["requestParameters"]["encryptionContext"]["row"] for record in told["records"] if "errorCode" not in record
            and record["eventName"] == "Encrypt"] == ["0", "1", "2"]  # fmt: skip
    assert told["replicas"][0]["from"]


def test_impact_asks_the_servers_who_called_the_key(
    recorded: Desk, installation: Installation, app: Worker, arn: str, authority: Authority
) -> None:
    recorded.worker(NAMESPACE, "impact-reader", "audit")
    done = keystead(
        "keystead.app.kms.main", "impact", arn, "-n", NAMESPACE, "--as-serviceaccount", "impact-reader", "--endpoint", recorded.server.url,
        "--ca-file", str(authority.bundle), "--kubeconfig", str(installation.cluster.kubeconfig), "-o", "json",
        PYTHONPATH=str(installation.code),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)["callers"]
    found = {use["principal"].rpartition("/")[2]: use for use in told["uses"]}
    assert found["audit-app"]["operations"]["Encrypt"] == 3
    assert (found["audit-weak"]["operations"], found["audit-weak"]["denied"]) == ({}, 1)
    assert found["audit-app"]["principal"] == app.role
    assert told["reachesBack"]


def test_the_whole_trail_verifies_with_the_key_that_the_cluster_shows(
    recorded: Desk, installation: Installation, arn: str, folder: Path, tmp_path: Path
) -> None:
    key = tmp_path / "audit.pem"

    def signing_key() -> bool:
        done = installation.keystead("audit", "key", check=False)
        key.write_text(done.stdout, encoding="ascii")
        return done.returncode == 0

    wait_for("the signing key's public key", signing_key)

    def whole() -> bool:
        assert code_of(recorded.worker(NAMESPACE, f"w{len(list(folder.iterdir()))}{os.urandom(3).hex()}", "encrypt").kms().encrypt,
                       KeyId=arn, Plaintext=b"x") == ""  # fmt: skip
        return installation.keystead("audit", "verify", str(folder), "--public-key", str(key), check=False).returncode == 0

    wait_for("a signed checkpoint", whole, 60)
    path = max(folder.glob("audit-*.jsonl"))
    lines = path.read_bytes().splitlines(keepends=True)
    other = tmp_path / "touched"
    other.mkdir()
    (other / path.name).write_bytes(b"".join(lines[:2] + lines[3:]))
    done = installation.keystead("audit", "verify", str(other), "--public-key", str(key), check=False)
    assert done.returncode == 1
    assert "missing" in done.stdout


@pytest.mark.powers("audit")
def test_the_api_servers_log_and_ours_are_joined_by_the_request_id(
    recorded: Desk, app: Worker, installation: Installation, folder: Path, tmp_path: Path
) -> None:
    """docs/audit.md, One query."""
    cluster = installation.cluster
    start = cluster.audit_end()
    made = app.kms().create_key(Description="joined")
    request_id, key_id = made["ResponseMetadata"]["RequestId"], made["KeyMetadata"]["KeyId"]

    def logged() -> bool:
        return any(event["auditID"] == request_id for event in cluster.audit_since(start)[0])

    wait_for("the API server's record", logged)
    log = tmp_path / "api.log"
    log.write_text("".join(json.dumps(event) + "\n" for event in cluster.audit_since(start)[0]), encoding="utf-8")
    asked = ["audit", "search", str(folder), "--key", key_id, "--action", "CreateKey", "--api-server-log", str(log), "-o", "json"]
    (line,) = installation.keystead(*asked).stdout.splitlines()
    record = json.loads(line)
    assert record["requestID"] == request_id
    ours = {(told["verb"], told["user"]) for told in record["apiServer"] if "/kmskeys/" in told["object"]}
    assert ("create", "system:serviceaccount:keystead-system:keystead-server") in ours
    assert record["userIdentity"]["sessionContext"]["sessionIssuer"]["userName"] == "audit-app"
