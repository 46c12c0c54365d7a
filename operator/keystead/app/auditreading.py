"""`keystead audit`, wired: files through audit/reading, keys and the signing key through the person's own kubeconfig."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from keystead.audit.reading.files import Unread
from keystead.audit.reading.plot import bars, svg
from keystead.audit.reading.records import Query
from keystead.audit.reading.search import search
from keystead.audit.reading.signatures import as_pem, read_keys
from keystead.audit.reading.summary import KnownKey, known_keys, summarise
from keystead.audit.reading.verify import verify
from keystead.cli.audit_services import SearchAnswer, SearchRequest, SummaryAnswer, SummaryRequest, VerifyRequest
from keystead.engine.identifiers import RECORDS_NAMESPACE
from keystead.engine.managed import AUDIT_KEY
from keystead.errors import InvalidSpecError, NotFoundError
from keystead.resources.names import API_VERSION
from keystead.store.kube import Kube

KEYS: Final = f"/apis/{API_VERSION}/kmskeys"
SIGNING_KEY: Final = f"/apis/{API_VERSION}/namespaces/{RECORDS_NAMESPACE}/kmskeys/{AUDIT_KEY}"


def verify_audit(request: VerifyRequest) -> dict[str, Any]:
    """The report."""
    keys = None if request.public_key is None else read_keys(request.public_key.read_bytes())
    return verify(request.folders, keys, request.checkpoints).as_json()


def search_audit(request: SearchRequest) -> SearchAnswer:
    """Rows and records."""
    unread = Unread()
    query = Query(
        keys=request.keys,
        principals=request.principals,
        actions=request.actions,
        namespaces=request.namespaces,
        since=request.since,
        until=request.until,
        context=request.context,
        denied=request.denied,
    )
    return SearchAnswer(search(request.folders, query, request.limit, request.api_log, unread), lambda: unread.told)


def summarise_audit(request: SummaryRequest, listed: Callable[[], list[Any]]) -> SummaryAnswer:
    """Counts, and their pictures. listed: the KmsKeys of the cluster, asked for where the request wants it."""
    keys: list[KnownKey] | None = None
    if request.keys is not None:
        keys = _read_keys(request.keys)
    elif request.ask_cluster:
        keys = known_keys({"items": listed()})
    told = summarise(request.folders, Query(since=request.since, until=request.until), keys).as_json()
    return SummaryAnswer(told, svg(told["days"]), tuple(bars(told["days"])))


async def list_keys(kube: Kube) -> list[Any]:
    """All KmsKeys that this person may list."""
    items, _ = await kube.list_pages(KEYS)
    return items


async def public_key(kube: Kube) -> str:
    """PEM, as the status of the signing key shows it."""
    body = await kube.request("GET", SIGNING_KEY)
    found = (body.get("status") or {}).get("publicKey")
    if not found:
        raise NotFoundError(f"KmsKey {RECORDS_NAMESPACE}/{AUDIT_KEY} shows no public key yet; hint: is the operator running?")
    return as_pem(found)


def _read_keys(path: Path) -> list[KnownKey]:
    try:
        return known_keys(json.loads(path.read_bytes()))
    except (ValueError, KeyError, TypeError):
        raise InvalidSpecError("--keys", f"{path} is not what `kubectl get kmskeys -A -o json` writes") from None
