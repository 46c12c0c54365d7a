"""No canary anywhere (SECURITY, promise 8): plaintext data keys, the PIN and the recovery key in etcd, logs, events, status, metrics.

Every assertion that something is absent stands beside one that the same search finds what must be there.
"""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote_from_bytes

import pytest
from tests.operator.canaries import forms, found_in, plaintexts
from tests.operator.desk import DATA_KEY, KEY, Desk, desk
from tests.operator.harness import RECORDS, SYSTEM, Installation

pytestmark = [pytest.mark.cluster, pytest.mark.powers("etcd")]
DATA_KEYS: dict[str, dict[str, Any]] = {
    "aes": {"encryptionContext": {"App": "canary"}},
    "short": {"dataKeySpec": "AES_128"},
    "long": {"numberOfBytes": 512},
    "pair": {"dataKeySpec": "ECC_NIST_P256"},
    "rsa": {"dataKeySpec": "RSA_2048"},
}


@dataclass
class Scene:
    """After everything happened: what was said, where, and what must be nowhere."""

    at: Desk
    canaries: list[bytes]
    etcd: bytes
    said: dict[str, bytes]


@pytest.fixture(scope="module")
def scene(installation: Installation) -> Iterator[Scene]:
    """Data keys issued, rotated, re-wrapped, injected; a refusal and a repair; then everything that can be read."""
    with desk(installation, "canary") as at:
        at.key("k")
        at.ready(KEY, "k")
        at.secret("foreign", password=b"p")
        for name, spec in DATA_KEYS.items():
            at.data_key(name, "k", **spec)
        at.data_key("injected", "k", "foreign")
        at.data_key("refused", "not-there")
        names = [*DATA_KEYS, "injected"]
        for name in names:
            at.ready(DATA_KEY, name)
        before = plaintexts(installation, at.direct.records())
        for name in names:
            at.rotate(DATA_KEY, name)
        at.rotate(KEY, "k")
        material = at.get(KEY, "k")["status"]["currentKeyMaterialId"]
        for name in names:
            at.until("re-wrapped", lambda name=name: at.get(DATA_KEY, name)["status"]["keyMaterialId"] == material)
        at.merge("Secret", "foreign", data={"kms.keystead.io.injected.ciphertext": "eA=="})
        at.look(DATA_KEY, "injected")
        records = at.direct.records()
        after = plaintexts(installation, records)
        assert set(before) < set(after)
        yield Scene(at, sorted(set(after)), installation.cluster.etcd_dump(), _said(at))


def _said(at: Desk) -> dict[str, bytes]:
    cluster = at.installation.cluster
    plane = Path(cluster.kubeconfig).parent
    logs = {str(path): path.read_bytes() for path in [*plane.rglob("*.log"), *at.installation.folder.rglob("*.log")]}
    return logs | {
        "events": cluster.kubectl("get", "events", "-A", "-o", "yaml").encode(),
        "objects": cluster.kubectl("get", "kmskeys,kmsdatakeys", "-A", "-o", "yaml", "--show-managed-fields").encode(),
        "metrics": at.operator.get("/metrics")[1].encode(),
        "healthz": at.operator.get("/readyz")[1].encode(),
    }


def test_the_search_finds_every_form_wherever_it_lies() -> None:
    """base64 in three alignments, hex, URL, and raw."""
    secret = os.urandom(32)
    for before in range(4):
        for after in range(3):
            text = os.urandom(before) + secret + os.urandom(after)
            assert found_in(base64.b64encode(text), secret)
            assert found_in(base64.b64encode(b"x" + base64.b64encode(text)), secret)
            assert found_in(base64.urlsafe_b64encode(text), secret)
            assert found_in(quote_from_bytes(text).encode(), secret)
            assert found_in(text.hex().encode(), secret)
            assert found_in(text, secret)
    assert not found_in(os.urandom(100_000), secret)
    assert all(len(form) >= 16 for _, form in forms(os.urandom(16)))


def test_no_plaintext_data_key_is_in_etcd(scene: Scene) -> None:
    assert len(scene.canaries) >= 12
    record = scene.at.data_key_record("aes")
    assert record is not None
    assert found_in(scene.etcd, record.current_version.blob)  # the search sees Secrets
    for canary in scene.canaries:
        assert found_in(scene.etcd, canary) == []


def test_no_plaintext_data_key_is_in_any_log_event_status_or_metric(scene: Scene) -> None:
    text = b"".join(scene.said.values())
    assert any(name.endswith("apiserver.log") for name in scene.said), list(scene.said)
    assert b"leading as canary" in text
    assert b'"eventName":"InjectDataKey"' in text  # the operator's audit trail is in what it says
    assert b"keystead_reconcile_duration_seconds" in text
    assert b"Rotated" in scene.said["events"]
    for canary in scene.canaries:
        assert {name: forms for name, said in scene.said.items() if (forms := found_in(said, canary))} == {}


def _secrets_of_the_install(installation: Installation) -> dict[str, bytes]:
    recovery = installation.recovery.read_bytes().strip()
    return {"pin": (installation.token / "pin").read_bytes(), "recovery": recovery}


def test_the_pin_is_in_its_own_secret_only(scene: Scene) -> None:
    pin = _secrets_of_the_install(scene.at.installation)["pin"]
    assert len(pin) >= 22  # 128 bits
    _only_in(scene, pin, {f"{SYSTEM}/keystead-pin"})


def test_the_recovery_key_is_in_its_own_secret_only(scene: Scene) -> None:
    recovery = _secrets_of_the_install(scene.at.installation)["recovery"]
    _only_in(scene, recovery, {f"{SYSTEM}/keystead-recovery-key"})


def _only_in(scene: Scene, secret: bytes, where: set[str]) -> None:
    for name, said in scene.said.items():
        assert found_in(said, secret) == [], name
    cluster = scene.at.installation.cluster
    holders = set()
    for item in cluster.get("secrets,configmaps", "-A")["items"]:
        values = [base64.b64decode(value) for value in (item.get("data") or {}).values()] if item["kind"] == "Secret" else []
        text = json.dumps(item).encode() + b"\0".join(values)
        if found_in(text, secret):
            holders.add(f"{item['metadata']['namespace']}/{item['metadata']['name']}")
    assert holders <= where
    assert bool(found_in(scene.etcd, secret)) is bool(holders)


def test_records_hold_no_pin_token_or_recovery_key(scene: Scene) -> None:
    """RBAC cannot filter list and watch by label: who may read keystead-records reads all of it (RECORDS)."""
    secrets = scene.at.direct.get(f"/api/v1/namespaces/{RECORDS}/secrets")["items"]
    text = json.dumps(secrets).encode() + b"".join(
        base64.b64decode(value) for secret in secrets for value in (secret.get("data") or {}).values()
    )
    for name, secret in _secrets_of_the_install(scene.at.installation).items():
        assert found_in(text, secret) == [], name
    allowed = ("kms.keystead.io/key-record", "kms.keystead.io/datakey-record", "kms.keystead.io/account-record")
    others = {"kms.keystead.io/install-record", "kms.keystead.io/domain-backup", "kms.keystead.io/heartbeat"}
    assert {secret["type"] for secret in secrets} <= {*allowed, *others}
