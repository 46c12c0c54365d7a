"""Records of version 1 stay what they are: trails are kept for years, and what reads them must find the same members."""

from __future__ import annotations

from tests.audit.golden import CHAIN, FOLDER, golden
from tests.audit.sinks import kinds, read_chain

from keystead.audit.lines import file_name


def test_todays_records_are_those_of_the_golden_file() -> None:
    assert golden().splitlines() == (FOLDER / file_name(CHAIN, 0)).read_bytes().splitlines()


def test_the_golden_file_has_a_line_of_each_type() -> None:
    found = kinds(read_chain((FOLDER / file_name(CHAIN, 0)).read_bytes()))
    assert set(found) == {"start", "call", "service", "checkpoint", "removed", "gap", "end"}
    assert found.count("call") == 9  # one of them in two accounts
