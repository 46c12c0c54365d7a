"""The pinned clients and an endpoint for them. Clients are made ready after collection, outside of any test's time limit."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.clients import build as clients_build
from tests.clients.endpoint import Endpoint, certificates


def pytest_collection_finish(session: pytest.Session) -> None:
    """Makes ready what is missing, with its progress on the terminal."""
    if session.config.option.collectonly or not any(item.get_closest_marker("clients") for item in session.items):
        return
    capture = session.config.pluginmanager.getplugin("capturemanager")
    with capture.global_and_fixture_disabled():
        clients_build.ensure()


@pytest.fixture(scope="session")
def clients() -> clients_build.Clients:
    """The pinned clients."""
    return clients_build.ensure()


@pytest.fixture(scope="session", params=["http", "tls"])
def endpoint(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Endpoint]:
    """`keystead dev` on a free port: plain, and with a certificate of a private authority."""
    folder = tmp_path_factory.mktemp(f"endpoint-{request.param}")
    running = Endpoint(folder, tls=certificates(folder / "tls") if request.param == "tls" else None)
    yield running
    running.stop()


@pytest.fixture
def key(endpoint: Endpoint) -> str:
    """The ARN of a new key."""
    arn: str = endpoint.admin().create_key()["KeyMetadata"]["Arn"]
    return arn


@pytest.fixture
def environment(endpoint: Endpoint, key: str) -> dict[str, str]:
    """What examples/clients/README.md tells people to export."""
    return endpoint.environment | {"KEY_ID": key}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An example's own."""
    return tmp_path
