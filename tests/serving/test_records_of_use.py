"""What a real server puts on record: the Pod behind a call, its justification, both accounts of a call abroad; and what a full disk does.

The shape of records is in tests/audit/test_cloudtrail.py. Here the facts come from where they really come from: a token that the API server
bound to a Pod, keys of two tenants, a file system without room.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import pytest
from tests.operator.harness import ROOT, Installation, wait_for
from tests.serving.desk import Desk, Worker, code_of
from tests.serving.harness import Authority, ServerProcess, server, stop_now

pytestmark = pytest.mark.cluster
NAMESPACE, HOME, ABROAD = "serve-c", "used-home", "used-abroad"
DENIED = "AccessDeniedException"
FULL = "KMSInternalException"


def records(folder: Path) -> list[dict[str, Any]]:
    """Whole lines of all files; the newest may end in the middle of one."""
    lines = [line for path in sorted(folder.glob("*.jsonl")) for line in path.read_bytes().split(b"\n")[:-1]]
    return [json.loads(line) for line in lines]


def of_request(folder: Path, request_id: str) -> list[dict[str, Any]]:
    return [record for record in records(folder) if record.get("requestID") == request_id]


def request_of(answer: dict[str, Any]) -> str:
    return str(answer["ResponseMetadata"]["RequestId"])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(tmp_path_factory.mktemp("used")) / "server"


@pytest.fixture(scope="module")
def recorded(installation: Installation, leader: object, authority: Authority, desk: Desk, folder: Path) -> Iterator[Desk]:
    """A server that keeps files of records."""
    with server(installation, authority, "used", audit_folder=str(folder), audit_stdout="false") as process:
        process.wait_ready()
        yield desk.at(process)


def bound_token(desk: Desk, worker: Worker, pod: str) -> tuple[str, str]:
    """A token as a projected volume has it: of the ServiceAccount, for this Pod. And the Pod's uid."""
    container = {"name": "app", "image": "app:1"}
    spec = {"serviceAccountName": worker.name, "automountServiceAccountToken": False, "containers": [container]}
    metadata = {"name": pod, "namespace": worker.namespace}
    body = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}
    uid = desk.direct.call("POST", f"/api/v1/namespaces/{worker.namespace}/pods", body)["metadata"]["uid"]
    asked = {"audiences": ["keystead"], "boundObjectRef": {"apiVersion": "v1", "kind": "Pod", "name": pod, "uid": uid}}
    path = f"/api/v1/namespaces/{worker.namespace}/serviceaccounts/{worker.name}/token"
    request = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": asked}
    return str(desk.direct.call("POST", path, request)["status"]["token"]), str(uid)


def test_the_pod_the_service_account_and_the_reason_that_was_given_are_on_record(recorded: Desk, folder: Path) -> None:
    worker = recorded.worker(NAMESPACE, "used-app", "*")
    token, pod_uid = bound_token(recorded, worker, "used-app-0")
    found = worker.assume(worker.role, token)["Credentials"]
    kms = recorded.client(
        "kms",
        aws_access_key_id=found["AccessKeyId"],
        aws_secret_access_key=found["SecretAccessKey"],
        aws_session_token=found["SessionToken"],
    )
    key = kms.create_key()["KeyMetadata"]["Arn"]
    blob = kms.encrypt(KeyId=key, Plaintext=b"x")["CiphertextBlob"]
    header = {"X-Keystead-Justification": "INC-4711"}
    kms.meta.events.register("before-call.kms.Decrypt", lambda params, **_: params["headers"].update(header))
    (record,) = of_request(folder, request_of(kms.decrypt(CiphertextBlob=blob)))
    told = record["additionalEventData"]
    assert (told["namespace"], told["serviceAccountUid"]) == (NAMESPACE, worker.uid)
    assert (told["podName"], told["podUid"]) == ("used-app-0", pod_uid)
    assert told["justification"] == "INC-4711"
    assert told["decision"]["by"] == "rbac"
    text = b"".join(path.read_bytes() for path in folder.glob("*.jsonl"))
    assert token.encode() not in text and found["SessionToken"].encode() not in text


@dataclass
class Tenants:
    """One lends a key to an account of the other; `refused` has no right at home."""

    home: Worker
    abroad: Worker
    refused: Worker
    arn: str
    blob: bytes


@pytest.fixture(scope="module")
def tenants(recorded: Desk) -> Iterator[Tenants]:
    for name in (HOME, ABROAD):
        recorded.direct.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    home, abroad, refused = recorded.worker(HOME, "app", "*"), recorded.worker(ABROAD, "app", "*"), recorded.worker(ABROAD, "weak")
    abroad.kms().create_key()  # an account is claimed by a first key
    both = [f"arn:aws:iam::{each.account}:root" for each in (home, abroad)]
    statement = {"Effect": "Allow", "Principal": {"AWS": both}, "Action": "kms:*", "Resource": "*"}
    kms = home.kms()
    arn = str(kms.create_key(Policy=json.dumps({"Version": "2012-10-17", "Statement": [statement]}))["KeyMetadata"]["Arn"])
    yield Tenants(home, abroad, refused, arn, kms.encrypt(KeyId=arn, Plaintext=b"x")["CiphertextBlob"])
    for name in (HOME, ABROAD):
        recorded.direct.call("DELETE", f"/api/v1/namespaces/{name}")


def test_a_call_abroad_is_on_record_in_both_accounts(tenants: Tenants, folder: Path) -> None:
    request = request_of(tenants.abroad.kms().decrypt(CiphertextBlob=tenants.blob))
    found = {record["recipientAccountId"]: record for record in of_request(folder, request)}
    assert found.keys() == {tenants.home.account, tenants.abroad.account}
    mine, theirs = found[tenants.abroad.account], found[tenants.home.account]
    assert mine["additionalEventData"]["serviceAccountUid"] == tenants.abroad.uid
    assert theirs["userIdentity"]["accountId"] == tenants.abroad.account
    assert [each["ARN"] for each in theirs["resources"]] == [tenants.arn]
    assert tenants.abroad.uid not in json.dumps(theirs["additionalEventData"])


def test_a_refused_call_abroad_is_on_record_in_the_callers_account_only(tenants: Tenants, folder: Path) -> None:
    kms = tenants.refused.kms()
    with pytest.raises(kms.exceptions.ClientError) as caught:
        kms.decrypt(CiphertextBlob=tenants.blob)
    assert caught.value.response["Error"]["Code"] == DENIED
    (record,) = of_request(folder, request_of(caught.value.response))
    assert (record["recipientAccountId"], record["errorCode"]) == (tenants.abroad.account, "AccessDenied")


# -- what a killed process may lose

BUFFER = 0.2
"""Seconds, KEYSTEAD_AUDIT_BUFFER_SECONDS as shipped; as much again for the write itself on a busy machine."""


@pytest.mark.parametrize("mode", ["sync", "buffered"])
def test_a_killed_server_loses_no_more_than_its_mode_says(
    installation: Installation, leader: object, authority: Authority, desk: Desk, tmp_path: Path, mode: str
) -> None:
    folder = tmp_path / "records"
    with server(installation, authority, f"killed-{mode}", audit_mode=mode, audit_folder=str(folder), audit_stdout="false") as process:
        process.wait_ready()
        kms = desk.at(process).worker(NAMESPACE, f"used-killed-{mode}", "*").kms()
        key = kms.create_key()["KeyMetadata"]["Arn"]
        blob = kms.encrypt(KeyId=key, Plaintext=b"x")["CiphertextBlob"]
        answered: dict[str, float] = {}
        began = time.monotonic()
        while time.monotonic() - began < 5 * BUFFER:
            answered[request_of(kms.decrypt(CiphertextBlob=blob))] = time.monotonic()
        stop_now(process)
        killed = time.monotonic()
    kept = {record.get("requestID") for record in records(folder)}
    bound = 0.0 if mode == "sync" else 2 * BUFFER
    promised = {request for request, moment in answered.items() if moment <= killed - bound}
    assert len(promised) > 3
    assert promised <= kept


# -- a disk without room


@dataclass(frozen=True)
class Cramped(Installation):
    """Processes whose folder of records is a file system of 128 KiB, in a mount namespace of their own."""

    records: Path = Path()

    def launch(self, name: str, program: tuple[str, ...], environment: dict[str, str]) -> tuple[subprocess.Popen[bytes], Path]:
        log = self.folder / f"{name}-{time.monotonic_ns()}.log"
        own = ["unshare", "--mount"] if os.geteuid() == 0 else ["unshare", "--map-root-user", "--mount"]
        script = f'mount -t tmpfs -o size=128k tmpfs "{self.records}"; exec "$@"'
        command = [*own, "bash", "-c", script, "bash", sys.executable, "-m", *program]
        with log.open("wb") as out:
            child = subprocess.Popen(command, env=environment, cwd=ROOT, stdout=out, stderr=subprocess.STDOUT, start_new_session=True)
        return child, log


def remount(process: ServerProcess, folder: Path, size: str) -> None:
    subprocess.run(["nsenter", "-t", str(process.child.pid), "-m", "mount", "-o", f"remount,size={size}", str(folder)], check=True)


def test_a_full_disk_stops_the_answers_within_a_second_and_they_go_on_with_it(
    installation: Installation, leader: object, authority: Authority, desk: Desk, tmp_path: Path
) -> None:
    small = Cramped(**{each.name: getattr(installation, each.name) for each in fields(installation)}, records=tmp_path / "records")
    small.records.mkdir()
    with server(small, authority, "cramped", audit_folder=str(small.records), audit_stdout="false") as process:
        process.wait_ready()
        kms = desk.at(process).worker(NAMESPACE, "used-cramped", "*").kms()
        key = kms.create_key()["KeyMetadata"]["KeyId"]
        answered, code = 0, ""
        while not code:
            began = time.monotonic()
            code = code_of(kms.generate_data_key, KeyId=key, KeySpec="AES_256")
            took, answered = time.monotonic() - began, answered + (not code)
        assert (code, took < 1.0) == (FULL, True), took
        assert code_of(kms.describe_key, KeyId=key) == FULL
        wait_for("it is not ready", lambda: process.get("/readyz")[0] != 200, 5)
        remount(process, small.records, "4m")
        wait_for("it answers again", lambda: code_of(kms.generate_data_key, KeyId=key, KeySpec="AES_256") == "", 10)
        found = records(Path(f"/proc/{process.child.pid}/root{small.records}"))
        assert sum(record["keysteadType"] == "gap" for record in found) == 1
        assert sum(record.get("eventName") == "GenerateDataKey" and "errorCode" not in record for record in found) >= answered + 1
