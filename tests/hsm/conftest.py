"""Fixtures: `hsm` (the fake and every real token), `real` (real tokens only), `kind` (a real token's kind)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from tests.hsm.backends import BACKENDS, SharedHsm
from tests.hsm.domains import KINDS, DomainToken, new_domain
from tests.hsm.fake import FakeHsm

_REAL = [pytest.param(factory, id=name, marks=pytest.mark.token) for name, factory in BACKENDS]


@pytest.fixture(scope="session", params=[pytest.param(FakeHsm, id="fake"), *_REAL])
def hsm(request: pytest.FixtureRequest) -> Iterator[Any]:
    """A backend; nothing in a test may change its state."""
    backend = request.param()
    yield backend
    backend.close()


@pytest.fixture(scope="session", params=_REAL)
def real(request: pytest.FixtureRequest) -> SharedHsm:
    """A real token, opened in this process."""
    shared: SharedHsm = request.param()
    return shared


@pytest.fixture(params=[pytest.param(kind, marks=pytest.mark.token) for kind in KINDS])
def kind(request: pytest.FixtureRequest) -> str:
    """Which kind of token to make."""
    return str(request.param)


@pytest.fixture(scope="module", params=[pytest.param(kind, marks=pytest.mark.token) for kind in KINDS])
def domain(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> DomainToken:
    """A token with a domain that tests leave as it is."""
    return new_domain(request.param, tmp_path_factory.mktemp(request.param))
