"""Puts what was measured into docs/performance.md: each part of the page has a marker, its table, its plots, its notes."""

from __future__ import annotations

import re
from pathlib import Path

from tests.bench.rows import Part, render

_MARK = re.compile(r"^<!-- measured by make .* -->$", re.MULTILINE)


def marker(target: str) -> str:
    """The line under which a make target's figures stand."""
    return f"<!-- measured by make {target} -->"


def replaced(page: str, target: str, body: str) -> str:
    """The page with another body under a target's marker, up to the next marker. A marker that is missing is appended."""
    mark = marker(target)
    if mark not in page:
        return f"{page.rstrip()}\n\n{mark}\n\n{body.strip()}\n"
    head, rest = page.split(mark, 1)
    following = _MARK.search(rest)
    tail = "" if following is None else f"\n{_heading_kept(rest, following.start())}"
    return f"{head}{mark}\n\n{body.strip()}\n{tail}"


def _heading_kept(rest: str, mark_at: int) -> str:
    """What stands before the next marker belongs to it from its heading on."""
    heading = rest.rfind("\n## ", 0, mark_at)
    return rest[mark_at if heading < 0 else heading + 1 :]


def text(part: Part, machine: str, folder: str) -> str:
    """Markdown of a part; its plots lie in `folder` beside the page."""
    pictures = [f"![{plot.title}]({folder}/{plot.name}.svg)" for plot in part.plots]
    return "\n\n".join([f"Measured on {machine}.", render(part.rows), *pictures, *([part.notes] if part.notes else [])])


def publish(file: Path, target: str, part: Part, machine: str) -> None:
    """Write the plots and the page."""
    folder = file.parent / file.stem
    folder.mkdir(exist_ok=True)
    for plot in part.plots:
        (folder / f"{plot.name}.svg").write_text(plot.svg(), encoding="utf-8")
    file.write_text(replaced(file.read_text(), target, text(part, machine, folder.name)))
