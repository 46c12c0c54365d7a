"""Every error that was recorded from AWS (tests/vectors/aws_recorded_errors.json) and that a served operation can give, over HTTP.

LATER is the rest, each with its reason: together they are the file, so that none is forgotten.
"""

from __future__ import annotations

import json
import re
from base64 import b64encode
from pathlib import Path

import pytest
from tests.protocol.harness import REGION, House, Refused, refused
from tests.server.cases import SHAPES

pytestmark = pytest.mark.token
RECORDED = json.loads((Path(__file__).resolve().parents[1] / "vectors/aws_recorded_errors.json").read_text())
UNKNOWN = "01234567-89ab-4cde-8f01-23456789abcd"
UNKNOWN_MRK = "mrk-0123456789ab4cde8f0123456789abcd"
IMPORT = "importing material comes later"
REPLICAS = "multi-Region keys come later"
LATER = {
    "KMSInvalidStateException | arn:<partition>:kms:<region>:111111111111:key/<key-id:1> is pending import.": IMPORT,
    "ValidationException | A validTo date must be set if the ExpirationModel is KEY_MATERIAL_EXPIRES": IMPORT,
    "UnsupportedOperationException | <key-arn> origin is AWS_KMS which is not valid for this operation.": IMPORT,
    "UnsupportedOperationException | <key-arn> origin is EXTERNAL which is not valid for this operation.": IMPORT,
    "KMSInvalidStateException | New key material (id: <key-material-id>) cannot be imported into KMS key <key-id:1>, because another "
    "key material (id: <key-material-id:2>) is pending rotation.": IMPORT,
    "KMSInvalidStateException | No available key material pending rotation for the key: <key-arn>.": IMPORT,
    "UnsupportedOperationException | <mrk-key-arn> is not a multi-region primary key.": REPLICAS,
}
ENUMS = {
    "keySpec": "KeySpec",
    "keyUsage": "KeyUsageType",
    "macAlgorithm": "MacAlgorithmSpec",
    "keyAgreementAlgorithm": "KeyAgreementAlgorithmSpec",
}
ENUM = re.compile(r"enum value set: \[([^]]*)\]")
SHA = "RSAES_OAEP_SHA_"


class Desk:
    """Makes the call that a recording was made of. `arn`: the key that its text names."""

    def __init__(self, house: House) -> None:
        self.house = house
        self.arn = ""

    def __call__(self, method: str, region: str = REGION, **members: object) -> Refused:
        return refused(getattr(self.house.client(region=region), method), **members)

    def key(self, *kind: str, **how: str) -> str:
        self.arn = self.house.key(*kind, **how)
        return self.arn

    def unknown(self, key_id: str, region: str = REGION) -> str:
        self.arn = f"arn:aws:kms:{region}:{self.house.first.id}:key/{key_id}"
        return key_id

    def too_much(self, spec: str, sha: str, limit: int) -> Refused:
        key = self.key(spec, "ENCRYPT_DECRYPT")
        return self("encrypt", KeyId=key, Plaintext=b"x" * (limit + 1), EncryptionAlgorithm=SHA + sha)

    def digest(self, spec: str, algorithm: str) -> Refused:
        members = {"KeyId": self.key(spec), "Message": b"x" * 9, "MessageType": "DIGEST", "SigningAlgorithm": algorithm}
        signing = self("sign", **members)
        assert signing == self("verify", Signature=b"x", **members)
        return signing

    def rotated_out(self) -> Refused:
        kms, self.arn = self.house.client(), self.house.fresh()
        for _ in range(25):
            kms.rotate_key_on_demand(KeyId=self.arn)
        return self("rotate_key_on_demand", KeyId=self.arn)

    def elsewhere(self, region: str) -> Refused:
        key_id = self.house.key().rpartition("/")[2]
        return self("describe_key", region, KeyId=self.unknown(key_id, region))

    def opened_without_its_context(self) -> Refused:
        key = self.key()
        blob = self.house.client().encrypt(KeyId=key, Plaintext=b"x", EncryptionContext={"a": "b"})["CiphertextBlob"]
        return self("decrypt", CiphertextBlob=blob)

    def wrong_signature(self) -> Refused:
        members = {"KeyId": self.key("ECC_NIST_P256"), "SigningAlgorithm": "ECDSA_SHA_256"}
        signature = self.house.client().sign(Message=b"one", **members)["Signature"]
        return self("verify", Message=b"two", Signature=signature, **members)

    def wrong_mac(self) -> Refused:
        members = {"KeyId": self.key("HMAC_256"), "MacAlgorithm": "HMAC_SHA_256"}
        mac = self.house.client().generate_mac(Message=b"one", **members)["Mac"]
        return self("verify_mac", Message=b"two", Mac=mac, **members)

    def derive(self, key: str, public: bytes = b"x", algorithm: str = "ECDH") -> Refused:
        return self("derive_shared_secret", KeyId=key, PublicKey=public, KeyAgreementAlgorithm=algorithm)

    def mac(self, key: str, algorithm: str = "HMAC_SHA_256") -> Refused:
        return self("generate_mac", KeyId=key, Message=b"x", MacAlgorithm=algorithm)

    def verify_mac(self, key: str, algorithm: str) -> Refused:
        return self("verify_mac", KeyId=key, Message=b"x", Mac=b"x", MacAlgorithm=algorithm)

    def sign(self, key: str) -> Refused:
        return self("sign", KeyId=key, Message=b"x", SigningAlgorithm="ECDSA_SHA_256")

    def verify(self, key: str) -> Refused:
        return self("verify", KeyId=key, Message=b"x", Signature=b"x", SigningAlgorithm="ECDSA_SHA_256")

    def dry(self) -> Refused:
        return self("encrypt", KeyId=self.key(), Plaintext=b"x", DryRun=True)

    def tag(self, *pairs: tuple[str, str]) -> Refused:
        return self("tag_resource", KeyId=self.key(), Tags=[{"TagKey": key, "TagValue": value} for key, value in pairs])


VALIDATION = "ValidationException | "
ONE = VALIDATION + "1 validation error detected: "
CASES = {
    VALIDATION + "NumberOfBytes is required.": lambda d: d("generate_random"),
    ONE + "Value '0' at 'numberOfBytes' failed to satisfy constraint: Member must have value greater than or equal to 1": (
        lambda d: d("generate_random", NumberOfBytes=0)
    ),
    ONE + "Value '1025' at 'numberOfBytes' failed to satisfy constraint: Member must have value less than or equal to 1024": (
        lambda d: d("generate_random", NumberOfBytes=1025)
    ),
    "NotFoundException | Key 'arn:<partition>:kms:<region>:111111111111:key/<key-id:1>' does not exist": (
        lambda d: d.elsewhere("eu-west-3")
    ),
    "NotFoundException | Invalid arn <secondary-region>": lambda d: d("describe_key", KeyId=d.key().replace(REGION, "eu-west-3")),
    "NotFoundException | Key '<key-arn>' does not exist": lambda d: d("describe_key", KeyId=d.unknown(UNKNOWN)),
    "NotFoundException | Key '<mrk-key-arn>' does not exist": lambda d: d("describe_key", KeyId=d.unknown(UNKNOWN_MRK)),
    "NotFoundException | Invalid keyId 'fake-key-id'": lambda d: d("describe_key", KeyId="fake-key-id"),
    "NotFoundException | Invalid keyId '134f2428cec14b25a1ae9048164dba47'": (
        lambda d: d("describe_key", KeyId="134f2428cec14b25a1ae9048164dba47")
    ),
    "NotFoundException | Invalid keyId 'mrk-fake-key-id'": lambda d: d("describe_key", KeyId="mrk-fake-key-id"),
    "NotFoundException | Key 'arn:<partition>:kms:ap-southeast-1:111111111111:key/<key-id:1>' does not exist": (
        lambda d: d.elsewhere("ap-southeast-1")
    ),
    VALIDATION + 'Alias must start with the prefix "alias/". Please see '
    "https://docs.aws.amazon.com/kms/latest/developerguide/kms-alias.html": (
        lambda d: d("create_alias", AliasName="invalid", TargetKeyId=d.key())
    ),
    "KMSInvalidSignatureException | ": lambda d: d.wrong_signature(),
    VALIDATION + "You must specify a KeyUsage value for all KMS keys except for symmetric encryption keys.": (
        lambda d: d("create_key", KeySpec="HMAC_256")
    ),
    "NotFoundException | Invalid keyId 'key_id'": lambda d: d.mac("key_id"),
    "InvalidKeyUsageException | Algorithm HMAC_SHA_256 is incompatible with key spec HMAC_224.": (
        lambda d: d.mac(d.key("HMAC_224", "GENERATE_VERIFY_MAC"))
    ),
    "KMSInvalidMacException | ": lambda d: d.wrong_mac(),
    "InvalidKeyUsageException | Algorithm HMAC_SHA_512 is incompatible with key spec HMAC_256.": (
        lambda d: d.verify_mac(d.key("HMAC_256"), "HMAC_SHA_512")
    ),
    "InvalidKeyUsageException | <key-arn> key usage is ENCRYPT_DECRYPT which is not valid for GenerateMac.": lambda d: d.mac(d.key()),
    "InvalidKeyUsageException | <key-arn> key usage is GENERATE_VERIFY_MAC which is not valid for Sign.": (
        lambda d: d.sign(d.key("HMAC_256"))
    ),
    "InvalidKeyUsageException | <key-arn> key usage is ENCRYPT_DECRYPT which is not valid for Verify.": lambda d: d.verify(d.key()),
    "InvalidKeyUsageException | <key-arn> key usage is SIGN_VERIFY which is not valid for Encrypt.": (
        lambda d: d("encrypt", KeyId=d.key("ECC_NIST_P256"), Plaintext=b"x")
    ),
    "IncorrectKeyException | The key ID in the request does not identify a CMK that can perform this operation.": (
        lambda d: d("decrypt", KeyId=d.key("ECC_NIST_P256"), CiphertextBlob=b"x" * 200)
    ),
    ONE + "Value at 'plaintext' failed to satisfy constraint: Member must have length less than or equal to 4096": (
        lambda d: d("encrypt", KeyId=d.key(), Plaintext=b"x" * 4097)
    ),
    "InvalidCiphertextException | ": lambda d: d.opened_without_its_context(),
    "InvalidKeyUsageException | <key-arn> key usage is SIGN_VERIFY which is not valid for DeriveSharedSecret.": (
        lambda d: d.derive(d.key("ECC_NIST_P256"))
    ),
    VALIDATION + "KeyUsage KEY_AGREEMENT is not compatible with KeySpec RSA_2048": (
        lambda d: d("create_key", KeySpec="RSA_2048", KeyUsage="KEY_AGREEMENT")
    ),
    "InvalidKeyUsageException | <key-arn> key usage is ENCRYPT_DECRYPT which is not valid for DeriveSharedSecret.": (
        lambda d: d.derive(d.key())
    ),
    VALIDATION: lambda d: d.derive(d.key("ECC_NIST_P256", "KEY_AGREEMENT"), public=b"invalid"),
    "TagException | Duplicate tag keys": lambda d: d.tag(("a", "1"), ("a", "2")),
    "TagException | Too many tags": (
        lambda d: d("create_key", Tags=[{"TagKey": f"k{n}", "TagValue": ""} for n in range(51)])
    ),
    "TagException | Tags beginning with aws: are reserved": lambda d: d.tag(("aws:key1", "value1")),
    "DisabledException | <key-arn> is disabled.": lambda d: d("rotate_key_on_demand", KeyId=d.key(state="Disabled")),
    "UnsupportedOperationException | ": lambda d: d("rotate_key_on_demand", KeyId=d.key("ECC_NIST_P256")),
    "LimitExceededException | The on-demand rotations limit has been reached for the given keyId. No more on-demand rotations can be "
    "performed for this key: <key-arn>": lambda d: d.rotated_out(),
    "DryRunOperationException | The request would have succeeded, but the DryRun option is set.": lambda d: d.dry(),
}
for _bits, _sha, _limit in (
    (2048, "1", 214), (2048, "256", 190), (3072, "1", 342), (3072, "256", 318), (4096, "1", 470), (4096, "256", 446)
):  # fmt: skip
    CASES[f"{VALIDATION}Algorithm {SHA}{_sha} and key spec RSA_{_bits} cannot encrypt data larger than {_limit} bytes."] = (
        lambda d, spec=f"RSA_{_bits}", sha=_sha, limit=_limit: d.too_much(spec, sha, limit)
    )
for _spec, _algorithm in [
    *(("RSA_2048", f"RSASSA_PSS_SHA_{bits}") for bits in (256, 384, 512)),
    *(("RSA_2048", f"RSASSA_PKCS1_V1_5_SHA_{bits}") for bits in (256, 512)),
    ("ECC_NIST_P256", "ECDSA_SHA_256"),
    ("ECC_NIST_P384", "ECDSA_SHA_384"),
]:
    CASES[f"{VALIDATION}Digest is invalid length for algorithm {_algorithm}."] = (
        lambda d, spec=_spec, algorithm=_algorithm: d.digest(spec, algorithm)
    )
# Texts with the model's enum values, which are more today than when they were recorded; and two with the whole value in them.
BY_PLACE = {
    "keySpec": lambda d: d("create_key", KeySpec="HMAC_random", KeyUsage="GENERATE_VERIFY_MAC"),
    "keyUsage": lambda d: d("create_key", KeySpec="HMAC_256", KeyUsage="RANDOM"),
    "macAlgorithm": lambda d: d.mac(d.key("HMAC_256"), "INVALID"),
    "keyAgreementAlgorithm": lambda d: d.derive(d.key("ECC_NIST_P256", "KEY_AGREEMENT"), algorithm="INVALID"),
    "tags.1.member.tagValue": lambda d: d("create_key", Tags=[{"TagKey": "k", "TagValue": "v" * 257}]),
    "tags.1.member.tagKey": lambda d: d("create_key", Tags=[{"TagKey": "a" * 129, "TagValue": "v"}]),
}
PLACED = {place: pair for pair in RECORDED for place in BY_PLACE if f"' at '{place}' failed" in pair}


@pytest.fixture(scope="module")
def desk(house: House) -> Desk:
    return Desk(house)


def filled(pair: str, desk: Desk) -> tuple[str, str]:
    code, _, text = pair.partition(" | ")
    region, account, key_id = desk.arn.split(":")[3], desk.arn.split(":")[4], desk.arn.rpartition("/")[2]
    names = {"<key-arn>": desk.arn, "<mrk-key-arn>": desk.arn, "<partition>": "aws", "<region>": region, "111111111111": account}
    names |= {"<key-id:1>": key_id, "<secondary-region>": "eu-west-3"}
    for name, value in names.items():
        text = text.replace(name, value)
    return code, text


def test_every_recorded_pair_is_played_or_has_a_reason_why_it_comes_later():
    played = {*CASES, *PLACED.values()}
    assert not played & LATER.keys()
    assert played | LATER.keys() == set(RECORDED)
    assert len(PLACED) == len(BY_PLACE)


@pytest.mark.parametrize("pair", sorted(CASES), ids=lambda pair: pair[:90])
def test_the_endpoint_says_what_aws_said(desk, pair):
    desk.arn = ":::::/"
    told = CASES[pair](desk)
    assert (told.status, (told.code, told.message)) == (400, filled(pair, desk))


@pytest.mark.parametrize("place", sorted(BY_PLACE))
def test_the_endpoint_says_what_aws_said_in_the_model_s_words(desk, place):
    told = BY_PLACE[place](desk)
    code, _, text = PLACED[place].partition(" | ")
    ours = told.message
    if place in ENUMS:
        said = [set(ENUM.search(one)[1].split(", ")) for one in (ours, text)]
        assert said[0] == set(SHAPES[ENUMS[place]]["enum"]) >= said[1]
        ours, text = ENUM.sub("", ours), ENUM.sub("", text)
    assert (told.status, told.code, ours) == (400, code, text)


def test_what_comes_later_is_not_served_today(house):
    """When it is, its recordings are to be played."""
    told = {
        name: json.loads(house.call(name, body).body)["message"]
        for name, body in {
            "ImportKeyMaterial": {"KeyId": "x", "ImportToken": b64encode(b"x").decode(), "EncryptedKeyMaterial": "AAAA"},
            "ReplicateKey": {"KeyId": "x", "ReplicaRegion": "eu-west-3"},
        }.items()
    }
    assert "Importing" in told["ImportKeyMaterial"]
    assert "Multi-Region" in told["ReplicateKey"]
