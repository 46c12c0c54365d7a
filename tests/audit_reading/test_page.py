"""docs/audit.md says what the commands say: each is run on the trail that the page speaks of, and the example record is made anew."""

from __future__ import annotations

import json

from tests.audit_reading.page import BLOCK, EXAMPLE, PAGE, example, written


def test_the_page_shows_what_commands_and_records_are() -> None:
    """If not: python -m tests.audit_reading.page."""
    text = PAGE.read_text(encoding="utf-8")
    assert len(BLOCK.findall(text)) >= 5
    assert written(text) == text


def test_the_example_record_is_one_that_the_server_writes() -> None:
    found = EXAMPLE.search(PAGE.read_text(encoding="utf-8"))
    assert found
    assert json.loads(found[0].strip("`").removeprefix("json")) == example()
