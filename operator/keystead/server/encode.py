"""From an operation's response dataclass to the bytes that AWS would answer with. Called by codec; compiled once a response.

Names are the model's; bytes are base64; times are seconds since 1970 with milliseconds at the finest; None and what is empty is left
out, except the lists of a paged answer (those beside Truncated), which AWS sends empty too, and an empty string, which is a value.
An operation without an output shape answers with no body at all.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from operator import attrgetter
from typing import Any, Final, NamedTuple

import msgspec

from keystead.server.hints import Hint, fields_of, item_hint
from keystead.server.model import Model, Shape

Writer = Callable[[Any], Any]

_ENCODER: Final = msgspec.json.Encoder()
_PAGED: Final = "Truncated"


class _Entry(NamedTuple):
    """A member. `write` None: the value goes out as it is (msgspec writes bytes as base64 and an enum by its value).

    maybe_empty: a list or map that is left out when it is empty
    """

    wire: str
    field: str
    write: Writer | None
    maybe_empty: bool


def response_encoder(model: Model, shape: str | None, response: type) -> Callable[[Any], bytes]:
    """The encoder of one operation. TypeError where the dataclass is not the model's shape."""
    if shape is None:
        return lambda _: b""
    write = _structure(model, model.shapes[shape], response)
    return lambda value: _ENCODER.encode(write(value))


def _structure(model: Model, shape: Shape, hint: Hint) -> Writer:
    paged = _PAGED in shape.members
    entries = []
    for wire, known in fields_of(hint, shape).items():
        inner = model.shapes[shape.members[wire]]
        left_out = inner.type == "map" or (inner.type == "list" and not paged)
        entries.append(_Entry(wire, known.name, _writer(model, inner, known.hint), left_out))
    if len(entries) > 1 and not any(entry.write or entry.maybe_empty for entry in entries):
        return _plain(entries)

    def write(value: Any) -> dict[str, Any]:  # noqa: ANN401
        out = {}
        for wire, field, convert, maybe_empty in entries:
            member = getattr(value, field)
            if member is None or (maybe_empty and not member):
                continue
            out[wire] = member if convert is None else convert(member)
        return out

    return write


def _plain(entries: list[_Entry]) -> Writer:
    """Of a structure whose members go out as they are, two or more: in one step."""
    wires = [entry.wire for entry in entries]
    members = attrgetter(*(entry.field for entry in entries))

    def write(value: Any) -> dict[str, Any]:  # noqa: ANN401
        found = zip(wires, members(value), strict=True)
        return {wire: member for wire, member in found if member is not None}

    return write


def _writer(model: Model, shape: Shape, hint: Hint) -> Writer | None:
    match shape.type:
        case "structure":
            return _structure(model, shape, hint)
        case "list":
            item = _writer(model, model.shapes[shape.item], item_hint(hint))
            return None if item is None else lambda value: [item(one) for one in value]
        case "timestamp":
            return _seconds
        case "map":
            return dict
    return None


def _seconds(moment: datetime) -> float | int:
    milliseconds = round(moment.astimezone(UTC).timestamp() * 1000)
    return milliseconds // 1000 if milliseconds % 1000 == 0 else milliseconds / 1000
