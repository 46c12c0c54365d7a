"""The index of records as a list and a watch feed it: which of two records counts, echoes, windows, and what is gone."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime

import pytest
from msgspec import UNSET
from msgspec.structs import replace
from tests.builders import NAMESPACE, a_grant, a_key, an_alias
from tests.hsm.fake import FakeHsm
from tests.plan.facts import a_data_key, a_data_key_version
from tests.reconciler.learning import learn

from keystead.engine.births import archived
from keystead.engine.freshness import Memory
from keystead.engine.identifiers import RecordKind, orphan_name, record_name
from keystead.engine.plan.key_life import tombstone
from keystead.engine.record import DataKeyRecord, GrantRecord, KeyRecord, seal_record
from keystead.engine.record.common import RecordBase
from keystead.errors import RecordIntegrityError
from keystead.reconciler.index import Entry, RecordIndex
from keystead.reconciler.ports import Kind, ObjectRef, StoredRecord
from keystead.resources.vocabulary import DeletionPolicy, GrantOperation, KeyState

NOW = datetime(2026, 11, 26, 8, tzinfo=UTC)
PREV = "ab" * 32


class Index(RecordIndex):
    """The index, and what it told of changes."""

    def __init__(self, hsm: FakeHsm) -> None:
        self.told: list[Entry] = []
        super().__init__(Memory(), self.told.append)
        self.hsm = hsm

    def see(self, name: str, record: RecordBase) -> None:
        """As the list and the watch do."""
        self.take(self.hsm, StoredRecord(seal_record(self.hsm, name, record), "1"))


@pytest.fixture
def hsm() -> FakeHsm:
    return FakeHsm()


@pytest.fixture
def index(hsm: FakeHsm) -> Index:
    return Index(hsm)


def name_of(record: KeyRecord | GrantRecord | DataKeyRecord) -> str:
    kind = {KeyRecord: RecordKind.KEY, GrantRecord: RecordKind.GRANT, DataKeyRecord: RecordKind.DATAKEY}[type(record)]
    return record_name(kind, record.namespace, record.name)


# What depends on a key


def test_dependants_are_named_here_and_counted_abroad(index: Index, hsm: FakeHsm) -> None:
    key = a_key(hsm)
    index.see("alias-1", an_alias(key, name="main"))
    index.see("grant-1", a_grant(key, GrantOperation.DECRYPT, name="g"))
    index.see("datakey-1", a_data_key(key))
    index.see("datakey-2", a_data_key(key, namespace="team-z"))
    index.see("alias-2", an_alias(a_key(hsm, n=2), "alias/other"))
    found = index.dependants(key.key_id, NAMESPACE)
    assert (found.aliases, found.grants, found.data_keys, found.foreign) == (("main",), ("g",), ("data-1",), 1)


def test_archives_of_a_data_key_are_no_data_keys(index: Index, hsm: FakeHsm) -> None:
    key = a_key(hsm)
    archive, _ = archived(a_data_key(key, versions=[a_data_key_version(1), a_data_key_version(2)]), 1, 1)
    index.see("datakey-1-1", archive)
    assert not index.dependants(key.key_id, NAMESPACE)
    assert index.names_of(ObjectRef(Kind.DATA_KEY, NAMESPACE, "data-1")) == ()


# Which record counts


def test_of_two_records_with_one_key_id_the_higher_seq_counts(index: Index, hsm: FakeHsm) -> None:
    """A move that was cut short leaves both; one that is done leaves the name to another key."""
    key = a_key(hsm)
    moved = replace(key, seq=2, prev=PREV, bound=False)
    index.see(name_of(key), key)
    assert index.record_of(key.key_id) == name_of(key)
    index.see(orphan_name(key.key_id), moved)
    assert index.record_of(key.key_id) == orphan_name(key.key_id)
    index.see(name_of(key), replace(key, seq=3, prev=PREV))
    assert index.record_of(key.key_id) == name_of(key)
    successor = a_key(hsm, key_id=a_key(hsm, n=2).key_id, name=key.name, seq=4, prev=PREV)
    index.see(name_of(key), successor)
    assert index.record_of(key.key_id) == orphan_name(key.key_id)
    assert index.record_of(successor.key_id) == name_of(key)


def test_what_is_set_aside_belongs_to_no_object(index: Index, hsm: FakeHsm) -> None:
    key = a_key(hsm)
    index.see(orphan_name(key.key_id), replace(key, bound=False))
    assert index.names_of(ObjectRef(Kind.KEY, NAMESPACE, key.name)) == ()
    assert index.orphans() == 1


def test_an_unknown_key_has_no_record(index: Index, hsm: FakeHsm) -> None:
    key = a_key(hsm)
    assert index.record_of(key.key_id) is None
    index.see("alias-1", an_alias(key))
    assert index.record_of(key.key_id) is None  # an alias's record is no key's


# Deletion


def test_a_destroyed_key_is_no_orphan_and_its_end_is_remembered(index: Index, hsm: FakeHsm) -> None:
    key = a_key(hsm, bound=False)
    index.see(name_of(key), key)
    assert index.orphans() == 1
    index.see(name_of(key), replace(tombstone(key, NOW), seq=2, prev=PREV))
    assert index.orphans() == 0
    assert list(index.windows()) == []


def test_windows_are_those_of_keys_without_an_object(index: Index, hsm: FakeHsm) -> None:
    for n, bound in enumerate((True, False), 1):
        key = a_key(hsm, n=n, state=KeyState.PENDING_DELETION, bound=bound)
        index.see(name_of(key), key)
    assert [(ref.name, end) for ref, end in index.windows()] == [("key-2", datetime(2026, 12, 26, 8, tzinfo=UTC))]


def test_an_orphan_waits_only_where_something_can_happen_to_it(index: Index, hsm: FakeHsm) -> None:
    policies = (DeletionPolicy.RETAIN, DeletionPolicy.SCHEDULE_DELETION)
    for n, policy in enumerate(policies, 1):
        key = a_key(hsm, n=n, bound=False, deletion_policy=policy)
        index.see(name_of(key), key)
    assert [entry.waits for entry in index.told] == [False, True]


# Echoes, and what is gone


def test_an_echo_of_an_older_record_changes_nothing(index: Index, hsm: FakeHsm) -> None:
    """The watch tells late what this process has overwritten meanwhile."""
    key = a_key(hsm)
    newer = replace(key, seq=2, prev=PREV, bound=False)
    learn(index, name_of(key), newer)
    index.told.clear()
    index.see(name_of(key), key)
    assert index.told == []
    assert index.orphans() == 1


def test_an_older_record_than_was_seen_changes_nothing(index: Index, hsm: FakeHsm) -> None:
    """A watch lags; what was put back is found by the next read."""
    key = a_key(hsm)
    index.see(name_of(key), replace(key, seq=2, prev=PREV, bound=False))
    index.see(name_of(key), key)
    assert index.orphans() == 1


def test_another_record_under_a_number_that_was_seen_is_refused(index: Index, hsm: FakeHsm) -> None:
    key = a_key(hsm)
    index.see(name_of(key), key)
    with pytest.raises(RecordIntegrityError, match="differs"):
        index.see(name_of(key), replace(key, bound=False))


def test_the_same_record_twice_is_told_once(index: Index, hsm: FakeHsm) -> None:
    key = a_key(hsm)
    index.see(name_of(key), key)
    index.see(name_of(key), key)
    learn(index, name_of(key), key)
    assert len(index.told) == 1


def test_a_grant_that_is_gone_may_begin_again_and_a_key_may_not(index: Index, hsm: FakeHsm) -> None:
    key = a_key(hsm)
    grant = replace(a_grant(key, GrantOperation.DECRYPT), seq=5, prev=PREV)
    index.see(name_of(grant), grant)
    index.see(name_of(key), replace(key, seq=2, prev=PREV))
    for name in (name_of(grant), name_of(key)):
        index.gone(name)
        index.gone(name)
    assert not index.dependants(key.key_id, NAMESPACE)
    index.see(name_of(grant), replace(grant, seq=1, prev=UNSET))
    assert index.dependants(key.key_id, NAMESPACE).grants == (grant.name,)
    index.see(name_of(key), key)
    assert index.record_of(key.key_id) is None  # nor is an older key believed


def test_what_a_list_does_not_have_is_gone_and_told(index: Index, hsm: FakeHsm) -> None:
    keys = [a_key(hsm, n=n, bound=False) for n in (1, 2)]
    for key in keys:
        index.see(name_of(key), key)
    index.told.clear()
    index.keep({name_of(keys[0])})
    assert [entry.ref.name for entry in index.told] == [keys[1].name]
    assert index.record_of(keys[1].key_id) is None
    assert index.orphans() == 1


def test_the_floor_is_the_highest_transition_of_what_is_there(index: Index, hsm: FakeHsm) -> None:
    assert index.floor() == 0
    for n, transition in ((1, 3), (2, 9)):
        key = a_key(hsm, n=n, transition=transition)
        index.see(name_of(key), key)
    assert index.floor() == 9


def test_a_record_of_no_known_kind_or_that_does_not_verify_is_refused(index: Index, hsm: FakeHsm) -> None:
    key = a_key(hsm)
    with pytest.raises(RecordIntegrityError, match="no known kind"):
        index.see("something-1", key)
    moved = dataclasses.replace(seal_record(hsm, name_of(key), key), name=orphan_name(key.key_id))
    with pytest.raises(RecordIntegrityError):
        index.take(hsm, StoredRecord(moved, "1"))
    assert index.told == []
