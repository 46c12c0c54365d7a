"""Target Secrets of data keys: read by name, created, or applied with uid and resourceVersion. Never listed, never watched."""

from __future__ import annotations

import base64
from typing import Any

from keystead.engine.plan.secret import DesiredSecret, SecretFacts
from keystead.errors import NotFoundError
from keystead.resources import names
from keystead.store.kube import APPLY, MERGE_PATCH, Kube


class KubeSecrets:
    """Implements `reconciler.ports.Secrets`. Rights: get, patch, create, bound per namespace by the chart."""

    def __init__(self, kube: Kube) -> None:
        self._kube = kube

    async def get(self, namespace: str, name: str) -> SecretFacts | None:
        """The Secret, or None."""
        try:
            found = await self._kube.request("GET", f"/api/v1/namespaces/{namespace}/secrets/{name}")
        except NotFoundError:
            return None
        return _facts(found)

    async def create(self, desired: DesiredSecret) -> SecretFacts:
        """A new Secret of our own type. ConflictError where the name is taken meanwhile."""
        body = _body(desired) | {"type": names.DATA_KEY_SECRET_TYPE}
        query = {"fieldManager": desired.manager}
        path = f"/api/v1/namespaces/{desired.namespace}/secrets"
        return _facts(await self._kube.request("POST", path, query, body))

    async def apply(self, desired: DesiredSecret, found: SecretFacts) -> SecretFacts:
        """Server-side apply of our fields with the uid and resourceVersion that were read.

        ConflictError: another manager owns one of our keys, or somebody wrote meanwhile. RefusedError: immutable, or too large.
        """
        if not desired.injected:
            found = await self._clear(desired, found)
        body = _body(desired)
        body["metadata"] |= {"uid": found.uid, "resourceVersion": found.resource_version}
        query = {"fieldManager": desired.manager, "force": "false" if desired.injected else "true"}
        path = f"/api/v1/namespaces/{desired.namespace}/secrets/{desired.name}"
        return _facts(await self._kube.request("PATCH", path, query, body, APPLY))


    async def _clear(self, desired: DesiredSecret, found: SecretFacts) -> SecretFacts:
        """Take from our own Secret what an apply cannot: fields that its creation (or somebody else) left behind."""
        metadata: dict[str, Any] = {"uid": found.uid, "resourceVersion": found.resource_version}
        owners = desired.other_owners(found)
        surplus = desired.owner is None and owners != found.owners
        stale = desired.stale(found)
        if not stale and not surplus:
            return found
        if surplus:
            metadata["ownerReferences"] = [dict(owner) for owner in owners]
        body = {"metadata": metadata, "data": dict.fromkeys(stale)}
        path = f"/api/v1/namespaces/{desired.namespace}/secrets/{desired.name}"
        return _facts(await self._kube.request("PATCH", path, {"fieldManager": desired.manager}, body, MERGE_PATCH))


def _body(desired: DesiredSecret) -> dict[str, Any]:
    metadata: dict[str, Any] = {"name": desired.name, "namespace": desired.namespace}
    if desired.labels:  # an empty map would be a field of its own, which the next data key in this Secret conflicts with
        metadata["labels"] = dict(desired.labels)
    if desired.annotations:
        metadata["annotations"] = dict(desired.annotations)
    if desired.owner is not None:
        metadata["ownerReferences"] = [dict(desired.owner)]
    body: dict[str, Any] = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": metadata,
        "data": {key: base64.b64encode(value).decode() for key, value in desired.data.items()},
    }
    if desired.immutable:
        body["immutable"] = True
    return body


def _facts(secret: dict[str, Any]) -> SecretFacts:
    metadata = secret["metadata"]
    return SecretFacts(
        uid=metadata["uid"],
        resource_version=metadata["resourceVersion"],
        type=secret.get("type", "Opaque"),
        immutable=bool(secret.get("immutable", False)),
        data={key: base64.b64decode(value) for key, value in (secret.get("data") or {}).items()},
        labels=metadata.get("labels") or {},
        annotations=metadata.get("annotations") or {},
        owners=tuple(metadata.get("ownerReferences") or ()),
    )
