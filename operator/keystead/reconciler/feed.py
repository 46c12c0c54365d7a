"""From what a watch shows to what the queue works on. Called by handlers (Kopf) and by the record watch; knows neither.

Events that our own status writes cause are skipped: a write announces the status that it is about to make. A key whose record changes
wakes the data keys that name it.
"""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Mapping
from typing import Any

from keystead.reconciler.ports import Kind, ObjectRef
from keystead.reconciler.queue import Class, WorkQueue
from keystead.resources import names

_SERVED = frozenset({Kind.KEY, Kind.DATA_KEY})


class Feed:
    """What was seen of each object: a short digest, never the body."""

    def __init__(self, queue: WorkQueue, namespaces: tuple[str, ...] = ()) -> None:
        self._queue = queue
        self._namespaces = frozenset(namespaces)
        self._intents: dict[ObjectRef, str] = {}
        self._statuses: dict[ObjectRef, str] = {}
        self._users: dict[tuple[str, str], set[ObjectRef]] = defaultdict(set)
        self._named: dict[ObjectRef, tuple[str, str]] = {}

    def seen(self, kind: Kind, event: str | None, body: Mapping[str, Any]) -> None:
        """One event of the watch: `event` is None (listed), ADDED, MODIFIED or DELETED."""
        metadata = body["metadata"]
        ref = ObjectRef(kind, metadata["namespace"], metadata["name"])
        if not self._serves(ref):
            return
        if event == "DELETED":
            self._forget(ref)
            self._queue.add(ref, Class.NEW)
            return
        if kind is Kind.DATA_KEY:
            self._remember_user(ref, body)
        intent, status = _intent(metadata), _digest(body.get("status"))
        if self._intents.get(ref) == intent and self._statuses.get(ref) == status:
            return
        self._intents[ref] = intent
        self._statuses[ref] = status
        self._queue.add(ref, Class.NEW if _is_new(metadata, body.get("status") or {}) else Class.REFRESH)

    def will_write(self, ref: ObjectRef, status: Mapping[str, Any]) -> None:
        """The status that this process is about to write: its event is nothing new."""
        self._statuses[ref] = _digest(status)

    def record_changed(self, namespace: str, name: str) -> None:
        """The record of a key changed: look at the data keys that name it."""
        for ref in tuple(self._users.get((namespace, name), ())):
            self._queue.add(ref, Class.REFRESH)

    def refresh(self, ref: ObjectRef) -> None:
        """Look at an object again: a record names it, and nothing was seen of it since this process started."""
        if ref not in self._intents and self._serves(ref):
            self._queue.add(ref, Class.REFRESH)

    def _serves(self, ref: ObjectRef) -> bool:
        return ref.kind in _SERVED and (not self._namespaces or ref.namespace in self._namespaces)

    def again(self) -> None:
        """Look at everything again: the token came back, and what its absence stopped need not wait for a refresh."""
        for ref in tuple(self._intents):
            self._queue.add(ref, Class.REFRESH)

    def _remember_user(self, ref: ObjectRef, body: Mapping[str, Any]) -> None:
        key_ref = (body.get("spec") or {}).get("keyRef")
        if not isinstance(key_ref, Mapping) or not isinstance(key_ref.get("name"), str):
            return
        named = (ref.namespace, key_ref["name"])
        if self._named.get(ref) != named:
            self._forget_user(ref)
            self._named[ref] = named
            self._users[named].add(ref)

    def _forget_user(self, ref: ObjectRef) -> None:
        named = self._named.pop(ref, None)
        if named is not None:
            self._users[named].discard(ref)
            if not self._users[named]:
                del self._users[named]

    def _forget(self, ref: ObjectRef) -> None:
        self._intents.pop(ref, None)
        self._statuses.pop(ref, None)
        self._forget_user(ref)


def _intent(metadata: Mapping[str, Any]) -> str:
    annotations = metadata.get("annotations") or {}
    ours = {key: value for key, value in annotations.items() if key.startswith(f"{names.GROUP}/")}
    return _digest([metadata.get("uid"), metadata.get("generation"), metadata.get("deletionTimestamp"), ours])


def _is_new(metadata: Mapping[str, Any], status: Mapping[str, Any]) -> bool:
    """A generation that no pass has observed, or a deletion."""
    return status.get("observedGeneration") != metadata.get("generation") or "deletionTimestamp" in metadata


def _digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()[:24]
