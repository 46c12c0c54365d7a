"""The domain in the token: DK_g wraps, DM_g makes MACs. Implements `engine.ports.Domain`.

The handles are looked up once (finding is linear, session objects included) and kept.
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass
from typing import Final

import pkcs11
from cryptography.hazmat.primitives import keywrap
from pkcs11 import Attribute, KeyType, Mechanism, ObjectClass

from keystead.engine.backup import FINGERPRINT_PROBE, fingerprint
from keystead.errors import HsmSetupError, HsmUnavailableError
from keystead.hsm.token import TokenSession, translated

DK_LABEL: Final = "keystead-dk-{}"
DM_LABEL: Final = "keystead-dm-{}"
# RFC 5649 has two numbers: 0x210B, and SoftHSM's 0x210A, which PKCS#11 3.x means otherwise. Found by probe (HSM.md A9).
KWP_CANDIDATES: Final = (Mechanism.AES_KEY_WRAP_KWP, Mechanism.AES_KEY_WRAP_PAD)


@dataclass(frozen=True, slots=True)
class DomainKeys:
    """Handles of one generation."""

    generation: int
    dk: pkcs11.SecretKey
    dm: pkcs11.SecretKey


def find_domain(session: pkcs11.Session) -> DomainKeys | None:
    """The newest domain in the token, None in an empty one. HsmSetupError for half a domain, or two of one label."""
    generations: dict[int, dict[str, list[pkcs11.SecretKey]]] = {}
    for item in list(session.get_objects({Attribute.CLASS: ObjectClass.SECRET_KEY, Attribute.TOKEN: True})):
        label = _label(item)
        for half, pattern in (("dk", DK_LABEL), ("dm", DM_LABEL)):
            prefix = pattern.format("")
            if label.startswith(prefix) and label.removeprefix(prefix).isdigit():
                halves = generations.setdefault(int(label.removeprefix(prefix)), {})
                halves.setdefault(half, []).append(item)
    if not generations:
        return None
    generation = max(generations)
    halves = generations[generation]
    if sorted(halves) != ["dk", "dm"]:
        raise HsmSetupError(
            f"domain generation {generation} is half there (only {', '.join(halves)}); "
            "hint: the ceremony was cut short; start again with a fresh token"
        )
    if len(halves["dk"]) > 1 or len(halves["dm"]) > 1:
        raise HsmSetupError(f"two domain keys of generation {generation} have one label; hint: restore from the backup")
    return DomainKeys(generation, halves["dk"][0], halves["dm"][0])


def _label(item: pkcs11.SecretKey) -> str:
    try:
        return str(item[Attribute.LABEL])
    except pkcs11.AttributeTypeInvalid:
        return ""  # kryoptic has no CKA_LABEL where none was set


def probe_kwp(session: pkcs11.Session) -> Mechanism:
    """The mechanism number under which this token wraps as RFC 5649 says; `cryptography` is the judge."""
    value = hashlib.sha256(b"keystead kwp probe").digest()
    offered = session.token.slot.get_mechanisms()
    for mechanism in KWP_CANDIDATES:
        if mechanism not in offered and int(mechanism) not in offered:
            continue
        try:
            if _wraps_as_kwp(session, mechanism, value):
                return mechanism
        except pkcs11.PKCS11Error:
            continue
    raise HsmSetupError("this token cannot wrap keys as RFC 5649 (AES-KWP) says; it cannot hold a domain")


def _wraps_as_kwp(session: pkcs11.Session, mechanism: Mechanism, key: bytes) -> bool:
    wrapping = import_wrapping_key(session, key)
    secret = import_secret(session, FINGERPRINT_PROBE, extractable=True)
    try:
        wrapped = wrapping.wrap_key(secret, mechanism=mechanism)
    finally:
        wrapping.destroy()
        secret.destroy()
    try:
        return keywrap.aes_key_unwrap_with_padding(key, wrapped) == FINGERPRINT_PROBE
    except keywrap.InvalidUnwrap:
        return False


def import_wrapping_key(session: pkcs11.Session, value: bytes) -> pkcs11.SecretKey:
    """A 32-byte AES key as a session object that wraps and unwraps (recovery key, probes)."""
    key = session.create_object(
        {
            Attribute.CLASS: ObjectClass.SECRET_KEY,
            Attribute.KEY_TYPE: KeyType.AES,
            Attribute.TOKEN: False,
            Attribute.PRIVATE: True,
            Attribute.SENSITIVE: True,
            Attribute.EXTRACTABLE: False,
            Attribute.WRAP: True,
            Attribute.UNWRAP: True,
            Attribute.ENCRYPT: False,
            Attribute.DECRYPT: False,
            Attribute.VALUE: value,
        }
    )
    assert isinstance(key, pkcs11.SecretKey)
    return key


def import_secret(session: pkcs11.Session, value: bytes, *, extractable: bool) -> pkcs11.SecretKey:
    """A generic secret as a session object (probes and test vectors; never a KMS key's material)."""
    key = session.create_object(
        {
            Attribute.CLASS: ObjectClass.SECRET_KEY,
            Attribute.KEY_TYPE: KeyType.GENERIC_SECRET,
            Attribute.TOKEN: False,
            Attribute.PRIVATE: True,
            Attribute.SENSITIVE: True,
            Attribute.EXTRACTABLE: extractable,
            Attribute.SIGN: True,
            Attribute.VERIFY: True,
            Attribute.VALUE: value,
        }
    )
    assert isinstance(key, pkcs11.SecretKey)
    return key


class TokenDomain:
    """`engine.ports.Domain` on a token, and the wrapping with DK that the vault needs."""

    def __init__(self, token: TokenSession, expected: str | None = None) -> None:
        self.token = token
        self.kwp = probe_kwp(token.session)
        self._keys = self._find()
        self._fingerprint = self.compute_fingerprint()
        self._probe = self.mac(b"keystead known answer")
        if expected is not None and expected != self._fingerprint:
            raise HsmSetupError(
                f"the token holds domain {self._fingerprint[:16]}, the records belong to {expected[:16]}; "
                "hint: give the operator the token that `hsm init` made, or restore that domain from its backup"
            )

    def _find(self) -> DomainKeys:
        keys = find_domain(self.token.session)
        if keys is None:
            raise HsmSetupError("the token has no domain; hint: run `keystead hsm init`")
        return keys

    def reopen(self) -> None:
        """After the token was away. HsmUnavailableError: it still is. HsmSetupError: another domain came back."""
        try:
            self.token.reopen()
        except HsmSetupError as error:  # a folder that is away reads as `no such token`
            raise HsmUnavailableError(str(error)) from None
        before = self._fingerprint
        with translated("open its domain again"):
            self._keys = self._find()
            found = self.compute_fingerprint()
        if found != before:
            raise HsmSetupError("another domain came back after the token was away")

    @property
    def generation(self) -> int:
        """g."""
        return self._keys.generation

    @property
    def fingerprint(self) -> str:
        """64 hex digits."""
        return self._fingerprint

    @property
    def dk(self) -> pkcs11.SecretKey:
        """Handle of DK_g."""
        return self._keys.dk

    @property
    def dm(self) -> pkcs11.SecretKey:
        """Handle of DM_g (`hsm check`; everybody else calls `mac`)."""
        return self._keys.dm

    def mac(self, message: bytes) -> bytes:
        """HMAC-SHA-512(DM_g, message): 64 bytes."""
        self.token.check_thread()
        try:
            mac: bytes = self._keys.dm.sign(message, mechanism=Mechanism.SHA512_HMAC)
        except pkcs11.PKCS11Error as error:
            raise HsmUnavailableError(f"the domain MAC key does not work: {type(error).__name__}") from None
        return mac

    def known_answer(self) -> bool:
        """Whether the token still computes what it computed at the start (about 13 us)."""
        try:
            return hmac.compare_digest(self.mac(b"keystead known answer"), self._probe)
        except HsmUnavailableError:
            return False

    def wrap(self, key: pkcs11.Key) -> bytes:
        """KWP under DK_g."""
        wrapped: bytes = self.dk.wrap_key(key, mechanism=self.kwp)
        return wrapped

    def compute_fingerprint(self) -> str:
        """Wrap the fixed probe with DK and MAC the fixed label with DM (format page, Domain fingerprint)."""
        probe = import_secret(self.token.session, FINGERPRINT_PROBE, extractable=True)
        try:
            return fingerprint(self.mac, self.wrap(probe))
        finally:
            probe.destroy()
