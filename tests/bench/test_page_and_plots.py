"""The page of the benchmark keeps its parts apart, and its plots are pictures that show every curve."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree

import pytest
from tests.bench.page import marker, publish, replaced
from tests.bench.plot import Bars, Line, Plot, cumulative, shares, thinned, ticks
from tests.bench.rows import Part, Row
from tests.docs.pages import ROOT

SVG = "{http://www.w3.org/2000/svg}"


def a_plot(**changes):
    lines = (Line("measured", ((0.0, 0.0), (3.0, 30.0))), Line("bound <1>", ((0.0, 20.0), (3.0, 20.0)), dashed=True))
    return Plot(**({"name": "burst", "title": "A burst", "x": "seconds", "y": "keys", "lines": lines} | changes))


def curves(text: str) -> list[list[tuple[float, float]]]:
    found = ElementTree.fromstring(text).findall(f"{SVG}polyline")
    return [[tuple(map(float, point.split(","))) for point in line.attrib["points"].split()] for line in found]


def test_a_plot_shows_each_curve_inside_of_its_frame():
    measured, bound = curves(a_plot().svg())
    assert len(measured) == len(bound) == 2
    assert all(0 <= x <= 760 and 0 <= y <= 340 for x, y in (*measured, *bound))
    assert measured[1][1] < measured[0][1], "more is higher"
    assert bound[0][1] == bound[1][1]


def test_the_words_of_a_plot_are_escaped_and_all_there():
    words = [text.text for text in ElementTree.fromstring(a_plot().svg()).findall(f"{SVG}text")]
    assert {"A burst", "seconds", "keys", "measured", "bound <1>"} <= set(words)


@pytest.mark.parametrize(
    ("top", "expected"), [(10, [0, 2, 4, 6, 8, 10]), (0.3, [0, 0.1, 0.2, 0.3]), (1003, [0, 500, 1000, 1500])]
)
def test_ticks_are_round_and_reach_the_top(top, expected):
    assert ticks(top) == pytest.approx(expected)


def test_many_points_are_thinned_and_the_last_one_stays():
    points = [(float(number), float(number)) for number in range(10_000)]
    kept = thinned(points)
    assert len(kept) <= 401
    assert kept[-1] == points[-1]


def test_a_cumulative_curve_counts_in_order_of_time():
    assert cumulative([2.0, 1.0]) == [(0.0, 0.0), (1.0, 1.0), (2.0, 2.0)]


def test_shares_end_at_a_hundred_percent():
    assert shares([3.0, 1.0])[-1] == (3.0, 100.0)


def test_bars_are_as_long_as_their_values_and_a_paler_one_lies_behind_its_own():
    picture = Bars("b", "Stages", "us", [("a", 10.0), ("b", 20.0)], [("b", 40.0)]).svg()
    wide = [float(rect.attrib["width"]) for rect in ElementTree.fromstring(picture).findall(f"{SVG}rect")[1:]]
    assert wide == pytest.approx([0, wide[1], wide[1] * 4, wide[1] * 2], abs=0.2)
    assert {"Stages", "us", "a", "b"} <= {text.text for text in ElementTree.fromstring(picture).findall(f"{SVG}text")}


def test_one_part_of_the_page_is_replaced_and_the_other_stays():
    page = f"# P\n\n{marker('bench')}\n\nold\n\n## Very many\n\nWords.\n\n{marker('bench-scale')}\n\nfigures\n"
    first = replaced(page, "bench", "new")
    assert first == page.replace("old", "new")
    assert replaced(first, "bench-scale", "others") == first.replace("figures", "others")


def test_a_missing_marker_is_appended():
    assert replaced("# P\n", "bench", "new") == f"# P\n\n{marker('bench')}\n\nnew\n"


def test_publishing_writes_the_plots_beside_the_page_and_links_them(tmp_path):
    page = tmp_path / "performance.md"
    page.write_text(f"# P\n\n{marker('bench')}\n")
    publish(page, "bench", Part([Row("a", "1", "< 2", True)], [a_plot()], "A note."), "two cores")
    text = page.read_text()
    assert "![A burst](performance/burst.svg)" in text
    assert text.rstrip().endswith("A note.")
    assert curves((tmp_path / "performance/burst.svg").read_text())


def test_each_make_target_of_the_benchmark_has_its_marker_on_the_page():
    page = (ROOT / "docs/performance.md").read_text()
    assert [target for target in ("bench", "bench-scale", "bench-server", "bench-server-long") if page.count(marker(target)) != 1] == []
