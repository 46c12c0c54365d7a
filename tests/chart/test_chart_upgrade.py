"""`helm upgrade` from the first release with a key in place, on a cluster of its own: release 1's chart and release 1's operator first.

Both are kept as they were in tests/golden/release-1-chart, which is never made again. The upgrade brings the CRDs along: they are
templates of the chart.
"""

from __future__ import annotations

import dataclasses
import hashlib
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.chart import rights
from tests.chart.rendering import CHART
from tests.cluster import kinds, toolset
from tests.cluster.cluster import Cluster, CommandError
from tests.cluster.flags import Options
from tests.operator import harness
from tests.operator.direct import Direct
from tests.operator.harness import Installation, wait_for, wait_reason

from keystead.engine.identifiers import RecordKind, record_name
from keystead.engine.managed import AUDIT_KEY

pytestmark = [pytest.mark.helm, pytest.mark.token]

RELEASE_1 = toolset.ROOT / "tests/golden/release-1-chart"
TEAM = "team-a"
LEASE = {"lease_duration": "4", "renew_deadline": "3", "retry_period": "0.5"}
LOOK = "kms.keystead.io/reconcile-requested-at"
# What release 1 refused as not available, and is accepted now.
NEW_FIELDS = {"deletionPolicy": "ScheduleDeletion", "pendingWindowInDays": 7}


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """Release 1, installed: its chart, its operator's code, a domain made by it."""
    folder = Path(tmp_path_factory.mktemp("release-1"))
    with tarfile.open(RELEASE_1 / "operator.tgz") as archive:
        archive.extractall(folder / "code", filter="data")
    with kinds.built(Options()) as cluster:
        chart = RELEASE_1 / "chart.tgz"
        yield harness.install(cluster, folder / "install", (TEAM,), chart=chart, code=folder / "code")


def test_the_files_are_those_of_the_first_release() -> None:
    sums = dict(line.split("  ")[::-1] for line in (RELEASE_1 / "SHA256SUMS").read_text().splitlines())
    assert sums == {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in RELEASE_1.glob("*.tgz")}


def test_an_upgrade_from_the_first_release_keeps_key_record_and_data_key(first: Installation) -> None:
    cluster, direct = first.cluster, Direct(first.cluster)
    with first.operator("release-1", **LEASE) as operator:
        operator.wait_ready()
        cluster.apply(harness.key(TEAM, "orders", description="first"))
        cluster.apply(harness.data_key(TEAM, "orders-db", "orders", "orders-db", encryptionContext={"app": "orders"}))
        key = wait_reason(cluster, "kmskey", TEAM, "orders", "Available")
        wait_reason(cluster, "kmsdatakey", TEAM, "orders-db", "Available")
    with pytest.raises(CommandError, match="not available in this version"):
        cluster.apply(harness.key(TEAM, "orders", description="first", **NEW_FIELDS))
    secret, records, crds = direct.object("Secret", TEAM, "orders-db"), key_records(direct), crd_uids(cluster)

    harness.helm(cluster, "upgrade", (TEAM,))
    assert crd_uids(cluster) == crds
    served = f"crd/kmskeys.{rights.KMS}"
    cluster.kubectl("wait", "--for=condition=Established", served, "--timeout=30s")
    now = dataclasses.replace(first, code=toolset.ROOT / "operator")
    with now.operator("now", **LEASE) as operator:
        operator.wait_ready()
        cluster.kubectl("annotate", "kmskey,kmsdatakey", "--all", "-n", TEAM, f"{LOOK}=now")
        for kind, name in (("kmskey", "orders"), ("kmsdatakey", "orders-db")):
            wait_for(f"a pass over {name}", lambda k=kind, n=name: looked_at(cluster.get(k, n, "-n", TEAM)))
        assert direct.object("Secret", TEAM, "orders-db") == secret
        cluster.apply(harness.key(TEAM, "orders", description="second", **NEW_FIELDS))
        after = wait_reason(cluster, "kmskey", TEAM, "orders", "Available")
        direct.wait_own_key()
    assert (after["status"]["keyId"], after["status"]["keyArn"]) == (key["status"]["keyId"], key["status"]["keyArn"])
    new = set(key_records(direct)) - set(records)
    own = record_name(RecordKind.KEY, "keystead-records", AUDIT_KEY)
    assert set(records) <= set(key_records(direct))
    assert {name.partition("-")[0]: name for name in new if name != own}.keys() == {"account"}, "a second key"
    assert (own in new, len(new)) == (True, 2)


def key_records(direct: Direct) -> list[str]:
    return sorted(each["metadata"]["name"] for each in direct.records())


def crd_uids(cluster: Cluster) -> dict[str, str]:
    """A CRD that was made again would have taken every object with it."""
    items: list[Any] = cluster.get("crd")["items"]
    return {each["metadata"]["name"]: each["metadata"]["uid"] for each in items}


def looked_at(body: Any) -> bool:
    return bool((body.get("status") or {}).get("lastHandledReconcileAt") == "now")


def test_the_chart_ships_the_crds_as_templates() -> None:
    """Helm never upgrades what lies in a chart's folder crds/."""
    assert not (CHART / "crds").exists()
    assert (CHART / "templates/crds.yaml").exists()
