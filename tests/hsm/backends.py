"""BACKENDS: the real tokens on which the one suite runs beside the fake (tests/hsm/fake.py).

A factory answers the process's one opened token of its kind: a PKCS#11 module is loaded and logged in once per
process, so every suite in it shares the token, and `close` of a suite ends nothing. The token is made by the real
ceremony, its slow lanes are real processes; SOFTWARE keys are allowed, as for the fake.
"""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

from tests.hsm.domains import KINDS, DomainToken, new_domain

from keystead.engine.ports import SlowCall, SlowResult
from keystead.hsm.backend import Hsm
from keystead.hsm.capabilities import TokenCapabilities
from keystead.hsm.domain import TokenDomain
from keystead.hsm.fastlane import TokenFastLane


@dataclass(eq=False)
class SharedHsm:
    """An opened token that several suites use. `hsm` has what is beyond the ports."""

    hsm: Hsm
    token: DomainToken

    @property
    def domain(self) -> TokenDomain:
        return self.hsm.domain

    @property
    def fast(self) -> TokenFastLane:
        return self.hsm.fast

    @property
    def capabilities(self) -> TokenCapabilities:
        return self.hsm.capabilities

    def slow(self, call: SlowCall) -> SlowResult:
        return self.hsm.slow(call)

    def close(self) -> None:
        """Others still use it; the process's end closes it."""


@cache
def open_backend(kind: str) -> SharedHsm:
    """The process's token of this kind."""
    folder = Path(tempfile.mkdtemp(prefix=f"keystead-{kind}-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    token = new_domain(kind, folder)
    os.environ.update(token.env)  # before the module loads; slow lanes inherit it
    hsm = token.open()
    atexit.register(hsm.close)
    return SharedHsm(hsm, token)


BACKENDS: list[tuple[str, Callable[[], SharedHsm]]] = [(kind, partial(open_backend, kind)) for kind in KINDS]
