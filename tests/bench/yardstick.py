"""The yardstick of the burst: bare writes a second of this API server, by a client that does nothing else.

The writes are those that a new key costs the operator, by the same verbs and of about the same sizes: a Secret as large as a record is
created, an Event is created, a status of a KmsKey is applied. The client keeps as many in flight as the operator has workers; the operator
serves another namespace.
"""

from __future__ import annotations

import os
import uuid
from base64 import b64encode
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from tests.bench.api import APPLY, GROUP, Api, in_parallel
from tests.operator.harness import key

RECORD_BYTES = 2_400  # about what the data of a key's record has
NAMESPACE = "bare"
_AS = "?fieldManager=bench&force=true"


@dataclass(frozen=True)
class Bare:
    """Writes a second. `creates`: Secrets alone, the cheapest write there is; it bounds nothing, it is there to compare with."""

    writes: float
    creates: float


def mean(first: Bare, second: Bare) -> Bare:
    """Of what was measured before and after something."""
    return Bare((first.writes + second.writes) / 2, (first.creates + second.creates) / 2)


async def bare_writes(api: Api, count: int) -> Bare:
    """`count` Secrets, Events and statuses, mixed as the operator mixes them; then as many Secrets alone."""
    run = uuid.uuid4().hex[:6]
    await _keys(api, run, count)
    record = b64encode(os.urandom(RECORD_BYTES)).decode()
    calls: list[Callable[[], Awaitable[Any]]] = []
    for number in range(count):
        name = f"{run}-{number}"
        calls.append(lambda name=name: api.request("POST", _core("secrets"), _secret(name, record)))
        calls.append(lambda name=name: api.request("POST", _core("events"), _event(name)))
        calls.append(lambda name=name: api.request("PATCH", f"{_keys_path()}/{name}/status{_AS}", _status(name), APPLY))
    seconds = await in_parallel(calls)
    alone = await in_parallel(
        lambda number=number: api.request("POST", _core("secrets"), _secret(f"{run}-alone-{number}", record))
        for number in range(count)
    )
    await api.request("DELETE", _keys_path())
    await api.request("DELETE", f"{_core('secrets')}?labelSelector=bench=bare")
    return Bare(len(calls) / seconds, count / alone)


async def _keys(api: Api, run: str, count: int) -> None:
    """The objects whose statuses are written."""
    await in_parallel(
        lambda number=number: api.request("POST", _keys_path(), key(NAMESPACE, f"{run}-{number}"))
        for number in range(count)
    )


def _core(plural: str) -> str:
    return f"/api/v1/namespaces/{NAMESPACE}/{plural}"


def _keys_path() -> str:
    return f"{GROUP}/namespaces/{NAMESPACE}/kmskeys"


def _secret(name: str, record: str) -> dict[str, Any]:
    metadata = {"name": name, "labels": {"bench": "bare"}}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "type": "Opaque", "data": {"record": record}}


def _event(name: str) -> dict[str, Any]:
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    about = {"apiVersion": "kms.keystead.io/v1alpha1", "kind": "KmsKey", "namespace": NAMESPACE, "name": name}
    return {
        "metadata": {"name": f"{name}.created"},
        "involvedObject": about,
        "reason": "Created",
        "message": "a key was made",
        "type": "Normal",
        "firstTimestamp": now,
        "lastTimestamp": now,
        "count": 1,
    }


def _status(name: str) -> dict[str, Any]:
    """As large as a status that the operator writes."""
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    conditions = [
        {
            "type": kind,
            "status": "True",
            "reason": "Available",
            "message": "The key can be used.",
            "observedGeneration": 1,
            "lastTransitionTime": now,
        }
        for kind in ("Ready", "Reconciling", "Stalled")
    ]
    status = {"observedGeneration": 1, "conditions": conditions, "recordSeq": 1, "recordDigest": "0" * 64}
    metadata = {"name": name, "namespace": NAMESPACE}
    return {"apiVersion": "kms.keystead.io/v1alpha1", "kind": "KmsKey", "metadata": metadata, "status": status}
