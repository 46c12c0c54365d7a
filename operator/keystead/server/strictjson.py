"""The bytes of a request body as a JSON object, strictly: one reading of a body or none.

Called by decode. msgspec is the one parser: it refuses NaN and Infinity, a BOM, trailing bytes, control characters, UTF-8 that is
none, and half surrogate pairs, escaped or not. It lets the last of two equal names win, which would let a signer and a reader see
different requests, so duplicates are looked for here. No message shows any of the body.
"""

from __future__ import annotations

import json
from typing import Any, Final

import msgspec

from keystead.server.wire_errors import SerializationError

DEPTH: Final = 16
"""Most levels of a body: more than twice what the model has (a test compares)."""

_DECODER: Final = msgspec.json.Decoder()


def parse_object(body: bytes) -> dict[str, Any]:
    """The members of a body; an empty one counts as {}. SerializationError for anything else."""
    if not body:
        return {}
    try:
        tree = _DECODER.decode(body)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        # `from None`: msgspec's message has the place of the error, the exceptions of UTF-8 the body itself.
        raise SerializationError("The request body is not valid JSON.") from None
    if type(tree) is not dict:
        raise SerializationError("The request body is not a JSON object.")
    strings = _count(tree, 1)
    # Without a backslash every string of valid JSON has exactly two quotes. A name that was there twice is once in the tree.
    if b"\\" in body:
        json.loads(body, object_pairs_hook=_unique)
    elif 2 * strings != body.count(b'"'):
        raise _duplicate()
    return tree


def _count(value: Any, depth: int) -> int:  # noqa: ANN401 - JSON
    """Strings of a tree, names included."""
    if depth > DEPTH:
        raise SerializationError("The request body is nested too deeply.")
    if type(value) is dict:
        count = len(value)
        value = value.values()
    else:
        count = 0
    for item in value:
        kind = type(item)
        if kind is str:
            count += 1
        elif kind is dict or kind is list:
            count += _count(item, depth + 1)
    return count


def _unique(pairs: list[tuple[str, Any]]) -> None:
    if len({name for name, _ in pairs}) != len(pairs):
        raise _duplicate()


def _duplicate() -> SerializationError:
    return SerializationError("The request body has a member twice.")
