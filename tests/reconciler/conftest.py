"""One cluster in memory a test: the fakes', and the store of `keystead dev`, which must have the same habits."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.reconciler.fakes import World
from tests.reconciler.sqlite_world import SqliteWorld


@pytest.fixture(params=["fakes", "sqlite"])
def world(request: pytest.FixtureRequest) -> Iterator[World]:
    if request.param == "fakes":
        yield World()
        return
    made = SqliteWorld()
    yield made
    made.sqlite.close()
