"""What release 3 wrote opens for ever: today's `keystead dev` starts on a copy of its state folder and on its seed, and knows it all."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from botocore.exceptions import ClientError
from tests.clients.endpoint import Endpoint
from tests.golden.make_3 import ACCESS_KEY, GRANT, MESSAGE, SEED, client, unpack
from tests.golden.port import RELEASE_3

from keystead.engine.algorithms import SigningAlgorithm
from keystead.engine.publickey import signing_input, verify
from keystead.resources.kms_grant import KmsGrant
from keystead.resources.model import parse

ANSWERS: dict[str, Any] = json.loads((RELEASE_3 / "answers.json").read_text())


def raw(text: str) -> bytes:
    return base64.b64decode(text, validate=True)


def test_the_files_are_those_of_the_release() -> None:
    lines = (RELEASE_3 / "SHA256SUMS").read_text().splitlines()
    sums = {name: digest for digest, name in (line.split("  ") for line in lines)}
    assert set(sums) | {"SHA256SUMS"} == {path.name for path in RELEASE_3.iterdir()}
    for name, wanted in sums.items():
        assert hashlib.sha256((RELEASE_3 / name).read_bytes()).hexdigest() == wanted, name


@pytest.mark.parametrize("row", ANSWERS["signatures"], ids=lambda row: row["algorithm"])
def test_a_signature_verifies_without_us(row: dict[str, str]) -> None:
    algorithm = SigningAlgorithm(row["algorithm"])
    assert verify(raw(row["publicKey"]), algorithm, signing_input(algorithm, MESSAGE), raw(row["signature"]))


@pytest.fixture(scope="module")
def kms(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Today's endpoint on a copy of the folder."""
    folder = tmp_path_factory.mktemp("golden-3")
    unpack(folder / "state")
    running = Endpoint(folder, options=("--state", str(folder / "state")), access_keys=[ACCESS_KEY])
    made = client(running)
    yield made
    made.close()
    running.stop()


@pytest.mark.token
def test_every_blob_opens(kms: Any) -> None:
    assert len(ANSWERS["blobs"]) == 3
    for row in ANSWERS["blobs"]:
        answer = kms.decrypt(CiphertextBlob=raw(row["blob"]), EncryptionContext=row["context"])
        assert (answer["Plaintext"], answer["KeyId"].rpartition("/")[2]) == (raw(row["plaintext"]), row["keyId"])


@pytest.mark.token
def test_rsa_macs_and_signatures_hold_and_are_made_again(kms: Any) -> None:
    for row in ANSWERS["rsa"]:
        answer = kms.decrypt(CiphertextBlob=raw(row["ciphertext"]), KeyId=row["keyId"], EncryptionAlgorithm=row["algorithm"])
        assert answer["Plaintext"] == MESSAGE
    for row in ANSWERS["macs"]:
        assert kms.verify_mac(KeyId=row["keyId"], Message=MESSAGE, MacAlgorithm="HMAC_SHA_256", Mac=raw(row["mac"]))["MacValid"]
        assert kms.generate_mac(KeyId=row["keyId"], Message=MESSAGE, MacAlgorithm="HMAC_SHA_256")["Mac"] == raw(row["mac"])
    for row in ANSWERS["signatures"]:
        call = {"KeyId": row["keyId"], "Message": MESSAGE, "SigningAlgorithm": row["algorithm"]}
        assert kms.verify(**call, Signature=raw(row["signature"]))["SignatureValid"]
        assert kms.verify(**call, Signature=kms.sign(**call)["Signature"])["SignatureValid"]
        assert kms.get_public_key(KeyId=row["keyId"])["PublicKey"] == raw(row["publicKey"])


@pytest.mark.token
def test_alias_grant_tags_and_state_are_there(kms: Any) -> None:
    alias, grant = ANSWERS["alias"], ANSWERS["grant"]
    assert kms.describe_key(KeyId=alias["name"])["KeyMetadata"]["KeyId"] == alias["keyId"]
    (found,) = kms.list_grants(KeyId=grant["keyId"])["Grants"]
    assert (found["GrantId"], found["Name"], found["Operations"]) == (grant["grantId"], grant["name"], ["Decrypt"])
    assert kms.list_resource_tags(KeyId=alias["keyId"])["Tags"] == [{"TagKey": "spec", "TagValue": "SYMMETRIC_DEFAULT"}]
    assert len(kms.list_key_rotations(KeyId=alias["keyId"])["Rotations"]) == 1
    with pytest.raises(ClientError, match="DisabledException"):
        kms.encrypt(KeyId=ANSWERS["disabled"], Plaintext=b"x")
    kms.enable_key(KeyId=ANSWERS["disabled"])  # today's controller goes on where that release ended
    assert kms.encrypt(KeyId=ANSWERS["disabled"], Plaintext=b"x")["CiphertextBlob"]


@pytest.mark.token
def test_a_seed_of_the_release_gives_the_same_keys(tmp_path: Path) -> None:
    running = Endpoint(tmp_path, options=("--memory", "--seed", str(RELEASE_3 / SEED)), access_keys=[ACCESS_KEY])
    try:
        found = client(running)
        assert sorted(row["KeyId"] for row in found.list_keys()["Keys"]) == ANSWERS["seeded"]["keys"]
        for row in ANSWERS["seeded"]["blobs"]:
            answer = found.decrypt(CiphertextBlob=raw(row["blob"]), EncryptionContext=row["context"])
            assert answer["Plaintext"] == raw(row["plaintext"])
        found.close()
    finally:
        running.stop()


def test_the_manifest_of_a_grant_with_a_name_is_read() -> None:
    body = yaml.safe_load((RELEASE_3 / GRANT).read_text())
    assert parse(KmsGrant, "KmsGrant", body).spec.grant_name == "nightly-report"
