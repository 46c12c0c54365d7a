"""`keystead audit`, wired: files through audit/reading, keys and the signing key through the person's own kubeconfig."""

from __future__ import annotations

import json
from collections.abc import Callable
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Final

from keystead.audit.reading.files import Unread
from keystead.audit.reading.plot import bars, svg
from keystead.audit.reading.records import Query
from keystead.audit.reading.search import search
from keystead.audit.reading.signatures import as_pem, read_keys
from keystead.audit.reading.summary import KnownKey, known_keys, summarise
from keystead.audit.reading.verify import verify
from keystead.audit.sessions import ROWS
from keystead.audit.table import TABLE
from keystead.cli.audit_services import SearchAnswer, SearchRequest, SummaryAnswer, SummaryRequest, VerifyRequest
from keystead.engine.identifiers import RECORDS_NAMESPACE, key_id_form
from keystead.engine.managed import AUDIT_KEY
from keystead.errors import InvalidSpecError, NotFoundError
from keystead.operations.trail import EVENTS
from keystead.resources.names import API_VERSION
from keystead.store.kube import Kube

KEYS: Final = f"/apis/{API_VERSION}/kmskeys"
_PATTERN: Final = frozenset("*?[")
_SHORT: Final = 3
_ACTIONS: Final = {name.lower(): name for name in (*TABLE, *ROWS, *EVENTS)}
SIGNING_KEY: Final = f"/apis/{API_VERSION}/namespaces/{RECORDS_NAMESPACE}/kmskeys/{AUDIT_KEY}"


def verify_audit(request: VerifyRequest) -> dict[str, Any]:
    """The report."""
    keys = None if request.public_key is None else read_keys(request.public_key.read_bytes())
    return verify(request.folders, keys, request.checkpoints).as_json()


def search_audit(request: SearchRequest) -> SearchAnswer:
    """Rows and records. InvalidSpecError for a name that no record can have."""
    unread = Unread()
    for key in request.keys:
        _check_key(key)
    query = Query(
        keys=request.keys,
        principals=request.principals,
        actions=[_action_named(text) for text in request.actions],
        namespaces=request.namespaces,
        since=request.since,
        until=request.until,
        context=request.context,
        denied=request.denied,
    )
    return SearchAnswer(search(request.folders, query, request.limit, request.api_log, unread), lambda: unread.told)


def _check_key(text: str) -> None:
    """The name of a KmsKey is in no record: who looks for it would take nothing for an answer."""
    if not (text.startswith(("alias/", "arn:")) or set(text) & _PATTERN or key_id_form(text)):
        hint = "of a KmsKey: $(kubectl get kmskey NAME -o jsonpath={.status.keyId})"
        raise InvalidSpecError("--key", f"{text!r} is no key id, no ARN and no alias/NAME; hint: {hint}")


def _action_named(text: str) -> str:
    """As records have it: `kms:decrypt`, `generate-data-key`. A pattern, whatever a later version calls its events, is left as it is."""
    name = text.removeprefix("kms:").replace("-", "").lower()
    if set(text) & _PATTERN or name in _ACTIONS:
        return _ACTIONS.get(name, text)
    near = get_close_matches(name, _ACTIONS, n=1) or [each for each in _ACTIONS if len(name) > _SHORT and each.startswith(name)]
    meant = f"; did you mean {_ACTIONS[near[0]]}" if near else "; such as Decrypt, CreateGrant, RotateKey, or with *"
    raise InvalidSpecError("--action", f"no record has the action {text!r}{meant}")


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
