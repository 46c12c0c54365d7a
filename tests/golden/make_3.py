"""Made tests/golden/release-3, once: `python -m tests.golden.make_3 FOLDER`. It refuses a folder that exists.

What the third release adds: the state folder of `keystead dev` (a SoftHSM token and SQLite), as it lies on a laptop, with what clients got
from it; seeds, whose keys are the same in every run; a KmsGrant with a grantName. Real processes and an unmodified boto3 make everything.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import Any

import boto3
from tests.clients.endpoint import Endpoint
from tests.docs.pages import ROOT
from tests.golden.make import b64

ACCESS_KEY = ("AKIA0000000000GOLDEN", "golden-secret-of-release-3", "111122223333")
REGION = "us-east-1"
MESSAGE = b"keystead golden message, release 3"
CONTEXT = {"app": "orders", "purpose": "golden: é"}
SEED, STATE, GRANT = "seed.yaml", "state.tgz", "grant.yaml"
# What is made anew at each start.
LEFT_OUT = ("run", "leader.lock", "keystead.db-wal", "keystead.db-shm")
SIGNERS = {
    "ECC_NIST_P256": "ECDSA_SHA_256",
    "RSA_2048": "RSASSA_PSS_SHA_256",
    "ECC_NIST_EDWARDS25519": "ED25519_SHA_512",
}
GRANT_MANIFEST = """\
apiVersion: kms.keystead.io/v1alpha1
kind: KmsGrant
metadata:
  namespace: orders
  name: report-job
  labels:
    kms.keystead.io/created-by: api
spec:
  grantName: nightly-report
  keyRef: {name: orders}
  granteePrincipal: arn:aws:iam::111122223333:role/report-job
  retiringPrincipal: arn:aws:iam::111122223333:role/admin
  operations: [Decrypt, DescribeKey, RetireGrant]
  constraints:
    encryptionContextSubset: {app: orders}
"""


def client(running: Endpoint) -> Any:
    """A boto3 KMS client with the access key of the golden files."""
    return boto3.client(
        "kms",
        endpoint_url=running.url,
        region_name=REGION,
        aws_access_key_id=ACCESS_KEY[0],
        aws_secret_access_key=ACCESS_KEY[1],
    )


def key(kms: Any, spec: str, usage: str) -> str:
    made = kms.create_key(KeySpec=spec, KeyUsage=usage, Description=f"golden {spec}", Tags=[{"TagKey": "spec", "TagValue": spec}])
    key_id: str = made["KeyMetadata"]["KeyId"]
    return key_id


def story(kms: Any) -> dict[str, Any]:
    """Keys of several kinds, an alias, a grant; what came out of them."""
    plain, mac = key(kms, "SYMMETRIC_DEFAULT", "ENCRYPT_DECRYPT"), key(kms, "HMAC_256", "GENERATE_VERIFY_MAC")
    rsa = key(kms, "RSA_2048", "ENCRYPT_DECRYPT")
    kms.create_alias(AliasName="alias/golden", TargetKeyId=plain)
    grant = kms.create_grant(KeyId=plain, GranteePrincipal=f"arn:aws:iam::{ACCESS_KEY[2]}:role/job", Operations=["Decrypt"], Name="golden")
    closed = key(kms, "SYMMETRIC_DEFAULT", "ENCRYPT_DECRYPT")
    kms.disable_key(KeyId=closed)
    blobs = [blob(kms, plain)]
    data = kms.generate_data_key(KeyId="alias/golden", KeySpec="AES_256", EncryptionContext=CONTEXT)
    blobs.append({"keyId": plain, "blob": b64(data["CiphertextBlob"]), "plaintext": b64(data["Plaintext"]), "context": CONTEXT})
    kms.rotate_key_on_demand(KeyId=plain)
    blobs.append(blob(kms, plain))
    secret = kms.encrypt(KeyId=rsa, Plaintext=MESSAGE, EncryptionAlgorithm="RSAES_OAEP_SHA_256")["CiphertextBlob"]
    signers = {spec: key(kms, spec, "SIGN_VERIFY") for spec in SIGNERS}
    return {
        "blobs": blobs,
        "rsa": [{"keyId": rsa, "ciphertext": b64(secret), "algorithm": "RSAES_OAEP_SHA_256"}],
        "macs": [{"keyId": mac, "mac": b64(kms.generate_mac(KeyId=mac, Message=MESSAGE, MacAlgorithm="HMAC_SHA_256")["Mac"])}],
        "signatures": [
            {
                "keyId": signers[spec],
                "algorithm": algorithm,
                "signature": b64(kms.sign(KeyId=signers[spec], Message=MESSAGE, SigningAlgorithm=algorithm)["Signature"]),
                "publicKey": b64(kms.get_public_key(KeyId=signers[spec])["PublicKey"]),
            }
            for spec, algorithm in SIGNERS.items()
        ],
        "alias": {"name": "alias/golden", "keyId": plain},
        "grant": {"keyId": plain, "grantId": grant["GrantId"], "name": "golden"},
        "disabled": closed,
    }


def blob(kms: Any, key_id: str) -> dict[str, Any]:
    made = kms.encrypt(KeyId=key_id, Plaintext=MESSAGE, EncryptionContext=CONTEXT)["CiphertextBlob"]
    return {"keyId": key_id, "blob": b64(made), "plaintext": b64(MESSAGE), "context": CONTEXT}


def seeded(kms: Any) -> dict[str, Any]:
    """What the keys of the seed file gave."""
    return {
        "blobs": [blob(kms, kms.describe_key(KeyId="alias/orders")["KeyMetadata"]["KeyId"])],
        "keys": sorted(row["KeyId"] for row in kms.list_keys()["Keys"]),
    }


def pack(state: Path, into: Path) -> None:
    """The folder, with its modes, without what each start makes anew."""
    with tarfile.open(into, "w:gz") as archive:
        for path in sorted(state.iterdir()):
            if path.name not in LEFT_OUT:
                archive.add(path, path.name)


def unpack(into: Path) -> None:
    """A copy of the golden state folder."""
    into.mkdir(mode=0o700)
    with tarfile.open(Path(__file__).with_name("release-3") / STATE) as archive:
        archive.extractall(into, filter="data")


def make(folder: Path) -> None:
    folder = folder.absolute()
    folder.mkdir()
    shutil.copy(ROOT / "examples/dev/seed.yaml", folder / SEED)
    (folder / GRANT).write_text(GRANT_MANIFEST)
    with tempfile.TemporaryDirectory() as scratch:
        state = Path(scratch) / "state"
        running = Endpoint(Path(scratch) / "a", options=("--state", str(state)), access_keys=[ACCESS_KEY])
        made = story(client(running))
        running.stop()
        pack(state, folder / STATE)
        running = Endpoint(Path(scratch) / "b", options=("--memory", "--seed", str(folder / SEED)), access_keys=[ACCESS_KEY])
        made["seeded"] = seeded(client(running))
        running.stop()
    (folder / "answers.json").write_text(json.dumps(made, indent=1, ensure_ascii=False) + "\n")
    sums = [f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n" for path in sorted(folder.iterdir())]
    (folder / "SHA256SUMS").write_text("".join(sums))


if __name__ == "__main__":
    make(Path(sys.argv[1]))
