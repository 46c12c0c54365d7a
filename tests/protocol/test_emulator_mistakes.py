"""What emulators of AWS KMS get wrong (the design's list, KMS.md), each over HTTP. Multi-Region replicas come later."""

from __future__ import annotations

import json

import pytest
from tests.protocol.harness import REGION, House, error_of, refused, role

pytestmark = pytest.mark.token
UNKNOWN = "01234567-89ab-4cde-8f01-23456789abcd"


def test_a_wrong_signature_is_an_exception_and_never_valid_false(house, kms):
    key = house.key("ECC_NIST_P256")
    signature = kms.sign(KeyId=key, Message=b"a", SigningAlgorithm="ECDSA_SHA_256")["Signature"]
    told = refused(kms.verify, KeyId=key, Message=b"b", Signature=signature, SigningAlgorithm="ECDSA_SHA_256")
    assert (told.code, told.status) == ("KMSInvalidSignatureException", 400)
    assert kms.verify(KeyId=key, Message=b"a", Signature=signature, SigningAlgorithm="ECDSA_SHA_256")["SignatureValid"] is True


def test_a_wrong_mac_is_an_exception_and_never_valid_false(house, kms):
    key = house.key("HMAC_256")
    mac = kms.generate_mac(KeyId=key, Message=b"a", MacAlgorithm="HMAC_SHA_256")["Mac"]
    told = refused(kms.verify_mac, KeyId=key, Message=b"b", Mac=mac, MacAlgorithm="HMAC_SHA_256")
    assert (told.code, told.status) == ("KMSInvalidMacException", 400)
    assert kms.verify_mac(KeyId=key, Message=b"a", Mac=mac, MacAlgorithm="HMAC_SHA_256")["MacValid"] is True


@pytest.mark.parametrize("length", [1, 31, 33, 64])
@pytest.mark.parametrize("algorithm", ["RSASSA_PSS_SHA_256", "RSASSA_PKCS1_V1_5_SHA_256"])
def test_a_digest_of_a_wrong_length_is_refused(house, kms, algorithm, length):
    told = refused(
        kms.sign, KeyId=house.key("RSA_2048"), Message=b"x" * length, MessageType="DIGEST", SigningAlgorithm=algorithm
    )
    assert told.message == f"Digest is invalid length for algorithm {algorithm}."
    assert told.code == "ValidationException"


def test_these_answer_with_the_key_arn_and_not_with_the_id(house, kms):
    arn = house.fresh()
    key_id = arn.rpartition("/")[2]
    mac_arn = house.key("HMAC_256")
    mac_id = mac_arn.rpartition("/")[2]
    assert kms.rotate_key_on_demand(KeyId=key_id)["KeyId"] == arn
    assert kms.schedule_key_deletion(KeyId=key_id)["KeyId"] == arn
    assert kms.cancel_key_deletion(KeyId=key_id)["KeyId"] == arn
    made = kms.generate_mac(KeyId=mac_id, Message=b"a", MacAlgorithm="HMAC_SHA_256")
    assert made["KeyId"] == mac_arn
    assert kms.verify_mac(KeyId=mac_id, Message=b"a", Mac=made["Mac"], MacAlgorithm="HMAC_SHA_256")["KeyId"] == mac_arn


ONE = "1 validation error detected: Value{} failed to satisfy constraint: Member must "
PLACES = [
    ("CreateKey", {"KeySpec": "X"}, " 'X' at 'keySpec'", "satisfy enum value set: ["),
    ("DescribeKey", {}, " null at 'keyId'", "not be null"),
    ("Encrypt", {"KeyId": "x", "Plaintext": ""}, " at 'plaintext'", "have length greater than or equal to 1"),
    ("ListKeys", {"Limit": 0}, " '0' at 'limit'", "have value greater than or equal to 1"),
    ("DescribeKey", {"KeyId": ""}, " '' at 'keyId'", "have length greater than or equal to 1"),
    (
        "CreateAlias",
        {"AliasName": "alias/a b", "TargetKeyId": "x"},
        " 'alias/a b' at 'aliasName'",
        "satisfy regular expression pattern: ^[a-zA-Z0-9:/_-]+$",
    ),
    (
        "CreateKey",
        {"Tags": [{"TagKey": "", "TagValue": ""}]},
        " '' at 'tags.1.member.tagKey'",
        "have length greater than or equal to 1",
    ),
]


@pytest.mark.parametrize(("operation", "body", "place", "must"), PLACES)
def test_validation_messages_have_the_form_of_aws(house, operation, body, place, must):
    told = error_of(house.call(operation, body))
    assert (told.status, told.code) == (400, "ValidationException")
    assert told.message.startswith(ONE.format(place) + must)


def test_decrypt_answers_with_the_key_material_id(house, kms):
    arn = house.fresh()
    blob = kms.encrypt(KeyId=arn, Plaintext=b"x")["CiphertextBlob"]
    first = kms.decrypt(CiphertextBlob=blob)["KeyMaterialId"]
    assert first == kms.describe_key(KeyId=arn)["KeyMetadata"]["CurrentKeyMaterialId"]
    assert len(first) == 64
    kms.rotate_key_on_demand(KeyId=arn)
    again = kms.encrypt(KeyId=arn, Plaintext=b"y")["CiphertextBlob"]
    assert kms.decrypt(CiphertextBlob=blob)["KeyMaterialId"] == first
    assert kms.decrypt(CiphertextBlob=again)["KeyMaterialId"] == kms.describe_key(KeyId=arn)["KeyMetadata"]["CurrentKeyMaterialId"] != first


def test_a_key_id_that_is_not_the_blob_s_key_is_incorrect(house, kms):
    one, two = house.key(), house.fresh()
    blob = kms.encrypt(KeyId=one, Plaintext=b"x")["CiphertextBlob"]
    assert refused(kms.decrypt, CiphertextBlob=blob, KeyId=two).code == "IncorrectKeyException"
    told = refused(kms.re_encrypt, CiphertextBlob=blob, SourceKeyId=two, DestinationKeyId=one)
    assert told.code == "IncorrectKeyException"
    assert kms.decrypt(CiphertextBlob=blob, KeyId=one)["Plaintext"] == b"x"


@pytest.mark.parametrize(
    ("key_id", "text"),
    [
        (UNKNOWN, f"Key 'arn:aws:kms:{{region}}:{{account}}:key/{UNKNOWN}' does not exist"),
        ("no-key-id", "Invalid keyId 'no-key-id'"),
        (f"arn:aws:kms:eu-west-3:{{account}}:key/{UNKNOWN}", "Invalid arn eu-west-3"),
        ("alias/no-such-alias", "Alias arn:aws:kms:{region}:{account}:alias/no-such-alias is not found."),
    ],
)  # fmt: skip
def test_not_found_has_a_text_for_each_kind_of_name(house, kms, key_id, text):
    names = {"region": REGION, "account": house.first.id}
    told = refused(kms.describe_key, KeyId=key_id.format(**names))
    assert (told.code, told.message) == ("NotFoundException", text.format(**names))


def test_state_and_policy_are_enforced_on_every_cryptographic_call(house, kms):
    """The whole table: test_key_states.py, test_key_policies.py."""
    arn = house.fresh()
    blob = kms.encrypt(KeyId=arn, Plaintext=b"x")["CiphertextBlob"]
    kms.disable_key(KeyId=arn)
    assert refused(kms.decrypt, CiphertextBlob=blob).code == "DisabledException"
    kms.enable_key(KeyId=arn)
    root = {"Effect": "Allow", "Principal": {"AWS": f"arn:aws:iam::{house.first.id}:root"}, "Action": "kms:PutKeyPolicy", "Resource": "*"}
    kms.put_key_policy(KeyId=arn, Policy=json.dumps({"Version": "2012-10-17", "Statement": [root]}))
    assert refused(kms.decrypt, CiphertextBlob=blob).code == "AccessDeniedException"


def test_grant_constraints_are_enforced_on_every_cryptographic_call(house: House, kms):
    """Context keys without regard to case, values with it: not the equality of the ciphertext's own context."""
    arn, app = house.fresh(), house.workload("constrained")
    kms.create_grant(
        KeyId=arn,
        GranteePrincipal=role(house.first, "constrained"),
        Operations=["Encrypt", "Decrypt"],
        Constraints={"EncryptionContextSubset": {"Tenant": "a"}},
    )
    mine = house.client(app)
    blob = mine.encrypt(KeyId=arn, Plaintext=b"x", EncryptionContext={"tenant": "a", "more": "1"})["CiphertextBlob"]
    assert mine.decrypt(CiphertextBlob=blob, EncryptionContext={"tenant": "a", "more": "1"})["Plaintext"] == b"x"
    assert refused(mine.encrypt, KeyId=arn, Plaintext=b"x", EncryptionContext={"tenant": "A"}).code == "AccessDeniedException"
    assert refused(mine.encrypt, KeyId=arn, Plaintext=b"x").code == "AccessDeniedException"
    assert refused(mine.decrypt, CiphertextBlob=blob, EncryptionContext={"more": "1"}).code == "AccessDeniedException"
    assert refused(mine.decrypt, CiphertextBlob=blob, EncryptionContext={"TENANT": "a", "more": "1"}).code == "InvalidCiphertextException"
    assert refused(mine.generate_data_key, KeyId=arn, KeySpec="AES_256", EncryptionContext={"tenant": "a"}).code == "AccessDeniedException"


def test_the_same_grant_name_with_the_same_parameters_is_the_same_grant(house, kms):
    asked = {"KeyId": house.key(), "GranteePrincipal": role(house.first, "named"), "Operations": ["Decrypt"], "Name": "one"}
    first, again = kms.create_grant(**asked), kms.create_grant(**asked)
    assert first["GrantId"] == again["GrantId"]
    assert kms.create_grant(**asked | {"Operations": ["Encrypt"]})["GrantId"] != first["GrantId"]


def test_create_key_with_neither_spec_nor_usage_is_symmetric_and_others_need_a_usage(kms):
    told = kms.create_key()["KeyMetadata"]
    assert (told["KeySpec"], told["KeyUsage"]) == ("SYMMETRIC_DEFAULT", "ENCRYPT_DECRYPT")
    assert told["EncryptionAlgorithms"] == ["SYMMETRIC_DEFAULT"]
    assert refused(kms.create_key, KeySpec="RSA_2048").message == (
        "You must specify a KeyUsage value for all KMS keys except for symmetric encryption keys."
    )
