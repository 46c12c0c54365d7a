"""Making new material in the token: generate as a session object, wrap, destroy, unwrap, prove; then hand it over.

Imported material goes the same way: a session object is made of it instead (importing.py).

The material dies with the process unless a record is made of it, so creating a key stays one atomic create of one
object (ARCHITECTURE 4). The proof is done in software: a token's CKR_OK is not believed (SoftHSM answers it to an
Ed25519ph request that it does not honour, HSM.md A5).
"""

from __future__ import annotations

from dataclasses import dataclass

import pkcs11
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from pkcs11 import Attribute, KeyType, Mechanism
from pkcs11.constants import DEFAULT

from keystead.engine.imported import PrivateKey, read_imported, spki_of
from keystead.engine.keyspec import Family, row, wrapped_length_fits
from keystead.engine.material import public_material_id, symmetric_material_id
from keystead.engine.ports import Generate, GeneratedMaterial, Import, Material
from keystead.engine.publickey import CURVES
from keystead.errors import FormatError, HsmDataError, HsmUnavailableError, HsmUnsupportedError
from keystead.hsm.domain import TokenDomain
from keystead.hsm.importing import private_object, secret_object
from keystead.hsm.mechanisms import MECHANISMS
from keystead.hsm.private import TokenPrivateKeys
from keystead.hsm.proof import prove
from keystead.hsm.templates import Template, extractable_secret
from keystead.hsm.vault import Vault
from keystead.resources.vocabulary import KeySpec, KeyUsage


@dataclass(frozen=True, slots=True)
class TokenGenerator:
    """Generates on the session of this thread. `random` gives the id of HMAC material (HSM.md A6)."""

    domain: TokenDomain
    vault: Vault
    private: TokenPrivateKeys

    def generate(self, call: Generate | Import, random32: bytes) -> GeneratedMaterial:
        """New material, wrapped and proven. HsmUnsupportedError where the token cannot generate, wrap or unwrap it.

        HsmDataError where what is to be imported is not of the spec: the token has seen nothing then.
        """
        given = _given(call)
        try:
            made = (
                self._pair(call, given)
                if not row(call.spec).secret_length
                else self._secret(call, given, random32)
            )
            self._prove(call, made)
        except pkcs11.PKCS11Error as error:
            self._raise(call, error)
        except HsmDataError as error:
            raise HsmUnsupportedError(f"this token cannot hold {call.spec} keys: {error}") from None
        return made

    def _raise(self, call: Generate | Import, error: pkcs11.PKCS11Error) -> None:
        word = type(error).__name__
        if self.domain.known_answer():
            raise HsmUnsupportedError(f"this token cannot make and wrap {call.spec} keys ({word})") from None
        raise HsmUnavailableError(f"the token does not work: {word}") from None

    def _secret(self, call: Generate | Import, given: bytes | PrivateKey | None, random32: bytes) -> GeneratedMaterial:
        length, session = row(call.spec).secret_length, self.domain.token.session
        key = secret_object(session, given) if isinstance(given, bytes) else _new_secret(session, length)
        try:
            material_id = random32
            if row(call.spec).family is Family.SYMMETRIC:
                material_id = symmetric_material_id(
                    lambda message: key.sign(message, mechanism=Mechanism.SHA512_HMAC), call.key_id
                )
            wrapped = self.domain.wrap(key)
        finally:
            key.destroy()
        return GeneratedMaterial(material_id, wrapped, length, None)

    def _pair(self, call: Generate | Import, given: bytes | PrivateKey | None) -> GeneratedMaterial:
        if given is None:
            spki, wrapped = self._new_pair(call)
        else:
            assert not isinstance(given, bytes)
            spki, wrapped = spki_of(given), self._imported_pair(call, given)
        # The plaintext is PKCS#8; how long it was is not to be learned from a token. The wrapped length tells within 8.
        plain_len = len(wrapped) - 8
        if not wrapped_length_fits(call.spec, len(wrapped), plain_len):
            raise HsmDataError(f"wrapped to {len(wrapped)} bytes")
        return GeneratedMaterial(public_material_id(call.key_id, spki), wrapped, plain_len, spki)

    def _new_pair(self, call: Generate | Import) -> tuple[bytes, bytes]:
        """(SPKI, wrapped private half)."""
        public, private = self._key_pair(call)
        try:
            return read_spki(call.spec, public), self.domain.wrap(private)
        finally:
            public.destroy()
            private.destroy()

    def _imported_pair(self, call: Generate | Import, given: PrivateKey) -> bytes:
        """The wrapped private half. Its public half comes from the same bytes; the proof tells whether the token has that key."""
        private = private_object(self.domain.token.session, call.spec, given, _private_template(call.usage))
        try:
            return self.domain.wrap(private)
        finally:
            private.destroy()

    def _key_pair(self, call: Generate | Import) -> tuple[pkcs11.PublicKey, pkcs11.PrivateKey]:
        session, mechanism = self.domain.token.session, MECHANISMS[call.spec]
        private = _private_template(call.usage)
        public: Template = {Attribute.TOKEN: False, Attribute.PRIVATE: False}
        pair: tuple[pkcs11.PublicKey, pkcs11.PrivateKey]
        if mechanism.key_type is KeyType.RSA:
            pair = session.generate_keypair(
                KeyType.RSA, mechanism.bits, store=False, public_template=public, private_template=private
            )
            return pair
        parameters = session.create_domain_parameters(
            mechanism.key_type, {Attribute.EC_PARAMS: mechanism.curve}, local=True
        )
        pair = parameters.generate_keypair(
            store=False, mechanism=mechanism.generate, public_template=public, private_template=private
        )
        return pair

    def _prove(self, call: Generate | Import, made: GeneratedMaterial) -> None:
        material = Material(
            key_id=call.key_id,
            spec=call.spec,
            usage=call.usage,
            protection=call.protection,
            material_id=made.material_id,
            wrapped=made.wrapped,
            plain_len=made.plain_len,
            spki=made.spki,
        )
        self.vault.handle(material)
        if made.spki is not None:
            prove(self.private, material)


def _given(call: Generate | Import) -> bytes | PrivateKey | None:
    if not isinstance(call, Import):
        return None
    try:
        return read_imported(call.spec, call.plaintext)
    except FormatError as error:
        raise HsmDataError(str(error)) from None


def _new_secret(session: pkcs11.Session, length: int) -> pkcs11.SecretKey:
    key = session.generate_key(
        KeyType.GENERIC_SECRET,
        length * 8,
        store=False,
        capabilities=pkcs11.MechanismFlag(0),
        mechanism=Mechanism.GENERIC_SECRET_KEY_GEN,
        template=extractable_secret(),
    )
    assert isinstance(key, pkcs11.SecretKey)
    return key


def _private_template(usage: KeyUsage) -> Template:
    return {
        Attribute.TOKEN: False,
        Attribute.PRIVATE: True,
        Attribute.SENSITIVE: True,
        Attribute.EXTRACTABLE: True,
        Attribute.SIGN: usage is KeyUsage.SIGN_VERIFY,
        Attribute.DECRYPT: usage is KeyUsage.ENCRYPT_DECRYPT,
        Attribute.DERIVE: usage is KeyUsage.KEY_AGREEMENT,
        Attribute.UNWRAP: DEFAULT,
    }


def read_spki(spec: KeySpec, public: pkcs11.PublicKey) -> bytes:
    """DER SubjectPublicKeyInfo of a public key object: the only time that a public key is read from a token."""
    key: rsa.RSAPublicKey | ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey
    if row(spec).family is Family.RSA:
        modulus = int.from_bytes(public[Attribute.MODULUS], "big")
        exponent = int.from_bytes(public[Attribute.PUBLIC_EXPONENT], "big")
        key = rsa.RSAPublicNumbers(exponent, modulus).public_key()
    elif spec in CURVES:
        curve = CURVES[spec]()
        key = ec.EllipticCurvePublicKey.from_encoded_point(
            curve, _point(public[Attribute.EC_POINT], 2 * row(spec).size + 1)
        )
    else:
        key = ed25519.Ed25519PublicKey.from_public_bytes(_point(public[Attribute.EC_POINT], 32))
    return key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)


def _point(value: bytes, length: int) -> bytes:
    """CKA_EC_POINT is a DER OCTET STRING (SoftHSM) or raw (kryoptic's Ed25519); the length tells."""
    if len(value) == length:
        return value
    if len(value) > length and value[0] == 0x04:
        return value[-length:]
    raise HsmDataError(f"an EC point of {len(value)} bytes")
