"""The fixture `installation`: one for all cluster tests, in tests/operator and tests/serving; they use namespaces of their own in it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.cluster.cluster import Cluster
from tests.operator.harness import Installation, install

NAMESPACES = ("team-a", "team-b", "team-c", "data-keys", "canary", "bad-input", "replicas", "aliases", "grants", "key-life", "crash-life")
MANAGED = ("managed",)
POLICIES = ("key-policies", "key-policies-strict")
SERVING = ("serve-a", "serve-b", "serve-c", "serve-grants", "serve-orphans", "serve-life", "serve-people")
KUBECTL = ("kms-why", "kms-abroad", "orders")


@pytest.fixture(scope="session")
def installation(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """Keystead installed by Helm, with a domain."""
    yield install(cluster, Path(tmp_path_factory.mktemp("install")), (*NAMESPACES, *MANAGED, *POLICIES, *SERVING, *KUBECTL))
