"""The record of a call like its caller's last one: only what differs is written anew, time, parameters and ids (docs/performance.md).

Called by cloudtrail.py, once a call. What may never differ: its text from the one that shape.py makes (tests/audit/test_cloudtrail.py).
"""

from __future__ import annotations

from typing import Any, Final

from msgspec import Raw

from keystead.audit.shape import ALIASED, JUSTIFICATION, PARAMETERS, PARAMETERS_MAX, material_of, record_of, second
from keystead.audit.table import TABLE, nothing
from keystead.audit.text import json_of, printable
from keystead.operations.trail import Actor, CallEvent
from keystead.policy import Decision

# Their records say nothing of the answer: for one caller, key and decision they differ in time, parameters and ids alone.
_USUAL: Final = frozenset(operation for operation, row in TABLE.items() if row.answer is nothing) - ALIASED - {"ReEncrypt"}
_FRAMES: Final = 2048
# What is left open of a record, to be filled in: no JSON has this byte.
_OPEN: Final = b"\0"
_OPEN_TEXT, _OPEN_VALUE = Raw(b'"\0"'), Raw(_OPEN)
# By id() of objects that the value keeps, so that the numbers cannot be others'; and what stands between the open places of a record.
_frames: dict[tuple[Any, ...], tuple[list[bytes], Actor, Decision]] = {}


def usual(event: CallEvent) -> bytes | None:
    """The record of a call that succeeded like its caller's last one, put together from what stays; None for any other call.

    By what record_of looks at: whatever it is told of an answer, a key or a header must be among `place`, or make it None.
    """
    trail, operation, headers = event.trail, event.operation, event.headers
    if event.response is None or event.request is None or event.code or len(trail) != 1 or operation not in _USUAL:
        return None
    judged, actor = trail[0], event.actor
    key, decision = judged.key, judged.decision
    if key is None or key.account != actor.caller.account or JUSTIFICATION in headers:
        return None
    parameters = printable(json_of(PARAMETERS[operation](event.request)))
    if len(parameters) > PARAMETERS_MAX:
        return None
    place = (
        operation, id(actor), id(decision), judged.action, event.region, event.source_ip, event.tls, headers.get(b"user-agent"),
        headers.get(b"host"), key.region, key.account, key.key_id, material_of(operation, event.response, key),
    )  # fmt: skip
    known = _frames.get(place)
    if known is None:
        if len(_frames) >= _FRAMES:
            _frames.clear()
        known = _frames[place] = _frame(event), actor, decision
    start, before_parameters, before_request, before_event, end = known[0]
    return b"".join(
        (
            start, second(int(event.time.timestamp())).encode(), before_parameters, parameters,
            before_request, event.request_id.encode(), before_event, event.event_id.encode(), end,
        )
    )  # fmt: skip


def _frame(event: CallEvent) -> list[bytes]:
    """A record cut at what usual fills in."""
    record: Any = record_of(event, event.trail)
    record.eventTime = record.requestID = record.eventID = _OPEN_TEXT
    record.requestParameters = _OPEN_VALUE
    return printable(json_of(record)).split(_OPEN)
