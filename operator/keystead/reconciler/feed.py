"""From what a watch shows to what the queue works on. Called by handlers (Kopf) and by the record watch; knows neither.

Events that our own status writes cause are skipped: a write announces the status that it is about to make. A key whose record changes
wakes the objects that name it; one that has no record yet has waited for that key, and is as urgent as a new object.
"""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any, Final

from keystead.engine.managed import MANAGED_KEY
from keystead.reconciler.ports import Kind, ObjectRef
from keystead.reconciler.queue import Class, WorkQueue
from keystead.resources import names

# Seconds until a key is looked at after something was bound to it, or let it go.
DEPENDANTS_AFTER: Final = 0.5
_REFERENCES = (("keyRef", Kind.KEY), ("aliasRef", Kind.ALIAS))
"""Member of spec -> kind of the object that it names."""


class Feed:
    """What was seen of each object: a short digest, never the body."""

    def __init__(self, queue: WorkQueue, namespaces: tuple[str, ...] = ()) -> None:
        self._queue = queue
        self._namespaces = frozenset(namespaces)
        self._intents: dict[ObjectRef, str] = {}
        self._statuses: dict[ObjectRef, str] = {}
        self._users: dict[ObjectRef, set[ObjectRef]] = defaultdict(set)
        self._named: dict[ObjectRef, ObjectRef] = {}
        self._recorded: set[ObjectRef] = set()
        self._nameless: dict[str, set[ObjectRef]] = defaultdict(set)

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
        if kind is not Kind.KEY:
            self._remember_user(ref, body)
            self._remember_record(ref, body.get("status") or {})
        intent, status = _intent(metadata), _digest(body.get("status"))
        if self._intents.get(ref) == intent and self._statuses.get(ref) == status:
            return
        self._intents[ref] = intent
        self._statuses[ref] = status
        self._queue.add(ref, Class.NEW if _is_new(metadata, body.get("status") or {}) else Class.REFRESH)

    def will_write(self, ref: ObjectRef, status: Mapping[str, Any]) -> None:
        """The status that this process is about to write: its event is nothing new."""
        self._statuses[ref] = _digest(status)
        self._remember_record(ref, status)

    def record_changed(self, changed: ObjectRef, bound: Iterable[ObjectRef] = ()) -> None:
        """The record of a key or an alias changed: look at the objects that name it, also by an alias.

        `bound`: data keys with versions under the key and aliases of it, whatever they name now.
        """
        named = set(self._users.get(changed, ()))
        by_alias = [user for ref in named for user in self._users.get(ref, ())]
        for ref in {*named, *by_alias, *filter(self._serves, bound)}:
            self._queue.add(ref, Class.REFRESH if ref in self._recorded else Class.NEW)

    def dependants_changed(self, key: ObjectRef) -> None:
        """What is bound to a key changed: look at it soon. A thousand changes are one look."""
        if self._serves(key):
            self._queue.add_later(key, DEPENDANTS_AFTER)

    def alias_freed(self, namespace: str) -> None:
        """A name is free: look at the aliases of the namespace that have none."""
        for ref in tuple(self._nameless.get(namespace, ())):
            self._queue.add(ref, Class.NEW)

    def refresh(self, ref: ObjectRef) -> None:
        """Look at an object again: a record names it, and nothing was seen of it since this process started."""
        if ref not in self._intents and self._serves(ref):
            self._queue.add(ref, Class.REFRESH)

    def _serves(self, ref: ObjectRef) -> bool:
        return not self._namespaces or ref.namespace in self._namespaces

    def again(self) -> None:
        """Look at everything again: the token came back, and what its absence stopped need not wait for a refresh."""
        for ref in tuple(self._intents):
            self._queue.add(ref, Class.REFRESH)

    def _remember_user(self, ref: ObjectRef, body: Mapping[str, Any]) -> None:
        named = _reference(ref, body.get("spec") or {})
        if named is not None and self._named.get(ref) != named:
            self._forget_user(ref)
            self._named[ref] = named
            self._users[named].add(ref)

    def _remember_record(self, ref: ObjectRef, status: Mapping[str, Any]) -> None:
        if "recordSeq" in status:
            self._recorded.add(ref)
            self._forget_nameless(ref)
        else:
            self._recorded.discard(ref)
            if ref.kind is Kind.ALIAS:
                self._nameless[ref.namespace].add(ref)

    def _forget_nameless(self, ref: ObjectRef) -> None:
        waiting = self._nameless.get(ref.namespace)
        if waiting is not None:
            waiting.discard(ref)
            if not waiting:
                del self._nameless[ref.namespace]

    def _forget_user(self, ref: ObjectRef) -> None:
        named = self._named.pop(ref, None)
        if named is not None:
            self._users[named].discard(ref)
            if not self._users[named]:
                del self._users[named]

    def _forget(self, ref: ObjectRef) -> None:
        self._intents.pop(ref, None)
        self._statuses.pop(ref, None)
        self._recorded.discard(ref)
        self._forget_nameless(ref)
        self._forget_user(ref)


def _reference(ref: ObjectRef, spec: Mapping[str, Any]) -> ObjectRef | None:
    """The object that a spec names: of the same namespace, but for a data key's keyRef. A data key that names none: the managed key."""
    for member, kind in _REFERENCES:
        named = spec.get(member)
        if isinstance(named, Mapping) and isinstance(named.get("name"), str):
            where = named.get("namespace") if ref.kind is Kind.DATA_KEY else None
            return ObjectRef(kind, where if isinstance(where, str) else ref.namespace, named["name"])
    return ObjectRef(Kind.KEY, ref.namespace, MANAGED_KEY) if ref.kind is Kind.DATA_KEY else None


def _intent(metadata: Mapping[str, Any]) -> str:
    annotations = metadata.get("annotations") or {}
    ours = {key: value for key, value in annotations.items() if key.startswith(f"{names.GROUP}/")}
    return _digest([metadata.get("uid"), metadata.get("generation"), metadata.get("deletionTimestamp"), ours])


def _is_new(metadata: Mapping[str, Any], status: Mapping[str, Any]) -> bool:
    """A generation that no pass has observed, or a deletion."""
    return status.get("observedGeneration") != metadata.get("generation") or "deletionTimestamp" in metadata


def _digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()[:24]
