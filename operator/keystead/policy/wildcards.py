"""Patterns with `*` (any text) and `?` (one character), matched in linear time: there is no backtracking to be driven into.

A pattern is cut at its stars. The pieces are looked for from left to right, each as early as it can be (what a later place could match, an
earlier one leaves room for): `str.find` for a literal piece; for one with `?` a bit-parallel search (Baeza-Yates and Gonnet, 'A new
approach to text searching', 1992: one bit a pattern character, one step a text character). Used for actions, resources and conditions.

`${*}`, `${?}` and `${$}` are the three characters themselves, in documents of version 2012-10-17 (IAM, 'Policy variables'). Any other
variable is not of this module: the document is refused before.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

_STAR: Final = "*"
_ONE: Final = "?"
_ESCAPED: Final = {"${*}": "*", "${?}": "?", "${$}": "$"}
_ESCAPE: Final = 4


def matcher(pattern: str, *, escapes: bool = False) -> Callable[[str], bool]:
    """Whether a whole text is as the pattern says. `escapes`: `${*}` and its like are characters."""
    pieces = list(_pieces(pattern, escapes))
    if len(pieces) == 1:
        return _Exactly(pieces[0]).matches
    return _Pieces(pieces).matches


def literal(pattern: str) -> str:
    """The text of a pattern of version 2012-10-17 that stands for itself: its escapes resolved, its stars kept."""
    for escape, character in _ESCAPED.items():
        pattern = pattern.replace(escape, character)
    return pattern


class _Piece:
    """What stands between two stars: `size` characters, of which those in `runs` (offset, text) are fixed."""

    __slots__ = ("_masks", "runs", "size")

    def __init__(self, characters: list[str | None]) -> None:
        self.size = len(characters)
        self.runs = tuple(_runs(characters))
        self._masks: tuple[dict[str, int], int] | None = None
        if len(self.runs) > 1 or (self.runs and len(self.runs[0][1]) < self.size):
            self._masks = _masks_of(characters)

    def stands_at(self, text: str, start: int) -> bool:
        """Whether the text has the piece here."""
        if start + self.size > len(text):
            return False
        for offset, run in self.runs:  # noqa: SIM110 - mostly one or none: a generator would cost more
            if not text.startswith(run, start + offset):
                return False
        return True

    def end_of(self, text: str, start: int, stop: int) -> int:
        """Behind the first place of the piece between two positions; -1 where there is none."""
        if not self.runs:  # nothing but question marks
            return start + self.size if start + self.size <= stop else -1
        if self._masks is None:
            found = text.find(self.runs[0][1], start, stop)
            return found + self.size if found >= 0 else -1
        return self._search(self._masks, text, start, stop)

    def _search(self, masks: tuple[dict[str, int], int], text: str, start: int, stop: int) -> int:
        fixed, anything = masks
        last = 1 << (self.size - 1)
        state = 0
        for position in range(start, stop):
            state = (state << 1 | 1) & fixed.get(text[position], anything)
            if state & last:
                return position + 1
        return -1


class _Exactly:
    """A pattern without a star."""

    __slots__ = ("_piece",)

    def __init__(self, piece: _Piece) -> None:
        self._piece = piece

    def matches(self, text: str) -> bool:
        return len(text) == self._piece.size and self._piece.stands_at(text, 0)


class _Pieces:
    """A pattern with stars."""

    __slots__ = ("_first", "_last", "_middle", "_shortest")

    def __init__(self, pieces: list[_Piece]) -> None:
        self._first, self._last = pieces[0], pieces[-1]
        self._middle = tuple(piece for piece in pieces[1:-1] if piece.size)
        self._shortest = sum(piece.size for piece in pieces)

    def matches(self, text: str) -> bool:
        if len(text) < self._shortest or not self._first.stands_at(text, 0):
            return False
        stop = len(text) - self._last.size
        if self._last.size and not self._last.stands_at(text, stop):
            return False
        position = self._first.size
        for piece in self._middle:
            position = piece.end_of(text, position, stop)
            if position < 0:
                return False
        return True


def _pieces(pattern: str, escapes: bool) -> Iterator[_Piece]:
    characters: list[str | None] = []
    position = 0
    while position < len(pattern):
        character = pattern[position]
        escaped = _ESCAPED.get(pattern[position : position + _ESCAPE]) if escapes and character == "$" else None
        position += 1 if escaped is None else _ESCAPE
        if escaped is not None:
            characters.append(escaped)
        elif character == _STAR:
            yield _Piece(characters)
            characters = []
        else:
            characters.append(None if character == _ONE else character)
    yield _Piece(characters)


def _runs(characters: list[str | None]) -> Iterator[tuple[int, str]]:
    run: list[str] = []
    for position, character in enumerate([*characters, None]):
        if character is not None:
            run.append(character)
        elif run:
            yield position - len(run), "".join(run)
            run = []


def _masks_of(characters: list[str | None]) -> tuple[dict[str, int], int]:
    """For each character the positions that it may stand at, one bit each; and those that any other character may."""
    anything = sum(1 << position for position, character in enumerate(characters) if character is None)
    fixed: dict[str, int] = {}
    for position, character in enumerate(characters):
        if character is not None:
            fixed[character] = fixed.get(character, anything) | 1 << position
    return fixed, anything
