"""One valid record of every kind, with every optional member set."""

from __future__ import annotations

import msgspec
from tests.builders import ACCOUNT, AFTER, CREATED, NAMESPACE, REGION, UID, a_grant, a_key, an_alias
from tests.hsm.fake import FakeHsm

from keystead.engine.identifiers import RecordKind, record_name
from keystead.engine.record import (
    AccountRecord,
    AliasRecord,
    DataKeyRecord,
    DataKeyVersion,
    GrantRecord,
    Hold,
    InstallRecord,
    KeyRecord,
    Rotation,
    RotationWindow,
)
from keystead.engine.record.common import RecordBase
from keystead.engine.record.datakey import DataKeyTarget
from keystead.resources.vocabulary import GrantOperation

KINDS: dict[RecordKind, type[RecordBase]] = {
    RecordKind.KEY: KeyRecord,
    RecordKind.ALIAS: AliasRecord,
    RecordKind.GRANT: GrantRecord,
    RecordKind.ACCOUNT: AccountRecord,
    RecordKind.DATAKEY: DataKeyRecord,
    RecordKind.INSTALL: InstallRecord,
}
NAMES = {
    RecordKind.KEY: record_name(RecordKind.KEY, NAMESPACE, "key-1"),
    RecordKind.ALIAS: record_name(RecordKind.ALIAS, ACCOUNT, REGION, "alias/app"),
    RecordKind.GRANT: record_name(RecordKind.GRANT, NAMESPACE, "grant-1"),
    RecordKind.ACCOUNT: record_name(RecordKind.ACCOUNT, ACCOUNT),
    RecordKind.DATAKEY: record_name(RecordKind.DATAKEY, NAMESPACE, "data-1"),
    RecordKind.INSTALL: record_name(RecordKind.INSTALL),
}


def a_record(hsm: FakeHsm, kind: RecordKind) -> RecordBase:
    key = a_key(
        hsm,
        n_versions=2,
        hold=Hold(since=CREATED, by="responder"),
        policy=b"{}",
        tags={"team": "é"},
        seq=2,
        prev="ab" * 32,
        ext={"later": [1, True, {"x": "y"}]},
        rotation=Rotation(
            enabled=True, period=365, windows=[RotationWindow(cron="0 3 * * *", timezone="UTC", duration="2h")]
        ),
    )
    base = {
        "domain_generation": hsm.generation,
        "domain_fingerprint": hsm.fingerprint,
        "namespace_uid": UID,
        "transition": 3,
        "seq": 1,
    }
    version = DataKeyVersion(
        n=1,
        blob=b"blob",
        encryption_context={"a": "b"},
        key_arn="arn:aws:kms:cluster-1:111122223333:key/x",
        key_material_id="00" * 32,
        created=CREATED,
    )
    match kind:
        case RecordKind.KEY:
            return key
        case RecordKind.ALIAS:
            return an_alias(key)
        case RecordKind.GRANT:
            return a_grant(key, GrantOperation.DECRYPT, GrantOperation.SIGN, equals={"App": "x"}, expires_at=AFTER)
        case RecordKind.ACCOUNT:
            return AccountRecord(**base, account_id=ACCOUNT, n=0, namespace=NAMESPACE, created=CREATED)
        case RecordKind.INSTALL:
            return InstallRecord(**base, install_id="0f" * 16, created=CREATED)
        case RecordKind.DATAKEY:
            return DataKeyRecord(
                **base,
                key_id=key.key_id,
                region=REGION,
                account=ACCOUNT,
                namespace=NAMESPACE,
                name="data-1",
                object_uid="o",
                crd_uid="c",
                bound=True,
                data_key_spec="AES_256",
                target=DataKeyTarget(secret_name="s", injected=False),
                created=CREATED,
                part=0,
                archives=0,
                versions=[version, msgspec.structs.replace(version, n=2)],
                first_version=1,
                current=2,
                n_versions=2,
            )
