"""Markers of the route /audit (auditroute.py): where each replica goes on, sealed with the domain's key, which all replicas have.

    marker     base64url(12 bytes nonce, AES-256-GCM of the MessagePack of Marker; additional data: the key's ARN)

Any replica can go on by it: it takes its own place out of it, and hands the marker to its siblings as it is. A reader who changes it, or
uses it for another key, gets InvalidMarkerError. What may never enter an answer: what is in a marker, unsealed.
"""

from __future__ import annotations

import base64
import binascii
import os
from collections.abc import Mapping
from typing import Final

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from keystead.engine.labels import Label, domain_mac
from keystead.engine.ports import Domain
from keystead.errors import InvalidMarkerError

_NONCE: Final = 12
_ID_BYTES: Final = 8


class Spot(msgspec.Struct, frozen=True, array_like=True):
    """How far one replica has told. address: where it was reached, "" where it was itself asked. place: None, it has told everything."""

    replica: str
    address: str
    place: bytes | None


class Marker(msgspec.Struct, frozen=True, array_like=True):
    """until: when the first page was asked; what was recorded later is told by none of the next ones, so that they come to an end."""

    until: str = ""
    spots: Mapping[str, Spot] = {}


_MARKER: Final = msgspec.msgpack.Decoder(Marker)


class Seals:
    """Of one key's markers."""

    def __init__(self, domain: Domain, key_arn: str) -> None:
        self._box = AESGCM(domain_mac(domain.mac, Label.AUDIT, b"read-marker"))
        self._arn = key_arn.encode()

    def seal(self, marker: Marker) -> str:
        """As it goes to readers."""
        nonce = os.urandom(_NONCE)
        return base64.urlsafe_b64encode(nonce + self._box.encrypt(nonce, msgspec.msgpack.encode(marker), self._arn)).decode()

    def open(self, text: str) -> Marker:
        """InvalidMarkerError."""
        try:
            raw = base64.b64decode(text, altchars=b"-_", validate=True)
            return _MARKER.decode(self._box.decrypt(raw[:_NONCE], raw[_NONCE:], self._arn))
        except (binascii.Error, ValueError, InvalidTag, msgspec.DecodeError):
            raise InvalidMarkerError("The marker is not valid, or of another key or replica.") from None


def replica_id(domain: Domain, replica: str, trail_id: str) -> str:
    """Of a folder of records on a replica, in markers: a name that tells nothing of either."""
    return domain_mac(domain.mac, Label.AUDIT, b"read-replica", replica.encode(), trail_id.encode())[:_ID_BYTES].hex()
