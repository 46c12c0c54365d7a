"""Records of version 1 stay what they are: trails are kept for years, and what reads them must find the same members."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.audit.golden import CHAIN, FOLDER, FOLDER_2, golden, golden_2
from tests.audit.sinks import kinds, read_chain
from tests.builders import ACCOUNT

from keystead.audit.lines import Chain, file_name
from keystead.audit.reading.records import Query, records_in

_PLACE = b',"chain":{"id":'
# What was mended in the same version, and what it was: a refusal's code is CloudTrail's now.
_MENDED = ((b'"errorCode":"AccessDeniedException"', b'"errorCode":"AccessDenied"'),)


def _records(lines: bytes) -> list[bytes]:
    """Lines without their places in the chain."""
    return [line.rpartition(_PLACE)[0] + b"}" for line in lines.splitlines()]


def test_todays_records_are_those_of_the_golden_file() -> None:
    kept = _records((FOLDER / file_name(CHAIN, 0)).read_bytes())
    for was, now in _MENDED:
        assert sum(was in record for record in kept) == 2
        kept = [record.replace(was, now) for record in kept]
    assert _records(golden()) == kept


def test_todays_records_of_deeds_are_those_of_the_second_golden_file() -> None:
    assert golden_2() == (FOLDER_2 / file_name(CHAIN, 0)).read_bytes()


@pytest.mark.parametrize("folder", [FOLDER, FOLDER_2], ids=lambda folder: folder.name)
def test_the_golden_files_records_are_chained_today_as_they_were(folder: Path) -> None:
    kept, chain = (folder / file_name(CHAIN, 0)).read_bytes(), Chain(CHAIN)
    assert b"".join(map(chain.link, _records(kept))) == kept


def test_refusals_are_found_by_either_code() -> None:
    refused = [record.error_code for record, _ in records_in([FOLDER], Query(denied=True))]
    assert refused == ["AccessDeniedException"] * 2


def test_deeds_and_refusals_of_the_second_golden_file_are_found_by_who_asked() -> None:
    found = [(record.event_name, record.recipient_account_id) for record, _ in records_in([FOLDER_2], Query(denied=True))]
    assert found == [("IssueDataKey", ACCOUNT)]
    read = [record.event_name for record, _ in records_in([FOLDER_2], Query(principals=["app"]))]
    assert "ReadAuditRecords" in read


def test_the_golden_file_has_a_line_of_each_type() -> None:
    found = kinds(read_chain((FOLDER / file_name(CHAIN, 0)).read_bytes()))
    assert set(found) == {"start", "call", "service", "checkpoint", "removed", "gap", "end"}
    assert found.count("call") == 9  # one of them in two accounts
