"""Proofs in software that a private key is the one of its public key and that the token uses it rightly."""

from __future__ import annotations

from typing import Final, Protocol

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from keystead.engine import publickey
from keystead.engine.algorithms import KeyAgreementAlgorithm, RsaPadding
from keystead.engine.keyspec import row
from keystead.engine.ports import Agree, DecryptRsa, Material, SignDigest
from keystead.errors import HsmDataError
from keystead.resources.vocabulary import KeyUsage

_MESSAGE: Final = b"keystead proof of a private key"


class PrivateKeys(Protocol):
    """What is proven: a token's private keys, or software ones."""

    def sign(self, call: SignDigest) -> bytes: ...
    def decrypt(self, call: DecryptRsa) -> bytes: ...
    def agree(self, call: Agree) -> bytes: ...
    def choose_oaep(self, material: Material, ciphertext: bytes, expected: bytes) -> None: ...


def prove(keys: PrivateKeys, material: Material) -> None:
    """Use the key once for its usage and check the result against its SPKI. HsmDataError where they do not fit."""
    match material.usage:
        case KeyUsage.SIGN_VERIFY:
            _prove_signing(keys, material)
        case KeyUsage.ENCRYPT_DECRYPT:
            _prove_decryption(keys, material)
        case KeyUsage.KEY_AGREEMENT:
            _prove_agreement(keys, material)
        case KeyUsage.GENERATE_VERIFY_MAC:
            raise HsmDataError("a MAC key has no private half")


def _prove_signing(keys: PrivateKeys, material: Material) -> None:
    algorithm = row(material.spec).signing[0]
    digest = publickey.signing_input(algorithm, _MESSAGE)
    signature = keys.sign(SignDigest(material, algorithm, digest))
    if not publickey.verify(_spki(material), algorithm, digest, signature):
        raise HsmDataError("a signature of the new key does not verify under its public key")


def _prove_decryption(keys: PrivateKeys, material: Material) -> None:
    for padding in RsaPadding:
        ciphertext = publickey.encrypt_rsa(_spki(material), padding, _MESSAGE)
        if padding is RsaPadding.OAEP_SHA_256:
            keys.choose_oaep(material, ciphertext, _MESSAGE)
        if keys.decrypt(DecryptRsa(material, padding, ciphertext)) != _MESSAGE:
            raise HsmDataError("the new key does not decrypt what its public key encrypts")


def _prove_agreement(keys: PrivateKeys, material: Material) -> None:
    public = serialization.load_der_public_key(_spki(material))
    assert isinstance(public, ec.EllipticCurvePublicKey)
    peer = ec.generate_private_key(public.curve)
    peer_spki = peer.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    if keys.agree(Agree(material, KeyAgreementAlgorithm.ECDH, peer_spki)) != peer.exchange(ec.ECDH(), public):
        raise HsmDataError("the new key does not agree with its public key")


def _spki(material: Material) -> bytes:
    if material.spki is None:
        raise HsmDataError("a key pair without a public key")
    return material.spki
