"""Markdown of the generated reference pages: a head, tables, cells that cannot break a table."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

HEADER: Final = "<!-- Generated from operator/keystead/resources by `make reference`: do not edit. -->"


def page(title: str, *parts: str) -> str:
    """A whole page, headed as generated."""
    return "\n\n".join((HEADER, f"# {title}", *parts)) + "\n"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table. `|` and line ends in a cell are made harmless."""
    lines = [_line(head), "|" + "---|" * len(head), *(_line(row) for row in rows)]
    return "\n".join(lines)


def code(text: str) -> str:
    """A code span; the empty text stays empty. Two backticks where the text has one."""
    if "`" in text:
        return f"`` {text} ``"
    return f"`{text}`" if text else ""


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(" ".join(cell.split()).replace("|", "\\|") for cell in cells) + " |"
