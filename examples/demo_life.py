"""Steps of the demo that show the life of a key: an alias moved, a grant that expires, a hold, a deletion scheduled and cancelled."""

from __future__ import annotations

import base64
import json
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.operator.harness import wait_for, wait_reason

if TYPE_CHECKING:
    from examples.demo import Demo

SPACE = ("-n", "orders")


def move_alias(demo: Demo) -> str:
    """Manual rotation: the alias names another key; what was encrypted before still opens under the old one."""
    before = encrypt(demo, "alias/reports")
    second = manifest("KmsKey", "reports-2", {"description": "Takes over from reports"})
    demo.cluster.apply(second)
    wait_reason(demo.cluster, "kmskey", "orders", "reports-2", "Available")
    patch(demo, "kmsalias", "reports", '{"spec":{"keyRef":{"name":"reports-2"}}}')
    old, new = (demo.key(name)["status"]["keyId"] for name in ("reports", "reports-2"))
    wait_for("the alias at the new key", lambda: demo.cluster.get("kmsalias", "reports", *SPACE)["status"]["targetKeyId"] == new)
    after = encrypt(demo, "alias/reports")
    assert (key_of(before), key_of(after)) == (old, new)
    assert reopen(demo, before) == reopen(demo, after) == b"report"
    return f"alias/reports: {old[:8]}.. -> {new[:8]}..; blobs of both keys open"


def expire_grant(demo: Demo, blob: bytes) -> str:
    """A grant allows what RBAC does not, until its end, and then says so."""
    assert demo.try_decrypt(blob, "report-job").returncode == 0
    ends = datetime.now(UTC) + timedelta(seconds=15)
    spec = {
        "keyRef": {"name": "orders"},
        "serviceAccountRef": {"name": "intern"},
        "operations": ["Decrypt"],
        "expiresAt": ends.strftime("%Y-%m-%dT%H:%M:%SZ"),
    }
    demo.cluster.apply(manifest("KmsGrant", "intern", spec))
    wait_reason(demo.cluster, "kmsgrant", "orders", "intern", "Available")
    allowed = demo.try_decrypt(blob, "intern")
    assert allowed.returncode == 0, allowed.stderr
    wait_reason(demo.cluster, "kmsgrant", "orders", "intern", "GrantExpired")
    refused = demo.try_decrypt(blob, "intern")
    assert refused.returncode != 0 and "AccessDeniedException" in refused.stderr, refused.stderr
    return "before its end: decrypted; after it: AccessDeniedException, condition GrantExpired"


def hold(demo: Demo, blob: bytes) -> str:
    """A hold stops the key at once, and taking the annotation away does not lift it."""
    annotate(demo, "orders", "kms.keystead.io/hold=INC-42")
    wait_reason(demo.cluster, "kmskey", "orders", "orders", "Held")
    annotate(demo, "orders", "kms.keystead.io/hold-")
    annotate(demo, "orders", "kms.keystead.io/reconcile-requested-at=after-the-hold")
    wait_for("a pass", lambda: demo.key()["status"].get("lastHandledReconcileAt") == "after-the-hold")
    refused = demo.try_decrypt(blob, "order-service")
    assert refused.returncode != 0 and "DisabledException" in refused.stderr, refused.stderr
    annotate(demo, "orders", "kms.keystead.io/hold=released")
    wait_reason(demo.cluster, "kmskey", "orders", "orders", "Available")
    assert demo.try_decrypt(blob, "order-service").returncode == 0
    return "held: DisabledException, also without the annotation; `released` lifts it"


def schedule_and_cancel(demo: Demo) -> str:
    """ScheduleKeyDeletion as a field: use stops at once; taking it away ends in Disabled, as with AWS."""
    name = "reports-2"
    patch(demo, "kmskey", name, '{"spec":{"scheduledDeletion":{"pendingWindowInDays":7}}}')
    body = wait_reason(demo.cluster, "kmskey", "orders", name, "PendingDeletion")
    ends = body["status"]["deletionTime"]
    patch(demo, "kmskey", name, '{"spec":{"scheduledDeletion":null}}')
    wait_reason(demo.cluster, "kmskey", "orders", name, "Disabled")
    patch(demo, "kmskey", name, '{"spec":{"enabled":true}}')
    wait_reason(demo.cluster, "kmskey", "orders", name, "Available")
    return f"pending until {ends[:10]}, cancelled: Disabled, then enabled again"


def manifest(kind: str, name: str, spec: dict[str, Any]) -> dict[str, Any]:
    """An object of namespace orders."""
    metadata = {"name": name, "namespace": "orders"}
    return {"apiVersion": "kms.keystead.io/v1alpha1", "kind": kind, "metadata": metadata, "spec": spec}


def patch(demo: Demo, kind: str, name: str, body: str) -> None:
    """kubectl patch --type=merge."""
    demo.cluster.kubectl("patch", kind, name, *SPACE, "--type=merge", "-p", body)


def annotate(demo: Demo, name: str, annotation: str) -> None:
    """kubectl annotate --overwrite kmskey."""
    demo.cluster.kubectl("annotate", "--overwrite", "kmskey", name, *SPACE, annotation)


def encrypt(demo: Demo, key: str) -> bytes:
    """`keystead crypt encrypt` as the account's root, under a key named as AWS would name it."""
    with tempfile.NamedTemporaryFile() as plain:
        Path(plain.name).write_bytes(b"report")
        return call(demo, "encrypt", "CiphertextBlob", "--key-id", key, "--plaintext", plain.name)


def reopen(demo: Demo, blob: bytes) -> bytes:
    """The plaintext, for the account's root."""
    with tempfile.NamedTemporaryFile() as file:
        Path(file.name).write_bytes(blob)
        return call(demo, "decrypt", "Plaintext", "--ciphertext-blob", file.name)


def call(demo: Demo, operation: str, member: str, *options: str) -> bytes:
    """One `keystead crypt` call of the account's root, and a member of its answer."""
    root = f"arn:aws:iam::{demo.account()}:root"
    done = demo.made.keystead("crypt", operation, "--as", root, *options, "-o", "json")
    return base64.b64decode(json.loads(done.stdout)[member])


def key_of(blob: bytes) -> str:
    """The key id that a blob names: bytes 4 to 20 of its header."""
    digits = blob[4:20].hex()
    return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))
