"""A controller's world on both stores, and the tape of what it tells the audit trail."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.audit.tape import Tape, taped
from tests.reconciler.fakes import World
from tests.reconciler.sqlite_world import SqliteWorld


@pytest.fixture(params=[World, SqliteWorld])
def world(request: pytest.FixtureRequest) -> Iterator[World]:
    made = request.param()
    yield made
    if isinstance(made, SqliteWorld):
        made.sqlite.close()


@pytest.fixture
def tape(world: World) -> Tape:
    return taped(world)
