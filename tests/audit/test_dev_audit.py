"""`keystead dev --audit DIR` through HTTP, with an unmodified AWS client: what is on record, and what never is."""

from __future__ import annotations

import errno
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError
from tests.audit.sinks import kinds, read_chain
from tests.audit.test_sinks import all_of
from tests.clients.endpoint import PROGRAM, Endpoint
from tests.operator.canaries import found_in

from keystead.audit.folder import files_in
from keystead.audit.reading.report import Verdict
from keystead.audit.reading.verify import verify

pytestmark = pytest.mark.token
CANARY = b"a plaintext that is a canary: 5Qm9tKxR"
KEY = ("AKIDAUDIT", "a-secret-access-key-that-is-a-canary", "111122223333")
REGION = "us-east-1"


def client(endpoint: Endpoint, attempts: int = 1, secret: str = KEY[1]) -> Any:
    return boto3.client(
        "kms",
        region_name=REGION,
        endpoint_url=endpoint.url,
        aws_access_key_id=KEY[0],
        aws_secret_access_key=secret,
        config=Config(retries={"total_max_attempts": attempts, "mode": "standard"}, read_timeout=10),
    )


def records(folder: Path) -> list[dict[str, Any]]:
    """Of all chains of a folder, each verified by the tests' own reader."""
    chains = sorted({file.chain for file in files_in(folder)})
    return [record for chain in chains for record in read_chain(whole(all_of(folder, chain)))]


def whole(data: bytes) -> bytes:
    return data[: data.rfind(b"\n") + 1]


def wait_for_record(folder: Path, kind: str, name: str = "", seconds: float = 15.0) -> dict[str, Any]:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        for record in records(folder):
            if record["keysteadType"] == kind and name in ("", record.get("eventName")):
                return record
    raise AssertionError(f"no record {kind} {name}: {[(each['keysteadType'], each.get('eventName')) for each in records(folder)]}")


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Endpoint]:
    endpoint = Endpoint(tmp_path, options=("--memory", "--audit", str(tmp_path / "audit")), access_keys=[KEY])
    yield endpoint
    endpoint.stop()


def test_what_a_client_does_is_on_record_and_nothing_secret_is(tmp_path: Path, running: Endpoint) -> None:
    kms, folder = client(running), tmp_path / "audit"
    key = kms.create_key(Description="orders")["KeyMetadata"]
    blob = kms.encrypt(KeyId=key["KeyId"], Plaintext=CANARY, EncryptionContext={"tenant": "acme"})["CiphertextBlob"]
    plain = kms.decrypt(CiphertextBlob=blob, EncryptionContext={"tenant": "acme"})
    data_key = kms.generate_data_key(KeyId=key["Arn"], KeySpec="AES_256")
    mac = kms.create_key(KeySpec="HMAC_256", KeyUsage="GENERATE_VERIFY_MAC")["KeyMetadata"]["KeyId"]
    kms.generate_mac(KeyId=mac, Message=CANARY, MacAlgorithm="HMAC_SHA_256")
    grant = kms.create_grant(KeyId=key["KeyId"], GranteePrincipal="arn:aws:iam::111122223333:role/app", Operations=["Decrypt"])
    with pytest.raises(ClientError, match="InvalidCiphertextException"):
        kms.decrypt(CiphertextBlob=CANARY)
    with pytest.raises(ClientError, match="InvalidSignatureException"):
        client(running, secret="wrong").list_keys()
    with pytest.raises(ClientError, match="ValidationException"):
        kms.encrypt(KeyId=key["KeyId"], Plaintext=CANARY * 200)
    # Everything above but Encrypt is durable now: it was answered.
    found = [record for record in records(folder) if record["keysteadType"] == "call"]
    names = [record["eventName"] for record in found]
    assert [name for name in names if name != "Encrypt"] == [
        "CreateKey", "Decrypt", "GenerateDataKey", "CreateKey", "GenerateMac", "CreateGrant", "Decrypt",
    ]  # fmt: skip
    decrypt = found[names.index("Decrypt")]
    assert decrypt["requestID"] == plain["ResponseMetadata"]["RequestId"]
    assert decrypt["requestParameters"] == {"encryptionContext": {"tenant": "acme"}, "encryptionAlgorithm": "SYMMETRIC_DEFAULT"}
    assert decrypt["resources"][0]["ARN"] == key["Arn"]
    assert decrypt["userIdentity"] == {
        "type": "Root", "principalId": KEY[2], "arn": f"arn:aws:iam::{KEY[2]}:root", "accountId": KEY[2], "accessKeyId": KEY[0],
    }  # fmt: skip
    assert decrypt["userAgent"].startswith("Boto3/")
    created = found[names.index("CreateKey")]
    assert created["responseElements"]["keyMetadata"]["arn"] == created["resources"][0]["ARN"] == key["Arn"]
    assert created["responseElements"]["keyMetadata"]["aWSAccountId"] == KEY[2]
    assert found[names.index("CreateGrant")]["responseElements"] == {"grantId": grant["GrantId"], "keyId": key["Arn"]}
    assert found[-1]["errorCode"] == "InvalidCiphertextException"
    wait_for_record(folder, "call", "Encrypt")
    service = wait_for_record(folder, "service", "CreateGrant")
    assert service["serviceEventDetails"]["grantId"] == grant["GrantId"]
    assert client(running, attempts=1).list_keys()
    running.stop()
    text = all_of(folder, next(iter({file.chain for file in files_in(folder)})))
    assert kinds(records(folder))[-1] == "end"
    secrets = [CANARY, blob, data_key["Plaintext"], data_key["CiphertextBlob"], KEY[1].encode(), grant["GrantToken"].encode()]
    assert [number for number, secret in enumerate(secrets) if found_in(text, secret)] == []


def test_the_chain_is_signed_by_the_key_that_keystead_makes_for_it(tmp_path: Path, running: Endpoint) -> None:
    folder = tmp_path / "audit"
    own = wait_for_record(folder, "service", "CreateKey")
    assert own["serviceEventDetails"]["name"] == "audit-signing"
    running.stop()
    end = records(folder)[-1]
    assert (end["keysteadType"], end["algorithm"], end["keyArn"]) == ("end", "ECDSA_SHA_256", own["resources"][0]["ARN"])
    report = verify([folder])
    assert (report.verdict, [finding for chain in report.chains for finding in chain.findings]) == (Verdict.UNSIGNED, [])


def test_workers_have_a_chain_each_and_so_has_who_reconciles(tmp_path: Path) -> None:
    folder = tmp_path / "audit"
    options = ("--state", str(tmp_path / "state"), "--workers", "2", "--audit", str(folder))
    endpoint = Endpoint(tmp_path, options=options, access_keys=[KEY])
    try:
        key = client(endpoint).create_key()["KeyMetadata"]["KeyId"]
        for _ in range(20):
            client(endpoint).generate_data_key(KeyId=key, KeySpec="AES_256")
        calls = [record for record in records(folder) if record.get("eventName") == "GenerateDataKey"]
        assert len(calls) == 20
    finally:
        endpoint.stop()
    chains = {file.chain for file in files_in(folder)}
    assert {chain.rpartition("-")[0].rpartition("-")[0] for chain in chains} == {"dev", "dev-worker-0", "dev-worker-1"}
    assert all(kinds(read_chain(all_of(folder, chain)))[-1] == "end" for chain in chains)


def test_a_disk_that_is_full_is_a_500_within_a_second_and_heals(tmp_path: Path) -> None:
    folder = tmp_path / "audit"
    folder.mkdir()
    own = ["unshare", "--mount"] if os.geteuid() == 0 else ["unshare", "--map-root-user", "--mount"]
    script = f'mount -t tmpfs -o size=64k tmpfs "{folder}"; exec "$@"'
    program = (*own, "bash", "-c", script, "bash", str(PROGRAM))
    endpoint = Endpoint(tmp_path, options=("--memory", "--audit", str(folder)), access_keys=[KEY], program=program)
    try:
        kms = client(endpoint)
        key = kms.create_key()["KeyMetadata"]["KeyId"]
        answered, refused = 1, None
        while refused is None:
            began = time.monotonic()
            try:
                kms.generate_data_key(KeyId=key, KeySpec="AES_256")
                answered += 1
            except ClientError as error:
                refused = error
            assert time.monotonic() - began < 15.0  # the second is the journal's, by its clock (test_journal.py): here nobody hangs
        assert refused.response["Error"]["Code"] == "KMSInternalException"
        assert refused.response["ResponseMetadata"]["HTTPStatusCode"] == 500
        with pytest.raises(ClientError, match="KMSInternalException"):
            kms.describe_key(KeyId=key)
        subprocess.run(["nsenter", "-t", str(endpoint.pid), "-m", "mount", "-o", "remount,size=4m", str(folder)], check=True)
        client(endpoint, attempts=8).generate_data_key(KeyId=key, KeySpec="AES_256")
        inside = Path(f"/proc/{endpoint.pid}/root{folder}")
        found = records(inside)
        assert kinds(found).count("gap") == 1
        assert sum(record["keysteadType"] == "call" for record in found) >= answered + 1
    finally:
        endpoint.stop()


@pytest.mark.parametrize("where", ["a file", "not ours"])
def test_a_folder_that_cannot_be_written_is_told_at_once(tmp_path: Path, where: str) -> None:
    folder = tmp_path / "audit"
    if where == "a file":
        folder.write_text("")
        folder = folder / "below"
    else:
        folder = Path("/proc/keystead")
    done = subprocess.run(
        [str(PROGRAM), "dev", "--listen", "127.0.0.1:0", "--memory", "--audit", str(folder)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode != 0
    assert "--audit" in done.stderr
    assert os.strerror(errno.ENOTDIR) in done.stderr or os.strerror(errno.ENOENT) in done.stderr
    assert "Traceback" not in done.stderr
