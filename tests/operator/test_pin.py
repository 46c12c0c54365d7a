"""A refused PIN: one attempt, then the marker stops every replica until the PIN's Secret changes."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.operator.harness import SYSTEM, Installation, condition, key, wait_for, wait_reason

pytestmark = pytest.mark.cluster
QUICK = {"lease_duration": "2", "renew_deadline": "1.5", "retry_period": "0.3"}


def _marker(installation: Installation) -> str | None:
    data = installation.cluster.get("configmap", "keystead-pin-refused", "-n", SYSTEM).get("data") or {}
    return data.get("pinSecretResourceVersion")


def test_a_refused_pin_stops_every_replica_until_its_secret_changes(installation: Installation, tmp_path: Path) -> None:
    cluster = installation.cluster
    wrong = tmp_path / "pin"
    wrong.write_text("0" * 32)
    version = cluster.get("secret", "keystead-pin", "-n", SYSTEM)["metadata"]["resourceVersion"]
    with installation.operator("wrong-pin", hsm_pin_file=str(wrong), **QUICK) as first:
        wait_for("the marker", lambda: _marker(installation) == version)
        assert first.get("/readyz")[0] == 503
        cluster.apply(key("team-a", "waits-for-pin"))
        body = wait_reason(cluster, "kmskey", "team-a", "waits-for-pin", "HsmAuthFailed")
        stalled = condition(body, "Stalled")
        assert stalled is not None
        assert stalled["status"] == "True"
        assert "keyId" not in body["status"]
        assert first.text.count("refused the PIN (") == 1
    with installation.operator("right-pin", **QUICK) as second:
        wait_for("the marker obeyed", lambda: "refused the PIN of resourceVersion" in second.text)
        assert second.get("/readyz")[0] == 503
        cluster.kubectl("annotate", "secret", "keystead-pin", "-n", SYSTEM, "example.com/looked-at=yes")
        second.wait_ready()
        wait_reason(cluster, "kmskey", "team-a", "waits-for-pin", "Available")


def test_a_replica_without_a_token_says_so_and_lets_a_healthy_one_lead(installation: Installation) -> None:
    cluster = installation.cluster
    with installation.operator("no-token", hsm_pin_file="/nonexistent/pin", **QUICK) as first:
        first.wait_leading()
        cluster.apply(key("team-a", "waits-for-token"))
        wait_reason(cluster, "kmskey", "team-a", "waits-for-token", "EngineUnavailable")
        with installation.operator("healthy", **QUICK) as second:
            second.wait_leading()
            wait_reason(cluster, "kmskey", "team-a", "waits-for-token", "Available")
            assert first.child.poll() is None
