"""The words of the API: closed sets in AWS's own spelling, and which key usage fits which key spec.

Who uses it: the models of this package, the engine, the policy and every front door. It is the ONE file of this
package that a new key spec touches. Nothing here knows how a key works (engine) or where it lives (hsm).
Source: botocore, data/kms/2014-11-01/service-2.json, the shapes of the same names; AWS KMS developer guide,
"Key spec reference" for USAGES.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Final


class KeySpec(StrEnum):
    """AWS KeySpec: the type of the key material. Immutable for the life of a key."""

    SYMMETRIC_DEFAULT = "SYMMETRIC_DEFAULT"
    HMAC_224 = "HMAC_224"
    HMAC_256 = "HMAC_256"
    HMAC_384 = "HMAC_384"
    HMAC_512 = "HMAC_512"
    RSA_2048 = "RSA_2048"
    RSA_3072 = "RSA_3072"
    RSA_4096 = "RSA_4096"
    ECC_NIST_P256 = "ECC_NIST_P256"
    ECC_NIST_P384 = "ECC_NIST_P384"
    ECC_NIST_P521 = "ECC_NIST_P521"
    ECC_SECG_P256K1 = "ECC_SECG_P256K1"
    ECC_NIST_EDWARDS25519 = "ECC_NIST_EDWARDS25519"


class KeyUsage(StrEnum):
    """AWS KeyUsageType: the one family of operations that a key serves. Immutable for the life of a key."""

    ENCRYPT_DECRYPT = "ENCRYPT_DECRYPT"
    SIGN_VERIFY = "SIGN_VERIFY"
    GENERATE_VERIFY_MAC = "GENERATE_VERIFY_MAC"
    KEY_AGREEMENT = "KEY_AGREEMENT"


_ENCRYPT: Final = (KeyUsage.ENCRYPT_DECRYPT,)
_MAC: Final = (KeyUsage.GENERATE_VERIFY_MAC,)
_RSA: Final = (KeyUsage.ENCRYPT_DECRYPT, KeyUsage.SIGN_VERIFY)
_NIST: Final = (KeyUsage.SIGN_VERIFY, KeyUsage.KEY_AGREEMENT)
_SIGN: Final = (KeyUsage.SIGN_VERIFY,)

USAGES: Final[Mapping[KeySpec, tuple[KeyUsage, ...]]] = MappingProxyType(
    {
        KeySpec.SYMMETRIC_DEFAULT: _ENCRYPT,
        KeySpec.HMAC_224: _MAC,
        KeySpec.HMAC_256: _MAC,
        KeySpec.HMAC_384: _MAC,
        KeySpec.HMAC_512: _MAC,
        KeySpec.RSA_2048: _RSA,
        KeySpec.RSA_3072: _RSA,
        KeySpec.RSA_4096: _RSA,
        KeySpec.ECC_NIST_P256: _NIST,
        KeySpec.ECC_NIST_P384: _NIST,
        KeySpec.ECC_NIST_P521: _NIST,
        KeySpec.ECC_SECG_P256K1: _SIGN,
        KeySpec.ECC_NIST_EDWARDS25519: _SIGN,
    }
)
"""Key spec -> the usages that AWS allows for it. A test holds it total."""


class KeyState(StrEnum):
    """AWS KeyState, and Destroyed: ours, for a key whose material is gone and whose tombstone remains."""

    CREATING = "Creating"
    ENABLED = "Enabled"
    DISABLED = "Disabled"
    PENDING_DELETION = "PendingDeletion"
    PENDING_IMPORT = "PendingImport"
    UNAVAILABLE = "Unavailable"
    UPDATING = "Updating"
    DESTROYED = "Destroyed"


class Protection(StrEnum):
    """Where private material is used: a hardware slot, a software token such as SoftHSM, or process memory."""

    HSM = "HSM"
    TOKEN = "TOKEN"  # noqa: S105 - a kind of protection
    SOFTWARE = "SOFTWARE"


class Origin(StrEnum):
    """AWS OriginType: where the key material comes from. Immutable for the life of a key."""

    AWS_KMS = "AWS_KMS"
    EXTERNAL = "EXTERNAL"
    AWS_CLOUDHSM = "AWS_CLOUDHSM"
    EXTERNAL_KEY_STORE = "EXTERNAL_KEY_STORE"


class DeletionPolicy(StrEnum):
    """What the deletion of a KmsKey object does to its key."""

    RETAIN = "Retain"
    SCHEDULE_DELETION = "ScheduleDeletion"


class SecretDeletionPolicy(StrEnum):
    """What the deletion of a KmsDataKey object does to a Secret that it made."""

    RETAIN = "Retain"
    DELETE = "Delete"


class DataKeySpec(StrEnum):
    """AWS DataKeySpec: a symmetric data key by its length."""

    AES_256 = "AES_256"
    AES_128 = "AES_128"


class DataKeyPairSpec(StrEnum):
    """AWS DataKeyPairSpec: a data key pair; the private half is encrypted, the public half is in clear."""

    RSA_2048 = "RSA_2048"
    RSA_3072 = "RSA_3072"
    RSA_4096 = "RSA_4096"
    ECC_NIST_P256 = "ECC_NIST_P256"
    ECC_NIST_P384 = "ECC_NIST_P384"
    ECC_NIST_P521 = "ECC_NIST_P521"
    ECC_SECG_P256K1 = "ECC_SECG_P256K1"
    ECC_NIST_EDWARDS25519 = "ECC_NIST_EDWARDS25519"


class AnyDataKeySpec(StrEnum):
    """KmsDataKey.spec.dataKeySpec: the union of the two enums above (one field names both; a test compares)."""

    AES_256 = "AES_256"
    AES_128 = "AES_128"
    RSA_2048 = "RSA_2048"
    RSA_3072 = "RSA_3072"
    RSA_4096 = "RSA_4096"
    ECC_NIST_P256 = "ECC_NIST_P256"
    ECC_NIST_P384 = "ECC_NIST_P384"
    ECC_NIST_P521 = "ECC_NIST_P521"
    ECC_SECG_P256K1 = "ECC_SECG_P256K1"
    ECC_NIST_EDWARDS25519 = "ECC_NIST_EDWARDS25519"

    @property
    def pair(self) -> DataKeyPairSpec | None:
        """The key pair spec, or None for a symmetric data key."""
        return DataKeyPairSpec(self.value) if self.value in DataKeyPairSpec.__members__ else None


class GrantOperation(StrEnum):
    """AWS GrantOperation: what a grant may allow."""

    DECRYPT = "Decrypt"
    ENCRYPT = "Encrypt"
    GENERATE_DATA_KEY = "GenerateDataKey"
    GENERATE_DATA_KEY_WITHOUT_PLAINTEXT = "GenerateDataKeyWithoutPlaintext"
    RE_ENCRYPT_FROM = "ReEncryptFrom"
    RE_ENCRYPT_TO = "ReEncryptTo"
    SIGN = "Sign"
    VERIFY = "Verify"
    GET_PUBLIC_KEY = "GetPublicKey"
    CREATE_GRANT = "CreateGrant"
    RETIRE_GRANT = "RetireGrant"
    DESCRIBE_KEY = "DescribeKey"
    GENERATE_DATA_KEY_PAIR = "GenerateDataKeyPair"
    GENERATE_DATA_KEY_PAIR_WITHOUT_PLAINTEXT = "GenerateDataKeyPairWithoutPlaintext"
    GENERATE_MAC = "GenerateMac"
    VERIFY_MAC = "VerifyMac"
    DERIVE_SHARED_SECRET = "DeriveSharedSecret"  # noqa: S105 - an operation


class WorkloadKind(StrEnum):
    """The kinds that spec.rolloutRestartTargets may name (apps/v1)."""

    DEPLOYMENT = "Deployment"
    STATEFUL_SET = "StatefulSet"
    DAEMON_SET = "DaemonSet"


class ObjectKind(StrEnum):
    """The namespaced kinds that are reconciled."""

    KEY = "KmsKey"
    ALIAS = "KmsAlias"
    GRANT = "KmsGrant"
    DATA_KEY = "KmsDataKey"

    @property
    def plural(self) -> str:
        """As in the CRD's name and the API path."""
        return {"KmsAlias": "kmsaliases"}.get(self.value, f"{self.value.lower()}s")
