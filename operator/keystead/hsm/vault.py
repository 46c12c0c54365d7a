"""Unwrapped keys: a bounded LRU of session objects, and the only way from a record's wrapped bytes to a usable handle.

Nothing is used before it proved to be the material that its id names: AES-KWP has no AAD, so a swapped `wrapped`
would be noticed nowhere else below the seal (HSM.md, Record and seal). Lengths are checked before the token sees a
blob: kryoptic unwraps an empty one to an empty key and signs with it.
"""

from __future__ import annotations

import hmac
from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

import pkcs11
from pkcs11 import Attribute, Mechanism, ObjectClass

from keystead.engine.kdf import material_id_input
from keystead.engine.keyspec import Family, row, wrapped_length_fits
from keystead.engine.ports import Material
from keystead.errors import HsmDataError, HsmUnavailableError
from keystead.hsm.domain import TokenDomain
from keystead.hsm.mechanisms import HMACS, MECHANISMS, allowed_mechanisms
from keystead.hsm.templates import Template, session_private_key, session_secret
from keystead.hsm.token import attempt
from keystead.resources.vocabulary import KeyUsage

# Resident bytes of one unwrapped session object, measured on SoftHSM (HSM.md (b)); private keys are larger.
_COST: Final = {Family.SYMMETRIC: 11 << 10, Family.HMAC: 11 << 10}
_COST_PRIVATE: Final = 24 << 10
DEFAULT_CACHE_BYTES: Final = 32 << 20

_USES: Final = {
    KeyUsage.ENCRYPT_DECRYPT: Attribute.DECRYPT,
    KeyUsage.SIGN_VERIFY: Attribute.SIGN,
    KeyUsage.KEY_AGREEMENT: Attribute.DERIVE,
}


@dataclass(frozen=True, slots=True)
class _Entry:
    handle: pkcs11.Key
    key_id: bytes
    material_id: bytes
    cost: int


class Vault:
    """LRU of unwrapped keys of one session, bounded by bytes."""

    def __init__(self, domain: TokenDomain, cache_bytes: int = DEFAULT_CACHE_BYTES) -> None:
        self.domain = domain
        self._limit = cache_bytes
        self._used = 0
        self._entries: OrderedDict[bytes, _Entry] = OrderedDict()

    def __len__(self) -> int:
        """Unwrapped keys held now."""
        return len(self._entries)

    def handle(self, material: Material) -> pkcs11.Key:
        """The session object of a material. HsmDataError: not the material that its id names, or not unwrappable."""
        entry = self._entries.get(material.wrapped)
        if entry is None or entry.material_id != material.material_id or entry.key_id != material.key_id:
            return self._load(material)
        self._entries.move_to_end(material.wrapped)
        return entry.handle

    def holds(self, material: Material) -> bool:
        """Whether a session object of exactly this material is held."""
        entry = self._entries.get(material.wrapped)
        return entry is not None and (entry.key_id, entry.material_id) == (material.key_id, material.material_id)

    def _load(self, material: Material) -> pkcs11.Key:
        self.domain.token.check_thread()
        handle = self.unwrap(material)
        try:
            self._check_binding(material, handle)
        except BaseException:
            handle.destroy()
            raise
        cost = _COST.get(row(material.spec).family, _COST_PRIVATE)
        self._drop(material.wrapped)
        self._entries[material.wrapped] = _Entry(handle, material.key_id, material.material_id, cost)
        self._used += cost
        while self._used > self._limit and len(self._entries) > 1:
            self._drop(next(iter(self._entries)))
        return handle

    def unwrap(self, material: Material) -> pkcs11.Key:
        """A fresh session object, not cached and not yet bound to its id."""
        if not wrapped_length_fits(material.spec, len(material.wrapped), material.plain_len):
            raise HsmDataError(f"wrapped {material.spec} material cannot have {len(material.wrapped)} bytes")
        mechanism = MECHANISMS[material.spec]
        key: pkcs11.Key = attempt(
            lambda: self.domain.dk.unwrap_key(
                mechanism.object_class,
                mechanism.key_type,
                material.wrapped,
                mechanism=self.domain.kwp,
                store=False,
                template=unwrap_template(material),
            ),
            self.domain.known_answer,
        )
        return key

    def _check_binding(self, material: Material, handle: pkcs11.Key) -> None:
        if row(material.spec).family is Family.SYMMETRIC:
            assert isinstance(handle, pkcs11.SecretKey)
            found = attempt(
                lambda: handle.sign(material_id_input(material.key_id), mechanism=Mechanism.SHA512_HMAC),
                self.domain.known_answer,
            )
            if not hmac.compare_digest(found[:32], material.material_id):
                raise HsmDataError("the unwrapped material is not the one that the record's material id names")

    def forget(self, material: Material) -> None:
        """Destroy the session object of a material, where one is held."""
        self.forget_wrapped(material.wrapped)

    def forget_wrapped(self, wrapped: bytes) -> None:
        """The same, where only the wrapped bytes are at hand."""
        self._drop(wrapped)

    def forget_key(self, key_id: bytes) -> None:
        """Destroy the session objects of all versions of a key."""
        for wrapped in [wrapped for wrapped, entry in self._entries.items() if entry.key_id == key_id]:
            self._drop(wrapped)

    def clear(self) -> None:
        """The session is gone and its objects with it: forget the handles without a call."""
        self._entries.clear()
        self._used = 0

    def _drop(self, wrapped: bytes) -> None:
        entry = self._entries.pop(wrapped, None)
        if entry is None:
            return
        self._used -= entry.cost
        try:
            entry.handle.destroy()
        except pkcs11.PKCS11Error as error:
            raise HsmUnavailableError(f"a session object cannot be destroyed: {type(error).__name__}") from None


def unwrap_template(material: Material) -> Template:
    """What the unwrapped key may do: one use, one or two mechanisms, never leave."""
    spec = material.spec
    if MECHANISMS[spec].object_class is ObjectClass.SECRET_KEY:
        macs = row(spec).macs
        return session_secret(HMACS[macs[0]] if macs else Mechanism.SHA512_HMAC)
    return session_private_key(_USES[material.usage], allowed_mechanisms(spec, material.usage))
