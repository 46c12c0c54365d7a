"""Bounds of request members, with AWS's texts (KMS.md, Limits; botocore's model is the authority).

Front doors validate whole requests against the model too; these hold for every front door. No value of a blob is shown.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from keystead.errors import ValidationError
from keystead.operations import refusals

PLAINTEXT: Final = 4096
MESSAGE: Final = 4096
CIPHERTEXT: Final = 6144
PUBLIC_KEY: Final = 8192
RANDOM: Final = 1024
KEY_ID: Final = 2048
GRANT_TOKENS: Final = 10
GRANT_TOKEN: Final = 8192


def failed(where: str, must: str, shown: object = None) -> ValidationError:
    """AWS's text for one failed constraint; `shown` is the value, left out for blobs."""
    value = "Value" if shown is None else f"Value '{shown}'"
    return ValidationError(
        f"1 validation error detected: {value} at '{where}' failed to satisfy constraint: Member must {must}"
    )


def check_blob(where: str, value: bytes, limit: int) -> None:
    """1 to `limit` bytes."""
    if not value:
        raise failed(where, "have length greater than or equal to 1")
    if len(value) > limit:
        raise failed(where, f"have length less than or equal to {limit}")


def check_key_id(value: str, where: str = "keyId") -> None:
    """1 to 2,048 characters."""
    if not value:
        raise failed(where, "have length greater than or equal to 1", "")
    if len(value) > KEY_ID:
        raise failed(where, f"have length less than or equal to {KEY_ID}", value)


def check_number(where: str, value: int) -> None:
    """1 to 1,024."""
    if value < 1:
        raise failed(where, "have value greater than or equal to 1", value)
    if value > RANDOM:
        raise failed(where, f"have value less than or equal to {RANDOM}", value)


def check_grant_tokens(tokens: Sequence[str]) -> None:
    """At most 10 of 1 to 8,192 characters. They only widen: none is needed, and an unknown one gives nothing."""
    if len(tokens) > GRANT_TOKENS:
        raise failed("grantTokens", f"have length less than or equal to {GRANT_TOKENS}")
    for n, token in enumerate(tokens, 1):
        if not 1 <= len(token) <= GRANT_TOKEN:
            raise failed(
                f"grantTokens.{n}.member",
                f"have length between 1 and {GRANT_TOKEN}, inclusive",
            )


def refuse_recipient(recipient: object) -> None:
    """UnsupportedOperationException where one was sent (AWS.md, Recipient)."""
    if recipient is not None:
        raise refusals.recipient()
