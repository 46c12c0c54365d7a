"""`keystead audit search`: records that are asked for, as rows for people or as they stand in the trail, and beside each what the API
server's own audit log has under the same id.

A call of Keystead that has to ask or change something at the API server does it under its request id (header Audit-ID, store/kube.py).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, Final

import msgspec

from keystead.audit.reading.files import Unread, bounded_lines
from keystead.audit.reading.records import Query, Record, records_in
from keystead.errors import InvalidSpecError

COLUMNS: Final = ("time", "action", "principal", "key", "result", "reason")


_MOST_EVENT: Final = 1 << 24
"""Bytes of a line of the API server's log."""


def search(
    folders: Sequence[Path], query: Query, limit: int | None, api_log: Path | None, unread: Unread | None = None
) -> Iterator[tuple[dict[str, str], bytes]]:
    """A row for people, and the JSON line, one a record. With an API server's log the records found are held: give a limit.

    unread: as records_in.
    """
    found = islice(records_in(folders, query, unread), limit)
    if api_log is None:
        for record, data in found:
            yield row_of(record), data
        return
    held = list(found)
    requests = _requests(api_log, {record.request_id for record, _ in held if record.request_id})
    for record, data in held:
        told = requests.get(record.request_id, [])
        yield (
            {**row_of(record), "apiServer": "; ".join(f"{item['verb']} {item['object']} {item['code']}" for item in told)},
            json.dumps({**msgspec.json.decode(data), "apiServer": told}, ensure_ascii=False).encode(),
        )


def row_of(record: Record) -> dict[str, str]:
    """For people."""
    keys = [arn.rpartition("/")[2] for arn in record.key_arns]
    sent = [str(name) for name in record.parameters(("keyId",))]
    values = (
        record.event_time,
        record.event_name,
        record.principal,
        ",".join(dict.fromkeys(keys or sent)),
        record.error_code or "ok",
        record.reason,
    )
    return dict(zip(COLUMNS, values, strict=True))


def _requests(path: Path, wanted: set[str]) -> Mapping[str, list[dict[str, Any]]]:
    """The answered requests of an audit.k8s.io/v1 log, one event a line, that have one of these ids."""
    found: dict[str, list[dict[str, Any]]] = {}
    for event in _events(path):
        if event.get("auditID") in wanted and event.get("stage") == "ResponseComplete":
            found.setdefault(event["auditID"], []).append(_told(event))
    return found


def _events(path: Path) -> Iterable[dict[str, Any]]:
    try:
        with path.open("rb") as file:
            for line in bounded_lines(file, _MOST_EVENT):
                try:
                    event = json.loads(line)
                except (ValueError, RecursionError):
                    continue  # a line that is being written
                if isinstance(event, dict):
                    yield event
    except OSError as error:
        raise InvalidSpecError("--api-server-log", f"{path}: {error.strerror}") from None


def _told(event: Mapping[str, Any]) -> dict[str, Any]:
    ref = event.get("objectRef") or {}
    resource = "/".join(part for part in (ref.get("resource"), ref.get("subresource")) if part)
    where = "/".join(part for part in (ref.get("namespace"), resource, ref.get("name")) if part)
    return {
        "auditID": event["auditID"],
        "time": event.get("requestReceivedTimestamp", ""),
        "user": (event.get("user") or {}).get("username", ""),
        "verb": event.get("verb", ""),
        "object": where or event.get("requestURI", ""),
        "code": (event.get("responseStatus") or {}).get("code", 0),
    }
