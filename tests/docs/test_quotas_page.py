"""docs/quotas.md says the classes, figures and bounds that the code has, and the schema of the chart knows the same classes."""

from __future__ import annotations

import json
import re
from pathlib import Path

from keystead.app.quota import read_limits
from keystead.engine.bounds import ALIASES_PER_KEY, GRANTS_PER_KEY, KEYS_PER_NAMESPACE
from keystead.server.quota import REGIONAL, TABLE

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs/quotas.md").read_text()


def test_the_table_of_classes_is_the_preset():
    told = re.findall(r"^\| `([^`]+)` \| (.+) \| ([\d,]+) \| (.+) \|$", PAGE, re.MULTILINE)
    assert told == [(name, row.name, f"{row.rate:,.0f}", ", ".join(row.operations)) for name, row in TABLE.items()]


def test_the_figures_of_regions_are_the_presets():
    rows = re.findall(r"^\| ([a-z0-9, -]+) \| `([^`]+)` \| ([\d,.]+) \|$", PAGE, re.MULTILINE)
    told = {(region, name): float(rate.replace(",", "")) for regions, name, rate in rows for region in regions.split(", ")}
    assert told == {(region, name): rate for region, rates in REGIONAL.items() for name, rate in rates.items()}


def test_the_example_of_a_file_is_one():
    (example,) = re.findall(r"```json\n(.*?)\n```", PAGE, re.DOTALL)
    assert read_limits(example, "the page").of("us-east-1")["CreateKey"] == 20


def test_the_bounds_are_those_of_the_code():
    rows = re.findall(r"^\| (keys in a namespace|aliases of a key|grants of a key)[^|]* \| ([\d,]+) \|", PAGE, re.MULTILINE)
    assert [int(bound.replace(",", "")) for _, bound in rows] == [KEYS_PER_NAMESPACE, ALIASES_PER_KEY, GRANTS_PER_KEY]


def test_the_charts_schema_knows_the_classes():
    schema = json.loads((ROOT / "charts/keystead/values.schema.json").read_text())
    limits = schema["properties"]["server"]["properties"]["quota"]["properties"]["limits"]
    assert limits["propertyNames"]["enum"] == list(TABLE)
