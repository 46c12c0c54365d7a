"""Attacks of `hsm check`: what somebody with the PIN and a record would try against the domain. Each must be refused.

A refusal counts only where the same call, done rightly, works: each attack has its control. Nothing is made that
outlives the call, and nothing in the token is changed where an attack succeeds: what comes out is destroyed at once,
what was set is set back.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Final

import pkcs11
from pkcs11 import Attribute, KeyType, Mechanism, ObjectClass

from keystead.engine.backup import FINGERPRINT_PROBE
from keystead.engine.ports import Generate, GeneratedMaterial, Material
from keystead.errors import HsmDataError
from keystead.hsm.backend import Hsm
from keystead.hsm.domain import import_secret, import_wrapping_key
from keystead.hsm.findings import Finding, degraded, failed, ok
from keystead.hsm.templates import Template, session_secret
from keystead.resources.vocabulary import KeySpec, KeyUsage, Protection

_KEY_ID: Final = bytes(16)
_READABLE: Final = (
    {Attribute.SENSITIVE: False, Attribute.EXTRACTABLE: True},
    {Attribute.SENSITIVE: True, Attribute.EXTRACTABLE: True},
    {Attribute.SENSITIVE: False, Attribute.EXTRACTABLE: False},
)
_FLIPS: Final = (
    (Attribute.EXTRACTABLE, True),
    (Attribute.SENSITIVE, False),
    (Attribute.DECRYPT, True),
    (Attribute.COPYABLE, True),
    (Attribute.MODIFIABLE, True),
)


def attack_unwrap(hsm: Hsm) -> Finding:
    """C_UnwrapKey of a record's material into a readable key. UNWRAP_TEMPLATE of DK must refuse it."""
    wrapped = new_secret(hsm).wrapped
    _unwrap(hsm, wrapped, session_secret(Mechanism.SHA512_HMAC)).destroy()  # control
    words = []
    for readable in _READABLE:
        try:
            key = _unwrap(hsm, wrapped, {**session_secret(Mechanism.SHA512_HMAC), **readable})
        except pkcs11.PKCS11Error as error:
            words.append(refusal(error))
            continue
        try:
            if not _sealed_in(key):
                return degraded("the token gives out a readable key: CKA_UNWRAP_TEMPLATE is not enforced")
        finally:
            key.destroy()
        words.append("unreadable all the same")
    return ok(f"refused: {_joined(words)}")


def attack_copy(hsm: Hsm) -> Finding:
    """C_CopyObject of DK and DM into a session object that may do more. COPYABLE=False must refuse it."""
    control = import_secret(hsm.domain.token.session, FINGERPRINT_PROBE, extractable=False)
    try:
        note = "" if _copies(control, {}) is None else "; the token copies nothing at all"
    finally:
        control.destroy()
    words = []
    for name, key in (("DK", hsm.domain.dk), ("DM", hsm.domain.dm)):
        for more in ({}, {Attribute.MODIFIABLE: True}, {Attribute.MODIFIABLE: True, Attribute.DECRYPT: True}):
            refusal = _copies(key, more)
            if refusal is None:
                return failed(f"{name} can be copied; what the copy may do is not for the token to say any more")
            words.append(refusal)
    return ok(f"refused: {_joined(words)}{note}")


def attack_flip(hsm: Hsm) -> Finding:
    """C_SetAttributeValue on DK, DM and an unwrapped key. Judged by reading the attributes back."""
    session_key = _unwrap(hsm, new_secret(hsm).wrapped, session_secret(Mechanism.SHA512_HMAC))
    try:
        for name, key in (("DK", hsm.domain.dk), ("DM", hsm.domain.dm), ("an unwrapped key", session_key)):
            for attribute, value in _FLIPS:
                if _flips(key, attribute, value):
                    return failed(f"{attribute.name} of {name} can be changed")
    finally:
        session_key.destroy()
    return ok("every change of DK, DM and an unwrapped key is refused")


def attack_mechanism(hsm: Hsm) -> Finding:
    """Using keys with other mechanisms than theirs. ALLOWED_MECHANISMS must refuse it."""
    session = hsm.domain.token.session
    target = import_secret(session, FINGERPRINT_PROBE, extractable=True)
    control = import_wrapping_key(session, FINGERPRINT_PROBE)
    unwrapped = _unwrap(hsm, new_secret(hsm).wrapped, session_secret(Mechanism.SHA512_HMAC))
    attacks: tuple[tuple[str, Callable[[], object]], ...] = (
        ("DK wraps with AES-KW", lambda: hsm.domain.dk.wrap_key(target, mechanism=Mechanism.AES_KEY_WRAP)),
        ("DM signs with SHA256_HMAC", lambda: hsm.domain.dm.sign(b"x", mechanism=Mechanism.SHA256_HMAC)),
        ("an unwrapped key signs with SHA256_HMAC", lambda: unwrapped.sign(b"x", mechanism=Mechanism.SHA256_HMAC)),
    )
    try:
        control.wrap_key(target, mechanism=Mechanism.AES_KEY_WRAP)
        target.sign(b"x", mechanism=Mechanism.SHA256_HMAC)
        words = []
        for name, call in attacks:
            try:
                call()
            except pkcs11.PKCS11Error as error:
                words.append(refusal(error))
                continue
            return degraded(f"{name}: CKA_ALLOWED_MECHANISMS is not enforced")
        return ok(f"refused: {_joined(words)}")
    finally:
        for key in (target, control, unwrapped):
            key.destroy()


def attack_empty(hsm: Hsm) -> Finding:
    """C_UnwrapKey of nothing. A token may make an empty key of it, so our own check must stand before it."""
    material = Material(
        _KEY_ID, KeySpec.SYMMETRIC_DEFAULT, KeyUsage.ENCRYPT_DECRYPT, Protection.TOKEN, bytes(32), b"", 64
    )
    try:
        hsm.vault.unwrap(material).destroy()
    except HsmDataError as error:
        if "bytes" not in str(error):
            return failed(f"the length of wrapped material is not checked before the token sees it ({error})")
    else:
        return failed("an empty blob becomes a key")
    try:
        _unwrap(hsm, b"", session_secret(Mechanism.SHA512_HMAC)).destroy()
    except pkcs11.PKCS11Error as error:
        return ok(f"refused by the token ({type(error).__name__}), and by Keystead before it")
    return ok("the token makes an empty key of it; Keystead refuses it before the token sees it")


def new_secret(hsm: Hsm) -> GeneratedMaterial:
    """Fresh material of a SYMMETRIC_DEFAULT key, wrapped under DK and not held."""
    made = hsm.executor.run(Generate(_KEY_ID, KeySpec.SYMMETRIC_DEFAULT, Protection.TOKEN, KeyUsage.ENCRYPT_DECRYPT))
    assert isinstance(made, GeneratedMaterial)
    hsm.vault.forget_wrapped(made.wrapped)
    return made


def _unwrap(hsm: Hsm, wrapped: bytes, template: Template) -> pkcs11.SecretKey:
    return hsm.domain.dk.unwrap_key(
        ObjectClass.SECRET_KEY,
        KeyType.GENERIC_SECRET,
        wrapped,
        mechanism=hsm.domain.kwp,
        store=False,
        template=template,
    )


def _sealed_in(key: pkcs11.SecretKey) -> bool:
    with suppress(pkcs11.PKCS11Error):
        if key[Attribute.VALUE]:
            return False
    return bool(key[Attribute.SENSITIVE]) and not key[Attribute.EXTRACTABLE]


def _copies(key: pkcs11.SecretKey, more: Template) -> str | None:
    """None where the copy was made (and destroyed), else the refusal's name."""
    try:
        key.copy({Attribute.TOKEN: False, **more}).destroy()
    except pkcs11.PKCS11Error as error:
        return refusal(error)
    return None


def _flips(key: pkcs11.SecretKey, attribute: Attribute, value: bool) -> bool:
    before = key[attribute]
    with suppress(pkcs11.PKCS11Error):
        key[attribute] = value
    changed = bool(key[attribute] != before)
    if changed:
        key[attribute] = before
    return changed


def refusal(error: pkcs11.PKCS11Error) -> str:
    """The error's name; for a CKR that the binding has no class for, its number."""
    return str(error) if type(error) is pkcs11.PKCS11Error else type(error).__name__


def _joined(words: list[str]) -> str:
    return ", ".join(dict.fromkeys(words))
