"""Record Secrets in keystead-records: get, create-only, replace by resourceVersion. Only the operator writes them.

Labels and annotations of these Secrets are a view and are never read back (format page, Record and seal).
"""

from __future__ import annotations

import base64
import binascii
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping
from typing import Any, Final

from keystead.engine.identifiers import RecordKind
from keystead.engine.record import SealedRecord
from keystead.errors import NotFoundError, RecordIntegrityError
from keystead.reconciler.ports import StoredRecord
from keystead.resources import names
from keystead.store.kube import Kube

log = logging.getLogger(__name__)
_SMALL_PAGE: Final = "200"
TYPE: Final = names.RECORD_SECRET_TYPE


class KubeRecords:
    """Implements `reconciler.ports.Records` on Secrets."""

    def __init__(self, kube: Kube, namespace: str) -> None:
        self._kube = kube
        self._path = f"/api/v1/namespaces/{namespace}/secrets"

    async def get(self, name: str) -> StoredRecord | None:
        """The record, sealed and unverified, or None."""
        try:
            secret = await self._kube.request("GET", f"{self._path}/{name}")
        except NotFoundError:
            return None
        return parse_secret(secret)

    async def create(self, kind: RecordKind, sealed: SealedRecord) -> StoredRecord:
        """Create-only. ConflictError where the name is taken."""
        return parse_secret(await self._kube.request("POST", self._path, body=_body(kind, sealed)))

    async def replace(self, kind: RecordKind, sealed: SealedRecord, resource_version: str) -> StoredRecord:
        """PUT by resourceVersion. ConflictError where somebody else wrote."""
        body = _body(kind, sealed)
        body["metadata"]["resourceVersion"] = resource_version
        return parse_secret(await self._kube.request("PUT", f"{self._path}/{sealed.name}", body=body))

    async def delete(self, name: str, resource_version: str) -> None:
        """DELETE of this very version. ConflictError where somebody else wrote; nothing where it is gone."""
        body = {"apiVersion": "v1", "kind": "DeleteOptions", "preconditions": {"resourceVersion": resource_version}}
        try:
            await self._kube.request("DELETE", f"{self._path}/{name}", body=body)
        except NotFoundError:
            return

    async def pages(self, kinds: tuple[str, ...]) -> AsyncIterator[tuple[list[Any], str]]:
        """All Secrets of these kinds as they are, a page in memory at a time, each with the resourceVersion to watch from.

        The JSON of a page is read in one piece: a small one holds nobody up.
        """
        async for page in self._kube.pages(self._path, {"labelSelector": _selector(kinds), "limit": _SMALL_PAGE}):
            yield page["items"], page["metadata"]["resourceVersion"]

    async def list_all(self, kinds: tuple[RecordKind, ...]) -> tuple[list[StoredRecord], str]:
        """All records of these kinds and the resourceVersion to watch from. Paged. What is no record is left out and logged."""
        items, version = await self._kube.list_pages(self._path, {"labelSelector": _selector(kinds)})
        return list(_parsed(items)), version

    async def watch(self, kinds: tuple[str, ...], resource_version: str) -> AsyncGenerator[tuple[str, Any]]:
        """(event type, Secret) from a resourceVersion on; bookmarks included."""
        query = {
            "labelSelector": _selector(kinds),
            "resourceVersion": resource_version,
            "allowWatchBookmarks": "true",
            "timeoutSeconds": "300",
        }
        async for event in self._kube.watch(self._path, query):
            yield event["type"], event["object"]


def _parsed(items: list[dict[str, Any]]) -> Iterator[StoredRecord]:
    for item in items:
        try:
            yield parse_secret(item)
        except RecordIntegrityError as error:  # one bad Secret must not keep all the others from being seen
            log.error("%s", error)


def _selector(kinds: tuple[str, ...]) -> str:
    return f"{names.RECORD} in ({','.join(kinds)})"


def _body(kind: RecordKind, sealed: SealedRecord) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {
            "name": sealed.name,
            "labels": {names.RECORD: kind.value, names.MANAGED_BY: names.MANAGED_BY_KEYSTEAD},
        },
        "type": TYPE.format(kind.value),
        "data": {
            "record": base64.b64encode(sealed.record).decode(),
            "seal": base64.b64encode(sealed.seal).decode(),
        },
    }


def parse_secret(secret: Mapping[str, Any]) -> StoredRecord:
    """A record Secret as it is. RecordIntegrityError where its data are not those of a record."""
    name = secret["metadata"]["name"]
    data = secret.get("data") or {}
    try:
        sealed = SealedRecord(
            name, base64.b64decode(data["record"], validate=True), base64.b64decode(data["seal"], validate=True)
        )
    except (KeyError, binascii.Error):
        raise RecordIntegrityError(f"Secret {name} has no record and seal in its data") from None
    return StoredRecord(sealed, secret["metadata"]["resourceVersion"])
