"""Made tests/golden/release-1, once: `python -m tests.golden.make FOLDER`. It refuses a folder that exists.

Golden files are never made again: what a release wrote must open for ever, so a change of the code must not change them.
A later release gets a folder of its own. Signatures and RSA ciphertexts are random, so the files cannot be reproduced; SHA256SUMS
guards them.
"""

from __future__ import annotations

import base64
import hashlib
import json
import sys
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.keywrap import aes_key_wrap_with_padding
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from msgspec.structs import replace
from tests.builders import ACCOUNT, CREATED, NAMESPACE, REGION, UID, a_grant, a_key, an_alias
from tests.golden.port import BACKUP, RECOVERY, GoldenHsm

from keystead.engine.algorithms import KeyAgreementAlgorithm, RsaPadding
from keystead.engine.backup import format_recovery_key, make_backup
from keystead.engine.blob import seal_message
from keystead.engine.context import encode_context
from keystead.engine.identifiers import RecordKind, archive_name, key_arn, orphan_name, record_name
from keystead.engine.keyspec import Family, row, usages
from keystead.engine.material import material_of
from keystead.engine.ports import Agree, SignDigest
from keystead.engine.publickey import CURVES, encrypt_rsa, signing_input
from keystead.engine.record import (
    AccountRecord,
    DataKeyRecord,
    DataKeyVersion,
    GrantRecord,
    InstallRecord,
    KeyRecord,
    seal_record,
)
from keystead.engine.record.common import RecordBase
from keystead.engine.record.datakey import DataKeyTarget
from keystead.resources.vocabulary import GrantOperation, KeySpec, KeyState, KeyUsage

INSTALL_ID = bytes(range(0x10, 0x20))
MESSAGE = b"keystead golden message, release 1"
CONTEXTS: tuple[dict[str, str], ...] = ({}, {"app": "orders", "purpose": "golden: é"})


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def fixed(what: str, count: int) -> bytes:
    return hashlib.shake_256(b"keystead golden release 1: " + what.encode()).digest(count)


def domain_files(hsm: GoldenHsm, dk: bytes, dm: bytes) -> dict[str, bytes]:
    recovery = fixed("R", 32)
    wrapped = (aes_key_wrap_with_padding(recovery, key) for key in (dk, dm))
    backup = make_backup(hsm.mac, 1, INSTALL_ID, hsm.fingerprint, *wrapped)
    return {BACKUP: backup.encode(), RECOVERY: (format_recovery_key(1, recovery) + "\n").encode()}


def all_keys(hsm: GoldenHsm) -> list[KeyRecord]:
    """A key of every spec and usage; the symmetric one has three versions."""
    pairs = [(spec, usage) for spec in KeySpec for usage in usages(spec)]
    found = []
    for n, (spec, usage) in enumerate(pairs, 1):
        count = 3 if spec is KeySpec.SYMMETRIC_DEFAULT else 1
        name = f"{spec.value}-{usage.value}".lower().replace("_", "-")
        found.append(a_key(hsm, spec, n=n, usage=usage, n_versions=count, name=name))
    return found


def base(hsm: GoldenHsm) -> dict[str, Any]:
    members = {"domain_generation": hsm.generation, "domain_fingerprint": hsm.fingerprint, "namespace_uid": UID}
    return {**members, "transition": 1, "seq": 1}


def data_key(hsm: GoldenHsm, key: KeyRecord, part: int, numbers: range) -> DataKeyRecord:
    versions = [data_key_version(hsm, key, n) for n in numbers]
    return DataKeyRecord(
        **base(hsm),
        key_id=key.key_id,
        region=REGION,
        account=ACCOUNT,
        namespace=NAMESPACE,
        name="orders-db",
        object_uid="object-3",
        crd_uid="crd-3",
        bound=True,
        data_key_spec="AES_256",
        target=DataKeyTarget(secret_name="orders-db", injected=False),
        created=CREATED,
        part=part,
        archives=0 if part else 1,
        versions=versions,
        first_version=numbers[0],
        current=numbers[-1],
        n_versions=numbers[-1],
    )


def data_key_version(hsm: GoldenHsm, key: KeyRecord, n: int) -> DataKeyVersion:
    return DataKeyVersion(
        n=n,
        blob=blob_of(hsm, key, 3, fixed(f"data key {n}", 32), CONTEXTS[1]),
        encryption_context=CONTEXTS[1],
        key_arn=key_arn(key.region, key.account, key.key_id),
        key_material_id=key.versions[2].material_id,
        created=CREATED,
    )


def blob_of(hsm: GoldenHsm, key: KeyRecord, n: int, plaintext: bytes, context: dict[str, str]) -> bytes:
    material = material_of(key, key.versions[n - 1])
    kdf = lambda message: hsm.derive(material, message)  # noqa: E731 - one line of glue
    return seal_message(kdf, material.ids, hsm.entropy(32), plaintext, encode_context(context))


def all_records(hsm: GoldenHsm, keys: list[KeyRecord]) -> list[tuple[RecordKind, str, RecordBase]]:
    key = keys[0]
    grant = a_grant(key, GrantOperation.DECRYPT, GrantOperation.ENCRYPT, equals={"app": "orders"})
    records: list[tuple[RecordKind, str, RecordBase]] = [
        (RecordKind.KEY, record_name(RecordKind.KEY, NAMESPACE, each.name), each) for each in keys
    ]
    tombstone = a_key(hsm, n=90, state=KeyState.DESTROYED, name="destroyed")
    orphan = a_key(hsm, n=91, bound=False, name="orphan")
    main = record_name(RecordKind.DATAKEY, NAMESPACE, "orders-db")
    account = AccountRecord(**base(hsm), account_id=ACCOUNT, n=0, namespace=NAMESPACE, created=CREATED)
    install = InstallRecord(**base(hsm), install_id=INSTALL_ID.hex(), created=CREATED)
    return [
        *records,
        (RecordKind.KEY, record_name(RecordKind.KEY, NAMESPACE, "destroyed"), tombstone),
        (RecordKind.KEY, orphan_name(orphan.key_id), orphan),
        (RecordKind.ALIAS, record_name(RecordKind.ALIAS, ACCOUNT, REGION, "alias/app"), an_alias(key)),
        (RecordKind.GRANT, record_name(RecordKind.GRANT, NAMESPACE, "grant-1"), with_expiry(grant)),
        (RecordKind.ACCOUNT, record_name(RecordKind.ACCOUNT, ACCOUNT), account),
        (RecordKind.INSTALL, record_name(RecordKind.INSTALL), install),
        (RecordKind.DATAKEY, main, data_key(hsm, key, 0, range(3, 5))),
        (RecordKind.DATAKEY, archive_name(main, 1), data_key(hsm, key, 1, range(1, 3))),
    ]


def with_expiry(grant: GrantRecord) -> GrantRecord:
    return replace(grant, expires_at="2036-11-26T08:00:00Z")


def record_rows(hsm: GoldenHsm, records: list[tuple[RecordKind, str, RecordBase]]) -> list[dict[str, str]]:
    rows = []
    for kind, name, record in records:
        sealed = seal_record(hsm, name, record)
        rows.append({"kind": kind.value, "name": name, "record": sealed.record.decode(), "seal": sealed.seal.hex()})
    return rows


def blob_rows(hsm: GoldenHsm, key: KeyRecord) -> list[dict[str, Any]]:
    rows = []
    for n in (1, 2, 3):
        for context in CONTEXTS:
            blob = b64(blob_of(hsm, key, n, MESSAGE, context))
            rows.append(
                {"keyId": key.key_id, "version": n, "context": context, "plaintext": b64(MESSAGE), "blob": blob}
            )
    return rows


def signature_rows(hsm: GoldenHsm, keys: list[KeyRecord]) -> list[dict[str, str]]:
    rows = []
    for key in (key for key in keys if key.usage is KeyUsage.SIGN_VERIFY):
        material = material_of(key, key.current_version)
        for algorithm in row(key.spec).signing:
            if algorithm.value == "ED25519_PH_SHA_512":  # no token is asked for it in this release
                continue
            signature = hsm.slow(SignDigest(material, algorithm, signing_input(algorithm, MESSAGE)))
            line = {"keyId": key.key_id, "algorithm": algorithm.value, "message": b64(MESSAGE)}
            rows.append({**line, "signature": b64(signature)})
    return rows


def mac_rows(hsm: GoldenHsm, keys: list[KeyRecord]) -> list[dict[str, str]]:
    rows = []
    for key in (key for key in keys if row(key.spec).family is Family.HMAC):
        algorithm = row(key.spec).macs[0]
        mac = hsm.generate_mac(material_of(key, key.current_version), algorithm, MESSAGE)
        line = {"keyId": key.key_id, "algorithm": algorithm.value, "message": b64(MESSAGE)}
        rows.append({**line, "mac": b64(mac)})
    return rows


def rsa_rows(keys: list[KeyRecord]) -> list[dict[str, str]]:
    rows = []
    for key in (key for key in keys if row(key.spec).encryption and row(key.spec).family is Family.RSA):
        if key.usage is KeyUsage.ENCRYPT_DECRYPT:
            for padding in RsaPadding:
                made = b64(encrypt_rsa(key.current_version.spki, padding, MESSAGE))
                line = {"keyId": key.key_id, "padding": padding.value, "plaintext": b64(MESSAGE)}
                rows.append({**line, "ciphertext": made})
    return rows


def agreement_rows(hsm: GoldenHsm, keys: list[KeyRecord]) -> list[dict[str, str]]:
    rows = []
    for key in (key for key in keys if key.usage is KeyUsage.KEY_AGREEMENT):
        scalar = int.from_bytes(fixed(f"peer {key.spec}", 24), "big")
        public = ec.derive_private_key(scalar, CURVES[key.spec]()).public_key()
        peer = public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        secret = hsm.slow(Agree(material_of(key, key.current_version), KeyAgreementAlgorithm.ECDH, peer))
        rows.append({"keyId": key.key_id, "peer": b64(peer), "secret": b64(secret)})
    return rows


def make(folder: Path) -> None:
    """Write all files of a release into a new folder."""
    folder.mkdir()
    dk, dm = fixed("DK", 32), fixed("DM", 64)
    hsm = GoldenHsm(dk, dm)
    keys = all_keys(hsm)
    tables: dict[str, Any] = {
        "records.json": record_rows(hsm, all_records(hsm, keys)),
        "blobs.json": blob_rows(hsm, keys[0]),
        "data-keys.json": [{"version": n, "plaintext": b64(fixed(f"data key {n}", 32))} for n in range(1, 5)],
        "signatures.json": signature_rows(hsm, keys),
        "macs.json": mac_rows(hsm, keys),
        "rsa.json": rsa_rows(keys),
        "agreements.json": agreement_rows(hsm, keys),
    }
    files = domain_files(hsm, dk, dm)
    files |= {name: (json.dumps(rows, indent=1) + "\n").encode() for name, rows in tables.items()}
    sums = "".join(f"{hashlib.sha256(data).hexdigest()}  {name}\n" for name, data in sorted(files.items()))
    for name, data in {**files, "SHA256SUMS": sums.encode()}.items():
        (folder / name).write_bytes(data)


if __name__ == "__main__":
    make(Path(sys.argv[1]))
