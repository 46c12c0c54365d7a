"""All records at one moment: two that claim one id, and those that are not what they say."""

from __future__ import annotations

import itertools

import pytest
from msgspec.structs import replace
from tests.builders import ACCOUNT, REGION, Rbac, a_grant, a_key, a_key_id, a_world, an_alias, call, root_of
from tests.engine.records import KINDS, NAMES, a_record
from tests.hsm.fake import FakeHsm

from keystead.engine.identifiers import RecordKind, key_id_bytes, record_name
from keystead.engine.record import SealedRecord, seal_record
from keystead.errors import NotFoundException
from keystead.operations.encryption import EncryptRequest
from keystead.reconciler.ports import StoredRecord
from keystead.resources.vocabulary import GrantOperation
from keystead.store.snapshot import Snapshot

ID = a_key_id(1)
RAW = key_id_bytes(ID)


@pytest.fixture
def hsm() -> FakeHsm:
    return FakeHsm()


def taken(hsm: FakeHsm, *stored: SealedRecord, namespaces: dict[str, str] | None = None) -> Snapshot:
    snapshot = Snapshot(namespaces or {})
    for sealed in stored:
        snapshot.add(hsm, StoredRecord(sealed, "1"))
    return snapshot


def test_of_two_records_with_one_key_id_the_higher_seq_counts(hsm: FakeHsm) -> None:
    """Whatever their names and whichever is read first: a move that was cut short leaves both."""
    record = a_key(hsm)
    moved = replace(record, seq=2, prev="ab" * 32, bound=False)
    older = seal_record(hsm, record_name(RecordKind.KEY, record.namespace, record.name), record)
    newer = seal_record(hsm, f"orphan-{key_id_bytes(record.key_id).hex()}", moved)
    for order in itertools.permutations([older, newer]):
        snapshot = taken(hsm, *order)
        assert snapshot.by_id(key_id_bytes(record.key_id)) == moved
        assert snapshot.refused == []


def test_a_record_that_is_not_what_it_says_is_told_and_the_others_are_read(hsm: FakeHsm) -> None:
    good = {kind: seal_record(hsm, NAMES[kind], a_record(hsm, kind)) for kind in KINDS}
    sealed = good[RecordKind.KEY]
    bad = [
        SealedRecord(sealed.name, b"", b""),
        SealedRecord(sealed.name, sealed.record, bytes(64)),
        SealedRecord(sealed.name, b"\x00" * 1_000_000, sealed.seal),
        SealedRecord("key-" + "0" * 40, sealed.record, sealed.seal),  # moved by hand
        SealedRecord(NAMES[RecordKind.ALIAS], sealed.record, sealed.seal),  # under a name of another kind
        SealedRecord("orphan-", b"{", b"{"),
        SealedRecord("grant-" + "0" * 40, b"[" * 10_000, sealed.seal),
    ]
    snapshot = taken(hsm, *good.values())
    assert snapshot.refused == []
    snapshot = taken(hsm, *bad, *good.values())
    assert len(snapshot.refused) == len(bad)
    key = a_record(hsm, RecordKind.KEY)
    assert snapshot.by_id(key_id_bytes(key.key_id)) == key
    assert snapshot.alias(ACCOUNT, REGION, "alias/app") == a_record(hsm, RecordKind.ALIAS)
    assert list(snapshot.grants_of(key_id_bytes(key.key_id))) == [a_record(hsm, RecordKind.GRANT)]
    assert snapshot.account(ACCOUNT) == a_record(hsm, RecordKind.ACCOUNT)


def test_what_is_no_record_of_ours_is_passed_over(hsm: FakeHsm) -> None:
    snapshot = taken(hsm, SealedRecord("something-else", b"", b""), SealedRecord("heartbeat", b"x", b"y"))
    assert (snapshot.keys_of(ACCOUNT, REGION), snapshot.refused) == ((), [])


def test_operations_find_a_key_by_its_alias_and_a_grant_on_it(hsm: FakeHsm) -> None:
    """What `keystead crypt --key-id alias/...` works on. An alias of a namespace that was made again leads nowhere."""
    key = a_key(hsm)
    alias, grant = an_alias(key), a_grant(key, GrantOperation.ENCRYPT)
    stored = [
        seal_record(hsm, record_name(RecordKind.KEY, key.namespace, key.name), key),
        seal_record(hsm, record_name(RecordKind.ALIAS, key.account, key.region, alias.alias_name), alias),
        seal_record(hsm, record_name(RecordKind.GRANT, grant.namespace, grant.name), grant),
    ]
    for uid, found in ((key.namespace_uid, True), ("made-again", False)):
        snapshot = taken(hsm, *stored, namespaces={key.namespace: uid})
        assert snapshot.refused == []
        world = a_world(hsm, keys=snapshot)
        for name in ("alias/app", f"arn:aws:kms:{key.region}:{key.account}:alias/app"):
            asked = EncryptRequest(key_id=name, plaintext=b"x")
            if found:
                assert call(hsm, world, asked, rbac=Rbac(answer=False)).key_id.endswith(key.key_id)  # the grant allows it
            else:
                with pytest.raises(NotFoundException, match="alias/app"):
                    call(hsm, world, asked, caller=root_of(key))
