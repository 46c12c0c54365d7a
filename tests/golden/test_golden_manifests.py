"""The manifests of every release apply for ever: a server-side dry run on the real API server with today's CRDs."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from tests.cluster.cluster import Cluster
from tests.docs.pages import ROOT
from tests.golden.port import RELEASE_1

pytestmark = pytest.mark.cluster


@pytest.mark.powers("disposable")
@pytest.mark.parametrize("path", sorted(RELEASE_1.glob("*.yaml")), ids=lambda path: path.name)
def test_a_golden_manifest_applies(cluster: Cluster, path: Path) -> None:
    cluster.kubectl("apply", "--server-side", "--force-conflicts", "-f", str(ROOT / "crds"))
    cluster.kubectl("wait", "--for=condition=Established", "crd", "--all", "--timeout=60s")
    cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "orders"}})
    documents = [document for document in yaml.safe_load_all(path.read_text()) if document]
    assert documents
    cluster.kubectl("apply", "--server-side", "--dry-run=server", "-f", str(path))
