"""Calls per day as a picture: SVG text without a library, and bars of letters for a terminal. Pure; the same numbers give the same text."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final
from xml.sax.saxutils import escape

WIDTH: Final = 760
HEIGHT: Final = 340
_LEFT, _RIGHT, _TOP, _BOTTOM = 70, 20, 46, 52
_ALLOWED, _DENIED, _GRID = "#1f6feb", "#d1242f", "#d0d7de"
_MOST_LABELS: Final = 10
_SIGNS: Final = 50
Day = Mapping[str, Any]


def svg(days: Sequence[Day]) -> str:
    """A bar a day, the denied calls in red on top. `days`: {day, calls, denied}."""
    top = _round_up(max((day["calls"] for day in days), default=0))
    wide = (WIDTH - _LEFT - _RIGHT) / max(len(days), 1)
    body = [f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>', _text(_LEFT, 18, "Calls per day", "start", 14)]
    for step in range(5):
        value = top * step / 4
        y = _y(value, top)
        body.append(f'<line x1="{_LEFT}" y1="{y:.1f}" x2="{WIDTH - _RIGHT}" y2="{y:.1f}" stroke="{_GRID}"/>')
        body.append(_text(_LEFT - 8, y + 4, f"{value:,.0f}" if top >= 4 else f"{value:g}", "end"))
    every = math.ceil(len(days) / _MOST_LABELS) or 1
    for number, day in enumerate(days):
        x, allowed = _LEFT + number * wide, day["calls"] - day["denied"]
        body.append(_bar(x, wide, 0, allowed, top, _ALLOWED, f"{day['day']}: {allowed:,} allowed"))
        if day["denied"]:
            body.append(_bar(x, wide, allowed, day["denied"], top, _DENIED, f"{day['day']}: {day['denied']:,} denied"))
        if number % every == 0:
            body.append(_text(x + wide / 2, HEIGHT - _BOTTOM + 18, day["day"], "middle"))
    for at, colour, word in ((_LEFT, _ALLOWED, "allowed"), (_LEFT + 110, _DENIED, "denied")):
        body.append(f'<rect x="{at}" y="29" width="18" height="8" fill="{colour}"/>')
        body.append(_text(at + 24, 38, word, "start"))
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="12">'
    return "\n".join([head, *body, "</svg>", ""])


def bars(days: Sequence[Day]) -> list[str]:
    """A line a day."""
    top = max((day["calls"] for day in days), default=0) or 1
    lines = []
    for day in days:
        filled = "#" * math.ceil(_SIGNS * day["calls"] / top)
        denied = f" ({day['denied']:,} denied)" if day["denied"] else ""
        lines.append(f"{day['day']}  {filled:<{_SIGNS}}  {day['calls']:,}{denied}")
    return lines


def _bar(x: float, wide: float, start: float, size: float, top: float, colour: str, title: str) -> str:
    y, end = _y(start + size, top), _y(start, top)
    return (
        f'<rect x="{x + wide * 0.1:.1f}" y="{y:.1f}" width="{wide * 0.8:.1f}" height="{end - y:.1f}" fill="{colour}">'
        f"<title>{escape(title)}</title></rect>"
    )


def _y(value: float, top: float) -> float:
    return HEIGHT - _BOTTOM - (HEIGHT - _TOP - _BOTTOM) * value / top


def _round_up(value: float) -> float:
    """To 1, 2, 4 or 8 times a power of ten."""
    if value <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(value))
    return next(power * factor for factor in (1, 2, 4, 8, 10) if power * factor >= value)


def _text(x: float, y: float, text: str, anchor: str, size: int = 12) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}">{escape(text)}</text>'
