"""AWS's key-state table (tests/vectors/key_states.json) over HTTP, for the states that a key of `keystead dev` can be in.

The other states are played on the pure pipeline: tests/operations/test_states.py, tests/operations/control/test_control_states.py.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from botocore import xform_name
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from tests.protocol.harness import House, refused, role
from tests.server.cases import SERVED

pytestmark = pytest.mark.token
PUBLISHED = json.loads((Path(__file__).resolve().parents[1] / "vectors/key_states.json").read_text())
STATES = ("Enabled", "Disabled", "PendingDeletion")
# Newer than the published table: assumed to be as their siblings.
ASSUMED = {
    "DeriveSharedSecret": "Sign",
    "GetKeyLastUsage": "DescribeKey",
    "RotateKeyOnDemand": "EnableKeyRotation",
    "ListKeyRotations": "GetKeyRotationStatus",
}
ROWS = PUBLISHED["rows"] | {name: PUBLISHED["rows"][like] for name, like in ASSUMED.items()}
NO_KEY = {"CreateKey", "ListKeys", "GenerateRandom", "ListRetirableGrants"}
CELLS = [
    (name, state, ROWS[name][PUBLISHED["columns"].index(state)])
    for name in sorted(SERVED.keys() - NO_KEY)
    for state in STATES
]
EXPECTED = {"X[1]": "DisabledException", "X[1][7]": "DisabledException"}
WORDS = {
    "X[1]": "is disabled.",
    "X[1][7]": "is disabled.",
    "X[2][3]": "is pending deletion (or pending replica deletion).",
    "X[3]": "is pending deletion (or pending replica deletion).",
    "X[3][7]": "is pending deletion (or pending replica deletion).",
    "X[4]": "is not pending deletion",
}
KIND = {
    "Sign": ("ECC_NIST_P256", "SIGN_VERIFY"),
    "Verify": ("ECC_NIST_P256", "SIGN_VERIFY"),
    "GetPublicKey": ("ECC_NIST_P256", "SIGN_VERIFY"),
    "GenerateMac": ("HMAC_256", "GENERATE_VERIFY_MAC"),
    "VerifyMac": ("HMAC_256", "GENERATE_VERIFY_MAC"),
    "DeriveSharedSecret": ("ECC_NIST_P256", "KEY_AGREEMENT"),
}


class Case:
    """A key that is brought into a state after what an operation needs of it was made."""

    def __init__(self, house: House, operation: str) -> None:
        self.house, self.kms, self.operation = house, house.client(), operation
        self.arn = house.fresh(*KIND.get(operation, ()))
        self.members = getattr(self, xform_name(operation), self.only_the_key)()

    def only_the_key(self) -> dict[str, Any]:
        return {"KeyId": self.arn}

    def bring_to(self, state: str) -> None:
        if state == "Disabled":
            self.kms.disable_key(KeyId=self.arn)
        elif state == "PendingDeletion":
            self.kms.schedule_key_deletion(KeyId=self.arn, PendingWindowInDays=7)

    def encrypt(self):
        return {"KeyId": self.arn, "Plaintext": b"x"}

    def decrypt(self):
        return {"CiphertextBlob": self.kms.encrypt(KeyId=self.arn, Plaintext=b"x")["CiphertextBlob"]}

    def re_encrypt(self):
        return {**self.decrypt(), "DestinationKeyId": self.house.key()}

    def generate_data_key(self):
        return {"KeyId": self.arn, "KeySpec": "AES_256"}

    generate_data_key_without_plaintext = generate_data_key

    def generate_data_key_pair(self):
        return {"KeyId": self.arn, "KeyPairSpec": "ECC_NIST_P256"}

    generate_data_key_pair_without_plaintext = generate_data_key_pair

    def sign(self):
        return {"KeyId": self.arn, "Message": b"x", "SigningAlgorithm": "ECDSA_SHA_256"}

    def verify(self):
        return {**self.sign(), "Signature": self.kms.sign(**self.sign())["Signature"]}

    def generate_mac(self):
        return {"KeyId": self.arn, "Message": b"x", "MacAlgorithm": "HMAC_SHA_256"}

    def verify_mac(self):
        return {**self.generate_mac(), "Mac": self.kms.generate_mac(**self.generate_mac())["Mac"]}

    def derive_shared_secret(self):
        other = ec.generate_private_key(ec.SECP256R1()).public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        return {"KeyId": self.arn, "KeyAgreementAlgorithm": "ECDH", "PublicKey": other}

    def alias(self, key: str) -> str:
        name = f"alias/{self.operation}-{self.arn[-12:]}"
        self.kms.create_alias(AliasName=name, TargetKeyId=key)
        return name

    def create_alias(self):
        return {"AliasName": f"alias/made-{self.arn[-12:]}", "TargetKeyId": self.arn}

    def update_alias(self):
        return {"AliasName": self.alias(self.house.key()), "TargetKeyId": self.arn}

    def delete_alias(self):
        return {"AliasName": self.alias(self.arn)}

    def create_grant(self):
        return {"KeyId": self.arn, "GranteePrincipal": role(self.house.first, "app"), "Operations": ["Decrypt"]}

    def revoke_grant(self):
        return {"KeyId": self.arn, "GrantId": self.kms.create_grant(**self.create_grant())["GrantId"]}

    retire_grant = revoke_grant

    def tag_resource(self):
        return {"KeyId": self.arn, "Tags": [{"TagKey": "a", "TagValue": "b"}]}

    def untag_resource(self):
        self.kms.tag_resource(**self.tag_resource())
        return {"KeyId": self.arn, "TagKeys": ["a"]}

    def put_key_policy(self):
        return {"KeyId": self.arn, "Policy": self.kms.get_key_policy(KeyId=self.arn)["Policy"]}

    def update_key_description(self):
        return {"KeyId": self.arn, "Description": "new"}


def test_the_table_has_every_served_operation_on_a_key():
    assert {name for name, _, _ in CELLS} == SERVED.keys() - NO_KEY
    assert not ASSUMED.keys() & PUBLISHED["rows"].keys()


@pytest.mark.parametrize(("operation", "state", "mark"), CELLS)
def test_a_state_does_to_an_operation_what_aws_says(house, kms, operation, state, mark):
    case = Case(house, operation)
    case.bring_to(state)
    assert kms.describe_key(KeyId=case.arn)["KeyMetadata"]["KeyState"] == state
    call = getattr(kms, xform_name(operation))
    if mark == "?[10]" and state == "PendingDeletion":
        mark = "X[3]"  # fails where the destination is pending
    if mark.startswith(("Y", "?")):
        call(**case.members)
        return
    told = refused(call, **case.members)
    assert told.code == EXPECTED.get(mark, "KMSInvalidStateException")
    assert told.message.startswith(f"{case.arn} {WORDS[mark]}")


def test_an_alias_can_be_moved_away_from_a_key_that_is_pending_deletion(house, kms):
    leaving = house.fresh()
    kms.create_alias(AliasName="alias/leaving", TargetKeyId=leaving)
    kms.schedule_key_deletion(KeyId=leaving)
    kms.update_alias(AliasName="alias/leaving", TargetKeyId=house.key())
    assert kms.describe_key(KeyId="alias/leaving")["KeyMetadata"]["Arn"] == house.key()


def test_re_encrypt_is_refused_by_the_state_of_either_key(house, kms):
    for state in ("Disabled", "PendingDeletion"):
        stopped = house.fresh()
        blob = kms.encrypt(KeyId=stopped, Plaintext=b"x")["CiphertextBlob"]
        good = kms.encrypt(KeyId=house.key(), Plaintext=b"x")["CiphertextBlob"]
        Case.bring_to(type("K", (), {"kms": kms, "arn": stopped})(), state)
        assert refused(kms.re_encrypt, CiphertextBlob=blob, DestinationKeyId=house.key()).message.startswith(stopped)
        assert refused(kms.re_encrypt, CiphertextBlob=good, DestinationKeyId=stopped).message.startswith(stopped)
