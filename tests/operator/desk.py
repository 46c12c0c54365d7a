"""What the behaviour tests share: one operator behind a proxy (for time travel), a namespace, and an administrator's hands.

Nothing waits for a refresh: `look` asks for a pass with the annotation reconcile-requested-at and waits for its answer.
"""

from __future__ import annotations

import base64
import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

from tests.operator import harness
from tests.operator.chaos import ChaosProxy
from tests.operator.direct import CallError, Direct, decoded, path_of
from tests.operator.harness import Installation, OperatorProcess, condition
from tests.operator.opener import opened

from keystead.engine.identifiers import RecordKind
from keystead.engine.record import AliasRecord, DataKeyRecord, GrantRecord, KeyRecord
from keystead.resources import names

KEY, ALIAS, GRANT, DATA_KEY, SECRET = "KmsKey", "KmsAlias", "KmsGrant", "KmsDataKey", "Secret"
LOOK = "kms.keystead.io/reconcile-requested-at"
ROTATE = "kms.keystead.io/rotate-requested-at"
HOLD = "kms.keystead.io/hold"
DAY = 86400.0
APPLY = "application/apply-patch+yaml"
T = TypeVar("T")
_number = itertools.count(1)


@dataclass
class Desk:
    """Objects of one namespace. `kind` is one of ours; a name is given without its namespace."""

    installation: Installation
    direct: Direct
    proxy: ChaosProxy
    operator: OperatorProcess
    namespace: str

    def until(self, what: str, check: Callable[[], T | None]) -> T:
        """The first answer that is neither None nor False; the operator's log in the error."""
        found: list[T] = []

        def once() -> bool:
            answer = check()
            if answer is None or answer is False:
                return False
            found.append(answer)
            return True

        self.operator.wait(what, once)
        return found[0]

    # Objects

    def key(self, name: str, **spec: Any) -> None:
        """Apply a KmsKey."""
        self.apply(harness.key(self.namespace, name, **spec))

    def data_key(self, name: str, key: str, secret: str | None = None, **spec: Any) -> None:
        """Apply a KmsDataKey, into a Secret of its own name unless said otherwise."""
        self.apply(harness.data_key(self.namespace, name, key, secret or name, **spec))

    def named(self, kind: str, name: str, **spec: Any) -> None:
        """Apply an object of a kind."""
        metadata = {"namespace": self.namespace, "name": name}
        self.apply({"apiVersion": names.API_VERSION, "kind": kind, "metadata": metadata, "spec": spec})

    def secret(self, name: str, kind: str = "Opaque", **data: bytes) -> None:
        """Somebody's Secret; `__` in a key stands for a dot."""
        content = {key.replace("__", "."): base64.b64encode(value).decode() for key, value in data.items()}
        metadata = {"namespace": self.namespace, "name": name}
        self.direct.create({"apiVersion": "v1", "kind": SECRET, "metadata": metadata, "type": kind, "data": content})

    def apply(self, body: dict[str, Any], manager: str = "kubectl", force: str = "true") -> Any:
        """kubectl apply --server-side."""
        metadata = body["metadata"]
        path = path_of(body["kind"], metadata["namespace"], metadata["name"])
        return self.direct.call("PATCH", f"{path}?fieldManager={manager}&force={force}", body, APPLY)

    def get(self, kind: str, name: str) -> Any:
        """The object, or None."""
        return self.direct.object(kind, self.namespace, name)

    def merge(self, kind: str, name: str, **patch: Any) -> Any:
        """kubectl patch --type=merge."""
        return self.direct.merge(path_of(kind, self.namespace, name), patch)

    def annotate(self, kind: str, name: str, annotation: str, value: str | None) -> None:
        """Set an annotation, or take it away with None."""
        self.merge(kind, name, metadata={"annotations": {annotation: value}})

    def delete(self, kind: str, name: str) -> None:
        """kubectl delete."""
        self.direct.call("DELETE", path_of(kind, self.namespace, name))

    def data(self, name: str) -> dict[str, bytes]:
        """A Secret's data."""
        found = self.get(SECRET, name)
        assert found is not None, f"Secret {name} is not there"
        return {key: base64.b64decode(value) for key, value in (found.get("data") or {}).items()}

    # Answers

    def reason(self, kind: str, name: str, reason: str) -> Any:
        """The object, once its Ready condition has this reason in its own generation."""

        def check() -> Any:
            body = self.get(kind, name)
            found = None if body is None else condition(body)
            return body if found is not None and found["reason"] == reason else None

        return self.until(f"{kind} {name} is {reason}", check)

    def ready(self, kind: str, name: str) -> Any:
        """The object, once it is Available."""
        return self.reason(kind, name, "Available")

    def look(self, kind: str, name: str) -> Any:
        """The object after one pass that began from now on."""
        value = f"look-{next(_number)}"
        self.annotate(kind, name, LOOK, value)

        def check() -> Any:
            body = self.get(kind, name)
            return body if body["status"].get("lastHandledReconcileAt") == value else None

        return self.until(f"{kind} {name} answers {value}", check)

    def rotate_later(self, kind: str, name: str) -> str:
        """Ask for a rotation; the value that status answers with once it is done."""
        value = f"rotate-{next(_number)}"
        self.annotate(kind, name, ROTATE, value)
        return value

    def rotate(self, kind: str, name: str) -> Any:
        """Ask for a rotation; the object once status answers."""
        value = self.rotate_later(kind, name)

        def check() -> Any:
            body = self.get(kind, name)
            return body if body["status"].get("lastHandledRotateAt") == value else None

        return self.until(f"{kind} {name} answers {value}", check)

    def message(self, kind: str, name: str, about: str = "Ready") -> str:
        """The message of a condition."""
        found = condition(self.get(kind, name), about)
        assert found is not None
        return str(found["message"])

    def key_record(self, name: str) -> KeyRecord | None:
        """The record of a KmsKey."""
        found = self.direct.record(RecordKind.KEY, self.namespace, name)
        record = None if found is None else decoded(found)
        assert record is None or isinstance(record, KeyRecord)
        return record

    def data_key_record(self, name: str) -> DataKeyRecord | None:
        """The record of a KmsDataKey."""
        found = self.direct.record(RecordKind.DATAKEY, self.namespace, name)
        record = None if found is None else decoded(found)
        assert record is None or isinstance(record, DataKeyRecord)
        return record

    def alias_records(self) -> dict[str, AliasRecord]:
        """Alias name -> its record, of this namespace's name."""
        found = [decoded(secret) for secret in self.direct.records()]
        return {r.alias_name: r for r in found if isinstance(r, AliasRecord) and r.namespace == self.namespace}

    def grant_record(self, name: str) -> GrantRecord | None:
        """The record of a KmsGrant."""
        found = self.direct.record(RecordKind.GRANT, self.namespace, name)
        record = None if found is None else decoded(found)
        assert record is None or isinstance(record, GrantRecord)
        return record

    def plaintexts(self) -> dict[str, list[str]]:
        """Name of each KmsDataKey of this namespace -> SHA-256 of each version's plaintext, opened on the token."""
        secrets = self.direct.records()
        data_keys = {s["metadata"]["name"]: decoded(s) for s in secrets if s["metadata"]["name"].startswith("datakey-")}
        ours = [data_key for data_key in data_keys.values() if data_key.namespace == self.namespace]
        abroad = {version.key_arn.rpartition("/")[2] for data_key in ours for version in data_key.versions}
        found = opened(self.installation, [s for s in secrets if self._of_ours(s) or _is_key(s, abroad)])
        return {data_keys[name].name: digests for name, digests in found.items()}

    def _of_ours(self, secret: Any) -> bool:
        record = decoded(secret)
        return isinstance(record, KeyRecord | AliasRecord | GrantRecord | DataKeyRecord) and record.namespace == self.namespace

    def clean(self) -> None:
        """Delete the objects and wait until their records say so: later operators find nothing to do."""
        for kind in (DATA_KEY, GRANT, ALIAS, KEY):
            self.direct.call("DELETE", path_of(kind, self.namespace))
        live = self.direct.object("Namespace", "", self.namespace)["metadata"]["uid"]

        def bound() -> bool:
            ours = [decoded(secret) for secret in self.direct.records() if self._of_ours(secret)]
            return any(record.bound and record.namespace_uid == live for record in ours)

        self.until("all records are orphans, or gone", lambda: not bound())


def _is_key(secret: Any, key_ids: set[str]) -> bool:
    record = decoded(secret)
    return isinstance(record, KeyRecord) and record.key_id in key_ids


@contextmanager
def desk(
    installation: Installation, namespace: str, program: tuple[str, ...] = harness.OPERATOR, **settings: str
) -> Iterator[Desk]:
    """An operator that leads, and a namespace, made where it is not there."""
    direct = Direct(installation.cluster)
    if direct.object("Namespace", "", namespace) is None:
        direct.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}})
    own = {"retry_period": "0.5", **settings}
    with ChaosProxy(installation.cluster) as proxy, installation.operator(namespace, proxy.url, program, **own) as operator:
        operator.wait_leading()
        direct.wait_own_key()
        made = Desk(installation, direct, proxy, operator, namespace)
        yield made
        proxy.shift_date(0)
        made.clean()


__all__ = ["ALIAS", "DATA_KEY", "DAY", "GRANT", "HOLD", "KEY", "SECRET", "CallError", "Desk", "desk"]
