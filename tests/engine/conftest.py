"""Shared by the engine's tests: a fake domain, and a record of every kind."""

from __future__ import annotations

import pytest
from tests.hsm.fake import FakeHsm


@pytest.fixture
def hsm() -> FakeHsm:
    return FakeHsm()
