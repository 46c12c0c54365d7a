"""Verifying Ed25519ph (RFC 8032 5.1), which `cryptography` does not have: the judge of `hsm check`.

SoftHSM ignores the prehash flag and answers CKR_OK with a pure signature (HSM.md A5), so only a verifier can tell.
Public data only, and slow: never used to verify for a caller.
"""

from __future__ import annotations

import hashlib
from typing import Final, TypeAlias

_P: Final = 2**255 - 19
_L: Final = 2**252 + 27742317777372353535851937790883648493
_D: Final = -121665 * pow(121666, -1, _P) % _P
# dom2(1, ""): RFC 8032 5.1, phflag 1, empty context.
_DOM2: Final = b"SigEd25519 no Ed25519 collisions\x01\x00"

Point: TypeAlias = tuple[int, int]


def verify_ph(public: bytes, message: bytes, signature: bytes) -> bool:
    """Whether a signature is Ed25519ph with an empty context over `message` (hashed here)."""
    if len(public) != 32 or len(signature) != 64:
        return False
    scalar = int.from_bytes(signature[32:], "little")
    key, commitment = _decode(public), _decode(signature[:32])
    if key is None or commitment is None or scalar >= _L:
        return False
    hashed = hashlib.sha512(_DOM2 + signature[:32] + public + hashlib.sha512(message).digest()).digest()
    challenge = int.from_bytes(hashed, "little") % _L
    return _multiply(scalar, _BASE) == _add(commitment, _multiply(challenge, key))


def _decode(data: bytes) -> Point | None:
    """RFC 8032 5.1.3."""
    number = int.from_bytes(data, "little")
    y, sign = number & (2**255 - 1), number >> 255
    if y >= _P:
        return None
    square = (y * y - 1) * pow(_D * y * y + 1, -1, _P) % _P
    x = pow(square, (_P + 3) // 8, _P)
    if (x * x - square) % _P:
        x = x * pow(2, (_P - 1) // 4, _P) % _P
    if (x * x - square) % _P or (x == 0 and sign):
        return None
    return (x if x & 1 == sign else _P - x), y


def _add(left: Point, right: Point) -> Point:
    (x1, y1), (x2, y2) = left, right
    product = _D * x1 * x2 * y1 * y2 % _P
    x = (x1 * y2 + x2 * y1) * pow(1 + product, -1, _P)
    y = (y1 * y2 + x1 * x2) * pow(1 - product, -1, _P)
    return x % _P, y % _P


def _multiply(scalar: int, point: Point) -> Point:
    result: Point = (0, 1)
    while scalar:
        if scalar & 1:
            result = _add(result, point)
        point = _add(point, point)
        scalar >>= 1
    return result


def _base() -> Point:
    point = _decode((4 * pow(5, -1, _P) % _P).to_bytes(32, "little"))
    assert point is not None
    return point


_BASE: Final = _base()
