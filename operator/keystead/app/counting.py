"""Counts the calls of the engine by operation and result (metric keystead_engine_requests_total). Sees no argument and no answer."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import MappingProxyType
from typing import Final

from keystead.engine.algorithms import MacAlgorithm
from keystead.engine.ports import (
    Agree,
    DecryptRsa,
    FastLane,
    Generate,
    Import,
    MakePair,
    Material,
    SignDigest,
    SlowCall,
)
from keystead.errors import (
    HsmAuthError,
    HsmDataError,
    HsmSessionLostError,
    HsmSetupError,
    HsmUnavailableError,
    HsmUnsupportedError,
    ThrottlingError,
)

Called = Callable[[str, str], None]
"""(operation, result): one call ended."""

SLOW: Final[Mapping[type[SlowCall], str]] = MappingProxyType(
    {
        Generate: "generate",
        Import: "import",
        MakePair: "make_pair",
        SignDigest: "sign_digest",
        DecryptRsa: "decrypt_rsa",
        Agree: "agree",
    }
)
"""Slow call -> its name in the metric."""

RESULTS: Final[tuple[tuple[type[Exception], str], ...]] = (
    (HsmDataError, "data"),
    (HsmSessionLostError, "session"),
    (HsmUnavailableError, "unavailable"),
    (HsmAuthError, "auth"),
    (HsmSetupError, "setup"),
    (HsmUnsupportedError, "unsupported"),
    (ThrottlingError, "throttled"),
    (Exception, "error"),
)
"""Error -> result; the first row that fits decides. A call that was cancelled has none."""


@contextmanager
def counted(called: Called, operation: str) -> Iterator[None]:
    """Count what runs within."""
    try:
        yield
    except Exception as error:
        called(operation, _result(error))
        raise
    called(operation, "ok")


def _result(error: Exception) -> str:
    return next(word for kind, word in RESULTS if isinstance(error, kind))


class CountedFastLane:
    """Implements `engine.ports.FastLane` on another one."""

    def __init__(self, lane: FastLane, called: Called) -> None:
        self._lane = lane
        self._called = called

    def derive(self, material: Material, message: bytes) -> bytes:
        """As the lane does. Without `counted`: a context manager would be a tenth of this call."""
        try:
            derived = self._lane.derive(material, message)
        except Exception as error:
            self._called("derive", _result(error))
            raise
        self._called("derive", "ok")
        return derived

    def generate_mac(self, material: Material, algorithm: MacAlgorithm, message: bytes) -> bytes:
        """As the lane does."""
        with counted(self._called, "generate_mac"):
            return self._lane.generate_mac(material, algorithm, message)

    def verify_mac(self, material: Material, algorithm: MacAlgorithm, message: bytes, mac: bytes) -> bool:
        """As the lane does."""
        with counted(self._called, "verify_mac"):
            return self._lane.verify_mac(material, algorithm, message, mac)
