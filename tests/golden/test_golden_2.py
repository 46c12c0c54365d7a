"""What release 2 wrote opens for ever, with the backup and recovery key of release 1's domain: records of a whole life, and ciphertexts."""

from __future__ import annotations

import hashlib

import pytest
from msgspec import UNSET
from tests.golden.files import Golden
from tests.golden.port import RELEASE_1, RELEASE_2, restored

from keystead.engine.identifiers import key_id_bytes
from keystead.engine.plan.key_life import destroyed_at
from keystead.engine.record import AliasRecord, DataKeyRecord, GrantRecord, KeyRecord, encode
from keystead.resources.vocabulary import KeyState


@pytest.fixture(scope="module")
def golden() -> Golden:
    return Golden(RELEASE_2, restored(RELEASE_1))


def keys(golden: Golden) -> list[KeyRecord]:
    return [record for record in golden.records if isinstance(record, KeyRecord)]


def test_the_files_are_those_of_the_release() -> None:
    lines = (RELEASE_2 / "SHA256SUMS").read_text().splitlines()
    sums = {name: digest for digest, name in (line.split("  ") for line in lines)}
    assert set(sums) | {"SHA256SUMS"} == {path.name for path in RELEASE_2.iterdir()}
    for name, wanted in sums.items():
        assert hashlib.sha256((RELEASE_2 / name).read_bytes()).hexdigest() == wanted, name


def test_every_record_opens_and_would_be_written_alike(golden: Golden) -> None:
    assert [encode(record).decode() for record in golden.records] == [row["record"] for row in golden.rows("records")]


def test_every_blob_opens(golden: Golden) -> None:
    answers = golden.blobs()
    assert len(answers) == 6
    assert all(answers)


def test_every_part_of_a_life_is_there(golden: Golden) -> None:
    found = keys(golden)
    assert {record.state for record in found} >= {KeyState.ENABLED, KeyState.PENDING_DELETION, KeyState.DESTROYED}
    assert any(record.hold is not UNSET for record in found)
    assert len({record.namespace_uid for record in found}) == 2
    tombstones = [record for record in found if record.state is KeyState.DESTROYED]
    assert tombstones
    assert all(destroyed_at(record) for record in tombstones)
    kinds = {type(record) for record in golden.records}
    assert kinds >= {KeyRecord, AliasRecord, GrantRecord, DataKeyRecord}


def test_what_was_set_aside_lies_under_its_own_id(golden: Golden) -> None:
    names = {row["name"] for row in golden.rows("records")}
    aside = {name for name in names if name.startswith("orphan-")}
    ids = {f"orphan-{key_id_bytes(record.key_id).hex()}" for record in keys(golden)}
    assert aside
    assert aside <= ids
