"""The record codec is strict both ways: it reads what it writes and nothing else."""

from __future__ import annotations

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.builders import CREATED, a_key
from tests.engine.records import KINDS, a_record
from tests.hsm.fake import FakeHsm

from keystead.engine.identifiers import RecordKind
from keystead.engine.record import KeyRecord, decode, encode
from keystead.errors import RecordFormatError
from keystead.resources.vocabulary import KeyState

HSM = FakeHsm()
DATA = {kind: encode(a_record(HSM, kind)) for kind in RecordKind}
kinds = pytest.mark.parametrize("kind", list(RecordKind))


def refused(data: bytes, kind: RecordKind) -> None:
    with pytest.raises(RecordFormatError):
        decode(data, KINDS[kind])


def dump(members: object) -> bytes:
    return json.dumps(members, sort_keys=True, separators=(",", ":")).encode()


def test_every_kind_has_a_type_and_an_example():
    assert set(KINDS) == set(DATA) == set(RecordKind)


@kinds
def test_what_was_written_is_read(kind):
    assert decode(DATA[kind], KINDS[kind]) == a_record(HSM, kind)


@kinds
def test_bytes_are_compact_sorted_ascii(kind):
    assert DATA[kind] == dump(json.loads(DATA[kind]))
    assert DATA[kind].isascii()
    assert json.loads(DATA[kind])["kind"] == kind.value


@kinds
def test_an_unknown_member_is_refused(kind):
    refused(dump({**json.loads(DATA[kind]), "zzz": "x"}), kind)


@kinds
def test_every_missing_member_is_refused_or_optional(kind):
    optional = {"policy", "hold", "rotation", "constraints", "expiresAt", "prev", "dataKeySpec"}
    members = json.loads(DATA[kind])
    for name in set(members) - optional:
        refused(dump({key: value for key, value in members.items() if key != name}), kind)


@kinds
def test_every_member_as_null_or_float_is_refused(kind):
    members = json.loads(DATA[kind])
    for name in members:
        refused(dump({**members, name: None}), kind)
        refused(dump({**members, name: 1.5}), kind)


@kinds
def test_every_duplicate_member_is_refused(kind):
    members = json.loads(DATA[kind])
    for name, value in members.items():
        pair = f'"{name}":'.encode() + dump(value)
        refused(b"{" + pair + b"," + DATA[kind][1:], kind)
        refused(DATA[kind][:-1] + b"," + pair + b"}", kind)


@kinds
@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data + b"\n",
        lambda data: b" " + data,
        lambda data: b"\xef\xbb\xbf" + data,
        lambda data: data + data,
        lambda data: data[:-1],
        lambda data: data.replace(b":", b": ", 1),
        lambda data: data.replace(b",", b", ", 1),
        lambda data: data.replace(b'"v":1', b'"v":1.0'),
        lambda data: data.replace(b'"v":1', b'"v":1e0'),
        lambda data: data.replace(b'"v":1', b'"v":2'),
        lambda data: data.replace(b'"v":1', b'"v":"1"'),
        lambda data: data.replace(b'"v":1', b'"v":true'),
        lambda data: data.replace(b'"kind"', b'"kin\\u0064"'),
        lambda data: data.replace(b'"seq":', b'"seq":0'),
        lambda data: json.dumps(dict(reversed(json.loads(data).items())), separators=(",", ":")).encode(),
        lambda data: json.dumps(json.loads(data), indent=1).encode(),
    ],
)
def test_other_spellings_of_the_same_record_are_refused(kind, damage):
    refused(damage(DATA[kind]), kind)


@kinds
def test_a_record_is_not_read_as_another_kind(kind):
    for other in set(RecordKind) - {kind}:
        refused(DATA[kind], other)


@given(st.sampled_from(RecordKind), st.binary(max_size=300))
def test_random_bytes_are_refused(kind, data):
    refused(data, kind)


@given(st.sampled_from(RecordKind), st.recursive(st.none() | st.booleans() | st.integers() | st.text(), st.lists))
def test_random_json_is_refused(kind, value):
    refused(dump(value), kind)


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(st.sampled_from(RecordKind), st.data())
def test_a_mutated_record_is_refused_or_canonical(kind, data):
    raw = bytearray(DATA[kind])
    for _ in range(data.draw(st.integers(1, 3))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    try:
        record = decode(bytes(raw), KINDS[kind])
    except RecordFormatError:
        return
    assert encode(record) == bytes(raw)


def test_deep_nesting_is_refused():
    refused(b'{"ext":' + b"[" * 100_000 + b"]" * 100_000 + b"}", RecordKind.KEY)


@pytest.mark.parametrize("value", [None, 1.5, [[[[[[[[["deep"]]]]]]]]], {"x": None}])
def test_ext_holds_plain_values_only(value):
    with pytest.raises((ValueError, RecordFormatError)):
        a_key(HSM, ext={"x": value})


def test_a_record_over_256_kib_is_refused():
    with pytest.raises(RecordFormatError):
        encode(a_key(HSM, ext={"x": "y" * 262_144}))


@pytest.mark.parametrize("text", ["2026-13-01T00:00:00Z", "2026-02-30T00:00:00Z", "2026-02-03T00:00:60Z"])
def test_a_moment_that_does_not_exist_is_refused(text):
    good, bad = (f'"created":"{moment}"'.encode() for moment in (CREATED, text))
    refused(DATA[RecordKind.KEY].replace(good, bad), RecordKind.KEY)


def test_versions_that_were_cut_are_refused():
    members = json.loads(DATA[RecordKind.KEY])
    refused(dump({**members, "versions": members["versions"][:1]}), RecordKind.KEY)
    refused(dump({**members, "versions": members["versions"][1:]}), RecordKind.KEY)
    refused(dump({**members, "versions": []}), RecordKind.KEY)


def test_current_is_the_newest_version():
    refused(dump({**json.loads(DATA[RecordKind.KEY]), "current": 1}), RecordKind.KEY)


def test_a_tombstone_has_no_material_and_only_it():
    tombstone = a_key(HSM, state=KeyState.DESTROYED)
    assert decode(encode(tombstone), KeyRecord) == tombstone
    members = json.loads(encode(a_key(HSM)))
    refused(dump({**members, "state": "Destroyed"}), RecordKind.KEY)
    refused(dump({**json.loads(encode(tombstone)), "state": "Enabled"}), RecordKind.KEY)


def test_the_key_id_has_the_form_that_the_record_says():
    refused(dump({**json.loads(DATA[RecordKind.KEY]), "keyIdForm": "mrk"}), RecordKind.KEY)


def test_prev_is_absent_exactly_at_seq_1():
    members = json.loads(DATA[RecordKind.KEY])
    refused(dump({**members, "seq": 1}), RecordKind.KEY)
    refused(dump({key: value for key, value in members.items() if key != "prev"}), RecordKind.KEY)


@pytest.mark.parametrize("operations", [[], ["Sign", "Decrypt"], ["Decrypt", "Decrypt"], ["Fly"]])
def test_grant_operations_are_a_sorted_set_that_is_not_empty(operations):
    refused(dump({**json.loads(DATA[RecordKind.GRANT]), "operations": operations}), RecordKind.GRANT)


def test_a_grant_has_exactly_one_grantee():
    members = json.loads(DATA[RecordKind.GRANT])
    refused(dump({**members, "granteeServicePrincipal": "x.amazonaws.com"}), RecordKind.GRANT)
    del members["granteePrincipal"]
    refused(dump(members), RecordKind.GRANT)


def test_a_grant_has_at_most_one_context_constraint():
    both = {"encryptionContextEquals": {"a": "b"}, "encryptionContextSubset": {"a": "b"}}
    refused(dump({**json.loads(DATA[RecordKind.GRANT]), "constraints": both}), RecordKind.GRANT)


def test_a_data_key_has_exactly_one_size():
    members = json.loads(DATA[RecordKind.DATAKEY])
    refused(dump({**members, "numberOfBytes": 32}), RecordKind.DATAKEY)
    del members["dataKeySpec"]
    refused(dump(members), RecordKind.DATAKEY)


@kinds
def test_digits_of_other_scripts_are_refused(kind):
    members = json.loads(DATA[kind])
    for name in set(members) & {"account", "accountId", "created"}:
        refused(dump({**members, name: members[name].replace("1", "\u0661")}), kind)
