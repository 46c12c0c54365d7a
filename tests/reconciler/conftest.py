"""One cluster in memory a test."""

from __future__ import annotations

import pytest
from tests.reconciler.fakes import World


@pytest.fixture
def world() -> World:
    return World()
