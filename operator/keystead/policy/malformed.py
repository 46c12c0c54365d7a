"""How a key policy document is refused: the place in it, and what is wrong there. What a document says is shown cut and printable."""

from __future__ import annotations

from typing import Final

from keystead.errors import MalformedPolicyDocumentError

_SHOWN: Final = 100


def malformed(place: str, words: str) -> MalformedPolicyDocumentError:
    """`place`: like `Statement[2].Condition.StringLike`."""
    error = MalformedPolicyDocumentError(f"{place}: {words}" if place else words)
    error.place = place
    return error


def shown(text: str) -> str:
    """A text of the document, as a message may have it."""
    cut = text if len(text) <= _SHOWN else text[:_SHOWN] + "..."
    return cut.encode("ascii", "backslashreplace").decode() if cut.isprintable() else ascii(cut)[1:-1]
