"""SOFTWARE protection: keys that the token cannot wrap, in process memory, stored as suite-1 blobs under DM_g.

Only where the key store allows it, and status.protectionLevel says so. The secret is opened for each call and not
kept: CPython cannot promise that it is wiped (docs/security.md).
"""

from __future__ import annotations

from dataclasses import dataclass

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed

from keystead.engine.algorithms import DIGESTS, SigningAlgorithm
from keystead.engine.blob import open_software_key, seal_software_key
from keystead.engine.imported import PrivateKey, read_private_key, spki_of
from keystead.engine.keyspec import Family, row
from keystead.engine.material import public_material_id
from keystead.engine.ports import Agree, DecryptRsa, Domain, Generate, GeneratedMaterial, Import, Material, SignDigest
from keystead.engine.publickey import CURVES, HASHES, oaep, rsa_padding
from keystead.errors import BlobError, FormatError, HsmDataError, HsmUnsupportedError
from keystead.resources.vocabulary import KeySpec


@dataclass(frozen=True, slots=True)
class SoftwareKeys:
    """Generates and uses SOFTWARE key pairs. Secrets without a pair are never SOFTWARE: every token has HMAC."""

    domain: Domain

    def generate(self, call: Generate | Import, random32: bytes) -> GeneratedMaterial:
        """A new pair, or the one that is imported; the private half as PKCS#8 in a suite-1 blob."""
        key = imported_private_key(call) if isinstance(call, Import) else new_private_key(call.spec)
        secret, spki = pkcs8(key), spki_of(key)
        material_id = public_material_id(call.key_id, spki)
        sealed = seal_software_key(self.domain.mac, call.key_id + material_id, random32, secret)
        return GeneratedMaterial(material_id, sealed, len(secret), spki)

    def sign(self, call: SignDigest) -> bytes:
        """As TokenPrivateKeys.sign."""
        key = self._open(call.material)
        if isinstance(key, ed25519.Ed25519PrivateKey):
            if call.algorithm is not SigningAlgorithm.ED25519_SHA_512:
                raise HsmUnsupportedError("Ed25519ph is not available for SOFTWARE keys")
            return key.sign(call.digest)
        name, length = DIGESTS[call.algorithm]
        if len(call.digest) != length:
            raise HsmDataError(f"a digest of {call.algorithm} has {length} bytes")
        hashed = HASHES[name]
        if isinstance(key, ec.EllipticCurvePrivateKey):
            return key.sign(call.digest, ec.ECDSA(Prehashed(hashed)))
        return key.sign(call.digest, rsa_padding(call.algorithm), Prehashed(hashed))

    def decrypt(self, call: DecryptRsa) -> bytes:
        """As TokenPrivateKeys.decrypt."""
        key = self._open(call.material)
        if not isinstance(key, rsa.RSAPrivateKey):
            raise HsmDataError("OAEP decoding failed")
        try:
            return key.decrypt(call.ciphertext, oaep(call.padding))
        except ValueError:
            raise HsmDataError("OAEP decoding failed") from None

    def agree(self, call: Agree) -> bytes:
        """As TokenPrivateKeys.agree."""
        key, peer = self._open(call.material), serialization.load_der_public_key(call.peer)
        if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(peer, ec.EllipticCurvePublicKey):
            raise HsmDataError("the keys do not agree")
        return key.exchange(ec.ECDH(), peer)

    def choose_oaep(self, material: Material, ciphertext: bytes, expected: bytes) -> None:
        """Nothing to choose: `cryptography` has both."""

    def _open(self, material: Material) -> PrivateKey:
        try:
            secret = open_software_key(self.domain.mac, material.wrapped, material.ids)
        except BlobError as error:
            raise HsmDataError(str(error)) from None
        key = serialization.load_der_private_key(secret, None)
        if not isinstance(key, PrivateKey) or spki_of(key) != material.spki:
            raise HsmDataError("the software key is not the one of its public key")
        return key


def new_private_key(spec: KeySpec) -> PrivateKey:
    """A private key made by `cryptography`. Also makes data key pairs, whose plaintext leaves anyway."""
    if row(spec).family is Family.RSA:
        return rsa.generate_private_key(65537, row(spec).size)
    if spec in CURVES:
        return ec.generate_private_key(CURVES[spec]())
    if row(spec).family is Family.EDWARDS:
        return ed25519.Ed25519PrivateKey.generate()
    raise HsmUnsupportedError(f"{spec} is not a key pair")


def imported_private_key(call: Import) -> PrivateKey:
    """What is to be imported. HsmDataError where it is not a key of the spec."""
    try:
        return read_private_key(call.spec, call.plaintext)
    except FormatError as error:
        raise HsmDataError(str(error)) from None


def pkcs8(key: PrivateKey) -> bytes:
    """PKCS#8 DER."""
    return key.private_bytes(
        serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
