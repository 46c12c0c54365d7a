"""The questions of the README's table of laptop endpoints, each asked over HTTP by boto3 with one caller's eyes: yes or no.

`test_table.py` asks `keystead dev` and compares with the README, `peers.py` asks moto's server too. What a probe raises is a mistake of
the probe: a refusal that it expects is named.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from tests.clients.endpoint import Endpoint
from tests.clients.webidentity import Issuer
from tests.docs.pages import ROOT, table_after
from tests.protocol.harness import USAGES, House, account, role

HEADING = "## On a laptop or in CI, without a cluster"
OTHER_REGION = "us-east-1"

Probe = Callable[[House], bool]


def code(call: Callable[..., Any], **members: Any) -> str:
    """The code of the refusal, "" where it is none."""
    try:
        call(**members)
    except ClientError as error:
        return str(error.response["Error"]["Code"])
    return ""


def fresh(house: House, spec: str = "SYMMETRIC_DEFAULT", usage: str | None = None) -> str:
    """The bare id of a new key: moto 5.2.5 answers some operations on an ARN with 500, which is not what is asked here."""
    usage = usage or USAGES.get(spec, "SIGN_VERIFY")
    made_key: str = house.client().create_key(KeySpec=spec, KeyUsage=usage)["KeyMetadata"]["KeyId"]
    return made_key


def a_wrong_signature_is_refused(house: House) -> bool:
    """Another secret than the access key's."""
    forger = replace(house, clients={}).client(replace(house.first, secret="x" * 40))
    return bool(code(forger.list_keys))


def a_disabled_key_refuses(house: House) -> bool:
    """Encrypt, after DisableKey was answered."""
    kms, key = house.client(), fresh(house)
    kms.disable_key(KeyId=key)
    return code(kms.encrypt, KeyId=key, Plaintext=b"x") == "DisabledException"


def a_key_policy_is_enforced(house: House) -> bool:
    """A policy that denies Encrypt to everybody and allows the rest: Encrypt is refused, GenerateDataKey is not."""
    kms, key = house.client(), fresh(house)
    everybody = {"Principal": {"AWS": "*"}, "Resource": "*"}
    statements = [
        {"Effect": "Allow", "Action": "kms:*"} | everybody,
        {"Effect": "Deny", "Action": "kms:Encrypt"} | everybody,
    ]
    kms.put_key_policy(
        KeyId=key, PolicyName="default", Policy=json.dumps({"Version": "2012-10-17", "Statement": statements})
    )
    encrypt = code(kms.encrypt, KeyId=key, Plaintext=b"x")
    return (encrypt, code(kms.generate_data_key, KeyId=key, KeySpec="AES_256")) == ("AccessDeniedException", "")


def without_a_grant_a_workload_is_refused(house: House) -> bool:
    """Temporary credentials of a role that nothing allows."""
    return (
        code(house.client(house.workload("stranger")).encrypt, KeyId=fresh(house), Plaintext=b"x")
        == "AccessDeniedException"
    )


def a_grant_s_constraint_is_enforced(house: House) -> bool:
    """A grant for one encryption context lets that one through and no other."""
    key, name = fresh(house), "reader"
    constraint = {"EncryptionContextSubset": {"app": "a"}}
    grantee = role(house.first, name)
    house.client().create_grant(KeyId=key, GranteePrincipal=grantee, Operations=["Encrypt"], Constraints=constraint)
    kms = house.client(house.workload(name))
    right, wrong = (code(kms.encrypt, KeyId=key, Plaintext=b"x", EncryptionContext={"app": app}) for app in ("a", "b"))
    return (right, wrong) == ("", "AccessDeniedException")


def a_forged_grant_token_is_refused(house: House) -> bool:
    """Text that no CreateGrant gave out."""
    return (
        code(house.client().encrypt, KeyId=fresh(house), Plaintext=b"x", GrantTokens=["forged"])
        == "InvalidGrantTokenException"
    )


def dry_run_does_nothing(house: House) -> bool:
    """Of four operations, each with DryRun."""
    kms, key = house.client(), fresh(house)
    calls: list[tuple[Callable[..., Any], dict[str, Any]]] = [
        (kms.encrypt, {"Plaintext": b"x"}),
        (kms.generate_data_key, {"KeySpec": "AES_256"}),
        (kms.generate_data_key_pair, {"KeyPairSpec": "ECC_NIST_P256"}),
        (kms.create_grant, {"GranteePrincipal": house.first.root, "Operations": ["Decrypt"]}),
    ]
    return all(code(call, KeyId=key, DryRun=True, **members) == "DryRunOperationException" for call, members in calls)


def a_wrong_mac_is_an_exception(house: House) -> bool:
    """KMSInvalidMacException, not MacValid=false."""
    members = {"KeyId": fresh(house, "HMAC_256"), "MacAlgorithm": "HMAC_SHA_256", "Message": b"x"}
    return code(house.client().verify_mac, Mac=b"y" * 32, **members) == "KMSInvalidMacException"


def a_wrong_signature_of_a_message_is_an_exception(house: House) -> bool:
    """KMSInvalidSignatureException, not SignatureValid=false."""
    members = {"KeyId": fresh(house, "ECC_NIST_P256"), "SigningAlgorithm": "ECDSA_SHA_256"}
    kms = house.client()
    signature = kms.sign(Message=b"a", **members)["Signature"]
    return code(kms.verify, Message=b"b", Signature=signature, **members) == "KMSInvalidSignatureException"


def a_changed_ciphertext_is_refused(house: House) -> bool:
    """Its last bit flipped, and another encryption context."""
    kms, members = house.client(), {"EncryptionContext": {"app": "a"}}
    blob = kms.encrypt(KeyId=fresh(house), Plaintext=b"x", **members)["CiphertextBlob"]
    flipped = code(kms.decrypt, CiphertextBlob=blob[:-1] + bytes([blob[-1] ^ 1]), **members)
    return (flipped, code(kms.decrypt, CiphertextBlob=blob)) == ("InvalidCiphertextException",) * 2


def a_rotation_makes_new_material(house: House) -> bool:
    """RotateKeyOnDemand: another CurrentKeyMaterialId, and the old blob still opens."""
    kms, key = house.client(), fresh(house)
    blob = kms.encrypt(KeyId=key, Plaintext=b"x")["CiphertextBlob"]

    def material() -> str | None:
        found: str | None = kms.describe_key(KeyId=key)["KeyMetadata"].get("CurrentKeyMaterialId")
        return found

    before = material()
    kms.rotate_key_on_demand(KeyId=key)
    return bool(before) and material() != before and kms.decrypt(CiphertextBlob=blob)["Plaintext"] == b"x"


def regions_are_apart(house: House) -> bool:
    """A key of one region is unknown in another."""
    return code(house.client(region=OTHER_REGION).describe_key, KeyId=fresh(house)) == "NotFoundException"


def access_keys_have_accounts_of_their_own(house: House) -> bool:
    """A key of one access key is not in the list of another one."""
    key = fresh(house)
    pages = house.client(house.second).get_paginator("list_keys").paginate()
    return key not in {row["KeyId"] for page in pages for row in page["Keys"]}


def signs(spec: str, algorithm: str) -> Probe:
    """A key of this spec signs, and its signature verifies."""

    def probe(house: House) -> bool:
        kms = house.client()
        with suppress(ClientError):
            members = {"KeyId": fresh(house, spec), "SigningAlgorithm": algorithm, "Message": b"x"}
            return bool(kms.verify(Signature=kms.sign(**members)["Signature"], **members)["SignatureValid"])
        return False

    return probe


def hmac_makes_macs(house: House) -> bool:
    """GenerateMac, and VerifyMac of it."""
    members = {"KeyId": fresh(house, "HMAC_256"), "MacAlgorithm": "HMAC_SHA_256", "Message": b"x"}
    kms = house.client()
    return bool(kms.verify_mac(Mac=kms.generate_mac(**members)["Mac"], **members)["MacValid"])


def rsa_decrypts(house: House) -> bool:
    """RSAES_OAEP_SHA_256: what the public key encrypted outside is decrypted."""
    kms, key = house.client(), fresh(house, "RSA_2048", "ENCRYPT_DECRYPT")
    public = serialization.load_der_public_key(kms.get_public_key(KeyId=key)["PublicKey"])
    assert isinstance(public, rsa.RSAPublicKey)
    oaep = padding.OAEP(mgf=padding.MGF1(hashes.SHA256()), algorithm=hashes.SHA256(), label=None)
    with suppress(ClientError):
        members = {"KeyId": key, "EncryptionAlgorithm": "RSAES_OAEP_SHA_256"}
        return bool(kms.decrypt(CiphertextBlob=public.encrypt(b"x", oaep), **members)["Plaintext"] == b"x")
    return False


def material_can_be_imported(house: House) -> bool:
    """CreateKey with Origin=EXTERNAL, and GetParametersForImport."""
    kms = house.client()
    with suppress(ClientError):
        key = kms.create_key(Origin="EXTERNAL")["KeyMetadata"]["KeyId"]
        members = {"WrappingAlgorithm": "RSAES_OAEP_SHA_256", "WrappingKeySpec": "RSA_2048"}
        return bool(kms.get_parameters_for_import(KeyId=key, **members)["ImportToken"])
    return False


def keys_can_be_multi_region(house: House) -> bool:
    """CreateKey with MultiRegion, and a replica."""
    kms = house.client()
    with suppress(ClientError):
        key = kms.create_key(MultiRegion=True)["KeyMetadata"]["KeyId"]
        return bool(kms.replicate_key(KeyId=key, ReplicaRegion=OTHER_REGION)["ReplicaKeyMetadata"])
    return False


def another_aws_service_answers(house: House) -> bool:
    """S3, at the same address."""
    try:
        return code(house.client(service="s3").list_buckets) == ""
    except Exception as error:
        if type(error).__module__.startswith("botocore"):  # not even an answer of S3's form
            return False
        raise


PROBES: dict[str, Probe] = {
    "request signatures are verified": a_wrong_signature_is_refused,
    "a disabled key refuses": a_disabled_key_refuses,
    "a changed ciphertext or context is refused": a_changed_ciphertext_is_refused,
    "key policies are enforced": a_key_policy_is_enforced,
    "a role without rights is refused": without_a_grant_a_workload_is_refused,
    "constraints of grants are enforced": a_grant_s_constraint_is_enforced,
    "a forged grant token is refused": a_forged_grant_token_is_refused,
    "DryRun": dry_run_does_nothing,
    "a wrong MAC is an exception": a_wrong_mac_is_an_exception,
    "a wrong signature of a message is an exception": a_wrong_signature_of_a_message_is_an_exception,
    "a rotation makes new material": a_rotation_makes_new_material,
    "regions are apart": regions_are_apart,
    "each access key its own account": access_keys_have_accounts_of_their_own,
    "RSA signs": signs("RSA_2048", "RSASSA_PSS_SHA_256"),
    "RSA decrypts": rsa_decrypts,
    "ECC P-256 signs": signs("ECC_NIST_P256", "ECDSA_SHA_256"),
    "HMAC makes MACs": hmac_makes_macs,
    "Ed25519 signs": signs("ECC_NIST_EDWARDS25519", "ED25519_SHA_512"),
    "import of key material": material_can_be_imported,
    "multi-Region keys": keys_can_be_multi_region,
    "other AWS services": another_aws_service_answers,
}
KILLED = "keys survive kill -9"


def survives(open_one: Callable[[], House]) -> bool:
    """A blob of before opens after kill -9 and a new start in the same folder."""
    house = open_one()
    kms = house.client()
    blob = kms.encrypt(KeyId=fresh(house), Plaintext=b"x")["CiphertextBlob"]
    house.endpoint.kill()
    again = open_one()
    try:
        return bool(again.client().decrypt(CiphertextBlob=blob)["Plaintext"] == b"x")
    except ClientError:
        return False
    finally:
        again.endpoint.stop()


def cells(column: str) -> dict[str, str]:
    """The cells of a column of the README's table (a part of its heading), by their question."""
    rows = table_after((ROOT / "README.md").read_text().split(HEADING, 1)[1], "<!-- laptop endpoints -->")
    (name,) = (head for head in rows[0] if column in head)
    return {next(iter(row.values())): row[name] for row in rows}


def says_yes(cell: str) -> bool:
    """What a cell of a probe begins with."""
    (word,) = re.findall(r"^\**(yes|no)\b", cell)
    return bool(word == "yes")


def kept(folder: Path) -> Callable[[], House]:
    """`keystead dev --state`, started again with the same access keys."""
    given = [account("111122223333"), account("444455556666")]

    def open_one() -> House:
        keys = [(one.access_key_id, one.secret, one.id) for one in given]
        return House(Endpoint(folder, options=("--state", str(folder / "state")), access_keys=keys), Issuer(), *given)

    return open_one
