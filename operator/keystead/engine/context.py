"""The canonical bytes of an encryption context.

    u16 count, then for each pair, sorted by the raw UTF-8 of the key: u16 len, key, u16 len, value      (big-endian)

No context and an empty one are the same: 0000. Text is taken as it is: no Unicode normalisation, no case folding (KMS.md:
exact and case-sensitive, order free). Lengths make ("ab","c") and ("a","bc") different.
"""

from __future__ import annotations

from collections.abc import Mapping
from struct import Struct

from keystead.errors import ValidationError

_MAX_BYTES = 8192
_LIMIT = 0xFFFF
EMPTY_CONTEXT = b"\0\0"
_u16 = Struct(">H").pack


def encode_context(context: Mapping[str, str] | None) -> bytes:
    """Canonical bytes of a context. ValidationError for text that has no UTF-8 form or is too long (8 KiB in all)."""
    if not context:
        return EMPTY_CONTEXT
    try:
        pairs = [(key.encode(), value.encode()) for key, value in context.items()]
    except UnicodeEncodeError:
        raise ValidationError("EncryptionContext has text that is not valid Unicode.") from None
    if len(pairs) > _LIMIT or sum([len(k) + len(v) for k, v in pairs]) > _MAX_BYTES:
        raise ValidationError("EncryptionContext is larger than 8192 bytes.")
    pairs.sort()
    out = [_u16(len(pairs))]
    for key, value in pairs:
        out += (_u16(len(key)), key, _u16(len(value)), value)
    return b"".join(out)
