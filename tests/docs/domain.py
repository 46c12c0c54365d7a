"""A domain whose keys are bytes, for vectors. Implements `engine.ports.Domain` with `hmac`."""

from __future__ import annotations

import hmac
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any


def kdf_of(key: str) -> Callable[[bytes], bytes]:
    """HMAC-SHA-512 under a key given in hex."""
    raw = bytes.fromhex(key)
    return lambda message: hmac.digest(raw, message, "sha512")


@dataclass(frozen=True, slots=True)
class VectorDomain:
    """DK and DM in the clear: they protect nothing."""

    generation: int
    fingerprint: str
    dk: bytes
    dm: bytes

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> VectorDomain:
        """The `domain` section of format.json."""
        return cls(given["generation"], given["fingerprint"], bytes.fromhex(given["dk"]), bytes.fromhex(given["dm"]))

    def mac(self, message: bytes) -> bytes:
        """HMAC-SHA-512 under DM."""
        return hmac.digest(self.dm, message, "sha512")
