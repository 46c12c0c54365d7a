"""The key spec TABLE: one row a spec. A new spec is a row here, one in resources.vocabulary and one in hsm.mechanisms.

Sources: botocore kms service model (enums), KMS.md (limits), HSM.md (c) 3 (lengths of wrapped material), A9 (HMAC_224).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from keystead.engine.algorithms import (
    EncryptionAlgorithm,
    KeyAgreementAlgorithm,
    MacAlgorithm,
    SigningAlgorithm,
)
from keystead.resources.vocabulary import USAGES, KeySpec, KeyUsage


class Family(StrEnum):
    """How the material is made and used."""

    SYMMETRIC = "SYMMETRIC"
    HMAC = "HMAC"
    RSA = "RSA"
    EC = "EC"
    EDWARDS = "EDWARDS"


@dataclass(frozen=True, slots=True)
class SpecRow:
    """One key spec. `secret_length`: bytes of a secret (0 for key pairs). `size`: RSA bits, EC field bytes, else 0."""

    family: Family
    secret_length: int = 0
    size: int = 0
    encryption: tuple[EncryptionAlgorithm, ...] = ()
    signing: tuple[SigningAlgorithm, ...] = ()
    macs: tuple[MacAlgorithm, ...] = ()
    agreement: tuple[KeyAgreementAlgorithm, ...] = ()


_E = EncryptionAlgorithm
_S = SigningAlgorithm
_RSA_SIGNING = tuple(a for a in SigningAlgorithm if a.value.startswith("RSASSA"))
_RSA_ENCRYPTION = (_E.RSAES_OAEP_SHA_1, _E.RSAES_OAEP_SHA_256)
_ECDH = (KeyAgreementAlgorithm.ECDH,)


def _hmac(algorithm: MacAlgorithm, length: int) -> SpecRow:
    return SpecRow(Family.HMAC, secret_length=length, macs=(algorithm,))


def _rsa(bits: int) -> SpecRow:
    return SpecRow(Family.RSA, size=bits, encryption=_RSA_ENCRYPTION, signing=_RSA_SIGNING)


def _ec(field: int, algorithm: SigningAlgorithm, agreement: tuple[KeyAgreementAlgorithm, ...] = _ECDH) -> SpecRow:
    return SpecRow(Family.EC, size=field, signing=(algorithm,), agreement=agreement)


KEY_SPECS: dict[KeySpec, SpecRow] = {
    # 64 bytes: SoftHSM refuses an HMAC key shorter than the hash (HSM.md A1); security is 256 bits.
    KeySpec.SYMMETRIC_DEFAULT: SpecRow(Family.SYMMETRIC, secret_length=64, encryption=(_E.SYMMETRIC_DEFAULT,)),
    # 32 bytes, not 28: SoftHSM pads a 28-byte secret to 32 inside KWP (HSM.md A9).
    KeySpec.HMAC_224: _hmac(MacAlgorithm.HMAC_SHA_224, 32),
    KeySpec.HMAC_256: _hmac(MacAlgorithm.HMAC_SHA_256, 32),
    KeySpec.HMAC_384: _hmac(MacAlgorithm.HMAC_SHA_384, 48),
    KeySpec.HMAC_512: _hmac(MacAlgorithm.HMAC_SHA_512, 64),
    KeySpec.RSA_2048: _rsa(2048),
    KeySpec.RSA_3072: _rsa(3072),
    KeySpec.RSA_4096: _rsa(4096),
    KeySpec.ECC_NIST_P256: _ec(32, _S.ECDSA_SHA_256),
    KeySpec.ECC_NIST_P384: _ec(48, _S.ECDSA_SHA_384),
    KeySpec.ECC_NIST_P521: _ec(66, _S.ECDSA_SHA_512),
    KeySpec.ECC_SECG_P256K1: _ec(32, _S.ECDSA_SHA_256, ()),
    KeySpec.ECC_NIST_EDWARDS25519: SpecRow(
        Family.EDWARDS, size=32, signing=(_S.ED25519_SHA_512, _S.ED25519_PH_SHA_512)
    ),
}

# Largest RSA-OAEP plaintext: modulus bytes - 2 x hash bytes - 2 (RFC 8017 7.1.1; KMS.md, Limits).
_OAEP_HASH = {_E.RSAES_OAEP_SHA_1: 20, _E.RSAES_OAEP_SHA_256: 32}

# KWP output is 8 bytes over the plaintext rounded up to 8 (RFC 5649). Anything else is refused before the token sees it:
# kryoptic unwraps an empty blob to an empty key and signs with it (HSM.md A9).
_SECRET_WRAPPED = {32: 40, 48: 56, 64: 72}


def row(spec: KeySpec) -> SpecRow:
    """The row of a spec."""
    return KEY_SPECS[spec]


def usages(spec: KeySpec) -> tuple[KeyUsage, ...]:
    """The usages that AWS allows for a spec."""
    return USAGES[spec]


def oaep_limit(spec: KeySpec, algorithm: EncryptionAlgorithm) -> int:
    """Most bytes that an RSA key of this spec encrypts."""
    return row(spec).size // 8 - 2 * _OAEP_HASH[algorithm] - 2


def wrapped_length_fits(spec: KeySpec, wrapped: int, plain_len: int) -> bool:
    """Whether KWP material of this spec can have this length, given the length of its plaintext."""
    secret = row(spec).secret_length
    if secret:
        return plain_len == secret and wrapped == _SECRET_WRAPPED[secret]
    return plain_len >= 48 and wrapped == 8 + (plain_len + 7) // 8 * 8
