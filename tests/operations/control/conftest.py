"""One control plane a test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.operations.control.desk import Desk


@pytest.fixture
def desk() -> Iterator[Desk]:
    made = Desk()
    yield made
    made.close()
