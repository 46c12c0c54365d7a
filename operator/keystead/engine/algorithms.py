"""Algorithm names in AWS's spelling (botocore: EncryptionAlgorithmSpec, SigningAlgorithmSpec, MacAlgorithmSpec, ...)."""

from __future__ import annotations

from enum import StrEnum


class EncryptionAlgorithm(StrEnum):
    """botocore EncryptionAlgorithmSpec, as far as our key specs go."""

    SYMMETRIC_DEFAULT = "SYMMETRIC_DEFAULT"
    RSAES_OAEP_SHA_1 = "RSAES_OAEP_SHA_1"
    RSAES_OAEP_SHA_256 = "RSAES_OAEP_SHA_256"


class RsaPadding(StrEnum):
    """The RSA half of EncryptionAlgorithm."""

    OAEP_SHA_1 = "RSAES_OAEP_SHA_1"
    OAEP_SHA_256 = "RSAES_OAEP_SHA_256"


class SigningAlgorithm(StrEnum):
    """botocore SigningAlgorithmSpec, as far as our key specs go."""

    RSASSA_PSS_SHA_256 = "RSASSA_PSS_SHA_256"
    RSASSA_PSS_SHA_384 = "RSASSA_PSS_SHA_384"
    RSASSA_PSS_SHA_512 = "RSASSA_PSS_SHA_512"
    RSASSA_PKCS1_V1_5_SHA_256 = "RSASSA_PKCS1_V1_5_SHA_256"
    RSASSA_PKCS1_V1_5_SHA_384 = "RSASSA_PKCS1_V1_5_SHA_384"
    RSASSA_PKCS1_V1_5_SHA_512 = "RSASSA_PKCS1_V1_5_SHA_512"
    ECDSA_SHA_256 = "ECDSA_SHA_256"
    ECDSA_SHA_384 = "ECDSA_SHA_384"
    ECDSA_SHA_512 = "ECDSA_SHA_512"
    ED25519_SHA_512 = "ED25519_SHA_512"
    ED25519_PH_SHA_512 = "ED25519_PH_SHA_512"


class MacAlgorithm(StrEnum):
    """botocore MacAlgorithmSpec."""

    HMAC_SHA_224 = "HMAC_SHA_224"
    HMAC_SHA_256 = "HMAC_SHA_256"
    HMAC_SHA_384 = "HMAC_SHA_384"
    HMAC_SHA_512 = "HMAC_SHA_512"


class KeyAgreementAlgorithm(StrEnum):
    """botocore KeyAgreementAlgorithmSpec."""

    ECDH = "ECDH"


class MessageType(StrEnum):
    """botocore MessageType; EXTERNAL_MU comes with ML-DSA."""

    RAW = "RAW"
    DIGEST = "DIGEST"


# Digest of each signing algorithm: hashlib's name, and its length in bytes, which MessageType DIGEST must have.
# Ed25519 signs the message itself; with DIGEST it is Ed25519ph, whose input is a 64-byte SHA-512 digest (HSM.md A5).
DIGESTS: dict[SigningAlgorithm, tuple[str, int]] = {
    algorithm: ("sha" + algorithm.value[-3:], int(algorithm.value[-3:]) // 8) for algorithm in SigningAlgorithm
}
