"""A key whose KmsKey was deleted (Retain): what was encrypted opens, nothing new is encrypted, and three calls write the object again."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from botocore.exceptions import ClientError
from tests.operator.desk import HOLD
from tests.operator.direct import decoded
from tests.operator.harness import wait_for
from tests.serving.desk import KEY, Desk, Worker, code_of

from keystead.engine.identifiers import RecordKind

pytestmark = pytest.mark.cluster
NAMESPACE = "serve-orphans"
INVALID, DISABLED = "KMSInvalidStateException", "DisabledException"
SIGNED = {"SigningAlgorithm": "ECDSA_SHA_256", "Message": b"m"}
MACED = {"MacAlgorithm": "HMAC_SHA_256", "Message": b"m"}


@pytest.fixture(scope="module")
def kms(desk: Desk) -> Any:
    return desk.worker(NAMESPACE, "app", "*").kms()


@dataclass
class Orphan:
    """Ids of keys without an object, and what was made with them before."""

    arn: str
    sign: str
    mac: str
    blob: bytes
    signature: bytes
    tag: bytes
    grant: str


def forsake(desk: Desk, kms: Any, *names: str) -> None:
    """Delete the objects, and wait for the operator to write it down."""
    ids = [desk.object(KEY, NAMESPACE, name)["status"]["keyId"] for name in names]
    for name in names:
        desk.delete(KEY, NAMESPACE, name)
    for key in ids:
        wait_for("it is an orphan", lambda key=key: is_orphan(kms, key), 5)


def is_orphan(kms: Any, key: str) -> bool:
    """Tags need an object, in every other state of a key too."""
    return code_of(kms.tag_resource, KeyId=key, Tags=[{"TagKey": "a", "TagValue": "b"}]) == INVALID


@pytest.fixture(scope="module")
def orphan(desk: Desk, kms: Any) -> Orphan:
    arn = desk.apply(KEY, NAMESPACE, "sym", description="kept")["status"]["keyArn"]
    sign = desk.apply(KEY, NAMESPACE, "sign", keySpec="ECC_NIST_P256", keyUsage="SIGN_VERIFY")["status"]["keyId"]
    mac = desk.apply(KEY, NAMESPACE, "mac", keySpec="HMAC_256", keyUsage="GENERATE_VERIFY_MAC")["status"]["keyId"]
    grantee = f"arn:aws:iam::{arn.split(':')[4]}:role/other"
    made = Orphan(
        arn=arn,
        sign=sign,
        mac=mac,
        blob=kms.encrypt(KeyId=arn, Plaintext=b"kept")["CiphertextBlob"],
        signature=kms.sign(KeyId=sign, **SIGNED)["Signature"],
        tag=kms.generate_mac(KeyId=mac, **MACED)["Mac"],
        grant=kms.create_grant(KeyId=arn, GranteePrincipal=grantee, Operations=["Decrypt"])["GrantId"],
    )
    forsake(desk, kms, "sym", "sign", "mac")
    return made


def test_what_was_made_before_opens_and_verifies(kms: Any, orphan: Orphan) -> None:
    assert kms.decrypt(CiphertextBlob=orphan.blob)["Plaintext"] == b"kept"
    target = kms.create_key()["KeyMetadata"]["KeyId"]
    assert kms.re_encrypt(CiphertextBlob=orphan.blob, DestinationKeyId=target)["SourceKeyId"] == orphan.arn
    assert kms.verify(KeyId=orphan.sign, Signature=orphan.signature, **SIGNED)["SignatureValid"]
    assert kms.verify_mac(KeyId=orphan.mac, Mac=orphan.tag, **MACED)["MacValid"]
    assert kms.get_public_key(KeyId=orphan.sign)["PublicKey"]


def test_it_is_listed_and_described(kms: Any, orphan: Orphan) -> None:
    described = kms.describe_key(KeyId=orphan.arn)["KeyMetadata"]
    assert (described["KeyState"], described["Description"]) == ("Enabled", "kept")
    assert orphan.arn in [key["KeyArn"] for key in kms.list_keys()["Keys"]]
    assert [grant["GrantId"] for grant in kms.list_grants(KeyId=orphan.arn)["Grants"]] == [orphan.grant]


REFUSED: dict[str, Callable[[Any, Orphan], Any]] = {
    "Encrypt": lambda kms, o: kms.encrypt(KeyId=o.arn, Plaintext=b"x"),
    "GenerateDataKey": lambda kms, o: kms.generate_data_key(KeyId=o.arn, KeySpec="AES_256"),
    "ReEncrypt to it": lambda kms, o: kms.re_encrypt(CiphertextBlob=o.blob, DestinationKeyId=o.arn),
    "CreateGrant": lambda kms, o: kms.create_grant(KeyId=o.arn, GranteePrincipal=_role(o), Operations=["Decrypt"]),
    "CreateAlias": lambda kms, o: kms.create_alias(AliasName="alias/orphan", TargetKeyId=o.arn),
    "UpdateKeyDescription": lambda kms, o: kms.update_key_description(KeyId=o.arn, Description="x"),
    "TagResource": lambda kms, o: kms.tag_resource(KeyId=o.arn, Tags=[{"TagKey": "a", "TagValue": "b"}]),
}


def _role(orphan: Orphan) -> str:
    return f"arn:aws:iam::{orphan.arn.split(':')[4]}:role/other"


@pytest.mark.parametrize("call", REFUSED)
def test_what_is_new_is_refused_and_says_why(kms: Any, orphan: Orphan, call: str) -> None:
    with pytest.raises(ClientError, match=rf"\({INVALID}\).*{orphan.arn} has no KmsKey object\."):
        REFUSED[call](kms, orphan)


@pytest.mark.parametrize(("call", "key"), [("sign", "sign"), ("generate_mac", "mac")])
def test_nothing_new_is_signed(kms: Any, orphan: Orphan, call: str, key: str) -> None:
    with pytest.raises(ClientError, match=r"has no KmsKey object\."):
        getattr(kms, call)(KeyId=getattr(orphan, key), **(SIGNED if call == "sign" else MACED))


def test_a_grant_of_an_orphan_can_be_revoked(kms: Any, orphan: Orphan) -> None:
    kms.revoke_grant(KeyId=orphan.arn, GrantId=orphan.grant)
    assert kms.list_grants(KeyId=orphan.arn)["Grants"] == []


@pytest.fixture
def lone(desk: Desk, kms: Any, request: pytest.FixtureRequest) -> Iterator[tuple[str, str]]:
    """A new orphan: its object's name, its key id."""
    name = request.node.callspec.id if hasattr(request.node, "callspec") else request.node.name.replace("_", "-")[:50]
    key = desk.apply(KEY, NAMESPACE, name, tags=[{"key": "team", "value": "a"}], description="d")["status"]["keyId"]
    forsake(desk, kms, name)
    yield name, key


def bound(desk: Desk, name: str, key: str) -> Any:
    """The object that was written again: the same key, tags and description as its record has them."""
    found = wait_for("the object's status", lambda: _with_status(desk.object(KEY, NAMESPACE, name)))
    assert found["status"]["keyId"] == key
    return found


def _with_status(found: Any) -> Any:
    return found if found is not None and (found.get("status") or {}).get("keyId") else None


def test_disable_key_writes_the_object_again(desk: Desk, kms: Any, lone: tuple[str, str]) -> None:
    name, key = lone
    kms.disable_key(KeyId=key)
    assert bound(desk, name, key)["spec"]["enabled"] is False
    described = kms.describe_key(KeyId=key)["KeyMetadata"]
    assert (described["KeyState"], described["Description"]) == ("Disabled", "d")
    assert kms.list_resource_tags(KeyId=key)["Tags"] == [{"TagKey": "team", "TagValue": "a"}]
    kms.enable_key(KeyId=key)
    assert kms.encrypt(KeyId=key, Plaintext=b"x")["CiphertextBlob"]


def test_schedule_and_cancel_key_deletion_write_the_object_again(
    desk: Desk, kms: Any, lone: tuple[str, str], worker: Worker
) -> None:
    patient = worker.kms(attempts=4)
    name, key = lone
    assert kms.schedule_key_deletion(KeyId=key, PendingWindowInDays=9)["KeyState"] == "PendingDeletion"
    assert bound(desk, name, key)["spec"]["scheduledDeletion"] == {"pendingWindowInDays": 9}
    desk.delete(KEY, NAMESPACE, name)
    wait_for("an orphan that is pending", lambda: not decoded(desk.direct.record(RecordKind.KEY, NAMESPACE, name)).bound, 5)
    assert kms.describe_key(KeyId=key)["KeyMetadata"]["KeyState"] == "PendingDeletion"
    # Until the server has seen that record too it misses the object, which SDKs are told to try again.
    patient.cancel_key_deletion(KeyId=key)
    found = bound(desk, name, key)
    assert (found["spec"]["enabled"], "scheduledDeletion" in found["spec"]) == (False, False)
    assert kms.describe_key(KeyId=key)["KeyMetadata"]["KeyState"] == "Disabled"


def test_an_orphan_that_was_disabled_refuses_to_decrypt_too(desk: Desk, kms: Any) -> None:
    key = desk.apply(KEY, NAMESPACE, "off")["status"]["keyId"]
    blob = kms.encrypt(KeyId=key, Plaintext=b"x")["CiphertextBlob"]
    kms.disable_key(KeyId=key)
    forsake(desk, kms, "off")
    assert code_of(kms.decrypt, CiphertextBlob=blob) == DISABLED
    assert code_of(kms.enable_key, KeyId=key) == INVALID


def test_a_held_orphan_refuses_to_decrypt_until_it_is_released(desk: Desk, kms: Any) -> None:
    key = desk.apply(KEY, NAMESPACE, "held")["status"]["keyId"]
    blob = kms.encrypt(KeyId=key, Plaintext=b"x")["CiphertextBlob"]
    desk.direct.annotate(KEY, NAMESPACE, "held", HOLD, "case 12")
    wait_for("it is held", lambda: code_of(kms.decrypt, CiphertextBlob=blob) == DISABLED, 5)
    forsake(desk, kms, "held")
    assert code_of(kms.decrypt, CiphertextBlob=blob) == DISABLED
    desk.apply(KEY, NAMESPACE, "held")
    with pytest.raises(ClientError, match=r"is held since .*case 12"):
        kms.enable_key(KeyId=key)


def test_a_manifest_that_is_applied_again_brings_the_key_back(desk: Desk, kms: Any, lone: tuple[str, str], worker: Worker) -> None:
    name, key = lone
    desk.apply(KEY, NAMESPACE, name)
    assert worker.kms().encrypt(KeyId=key, Plaintext=b"x")["KeyId"].endswith(key)


@pytest.fixture(scope="module")
def worker(desk: Desk) -> Worker:
    return desk.worker(NAMESPACE, "second", "*")
