"""The pytest plugin of the cluster tests: `pytest_plugins = ["tests.cluster.plugin"]`.

Gives the session fixture `cluster` and the mark `powers("etcd", ...)`. Programs are built once after collection,
outside of any test's time limit, and only if a collected test has the fixture or the mark `cluster`.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.cluster import build, gotoolchain, kinds
from tests.cluster.cluster import Cluster, ClusterError, Power

# A test with this fixture installs the chart into the cluster: never into one that others use.
INSTALLS = "installation"


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "powers(*names): what the cluster must be able to do, else the test is skipped")


def needed_powers(item: pytest.Item) -> list[Power]:
    """The powers that all `powers` marks of a test name, sorted; an unknown name is an error of the test's author."""
    names = {str(name) for mark in item.iter_markers("powers") for name in mark.args}
    if INSTALLS in getattr(item, "fixturenames", ()):
        names.add(Power.DISPOSABLE.value)
    try:
        return sorted(Power(name) for name in names)
    except ValueError as error:
        raise pytest.UsageError(f"{item.nodeid}: {error}; known powers: {', '.join(Power)}") from None


def missing_reason(which: kinds.Kind, needed: list[Power]) -> str | None:
    """Why a test cannot run on this kind of cluster, or None."""
    missing = [power for power in needed if power not in kinds.POWERS[which]]
    if not missing:
        return None
    return f"the cluster `{which}` lacks the power{'s' if len(missing) > 1 else ''} {', '.join(missing)}"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Marks as skipped what this cluster cannot do, before anything starts."""
    marked = [(item, needed) for item in items if (needed := needed_powers(item))]
    if not marked:
        return
    try:
        which = kinds.chosen()
    except ClusterError as error:
        raise pytest.UsageError(str(error)) from None
    for item, needed in marked:
        if (reason := missing_reason(which, needed)) is not None:
            item.add_marker(pytest.mark.skip(reason=reason))


def pytest_collection_finish(session: pytest.Session) -> None:
    """Builds what is missing, with its progress on the terminal. A test with the mark may open a cluster of its own."""
    uses = any("cluster" in getattr(i, "fixturenames", ()) or i.get_closest_marker("cluster") for i in session.items)
    if not uses or session.config.option.collectonly:
        return
    capture = session.config.pluginmanager.getplugin("capturemanager")
    try:
        with capture.global_and_fixture_disabled():
            kinds.prepare(kinds.chosen())
    except (ClusterError, build.BuildError, gotoolchain.ToolchainError, ValueError) as error:
        raise pytest.UsageError(str(error)) from None


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """The cluster of this session: E2E_CLUSTER decides which (kinds.py)."""
    with kinds.opened(kinds.chosen()) as opened:
        yield opened
