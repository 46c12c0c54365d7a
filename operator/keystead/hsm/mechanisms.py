"""The mechanism TABLE: how each key spec is generated, unwrapped and used in a token. One row a spec.

ECDSA and RSA sign a digest made in software; PKCS#1 v1.5 gets its DigestInfo here (RFC 8017 9.2); PSS has salt = hash
length, as AWS. OAEP-SHA-256 is native where a probe proves it, else raw RSA and `oaep.unpad` (SoftHSM:
ARGUMENTS_BAD).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from pkcs11 import MGF, KeyType, Mechanism, ObjectClass

from keystead.engine.algorithms import MacAlgorithm, RsaPadding, SigningAlgorithm
from keystead.resources.vocabulary import KeySpec, KeyUsage


@dataclass(frozen=True, slots=True)
class MechanismRow:
    """Key type and class in the token, the curve's OID in DER (EC only), RSA bits, and the key pair mechanism."""

    key_type: KeyType
    object_class: ObjectClass
    curve: bytes = b""
    bits: int = 0
    generate: Mechanism | None = None


_SECRET = MechanismRow(KeyType.GENERIC_SECRET, ObjectClass.SECRET_KEY, generate=Mechanism.GENERIC_SECRET_KEY_GEN)


def _rsa(bits: int) -> MechanismRow:
    return MechanismRow(KeyType.RSA, ObjectClass.PRIVATE_KEY, bits=bits, generate=Mechanism.RSA_PKCS_KEY_PAIR_GEN)


def _ec(oid: str) -> MechanismRow:
    return MechanismRow(
        KeyType.EC, ObjectClass.PRIVATE_KEY, curve=bytes.fromhex(oid), generate=Mechanism.EC_KEY_PAIR_GEN
    )


MECHANISMS: Final[dict[KeySpec, MechanismRow]] = {
    KeySpec.SYMMETRIC_DEFAULT: _SECRET,
    KeySpec.HMAC_224: _SECRET,
    KeySpec.HMAC_256: _SECRET,
    KeySpec.HMAC_384: _SECRET,
    KeySpec.HMAC_512: _SECRET,
    KeySpec.RSA_2048: _rsa(2048),
    KeySpec.RSA_3072: _rsa(3072),
    KeySpec.RSA_4096: _rsa(4096),
    # CKA_EC_PARAMS: the DER of the curve's OID (SEC 2, RFC 5480).
    KeySpec.ECC_NIST_P256: _ec("06082a8648ce3d030107"),
    KeySpec.ECC_NIST_P384: _ec("06052b81040022"),
    KeySpec.ECC_NIST_P521: _ec("06052b81040023"),
    KeySpec.ECC_SECG_P256K1: _ec("06052b8104000a"),
    KeySpec.ECC_NIST_EDWARDS25519: MechanismRow(
        KeyType.EC_EDWARDS,
        ObjectClass.PRIVATE_KEY,
        # PrintableString "edwards25519": what SoftHSM 2.6 and kryoptic both take.
        curve=b"\x13\x0cedwards25519",
        generate=Mechanism.EC_EDWARDS_KEY_PAIR_GEN,
    ),
}

HMACS: Final[dict[MacAlgorithm, Mechanism]] = {
    MacAlgorithm.HMAC_SHA_224: Mechanism.SHA224_HMAC,
    MacAlgorithm.HMAC_SHA_256: Mechanism.SHA256_HMAC,
    MacAlgorithm.HMAC_SHA_384: Mechanism.SHA384_HMAC,
    MacAlgorithm.HMAC_SHA_512: Mechanism.SHA512_HMAC,
}

# DigestInfo prefixes, RFC 8017 9.2 note 1.
DIGEST_INFO: Final[dict[str, bytes]] = {
    "sha256": bytes.fromhex("3031300d060960864801650304020105000420"),
    "sha384": bytes.fromhex("3041300d060960864801650304020205000430"),
    "sha512": bytes.fromhex("3051300d060960864801650304020305000440"),
}

# CK_RSA_PKCS_PSS_PARAMS: hash, MGF, salt length in bytes.
PSS: Final[dict[SigningAlgorithm, tuple[Mechanism, MGF, int]]] = {
    SigningAlgorithm.RSASSA_PSS_SHA_256: (Mechanism.SHA256, MGF.SHA256, 32),
    SigningAlgorithm.RSASSA_PSS_SHA_384: (Mechanism.SHA384, MGF.SHA384, 48),
    SigningAlgorithm.RSASSA_PSS_SHA_512: (Mechanism.SHA512, MGF.SHA512, 64),
}

# CK_RSA_PKCS_OAEP_PARAMS: hash, MGF, label.
OAEP: Final[dict[RsaPadding, tuple[Mechanism, MGF, None]]] = {
    RsaPadding.OAEP_SHA_1: (Mechanism.SHA_1, MGF.SHA1, None),
    RsaPadding.OAEP_SHA_256: (Mechanism.SHA256, MGF.SHA256, None),
}


def allowed_mechanisms(spec: KeySpec, usage: KeyUsage) -> list[Mechanism]:
    """CKA_ALLOWED_MECHANISMS of an unwrapped private key: nothing beyond its usage."""
    key_type = MECHANISMS[spec].key_type
    if key_type is KeyType.RSA:
        if usage is KeyUsage.ENCRYPT_DECRYPT:
            return [Mechanism.RSA_PKCS_OAEP, Mechanism.RSA_X_509]
        return [Mechanism.RSA_PKCS, Mechanism.RSA_PKCS_PSS]
    if key_type is KeyType.EC_EDWARDS:
        return [Mechanism.EDDSA]
    if usage is KeyUsage.KEY_AGREEMENT:
        return [Mechanism.ECDH1_DERIVE]
    return [Mechanism.ECDSA]
