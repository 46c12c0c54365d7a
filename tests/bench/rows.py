"""One measured figure with its bound, and the table."""

from __future__ import annotations

from dataclasses import dataclass, field

from tests.bench.plot import Bars, Plot


@dataclass(frozen=True)
class Row:
    """`ok`: whether the bound holds; None where the figure has none."""

    name: str
    figure: str
    bound: str = ""
    ok: bool | None = None


@dataclass(frozen=True)
class Part:
    """What one part of the benchmark gives to the page. `notes`: Markdown that stands below the table."""

    rows: list[Row]
    plots: list[Plot | Bars] = field(default_factory=list)
    notes: str = ""


def render(rows: list[Row]) -> str:
    """A Markdown table."""
    lines = ["| what | measured | bound | holds |", "|---|---|---|---|"]
    for row in rows:
        holds = "" if row.ok is None else ("yes" if row.ok else "**no**")
        lines.append(f"| {row.name} | {row.figure} | {row.bound} | {holds} |")
    return "\n".join(lines)


def percentile(values: list[float], share: float) -> float:
    """The value below which this share of the values lies."""
    ordered = sorted(values)
    return ordered[min(int(len(ordered) * share), len(ordered) - 1)]
