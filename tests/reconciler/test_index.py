"""The index of records: what depends on a key, whose a destroyed key was, and echoes of what is not there any more."""

from __future__ import annotations

from datetime import timedelta

import pytest
from msgspec.structs import replace
from tests.builders import NOW, OTHER_UID, UID, a_grant, a_key, an_alias
from tests.hsm.fake import FakeHsm
from tests.plan.facts import a_data_key, a_data_key_version
from tests.reconciler.learning import learn

from keystead.engine.births import archived
from keystead.engine.freshness import Memory
from keystead.engine.identifiers import archive_name, key_arn
from keystead.engine.plan.common import Dependants
from keystead.engine.plan.key_life import tombstone
from keystead.engine.record import seal_record
from keystead.reconciler.index import Entry, RecordIndex
from keystead.reconciler.ports import Kind, ObjectRef, StoredRecord
from keystead.resources.vocabulary import GrantOperation

KEY = ObjectRef(Kind.KEY, "team-a", "key-1")


def an_index() -> tuple[RecordIndex, list[Entry]]:
    changed: list[Entry] = []
    return RecordIndex(Memory(), changed.append), changed


def test_a_data_key_depends_on_every_key_of_its_versions() -> None:
    hsm = FakeHsm()
    old, new = a_key(hsm), a_key(hsm, n=2)
    record = a_data_key(new, versions=[a_data_key_version(1), a_data_key_version(2)])
    first = replace(record.versions[0], key_arn=key_arn(old.region, old.account, old.key_id))
    moved = replace(record, versions=[first, record.versions[1]])
    index, _ = an_index()
    learn(index, "datakey-1", moved)
    for key in (old, new):
        assert index.dependants(key.key_id, "team-a") == Dependants(data_keys=("data-1",))
        assert index.dependants(key.key_id, "team-b") == Dependants(foreign=1)


@pytest.mark.parametrize("archive_first", [True, False])
def test_a_data_key_depends_on_the_keys_of_its_archives_as_long_as_it_is_bound(archive_first: bool) -> None:
    hsm = FakeHsm()
    old, new = a_key(hsm), a_key(hsm, n=2)
    record = a_data_key(old, versions=[a_data_key_version(1), a_data_key_version(2)])
    archive, kept = archived(record, 1, 1)
    moved = [replace(version, key_arn=key_arn(new.region, new.account, new.key_id)) for version in kept.versions]
    main = replace(kept, key_id=new.key_id, versions=moved)
    index, changed = an_index()
    both = [(archive_name("datakey-1", archive.part), archive), ("datakey-1", main)]
    for name, each in both if archive_first else reversed(both):
        learn(index, name, each)
    for key in (old, new):
        assert index.dependants(key.key_id, "team-a") == Dependants(data_keys=("data-1",))
    assert set(changed[-1].keys) == {old.key_id, new.key_id}, "the keys are told"
    learn(index, "datakey-1", replace(main, bound=False, seq=main.seq + 1, prev="ab" * 32))
    assert not index.dependants(old.key_id, "team-a")


def test_a_version_under_another_key_moves_what_depends_on_what() -> None:
    """Both keys are told: the one that gained a dependant, and the one that lost it."""
    hsm = FakeHsm()
    old, new = a_key(hsm), a_key(hsm, n=2)
    alias = an_alias(old)
    index, changed = an_index()
    learn(index, "alias-1", alias)
    changed.clear()
    learn(index, "alias-1", replace(alias, key_id=new.key_id, seq=2, prev="ab" * 32))
    assert [entry.keys for entry in changed] == [(old.key_id,), (new.key_id,)]
    assert not index.dependants(old.key_id, "team-a")
    assert index.dependants(new.key_id, "team-a") == Dependants(aliases=("app",))


def test_what_is_not_bound_depends_on_nothing() -> None:
    hsm = FakeHsm()
    key = a_key(hsm)
    index, _ = an_index()
    learn(index, "datakey-1", a_data_key(key, bound=False))
    assert not index.dependants(key.key_id, "team-a")


def test_a_destroyed_key_is_told_of_its_own_namespace_only() -> None:
    hsm = FakeHsm()
    index, _ = an_index()
    for n, moment in enumerate((NOW, NOW + timedelta(hours=1)), 1):
        record = replace(tombstone(a_key(hsm, n=n), moment), name="key-1", bound=False)
        learn(index, f"orphan-{n}", record)
    assert index.destroyed_at(KEY, UID) == NOW + timedelta(hours=1)
    assert index.destroyed_at(KEY, OTHER_UID) is None
    assert index.destroyed_at(ObjectRef(Kind.KEY, "team-a", "other"), UID) is None


def test_a_grant_made_again_is_not_older_than_the_one_before() -> None:
    """The name's record begins with seq 1 again; a list or a watch that is behind shows the earlier one."""
    hsm = FakeHsm()
    memory = Memory()
    index = RecordIndex(memory, lambda _: None)
    key = a_key(hsm)
    name = "grant-" + "ab" * 20
    earlier = a_grant(key, GrantOperation.DECRYPT, seq=2, prev="ab" * 32)
    later = a_grant(key, GrantOperation.DECRYPT, grant_id="cd" * 32)
    for record in (earlier, later, earlier, later):
        index.take(hsm, StoredRecord(seal_record(hsm, name, record), "1"))
    assert index.dependants(key.key_id, "team-a") == Dependants(grants=("grant-1",))
    assert not memory.knows(name)
    index.gone(name)
    assert not index.dependants(key.key_id, "team-a")


def test_data_keys_are_found_by_every_key_of_their_versions_and_aliases_by_the_key_that_they_name() -> None:
    hsm = FakeHsm()
    old, new = a_key(hsm), a_key(hsm, n=2)
    record = a_data_key(new, versions=[a_data_key_version(1), a_data_key_version(2)])
    first = replace(record.versions[0], key_arn=key_arn(old.region, old.account, old.key_id))
    index, _ = an_index()
    learn(index, "datakey-1", replace(record, versions=[first, record.versions[1]]))
    learn(index, "alias-1", an_alias(old))
    learn(index, "grant-1", a_grant(old, GrantOperation.DECRYPT))
    data_key, alias = ObjectRef(Kind.DATA_KEY, "team-a", "data-1"), ObjectRef(Kind.ALIAS, "team-a", "app")
    assert [set(index.bound_to(key.key_id)) for key in (old, new)] == [{data_key, alias}, {data_key}]
    learn(index, "datakey-1", replace(record, seq=2, prev="ab" * 32, bound=False))
    assert (index.bound_to(old.key_id), index.bound_to(new.key_id)) == ((alias,), ())


def test_a_record_that_is_gone_is_told_as_bound_no_more() -> None:
    """Also where the object has another claim: a name is free for who waits for it."""
    hsm = FakeHsm()
    index, changed = an_index()
    learn(index, "alias-1", an_alias(a_key(hsm)))
    learn(index, "alias-2", an_alias(a_key(hsm), "alias/other"))
    changed.clear()
    index.gone("alias-1")
    assert [(entry.ref.name, entry.bound) for entry in changed] == [("app", False)]
    assert index.names_of(ObjectRef(Kind.ALIAS, "team-a", "app")) == ("alias-2",)


def test_aliases_and_grants_are_counted_by_key_and_keys_by_namespace() -> None:
    hsm = FakeHsm()
    key, other = a_key(hsm), a_key(hsm, n=2)
    index, _ = an_index()
    learn(index, "key-1", key)
    learn(index, "key-2", other)
    learn(index, "alias-1", an_alias(key))
    learn(index, "grant-1", a_grant(key, GrantOperation.DECRYPT))
    learn(index, "datakey-1", a_data_key(key))
    assert [index.count(kind, key.key_id) for kind in (Kind.ALIAS, Kind.GRANT, Kind.DATA_KEY)] == [1, 1, 0]
    assert (index.count(Kind.KEY, UID), index.count(Kind.KEY, OTHER_UID), index.count(Kind.ALIAS, other.key_id)) == (2, 0, 0)
    learn(index, "alias-1", replace(an_alias(key), key_id=other.key_id, seq=2, prev="ab" * 32))
    index.drop("grant-1")
    learn(index, "key-2", replace(tombstone(other, NOW), seq=2, prev="ab" * 32))
    assert [index.count(kind, key.key_id) for kind in (Kind.ALIAS, Kind.GRANT)] == [0, 0]
    assert (index.count(Kind.KEY, UID), index.count(Kind.ALIAS, other.key_id)) == (1, 1)


def test_a_key_of_keysteads_own_is_not_counted() -> None:
    index, _ = an_index()
    learn(index, "key-1", a_key(FakeHsm(), name="aws-keystead"))
    assert index.count(Kind.KEY, UID) == 0
