"""Patterns: what they match, against fnmatch, and in how many steps."""

from __future__ import annotations

import fnmatch
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keystead.policy.wildcards import literal, matcher


@pytest.mark.parametrize(
    ("pattern", "text", "matches"),
    [
        ("", "", True),
        ("", "a", False),
        ("*", "", True),
        ("**", "abc", True),
        ("?", "", False),
        ("?", "a", True),
        ("a?c", "abc", True),
        ("a?c", "ac", False),
        ("*?", "", False),
        ("a*a", "a", False),
        ("a*a", "aa", True),
        ("ab*bc", "abc", False),
        ("*ab*ab", "ab", False),
        ("*a?b*", "xaabby", True),
        ("*?a?*", "a", False),
        ("[a-z]", "b", False),
        ("a.c", "abc", False),
        ("a\\*", "a\\b", True),
        ("\u00e9*", "\u00e9\u00ff", True),
    ],
)
def test_stars_are_any_text_and_question_marks_one_character(pattern, text, matches):
    assert matcher(pattern)(text) is matches


def as_regex(pattern: str, text: str) -> bool:
    # fnmatch knows sets in brackets, which patterns here do not.
    return re.match(fnmatch.translate(pattern.replace("[", "[[]")), text) is not None


@given(st.text("ab*?[", max_size=12), st.text("ab[", max_size=14))
def test_matches_as_fnmatch_does(pattern, text):
    assert matcher(pattern)(text) == as_regex(pattern, text)


@pytest.mark.parametrize(("pattern", "text"), [("${*}", "*"), ("a${?}*", "a?b"), ("${$}{x}", "${x}")])
def test_escapes_are_characters(pattern, text):
    assert matcher(pattern, escapes=True)(text)
    assert not matcher(pattern, escapes=True)("zz")
    assert literal(pattern.rstrip("*")) == text.rstrip("b")


def test_without_variables_an_escape_is_what_it_looks_like():
    assert matcher("${*}")("${anything}")


@pytest.mark.parametrize(
    "pattern",
    [
        "*a" * 4000 + "b",
        "a*" * 4000 + "b",
        "*" * 16_000,
        "*" + "a" * 4000 + "b*",
        "*" + "a?" * 2000 + "b*",
        "*a?*" * 1000 + "b",
    ],
)
def test_no_pattern_is_slow(pattern, steps_of):
    text, found = Text("a" * 8192), matcher(pattern)
    assert 0 < steps_of(lambda: found(text)) < 8 * (len(text) + len(pattern))
    assert text.looked < 2 * (len(text) + len(pattern))


class Text(str):
    """Counts the characters that are looked at in it: a search that begins again and again is quadratic, however few lines it has."""

    __slots__ = ("looked",)

    def __init__(self, _: str) -> None:
        self.looked = 0

    def find(self, sub, start=0, end=None):
        found = super().find(sub, start, end)
        self.looked += (len(self) if end is None else end) - start if found < 0 else found + len(sub) - start
        return found

    def startswith(self, prefix, start=0, end=None):
        self.looked += len(prefix)
        return super().startswith(prefix, start, end)

    def __getitem__(self, place):
        self.looked += 1
        return super().__getitem__(place)
