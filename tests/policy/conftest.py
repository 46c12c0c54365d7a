"""Policy needs no token: the fake only makes the records."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
from tests.hsm.fake import FakeHsm


@pytest.fixture(scope="session")
def hsm() -> FakeHsm:
    return FakeHsm()


@pytest.fixture(scope="session")
def seconds_of() -> Callable[[Callable[[], object]], float]:
    """The best time of three runs."""

    def measure(run: Callable[[], object]) -> float:
        best = float("inf")
        for _ in range(3):
            start = time.perf_counter()
            run()
            best = min(best, time.perf_counter() - start)
        return best

    return measure
