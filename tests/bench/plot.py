"""Plots as SVG text, without a library: lines, steps and bars are all that the page needs. Deterministic for the same numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from xml.sax.saxutils import escape

WIDTH, HEIGHT = 760, 340
LEFT, RIGHT, TOP, BOTTOM = 70, 20, 46, 52
BAR_LEFT = 230
COLOURS = ("#1f6feb", "#d1242f", "#1a7f37", "#9a6700", "#8250df")
Point = tuple[float, float]


@dataclass(frozen=True)
class Line:
    """One curve. `dashed`: a bound, or an ideal."""

    name: str
    points: Sequence[Point]
    dashed: bool = False


@dataclass(frozen=True)
class Plot:
    """A picture: its file's name, its words and its curves."""

    name: str
    title: str
    x: str
    y: str
    lines: Sequence[Line] = field(default_factory=tuple)

    def svg(self) -> str:
        """The whole file."""
        right = max((x for line in self.lines for x, _ in line.points), default=1.0) or 1.0
        top = max((y for line in self.lines for _, y in line.points), default=1.0) or 1.0
        x_ticks, y_ticks = ticks(right), ticks(top)
        across, up = max(right, x_ticks[-1]), max(top, y_ticks[-1])
        body = [*self._frame(x_ticks, y_ticks, across, up)]
        for number, line in enumerate(self.lines):
            body += self._curve(number, line, across, up)
        head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="12">'
        return "\n".join([head, f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>', *body, "</svg>", ""])

    def _frame(self, x_ticks: list[float], y_ticks: list[float], across: float, up: float) -> list[str]:
        out = [_text(LEFT, 18, self.title, size=14)]
        for value in y_ticks:
            y = _y(value, up)
            out.append(f'<line x1="{LEFT}" y1="{y:.1f}" x2="{WIDTH - RIGHT}" y2="{y:.1f}" stroke="#d0d7de"/>')
            out.append(_text(LEFT - 8, y + 4, label(value), anchor="end"))
        for value in x_ticks:
            out.append(_text(_x(value, across), HEIGHT - BOTTOM + 18, label(value), anchor="middle"))
        out.append(_text(WIDTH / 2, HEIGHT - 8, self.x, anchor="middle"))
        out.append(
            f'<text transform="translate(16 {HEIGHT / 2:.0f}) rotate(-90)" text-anchor="middle">{escape(self.y)}</text>'
        )
        return out

    def _curve(self, number: int, line: Line, across: float, up: float) -> list[str]:
        colour = COLOURS[number % len(COLOURS)]
        points = " ".join(f"{_x(x, across):.1f},{_y(y, up):.1f}" for x, y in thinned(line.points))
        dash = ' stroke-dasharray="6 4"' if line.dashed else ""
        at = LEFT + number * (WIDTH - LEFT - RIGHT) / max(len(self.lines), 1)
        return [
            f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2"{dash}/>',
            f'<line x1="{at:.0f}" y1="34" x2="{at + 18:.0f}" y2="34" stroke="{colour}" stroke-width="3"{dash}/>',
            _text(at + 24, 38, line.name),
        ]


def _text(x: float, y: float, text: str, anchor: str = "start", size: int = 12) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}">{escape(text)}</text>'


def _x(value: float, across: float) -> float:
    return LEFT + (WIDTH - LEFT - RIGHT) * value / across


def _y(value: float, up: float) -> float:
    return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * value / up


def ticks(top: float, about: int = 5) -> list[float]:
    """Round numbers from 0 to at least `top`."""
    rough = top / about
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough * 0.999)
    return [step * count for count in range(math.ceil(top / step * 0.999) + 1)]


def label(value: float) -> str:
    """A tick's text."""
    return f"{value:,.0f}" if value == int(value) else f"{value:.3g}"


def thinned(points: Sequence[Point], most: int = 400) -> list[Point]:
    """At most so many points, evenly; the last one stays."""
    if len(points) <= most:
        return list(points)
    step = len(points) / most
    return [*(points[int(number * step)] for number in range(most)), points[-1]]


def cumulative(moments: Sequence[float], start: float = 0.0) -> list[Point]:
    """(seconds since start, how many so far)."""
    return [(0.0, 0.0), *((moment - start, float(count)) for count, moment in enumerate(sorted(moments), 1))]


def shares(values: Sequence[float]) -> list[Point]:
    """(value, percent of the values that are at most as large)."""
    ordered = sorted(values)
    return [(0.0, 0.0), *((value, 100.0 * count / len(ordered)) for count, value in enumerate(ordered, 1))]


@dataclass(frozen=True)
class Bars:
    """Horizontal bars, one a row, in the order given. `rows`: what it is, and how much; `marks`: a second, paler bar of some rows."""

    name: str
    title: str
    unit: str
    rows: Sequence[tuple[str, float]]
    marks: Sequence[tuple[str, float]] = field(default_factory=tuple)

    def svg(self) -> str:
        """The whole file."""
        height = TOP + 26 * len(self.rows) + BOTTOM
        paler = dict(self.marks)
        ends = ticks(max([value for _, value in (*self.rows, *self.marks)], default=1.0) or 1.0)
        body = [_text(20, 18, self.title, size=14)]
        for value in ends:
            x = _bar(value, ends[-1])
            body.append(f'<line x1="{x:.1f}" y1="{TOP - 12}" x2="{x:.1f}" y2="{height - BOTTOM}" stroke="#d0d7de"/>')
            body.append(_text(x, height - BOTTOM + 18, label(value), anchor="middle"))
        body.append(_text(WIDTH / 2, height - 8, self.unit, anchor="middle"))
        for number, (word, value) in enumerate(self.rows):
            y = TOP + 26 * number
            body.append(_text(BAR_LEFT - 8, y + 9, word, anchor="end"))
            for colour, size, tall in (("#a5c8f7", paler.get(word, 0.0), 18), (COLOURS[0], value, 10)):
                wide = _bar(size, ends[-1]) - BAR_LEFT
                body.append(
                    f'<rect x="{BAR_LEFT}" y="{y + 5 - tall / 2:.1f}" width="{wide:.1f}" height="{tall}" fill="{colour}"/>'
                )
            body.append(
                _text(
                    _bar(max(value, paler.get(word, 0.0)), ends[-1]) + 6,
                    y + 9,
                    f"{value:,.0f}" if value >= 100 else f"{value:.1f}",
                )
            )
        head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" font-family="sans-serif" font-size="12">'
        return "\n".join([head, f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>', *body, "</svg>", ""])


def _bar(value: float, across: float) -> float:
    return BAR_LEFT + (WIDTH - RIGHT - 60 - BAR_LEFT) * value / across
