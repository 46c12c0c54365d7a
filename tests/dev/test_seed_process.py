"""`keystead dev --seed` as a process, asked by boto3: what the seed gives is there in every life, and a bad one does not start."""

from __future__ import annotations

import hashlib
import hmac
import shutil
import subprocess
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import boto3
import pytest
import yaml
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_der_public_key
from tests.clients.endpoint import PROGRAM, Endpoint

pytestmark = pytest.mark.token

EXAMPLE = Path(__file__).resolve().parents[2] / "examples/dev/seed.yaml"
ORDERS, SESSIONS, INVOICES = (body["seed"]["keyId"] for body in list(yaml.safe_load_all(EXAMPLE.read_text()))[:3])
ACCOUNT, REGION = "111122223333", "us-east-1"
CONTEXT = {"app": "orders"}


@contextmanager
def running(folder: Path, *options: str) -> Iterator[Endpoint]:
    endpoint = Endpoint(folder, options=options)
    try:
        yield endpoint
    finally:
        endpoint.stop()


def client(endpoint: Endpoint) -> Any:
    """In the region that `keystead dev` prints: seeds that name none are in it."""
    said = endpoint.exports
    return boto3.client(
        "kms",
        region_name=REGION,
        endpoint_url=endpoint.url,
        aws_access_key_id=said["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=said["AWS_SECRET_ACCESS_KEY"],
    )


def seeded(folder: Path, file: Path = EXAMPLE) -> tuple[str, ...]:
    return ("--state", str(folder / "state"), "--seed", str(file))


def refused(folder: Path, file: Path) -> str:
    """What a start says that ends before it is ready."""
    command = [PROGRAM, "dev", "--listen", "127.0.0.1:0", *seeded(folder, file)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2, done.stderr
    assert "export" not in done.stdout
    assert "Traceback" not in done.stderr
    return done.stderr


def changed(folder: Path, **seed: Any) -> Path:
    """The example with another seed for its first key."""
    first, *rest = yaml.safe_load_all(EXAMPLE.read_text())
    file = folder / "changed.yaml"
    file.write_text(yaml.safe_dump_all([{**first, "seed": {**first["seed"], **seed}}, *rest]))
    return file


@pytest.fixture(scope="module")
def lives(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What two lives answer: the state of the first is deleted before the second, which is started once more on its own state."""
    folder, found = tmp_path_factory.mktemp("lives"), {}
    with running(folder, *seeded(folder)) as endpoint:
        kms = client(endpoint)
        blob = kms.encrypt(KeyId="alias/orders", Plaintext=b"from an earlier life", EncryptionContext=CONTEXT)
        found["blob"] = blob["CiphertextBlob"]
        found["signature"] = kms.sign(KeyId=INVOICES, Message=b"m", SigningAlgorithm="ECDSA_SHA_256")["Signature"]
    shutil.rmtree(folder / "state")
    for life in ("second", "again"):
        with running(folder, *seeded(folder)) as endpoint:
            kms = client(endpoint)
            found[life] = {
                "keys": {key: kms.describe_key(KeyId=key)["KeyMetadata"] for key in (ORDERS, SESSIONS, INVOICES)},
                "plaintext": kms.decrypt(CiphertextBlob=found["blob"], EncryptionContext=CONTEXT)["Plaintext"],
                "mac": kms.generate_mac(KeyId=SESSIONS, Message=b"m", MacAlgorithm="HMAC_SHA_256")["Mac"],
                "public": kms.get_public_key(KeyId=INVOICES)["PublicKey"],
                "aliases": kms.list_aliases(KeyId=ORDERS)["Aliases"],
                "grants": kms.list_grants(KeyId=ORDERS)["Grants"],
                "listed": sorted(key["KeyId"] for key in kms.list_keys()["Keys"]),
            }
    found["folder"] = folder
    return found


def test_the_given_ids_are_the_keys_ids(lives):
    for key_id, found in lives["second"]["keys"].items():
        assert found["KeyId"] == key_id
        assert found["Arn"].endswith(f":{ACCOUNT}:key/{key_id}")
        assert (found["KeyState"], found["Origin"]) == ("Enabled", "AWS_KMS")
    assert lives["second"]["listed"] == sorted([ORDERS, SESSIONS, INVOICES])


def test_a_blob_of_an_earlier_run_opens_after_its_state_was_deleted(lives):
    assert lives["second"]["plaintext"] == b"from an earlier life"


def test_given_material_is_the_material(lives):
    assert lives["second"]["mac"] == hmac.digest(b"keystead example: HMAC, no secre", b"m", hashlib.sha256)
    public = load_der_public_key(lives["second"]["public"])
    public.verify(lives["signature"], b"m", ec.ECDSA(SHA256()))


def test_aliases_and_grants_of_the_seed_are_listed(lives):
    (alias,), (grant,) = lives["second"]["aliases"], lives["second"]["grants"]
    assert (alias["AliasName"], alias["TargetKeyId"]) == ("alias/orders", ORDERS)
    assert grant["GranteePrincipal"] == f"arn:aws:iam::{ACCOUNT}:role/report-job"
    assert sorted(grant["Operations"]) == ["Decrypt", "DescribeKey"]


def test_a_second_start_changes_nothing(lives):
    assert lives["again"] == lives["second"]


def test_another_key_id_for_a_key_that_is_there_ends_the_start(lives, tmp_path):
    other = "00000000-0000-4000-8000-000000000001"
    said = refused(lives["folder"], changed(tmp_path, keyId=other))
    assert f"changed.yaml, document 1: seed.keyId: {other}: KmsKey default/orders has the key id {ORDERS} already" in said


def test_other_material_for_a_key_that_is_there_ends_the_start(lives, tmp_path):
    said = refused(lives["folder"], changed(tmp_path, material="A" * 43 + "="))
    assert "changed.yaml, document 1: seed.material: KmsKey default/orders" in said
    assert "was made with other material" in said and "AAAA" not in said


def test_the_key_id_of_a_key_of_another_name_ends_the_start(lives, tmp_path):
    file = tmp_path / "changed.yaml"
    file.write_text(EXAMPLE.read_text().replace("name: orders", "name: renamed"))
    said = refused(lives["folder"], file)
    assert f"{ORDERS} is the id of KmsKey default/orders already" in said


def test_a_seed_that_cannot_be_carried_out_ends_the_start(tmp_path):
    key, *_, grant = yaml.safe_load_all(EXAMPLE.read_text())
    file = tmp_path / "unfit.yaml"
    file.write_text(yaml.safe_dump_all([key, {**grant, "spec": {**grant["spec"], "operations": ["Sign"]}}]))
    for _ in range(2):  # a start that failed has left its objects: the next one says the same
        said = refused(tmp_path, file)
        assert "unfit.yaml, document 2: KmsGrant default/report-job cannot be carried out: InvalidSpec: spec.operations: Sign" in said


def test_a_bad_file_ends_the_start_before_there_is_a_token(tmp_path):
    said = refused(tmp_path, changed(tmp_path, material="c2hvcnQ="))
    assert "changed.yaml, document 1: seed.material: 5 bytes: SYMMETRIC_DEFAULT takes 32 or 64 bytes" in said
    assert not (tmp_path / "state").exists()


def test_after_a_reset_the_seeds_are_there_again_and_nothing_else(tmp_path):
    with running(tmp_path, "--memory", "--allow-reset", "--seed", str(EXAMPLE)) as endpoint:
        kms = client(endpoint)
        made = kms.create_key()["KeyMetadata"]["KeyId"]
        blob = kms.encrypt(KeyId=ORDERS, Plaintext=b"before", EncryptionContext=CONTEXT)["CiphertextBlob"]
        asked = urllib.request.Request(
            f"{endpoint.url}/_keystead/reset", method="POST", headers={"X-Keystead-Reset": "yes"}
        )
        with urllib.request.urlopen(asked, timeout=30) as answer:
            assert answer.status == 200
        listed = sorted(key["KeyId"] for key in kms.list_keys()["Keys"])
        assert listed == sorted([ORDERS, SESSIONS, INVOICES])
        assert made not in listed
        assert kms.decrypt(CiphertextBlob=blob, EncryptionContext=CONTEXT)["Plaintext"] == b"before"
        assert kms.list_aliases(KeyId=ORDERS)["Aliases"][0]["AliasName"] == "alias/orders"


def test_what_the_api_changed_stays_and_what_it_took_away_is_there_again(tmp_path):
    with running(tmp_path, *seeded(tmp_path)) as endpoint:
        kms = client(endpoint)
        kms.schedule_key_deletion(KeyId=SESSIONS, PendingWindowInDays=7)
        kms.disable_key(KeyId=INVOICES)
        kms.update_key_description(KeyId=INVOICES, Description="by the API")
        kms.delete_alias(AliasName="alias/orders")
        (grant,) = kms.list_grants(KeyId=ORDERS)["Grants"]
        kms.revoke_grant(KeyId=ORDERS, GrantId=grant["GrantId"])
    with running(tmp_path, *seeded(tmp_path), "--workers", "2") as endpoint:
        kms = client(endpoint)
        found = {key: kms.describe_key(KeyId=key)["KeyMetadata"] for key in (SESSIONS, INVOICES)}
        assert [key["KeyState"] for key in found.values()] == ["PendingDeletion", "Disabled"]
        assert found[INVOICES]["Description"] == "by the API"
        assert [alias["TargetKeyId"] for alias in kms.list_aliases(KeyId=ORDERS)["Aliases"]] == [ORDERS]
        (again,) = kms.list_grants(KeyId=ORDERS)["Grants"]
        assert again["GrantId"] != grant["GrantId"]


def test_a_folder_starts_with_its_seed_whatever_the_api_did_since(tmp_path):
    with running(tmp_path, *seeded(tmp_path)) as endpoint:
        kms = client(endpoint)
        kms.delete_alias(AliasName="alias/orders")
        kms.create_alias(AliasName="alias/orders", TargetKeyId=INVOICES)
        kms.schedule_key_deletion(KeyId=ORDERS, PendingWindowInDays=7)
    with running(tmp_path, *seeded(tmp_path)) as endpoint:
        kms = client(endpoint)
        assert kms.describe_key(KeyId=ORDERS)["KeyMetadata"]["KeyState"] == "PendingDeletion"
        assert kms.describe_key(KeyId="alias/orders")["KeyMetadata"]["KeyId"] == INVOICES
        assert "a seed does not fit what was done since" in endpoint.output
