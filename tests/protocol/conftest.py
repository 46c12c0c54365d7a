"""One `keystead dev` for the whole suite: two accounts, no seed, everything in memory."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from tests.protocol.harness import House, open_house


@pytest.fixture(scope="session")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """The process. Whatever the tests did to it, it has met no fault."""
    opened = open_house(tmp_path_factory.mktemp("protocol"))
    yield opened
    for client in opened.clients.values():
        client.close()
    opened.endpoint.stop()
    said = opened.endpoint.output
    assert not [line for line in said.splitlines() if " ERROR " in line or "Traceback" in line]


@pytest.fixture(scope="session")
def kms(house: House) -> Any:
    """boto3 of the first account."""
    return house.client()


@pytest.fixture(scope="session")
def other(house: House) -> Any:
    """boto3 of the second account."""
    return house.client(house.second)
