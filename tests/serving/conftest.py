"""One operator and one server for the data plane suite, in the installation that all cluster tests share. Who stops or starves one
starts another."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.operator.direct import Direct
from tests.operator.harness import Installation, OperatorProcess
from tests.serving.desk import Desk
from tests.serving.harness import Authority, ServerProcess, make_authority, server


@pytest.fixture(scope="package")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """Who signed the server's certificate."""
    return make_authority(Path(tmp_path_factory.mktemp("tls")))


@pytest.fixture(scope="package")
def direct(installation: Installation) -> Direct:
    """An administrator without kubectl."""
    return Direct(installation.cluster)


@pytest.fixture(scope="package")
def leader(installation: Installation) -> Iterator[OperatorProcess]:
    """A leading operator."""
    with installation.operator("leader") as process:
        process.wait_leading()
        yield process


@pytest.fixture(scope="package")
def serving(installation: Installation, leader: OperatorProcess, authority: Authority) -> Iterator[ServerProcess]:
    """A server that is ready."""
    with server(installation, authority) as process:
        process.wait_ready()
        yield process


@pytest.fixture(scope="package")
def desk(installation: Installation, direct: Direct, authority: Authority, serving: ServerProcess) -> Desk:
    """The tests' hands, before that server."""
    return Desk(installation, direct, authority, serving)
