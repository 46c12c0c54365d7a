"""Session objects of material that was made elsewhere: as new ones are, made only to be wrapped once. Called by generate.py."""

from __future__ import annotations

from typing import Final

import pkcs11
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from pkcs11 import Attribute, KeyType, ObjectClass
from pkcs11.constants import DEFAULT

from keystead.engine.imported import PrivateKey
from keystead.engine.keyspec import row
from keystead.hsm.mechanisms import MECHANISMS
from keystead.hsm.templates import Template, extractable_secret
from keystead.resources.vocabulary import KeySpec

_ED25519: Final = 32


def secret_object(session: pkcs11.Session, value: bytes) -> pkcs11.SecretKey:
    """A secret as the token would have generated it."""
    key = session.create_object(
        {
            Attribute.CLASS: ObjectClass.SECRET_KEY,
            Attribute.KEY_TYPE: KeyType.GENERIC_SECRET,
            **extractable_secret(),
            Attribute.VALUE: value,
        }
    )
    assert isinstance(key, pkcs11.SecretKey)
    return key


def private_object(session: pkcs11.Session, spec: KeySpec, key: PrivateKey, template: Template) -> pkcs11.PrivateKey:
    """A private key as the token would have generated it: `template` says what it may do."""
    made = session.create_object(
        {
            Attribute.CLASS: ObjectClass.PRIVATE_KEY,
            Attribute.KEY_TYPE: MECHANISMS[spec].key_type,
            **{attribute: value for attribute, value in template.items() if value is not DEFAULT},
            **_numbers(spec, key),
        }
    )
    assert isinstance(made, pkcs11.PrivateKey)
    return made


def _numbers(spec: KeySpec, key: PrivateKey) -> Template:
    if isinstance(key, rsa.RSAPrivateKey):
        return _rsa_numbers(key)
    if isinstance(key, ec.EllipticCurvePrivateKey):
        value = key.private_numbers().private_value.to_bytes(row(spec).size, "big")
    else:
        value = key.private_bytes_raw()
        assert len(value) == _ED25519
    return {Attribute.EC_PARAMS: MECHANISMS[spec].curve, Attribute.VALUE: value}


def _rsa_numbers(key: rsa.RSAPrivateKey) -> Template:
    """PKCS#11 3.1, 2.1.3: big integers, most significant byte first, without leading zeros."""
    private, public = key.private_numbers(), key.public_key().public_numbers()
    numbers = {
        Attribute.MODULUS: public.n,
        Attribute.PUBLIC_EXPONENT: public.e,
        Attribute.PRIVATE_EXPONENT: private.d,
        Attribute.PRIME_1: private.p,
        Attribute.PRIME_2: private.q,
        Attribute.EXPONENT_1: private.dmp1,
        Attribute.EXPONENT_2: private.dmq1,
        Attribute.COEFFICIENT: private.iqmp,
    }
    return {attribute: number.to_bytes((number.bit_length() + 7) // 8, "big") for attribute, number in numbers.items()}
