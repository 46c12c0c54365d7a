"""From record to material: lengths, ids and protections that do not fit are refused before a token sees them."""

from __future__ import annotations

import hashlib

import msgspec
import pytest
from msgspec import UNSET
from tests.builders import a_key

from keystead.engine.material import find_version, material_of, public_key, public_material_id, symmetric_material_id
from keystead.engine.record import Wrap
from keystead.errors import RecordIntegrityError
from keystead.resources.vocabulary import KeySpec, KeyState, Protection

replace = msgspec.structs.replace


def refused(record, **changes) -> None:
    with pytest.raises(RecordIntegrityError):
        material_of(record, replace(record.current_version, **changes))


@pytest.mark.parametrize("spec", list(KeySpec))
def test_every_spec_gives_its_material(hsm, spec):
    record = a_key(hsm, spec)
    material = material_of(record, record.current_version)
    assert material.ids == material.key_id + material.material_id
    assert (len(material.key_id), len(material.material_id)) == (16, 32)
    assert material.protection is hsm.protection(spec)


@pytest.mark.parametrize("wrapped", [b"", b"\0" * 8, b"\0" * 64, b"\0" * 80])
def test_wrapped_material_of_another_length_is_refused(hsm, wrapped):
    refused(a_key(hsm), wrapped=wrapped)


def test_a_plain_length_that_is_not_the_specs_is_refused(hsm):
    refused(a_key(hsm), plain_len=32)


def test_software_material_has_the_length_of_suite_1(hsm):
    record = a_key(hsm, KeySpec.ECC_NIST_EDWARDS25519)
    refused(record, wrapped=record.current_version.wrapped + b"\0")
    refused(record, plain_len=record.current_version.plain_len - 1)


def test_wrap_and_protection_go_together(hsm):
    refused(a_key(hsm), protection=Protection.SOFTWARE)
    refused(a_key(hsm), wrap=Wrap.SUITE1)
    refused(a_key(hsm, KeySpec.ECC_NIST_EDWARDS25519), protection=Protection.TOKEN)


def test_a_tombstone_has_no_material(hsm):
    record = a_key(hsm, state=KeyState.DESTROYED)
    with pytest.raises(RecordIntegrityError):
        material_of(record, record.current_version)


def test_versions_are_found_by_material_id(hsm):
    record = a_key(hsm, n_versions=3)
    for version in record.versions:
        assert find_version(record, bytes.fromhex(version.material_id)) == version
    assert find_version(record, bytes(32)) is None


def test_a_public_key_that_its_id_does_not_name_is_refused(hsm):
    record = a_key(hsm, KeySpec.ECC_NIST_P256)
    other = a_key(hsm, KeySpec.ECC_NIST_P256, n=2)
    assert public_key(record) == record.current_version.spki
    swapped = replace(record.current_version, spki=other.current_version.spki)
    with pytest.raises(RecordIntegrityError):
        public_key(replace(record, versions=[swapped]))
    with pytest.raises(RecordIntegrityError):
        public_key(replace(record, versions=[replace(record.current_version, spki=UNSET)]))


def test_a_secret_has_no_public_key(hsm):
    with pytest.raises(RecordIntegrityError):
        public_key(a_key(hsm))


def test_material_id_rules():
    written = hashlib.sha256(b"keystead/v1/material-id\0" + b"k" * 16 + b"spki").digest()
    assert public_material_id(b"k" * 16, b"spki") == written
    assert symmetric_material_id(lambda m: m.ljust(64), b"k" * 16) == b"\0\0\0\1keystead/v1/material-id\0kkkk"
