"""An HSM in memory that implements the ports with `cryptography`: deterministic from a seed, but for random signatures.

The one suite (tests/operations) runs on it and on real tokens. It keeps the habits of tokens that rules depend on:
material is wrapped with AES-KWP under a DK that never leaves, SOFTWARE keys are suite 1 under DM, and what does not fit
is HsmDataError.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa, utils
from cryptography.hazmat.primitives.keywrap import (
    InvalidUnwrap,
    aes_key_unwrap_with_padding,
    aes_key_wrap_with_padding,
)
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_der_private_key,
    load_der_public_key,
)

from keystead.engine.algorithms import DIGESTS, MacAlgorithm, SigningAlgorithm
from keystead.engine.backup import FINGERPRINT_PROBE, fingerprint
from keystead.engine.blob import open_software_key, seal_software_key
from keystead.engine.imported import read_imported
from keystead.engine.keyspec import Family, row, wrapped_length_fits
from keystead.engine.material import public_material_id, symmetric_material_id
from keystead.engine.ports import (
    Agree,
    DecryptRsa,
    Generate,
    GeneratedMaterial,
    Import,
    MakePair,
    Material,
    NewPair,
    SignDigest,
    SlowCall,
    SlowResult,
)
from keystead.engine.publickey import CURVES, HASHES, oaep, rsa_padding
from keystead.errors import BlobError, FormatError, HsmDataError, HsmUnavailableError, HsmUnsupportedError
from keystead.resources.vocabulary import KeySpec, KeyUsage, Protection

# As SoftHSM 2.6.1 with softwareProtection: Allowed (HSM.md A5).
LIKE_SOFTHSM: Mapping[KeySpec, Protection | None] = {
    spec: Protection.SOFTWARE if spec is KeySpec.ECC_NIST_EDWARDS25519 else Protection.TOKEN for spec in KeySpec
}
_MAC_HASH = {algorithm: "sha" + algorithm.value[-3:] for algorithm in MacAlgorithm}
_RSA_KEYS: dict[str, list[str]] = json.loads(
    (Path(__file__).resolve().parents[1] / "vectors" / "rsa_test_keys.json").read_text()
)


class FakeHsm:
    """Domain, FastLane, Capabilities and a runner of slow calls in one. `down`: every call is HsmUnavailableError."""

    def __init__(
        self,
        seed: bytes = b"fake",
        *,
        generation: int = 1,
        protections: Mapping[KeySpec, Protection | None] | None = None,
    ) -> None:
        self._seed = seed
        self._drawn = 0
        self._protections = {**LIKE_SOFTHSM, **(protections or {})}
        self._dk = self.entropy(32)
        self._dm = self.entropy(64)
        self._keys: dict[tuple[bytes, bytes], Any] = {}
        self.down = False
        self.generation = generation
        self.fingerprint = fingerprint(self.mac, aes_key_wrap_with_padding(self._dk, FINGERPRINT_PROBE))

    @property
    def domain(self) -> FakeHsm:
        return self

    @property
    def fast(self) -> FakeHsm:
        return self

    @property
    def capabilities(self) -> FakeHsm:
        return self

    def close(self) -> None:
        self._keys.clear()

    def entropy(self, count: int) -> bytes:
        """Bytes that are never the same twice and always the same for one seed."""
        self._drawn += 1
        return hashlib.shake_256(b"%d|%b" % (self._drawn, self._seed)).digest(count)

    # Domain
    def mac(self, message: bytes) -> bytes:
        self._check_up()
        return hmac.digest(self._dm, message, "sha512")

    # Capabilities
    def protection(self, spec: KeySpec) -> Protection | None:
        return self._protections[spec]

    # FastLane
    def derive(self, material: Material, message: bytes) -> bytes:
        return hmac.digest(self._secret(material, Family.SYMMETRIC), message, "sha512")

    def generate_mac(self, material: Material, algorithm: MacAlgorithm, message: bytes) -> bytes:
        return hmac.digest(self._secret(material, Family.HMAC), message, _MAC_HASH[algorithm])

    def verify_mac(self, material: Material, algorithm: MacAlgorithm, message: bytes, mac: bytes) -> bool:
        return hmac.compare_digest(self.generate_mac(material, algorithm, message), mac)

    # Slow lane
    def slow(self, call: SlowCall) -> SlowResult:
        self._check_up()
        match call:
            case Generate() | Import():
                return self._generate(call)
            case SignDigest():
                return self._sign(call)
            case DecryptRsa(material, padding, ciphertext):
                try:
                    return self._private(material, KeyUsage.ENCRYPT_DECRYPT).decrypt(ciphertext, oaep(padding))
                except ValueError:
                    raise HsmDataError("bad ciphertext") from None
            case Agree(material, _, peer):
                key = self._private(material, KeyUsage.KEY_AGREEMENT)
                return key.exchange(ec.ECDH(), load_der_public_key(peer))
            case MakePair(spec):
                key = self._new_private(KeySpec(spec.value))
                return NewPair(_pkcs8(key), _spki(key))

    def _generate(self, call: Generate | Import) -> GeneratedMaterial:
        if self._protections[call.spec] is not call.protection:
            raise HsmUnsupportedError(f"{call.spec} is not {call.protection} here")
        family, length = row(call.spec).family, row(call.spec).secret_length
        if length:
            secret = _given(call) or self.entropy(length)
            if family is Family.HMAC:
                return self._wrapped(call, self.entropy(32), secret, None)
            material_id = symmetric_material_id(lambda m: hmac.digest(secret, m, "sha512"), call.key_id)
            return self._wrapped(call, material_id, secret, None)
        key = _given(call) or self._new_private(call.spec)
        spki = _spki(key)
        return self._wrapped(call, public_material_id(call.key_id, spki), _pkcs8(key), spki)

    def _wrapped(self, call: Generate | Import, material_id: bytes, plain: bytes, spki: bytes | None) -> GeneratedMaterial:
        if call.protection is Protection.SOFTWARE:
            wrapped = seal_software_key(self.mac, call.key_id + material_id, self.entropy(32), plain)
        else:
            wrapped = aes_key_wrap_with_padding(self._dk, plain)
        return GeneratedMaterial(material_id, wrapped, len(plain), spki)

    def _new_private(self, spec: KeySpec) -> Any:
        if spec in CURVES:
            return ec.derive_private_key(1 + int.from_bytes(self.entropy(24), "big"), CURVES[spec]())
        if spec is KeySpec.ECC_NIST_EDWARDS25519:
            return ed25519.Ed25519PrivateKey.from_private_bytes(self.entropy(32))
        pool = _RSA_KEYS[str(row(spec).size)]
        return load_der_private_key(base64.b64decode(pool[self._drawn % len(pool)]), None)

    def _sign(self, call: SignDigest) -> bytes:
        algorithm, key = call.algorithm, self._private(call.material, KeyUsage.SIGN_VERIFY)
        if algorithm is SigningAlgorithm.ED25519_PH_SHA_512:
            raise HsmUnsupportedError("no Ed25519ph here")
        if isinstance(key, ed25519.Ed25519PrivateKey):
            return key.sign(call.digest)
        name, length = DIGESTS[algorithm]
        if len(call.digest) != length:
            raise HsmDataError("the digest has the wrong length")
        prehashed = utils.Prehashed(HASHES[name])
        if isinstance(key, rsa.RSAPrivateKey):
            return key.sign(call.digest, rsa_padding(algorithm), prehashed)
        return key.sign(call.digest, ec.ECDSA(prehashed))

    def _secret(self, material: Material, family: Family) -> bytes:
        self._check_up()
        key = (material.wrapped, material.ids)
        found = self._keys.get(key)
        if found is None:
            if row(material.spec).family is not family:
                raise HsmDataError("a key of another family")
            found = self._keys[key] = self._unwrap(material)
            if family is Family.SYMMETRIC:
                own = symmetric_material_id(lambda m: hmac.digest(found, m, "sha512"), material.key_id)
                if own != material.material_id:
                    del self._keys[key]
                    raise HsmDataError("the material is not the one that its id names")
        return found

    def _private(self, material: Material, usage: KeyUsage) -> Any:
        if material.usage is not usage:
            raise HsmDataError("a key of another usage")
        key = load_der_private_key(self._unwrap(material), None)
        if _spki(key) != material.spki:
            raise HsmDataError("the private key does not belong to the public key")
        return key

    def _unwrap(self, material: Material) -> bytes:
        try:
            if material.protection is Protection.SOFTWARE:
                return open_software_key(self.mac, material.wrapped, material.ids)
            if not wrapped_length_fits(material.spec, len(material.wrapped), material.plain_len):
                raise HsmDataError("wrapped material of an impossible length")
            return aes_key_unwrap_with_padding(self._dk, material.wrapped)
        except (BlobError, InvalidUnwrap):
            raise HsmDataError("the material cannot be unwrapped") from None

    def _check_up(self) -> None:
        if self.down:
            raise HsmUnavailableError("the fake is down")


def _given(call: Generate | Import) -> Any:
    if not isinstance(call, Import):
        return None
    try:
        return read_imported(call.spec, call.plaintext)
    except FormatError as error:
        raise HsmDataError(str(error)) from None


def _pkcs8(key: Any) -> bytes:
    return key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())


def _spki(key: Any) -> bytes:
    return key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
