"""The KDF against an independent oracle, and the labels that keep the uses of one key apart."""

from __future__ import annotations

import hmac
import itertools

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.kbkdf import KBKDFHMAC, CounterLocation, Mode
from hypothesis import given
from hypothesis import strategies as st

from keystead.engine.kdf import (
    LABEL_MATERIAL_ID,
    LABEL_MESSAGE,
    LABEL_SOFTWARE_KEY,
    SUITE_1,
    material_id_input,
    message_input,
    software_input,
)
from keystead.engine.labels import Label, domain_mac, label_bytes

MATERIAL = bytes(range(64))
bytes16 = st.binary(min_size=16, max_size=16)
bytes32 = st.binary(min_size=32, max_size=32)


def oracle(label: bytes, context: bytes, material: bytes = MATERIAL) -> bytes:
    kdf = KBKDFHMAC(
        algorithm=hashes.SHA512(),
        mode=Mode.CounterMode,
        length=64,
        rlen=4,
        llen=4,
        location=CounterLocation.BeforeFixed,
        label=label,
        context=context,
        fixed=None,
    )
    return kdf.derive(material)


def ours(message: bytes, material: bytes = MATERIAL) -> bytes:
    return hmac.digest(material, message, "sha512")


@given(bytes16, bytes32, bytes32)
def test_message_keys_are_those_of_kbkdf(key_id, material_id, nonce):
    ids = key_id + material_id
    assert ours(message_input(ids, nonce)) == oracle(LABEL_MESSAGE, SUITE_1 + ids + nonce)


@given(bytes16)
def test_material_ids_are_those_of_kbkdf(key_id):
    assert ours(material_id_input(key_id)) == oracle(LABEL_MATERIAL_ID, key_id)


@given(bytes16, bytes32, bytes32)
def test_software_keys_are_those_of_kbkdf(key_id, material_id, nonce):
    ids = key_id + material_id
    assert ours(software_input(ids, nonce)) == oracle(LABEL_SOFTWARE_KEY, SUITE_1 + ids + nonce)


def test_imported_32_bytes_padded_with_zeros_are_the_same_key():
    message = message_input(bytes(48), bytes(32))
    assert ours(message, bytes(range(32)) + bytes(32)) == ours(message, bytes(range(32)))


def test_inputs_have_the_lengths_of_the_format_page():
    assert len(message_input(bytes(48), bytes(32))) == 109
    assert len(software_input(bytes(48), bytes(32))) == 114


def test_no_label_is_a_prefix_of_another():
    labels = [label_bytes(label) for label in Label] + [LABEL_MESSAGE + b"\0", LABEL_MATERIAL_ID + b"\0"]
    for one, other in itertools.permutations(labels, 2):
        assert not other.startswith(one)


def test_no_input_of_one_use_begins_like_an_input_of_another():
    # KDF inputs begin with 00000001, inputs under DM with "keystead": no overlap whatever follows.
    ids, nonce = bytes(48), bytes(32)
    kdf_inputs = [message_input(ids, nonce), software_input(ids, nonce), material_id_input(ids[:16])]
    assert all(text.startswith(b"\0\0\0\1keystead/v1/") for text in kdf_inputs)
    assert all(label_bytes(label).startswith(b"keystead/v1/") for label in Label)
    assert len({text[4:].split(b"\0")[0] for text in kdf_inputs}) == 3


def test_parts_of_a_domain_mac_cannot_be_shifted():
    assert domain_mac(ours, Label.JOURNAL, b"ab", b"c") != domain_mac(ours, Label.JOURNAL, b"a", b"bc")


def test_every_label_gives_another_mac():
    free = [label for label in Label if label not in (Label.RECORD_SEAL, Label.SOFTWARE_KEY)]
    assert len({domain_mac(ours, label, b"x") for label in free}) == len(free)


@pytest.mark.parametrize("label", [Label.RECORD_SEAL, Label.SOFTWARE_KEY])
def test_labels_with_their_own_layout_are_refused(label):
    with pytest.raises(ValueError, match="layout of its own"):
        domain_mac(ours, label, b"x")
