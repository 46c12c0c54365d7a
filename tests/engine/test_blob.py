"""Suite 1: HSM.md's vector exactly, and every way to damage a blob."""

from __future__ import annotations

import hmac
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keystead.engine.blob import (
    MAX_LENGTH,
    OVERHEAD,
    open_message,
    open_software_key,
    read_ids,
    seal_message,
    seal_software_key,
)
from keystead.engine.context import EMPTY_CONTEXT, encode_context
from keystead.engine.kdf import message_input
from keystead.engine.material import symmetric_material_id
from keystead.errors import BlobError

MATERIAL = bytes(range(64))
KEY_ID = bytes.fromhex("1234abcd12ab34cd56ef1234567890ab")
MATERIAL_ID = bytes.fromhex("66255efd60cc0d80a7ec43174b17f6ca17582c39bdf7042f640e13e80e8c9e6a")
IDS = KEY_ID + MATERIAL_ID
N = bytes(range(0x20, 0x40))
CONTEXT = {"purpose": "test", "app": "keystead"}
PLAINTEXT = b"keystead test vector v1"
K_ENC = "9f692c65a10ea1a8a2707ed6be0d9bb6c6b5af38008adb9d949044f2ac5241dd"
K_COM = "273f05211d5bf0a717a8bd5057feb901d6898331735bf74c81b4be87cc9ba916"
TAIL = "e947ea5f3d85181c70b2aac270e36ee05cabb64bbd97cc8ec0d6728daf72c51fa3220c04030f32"


def kdf(message: bytes) -> bytes:
    return hmac.digest(MATERIAL, message, "sha512")


def sealed(plaintext: bytes = PLAINTEXT, context: dict[str, str] | None = CONTEXT) -> bytes:
    return seal_message(kdf, IDS, N, plaintext, encode_context(context))


def test_material_id_of_the_vector():
    assert symmetric_material_id(kdf, KEY_ID) == MATERIAL_ID


def test_derived_key_of_the_vector():
    assert kdf(message_input(IDS, N)).hex() == K_ENC + K_COM


def test_context_bytes_of_the_vector():
    assert encode_context(CONTEXT).hex() == "0002000361707000086b657973746561640007707572706f7365000474657374"


def test_blob_of_the_vector():
    blob = sealed()
    assert len(blob) == 155
    assert blob.hex() == "4b530101" + KEY_ID.hex() + MATERIAL_ID.hex() + N.hex() + K_COM + TAIL


def test_the_vector_opens():
    assert open_message(kdf, sealed(), encode_context(CONTEXT)) == PLAINTEXT


def test_ids_are_read_from_the_header():
    ids = read_ids(sealed())
    assert (ids.key_id, ids.material_id) == (KEY_ID, MATERIAL_ID)


def test_every_single_flipped_bit_is_refused_with_the_same_error():
    blob, context = sealed(), encode_context(CONTEXT)
    for position in range(len(blob) * 8):
        bad = bytearray(blob)
        bad[position // 8] ^= 1 << position % 8
        with pytest.raises(BlobError):
            open_message(kdf, bytes(bad), context)


@pytest.mark.parametrize("length", [0, 1, 2, 115, 116, 117, 131, 132, 154])
def test_every_cut_is_refused(length):
    with pytest.raises(BlobError):
        open_message(kdf, sealed()[:length], encode_context(CONTEXT))


def test_a_trailing_byte_is_refused():
    with pytest.raises(BlobError):
        open_message(kdf, sealed() + b"\0", encode_context(CONTEXT))


@pytest.mark.parametrize("length", [MAX_LENGTH + 1, 100_000])
def test_a_blob_over_the_limit_is_refused(length):
    with pytest.raises(BlobError):
        read_ids(sealed()[:4].ljust(length, b"\0"))


def test_the_commitment_is_compared_before_gcm():
    # A header whose commitment is wrong, with a tag that is right for it: GCM alone would accept.
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    header = sealed()[:84] + bytes(32)
    forged = header + AESGCM(bytes.fromhex(K_ENC)).encrypt(bytes(12), PLAINTEXT, header + EMPTY_CONTEXT)
    with pytest.raises(BlobError):
        open_message(kdf, forged, EMPTY_CONTEXT)


def test_another_material_is_refused():
    with pytest.raises(BlobError):
        open_message(lambda m: hmac.digest(bytes(64), m, "sha512"), sealed(), encode_context(CONTEXT))


@pytest.mark.parametrize("order", list(itertools.permutations(["a", "b", "ab"])))
def test_the_order_of_a_context_does_not_matter(order):
    pairs = {"a": "1", "b": "2", "ab": "3"}
    blob = sealed(context=pairs)
    assert open_message(kdf, blob, encode_context({key: pairs[key] for key in order})) == PLAINTEXT


@pytest.mark.parametrize(
    "other",
    [
        {},
        None,
        {"purpose": "test"},
        {**CONTEXT, "more": "x"},
        {"Purpose": "test", "app": "keystead"},
        {"purpose": "Test", "app": "keystead"},
        {"purpose": "keystead", "app": "test"},
    ],
)
def test_another_context_is_refused(other):
    with pytest.raises(BlobError):
        open_message(kdf, sealed(), encode_context(other))


@given(st.binary(min_size=1, max_size=MAX_LENGTH - OVERHEAD), st.binary(min_size=32, max_size=32))
def test_what_was_sealed_opens(plaintext, nonce):
    blob = seal_message(kdf, IDS, nonce, plaintext, EMPTY_CONTEXT)
    assert len(blob) == len(plaintext) + OVERHEAD
    assert open_message(kdf, blob, EMPTY_CONTEXT) == plaintext


@given(st.binary(max_size=400))
def test_random_bytes_are_refused(data):
    with pytest.raises(BlobError):
        open_message(kdf, data, EMPTY_CONTEXT)


@given(st.binary(max_size=200))
def test_random_bytes_behind_the_magic_are_refused(data):
    with pytest.raises(BlobError):
        open_message(kdf, b"KS\x01\x01" + data, EMPTY_CONTEXT)


@pytest.mark.parametrize(("ids", "nonce", "plaintext"), [(IDS[:-1], N, b"x"), (IDS, N[:-1], b"x"), (IDS, N, b"")])
def test_misuse_by_our_own_code_is_a_value_error(ids, nonce, plaintext):
    with pytest.raises(ValueError, match=r"bytes|plaintext"):
        seal_message(kdf, ids, nonce, plaintext, EMPTY_CONTEXT)


def test_a_software_key_opens_under_its_own_ids_only():
    blob = seal_software_key(kdf, IDS, N, b"pkcs8")
    assert open_software_key(kdf, blob, IDS) == b"pkcs8"
    with pytest.raises(BlobError):
        open_software_key(kdf, blob, IDS[:-1] + b"\0")


def test_a_software_key_is_no_message_and_the_reverse():
    with pytest.raises(BlobError):
        open_message(kdf, seal_software_key(kdf, IDS, N, b"pkcs8"), EMPTY_CONTEXT)
    with pytest.raises(BlobError):
        open_software_key(kdf, seal_message(kdf, IDS, N, b"x", EMPTY_CONTEXT), IDS)
