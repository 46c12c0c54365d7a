"""Texts of a record: JSON that any reader of lines takes, and what others sent without what would move a terminal's cursor. Pure.

Called by shape.py and usual.py, once a call and more. What may never leave: a line's end within a line, half of a surrogate pair.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final

import msgspec
from msgspec import UNSET

_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")
# Letters that JSON need not escape, and that move a terminal's cursor, or end a line for who splits lines as Unicode does.
_UNSEEN: Final = re.compile(rb"\x7f|\xc2[\x80-\x9f]|\xe2\x80[\xa8\xa9]")
encode: Final = msgspec.json.Encoder().encode


def printable(text: bytes) -> bytes:
    """The same JSON, without the letters that need not be escaped and are not harmless."""
    return text if text.isascii() and b"\x7f" not in text else _UNSEEN.sub(_escaped, text)


def _escaped(found: re.Match[bytes]) -> bytes:
    return b"\\u%04x" % ord(found[0].decode())


def json_of(value: Any) -> bytes:  # noqa: ANN401 - a record, or a part of it
    """Of whatever was sent."""
    try:
        return encode(value)
    except UnicodeEncodeError:  # half of a surrogate pair, which JSON escapes can say and UTF-8 cannot
        return encode(_whole(msgspec.structs.asdict(value) if isinstance(value, msgspec.Struct) else value))


def _whole(value: Any) -> Any:  # noqa: ANN401 - any JSON
    """The same with lone surrogates written out."""
    match value:
        case str():
            return value.encode("utf-8", "backslashreplace").decode()
        case Mapping():
            return {_whole(key): _whole(item) for key, item in value.items() if item is not UNSET}
        case list() | tuple():
            return [_whole(item) for item in value]
    return value


@lru_cache(maxsize=4096)
def said(value: bytes, most: int) -> str:
    """A header's text, bounded, without what would move a terminal's cursor."""
    return _CONTROL.sub(" ", value[: 4 * most].decode("utf-8", "replace")).strip()[:most]
