"""The manifests of every release apply for ever: a server-side dry run on a real API server with today's CRDs.

On a cluster of its own: CRDs that were applied by hand stand in the way of a chart's installation.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from tests.cluster import kinds
from tests.cluster.cluster import Cluster
from tests.cluster.flags import Options
from tests.docs.pages import ROOT
from tests.golden.port import RELEASE_1, RELEASE_2, RELEASE_3, RELEASE_4

pytestmark = pytest.mark.cluster


@pytest.fixture(scope="module")
def with_crds() -> Iterator[Cluster]:
    with kinds.built(Options()) as cluster:
        cluster.kubectl("apply", "--server-side", "-f", str(ROOT / "crds"))
        cluster.kubectl("wait", "--for=condition=Established", "crd", "--all", "--timeout=60s")
        for name in ("orders", "shop"):
            cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
        yield cluster


MANIFESTS = sorted([*(path for release in (RELEASE_1, RELEASE_2, RELEASE_4) for path in release.glob("*.yaml")), RELEASE_3 / "grant.yaml"])


@pytest.mark.parametrize("path", MANIFESTS, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_a_golden_manifest_applies(with_crds: Cluster, path: Path) -> None:
    assert [document for document in yaml.safe_load_all(path.read_text()) if document]
    with_crds.kubectl("apply", "--server-side", "--dry-run=server", "-f", str(path))
