"""Ports: what the domain needs from the outside. hsm/ implements them on a token, tests/ with a fake; one suite runs on all.

Fast calls (microseconds) are methods and run inline. Slow ones (RSA, EC, ECDH, key generation) are values, `SlowCall`s, that a
driver runs in another process (ARCHITECTURE 6): wrapped material travels, handles never.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol, TypeAlias

from keystead.engine.algorithms import KeyAgreementAlgorithm, MacAlgorithm, RsaPadding, SigningAlgorithm
from keystead.engine.values import per_call
from keystead.resources.vocabulary import DataKeyPairSpec, KeySpec, KeyUsage, Protection


class Domain(Protocol):
    """The domain in the token: its MAC key DM_g, its generation and its fingerprint."""

    @property
    def generation(self) -> int:
        """g, from 1."""

    @property
    def fingerprint(self) -> str:
        """64 hex digits that prove both domain keys (format page, Domain fingerprint)."""

    def mac(self, message: bytes) -> bytes:
        """HMAC-SHA-512(DM_g, message), 64 bytes, computed in the token. HsmUnavailableError where it is away."""


@per_call
class Material:
    """One version of a key's material as a record holds it: what a lane needs to use it, nothing in the clear."""

    key_id: bytes
    spec: KeySpec
    usage: KeyUsage
    protection: Protection
    material_id: bytes
    wrapped: bytes
    plain_len: int
    spki: bytes | None = None

    @property
    def ids(self) -> bytes:
        """key id 16 | material id 32, as blobs carry them."""
        return self.key_id + self.material_id


class FastLane(Protocol):
    """Symmetric and HMAC keys: calls of some 10 microseconds on a hot key, 150 on a cold one."""

    def derive(self, material: Material, message: bytes) -> bytes:
        """HMAC-SHA-512 of a KDF input under a SYMMETRIC_DEFAULT material, 64 bytes.

        HsmDataError: this material cannot be unwrapped, or is not the one its id names. HsmUnavailableError: try later.
        """

    def generate_mac(self, material: Material, algorithm: MacAlgorithm, message: bytes) -> bytes:
        """The MAC of a message under an HMAC key."""

    def verify_mac(self, material: Material, algorithm: MacAlgorithm, message: bytes, mac: bytes) -> bool:
        """Whether this is the MAC of the message."""


class Capabilities(Protocol):
    """What the key store can do with each spec, found by a probe that verified results (HSM.md A5)."""

    def protection(self, spec: KeySpec) -> Protection | None:
        """HSM or TOKEN where the token generates, wraps and unwraps it; SOFTWARE where allowed; None: unsupported."""


@dataclass(frozen=True, slots=True)
class Generate:
    """Make new material for a key. Answers GeneratedMaterial."""

    key_id: bytes
    spec: KeySpec
    protection: Protection
    usage: KeyUsage


@dataclass(frozen=True, slots=True)
class Import:
    """Make a key of material that was made elsewhere (seeds of `keystead dev`). Answers GeneratedMaterial.

    plaintext   a secret's bytes, or PKCS#8 in DER; SYMMETRIC_DEFAULT of 32 bytes is padded with zeros. HsmDataError for what does not fit

    It travels to a slow lane in the clear, and this process's memory has held it: no key of a cluster is made so.
    """

    key_id: bytes
    spec: KeySpec
    protection: Protection
    usage: KeyUsage
    plaintext: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class GeneratedMaterial:
    """New material, wrapped. It exists nowhere else: it dies unless a record is made of it."""

    material_id: bytes
    wrapped: bytes
    plain_len: int
    spki: bytes | None


@dataclass(frozen=True, slots=True)
class SignDigest:
    """Sign a digest (for Ed25519 pure: the message). Answers the signature bytes, ECDSA in DER."""

    material: Material
    algorithm: SigningAlgorithm
    digest: bytes


@dataclass(frozen=True, slots=True)
class DecryptRsa:
    """RSA-OAEP decryption. Answers the plaintext; HsmDataError, always the same, for every bad ciphertext."""

    material: Material
    padding: RsaPadding
    ciphertext: bytes


@dataclass(frozen=True, slots=True)
class Agree:
    """ECDH with a peer's public key (DER SPKI, already checked to lie on the curve). Answers the raw x coordinate."""

    material: Material
    algorithm: KeyAgreementAlgorithm
    peer: bytes


@dataclass(frozen=True, slots=True)
class MakePair:
    """A data key pair, made outside the token since its plaintext leaves anyway. Answers NewPair."""

    spec: DataKeyPairSpec


@dataclass(frozen=True, slots=True)
class NewPair:
    """PKCS#8 DER and SPKI DER of a data key pair."""

    private_pkcs8: bytes
    public_spki: bytes


SlowCall: TypeAlias = Generate | Import | SignDigest | DecryptRsa | Agree | MakePair
SlowResult: TypeAlias = GeneratedMaterial | NewPair | bytes
