"""What the public half of a key is enough for: verify, RSA encryption, the check of a peer's key. Software, no token.

Called by operations (Verify, Encrypt, DeriveSharedSecret) and by hsm (probes; DER of signatures). Nothing secret enters
but an RSA plaintext, which leaves encrypted. Public keys are DER SubjectPublicKeyInfo, as in records and AWS's answers.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache
from typing import Final

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa, utils
from cryptography.hazmat.primitives.serialization import load_der_public_key

from keystead.engine.algorithms import DIGESTS, RsaPadding, SigningAlgorithm
from keystead.errors import FormatError, HsmUnsupportedError
from keystead.resources.vocabulary import KeySpec

HASHES: Final[dict[str, hashes.HashAlgorithm]] = {
    "sha1": hashes.SHA1(),  # noqa: S303 - OAEP's SHA-1 is AWS's RSAES_OAEP_SHA_1; no collision matters there
    "sha256": hashes.SHA256(),
    "sha384": hashes.SHA384(),
    "sha512": hashes.SHA512(),
}
OAEP_HASHES: Final = {RsaPadding.OAEP_SHA_1: "sha1", RsaPadding.OAEP_SHA_256: "sha256"}
CURVES: Final[dict[KeySpec, type[ec.EllipticCurve]]] = {
    KeySpec.ECC_NIST_P256: ec.SECP256R1,
    KeySpec.ECC_NIST_P384: ec.SECP384R1,
    KeySpec.ECC_NIST_P521: ec.SECP521R1,
    KeySpec.ECC_SECG_P256K1: ec.SECP256K1,
}


def signing_input(algorithm: SigningAlgorithm, message: bytes) -> bytes:
    """What is signed for MessageType RAW: the message's digest; for Ed25519 pure the message itself."""
    if algorithm is SigningAlgorithm.ED25519_SHA_512:
        return message
    return hashlib.new(DIGESTS[algorithm][0], message).digest()


def verify(spki: bytes, algorithm: SigningAlgorithm, digest: bytes, signature: bytes) -> bool:
    """Whether this signs `digest` (Ed25519 pure: the message) under the key. ECDSA signatures are DER.

    HsmUnsupportedError for Ed25519ph: `cryptography` has none. FormatError for an SPKI of another kind of key.
    """
    name = algorithm.value
    try:
        if name.startswith("RSASSA"):
            _rsa(spki).verify(signature, digest, rsa_padding(algorithm), _prehashed(algorithm))
        elif name.startswith("ECDSA"):
            _ec(spki).verify(signature, digest, ec.ECDSA(_prehashed(algorithm)))
        elif algorithm is SigningAlgorithm.ED25519_SHA_512:
            _ed25519(spki).verify(signature, digest)
        else:
            raise HsmUnsupportedError(f"{name} cannot be verified by this version")
    except InvalidSignature:
        return False
    return True


def rsa_padding(algorithm: SigningAlgorithm) -> padding.AsymmetricPadding:
    """PKCS #1 v1.5, or PSS with MGF1 of the same hash and a salt as long as it (AWS developer guide, RSASSA_PSS)."""
    if "PKCS1" in algorithm.value:
        return padding.PKCS1v15()
    name, length = DIGESTS[algorithm]
    return padding.PSS(padding.MGF1(HASHES[name]), length)


def oaep(which: RsaPadding) -> padding.OAEP:
    """OAEP with the same hash in MGF1 and no label (AWS developer guide, RSAES_OAEP)."""
    chosen = HASHES[OAEP_HASHES[which]]
    return padding.OAEP(padding.MGF1(chosen), chosen, None)


def encrypt_rsa(spki: bytes, which: RsaPadding, plaintext: bytes) -> bytes:
    """RSA-OAEP. The caller has checked the length (keyspec.oaep_limit)."""
    return _rsa(spki).encrypt(plaintext, oaep(which))


def check_peer(spec: KeySpec, peer: bytes) -> None:
    """FormatError unless `peer` is the DER SPKI of a point on this spec's curve (loading checks that it lies on it)."""
    if not isinstance(_ec(peer).curve, CURVES[spec]):
        raise FormatError("the public key is of another curve")


def ecdsa_der(raw: bytes) -> bytes:
    """DER of a signature r || s, as tokens answer it."""
    half = len(raw) // 2
    if not raw or len(raw) % 2:
        raise FormatError("r and s have the same length")
    return utils.encode_dss_signature(int.from_bytes(raw[:half], "big"), int.from_bytes(raw[half:], "big"))


def _prehashed(algorithm: SigningAlgorithm) -> utils.Prehashed:
    return utils.Prehashed(HASHES[DIGESTS[algorithm][0]])


@lru_cache(maxsize=512)
def _parse(spki: bytes) -> object:
    # Loading costs more than verifying. Public data only; the bytes are the whole input.
    try:
        return load_der_public_key(spki)
    except (ValueError, UnsupportedAlgorithm):
        raise FormatError("not a DER SubjectPublicKeyInfo of a key that we know") from None


def _rsa(spki: bytes) -> rsa.RSAPublicKey:
    key = _parse(spki)
    if not isinstance(key, rsa.RSAPublicKey):
        raise FormatError("not an RSA public key")
    return key


def _ec(spki: bytes) -> ec.EllipticCurvePublicKey:
    key = _parse(spki)
    if not isinstance(key, ec.EllipticCurvePublicKey):
        raise FormatError("not an elliptic curve public key")
    return key


def _ed25519(spki: bytes) -> ed25519.Ed25519PublicKey:
    key = _parse(spki)
    if not isinstance(key, ed25519.Ed25519PublicKey):
        raise FormatError("not an Ed25519 public key")
    return key
