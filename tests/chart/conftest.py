"""Fixtures of the chart's tests. The fixture `cluster` is tests/cluster/plugin.py's."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.chart.people import People
from tests.chart.policed import policed
from tests.chart.rendering import Renderer
from tests.cluster import build, kinds, toolset


@pytest.fixture(scope="session")
def helm() -> Path:
    """The pinned Helm, or the user's where the cluster is the user's."""
    own = shutil.which("helm")
    if kinds.chosen() is not kinds.Kind.BUILT and own is not None:
        return Path(own)
    every = toolset.default_tools(toolset.kubernetes_minor())
    return build.ensure(tuple(tool for tool in every if tool.name == "helm"))["helm"]


@pytest.fixture(scope="session")
def render(helm: Path) -> Renderer:
    return Renderer(helm)


@pytest.fixture(scope="session")
def people() -> Iterator[People]:
    """A cluster of its own with the admission policies, and people in it: policies and CRDs are deleted there."""
    with policed() as made:
        yield made
