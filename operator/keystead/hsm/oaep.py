"""Removing OAEP padding in software, for tokens that have raw RSA but not OAEP with SHA-256 (SoftHSM: ARGUMENTS_BAD).

EME-OAEP decoding, RFC 8017 7.1.2 step 3. Branch-free in shape: no early exit; leading byte, label hash and separator
are folded into one flag; ONE error. Not constant-time: CPython cannot promise that. Acceptable, since whoever could
use Manger's oracle holds Decrypt on this ENCRYPT_DECRYPT key anyway, and such keys never sign (HSM.md (b)).
"""

from __future__ import annotations

import hashlib
import hmac

from keystead.errors import HsmDataError


def unpad_oaep(encoded: bytes, size: int, hash_name: str) -> bytes:
    """The message inside an encoded message; `size` is the modulus length in bytes. HsmDataError for every bad one."""
    em = int.from_bytes(encoded, "big").to_bytes(size, "big")
    length = hashlib.new(hash_name).digest_size
    masked_seed, masked_block = em[1 : 1 + length], em[1 + length :]
    seed = _xor(masked_seed, _mgf1(masked_block, length, hash_name))
    block = _xor(masked_block, _mgf1(seed, len(masked_block), hash_name))
    label_ok = hmac.compare_digest(block[:length], hashlib.new(hash_name).digest())
    start, bad = _find_separator(block, length)
    good = label_ok & (em[0] == 0) & (bad == 0)
    if not good:
        raise HsmDataError("OAEP decoding failed")
    return block[start:]


def _find_separator(block: bytes, length: int) -> tuple[int, int]:
    """Index after the 01 that ends the padding, and a flag that is 0 where the padding is zeros and one 01."""
    looking, start, bad = 1, 0, 0
    for index in range(length, len(block)):
        is_one = int(block[index] == 1)
        is_zero = int(block[index] == 0)
        start |= (looking & is_one) * (index + 1)
        bad |= looking & (1 - is_one) & (1 - is_zero)
        looking &= 1 - is_one
    return start, bad | looking


def _mgf1(seed: bytes, length: int, hash_name: str) -> bytes:
    size = hashlib.new(hash_name).digest_size
    blocks = (hashlib.new(hash_name, seed + i.to_bytes(4, "big")).digest() for i in range(-(-length // size)))
    return b"".join(blocks)[:length]


def _xor(left: bytes, right: bytes) -> bytes:
    return (int.from_bytes(left, "big") ^ int.from_bytes(right, "big")).to_bytes(len(left), "big")
