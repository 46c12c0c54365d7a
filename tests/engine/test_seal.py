"""Seals: a record that is not byte for byte what this domain wrote under this name is refused."""

from __future__ import annotations

import json

import msgspec
import pytest
from tests.builders import a_key
from tests.engine.records import KINDS, NAMES, a_record
from tests.hsm.fake import FakeHsm

from keystead.engine.freshness import Memory, Seen, check_against
from keystead.engine.identifiers import RecordKind
from keystead.engine.record import KeyRecord, SealedRecord, encode, open_sealed, seal_record
from keystead.engine.seal import MAX_RECORD, seal
from keystead.errors import RecordIntegrityError

kinds = pytest.mark.parametrize("kind", list(RecordKind))


def refused(hsm: FakeHsm, sealed: SealedRecord, kind: RecordKind) -> None:
    with pytest.raises(RecordIntegrityError):
        open_sealed(hsm, sealed, KINDS[kind])


def sealed_bytes(hsm: FakeHsm, name: str, data: bytes) -> SealedRecord:
    """Bytes sealed as they are: what a bug, not an attacker, could write."""
    return SealedRecord(name, data, seal(hsm.mac, hsm.generation, name, data))


@kinds
def test_a_sealed_record_opens(hsm, kind):
    record = a_record(hsm, kind)
    assert open_sealed(hsm, seal_record(hsm, NAMES[kind], record), KINDS[kind]) == record


@kinds
def test_every_flipped_byte_of_record_and_seal_is_refused(hsm, kind):
    good = seal_record(hsm, NAMES[kind], a_record(hsm, kind))
    for position in range(len(good.record)):
        bad = bytearray(good.record)
        bad[position] ^= 0x01
        refused(hsm, SealedRecord(good.name, bytes(bad), good.seal), kind)
    for position in range(len(good.seal)):
        bad = bytearray(good.seal)
        bad[position] ^= 0x80
        refused(hsm, SealedRecord(good.name, good.record, bytes(bad)), kind)


@pytest.mark.parametrize("cut", [b"", b"\0", b"\0" * 35, b"\0" * 37])
def test_a_seal_of_another_length_is_refused(hsm, cut):
    good = seal_record(hsm, "key-x", a_record(hsm, RecordKind.KEY))
    refused(hsm, SealedRecord(good.name, good.record, cut), RecordKind.KEY)


def test_two_records_that_were_swapped_are_refused(hsm):
    one, two = (seal_record(hsm, name, a_key(hsm, n=n)) for n, name in ((1, "key-one"), (2, "key-two")))
    refused(hsm, SealedRecord(one.name, two.record, two.seal), RecordKind.KEY)
    refused(hsm, SealedRecord(two.name, one.record, one.seal), RecordKind.KEY)


def test_name_and_record_cannot_be_shifted_into_each_other(hsm):
    good = sealed_bytes(hsm, "key-ab", b"cdef")
    shifted = sealed_bytes(hsm, "key-abc", b"def")
    assert good.seal != shifted.seal


def test_another_domain_is_refused(hsm):
    good = seal_record(hsm, "key-x", a_record(hsm, RecordKind.KEY))
    refused(FakeHsm(b"another"), good, RecordKind.KEY)


def test_an_unknown_generation_is_refused(hsm):
    good = seal_record(hsm, "key-x", a_record(hsm, RecordKind.KEY))
    with pytest.raises(RecordIntegrityError, match="sealed by domain generation 1, this token has 2"):
        open_sealed(FakeHsm(generation=2), good, KeyRecord)


def test_a_generation_inside_that_is_not_the_seals_is_refused(hsm):
    record = msgspec.structs.replace(a_key(hsm), domain_generation=2)
    refused(hsm, sealed_bytes(hsm, "key-x", encode(record)), RecordKind.KEY)


def test_a_fingerprint_inside_that_is_not_the_domains_is_refused(hsm):
    record = msgspec.structs.replace(a_key(hsm), domain_fingerprint="00" * 32)
    refused(hsm, sealed_bytes(hsm, "key-x", encode(record)), RecordKind.KEY)


def test_a_sealed_record_that_is_not_canonical_is_refused(hsm):
    data = json.dumps(json.loads(encode(a_key(hsm)))).encode()
    refused(hsm, sealed_bytes(hsm, "key-x", data), RecordKind.KEY)


def test_versions_cut_by_a_bug_are_refused_though_sealed(hsm):
    members = json.loads(encode(a_key(hsm, n_versions=2)))
    members["versions"] = members["versions"][1:]
    data = json.dumps(members, sort_keys=True, separators=(",", ":")).encode()
    refused(hsm, sealed_bytes(hsm, "key-x", data), RecordKind.KEY)


def test_a_record_over_256_kib_is_refused_before_it_is_parsed(hsm):
    refused(hsm, sealed_bytes(hsm, "key-x", b"{" * (MAX_RECORD + 1)), RecordKind.KEY)


def test_nothing_is_parsed_before_the_seal_holds(hsm):
    with pytest.raises(RecordIntegrityError, match="seal does not verify"):
        open_sealed(hsm, SealedRecord("key-x", b"not json", b"\0\0\0\1" + bytes(32)), KeyRecord)


def test_an_older_record_under_a_newer_status_is_refused(hsm):
    with pytest.raises(RecordIntegrityError, match="older record"):
        check_against("key-x", Seen(4, "b" * 64), Seen(3, "a" * 64), "its status")


def test_the_same_number_with_another_digest_is_refused():
    with pytest.raises(RecordIntegrityError, match="differs"):
        check_against("key-x", Seen(4, "b" * 64), Seen(4, "a" * 64), "its status")


def test_a_process_remembers_the_highest_record_it_has_seen():
    memory = Memory()
    memory.observe("key-x", Seen(1, "a"))
    memory.observe("key-x", Seen(2, "b"))
    memory.observe("key-x", Seen(2, "b"))
    with pytest.raises(RecordIntegrityError):
        memory.observe("key-x", Seen(1, "a"))
    memory.observe("key-x", Seen(3, "c"))
    assert memory.knows("key-x")
    assert not memory.knows("key-y")


def test_a_refused_record_does_not_move_the_memory():
    memory = Memory()
    memory.observe("key-x", Seen(5, "e"))
    with pytest.raises(RecordIntegrityError):
        memory.observe("key-x", Seen(4, "d"))
    with pytest.raises(RecordIntegrityError):
        memory.observe("key-x", Seen(4, "d"))
