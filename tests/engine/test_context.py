"""Encryption contexts: one byte form, no two contexts with the same one."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keystead.engine.context import EMPTY_CONTEXT, encode_context
from keystead.errors import ValidationError

texts = st.text(st.characters(exclude_categories=("Cs",)), max_size=20)
contexts = st.dictionaries(texts, texts, max_size=6)


@given(contexts, contexts)
def test_two_contexts_have_the_same_bytes_only_if_they_are_equal(one, other):
    assert (encode_context(one) == encode_context(other)) == (one == other)


@given(contexts)
def test_the_order_of_members_does_not_matter(context):
    assert encode_context(dict(reversed(context.items()))) == encode_context(context)


def test_none_and_empty_are_the_same():
    assert encode_context(None) == encode_context({}) == EMPTY_CONTEXT == b"\0\0"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"ab": "c"}, {"a": "bc"}),
        ({"a": "b", "c": "d"}, {"a": "bc", "": "d"}),
        ({unicodedata.normalize("NFC", "é"): "x"}, {unicodedata.normalize("NFD", "é"): "x"}),
        ({"A": "x"}, {"a": "x"}),
        ({"": ""}, {}),
    ],
)
def test_twins_are_different(one, other):
    assert encode_context(one) != encode_context(other)


def test_keys_are_sorted_by_their_bytes_not_by_code_units():
    # U+FF5E sorts after U+1F511 in UTF-16, before it in UTF-8.
    encoded = encode_context({"\U0001f511": "1", "～": "2"})
    assert encoded.index("～".encode()) < encoded.index("\U0001f511".encode())


@pytest.mark.parametrize("context", [{"\ud800": "x"}, {"x": "a\udfff"}])
def test_a_lone_surrogate_is_refused(context):
    with pytest.raises(ValidationError):
        encode_context(context)


def test_8_kib_is_the_limit():
    encode_context({"k" * 4096: "v" * 4096})
    with pytest.raises(ValidationError):
        encode_context({"k" * 4096: "v" * 4097})


def test_the_limit_counts_bytes_not_characters():
    with pytest.raises(ValidationError):
        encode_context({"é" * 2049: "é" * 2048})
