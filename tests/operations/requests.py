"""A valid request of every operation that names a key; what it needs is made beforehand with an Enabled twin."""

from __future__ import annotations

import msgspec
from msgspec import UNSET
from tests.builders import Hsm, a_key, a_world, call

from keystead.engine.algorithms import KeyAgreementAlgorithm, MacAlgorithm, SigningAlgorithm
from keystead.engine.ports import MakePair
from keystead.engine.record import KeyRecord
from keystead.operations import World
from keystead.operations.datakeys import (
    GenerateDataKeyPairRequest,
    GenerateDataKeyPairWithoutPlaintextRequest,
    GenerateDataKeyRequest,
    GenerateDataKeyWithoutPlaintextRequest,
)
from keystead.operations.describe import DescribeKeyRequest
from keystead.operations.encryption import DecryptRequest, EncryptRequest, ReEncryptRequest
from keystead.operations.macs import GenerateMacRequest, VerifyMacRequest
from keystead.operations.publickeys import DeriveSharedSecretRequest, GetPublicKeyRequest
from keystead.operations.signatures import SignRequest, VerifyRequest
from keystead.policy import root_caller
from keystead.resources.vocabulary import DataKeyPairSpec, DataKeySpec, KeySpec, KeyState, KeyUsage

S, U = KeySpec, KeyUsage
KEYS: dict[str, tuple[KeySpec, KeyUsage]] = {
    "Encrypt": (S.SYMMETRIC_DEFAULT, U.ENCRYPT_DECRYPT),
    "Decrypt": (S.SYMMETRIC_DEFAULT, U.ENCRYPT_DECRYPT),
    "ReEncrypt": (S.SYMMETRIC_DEFAULT, U.ENCRYPT_DECRYPT),
    "GenerateDataKey": (S.SYMMETRIC_DEFAULT, U.ENCRYPT_DECRYPT),
    "GenerateDataKeyWithoutPlaintext": (S.SYMMETRIC_DEFAULT, U.ENCRYPT_DECRYPT),
    "GenerateDataKeyPair": (S.SYMMETRIC_DEFAULT, U.ENCRYPT_DECRYPT),
    "GenerateDataKeyPairWithoutPlaintext": (S.SYMMETRIC_DEFAULT, U.ENCRYPT_DECRYPT),
    "GenerateMac": (S.HMAC_256, U.GENERATE_VERIFY_MAC),
    "VerifyMac": (S.HMAC_256, U.GENERATE_VERIFY_MAC),
    "Sign": (S.ECC_NIST_P256, U.SIGN_VERIFY),
    "Verify": (S.ECC_NIST_P256, U.SIGN_VERIFY),
    "GetPublicKey": (S.ECC_NIST_P256, U.SIGN_VERIFY),
    "DeriveSharedSecret": (S.ECC_NIST_P256, U.KEY_AGREEMENT),
    "DescribeKey": (S.SYMMETRIC_DEFAULT, U.ENCRYPT_DECRYPT),
}
DRY_RUN = sorted(set(KEYS) - {"GetPublicKey", "DescribeKey"})
CONTEXT = {"App": "x", "env": "prod"}
MESSAGE = b"message"


def the_key(hsm: Hsm, operation: str, **changes) -> KeyRecord:
    """A key that this operation can be done with."""
    spec, usage = KEYS[operation]
    return a_key(hsm, spec, usage=usage, **changes)


def use_freely(hsm: Hsm, key: KeyRecord, request):
    """The answer that the key's owner gets from an Enabled, bound twin of the key."""
    twin = msgspec.structs.replace(
        key, state=KeyState.ENABLED, hold=UNSET, bound=True, deletion_date=UNSET, policy=UNSET
    )
    world: World = a_world(hsm, twin)
    world.keys.namespaces[key.namespace] = key.namespace_uid  # type: ignore[attr-defined]
    return call(hsm, world, request, caller=root_caller(key.account, key.namespace))


def rsa_key(hsm: Hsm, spec: KeySpec = KeySpec.RSA_2048, **changes) -> KeyRecord:
    """A key pair that encrypts."""
    return a_key(hsm, spec, usage=KeyUsage.ENCRYPT_DECRYPT, **changes)


def a_blob(hsm: Hsm, key: KeyRecord, context=CONTEXT, plaintext=b"plaintext") -> bytes:
    """A ciphertext of the key."""
    request = EncryptRequest(key_id=key.key_id, plaintext=plaintext, encryption_context=context)
    return use_freely(hsm, key, request).ciphertext_blob


def a_request(hsm: Hsm, operation: str, key: KeyRecord, context=CONTEXT, **changes):
    """The request. For ReEncrypt the key is source and destination."""
    key_id = changes.pop("key_id", key.key_id)
    sign = {"message": MESSAGE, "signing_algorithm": SigningAlgorithm.ECDSA_SHA_256}
    mac = {"message": MESSAGE, "mac_algorithm": MacAlgorithm.HMAC_SHA_256}
    pair = {"key_id": key_id, "key_pair_spec": DataKeyPairSpec.ECC_NIST_P256, "encryption_context": context}
    match operation:
        case "Encrypt":
            return EncryptRequest(key_id=key_id, plaintext=b"plaintext", encryption_context=context, **changes)
        case "Decrypt":
            return DecryptRequest(ciphertext_blob=a_blob(hsm, key, context), encryption_context=context, **changes)
        case "ReEncrypt":
            return ReEncryptRequest(
                ciphertext_blob=a_blob(hsm, key, context),
                destination_key_id=key_id,
                source_encryption_context=context,
                destination_encryption_context=context,
                **changes,
            )
        case "GenerateDataKey":
            return GenerateDataKeyRequest(
                key_id=key_id, key_spec=DataKeySpec.AES_256, encryption_context=context, **changes
            )
        case "GenerateDataKeyWithoutPlaintext":
            return GenerateDataKeyWithoutPlaintextRequest(
                key_id=key_id, number_of_bytes=64, encryption_context=context, **changes
            )
        case "GenerateDataKeyPair":
            return GenerateDataKeyPairRequest(**pair, **changes)
        case "GenerateDataKeyPairWithoutPlaintext":
            return GenerateDataKeyPairWithoutPlaintextRequest(**pair, **changes)
        case "GenerateMac":
            return GenerateMacRequest(key_id=key_id, **mac, **changes)
        case "VerifyMac":
            made = use_freely(hsm, key, GenerateMacRequest(key_id=key.key_id, **mac)).mac
            return VerifyMacRequest(key_id=key_id, mac=made, **mac, **changes)
        case "Sign":
            return SignRequest(key_id=key_id, **sign, **changes)
        case "Verify":
            made = use_freely(hsm, key, SignRequest(key_id=key.key_id, **sign)).signature
            return VerifyRequest(key_id=key_id, signature=made, **sign, **changes)
        case "GetPublicKey":
            return GetPublicKeyRequest(key_id=key_id, **changes)
        case "DeriveSharedSecret":
            peer = hsm.slow(MakePair(DataKeyPairSpec.ECC_NIST_P256)).public_spki
            return DeriveSharedSecretRequest(
                key_id=key_id, key_agreement_algorithm=KeyAgreementAlgorithm.ECDH, public_key=peer, **changes
            )
        case "DescribeKey":
            return DescribeKeyRequest(key_id=key_id, **changes)
    raise AssertionError(operation)
