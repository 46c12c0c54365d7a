"""Object templates: what keys in the token and unwrapped keys can and cannot do (HSM.md A3, A4).

Two attributes need handlers of our own, since the binding packs no arrays: UNWRAP_TEMPLATE (an array of CK_ATTRIBUTE)
and ALLOWED_MECHANISMS (an array of CK_ULONG). In a C_UnwrapKey template MODIFIABLE=False comes last: SoftHSM answers
ATTRIBUTE_READ_ONLY to everything after it.
"""

from __future__ import annotations

import ctypes
import struct
from collections.abc import Iterable, Mapping
from typing import Any, Final, TypeAlias

from pkcs11 import Attribute, Mechanism
from pkcs11.attributes import AttributeMapper
from pkcs11.constants import DEFAULT

Template: TypeAlias = dict[Attribute, Any]

# What a key must be after C_UnwrapKey with DK: enforced by the token itself (CKA_UNWRAP_TEMPLATE).
SEALED_IN: Final[Template] = {Attribute.SENSITIVE: True, Attribute.EXTRACTABLE: False}


class _CkAttribute(ctypes.Structure):
    _fields_ = (("type", ctypes.c_ulong), ("value", ctypes.c_void_p), ("length", ctypes.c_ulong))


class KeysteadMapper(AttributeMapper):  # type: ignore[misc]
    """Attribute mapper with the two array attributes. Keeps the buffers that they point to alive as long as itself."""

    def __init__(self) -> None:
        super().__init__()
        self._alive: dict[bytes, object] = {}
        self.register_handler(Attribute.UNWRAP_TEMPLATE, self._pack_template, bytes)
        self.register_handler(Attribute.ALLOWED_MECHANISMS, _pack_mechanisms, _unpack_mechanisms)

    def _pack_template(self, template: Mapping[Attribute, Any]) -> bytes:
        values = [self.pack_attribute(key, value) for key, value in template.items()]
        identity = repr(sorted((int(key), value) for key, value in zip(template, values, strict=True))).encode()
        if identity not in self._alive:
            buffers = [ctypes.create_string_buffer(value, len(value)) for value in values]
            rows = (_CkAttribute * len(values))(
                *(
                    _CkAttribute(int(key), ctypes.cast(buffer, ctypes.c_void_p), len(buffer))
                    for key, buffer in zip(template, buffers, strict=True)
                )
            )
            self._alive[identity] = (rows, buffers)
        rows_kept: Any = self._alive[identity]
        return bytes(rows_kept[0])


def _pack_mechanisms(mechanisms: Iterable[Mechanism]) -> bytes:
    numbers = [int(mechanism) for mechanism in mechanisms]
    return struct.pack(f"{len(numbers)}L", *numbers)


def _unpack_mechanisms(data: bytes) -> list[int]:
    return list(struct.unpack(f"{len(data) // 8}L", data))


def domain_wrapping_key(label: str, generation: int, kwp: Mechanism) -> Template:
    """DK_g: wraps and unwraps with KWP and does nothing else, for ever."""
    return {
        **_domain_key(label, generation),
        Attribute.WRAP: True,
        Attribute.UNWRAP: True,
        Attribute.UNWRAP_TEMPLATE: SEALED_IN,
        Attribute.ALLOWED_MECHANISMS: [kwp],
        Attribute.MODIFIABLE: False,
    }


def domain_mac_key(label: str, generation: int) -> Template:
    """DM_g: signs and verifies with SHA512_HMAC and does nothing else."""
    return {
        **_domain_key(label, generation),
        Attribute.SIGN: True,
        Attribute.VERIFY: True,
        Attribute.ALLOWED_MECHANISMS: [Mechanism.SHA512_HMAC],
        Attribute.MODIFIABLE: False,
    }


def _domain_key(label: str, generation: int) -> Template:
    return {
        **_no_use(),
        Attribute.TOKEN: True,
        Attribute.PRIVATE: True,
        Attribute.LABEL: label,
        Attribute.ID: generation.to_bytes(4, "big"),
        **SEALED_IN,
        Attribute.COPYABLE: False,
    }


def _no_use() -> Template:
    return dict.fromkeys(
        (
            Attribute.ENCRYPT,
            Attribute.DECRYPT,
            Attribute.WRAP,
            Attribute.UNWRAP,
            Attribute.SIGN,
            Attribute.VERIFY,
            Attribute.DERIVE,
        ),
        False,
    )


def session_secret(mechanism: Mechanism) -> Template:
    """An unwrapped secret: SIGN and VERIFY with one HMAC mechanism."""
    return {
        **_no_use(),
        Attribute.SIGN: True,
        Attribute.VERIFY: True,
        Attribute.TOKEN: False,
        Attribute.PRIVATE: True,
        **SEALED_IN,
        Attribute.COPYABLE: False,
        Attribute.ALLOWED_MECHANISMS: [mechanism],
        Attribute.MODIFIABLE: False,
    }


def session_private_key(use: Attribute, mechanisms: Iterable[Mechanism]) -> Template:
    """An unwrapped private key with one use. ENCRYPT, WRAP, VERIFY are left out: tokens refuse them."""
    uses = dict.fromkeys((Attribute.DECRYPT, Attribute.UNWRAP, Attribute.SIGN, Attribute.DERIVE), False)
    return {
        Attribute.ENCRYPT: DEFAULT,
        Attribute.WRAP: DEFAULT,
        Attribute.VERIFY: DEFAULT,
        **uses,
        use: True,
        Attribute.TOKEN: False,
        Attribute.PRIVATE: True,
        **SEALED_IN,
        Attribute.COPYABLE: False,
        Attribute.ALLOWED_MECHANISMS: list(mechanisms),
        Attribute.MODIFIABLE: False,
    }


def extractable_secret() -> Template:
    """A secret on its way: made in a session only to be wrapped once."""
    return {
        **_no_use(),
        Attribute.SIGN: True,
        Attribute.VERIFY: True,
        Attribute.TOKEN: False,
        Attribute.PRIVATE: True,
        Attribute.SENSITIVE: True,
        Attribute.EXTRACTABLE: True,
    }
