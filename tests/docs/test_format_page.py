"""docs/reference/format.md: each member table lists exactly the members of its record type, each label table the labels."""

from __future__ import annotations

import re

import msgspec
import pytest
from msgspec import UNSET
from tests.docs.pages import ROOT, table_after
from tests.vectors.make_format_vectors import FILE

from keystead.engine import backup, blob, record
from keystead.engine.identifiers import RecordKind
from keystead.engine.labels import Label
from keystead.engine.record.common import RecordBase
from keystead.engine.record.datakey import DataKeyTarget

PAGE = (ROOT / "docs/reference/format.md").read_text()
TYPES: tuple[type[msgspec.Struct], ...] = (
    RecordBase,
    record.KeyRecord,
    record.Hold,
    record.Rotation,
    record.RotationWindow,
    record.KeyVersion,
    record.AliasRecord,
    record.GrantRecord,
    record.GrantConstraints,
    record.AccountRecord,
    record.DataKeyRecord,
    DataKeyTarget,
    record.DataKeyVersion,
    record.InstallRecord,
)
types = pytest.mark.parametrize("kind", TYPES, ids=lambda kind: kind.__name__)


def own_fields(kind: type[msgspec.Struct]) -> dict[str, msgspec.structs.FieldInfo]:
    """A type's members by their encoded name; those that every record has are in a table of their own."""
    fields = {field.encode_name: field for field in msgspec.structs.fields(kind)}
    shared = {field.encode_name for field in msgspec.structs.fields(RecordBase)} if kind is not RecordBase else set()
    return {name: field for name, field in fields.items() if not issubclass(kind, RecordBase) or name not in shared}


def table(kind: type[msgspec.Struct]) -> list[dict[str, str]]:
    return table_after(PAGE, f"<!-- members: {kind.__name__} -->")


def name_of(row: dict[str, str]) -> str:
    return row["member"].strip("`")


@types
def test_a_member_table_lists_exactly_the_members(kind):
    assert [name_of(row) for row in table(kind)] == list(own_fields(kind))


@types
def test_a_question_mark_stands_exactly_where_a_member_may_be_absent(kind):
    marked = {name_of(row) for row in table(kind) if row["type"].endswith("?")}
    assert marked == {name for name, field in own_fields(kind).items() if field.default is UNSET}


@types
def test_every_member_has_a_type_and_says_something(kind):
    for row in table(kind):
        assert row["type"]
        assert row["bounds"] or row["meaning"] or row["type"] in ("boolean", "time")


def test_every_table_has_a_type():
    assert set(re.findall(r"<!-- members: (\w+) -->", PAGE)) == {kind.__name__ for kind in TYPES}


def test_every_kind_has_a_section():
    for kind in RecordKind:
        assert f"\n### {kind.value}\n" in PAGE


def test_the_label_table_lists_every_label():
    listed = {row["label"].strip("`") for row in table_after(PAGE, "<!-- labels -->")}
    assert listed == {label.value for label in Label}


def test_the_vector_of_the_page_is_the_first_of_the_file():
    first = msgspec.json.decode(FILE.read_bytes())["blobs"][0]["blob"]
    assert first[-78:] in PAGE
    for part in (first[40:104], first[168:232], first[8:40]):
        assert part in PAGE


def test_sizes_of_the_page_are_those_of_the_code():
    assert (blob.HEADER_LENGTH, blob.OVERHEAD, blob.MAX_LENGTH, backup.BACKUP_LENGTH) == (116, 132, 6144, 201)
    for number in ("116", "132", "6,144", "6,012", "201", "169"):
        assert number in PAGE
