"""The first main job on a real API server: a key and a data key, with the rights that the chart renders."""

from __future__ import annotations

import base64
import json

import pytest
from tests.operator.chaos import Write
from tests.operator.desk import DATA_KEY, KEY, desk
from tests.operator.direct import bytes_of
from tests.operator.harness import RECORDS, Installation, data_key, key, wait_for, wait_reason

pytestmark = pytest.mark.cluster


def test_a_key_and_a_data_key_become_ready(installation: Installation) -> None:
    cluster = installation.cluster
    with installation.operator() as operator:
        operator.wait_ready()
        cluster.apply(key("team-a", "orders"), data_key("team-a", "orders-db", "orders", "orders-db"))
        made = wait_reason(cluster, "kmskey", "team-a", "orders", "Available")
        issued = wait_reason(cluster, "kmsdatakey", "team-a", "orders-db", "Available")
        secret = cluster.get("secret", "orders-db", "-n", "team-a")
        assert secret["type"] == "kms.keystead.io/data-key"
        meta = json.loads(base64.b64decode(secret["data"]["meta.json"]))
        assert meta["keyArn"] == made["status"]["keyArn"] == issued["status"]["keyArn"]


def test_a_deleted_secret_comes_back_with_the_same_blob(installation: Installation) -> None:
    cluster = installation.cluster
    with installation.operator(refresh_period="1") as operator:
        operator.wait_ready()
        cluster.apply(key("team-a", "again"), data_key("team-a", "again", "again", "again"))
        wait_reason(cluster, "kmsdatakey", "team-a", "again", "Available")
        before = cluster.get("secret", "again", "-n", "team-a")["data"]
        cluster.kubectl("delete", "secret", "again", "-n", "team-a")
        after = wait_for("the Secret again", lambda: cluster.get("secret", "again", "-n", "team-a"))
        assert after["data"] == before


def test_a_new_key_takes_three_writes_and_tells_each_event_once(installation: Installation) -> None:
    """Record, event, status; the first key of a namespace claims its account with one more. A pass over what is writes nothing."""
    with desk(installation, "counted") as at:
        for name, expected in (("first", 4), ("second", 3)):
            at.proxy.clear()
            at.key(name)
            at.ready(KEY, name)
            assert [write.status for write in at.proxy.writes(_about)] == [201] * (expected - 1) + [200]
        at.look(KEY, "second")
        at.proxy.clear()
        for _ in range(3):
            at.look(KEY, "second")
        assert {write.path.rpartition("/")[2] for write in at.proxy.writes(_about)} == {"status"}  # the answers to `look`
        at.rotate(KEY, "second")
        uid = at.get(KEY, "second")["metadata"]["uid"]
        assert at.direct.events("counted", uid) == ["Created", "Rotated"]


def _about(write: Write) -> bool:
    """A write for namespace `counted`: what other tests left is none of its business."""
    return "/counted/" in write.path or (RECORDS in write.path and b'"namespace":"counted"' in bytes_of(write.body))


def test_a_data_key_tells_each_event_once(installation: Installation) -> None:
    with desk(installation, "team-b") as at:
        at.key("told")
        at.data_key("told", "told")
        at.ready(DATA_KEY, "told")
        at.rotate(DATA_KEY, "told")
        at.rotate(KEY, "told")
        material = at.get(KEY, "told")["status"]["currentKeyMaterialId"]
        at.until("the re-wrap", lambda: at.get(DATA_KEY, "told")["status"]["keyMaterialId"] == material)
        uid = at.get(DATA_KEY, "told")["metadata"]["uid"]
        assert at.direct.events("team-b", uid) == ["Created", "Rewrapped", "Rotated"]
