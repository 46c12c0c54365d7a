"""Private keys in use: RSA, EC and Ed25519 on unwrapped session objects. Runs in slow-lane processes."""

from __future__ import annotations

from typing import cast

import pkcs11
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from pkcs11 import KDF, Attribute, KeyType, Mechanism

from keystead.engine.algorithms import DIGESTS, RsaPadding, SigningAlgorithm
from keystead.engine.keyspec import Family, row
from keystead.engine.ports import Agree, DecryptRsa, Material, SignDigest
from keystead.engine.publickey import ecdsa_der
from keystead.errors import HsmDataError, HsmUnsupportedError
from keystead.hsm.domain import TokenDomain
from keystead.hsm.mechanisms import DIGEST_INFO, OAEP, PSS
from keystead.hsm.oaep import unpad_oaep
from keystead.hsm.proof import prove
from keystead.hsm.token import attempt
from keystead.hsm.vault import Vault


class TokenPrivateKeys:
    """Signs, decrypts and agrees with keys of one session."""

    def __init__(self, domain: TokenDomain, vault: Vault) -> None:
        self._domain = domain
        self._vault = vault
        self._proving = False
        # Decided by the first OAEP-SHA-256 call: kryoptic has it natively and refuses raw RSA, SoftHSM the reverse.
        self._raw_oaep: bool | None = None

    def sign(self, call: SignDigest) -> bytes:
        """PKCS#1, PSS, DER ECDSA, or 64 bytes of Ed25519. HsmDataError for a digest of the wrong length."""
        algorithm, material = call.algorithm, call.material
        if algorithm is SigningAlgorithm.ED25519_PH_SHA_512:
            raise HsmUnsupportedError("Ed25519ph is not asked of a token that may answer with a pure signature")
        handle = self._handle(material)
        if algorithm is SigningAlgorithm.ED25519_SHA_512:
            return self._attempt_sign(handle, call.digest, Mechanism.EDDSA, None)
        name, length = DIGESTS[algorithm]
        if len(call.digest) != length:
            raise HsmDataError(f"a digest of {algorithm} has {length} bytes")
        if algorithm in PSS:
            return self._attempt_sign(handle, call.digest, Mechanism.RSA_PKCS_PSS, PSS[algorithm])
        if row(material.spec).family is Family.RSA:
            return self._attempt_sign(handle, DIGEST_INFO[name] + call.digest, Mechanism.RSA_PKCS, None)
        raw = self._attempt_sign(handle, call.digest, Mechanism.ECDSA, None)
        return ecdsa_der(raw)

    def _handle(self, material: Material) -> pkcs11.PrivateKey:
        """The unwrapped key; one that was not held before is first proven against its public key (HSM.md, Swap)."""
        fresh = not self._vault.holds(material)
        handle = cast(pkcs11.PrivateKey, self._vault.handle(material))
        if fresh and not self._proving:
            self._proving = True
            try:
                prove(self, material)
            except BaseException:
                self._vault.forget(material)
                raise
            finally:
                self._proving = False
        return handle

    def _attempt_sign(self, handle: pkcs11.PrivateKey, data: bytes, mechanism: Mechanism, parameter: object) -> bytes:
        signature: bytes = attempt(
            lambda: handle.sign(data, mechanism=mechanism, mechanism_param=parameter), self._domain.known_answer
        )
        return signature

    def decrypt(self, call: DecryptRsa) -> bytes:
        """RSA-OAEP. One HsmDataError for every bad ciphertext."""
        size = row(call.material.spec).size // 8
        if len(call.ciphertext) != size:
            raise HsmDataError("OAEP decoding failed")
        handle = self._handle(call.material)
        try:
            if call.padding is RsaPadding.OAEP_SHA_256 and self._raw_oaep:
                return self._raw(handle, call.ciphertext, size)
            return self._native(handle, call)
        except HsmDataError:
            raise HsmDataError("OAEP decoding failed") from None

    def _native(self, handle: pkcs11.PrivateKey, call: DecryptRsa) -> bytes:
        plaintext: bytes = attempt(
            lambda: handle.decrypt(
                call.ciphertext, mechanism=Mechanism.RSA_PKCS_OAEP, mechanism_param=OAEP[call.padding]
            ),
            self._domain.known_answer,
        )
        return plaintext

    def _raw(self, handle: pkcs11.PrivateKey, ciphertext: bytes, size: int) -> bytes:
        encoded = attempt(lambda: handle.decrypt(ciphertext, mechanism=Mechanism.RSA_X_509), self._domain.known_answer)
        return unpad_oaep(encoded, size, "sha256")

    def choose_oaep(self, material: Material, ciphertext: bytes, expected: bytes) -> None:
        """Find out, by a software ciphertext, how this token does OAEP-SHA-256. HsmUnsupportedError: not at all."""
        if self._raw_oaep is not None:
            return
        for raw in (False, True):
            self._raw_oaep = raw
            try:
                if self.decrypt(DecryptRsa(material, RsaPadding.OAEP_SHA_256, ciphertext)) == expected:
                    return
            except HsmDataError:
                continue
        self._raw_oaep = None
        raise HsmUnsupportedError("this token decrypts OAEP with SHA-256 neither natively nor by raw RSA")

    @property
    def oaep_sha256(self) -> str:
        """`native`, `raw`, or `unknown` before the first probe."""
        return {None: "unknown", True: "raw", False: "native"}[self._raw_oaep]

    def agree(self, call: Agree) -> bytes:
        """ECDH: the x coordinate, field length. The derived object is read once and destroyed."""
        peer = serialization.load_der_public_key(call.peer)
        if not isinstance(peer, ec.EllipticCurvePublicKey):
            raise HsmDataError("the peer's key is not an EC key")
        point = peer.public_bytes(serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint)
        size = row(call.material.spec).size
        handle = self._handle(call.material)
        derived = attempt(lambda: _derive(handle, point, size), self._domain.known_answer)
        try:
            value = bytes(derived[Attribute.VALUE])
        finally:
            derived.destroy()
        return value.rjust(size, b"\0")


def _derive(handle: pkcs11.PrivateKey, point: bytes, size: int) -> pkcs11.SecretKey:
    return handle.derive_key(
        KeyType.GENERIC_SECRET,
        size * 8,
        store=False,
        capabilities=pkcs11.MechanismFlag(0),
        mechanism=Mechanism.ECDH1_DERIVE,
        mechanism_param=(KDF.NULL, None, point),
        template={Attribute.SENSITIVE: False, Attribute.EXTRACTABLE: True, Attribute.PRIVATE: True},
    )
