"""Policy needs no token: the fake only makes the records."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import pytest
from tests.hsm.fake import FakeHsm


@pytest.fixture(scope="session")
def hsm() -> FakeHsm:
    return FakeHsm()


@pytest.fixture(scope="session")
def steps_of() -> Callable[[Callable[[], object]], int]:
    """Lines of Python that a call runs: as many on a busy machine as on an idle one. Its seconds are of `make bench-server`."""

    def measure(run: Callable[[], object]) -> int:
        steps, before = 0, sys.gettrace()

        def line(_frame: Any, event: str, _argument: Any) -> Any:
            nonlocal steps
            steps += event == "line"
            return line

        sys.settrace(line)
        try:
            run()
        finally:
            sys.settrace(before)
        return steps

    return measure
