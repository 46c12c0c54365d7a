"""The trail that docs/audit.md shows: two processes of one replica, always with the same records. Made for the page and its test.

    python -m tests.audit_reading.demo FOLDER     writes FOLDER/trail, FOLDER/audit.pem, FOLDER/kmskeys.json, FOLDER/kube-audit.log
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from tests.audit_reading.chains import ACCOUNT, KEY_ID, AChain, a_call, at, pem

DAY = 86_400
IDLE = "9f1c7f62-0d4e-4c63-9d0b-3c1f6c1d2e55"
DENIED = "RBAC does not give system:serviceaccount:shop:report the verb decrypt on orders in shop"
ALLOWED = "RBAC gives system:serviceaccount:shop:app the verb {} on orders in shop"


def _call(number: int, action: str, time: float, **changes: Any) -> dict[str, Any]:
    want = {"action": action, "time": at(time), "namespace": "shop", "reason": ALLOWED.format(action.lower())}
    return a_call(number, **{**want, "context": {"order": str(1000 + number)}, **changes})


def write(folder: Path) -> None:
    """All files."""
    first = AChain("keystead-server-0-20261126T080000Z-1f0c9a3e").start(replica="keystead-server-0")
    for number in range(40):
        first.add(_call(number, "Decrypt" if number % 4 else "Encrypt", number))
    for number in range(40, 43):
        first.add(_call(number, "Decrypt", number, principal="report", code="AccessDenied", reason=DENIED))
    first.checkpoint(43)
    first.checkpoint(50, kind="end")
    second = AChain("keystead-server-0-20261127T080000Z-77b2d1c4").start(first, time=DAY, replica="keystead-server-0")
    for number in range(50, 70):
        second.add(_call(number, "Decrypt", DAY + number))
    why = ALLOWED.replace(":app", ":admin").format("disablekey")
    second.add(_call(70, "DisableKey", DAY + 71, principal="admin", context={}, reason=why))
    second.checkpoint(DAY + 72)
    first.write(folder / "trail", per_file=30, packed=True)
    second.write(folder / "trail")
    (folder / "audit.pem").write_bytes(pem())
    keys = [("orders", KEY_ID), ("archive", IDLE)]
    items = [{"metadata": {"namespace": "shop", "name": name}, "status": {"keyId": key}} for name, key in keys]
    (folder / "kmskeys.json").write_text(json.dumps({"items": items}), encoding="utf-8")
    event = {
        "kind": "Event", "apiVersion": "audit.k8s.io/v1", "level": "Metadata", "auditID": "request-70", "stage": "ResponseComplete",
        "requestReceivedTimestamp": "2026-11-27T08:01:11.120000Z", "verb": "patch",
        "user": {"username": "system:serviceaccount:keystead-system:keystead-server"},
        "objectRef": {"resource": "kmskeys", "namespace": "shop", "name": "orders", "apiGroup": "kms.keystead.io"},
        "responseStatus": {"code": 200},
    }  # fmt: skip
    (folder / "kube-audit.log").write_text(json.dumps(event) + "\n", encoding="utf-8")
    assert ACCOUNT in first.lines[1].decode()


def cut(folder: Path) -> None:
    """Somebody takes one refused call out of the trail."""
    (path,) = (folder / "trail").glob("audit-*-1f0c9a3e-000001.jsonl")
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(line for number, line in enumerate(lines) if number != 12))


if __name__ == "__main__":
    write(Path(sys.argv[1]))
