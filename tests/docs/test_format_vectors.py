"""tests/vectors/format.json: the generator makes it again, and the engine reads and writes exactly what stands in it."""

from __future__ import annotations

import hashlib
import hmac
import json
from typing import Any

import msgspec
import pytest
from cryptography.hazmat.primitives.keywrap import aes_key_unwrap_with_padding
from tests.docs.domain import VectorDomain, kdf_of
from tests.vectors import make_format_vectors

from keystead.engine.backup import (
    FINGERPRINT_PROBE,
    fingerprint,
    format_recovery_key,
    make_backup,
    parse_backup,
    parse_recovery_key,
)
from keystead.engine.blob import BlobIds, open_message, open_software_key, read_ids, seal_message, seal_software_key
from keystead.engine.context import encode_context
from keystead.engine.identifiers import RecordKind, account_id, archive_name, key_id_bytes, orphan_name, record_name
from keystead.engine.kdf import material_id_input, message_input, software_input
from keystead.engine.labels import Label, domain_mac
from keystead.engine.material import material_of, public_material_id, symmetric_material_id
from keystead.engine.record import (
    AccountRecord,
    AliasRecord,
    DataKeyRecord,
    GrantRecord,
    InstallRecord,
    KeyRecord,
    SealedRecord,
    Wrap,
    decode,
    digest,
    encode,
    open_sealed,
    seal_record,
)
from keystead.engine.record.common import RecordBase
from keystead.engine.seal import seal
from keystead.errors import RecordIntegrityError
from keystead.resources.vocabulary import KeyState

VECTORS: dict[str, Any] = json.loads(make_format_vectors.FILE.read_text())
DOMAIN = VectorDomain.of(VECTORS["domain"])
TYPES: dict[str, type[RecordBase]] = {
    "key": KeyRecord,
    "alias": AliasRecord,
    "grant": GrantRecord,
    "account": AccountRecord,
    "datakey": DataKeyRecord,
    "install": InstallRecord,
}
# A label with a layout of its own has vectors of its own: records and derivations.
OWN_LAYOUT = {"record-seal", "software-key"}


def rows(section: str) -> Any:
    return pytest.mark.parametrize("row", VECTORS[section], ids=lambda row: row.get("what", row.get("label")))


records = rows("records")


def sealed(row: dict[str, str]) -> SealedRecord:
    return SealedRecord(row["name"], row["record"].encode(), bytes.fromhex(row["seal"]))


def test_the_generator_makes_the_file_again():
    assert make_format_vectors.make() == make_format_vectors.FILE.read_text(encoding="ascii")


def test_the_generator_is_a_second_reader_of_the_page():
    text = make_format_vectors.__loader__.get_source(make_format_vectors.__name__)
    assert "import keystead" not in text
    assert "from keystead" not in text


@rows("contexts")
def test_context_has_these_bytes(row):
    assert encode_context(row["pairs"]).hex() == row["bytes"]


def test_derivation_inputs_and_outputs_are_these():
    inputs = {
        "message": message_input,
        "message under imported 32 bytes": message_input,
        "software key": software_input,
    }
    for row in VECTORS["derivations"]:
        context, message = bytes.fromhex(row["context"]), bytes.fromhex(row["input"])
        if row["what"] == "material id":
            assert material_id_input(context) == message
        else:
            assert inputs[row["what"]](context[1:49], context[49:]) == message
        assert kdf_of(row["key"])(message).hex() == row["output"]


def test_imported_32_bytes_are_the_same_key_without_their_zeros():
    row = next(row for row in VECTORS["derivations"] if "imported" in row["what"])
    assert hmac.digest(bytes.fromhex(row["key"])[:32], bytes.fromhex(row["input"]), "sha512").hex() == row["output"]


def test_material_ids_are_these():
    for row in VECTORS["materialIds"]:
        key_id, source = key_id_bytes(row["keyId"]), bytes.fromhex(row["from"])
        pair = row["rule"] == "pair"
        made = public_material_id(key_id, source) if pair else symmetric_material_id(kdf_of(row["from"]), key_id)
        assert made.hex() == row["id"]


@rows("blobs")
def test_blob_is_sealed_to_these_bytes_and_opens(row):
    kdf, context = kdf_of(row["material"]), encode_context(row["context"])
    ids, blob = bytes.fromhex(row["keyId"] + row["materialId"]), bytes.fromhex(row["blob"])
    plaintext = bytes.fromhex(row["plaintext"])
    assert seal_message(kdf, ids, bytes.fromhex(row["n"]), plaintext, context) == blob
    assert open_message(kdf, blob, context) == plaintext
    assert read_ids(blob) == BlobIds(ids[:16], ids[16:])


def test_every_label_has_vectors():
    assert {row["label"] for row in VECTORS["labels"]} | OWN_LAYOUT == {label.value for label in Label}


def test_label_macs_are_these():
    for row in VECTORS["labels"]:
        parts = (bytes.fromhex(part) for part in row["parts"])
        assert domain_mac(DOMAIN.mac, Label(row["label"]), *parts).hex() == row["mac"]


def test_names_are_these():
    names = VECTORS["names"]
    assert {row["kind"] for row in names["records"]} == {kind.value for kind in RecordKind}
    for row in names["records"]:
        assert record_name(RecordKind(row["kind"]), *row["parts"]) == row["name"]
    for row in names["orphans"]:
        assert orphan_name(row["keyId"]) == row["name"]
    for row in names["archives"]:
        assert archive_name(row["of"], row["k"]) == row["name"]


def test_account_ids_are_these():
    install = bytes.fromhex(VECTORS["domain"]["installId"])
    for row in VECTORS["accounts"]:
        assert account_id(install, row["namespace"], row["n"]) == row["accountId"]


@records
def test_record_is_read_and_written_as_these_bytes(row):
    data = row["record"].encode()
    record = decode(data, TYPES[row["kind"]])
    assert encode(record) == data
    assert digest(data) == row["digest"] == hashlib.sha256(data).hexdigest()


@records
def test_record_opens_and_is_sealed_to_these_bytes(row):
    record = open_sealed(DOMAIN, sealed(row), TYPES[row["kind"]])
    assert seal_record(DOMAIN, row["name"], record) == sealed(row)


@records
def test_a_flipped_byte_or_another_name_is_refused(row):
    good = sealed(row)
    flipped = bytes([good.record[0] ^ 1]) + good.record[1:]
    for bad in (SealedRecord(good.name, flipped, good.seal), SealedRecord(good.name + "x", good.record, good.seal)):
        with pytest.raises(RecordIntegrityError):
            open_sealed(DOMAIN, bad, TYPES[row["kind"]])


@rows("refusedRecords")
def test_what_is_sealed_rightly_but_is_no_record_is_refused(row):
    data = row["record"].encode()
    assert seal(DOMAIN.mac, DOMAIN.generation, row["name"], data).hex() == row["seal"]
    with pytest.raises(RecordIntegrityError):
        open_sealed(DOMAIN, sealed(row), KeyRecord)


@pytest.mark.parametrize("kind", sorted(TYPES))
def test_every_member_of_a_kind_stands_in_a_vector(kind):
    present = {name for row in VECTORS["records"] if row["kind"] == kind for name in json.loads(row["record"])}
    assert present - {"kind"} == {field.encode_name for field in msgspec.structs.fields(TYPES[kind])}


def test_material_in_a_record_is_the_one_its_id_names():
    for record in key_records():
        for version in record.versions:
            material, secret = material_of(record, version), opened(record, version.n)
            if version.wrap is Wrap.KWP:
                assert symmetric_material_id(kdf_of(secret.hex()), material.key_id) == material.material_id
            else:
                assert seal_software_key(DOMAIN.mac, material.ids, material.wrapped[52:84], secret) == material.wrapped


def key_records() -> list[KeyRecord]:
    found = [decode(row["record"].encode(), KeyRecord) for row in VECTORS["records"] if row["kind"] == "key"]
    return [record for record in found if record.state is not KeyState.DESTROYED]


def opened(record: KeyRecord, n: int) -> bytes:
    version = record.versions[n - 1]
    material = material_of(record, version)
    if version.wrap is Wrap.KWP:
        return aes_key_unwrap_with_padding(DOMAIN.dk, material.wrapped)
    return open_software_key(DOMAIN.mac, material.wrapped, material.ids)


def test_data_keys_in_a_record_open():
    material = next(record for record in key_records() if record.bound).versions[0]
    kdf = kdf_of(aes_key_unwrap_with_padding(DOMAIN.dk, material.wrapped).hex())
    for row in VECTORS["records"]:
        if row["kind"] == "datakey":
            for version in decode(row["record"].encode(), DataKeyRecord).versions:
                assert open_message(kdf, version.blob, encode_context(version.encryption_context))


def test_fingerprint_is_this():
    given = VECTORS["domain"]
    assert fingerprint(DOMAIN.mac, bytes.fromhex(given["wrappedProbe"])) == given["fingerprint"]
    assert aes_key_unwrap_with_padding(DOMAIN.dk, bytes.fromhex(given["wrappedProbe"])) == FINGERPRINT_PROBE


def test_backup_is_read_and_written_as_these_bytes():
    given = VECTORS["domain"]
    data = bytes.fromhex(given["backup"])
    backup = parse_backup(data)
    backup.verify(DOMAIN.mac)
    again = make_backup(
        DOMAIN.mac, 1, bytes.fromhex(given["installId"]), DOMAIN.fingerprint, backup.wrapped_dk, backup.wrapped_dm
    )
    assert again.encode() == data
    assert (len(data), backup.install_id.hex(), backup.fingerprint) == (201, given["installId"], given["fingerprint"])


def test_recovery_key_opens_the_backup():
    given = VECTORS["domain"]
    generation, recovery = parse_recovery_key(given["recoveryKey"])
    assert format_recovery_key(generation, recovery) == given["recoveryKey"]
    backup = parse_backup(bytes.fromhex(given["backup"]))
    assert aes_key_unwrap_with_padding(recovery, backup.wrapped_dk) == DOMAIN.dk
    assert aes_key_unwrap_with_padding(recovery, backup.wrapped_dm) == DOMAIN.dm
