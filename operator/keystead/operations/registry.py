"""The TABLE of operations by AWS's name: what front doors look up. One row an operation; the totality test holds it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, NamedTuple

from keystead.operations import datakeys, describe, encryption, macs, publickeys, signatures
from keystead.operations.effects import Running
from keystead.policy import Action


class OperationRow(NamedTuple):
    """`actions`: what the caller needs."""

    function: Callable[..., Running[Any]]
    request: type
    response: type
    actions: tuple[Action, ...]


OPERATIONS: Final[dict[str, OperationRow]] = {
    "Encrypt": OperationRow(
        encryption.encrypt, encryption.EncryptRequest, encryption.EncryptResponse, (Action.ENCRYPT,)
    ),
    "Decrypt": OperationRow(
        encryption.decrypt, encryption.DecryptRequest, encryption.DecryptResponse, (Action.DECRYPT,)
    ),
    "ReEncrypt": OperationRow(
        encryption.re_encrypt,
        encryption.ReEncryptRequest,
        encryption.ReEncryptResponse,
        (Action.RE_ENCRYPT_FROM, Action.RE_ENCRYPT_TO),
    ),
    "GenerateDataKey": OperationRow(
        datakeys.generate_data_key,
        datakeys.GenerateDataKeyRequest,
        datakeys.GenerateDataKeyResponse,
        (Action.GENERATE_DATA_KEY,),
    ),
    "GenerateDataKeyWithoutPlaintext": OperationRow(
        datakeys.generate_data_key_without_plaintext,
        datakeys.GenerateDataKeyWithoutPlaintextRequest,
        datakeys.GenerateDataKeyWithoutPlaintextResponse,
        (Action.GENERATE_DATA_KEY_WITHOUT_PLAINTEXT,),
    ),
    "GenerateDataKeyPair": OperationRow(
        datakeys.generate_data_key_pair,
        datakeys.GenerateDataKeyPairRequest,
        datakeys.GenerateDataKeyPairResponse,
        (Action.GENERATE_DATA_KEY_PAIR,),
    ),
    "GenerateDataKeyPairWithoutPlaintext": OperationRow(
        datakeys.generate_data_key_pair_without_plaintext,
        datakeys.GenerateDataKeyPairWithoutPlaintextRequest,
        datakeys.GenerateDataKeyPairWithoutPlaintextResponse,
        (Action.GENERATE_DATA_KEY_PAIR_WITHOUT_PLAINTEXT,),
    ),
    "GenerateRandom": OperationRow(
        datakeys.generate_random,
        datakeys.GenerateRandomRequest,
        datakeys.GenerateRandomResponse,
        (Action.GENERATE_RANDOM,),
    ),
    "GenerateMac": OperationRow(
        macs.generate_mac, macs.GenerateMacRequest, macs.GenerateMacResponse, (Action.GENERATE_MAC,)
    ),
    "VerifyMac": OperationRow(
        macs.verify_mac, macs.VerifyMacRequest, macs.VerifyMacResponse, (Action.VERIFY_MAC,)
    ),
    "Sign": OperationRow(signatures.sign, signatures.SignRequest, signatures.SignResponse, (Action.SIGN,)),
    "Verify": OperationRow(
        signatures.verify, signatures.VerifyRequest, signatures.VerifyResponse, (Action.VERIFY,)
    ),
    "GetPublicKey": OperationRow(
        publickeys.get_public_key,
        publickeys.GetPublicKeyRequest,
        publickeys.GetPublicKeyResponse,
        (Action.GET_PUBLIC_KEY,),
    ),
    "DeriveSharedSecret": OperationRow(
        publickeys.derive_shared_secret,
        publickeys.DeriveSharedSecretRequest,
        publickeys.DeriveSharedSecretResponse,
        (Action.DERIVE_SHARED_SECRET,),
    ),
    "DescribeKey": OperationRow(
        describe.describe_key,
        describe.DescribeKeyRequest,
        describe.DescribeKeyResponse,
        (Action.DESCRIBE_KEY,),
    ),
}
