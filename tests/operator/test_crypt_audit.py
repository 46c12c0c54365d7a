"""`keystead crypt` with KEYSTEAD_AUDIT_FOLDER: a record, signed by Keystead's own key, before the answer; without one, no answer."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.audit.sinks import kinds, read_chain
from tests.audit.test_sinks import all_of
from tests.operator.canaries import found_in
from tests.operator.desk import KEY, Desk, desk
from tests.operator.harness import Installation

from keystead.audit.folder import files_in
from keystead.audit.reading.report import Verdict
from keystead.audit.reading.signatures import as_pem, read_keys
from keystead.audit.reading.verify import verify
from keystead.engine.identifiers import root_arn

pytestmark = pytest.mark.cluster
CANARY = b"a plaintext that is a canary: 4Hq8sLmD"


@pytest.fixture(scope="module")
def at(installation: Installation) -> Iterator[Desk]:
    with desk(installation, "crypt-audit") as made:
        made.key("one")
        made.ready(KEY, "one")
        yield made


def crypt(at: Desk, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = at.installation.environment() | {"KEYSTEAD_AUDIT_FOLDER": str(folder)}
    command = [sys.executable, "-m", "keystead", "crypt", *arguments, "-o", "json"]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)


def principal(at: Desk, name: str = "root") -> str:
    account = at.get(KEY, "one")["status"]["keyArn"].split(":")[4]
    return root_arn(account) if name == "root" else f"arn:aws:iam::{account}:role/{name}"


def test_each_command_is_a_chain_with_its_record_signed(at: Desk, tmp_path: Path) -> None:
    folder, plain = tmp_path / "audit", tmp_path / "plain"
    plain.write_bytes(CANARY)
    key = at.get(KEY, "one")["status"]["keyArn"]
    done = crypt(at, folder, "encrypt", "--as", principal(at), "--key-id", key, "--plaintext", str(plain), "--encryption-context", "a=b")
    assert done.returncode == 0, done.stderr
    blob = json.loads(done.stdout)["CiphertextBlob"]  # and nothing but the answer stands there
    opened = crypt(at, folder, "decrypt", "--as", principal(at), "--ciphertext-blob", f"base64:{blob}", "--encryption-context", "a=b")
    assert opened.returncode == 0, opened.stderr
    refused = crypt(at, folder, "decrypt", "--as", principal(at, "nobody"), "--key-id", key, "--ciphertext-blob", f"base64:{blob}")
    assert refused.returncode != 0
    chains = {file.chain for file in files_in(folder)}
    records = [read_chain(all_of(folder, chain)) for chain in chains]
    assert [kinds(each) for each in records] == [["start", "call", "end"]] * 3
    calls = {each[1]["eventName"] + each[1].get("errorCode", ""): each[1] for each in records}
    assert set(calls) == {"Encrypt", "Decrypt", "DecryptAccessDenied"}
    assert calls["Encrypt"]["requestParameters"]["encryptionContext"] == {"a": "b"}
    assert calls["Decrypt"]["userIdentity"]["arn"] == principal(at)
    assert calls["Decrypt"]["userAgent"].startswith("keystead-crypt/")
    assert calls["Decrypt"]["resources"][0]["ARN"] == key
    assert calls["DecryptAccessDenied"]["additionalEventData"]["decision"]["allowed"] is False
    assert found_in(b"".join(all_of(folder, chain) for chain in chains), CANARY) == []
    own = at.installation.cluster.get("kmskey", "audit-signing", "-n", "keystead-records")["status"]["publicKey"]
    assert verify([folder], read_keys(as_pem(own).encode())).verdict is Verdict.WHOLE


def test_without_a_record_there_is_no_answer(at: Desk, tmp_path: Path) -> None:
    (tmp_path / "plain").write_bytes(CANARY)
    (tmp_path / "audit").write_text("in the way")
    key = at.get(KEY, "one")["status"]["keyArn"]
    done = crypt(at, tmp_path / "audit", "encrypt", "--as", principal(at), "--key-id", key, "--plaintext", str(tmp_path / "plain"))
    assert done.returncode != 0
    assert done.stdout == ""
    assert os.strerror(20) in done.stderr
    assert "Traceback" not in done.stderr
