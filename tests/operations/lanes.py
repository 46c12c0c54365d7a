"""Fast lanes that misbehave, around the one of any backend."""

from __future__ import annotations

from dataclasses import dataclass, field

from keystead.engine.algorithms import MacAlgorithm
from keystead.engine.ports import FastLane, Material
from keystead.errors import KeysteadError


@dataclass
class CountingLane:
    """Counts derivations, and flips one bit of those in `flip` (1 is the first)."""

    inner: FastLane
    flip: frozenset[int] = frozenset()
    bit: int = 0
    derived: list[bytes] = field(default_factory=list)

    def derive(self, material: Material, message: bytes) -> bytes:
        self.derived.append(message)
        answer = self.inner.derive(material, message)
        if len(self.derived) not in self.flip:
            return answer
        bad = bytearray(answer)
        bad[self.bit // 8] ^= 1 << self.bit % 8
        return bytes(bad)

    def generate_mac(self, material: Material, algorithm: MacAlgorithm, message: bytes) -> bytes:
        return self.inner.generate_mac(material, algorithm, message)

    def verify_mac(self, material: Material, algorithm: MacAlgorithm, message: bytes, mac: bytes) -> bool:
        return self.inner.verify_mac(material, algorithm, message, mac)


@dataclass
class BrokenLane:
    """Every call raises this error."""

    error: KeysteadError

    def derive(self, material: Material, message: bytes) -> bytes:
        raise self.error

    def generate_mac(self, material: Material, algorithm: MacAlgorithm, message: bytes) -> bytes:
        raise self.error

    def verify_mac(self, material: Material, algorithm: MacAlgorithm, message: bytes, mac: bytes) -> bool:
        raise self.error


@dataclass
class BrokenSlow:
    """A backend whose slow calls raise this error."""

    error: KeysteadError

    def slow(self, call: object) -> bytes:
        raise self.error
