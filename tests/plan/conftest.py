"""Shared by the plan tests: a fake domain."""

from __future__ import annotations

import pytest
from tests.hsm.fake import FakeHsm


@pytest.fixture(scope="session")
def hsm() -> FakeHsm:
    return FakeHsm()
