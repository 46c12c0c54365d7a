"""Grant tokens: a sealed grant id and its creation time. They make a grant usable before a replica has it, and never widen it.

    token = base64url( 01 | u32 generation | grant id 32 | u64 seconds since 1970 | MAC 32 ), without padding, 103 characters
    MAC   = HMAC-SHA-512(DM_g, "keystead/v1/grant-token" 00 u16 45 | the 45 bytes before)[:32]

After 5 minutes a token is worth nothing: by then every replica has the grant (AWS.md, Grant tokens). A grant that is gone stays gone.
"""

from __future__ import annotations

import base64
import hmac
import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from keystead.engine.labels import Label, domain_mac
from keystead.engine.ports import Domain
from keystead.operations import refusals

_VERSION: Final = 1
_BODY: Final = 45
# 77 bytes. The last character has two bits to spare, which are zero: one text a token.
_TEXT: Final = re.compile(r"[A-Za-z0-9_-]{102}[AEIMQUYcgkosw048]\Z")
LIFE: Final = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class NamedGrant:
    """What a token says."""

    grant_id: str
    created: int

    def is_fresh(self, now: datetime) -> bool:
        """Whether a replica may still wait for its grant."""
        return abs(now.timestamp() - self.created) <= LIFE.total_seconds()


def make_token(domain: Domain, grant_id: str, now: datetime) -> str:
    """The token of a grant that was just made."""
    body = bytes([_VERSION]) + domain.generation.to_bytes(4, "big") + bytes.fromhex(grant_id)
    body += int(now.timestamp()).to_bytes(8, "big")
    return base64.urlsafe_b64encode(body + domain_mac(domain.mac, Label.GRANT_TOKEN, body)).rstrip(b"=").decode()


def read_token(domain: Domain, text: str) -> NamedGrant:
    """What a token says. InvalidGrantTokenException for one that this domain did not seal."""
    if not _TEXT.match(text):
        raise refusals.grant_token()
    data = base64.urlsafe_b64decode(text + "=")
    body, mac = data[:_BODY], data[_BODY:]
    if body[0] != _VERSION or int.from_bytes(body[1:5], "big") != domain.generation:
        raise refusals.grant_token()
    if not hmac.compare_digest(mac, domain_mac(domain.mac, Label.GRANT_TOKEN, body)):
        raise refusals.grant_token()
    return NamedGrant(body[5:37].hex(), int.from_bytes(body[37:45], "big"))
