"""The `hsm` fixture: ONE suite on the fake and on every real token that tests.hsm.backends names."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from tests.builders import Hsm
from tests.hsm.fake import FakeHsm


def _backends() -> list[Any]:
    params = [pytest.param(FakeHsm, id="fake")]
    if importlib.util.find_spec("tests.hsm.backends") is not None:
        from tests.hsm.backends import BACKENDS

        params += [pytest.param(factory, id=name, marks=pytest.mark.token) for name, factory in BACKENDS]
    return params


@pytest.fixture(scope="session", params=_backends())
def hsm(request: pytest.FixtureRequest) -> Iterator[Hsm]:
    """A backend; nothing in a test may change its state (wrap its ports instead)."""
    factory: Callable[[], Hsm] = request.param
    backend = factory()
    yield backend
    backend.close()
