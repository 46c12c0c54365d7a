"""What release 1 wrote opens for ever: records, blobs, data keys, signatures, MACs, from its backup and recovery key alone.

A red test here means that a change breaks people's data. The files are never made again (make.py); example manifests are golden too.
"""

from __future__ import annotations

import hashlib

import pytest
import yaml
from tests.docs.pages import ROOT
from tests.golden.files import TYPES, Golden
from tests.golden.port import RELEASE_1, RELEASE_2, RELEASE_4, restored

from keystead.engine.keyspec import usages
from keystead.engine.record import KeyRecord, encode
from keystead.resources import PARSERS
from keystead.resources.vocabulary import KeySpec, KeyState

FOLDERS = (ROOT / "examples", ROOT / "examples/policies", RELEASE_1, RELEASE_2, RELEASE_4)
EXAMPLES = sorted(path for folder in FOLDERS for path in folder.glob("*.yaml"))


@pytest.fixture(scope="module")
def golden() -> Golden:
    return Golden(RELEASE_1, restored(RELEASE_1))


def all_true(answers: list[bool]) -> bool:
    return bool(answers) and all(answers)


def test_the_files_are_those_of_the_release():
    for line in (RELEASE_1 / "SHA256SUMS").read_text().splitlines():
        wanted, name = line.split("  ")
        assert hashlib.sha256((RELEASE_1 / name).read_bytes()).hexdigest() == wanted, name


def test_the_sums_name_every_file():
    named = {line.split("  ")[1] for line in (RELEASE_1 / "SHA256SUMS").read_text().splitlines()}
    assert named | {"SHA256SUMS"} == {path.name for path in RELEASE_1.iterdir()}


def test_every_record_opens_and_would_be_written_alike(golden):
    rows = golden.rows("records")
    assert [encode(record).decode() for record in golden.records] == [row["record"] for row in rows]
    assert {row["kind"] for row in rows} == set(TYPES)


def test_every_spec_and_usage_is_there(golden):
    found = {(record.spec, record.usage) for record in golden.living()}
    assert found == {(spec, usage) for spec in KeySpec for usage in usages(spec)}


def test_a_tombstone_and_an_orphan_are_there(golden):
    keys = [record for record in golden.records if isinstance(record, KeyRecord)]
    assert any(record.state is KeyState.DESTROYED for record in keys)
    assert any(not record.bound for record in keys)


def test_every_blob_opens(golden):
    assert all_true(golden.blobs())


def test_every_version_of_a_data_key_opens(golden):
    assert all_true(golden.data_keys())


def test_every_mac_verifies(golden):
    assert all_true(golden.macs())


def test_every_signature_verifies(golden):
    assert all_true(golden.signatures())


def test_every_private_key_still_signs(golden):
    assert all_true(golden.new_signatures())


def test_every_rsa_ciphertext_opens(golden):
    assert all_true(golden.rsa())


def test_every_agreement_gives_its_secret(golden):
    assert all_true(golden.agreements())


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_every_example_manifest_parses(path):
    documents = [document for document in yaml.safe_load_all(path.read_text()) if document]
    assert documents
    for document in documents:
        if document["apiVersion"].startswith("kms.keystead.io/"):
            PARSERS[document["kind"]](document)
