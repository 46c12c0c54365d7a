"""What a tenant is told of a line, whatever stands in it: who can write to the folder must not be able to break the route."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tests.audit_reading.chains import ACCOUNT, KEY_ID, a_call, a_chain, arn_of

from keystead.audit.reading.files import MAX_LINE
from keystead.audit.reading.lines import LineError
from keystead.audit.reading.tenant import TenantRecords, told_of
from keystead.errors import InvalidMarkerError

ARN = arn_of(KEY_ID)
ALL = ("", "~")


def told(record: dict[str, Any]) -> bytes | None:
    return told_of(json.dumps(record).encode(), ARN, ACCOUNT, *ALL)


@pytest.mark.parametrize(
    "changes",
    [
        {"eventTime": 7}, {"eventTime": None}, {"eventTime": ["2026"]}, {"resources": None}, {"resources": 7}, {"resources": {"ARN": ARN}},
        {"resources": ["x"]}, {"resources": [{"ARN": [ARN]}]}, {"recipientAccountId": [ACCOUNT]}, {"keysteadType": {}},
    ],
)  # fmt: skip
def test_a_record_with_members_of_another_kind_is_nobodys(changes: dict[str, Any]) -> None:
    assert told(a_call()) is not None
    assert told(a_call() | changes) is None


@pytest.mark.parametrize("line", [b"", b"7", b"[]", b"\xff", b'{"a":' + b"[" * 5000 + b"]" * 5000 + b"}"])
def test_a_line_that_is_no_record_is_nobodys(line: bytes) -> None:
    with pytest.raises(LineError):
        told_of(line, ARN, ACCOUNT, *ALL)


def test_a_place_that_is_nested_without_end_is_none(tmp_path: Path) -> None:
    with pytest.raises(InvalidMarkerError):
        TenantRecords(tmp_path).page(ARN, ACCOUNT, None, 10, b"[" * 5000)


@pytest.mark.parametrize("bad", [b"[" * 5000 + KEY_ID.encode(), b"x" * (3 * MAX_LINE)])
def test_behind_a_bad_line_the_records_go_on_page_by_page(tmp_path: Path, bad: bytes) -> None:
    (path,) = a_chain(calls=6).write(tmp_path)
    lines = path.read_bytes().split(b"\n")
    path.write_bytes(b"\n".join([*lines[:3], bad, *lines[3:]]))
    found, place, damaged = [], None, False
    for _ in range(20):
        page = TenantRecords(tmp_path).page(ARN, ACCOUNT, None, 1, place)
        found += [json.loads(record)["eventID"] for record in page.records]
        place, damaged = page.place, damaged or page.damaged
        if place is None:
            break
    assert found == [f"event-{number}" for number in range(6)]
    assert damaged


BROKEN = a_chain(calls=2).lines[1].replace(b'"call"', b'"call":')


@pytest.mark.parametrize("bad", [b"garbage", b"", BROKEN])
def test_a_page_says_that_something_of_the_files_could_not_be_read(tmp_path: Path, bad: bytes) -> None:
    (path,) = a_chain(calls=6).write(tmp_path)
    trail = TenantRecords(tmp_path)
    assert not trail.page(ARN, ACCOUNT, None, 10, None).damaged
    path.write_bytes(path.read_bytes() + b'{"keysteadType":"call","event')  # it is being written
    assert not trail.page(ARN, ACCOUNT, None, 10, None).damaged
    lines = path.read_bytes().split(b"\n")
    lines[2] = bad
    path.write_bytes(b"\n".join(lines))
    page = trail.page(ARN, ACCOUNT, None, 10, None)
    assert (len(page.records), page.damaged) == (5, True)
